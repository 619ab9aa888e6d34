/* SPDX-License-Identifier: MIT */
/*
 * abi/nested.c: the state of nested virtualization (api.rst, KVM_GET_NESTED_STATE), of which a vCPU
 * has none: it cannot be told of VMX or SVM. The calls are there all the same, as with KVM where
 * nesting is switched off, since monitors save and restore the state whatever it holds. Its form is
 * that of the host's vendor.
 */
#include <string.h>
#include "abi/internal.h"
#include "base/guard.h"
#include "cpu/cpu.h"

#define NOWHERE ~0ULL /* no VMXON region, no VMCS */

#define VALID_FLAGS                                                                            \
	(KVM_STATE_NESTED_GUEST_MODE | KVM_STATE_NESTED_RUN_PENDING | KVM_STATE_NESTED_EVMCS | \
	 KVM_STATE_NESTED_GIF_SET)

/* The most that KVM_GET_NESTED_STATE fills in: on Intel two control structures, on AMD one. */
long nested_state_size(void)
{
	return (long)sizeof(struct kvm_nested_state) +
	       (cpu_host_is_amd() ? (long)sizeof(struct kvm_svm_nested_state_data)
				  : (long)sizeof(struct kvm_vmx_nested_state_data));
}

static void fill_empty(struct kvm_nested_state *s)
{
	memset(s, 0, sizeof(*s));
	s->size = sizeof(*s);
	if (cpu_host_is_amd()) {
		s->format = KVM_STATE_NESTED_FORMAT_SVM;
		s->flags = KVM_STATE_NESTED_GIF_SET;
	} else {
		s->format = KVM_STATE_NESTED_FORMAT_VMX;
		s->hdr.vmx.vmxon_pa = NOWHERE;
		s->hdr.vmx.vmcs12_pa = NOWHERE;
	}
}

long vcpu_ioctl_get_nested_state(struct call *c)
{
	void *size_at = call_user_at(c->user, offsetof(struct kvm_nested_state, size));
	struct kvm_nested_state s;
	u32 room;

	if (guard_copy_from(&room, size_at, sizeof(room)))
		return -EFAULT;
	fill_empty(&s);
	if (room >= s.size)
		return guard_copy_to(c->user, &s, sizeof(s));
	return guard_copy_to(size_at, &s.size, sizeof(s.size)) ? -EFAULT : -E2BIG;
}

/* Only what KVM_GET_NESTED_STATE gives. */
static bool is_empty(const struct kvm_nested_state *s)
{
	if (cpu_host_is_amd())
		return s->format == KVM_STATE_NESTED_FORMAT_SVM &&
		       s->flags == KVM_STATE_NESTED_GIF_SET;
	return s->format == KVM_STATE_NESTED_FORMAT_VMX && !s->flags && !s->hdr.vmx.smm.flags &&
	       s->hdr.vmx.vmxon_pa == NOWHERE && s->hdr.vmx.vmcs12_pa == NOWHERE;
}

long vcpu_ioctl_set_nested_state(struct call *c)
{
	struct kvm_nested_state s;

	if (guard_copy_from(&s, c->user, sizeof(s)))
		return -EFAULT;
	if (s.size < sizeof(s) || (s.flags & ~VALID_FLAGS))
		return -EINVAL;
	return is_empty(&s) ? 0 : -EINVAL;
}
