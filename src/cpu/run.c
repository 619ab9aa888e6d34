/* SPDX-License-Identifier: MIT */
/*
 * cpu/run.c: a vCPU's life, and the loop around the interpreter: requests, events, single steps.
 */
#include "cpu/cpu.h"

#include "base/pagemem.h"
#include "cpu/code/flow.h"
#include "cpu/engine.h"
#include "cpu/fault.h"
#include "cpu/interpreter/interpreter.h"
#include "cpu/native/native.h"
#include "cpu/replay.h"
#include "cpu/spin.h"
#include "cpu/system/system.h"
#include "cpu/table/vendor.h"
#include "cpu/watch.h"
#include "sync/atomic.h"
#include "sync/trace.h"

/* Private request: leave the interpreter after one block (which then is one instruction). */
#define CPU_REQ_STEP (1u << 31)

/* Requests that are answered here; the others but mmu/'s are the owner's. */
#define CPU_REQS (CPU_REQ_STEP | CPU_REQ_SPIN | CPU_REQ_STUBS | CPU_REQ_DISTRUST)

static void free_memory(struct cpu *c)
{
	pagemem_free((u8 *)c - CPU_STACK_ROOM, CPU_STACK_ROOM + sizeof(*c));
}

int cpu_create(struct mmu *mmu, u32 index, const struct cpu_env *env, void *owner,
	       const struct mmu_vcpu_ops *mops, struct cpu **out)
{
	u8 *p = pagemem_alloc(CPU_STACK_ROOM + sizeof(struct cpu));
	struct cpu *c;
	int r;

	if (!p)
		return -ENOMEM;
	c = (struct cpu *)(p + CPU_STACK_ROOM);
	c->env = env;
	c->owner = owner;
	mmu_vcpu_init(mmu, &c->mmu, index, owner, mops);
	c->mmu.second = c->second;
	c->mmu.stat = &c->stat.faults;
	r = native_attach(c);
	if (r)
		goto out_mmu;
	r = code_cache_create(c);
	if (r)
		goto out_native;
	engine_attach(c);
	c->tlb = &c->mmu.tlb[TLB_KERNEL];
	cpu_reset(c, false);
	*out = c;
	return 0;
out_native:
	native_detach(c);
out_mmu:
	mmu_vcpu_fini(&c->mmu);
	free_memory(c);
	return r;
}

void cpu_destroy(struct cpu *c)
{
	engine_detach(c);
	code_cache_destroy(c);
	native_detach(c);
	mmu_vcpu_fini(&c->mmu);
	free_memory(c);
}

/* -- requests */

/* So often an answered instruction may begin again before a signal is heard. */
#define REPLAY_TRIES 16

/*
 * An instruction the VMM has just answered is finished before anything else happens. But what it
 * waits for (the other vCPUs, a page) may itself give up because of a signal, and then it is begun
 * again and again. So a signal ends the run in the end; the answers stay for the next one.
 */
static bool gives_up_replay(struct cpu *c)
{
	return replay_pending(c) && c->replay.tries++ >= REPLAY_TRIES &&
	       c->env->interrupted(c->owner);
}

