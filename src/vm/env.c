/* SPDX-License-Identifier: MIT */
/* What a vCPU offers the rooms below: devices, interrupts, MSRs of the platform, hypercalls. */
#include "vm/env.h"

#include <linux/kvm_para.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "sync/atomic.h"
#include "vm/irq.h"
#include "vm/look.h"
#include "vm/pv.h"
#include "vm/signals.h"

#define MSR_APIC_BASE	  0x1b
#define MSR_PLATFORM_INFO 0xce
#define MSR_TSC_DEADLINE  0x6e0
#define MSR_X2APIC_FIRST  0x800
#define MSR_X2APIC_LAST	  0x8ff

#define KVM_HC_ERROR_ENOSYS (-(s64)KVM_ENOSYS)
#define KVM_HC_ERROR_EPERM  (-(s64)KVM_EPERM)
#define KVM_HC_ERROR_EINVAL (-(s64)KVM_EINVAL)

/* -- devices */

static int env_io(void *owner, u16 port, u32 size, bool write, void *data)
{
	return vm_bus_pio(owner, port, size, write, data) ? 0 : CPU_TO_VMM;
}

static int env_mmio(void *owner, gpa_t gpa, u32 size, bool write, void *data)
{
	return vm_bus_mmio(owner, gpa, size, write, data) ? 0 : CPU_TO_VMM;
}

/* -- interrupts */

static bool extint_ready(const struct vcpu *v)
{
	return v->irq_queued >= 0 && lapic_accepts_pic(v->lapic);
}

static int env_has_interrupt(void *owner)
{
	struct vcpu *v = owner;

	if (!v->lapic)
		return -1;
	if (extint_ready(v))
		return v->irq_queued;
	pv_eoi_settle(v);
	return irqchip_has_interrupt(v->vm->irqchip, v->lapic);
}

static int env_get_interrupt(void *owner)
{
	struct vcpu *v = owner;
	int vector = v->irq_queued;

	if (extint_ready(v)) {
		v->irq_queued = -1;
		return vector;
	}
	vector = irqchip_get_interrupt(v->vm->irqchip, v->lapic);
	if (vector >= 0)
		pv_eoi_offer(v);
	return vector;
}

static u64 env_get_cr8(void *owner)
{
	return vcpu_get_cr8(owner);
}

static int env_set_cr8(void *owner, u64 value)
{
	struct vcpu *v = owner;
	u64 before = v->cr8;

	vcpu_set_cr8(v, value);
	/* Lowering it may let an interrupt of the VMM's controller through. */
	return !v->lapic && value < before ? CPU_TO_VMM : 0;
}

/* -- MSRs */

static bool is_lapic_msr(u32 msr)
{
	return msr == MSR_TSC_DEADLINE || (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST);
}

static int env_msr_read(void *owner, u32 msr, bool host, u64 *value)
{
	struct vcpu *v = owner;

	if (msr == MSR_APIC_BASE) {
		*value = vcpu_get_apic_base(v);
		return 0;
	}
	if (!is_lapic_msr(msr))
		return pv_msr_read(v, msr, value);
	if (v->lapic)
		return lapic_msr_read(v->lapic, msr, value);
	*value = 0;
	return msr == MSR_TSC_DEADLINE ? 0 : -EINVAL;
}

static int env_msr_write(void *owner, u32 msr, bool host, u64 value)
{
	struct vcpu *v = owner;

	if (msr == MSR_APIC_BASE)
		return vcpu_set_apic_base(v, value, host);
	if (!is_lapic_msr(msr))
		return pv_msr_write(v, msr, value);
	if (v->lapic)
		return lapic_msr_write(v->lapic, msr, value);
	return msr == MSR_TSC_DEADLINE ? 0 : -EINVAL;
}

/*
 * A VMM sets each vCPU's TSC to the same value, one after the other. As KVM does, take values that
 * are less than a second apart for the same one, or the guest finds its TSCs out of step.
 */
static void match_tsc(struct vcpu *v)
{
	struct vm *vm = v->vm;
	s64 second = (s64)v->cpu->tsc_khz * 1000, apart;

	mutex_lock(&vm->lock);
	apart = (s64)(v->cpu->tsc_offset - vm->tsc_offset);
	if (vm->tsc_offset && apart > -second && apart < second)
		v->cpu->tsc_offset = vm->tsc_offset;
	else
		vm->tsc_offset = v->cpu->tsc_offset;
	mutex_unlock(&vm->lock);
}

static void env_tsc_changed(void *owner, bool host)
{
	struct vcpu *v = owner;

	if (host)
		match_tsc(v);
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_CLOCK);
}

