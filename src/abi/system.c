/* SPDX-License-Identifier: MIT */
/* abi/system.c: calls on /dev/kvm (KVM's api.rst, "system ioctl"). */
#include <fcntl.h>
#include <stdlib.h>
#include "abi/cpuid.h"
#include "abi/internal.h"
#include "abi/report.h"
#include "base/guard.h"


long system_api_version(struct call *c)
{
	return c->arg ? -EINVAL : KVM_API_VERSION;
}

long system_mmap_size(struct call *c)
{
	return c->arg ? -EINVAL : (long)(UAPI_RUN_PAGES * PAGE_SIZE);
}

long system_check_extension(struct call *c)
{
	return cap_check(NULL, c->arg);
}

long system_create_vm(struct call *c)
{
	struct abi_vm *avm;
	struct abi_file *f;
	int fd, r;

	if (c->arg != UAPI_VM_DEFAULT && c->arg != UAPI_VM_SW_PROTECTED)
		return -EINVAL;
	answer_init();
	avm = calloc(1, sizeof(*avm));
	if (!avm)
		return -ENOMEM;
	r = vm_create((u32)c->arg, &avm->vm);
	if (r) {
		free(avm);
		return r;
	}
	avm->refs = 1;
	mutex_init(&avm->lock);
	fd = file_create(FILE_VM, "userkvm:vm", 0, O_CLOEXEC, &f);
	if (fd < 0) {
		avm_put(avm);
		return fd;
	}
	f->avm = avm;
	file_publish(f, fd);
	return fd;
}

/* struct kvm_msr_list: the count goes out even when there is not room for the list. */
static long copy_msr_list(struct call *c, const u32 *list, u32 n)
{
	u32 room;

	if (guard_copy_from(&room, c->user, sizeof(room)) ||
	    guard_copy_to(c->user, &n, sizeof(n)))
		return -EFAULT;
	if (room < n)
		return -E2BIG;
	return guard_copy_to(call_user_at(c->user, sizeof(struct kvm_msr_list)), list,
			     n * sizeof(*list));
}

long system_msr_list(struct call *c)
{
	const u32 *list;
	u32 n = cpu_msr_list(&list);

	return copy_msr_list(c, list, n);
}

long system_msr_feature_list(struct call *c)
{
	const u32 *list;
	u32 n = cpu_msr_feature_list(&list);

	return copy_msr_list(c, list, n);
}

static int get_feature(void *ctx, struct kvm_msr_entry *e)
{
	u64 value;
	int r = cpu_msr_feature(e->index, &value);

	if (!r)
		e->data = value;
	return r;
}

long system_get_msrs(struct call *c)
{
	return msrs_each(c->user, true, get_feature, NULL);
}

long system_supported_cpuid(struct call *c)
{
	struct cpuid_leaf *l;
	u32 n;
	long r;

	if (guard_copy_from(&n, c->user, sizeof(n)))
		return -EFAULT;
	if (!n)
		return -E2BIG;
	n = MIN(n, UAPI_MAX_CPUID_ENTRIES);
	l = calloc(n, sizeof(*l));
	if (!l)
		return -ENOMEM;
	r = cpuid_supported(l, &n);
	if (!r)
		r = cpuid_copy_out(c->user, l, n);
	free(l);
	return r;
}

long system_emulated_cpuid(struct call *c)
{
	static const struct cpuid_leaf none[] = {
		{.function = 0, .eax = 7},
		{.function = 1},
		{.function = 7, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX},
	};
	u32 n;

	if (guard_copy_from(&n, c->user, sizeof(n)))
		return -EFAULT;
	if (n < ARRAY_SIZE(none))
		return -E2BIG;
	return cpuid_copy_out(c->user, none, ARRAY_SIZE(none));
}

long system_mce_cap(struct call *c)
{
	c->u64 = MCG_SUPPORTED;
	return 0;
}

/* The XCR0 bits a guest can be given: leaf 0xd of what is supported. */
static u64 supported_xcr0(void)
{
	struct cpuid_leaf *l = calloc(UAPI_MAX_CPUID_ENTRIES, sizeof(*l));
	u32 i, n = UAPI_MAX_CPUID_ENTRIES;
	u64 v = 0;

	if (l && !cpuid_supported(l, &n))
		for (i = 0; i < n; i++)
			if (l[i].function == 0xd && !l[i].index)
				v = l[i].eax | (u64)l[i].edx << 32;
	free(l);
	return v;
}

long system_has_attr(struct call *c)
{
	const struct kvm_device_attr *a = (void *)c->buf;

	return a->group || a->attr != KVM_X86_XCOMP_GUEST_SUPP ? -ENXIO : 0;
}

long system_get_attr(struct call *c)
{
	const struct kvm_device_attr *a = (void *)c->buf;
	u64 v = supported_xcr0();

	if (system_has_attr(c))
		return -ENXIO;
	return guard_copy_to((void *)(uintptr_t)a->addr, &v, sizeof(v));
}