/* False: the run ends (c->exit says why). In guest mode before and after. */
static bool answer_requests(struct cpu *c)
{
	u32 req = sync_load(&c->mmu.requests);

	if (req & CPU_REQ_STEP)
		sync_and(&c->mmu.requests, ~CPU_REQ_STEP);
	if (req & MMU_REQ_MASK)
		mmu_vcpu_safe_point(&c->mmu);
	if (req & CPU_REQ_DISTRUST) {
		sync_and(&c->mmu.requests, ~CPU_REQ_DISTRUST);
		code_cache_distrust(c);
	}
	if (req & CPU_REQ_STUBS) {
		sync_and(&c->mmu.requests, ~CPU_REQ_STUBS);
		native_catch_up(c);
	}
	if (req & CPU_REQ_SPIN) {
		sync_and(&c->mmu.requests, ~CPU_REQ_SPIN);
		if (!c->env->awaited || c->env->awaited(c->owner)) {
			mmu_vcpu_leave(&c->mmu);
			spin_yield(c);
			mmu_vcpu_enter(&c->mmu);
		} else {
			spin_goes_on(c);
		}
	}
	if (gives_up_replay(c)) {
		c->exit.reason = CPU_EXIT_INTR;
		return false;
	}
	if ((req & ~(MMU_REQ_MASK | CPU_REQS)) && !replay_pending(c)) {
		bool leave;

		mmu_vcpu_leave(&c->mmu);
		leave = c->env->requests(c->owner);
		mmu_vcpu_enter(&c->mmu);
		if (leave) {
			c->exit.reason = CPU_EXIT_REQUEST;
			return false;
		}
	}
	return true;
}

/* -- events */

/* Is no event half delivered, nor an exception waiting? */
static bool nothing_in_flight(const struct cpu *c)
{
	return !c->exception.pending && !c->exception.injected && !c->nmi_injected &&
	       !c->interrupt.injected && !c->triple_fault;
}

bool cpu_interrupt_allowed(const struct cpu *c)
{
	return (c->flags & FL_IF) && !c->shadow && nothing_in_flight(c) && !replay_pending(c);
}

static u64 linear_rip(const struct cpu *c)
{
	u64 la = c->rip + c->seg[SEG_CS].base;

	return cpu_long(c) ? la : (u32)la;
}

/* A debug exit of the VMM's own breakpoints or single step. */
static void leave_debug(struct cpu *c, u64 dr6_bits, u64 dr7)
{
	c->exit.debug.exception = VEC_DB;
	c->exit.debug.pc = linear_rip(c);
	c->exit.debug.dr6 = dr6_bits | 0xffff0ff0;
	c->exit.debug.dr7 = dr7;
	c->exit.reason = CPU_EXIT_DEBUG;
}

/*
 * One instruction is done: the traps of a single step and of data breakpoints, together. Those of one
 * which loads SS wait for the next (SDM vol. 3, 6.8.3).
 */
static void trap_after_step(struct cpu *c, bool tf)
{
	bool vmms_step = c->guest_debug & KVM_GUESTDBG_SINGLESTEP;
	u64 hits = c->watch_hits;

	if ((c->shadow & SHADOW_MOV_SS) && !vmms_step)
		return;
	c->watch_hits = 0;
	if (vmms_step || (hits && watch_is_vmms(c))) {
		leave_debug(c, hits | (vmms_step ? DR6_BS : 0), watch_is_vmms(c) ? c->guest_dr7 : c->dr7);
		return;
	}
	if (tf && !c->no_step_trap)
		hits |= DR6_BS;
	if (hits && !c->exception.pending)
		cpu_queue_debug(c, hits);
}

/* A frame that was pushed may have hit a data breakpoint. */
static void trap_after_delivery(struct cpu *c)
{
	if (unlikely(c->watch_hits) && nothing_in_flight(c))
		trap_after_step(c, false);
}

/* Counted when it is done: a fault on the way does not come back here. */
static void deliver_nmi(struct cpu *c)
{
	event_nmi(c);
	TRACE(nmi, c->stat.id, c->rip, 0, 0, 0, 0);
	c->stat.nmi_injections++;
}

static void deliver_interrupt(struct cpu *c)
{
	bool soft = c->interrupt.soft;

	TRACE(interrupt, c->stat.id, c->rip, c->interrupt.vector, 0, 0, 0);
	event_interrupt(c);
	/* Whoever is interrupted begins a loop anew, as a processor takes it (SDM vol. 3, 25.1.3): one that
	 * waits for an interrupt of another vCPU's would be asleep when it comes. */
	spin_ends(c);
	if (!soft)
		c->stat.irq_injections++;
}

