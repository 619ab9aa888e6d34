/* SPDX-License-Identifier: MIT */
/* trace_docs: the program that prints docs/tracepoints.md from base/trace.def. */
#include <stdio.h>
#include "base/types.h"

static const struct {
	const char *name, *group, *note, *value[4], *format[4];
} events[] = {
#define EVENT(name, group, a, fa, b, fb, c, fc, d, fd, note)                                           \
	{#name, #group, note, {a, b, c, d}, {#fa, #fb, #fc, #fd}},
#include "base/trace.def"
#undef EVENT
};

static void print_values(const char *const value[4], const char *const format[4])
{
	for (unsigned i = 0; i < 4 && *format[i] != 'N'; i++)
		printf("%s%s", i ? ", " : "", value[i]);
}

int main(void)
{
	printf("# Trace points\n\n"
	       "Printed by `build/tests/abi/trace_docs` from `src/base/trace.def`: do not edit.\n\n"
	       "Group and name are words of `userkvm trace -e`. Each is a probe of provider `userkvm`, too\n"
	       "([trace.md](trace.md)): argument 1 is the vCPU's id or -1, argument 2 the guest's RIP or 0,\n"
	       "and from argument 3 on come the values.\n\n"
	       "| group | name | values | when |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		printf("| %s | `%s` | ", events[i].group, events[i].name);
		print_values(events[i].value, events[i].format);
		printf(" | %s |\n", events[i].note);
	}
	printf("\n`call` has arguments of its own: descriptor, request and argument. `call_return` has a fourth, the\n"
	       "result; `open` has one, the descriptor of /dev/kvm or a negative errno. Of `fault` the\n"
	       "vCPU is told by its index, the order in which vCPUs were made.\n");
	return 0;
}
