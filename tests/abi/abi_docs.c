/* SPDX-License-Identifier: MIT */
/*
 * abi_docs: the program that prints docs/abi.md from the tables the library is made of.
 */
#include <stdio.h>
#include <stdlib.h>
#include "abi/caps.h"
#include "cpu/state.h"
#include "userkvm.h"
#include "vm/vm.h"

struct row {
	const char *name, *status, *note;
	char level;
	const char *shape;
};

enum { S = 'S', V = 'V', C = 'C' };

static const struct row ioctls[] = {
#define IOCTL(req, level, arg, shape, fn, status, note) {#req, status, note, level, #shape},
#define ABSENT(req, level, note)		 {#req, "absent", note, level, NULL},
#include "abi/ioctls.def"
#undef IOCTL
#undef ABSENT
};

struct cap {
	const char *name, *note;
	unsigned number;
	long value; /* < 0: depends on the machine, the note says how */
};

#define online_cpus() (-1)
#define xsave2_size() (-1)
#define nested_state_size() (-1)
#define cap_attributes(vm) 8 /* of any VM there may be */
#define cap_gmem_flags(vm) 3
static const struct cap caps[] = {
#define CAP(n, value, note) {#n, note, n, value},
#define ENABLE_VM(n, fn)
#define ENABLE_VCPU(n, fn)
#include "abi/caps.def"
#undef CAP
#undef ENABLE_VM
#undef ENABLE_VCPU
};

static const unsigned enabled[] = {
#define CAP(n, value, note)
#define ENABLE_VM(n, fn)   n,
#define ENABLE_VCPU(n, fn) n,
#include "abi/caps.def"
#undef CAP
#undef ENABLE_VM
#undef ENABLE_VCPU
};

static const struct row exits[] = {
#define EXIT(cpu, kvm, fill, shape, note) {#kvm, "present", note, 0, NULL},
#define ABSENT_EXIT(kvm, note)	   {#kvm, "absent", note, 0, NULL},
#include "abi/exits.def"
#undef EXIT
#undef ABSENT_EXIT
};

static const struct {
	const char *calls, *reason;
} deviations[] = {
#define DEVIATION(calls, reason) {calls, reason},
#include "deviations.def"
#undef DEVIATION
};

/* What shapes.def calls it; names of its own stand for what has no struct. */
static const char *argument(const char *shape)
{
	if (!shape || !strcmp(shape, "none"))
		return "";
	if (!strcmp(shape, "word"))
		return "u64";
	if (!strcmp(shape, "kvm_xsave_head"))
		return "kvm_xsave";
	if (!strcmp(shape, "kvm_nested_head"))
		return "kvm_nested_state";
	return strncmp(shape, "uapi_", 5) ? shape : shape + 5;
}

static void print_ioctls(char level, const char *title)
{
	size_t i;

	printf("\n## Calls on %s\n\n| call | argument | | |\n| --- | --- | --- | --- |\n", title);
	for (i = 0; i < ARRAY_SIZE(ioctls); i++)
		if (ioctls[i].level == level)
			printf("| `%s` | %s | %s | %s |\n", ioctls[i].name, argument(ioctls[i].shape),
			       ioctls[i].status, ioctls[i].note);
}

static int by_number(const void *a, const void *b)
{
	return (int)((const struct cap *)a)->number - (int)((const struct cap *)b)->number;
}

static void print_caps(void)
{
	struct cap sorted[ARRAY_SIZE(caps)];
	size_t i, j;

	memcpy(sorted, caps, sizeof(caps));
	qsort(sorted, ARRAY_SIZE(sorted), sizeof(*sorted), by_number);
	printf("\n## Capabilities\n\nWhatever is not listed is 0 and cannot be enabled.\n\n");
	printf("| capability | number | value | `KVM_ENABLE_CAP` | |\n");
	printf("| --- | --- | --- | --- | --- |\n");
	for (i = 0; i < ARRAY_SIZE(sorted); i++) {
		const struct cap *c = &sorted[i];

		for (j = 0; j < ARRAY_SIZE(enabled) && enabled[j] != c->number; j++)
			;
		printf("| `%s` | %u | ", c->name, c->number);
		if (c->value >= 0)
			printf("%ld", c->value);
		printf(" | %s | %s |\n", j < ARRAY_SIZE(enabled) ? "yes" : "", c->note);
	}
}

static void print_rest(void)
{
	size_t i;

	printf("\n## Exits\n\n| exit | | |\n| --- | --- | --- |\n");
	for (i = 0; i < ARRAY_SIZE(exits); i++)
		printf("| `%s` | %s | %s |\n", exits[i].name, exits[i].status, exits[i].note);
	printf("\n## Where a call answers otherwise than a real device\n\n"
	       "`tests/abi` makes the same calls on both and holds the answers together line "
	       "by\n"
	       "line; these are the lines that differ, by the call's name there.\n\n"
	       "| calls | why |\n| --- | --- |\n");
	for (i = 0; i < ARRAY_SIZE(deviations); i++)
		printf("| %s | %s |\n", deviations[i].calls, deviations[i].reason);
}

int main(void)
{
	printf("# The KVM interface, as far as it is carried out\n\n"
	       "Printed by `build/tests/abi/abi_docs` from `src/abi/*.def`: do not edit.\n\n"
	       "Present: as KVM's API documentation has it. Partial: the note says what is "
	       "missing.\n"
	       "Absent: answered as KVM answers a request it does not know (`ENOTTY` on a VM,\n"
	       "`EINVAL` on `/dev/kvm` and on a vCPU).\n");
	print_ioctls(S, "`/dev/kvm`");
	print_ioctls(V, "a VM");
	print_ioctls(C, "a vCPU");
	print_caps();
	print_rest();
	return 0;
}