/* A new NMI, then a new interrupt. */
static void take_interrupts(struct cpu *c)
{
	int vector;

	if (c->nmi_pending && !c->nmi_masked && !c->shadow && nothing_in_flight(c)) {
		c->nmi_pending--;
		c->nmi_injected = true;
		deliver_nmi(c);
	}
	if (!cpu_interrupt_allowed(c) || c->env->has_interrupt(c->owner) < 0)
		return;
	vector = c->env->get_interrupt(c->owner);
	if (vector < 0)
		return;
	c->interrupt.vector = (u8)vector;
	c->interrupt.soft = false;
	c->interrupt.injected = true;
	deliver_interrupt(c);
}

/*
 * Deliver what is due, in the order of SDM vol. 3, table 6-2, after what the VMM or an earlier
 * run had already begun to inject. False: the run ends.
 */
static bool deliver_events(struct cpu *c)
{
	if (c->exception.pending || c->exception.injected) {
		TRACE(exception, c->stat.id, c->rip, c->exception.vector, c->exception.error,
		      c->exception.payload, 0);
		event_exception(c);
		c->stat.exceptions++;
	} else if (c->nmi_injected) {
		deliver_nmi(c);
	} else if (c->interrupt.injected) {
		deliver_interrupt(c);
	}
	trap_after_delivery(c);
	/* A debugger may want to step without them (api.rst, KVM_GUESTDBG_BLOCKIRQ). */
	if (!(c->guest_debug & KVM_GUESTDBG_BLOCKIRQ))
		take_interrupts(c);
	trap_after_delivery(c);
	if (c->triple_fault) {
		c->triple_fault = false;
		c->exit.reason = CPU_EXIT_SHUTDOWN;
		return false;
	}
	if (c->request_irq_window && cpu_interrupt_allowed(c)) {
		c->exit.reason = CPU_EXIT_IRQ_WINDOW;
		return false;
	}
	return c->exit.reason == CPU_EXIT_NONE; /* a breakpoint of the VMM's */
}

/* -- single instructions */

/* An instruction breakpoint at rip? Then the instruction is not executed: it is a fault. */
static bool hit_code_breakpoint(struct cpu *c)
{
	u64 hits;

	/* Not in the middle of a string instruction, nor after a load of SS (SDM vol. 3, 6.8.3);
	 * AMD's processors do stop there. */
	if (c->repeating || ((c->shadow & SHADOW_MOV_SS) && !cpu_vendor_does(c, FACT_SHADOW_BREAK)))
		return false;
	hits = watch_code(c, linear_rip(c));
	if (!hits)
		return false;
	/* With what the load of SS has kept back. */
	hits |= c->watch_hits;
	c->watch_hits = 0;
	if (watch_is_vmms(c))
		leave_debug(c, hits, c->guest_dr7);
	else
		cpu_queue_debug(c, hits);
	return true;
}

/* Execute exactly one instruction, for single steps, breakpoints, shadows and replays. */
static void step(struct cpu *c)
{
	bool tf = c->flags & FL_TF;
	u8 shadow = c->shadow;

	if (!replay_pending(c) && hit_code_breakpoint(c))
		return;
	/* Spent on this instruction; one that loads RF (IRET) sets it for the next. */
	c->resumed = (c->flags & FL_RF) || c->repeating;
	c->flags &= ~FL_RF;
	c->repeating = false;
	c->no_step_trap = false;
	sync_or(&c->mmu.requests, CPU_REQ_STEP);
	c->key |= BLOCK_KEY_STEP;
	c->stepping = true;
	interpreter_run(c);
	c->stepping = false;
	sync_and(&c->mmu.requests, ~CPU_REQ_STEP);
	cpu_update_mode(c); /* the key without the bit set above, unless TF or the like sets it */
	if (c->shadow == shadow)
		c->shadow = 0;
	replay_forget(c);
	trap_after_step(c, tf);
}