static bool env_msr_allowed(void *owner, u32 msr, bool write)
{
	struct vcpu *v = owner;

	if (msr == MSR_PLATFORM_INFO && !write && v->vm->hide_platform_info)
		return false;
	return vm_msr_allowed(v->vm, msr, write);
}

static bool env_msr_exits(void *owner, u32 reason)
{
	const struct vcpu *v = owner;

	return v->vm->user_space_msr & reason;
}

static bool env_quirk_off(void *owner, u64 quirk)
{
	const struct vcpu *v = owner;

	return sync_load(&v->vm->disabled_quirks) & quirk;
}

/*
 * -- hypercalls (KVM's hypercalls.rst). None is announced in CPUID; all are served to whoever asks, unless
 * the VMM wants CPUID enforced (api.rst, KVM_CAP_ENFORCE_PV_FEATURE_CPUID).
 */

/* KVM_HC_MAP_GPA_RANGE is the VMM's to answer, if it asked for it: then true, else *r is the result. */
static bool map_gpa_range(const struct vcpu *v, struct cpu *c, s64 *r)
{
	u64 mask = cpu_long(c) ? ~0ULL : UINT32_MAX;
	u64 gpa = c->reg[RBX] & mask, npages = c->reg[RCX] & mask;

	if (!(v->vm->exits_on_hypercall & BIT(KVM_HC_MAP_GPA_RANGE)))
		return *r = KVM_HC_ERROR_ENOSYS, false;
	if ((gpa & ~PAGE_MASK) || (gpa >> PAGE_SHIFT) + npages <= gpa >> PAGE_SHIFT)
		return *r = KVM_HC_ERROR_EINVAL, false;
	memset(&c->exit.hypercall, 0, sizeof(c->exit.hypercall));
	c->exit.hypercall.nr = KVM_HC_MAP_GPA_RANGE;
	c->exit.hypercall.args[0] = gpa;
	c->exit.hypercall.args[1] = npages;
	c->exit.hypercall.args[2] = c->reg[RDX] & mask;
	c->exit.hypercall.longmode = cpu_long(c);
	return true;
}

static s64 yield_to(struct vcpu *v)
{
	if (!pv_offered(v, KVM_FEATURE_PV_SCHED_YIELD))
		return KVM_HC_ERROR_ENOSYS;
	/* The host's scheduler knows no directed yield: let whoever waits have a turn. */
	sched_yield();
	return 0;
}

static s64 kick_cpu(struct vcpu *v, const struct cpu *c)
{
	if (!v->vm->irqchip || !pv_offered(v, KVM_FEATURE_PV_UNHALT))
		return KVM_HC_ERROR_ENOSYS;
	irqchip_unhalt(v->vm->irqchip, (u32)c->reg[RCX]);
	return 0;
}

static s64 send_ipi(struct vcpu *v, struct cpu *c)
{
	unsigned width = cpu_long(c) ? 64 : 32;
	u64 mask = cpu_long(c) ? ~0ULL : UINT32_MAX;
	unsigned __int128 high = c->reg[RCX] & mask;

	if (!v->vm->irqchip || !pv_offered(v, KVM_FEATURE_PV_SEND_IPI))
		return KVM_HC_ERROR_ENOSYS;
	return irqchip_send_ipis(v->vm->irqchip, high << width | (c->reg[RBX] & mask),
				 (u32)c->reg[RDX], (u32)c->reg[RSI]);
}

static int env_hypercall(void *owner, struct cpu *c)
{
	u64 nr = cpu_long(c) ? c->reg[RAX] : (u32)c->reg[RAX];
	s64 r = KVM_HC_ERROR_ENOSYS;

	c->stat.hypercalls++;
	if (c->cpl)
		r = KVM_HC_ERROR_EPERM;
	else if (nr == KVM_HC_VAPIC_POLL_IRQ)
		r = 0;
	else if (nr == KVM_HC_SCHED_YIELD)
		r = yield_to(owner);
	else if (nr == KVM_HC_KICK_CPU)
		r = kick_cpu(owner, c);
	else if (nr == KVM_HC_SEND_IPI)
		r = send_ipi(owner, c);
	else if (nr == KVM_HC_MAP_GPA_RANGE && map_gpa_range(owner, c, &r))
		return CPU_TO_VMM;
	c->reg[RAX] = cpu_long(c) ? (u64)r : (u32)r;
	return 0;
}

/* -- requests */

static bool env_interrupted(void *owner)
{
	return vcpu_must_leave(owner);
}

