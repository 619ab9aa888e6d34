/* SPDX-License-Identifier: MIT */
/*
 * vm/vcpu.c: KVM_RUN as the VM sees it: start, halt, wait, wake, and what comes from outside.
 * What the rooms below call back for is in env.c.
 */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu/replay.h"
#include "primary/linux/linux.h"
#include "sync/atomic.h"
#include "sync/trace.h"
#include "base/identity.h"
#include "vm/env.h"
#include "vm/pv.h"
#include "vm/signals.h"

#define CPUID_X2APIC	   BIT(21) /* leaf 1, ECX */
#define CPUID_TSC_DEADLINE BIT(24)

/* -- waking */

void vcpu_kick(struct vcpu *v)
{
	sync_add(&v->wake_seq, 1);
	/* No longer asleep, though it may wait for a processor yet: see env_awaited(). */
	if (sync_xchg(&v->asleep, 0))
		syscall(SYS_futex, &v->wake_seq, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void vcpu_post(struct vcpu *v, u32 request_bits)
{
	mmu_vcpu_request(&v->cpu->mmu, request_bits);
	vcpu_kick(v);
}

static void post_event(struct vcpu *v, u32 event)
{
	sync_or(&v->pending_events, event);
	vcpu_post(v, VCPU_REQ_EVENT);
}

void vcpu_nmi(struct vcpu *v)
{
	sync_add(&v->nmis, 1);
	post_event(v, EVENT_NMI);
}

void vcpu_accept_nmis(struct vcpu *v)
{
	cpu_queue_nmis(v->cpu, sync_xchg(&v->nmis, 0));
}

void vcpu_init(struct vcpu *v)
{
	/* An INIT cancels a SIPI that came before it and was not taken yet. */
	sync_and(&v->pending_events, ~(u32)EVENT_SIPI);
	post_event(v, EVENT_INIT);
}

void vcpu_sipi(struct vcpu *v, u8 vector)
{
	sync_store(&v->sipi_vector, vector);
	post_event(v, EVENT_SIPI);
}

void vcpu_unhalt(struct vcpu *v)
{
	post_event(v, EVENT_UNHALT);
}

/* -- taking what came from outside; the vCPU's thread or under its mutex */

static void start_at_sipi(struct vcpu *v)
{
	struct cpu *c = v->cpu;
	u32 vector = sync_load(&v->sipi_vector);

	/* SDM vol. 3, 8.4.4.2: CS:IP is VV00:0000 */
	c->seg[SEG_CS].sel = (u16)(vector << 8);
	c->seg[SEG_CS].base = (u64)vector << 12;
	c->rip = 0;
	v->mp_state = KVM_MP_STATE_RUNNABLE;
}

static void accept_events(struct vcpu *v)
{
	u32 ev = sync_load(&v->pending_events);

	if (!ev)
		return;
	ev = sync_xchg(&v->pending_events, 0);
	if (ev & EVENT_NMI)
		vcpu_accept_nmis(v);
	v->unhalted |= (ev & EVENT_UNHALT) != 0;
	if (ev & EVENT_INIT) {
		v->unhalted = false;
		replay_forget(v->cpu);
		cpu_reset(v->cpu, true);
		pv_reset(v);
		if (v->lapic)
			lapic_reset(v->lapic, true);
		v->mp_state = v->id == v->vm->bsp_id ? KVM_MP_STATE_RUNNABLE
						     : KVM_MP_STATE_INIT_RECEIVED;
	}
	if ((ev & EVENT_SIPI) && v->mp_state == KVM_MP_STATE_INIT_RECEIVED)
		start_at_sipi(v);
}

/* -- waiting */

bool vcpu_must_leave(const struct vcpu *v)
{
	return v->leave_soon || signals_pending();
}

/* Would a halted vCPU run on? */
static bool has_work(struct vcpu *v)
{
	struct cpu *c = v->cpu;

	if (sync_load(&v->pending_events))
		return true;
	if (v->mp_state != KVM_MP_STATE_HALTED)
		return v->mp_state == KVM_MP_STATE_RUNNABLE;
	return v->unhalted || c->exception.pending || (c->nmi_pending && !c->nmi_masked) ||
	       (cpu_interrupt_allowed(c) && vcpu_cpu_env.has_interrupt(v) >= 0) ||
	       c->interrupt.injected;
}

/* Sleep until there is work or a reason to leave. */
static void block(struct vcpu *v)
{
	TRACE(halt, v->id, v->cpu->rip, 0, 0, 0, 0);
	pv_sleep(v);
	v->cpu->stat.state = STATPAGE_HALTED;
	for (;;) {
		u32 seq = sync_load(&v->wake_seq);

		sync_store(&v->asleep, 1);
		sync_mb();
		if (has_work(v) || vcpu_must_leave(v))
			break;
		syscall(SYS_futex, &v->wake_seq, FUTEX_WAIT_PRIVATE, seq, NULL, NULL, 0);
	}
	sync_store(&v->asleep, 0);
	pv_wake(v);
	TRACE(wake, v->id, v->cpu->rip, 0, 0, 0, 0);
	v->cpu->stat.state = STATPAGE_RUN;
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_EVENT);
}

/* -- KVM_RUN */

/* The next EOI the VMM is to hear of: true, and the exit is filled in. */
static bool take_eoi(struct vcpu *v)
{
	for (u32 i = 0; i < ARRAY_SIZE(v->pending_eoi); i++) {
		u64 bits = sync_load(&v->pending_eoi[i]);

		if (!bits)
			continue;
		sync_and(&v->pending_eoi[i], ~(bits & -bits));
		v->exit->reason = CPU_EXIT_IOAPIC_EOI;
		v->exit->eoi_vector = (u8)(i * 64 + (u32)__builtin_ctzll(bits));
		return true;
	}
	return false;
}

void vm_distrust_code(struct vm *vm)
{
	u32 n = sync_load_acquire(&vm->nvcpus);

	for (u32 i = 0; i < n; i++)
		mmu_vcpu_request(&vm->vcpu[i]->cpu->mmu, CPU_REQ_DISTRUST);
}

/* 1: go on; 0 or -errno: vcpu_run()'s result. */
static int after_run(struct vcpu *v)
{
	struct cpu *c = v->cpu;

	c->stat.run_exits++;
	switch (c->exit.reason) {
	case CPU_EXIT_NONE:
	case CPU_EXIT_REQUEST:
		return 1;
	case CPU_EXIT_INTR:
		return vcpu_must_leave(v) ? -EINTR : 1;
	case CPU_EXIT_NOMEM:
		return -ENOMEM;
	case CPU_EXIT_MEMORY:
		return c->exit.memory.error;
	case CPU_EXIT_HLT:
		c->halted = false;
		c->stat.halt_exits++;
		if (!v->lapic)
			return 0;
		v->mp_state = KVM_MP_STATE_HALTED;
		return 1;
	case CPU_EXIT_IRQ_WINDOW:
		c->stat.irq_window_exits++;
		return 0;
	default:
		return 0;
	}
}

static void wake_from_halt(struct vcpu *v)
{
	v->mp_state = KVM_MP_STATE_RUNNABLE;
	v->unhalted = false;
	v->cpu->stat.halt_wakeup++;
}

static int run_loop(struct vcpu *v)
{
	int r;

	do {
		accept_events(v);
		/* An instruction the VMM answered is finished even if the run is to end. */
		if (vcpu_must_leave(v) && !replay_pending(v->cpu))
			return -EINTR;
		if (!replay_pending(v->cpu) && take_eoi(v))
			return 0;
		if (v->mp_state == KVM_MP_STATE_UNINITIALIZED) {
			/* KVM lets the VMM see this one: api.rst, KVM_RUN's EAGAIN */
			block(v);
			accept_events(v);
			return vcpu_must_leave(v) ? -EINTR : -EAGAIN;
		}
		if (v->mp_state != KVM_MP_STATE_RUNNABLE) {
			block(v);
			accept_events(v);
			if (v->mp_state == KVM_MP_STATE_HALTED && has_work(v))
				wake_from_halt(v);
			r = 1;
			continue;
		}
		if (mmu_ring_full(&v->cpu->mmu)) {
			v->exit->reason = CPU_EXIT_RING_FULL;
			return 0;
		}
		v->has_run = true;
		cpu_run(v->cpu);
		r = after_run(v);
		/* A halt that ends without the VMM, by a timer say, changed no code. */
		v->cpu->code_trusted = r > 0;
	} while (r > 0);
	return r;
}

int vcpu_run(struct vcpu *v)
{
	int r = vm_start(v->vm);

	if (unlikely(r))
		return r;
	v->cpu->code_trusted = false;
	v->leave_soon = v->immediate_exit && __atomic_load_n(v->immediate_exit, __ATOMIC_RELAXED);
	sync_store(&v->tid, identity_thread());
	v->cpu->stat.tid = (u32)v->tid;
	v->cpu->stat.state = STATPAGE_RUN;
	signals_run_begin(v, v->has_sigmask ? &v->sigmask : NULL);
	if (v->leave_soon)
		mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_SIGNAL);
	primary_linux_look_at_entry();
	pv_run_begin(v);
	r = run_loop(v);
	pv_run_end(v);
	if (r == -EINTR)
		v->cpu->stat.signal_exits++;
	signals_run_end(v);
	sync_store(&v->tid, 0);
	v->cpu->stat.state = STATPAGE_VMM;
	v->cpu->stat.tid = 0;
	v->leave_soon = false;
	return r;
}

