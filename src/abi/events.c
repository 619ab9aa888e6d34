/* SPDX-License-Identifier: MIT */
/* abi/events.c: calls on a vCPU about interrupts, events, the APIC, machine checks and time. */
#include <signal.h>
#include "abi/internal.h"
#include "vm/clock.h"
#include "vm/pv.h"
#include "abi/sregs.h"
#include "base/guard.h"
#include "base/thread.h"

/* IA32_MCG_CAP and the like: SDM vol. 3, 16.3. */
#define MCI_VAL	      BIT(63)
#define MCI_OVER      BIT(62)
#define MCI_UC	      BIT(61)
#define MCI_PCC	      BIT(57)
#define MCI_S	      BIT(56)
#define MCI_AR	      BIT(55)
#define MCI_CMCI_EN   BIT(30) /* IA32_MCi_CTL2 */
#define MCG_STATUS_IP BIT(2)

void events_get(struct vcpu *v, struct kvm_vcpu_events *e)
{
	vcpu_accept_nmis(v);
	cpu_get_events(v->cpu, e);
	/* The SMM fields are always there; a SIPI vector is never reported. */
	e->flags |= KVM_VCPUEVENT_VALID_SMM;
	if (!v->vm->exception_payload) {
		e->flags &= ~(u32)KVM_VCPUEVENT_VALID_PAYLOAD;
		e->exception.injected |= e->exception.pending;
		e->exception_has_payload = 0;
		e->exception_payload = 0;
	}
	if (!v->vm->triple_fault_event) {
		e->flags &= ~(u32)KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
		e->triple_fault.pending = 0;
	}
}

int events_set(struct vcpu *v, const struct kvm_vcpu_events *in)
{
	u32 valid = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
		    KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM;
	struct kvm_vcpu_events e = *in;

	if (v->vm->exception_payload)
		valid |= KVM_VCPUEVENT_VALID_PAYLOAD;
	if (v->vm->triple_fault_event)
		valid |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	if (e.flags & ~valid)
		return -EINVAL;
	if (e.flags & KVM_VCPUEVENT_VALID_PAYLOAD) {
		if (e.exception.pending)
			e.exception.injected = 0;
		else
			e.exception_has_payload = 0;
	} else {
		e.exception.pending = 0;
		e.exception_has_payload = 0;
	}
	if (cpu_set_events(v->cpu, &e))
		return -EINVAL;
	if (v->lapic && (e.flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR))
		v->sipi_vector = e.sipi_vector;
	vcpu_post(v, VCPU_REQ_EVENT);
	return 0;
}

long vcpu_ioctl_get_events(struct call *c)
{
	events_get(c->v, (void *)c->buf);
	return 0;
}

long vcpu_ioctl_set_events(struct call *c)
{
	return events_set(c->v, (void *)c->buf);
}

long vcpu_ioctl_get_mp_state(struct call *c)
{
	return vcpu_get_mp_state(c->v, (void *)c->buf);
}

long vcpu_ioctl_set_mp_state(struct call *c)
{
	return vcpu_set_mp_state(c->v, (void *)c->buf);
}

long vcpu_ioctl_get_lapic(struct call *c)
{
	if (!c->v->lapic)
		return -EINVAL;
	pv_settle(c->v);
	lapic_get_state(c->v->lapic, (void *)c->buf);
	return 0;
}

long vcpu_ioctl_set_lapic(struct call *c)
{
	struct kvm_lapic_state *s = (void *)c->buf;

	if (!c->v->lapic)
		return -EINVAL;
	if (guard_copy_from(s, c->user, sizeof(*s)))
		return -EFAULT;
	return lapic_set_state(c->v->lapic, s);
}

long vcpu_ioctl_interrupt(struct call *c)
{
	const struct kvm_interrupt *i = (void *)c->buf;

	return vcpu_interrupt(c->v, i->irq);
}

long vcpu_ioctl_nmi(struct call *c)
{
	vcpu_nmi(c->v);
	return 0;
}

long vcpu_ioctl_smi(struct call *c)
{
	return -ENOTTY;
}

long vcpu_ioctl_set_signal_mask(struct call *c)
{
	struct kvm_signal_mask m;
	sigset_t set;

	if (!c->user) {
		c->v->has_sigmask = false;
		return 0;
	}
	memset(&set, 0, sizeof(set));
	if (guard_copy_from(&m, c->user, sizeof(m)))
		return -EFAULT;
	if (m.len != KERNEL_SIGSET_BYTES)
		return -EINVAL;
	if (guard_copy_from(&set, call_user_at(c->user, sizeof(m)), KERNEL_SIGSET_BYTES))
		return -EFAULT;
	sigdelset(&set, SIGKILL);
	sigdelset(&set, SIGSTOP);
	c->v->sigmask = set;
	c->v->has_sigmask = true;
	return 0;
}

long vcpu_ioctl_tpr_reporting(struct call *c)
{
	const struct kvm_tpr_access_ctl *t = (void *)c->buf;

	return t->flags ? -EINVAL : 0;
}

long vcpu_ioctl_set_vapic(struct call *c)
{
	struct kvm_vapic_addr a;

	if (!c->v->lapic)
		return -EINVAL;
	if (guard_copy_from(&a, c->user, sizeof(a)))
		return -EFAULT;
	/* The word has to lie in a memslot. */
	if (a.vapic_addr && !mmu_gfn_to_hva(c->vm->mmu, a.vapic_addr >> PAGE_SHIFT, NULL))
		return -EINVAL;
	return 0;
}

/* ---- machine checks */