bool cpu_must_step(const struct cpu *c)
{
	return c->shadow || (c->flags & (FL_TF | FL_RF)) ||
	       (c->guest_debug & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP)) ||
	       (c->dr7 & 0xff);
}

static bool must_step(const struct cpu *c)
{
	return replay_pending(c) || cpu_must_step(c);
}

/* A gather or scatter faults after some of its elements: their traps go before the fault, which comes
 * again when the instruction goes on (SDM vol. 2, VGATHERDPS). */
static void trap_before_fault(struct cpu *c)
{
	bool tf = c->flags & FL_TF;

	if (!c->repeating || !(tf || c->watch_hits))
		return;
	c->exception.pending = false;
	trap_after_step(c, tf);
}

/* Is there nothing that run_pass() would do before the next instruction? */
bool cpu_may_go_on(const struct cpu *c)
{
	if (c->exit.reason || c->halted || c->shadow || c->nmi_pending || c->request_irq_window)
		return false;
	if (!nothing_in_flight(c) || must_step(c) || flow_pending(c))
		return false;
	/* One that was posted while none could be taken has been looked at already. */
	return !(c->flags & FL_IF) || c->env->has_interrupt(c->owner) < 0;
}

const struct op *cpu_go_on(struct cpu *c)
{
	if ((c->block->key & BLOCK_KEY_STEP) || !cpu_may_go_on(c))
		return NULL;
	return flow_enter(c, flow_find(c, c->rip, c->key));
}

/* What an unwound instruction leaves behind when the VMM need not see it. */
static void after_unwind(struct cpu *c)
{
	if (c->stepping && c->exception.pending)
		trap_before_fault(c);
	if (c->stepping) {
		c->stepping = false;
		sync_and(&c->mmu.requests, ~CPU_REQ_STEP);
		if (c->resumed && !c->exception.pending)
			c->flags |= FL_RF; /* the same instruction is run again, or goes on */
		cpu_update_mode(c);
	}
	c->replay.next = 0;
	if (c->exception.pending) {
		replay_forget(c);
		c->shadow = 0;
		c->watch_hits = 0;
		/* An IRET that faults has ended the NMI's handler all the same (6.7.1). */
		if (c->in_iret)
			c->nmi_masked = false;
	}
	c->in_iret = false;
}

/* A pass of the loop: requests, events, then instructions. False: c->exit is for the caller. */
static bool run_pass(struct cpu *c)
{
	if (c->exit.reason)
		return false;
	if (sync_load(&c->mmu.requests) && !answer_requests(c))
		return false;
	if (!replay_pending(c)) {
		if (!deliver_events(c))
			return false;
		if (!nothing_in_flight(c))
			return true; /* a fault while delivering: deliver that first */
	}
	c->stat.code.place = STATPAGE_INTERPRETER;
	if (must_step(c))
		step(c);
	else
		interpreter_run(c);
	c->stat.code.place = STATPAGE_LOOP;
	if (c->halted)
		c->exit.reason = CPU_EXIT_HLT;
	return c->exit.reason == CPU_EXIT_NONE;
}

void cpu_run(struct cpu *c)
{
	struct unwind_point here;

	c->exit.reason = CPU_EXIT_NONE;
	c->unwind = &here;
	c->op = NULL;
	native_run_begin(c);
	native_enter(c);
	mmu_vcpu_enter(&c->mmu);
	/* The VMM, or a device it drives, may have stored into code since the last run. */
	if (!c->code_trusted)
		code_cache_distrust(c);
	c->code_trusted = false;
	if (UNWIND_SET(&here)) {
		c->stat.code.place = STATPAGE_LOOP;
		after_unwind(c);
	}
	while (run_pass(c))
		;
	mmu_vcpu_leave(&c->mmu);
	native_leave(c);
	native_run_end(c);
	c->unwind = NULL;
}
