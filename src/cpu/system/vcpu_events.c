/* SPDX-License-Identifier: MIT */
/*
 * system/vcpu_events.c: KVM_GET_VCPU_EVENTS and KVM_SET_VCPU_EVENTS (api.rst, 4.31 and 4.32).
 * What belongs to the APIC or to the VM (SIPI vector, whether a capability is enabled) is the
 * caller's.
 */
#include "cpu/system/internal.h"

#define FLAGS_KNOWN                                                                           \
	(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |                   \
	 KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM | KVM_VCPUEVENT_VALID_PAYLOAD |  \
	 KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
#define LAST_EXCEPTION 31

/* KVM's shadow bits are ours swapped: KVM_X86_SHADOW_INT_MOV_SS is 1, _STI is 2. */
static u8 shadow_swap(u8 s)
{
	return (u8)((s & 1) << 1 | (s & 2) >> 1);
}

void cpu_get_events(struct cpu *c, struct kvm_vcpu_events *e)
{
	memset(e, 0, sizeof(*e));
	/* Flags: payload and triple fault are valid; the caller clears what is not enabled. */
	e->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
		   KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	e->exception.injected = c->exception.injected;
	e->exception.pending = c->exception.pending;
	e->exception.nr = c->exception.vector;
	e->exception.has_error_code = c->exception.has_error;
	e->exception.error_code = c->exception.error;
	e->exception_has_payload = c->exception.has_payload;
	e->exception_payload = c->exception.payload;
	e->interrupt.injected = c->interrupt.injected && !c->interrupt.soft;
	e->interrupt.nr = c->interrupt.vector;
	e->interrupt.shadow = shadow_swap(c->shadow);
	e->nmi.injected = c->nmi_injected;
	e->nmi.pending = c->nmi_pending;
	e->nmi.masked = c->nmi_masked;
	e->triple_fault.pending = c->triple_fault;
}

static bool events_valid(const struct kvm_vcpu_events *e)
{
	if (e->flags & ~FLAGS_KNOWN)
		return false;
	if (e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) {
		if (e->exception.pending && e->exception.injected)
			return false;
	}
	if ((e->exception.injected || e->exception.pending) &&
	    (e->exception.nr > LAST_EXCEPTION || e->exception.nr == VEC_NMI))
		return false;
	/* There is no SMM to be in, or to enter (api.rst, KVM_SET_VCPU_EVENTS). */
	if ((e->flags & KVM_VCPUEVENT_VALID_SMM) && (e->smi.smm || e->smi.pending))
		return false;
	return true;
}

#define MAX_PENDING_NMIS 2u

void cpu_queue_nmis(struct cpu *c, u32 n)
{
	u32 most = c->nmi_masked || c->nmi_injected ? MAX_PENDING_NMIS - 1 : MAX_PENDING_NMIS;

	c->nmi_pending = (u8)MIN(c->nmi_pending + n, most);
}

int cpu_set_events(struct cpu *c, const struct kvm_vcpu_events *e)
{
	bool payload = e->flags & KVM_VCPUEVENT_VALID_PAYLOAD;

	if (!events_valid(e))
		return -EINVAL;
	c->exception.injected = e->exception.injected;
	/* Without payloads KVM knows one state only: being injected. */
	c->exception.pending = payload && e->exception.pending;
	c->exception.vector = e->exception.nr;
	c->exception.has_error = e->exception.has_error_code;
	c->exception.error = e->exception.error_code;
	c->exception.has_payload = payload && e->exception_has_payload;
	c->exception.payload = payload ? e->exception_payload : 0;
	c->interrupt.injected = e->interrupt.injected;
	c->interrupt.vector = e->interrupt.nr;
	c->interrupt.soft = e->interrupt.soft;
	if (e->flags & KVM_VCPUEVENT_VALID_SHADOW)
		c->shadow = shadow_swap(e->interrupt.shadow);
	c->nmi_injected = e->nmi.injected;
	c->nmi_masked = e->nmi.masked;
	if (e->flags & KVM_VCPUEVENT_VALID_NMI_PENDING) {
		c->nmi_pending = 0;
		cpu_queue_nmis(c, e->nmi.pending);
	}
	if (e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
		c->triple_fault = e->triple_fault.pending;
	return 0;
}