long vcpu_ioctl_setup_mce(struct call *c)
{
	struct cpu *cpu = c->v->cpu;
	u64 cap = c->u64;
	u32 i, banks = cap & 0xff;

	if (!banks || banks > NR_MCE_BANKS || cap & ~(MCG_SUPPORTED | 0xff00ff))
		return -EINVAL;
	cpu->mcg_cap = cap;
	if (cap & MCG_CTL_P)
		cpu->mcg_ctl = ~0ULL;
	for (i = 0; i < banks; i++) {
		cpu->mce[i * 4] = ~0ULL; /* IA32_MCi_CTL */
		cpu->mce_ctl2[i] = 0;
	}
	if (c->v->lapic)
		lapic_set_cmci(c->v->lapic, cap & MCG_CMCI_P);
	return 0;
}

static void log_bank(struct cpu *cpu, u64 *bank, const struct kvm_x86_mce *m, u64 status)
{
	bank[1] = status;
	bank[2] = m->addr;
	bank[3] = m->misc;
	cpu->mcg_status = m->mcg_status;
}

/* An uncorrected error that needs no action: it is logged, and told by interrupt if anything. */
static bool is_ucna(const struct kvm_x86_mce *m)
{
	return !m->mcg_status && !(m->status & (MCI_PCC | MCI_S | MCI_AR));
}

static void set_ucna(struct vcpu *v, const struct kvm_x86_mce *m)
{
	struct cpu *cpu = v->cpu;

	log_bank(cpu, &cpu->mce[m->bank * 4], m, m->status);
	if (v->lapic && (cpu->mcg_cap & MCG_CMCI_P) && (cpu->mce_ctl2[m->bank] & MCI_CMCI_EN))
		lapic_cmci(v->lapic);
}

long vcpu_ioctl_set_mce(struct call *c)
{
	const struct kvm_x86_mce *m = (void *)c->buf;
	struct cpu *cpu = c->v->cpu;
	u64 *bank, status = m->status;

	if (m->bank >= (cpu->mcg_cap & 0xff) || !(status & MCI_VAL))
		return -EINVAL;
	if (is_ucna(m)) {
		set_ucna(c->v, m);
		return 0;
	}
	bank = &cpu->mce[m->bank * 4];
	if (!(status & MCI_UC)) {
		/* A corrected error never overwrites an uncorrected one. */
		if ((bank[1] & (MCI_VAL | MCI_UC)) == (MCI_VAL | MCI_UC))
			bank[1] |= MCI_OVER;
		else
			log_bank(cpu, bank, m, bank[1] & MCI_VAL ? status | MCI_OVER : status);
		return 0;
	}
	/* Reporting may be switched off, for all or by bank (SDM vol. 3, 16.3.1.3, 16.3.2.1).
	 */
	if (((cpu->mcg_cap & MCG_CTL_P) && cpu->mcg_ctl != ~0ULL) || bank[0] != ~0ULL)
		return 0;
	if ((cpu->mcg_status & MCG_STATUS_IP) || !(cpu->cr4 & CR4_MCE)) {
		cpu->triple_fault = true;
		return 0;
	}
	log_bank(cpu, bank, m, bank[1] & MCI_VAL ? status | MCI_OVER : status);
	cpu_queue_exception(cpu, VEC_MC, false, 0);
	return 0;
}

/* ---- time */

long vcpu_ioctl_kvmclock_ctrl(struct call *c)
{
	return clock_guest_paused(c->v);
}

long vcpu_ioctl_get_tsc_khz(struct call *c)
{
	return c->v->cpu->tsc_khz;
}

long vcpu_ioctl_set_tsc_khz(struct call *c)
{
	u32 khz = (u32)c->arg, host_khz = c->vm->host_tsc_khz;
	int r = cpu_set_tsc_khz(c->v->cpu, khz ? khz : host_khz, host_khz);

	if (!r)
		vcpu_post(c->v, VCPU_REQ_CLOCK);
	return r;
}

static int tsc_attr(const struct kvm_device_attr *a)
{
	return a->group != KVM_VCPU_TSC_CTRL || a->attr != KVM_VCPU_TSC_OFFSET ? -ENXIO : 0;
}

long vcpu_ioctl_has_attr(struct call *c)
{
	return tsc_attr((void *)c->buf);
}

long vcpu_ioctl_get_attr(struct call *c)
{
	const struct kvm_device_attr *a = (void *)c->buf;

	if (tsc_attr(a))
		return -ENXIO;
	return guard_copy_to((void *)(uintptr_t)a->addr, &c->v->cpu->tsc_offset, sizeof(u64));
}

long vcpu_ioctl_set_attr(struct call *c)
{
	const struct kvm_device_attr *a = (void *)c->buf;
	u64 offset;

	if (tsc_attr(a))
		return -ENXIO;
	if (guard_copy_from(&offset, (void *)(uintptr_t)a->addr, sizeof(offset)))
		return -EFAULT;
	c->v->cpu->tsc_offset = offset;
	vcpu_post(c->v, VCPU_REQ_CLOCK);
	return 0;
}

/* ---- memory */

long vcpu_ioctl_pre_fault(struct call *c)
{
	struct kvm_pre_fault_memory m;
	u64 done = 0;
	long r;

	if (guard_copy_from(&m, c->user, sizeof(m)))
		return -EFAULT;
	if (m.flags || !m.size || (m.gpa | m.size) & (PAGE_SIZE - 1) || m.gpa + m.size <= m.gpa)
		return -EINVAL;
	r = vcpu_prefault(c->v, m.gpa, m.size, &done);
	m.gpa += done;
	m.size -= done;
	if (guard_copy_to(c->user, &m, sizeof(m)))
		return -EFAULT;
	return done ? 0 : r;
}
