/* SPDX-License-Identifier: MIT */
/* abi/caps.c: KVM_CHECK_EXTENSION and KVM_ENABLE_CAP (api.rst, chapters 4.4, 4.37, 6 and 7). */
#include <unistd.h>
#include "abi/caps.h"
#include "userkvm.h"
#include "abi/internal.h"
#include "sync/atomic.h"

static long online_cpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return MIN(n, VM_MAX_VCPUS);
}

static long xsave2_size(void)
{
	return MAX(cpu_xsave_size(), (u32)sizeof(struct kvm_xsave));
}

u64 cap_attributes(const struct vm *vm)
{
	return !vm || vm->type == UAPI_VM_SW_PROTECTED ? MMU_ATTR_PRIVATE : 0;
}

/* Memory of a VM that has private memory starts private, and becomes shared by its attributes. */
u64 cap_gmem_flags(const struct vm *vm)
{
	return GMEM_MAPPABLE | (vm && vm->type == UAPI_VM_SW_PROTECTED ? 0 : GMEM_INIT_SHARED);
}

long cap_check(struct vm *vm, u64 cap)
{
	switch (cap) {
#define CAP(n, value, note)                                                                    \
	case n:                                                                                \
		return value;
#define ENABLE_VM(n, fn)
#define ENABLE_VCPU(n, fn)
#include "abi/caps.def"
#undef CAP
#undef ENABLE_VM
#undef ENABLE_VCPU
	default:
		return 0;
	}
}

/* ---- KVM_ENABLE_CAP on a VM. The flags word is 0 already. */

static long enable_quirks(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	sync_store(&vm->disabled_quirks, args[0] & QUIRKS_VALID);
	return 0;
}

static long enable_quirks2(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	return args[0] & ~(u64)QUIRKS_VALID ? -EINVAL : enable_quirks(avm, vm, args);
}

static long enable_split_irqchip(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	if (args[0] > UAPI_MAX_ROUTES)
		return -EINVAL;
	return vm_create_irqchip(vm, IRQCHIP_SPLIT, (u32)args[0]);
}

static long enable_x2apic_api(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	if (args[0] & ~(u64)X2APIC_API_FLAGS)
		return -EINVAL;
	if (args[0] & KVM_X2APIC_API_USE_32BIT_IDS)
		vm->x2apic_format_32bit = true;
	if (args[0] & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)
		vm->x2apic_no_broadcast_quirk = true;
	return 0;
}

static long enable_disable_exits(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	long r = 0;

	if (args[0] & ~(u64)DISABLE_EXITS_VALID)
		return -EINVAL;
	mutex_lock(&vm->lock);
	if (vm->nvcpus) /* how they run is settled when they are made */
		r = -EINVAL;
	else if (args[0] & KVM_X86_DISABLE_EXITS_HLT)
		vm->halts_itself = true;
	mutex_unlock(&vm->lock);
	return r;
}

static long enable_platform_info(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	vm->hide_platform_info = !args[0];
	return 0;
}

static long enable_exception_payload(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	vm->exception_payload = args[0];
	return 0;
}

static long enable_manual_protect(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	u64 valid = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;

	/* "Initially set" means something only with manual protection. */
	if (args[0] & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
		valid |= KVM_DIRTY_LOG_INITIALLY_SET;
	if (args[0] & ~valid)
		return -EINVAL;
	return mmu_set_manual_protect(vm->mmu, args[0]);
}

static long enable_dirty_ring(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	u64 size = args[0];
	long r = -EINVAL;

	if (!size || (size & (size - 1)) || size < PAGE_SIZE)
		return -EINVAL;
	if (size > UAPI_RING_MAX)
		return -E2BIG;
	/* A vCPU that is being made has no room for a ring. */
	mutex_lock(&avm->lock);
	mutex_lock(&vm->lock);
	if (!vm->nvcpus)
		r = mmu_ring_enable(vm->mmu, (u32)(size / sizeof(struct kvm_dirty_gfn)));
	if (!r)
		vm->dirty_ring_size = (u32)size;
	mutex_unlock(&vm->lock);
	mutex_unlock(&avm->lock);
	return r;
}

static long enable_halt_poll(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	return args[0] > UINT32_MAX ? -EINVAL : 0; /* nanoseconds, 32 bits */
}

static long enable_user_space_msr(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	if (args[0] & ~(u64)MSR_EXIT_VALID)
		return -EINVAL;
	vm->user_space_msr = (u32)args[0];
	return 0;
}

static long enable_exit_hypercall(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	if (args[0] & ~EXIT_HYPERCALL_VALID)
		return -EINVAL;
	vm->exits_on_hypercall = args[0];
	return 0;
}

static long enable_emulation_failure(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	return args[0] & ~1ULL ? -EINVAL : 0;
}

static long enable_triple_fault_event(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	vm->triple_fault_event = args[0];
	return 0;
}

static long enable_max_vcpu_id(struct abi_vm *avm, struct vm *vm, const u64 *args)
{
	long r = -EINVAL;

	if (args[0] > VM_MAX_VCPU_ID)
		return -EINVAL;
	mutex_lock(&vm->lock);
	/* Once set it stays; not set is 0, which asks for nothing. */
	if (args[0] == (avm->max_vcpu_id_set ? vm->max_vcpu_id : 0)) {
		r = 0;
	} else if (!avm->max_vcpu_id_set && vm->bsp_id <= args[0]) {
		vm->max_vcpu_id = (u32)args[0];
		avm->max_vcpu_id_set = true;
		r = 0;
	}
	mutex_unlock(&vm->lock);
	return r;
}

long vm_ioctl_enable_cap(struct call *c)
{
	const struct kvm_enable_cap *e = (void *)c->buf;

	if (e->flags)
		return -EINVAL;
	switch (e->cap) {
#define CAP(n, value, note)
#define ENABLE_VM(n, fn)                                                                       \
	case n:                                                                                \
		return fn(c->avm, c->vm, (const u64 *)e->args);
#define ENABLE_VCPU(n, fn)
#include "abi/caps.def"
#undef CAP
#undef ENABLE_VM
#undef ENABLE_VCPU
	default:
		return -EINVAL;
	}
}

static long enable_pv_enforcement(struct vcpu *v, const u64 *args)
{
	v->enforce_pv_cpuid = args[0];
	return 0;
}

long vcpu_ioctl_enable_cap(struct call *c)
{
	const struct kvm_enable_cap *e = (void *)c->buf;

	if (e->flags)
		return -EINVAL;
	switch (e->cap) {
#define CAP(n, value, note)
#define ENABLE_VM(n, fn)
#define ENABLE_VCPU(n, fn)                                                                     \
	case n:                                                                                \
		return fn(c->v, (const u64 *)e->args);
#include "abi/caps.def"
#undef CAP
#undef ENABLE_VM
#undef ENABLE_VCPU
	default:
		return -EINVAL;
	}
}
