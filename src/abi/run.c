/* SPDX-License-Identifier: MIT */
/*
 * abi/run.c: KVM_RUN: from struct kvm_run to a run and back (api.rst, chapters 4.10 and 5).
 *
 * The VMM may write to its mapping at any time: every field is read once, what it says is never used
 * as a length or an index, and what was written there is not read back.
 */
#include "abi/internal.h"
#include "abi/report.h"
#include "abi/sregs.h"
#include "base/stack.h"
#include "sync/atomic.h"
#include "vm/confine.h"

#define PIO_OFFSET (UAPI_PIO_PAGE * PAGE_SIZE)

/* ---- before: what the VMM put in */

/* Synced registers that the VMM says it changed. */
static int take_dirty_regs(struct vcpu *v, struct kvm_run *run)
{
	u64 dirty = sync_load(&run->kvm_dirty_regs), valid = sync_load(&run->kvm_valid_regs);
	union {
		struct kvm_regs r;
		struct kvm_sregs s;
		struct kvm_vcpu_events e;
	} copy;

	if ((dirty | valid) & ~(u64)KVM_SYNC_X86_VALID_FIELDS)
		return -EINVAL;
	if (dirty & KVM_SYNC_X86_REGS) {
		copy.r = run->s.regs.regs;
		cpu_set_regs(v->cpu, &copy.r);
	}
	if (dirty & KVM_SYNC_X86_SREGS) {
		copy.s = run->s.regs.sregs;
		if (sregs_set(v, &copy.s))
			return -EINVAL;
	}
	if (dirty & KVM_SYNC_X86_EVENTS) {
		copy.e = run->s.regs.events;
		if (events_set(v, &copy.e))
			return -EINVAL;
	}
	run->kvm_dirty_regs = 0;
	return 0;
}

/* The answer to the exit before, if it was one that has an answer. */
static void take_answer(struct vcpu *v, struct kvm_run *run)
{
	struct abi_vcpu *av = v->abi;
	struct cpu_exit *e = v->exit;
	u32 awaiting = av->awaiting;

	av->awaiting = 0;
	switch (awaiting) {
	case KVM_EXIT_IO:
		if (e->io.in)
			memcpy(e->io.data, (u8 *)run + PIO_OFFSET,
			       MIN((u64)e->io.size * e->io.count, PAGE_SIZE));
		break;
	case KVM_EXIT_MMIO:
		if (!e->mmio.write)
			memcpy(e->mmio.data, run->mmio.data, MIN(e->mmio.len, 8u));
		break;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		e->msr.data = run->msr.data;
		e->msr.error = run->msr.error;
		break;
	case KVM_EXIT_HYPERCALL:
		e->hypercall.ret = run->hypercall.ret;
		break;
	default:
		return;
	}
	cpu_complete_exit(v->cpu);
}

static int before_run(struct vcpu *v, struct kvm_run *run)
{
	int r = take_dirty_regs(v, run);

	if (r)
		return r;
	if (!v->lapic) {
		u64 cr8 = sync_load(&run->cr8);

		if (cr8 & ~0xfULL)
			return -EINVAL;
		v->cr8 = cr8;
	}
	v->cpu->request_irq_window = !v->lapic && sync_load(&run->request_interrupt_window);
	take_answer(v, run);
	return 0;
}

/* ---- after: what the VMM finds */

static void put_io(struct vcpu *v, struct kvm_run *run)
{
	const struct cpu_exit *e = v->exit;
	u8 *data = (u8 *)run + PIO_OFFSET;
	size_t len = MIN((u64)e->io.size * e->io.count, PAGE_SIZE);

	run->io.direction = e->io.in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = e->io.size;
	run->io.port = e->io.port;
	run->io.count = e->io.count;
	run->io.data_offset = PIO_OFFSET;
	/* A VMM that leaves a port unanswered has answered 0, not what went out before. */
	if (e->io.in)
		memset(data, 0, len);
	else
		memcpy(data, e->io.data, len);
}

static void put_mmio(struct vcpu *v, struct kvm_run *run)
{
	const struct cpu_exit *e = v->exit;
	u32 len = MIN(e->mmio.len, 8u);

	run->mmio.phys_addr = e->mmio.gpa;
	run->mmio.len = len;
	run->mmio.is_write = e->mmio.write;
	memset(run->mmio.data, 0, sizeof(run->mmio.data));
	if (e->mmio.write)
		memcpy(run->mmio.data, e->mmio.data, len);
}

static void put_internal(struct vcpu *v, struct kvm_run *run)
{
	const struct cpu_exit *e = v->exit;
	u8 len = MIN(e->internal.insn_len, 15);

	run->internal.suberror = e->internal.suberror;
	run->internal.ndata = 0;
	if (e->internal.suberror != KVM_INTERNAL_ERROR_EMULATION || !e->internal.insn_len)
		return;
	/* One word of flags, two of instruction bytes. */
	run->emulation_failure.ndata = 3;
	run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	run->emulation_failure.insn_size = len;
	memset(run->emulation_failure.insn_bytes, 0x90, 15);
	memcpy(run->emulation_failure.insn_bytes, e->internal.insn, len);
}