static bool env_requests(void *owner)
{
	struct vcpu *v = owner;
	u32 req = sync_and(&v->cpu->mmu.requests,
			   ~(u32)(VCPU_REQ_EVENT | VCPU_REQ_SIGNAL | VCPU_REQ_CLOCK | VCPU_REQ_LOOK));

	if (unlikely(req & VCPU_REQ_LOOK))
		vcpu_look_answer(v);
	pv_requests(v, req);
	return vcpu_must_leave(v) || sync_load(&v->pending_events) || mmu_ring_full(&v->cpu->mmu);
}

/* Only another vCPU that is not halted may run into what this one spins for. */
static bool env_awaited(void *owner)
{
	struct vcpu *v = owner;
	u32 n = sync_load_acquire(&v->vm->nvcpus);

	for (u32 i = 0; i < n; i++) {
		if (i != v->index && !sync_load(&v->vm->vcpu[i]->asleep))
			return true;
	}
	return false;
}

const struct cpu_env vcpu_cpu_env = {
	.io = env_io,
	.mmio = env_mmio,
	.has_interrupt = env_has_interrupt,
	.get_interrupt = env_get_interrupt,
	.get_cr8 = env_get_cr8,
	.set_cr8 = env_set_cr8,
	.msr_read = env_msr_read,
	.msr_write = env_msr_write,
	.msr_allowed = env_msr_allowed,
	.tsc_changed = env_tsc_changed,
	.msr_exits = env_msr_exits,
	.quirk_off = env_quirk_off,
	.hypercall = env_hypercall,
	.requests = env_requests,
	.interrupted = env_interrupted,
	.awaited = env_awaited,
};

/* -- mmu/ */

/* A flush waits for this vCPU: break off a guest access it may be stuck in. */
static void mmu_kick(void *owner)
{
	struct vcpu *v = owner;
	int tid = sync_load(&v->tid);

	if (tid)
		signals_kick(v, tid);
}

const struct mmu_vcpu_ops vcpu_mmu_ops = {
	.kick = mmu_kick,
	.interrupted = env_interrupted,
};

/* -- irqchip/ */

static void irqchip_kick(void *vcpu)
{
	vcpu_post(vcpu, VCPU_REQ_EVENT);
}

static void irqchip_nmi(void *vcpu)
{
	vcpu_nmi(vcpu);
}

static void irqchip_unhalt_vcpu(void *vcpu)
{
	vcpu_unhalt(vcpu);
}

/* System management mode is not built: its capabilities are 0 and an SMI goes nowhere. */
static void irqchip_smi(void *vcpu)
{
	(void)vcpu;
}

static void irqchip_init(void *vcpu)
{
	vcpu_init(vcpu);
}

static void irqchip_sipi(void *vcpu, u8 vector)
{
	vcpu_sipi(vcpu, vector);
}

static void irqchip_eoi(void *vcpu, u8 vector)
{
	struct vcpu *v = vcpu;

	sync_or(&v->pending_eoi[vector / 64], BIT(vector % 64));
	sync_or(&v->pending_events, EVENT_EOI);
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_EVENT);
}

static u64 irqchip_tsc(void *vcpu)
{
	const struct vcpu *v = vcpu;

	return cpu_tsc(v->cpu);
}

static u32 irqchip_tsc_khz(void *vcpu)
{
	const struct vcpu *v = vcpu;

	return v->cpu->tsc_khz;
}

static void irqchip_acked(void *vm, u32 gsi)
{
	vm_irq_acked(vm, gsi);
}

static bool irqchip_is_bsp(void *vcpu)
{
	const struct vcpu *v = vcpu;

	return v->id == v->vm->bsp_id;
}

static u32 irqchip_vm_flags(void *p)
{
	const struct vm *vm = p;
	u32 flags = vm->x2apic_format_32bit ? IRQCHIP_FLAG_X2APIC_32BIT : 0;

	if (vm->x2apic_no_broadcast_quirk)
		flags |= IRQCHIP_FLAG_NO_BROADCAST_QUIRK;
	if (vm->disabled_quirks & KVM_X86_QUIRK_LINT0_REENABLED)
		flags |= IRQCHIP_FLAG_NO_LINT0_QUIRK;
	return flags;
}

const struct irqchip_ops vcpu_irqchip_ops = {
	.kick = irqchip_kick,
	.nmi = irqchip_nmi,
	.smi = irqchip_smi,
	.init = irqchip_init,
	.sipi = irqchip_sipi,
	.unhalt = irqchip_unhalt_vcpu,
	.ioapic_eoi = irqchip_eoi,
	.guest_tsc = irqchip_tsc,
	.tsc_khz = irqchip_tsc_khz,
	.gsi_acked = irqchip_acked,
	.is_bsp = irqchip_is_bsp,
	.flags = irqchip_vm_flags,
};