int vcpu_prefault(struct vcpu *v, gpa_t gpa, u64 size, u64 *done)
{
	int r;

	signals_wait_begin();
	r = mmu_prefault(&v->cpu->mmu, gpa, size, done);
	signals_wait_end();
	return r;
}

/* -- what the VMM asks and sets */

int vcpu_interrupt(struct vcpu *v, u32 vector)
{
	if (vector >= KVM_NR_INTERRUPTS)
		return -EINVAL;
	if (!v->lapic) {
		v->cpu->interrupt.injected = true;
		v->cpu->interrupt.soft = false;
		v->cpu->interrupt.vector = (u8)vector;
		return 0;
	}
	if (irqchip_mode(v->vm->irqchip) == IRQCHIP_KERNEL)
		return -ENXIO;
	if (v->irq_queued >= 0)
		return -EEXIST;
	v->irq_queued = (int)vector;
	vcpu_post(v, VCPU_REQ_EVENT);
	return 0;
}

bool vcpu_irq_ready(struct vcpu *v)
{
	if (v->lapic && irqchip_mode(v->vm->irqchip) == IRQCHIP_KERNEL)
		return true;
	return cpu_interrupt_allowed(v->cpu) && v->irq_queued < 0 &&
	       (!v->lapic || lapic_accepts_pic(v->lapic));
}