static void put_memory_fault(struct vcpu *v, struct kvm_run *run)
{
	const struct cpu_exit *e = v->exit;
	struct uapi_memory_fault f = {.gpa = e->memory.gpa, .size = e->memory.size};

	if (e->memory.private_)
		f.flags = BIT(3);
	memcpy(run->padding, &f, sizeof(f));
}

static void put_msr(struct vcpu *v, struct kvm_run *run)
{
	const struct cpu_exit *e = v->exit;

	run->msr.error = 0;
	memset(run->msr.pad, 0, sizeof(run->msr.pad));
	run->msr.reason = e->msr.reason;
	run->msr.index = e->msr.index;
	run->msr.data = e->msr.data;
}

static void put_hypercall(struct vcpu *v, struct kvm_run *run)
{
	const struct cpu_exit *e = v->exit;

	run->hypercall.nr = e->hypercall.nr;
	memcpy(run->hypercall.args, e->hypercall.args, sizeof(run->hypercall.args));
	run->hypercall.ret = 0;
	run->hypercall.longmode = e->hypercall.longmode != 0;
}

static void put_debug(struct vcpu *v, struct kvm_run *run)
{
	const struct cpu_exit *e = v->exit;

	run->debug.arch.exception = e->debug.exception;
	run->debug.arch.pc = e->debug.pc;
	run->debug.arch.dr6 = e->debug.dr6;
	run->debug.arch.dr7 = e->debug.dr7;
}

static void put_eoi(struct vcpu *v, struct kvm_run *run)
{
	run->eoi.vector = v->exit->eoi_vector;
}

static void put_nothing(struct vcpu *v, struct kvm_run *run) {}

/* KVM_EXIT_* and its part of the union. */
static u32 put_exit(struct vcpu *v, struct kvm_run *run)
{
	switch (v->exit->reason) {
#define EXIT(cpu, kvm, fill, shape, note)                                                       \
	case cpu:                                                                              \
		fill(v, run);                                                                  \
		return kvm;
#define ABSENT_EXIT(kvm, note)
#include "abi/exits.def"
#undef EXIT
#undef ABSENT_EXIT
	default:
		return KVM_EXIT_UNKNOWN;
	}
}

/* What every return of KVM_RUN shows, an interrupted one too. */
static void put_tail(struct vcpu *v, struct kvm_run *run)
{
	u64 valid = sync_load(&run->kvm_valid_regs);

	run->if_flag = (v->cpu->flags & FL_IF) != 0;
	run->flags = 0;
	run->cr8 = vcpu_get_cr8(v);
	run->apic_base = vcpu_get_apic_base(v);
	run->ready_for_interrupt_injection = vcpu_irq_ready(v);
	if (valid & KVM_SYNC_X86_REGS)
		cpu_get_regs(v->cpu, &run->s.regs.regs);
	if (valid & KVM_SYNC_X86_SREGS)
		sregs_get(v, &run->s.regs.sregs);
	if (valid & KVM_SYNC_X86_EVENTS)
		events_get(v, &run->s.regs.events);
}

/* KVM_RUN returns with this KVM_EXIT_*. */
static void count_exit(struct vcpu *v, u32 reason)
{
	_Static_assert(KVM_EXIT_NOTIFY < STATPAGE_USER_EXITS, "room for every reason");
	v->cpu->stat.user_exits[MIN(reason, STATPAGE_USER_EXITS - 1u)]++;
}

static long run_once(struct vcpu *v, struct kvm_run *run)
{
	struct abi_vcpu *av = v->abi;
	u32 reason;
	int r;

	r = vcpu_run(v);
	if (r == -EINTR) {
		/* KVM leaves the reason alone when immediate_exit ends a run. */
		if (!sync_load(&run->immediate_exit))
			run->exit_reason = KVM_EXIT_INTR;
		count_exit(v, KVM_EXIT_INTR);
		return r;
	}
	if (v->exit->reason == CPU_EXIT_MEMORY) {
		/* The error comes beside the exit (KVM_CAP_MEMORY_FAULT_INFO). */
		reason = v->exit->memory.has_info ? put_exit(v, run) : KVM_EXIT_UNKNOWN;
		run->exit_reason = reason;
		count_exit(v, reason);
		return r ? r : v->exit->memory.error;
	}
	if (r)
		return r;
	reason = put_exit(v, run);
	run->exit_reason = reason;
	count_exit(v, reason);
	if (unlikely(report_is_death(reason)))
		report_death(v, run);
	av->awaiting = reason;
	return 0;
}

static long run_on_stack(void *vcpu)
{
	struct vcpu *v = vcpu;
	struct kvm_run *run = ((struct abi_vcpu *)v->abi)->run;
	long r = before_run(v, run);

	if (!r)
		r = run_once(v, run);
	put_tail(v, run);
	return r;
}

long vcpu_ioctl_run(struct call *c)
{
	struct abi_vcpu *av = c->v->abi;
	int r;

	if (c->arg)
		return -EINVAL;
	r = confine_once();
	if (r)
		return r;
	return stack_call(av->stack, STACK_SIZE, run_on_stack, c->v);
}