int vcpu_get_mp_state(struct vcpu *v, struct kvm_mp_state *s)
{
	accept_events(v);
	s->mp_state = v->mp_state;
	return 0;
}

int vcpu_set_mp_state(struct vcpu *v, const struct kvm_mp_state *s)
{
	switch (s->mp_state) {
	case KVM_MP_STATE_RUNNABLE:
		break;
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_HALTED:
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_SIPI_RECEIVED:
	case KVM_MP_STATE_AP_RESET_HOLD:
		if (!v->lapic)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	if (s->mp_state == KVM_MP_STATE_SIPI_RECEIVED) {
		v->mp_state = KVM_MP_STATE_INIT_RECEIVED;
		post_event(v, EVENT_SIPI);
	} else {
		v->mp_state = s->mp_state;
	}
	return 0;
}

u64 vcpu_get_apic_base(struct vcpu *v)
{
	return v->lapic ? lapic_get_base(v->lapic) : v->apic_base;
}

int vcpu_set_apic_base(struct vcpu *v, u64 base, bool host_initiated)
{
	u32 r[4];

	if (base & v->cpu->reserved_gpa)
		return -EINVAL;
	if (v->lapic)
		return lapic_set_base(v->lapic, base, host_initiated);
	cpu_cpuid(v->cpu, 1, 0, r);
	if (!lapic_base_valid(v->apic_base, base, r[2] & CPUID_X2APIC, host_initiated))
		return -EINVAL;
	v->apic_base = base;
	return 0;
}

u64 vcpu_get_cr8(struct vcpu *v)
{
	return v->lapic ? lapic_get_cr8(v->lapic) : v->cr8;
}

void vcpu_set_cr8(struct vcpu *v, u64 cr8)
{
	if (v->lapic)
		lapic_set_cr8(v->lapic, cr8);
	else
		v->cr8 = cr8;
}

void vcpu_cpuid_changed(struct vcpu *v)
{
	u32 r[4];

	if (!v->lapic)
		return;
	cpu_cpuid(v->cpu, 1, 0, r);
	lapic_set_features(v->lapic, r[2] & CPUID_X2APIC, r[2] & CPUID_TSC_DEADLINE);
}
