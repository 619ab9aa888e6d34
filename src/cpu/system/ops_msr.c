/* SPDX-License-Identifier: MIT */
/*
 * system/ops_msr.c: RDMSR, WRMSR, CPUID, and the counters.
 */
#include "cpu/system/msr.h"
#include "sync/trace.h"
#include "cpu/system/ops.h"

#define MISC_FEATURES_CPUID_FAULT BIT(0)

/*
 * An access the guest may not make, or to an MSR nobody keeps: #GP, unless the VMM asked to see it
 * (KVM_CAP_X86_USER_SPACE_MSR). msr_complete() finishes the instruction with its answer.
 */
static void msr_refused(struct cpu *c, const struct op *o, int error, bool write, u64 data)
{
	u32 reason = error == -EPERM	? KVM_MSR_EXIT_REASON_FILTER
		     : error == -ENOENT ? KVM_MSR_EXIT_REASON_UNKNOWN
					: KVM_MSR_EXIT_REASON_INVAL;

	if (!c->env->msr_exits || !c->env->msr_exits(c->owner, reason))
		raise_gp0(c);
	c->exit.msr.index = (u32)c->reg[RCX];
	c->exit.msr.data = data;
	c->exit.msr.reason = reason;
	c->exit.msr.error = false;
	c->exit.msr.next_rip = op_next_rip(c, o) & c->ea_mask;
	cpu_leave(c, write ? CPU_EXIT_MSR_WRITE : CPU_EXIT_MSR_READ);
}

void msr_complete(struct cpu *c)
{
	if (c->exit.msr.error) {
		cpu_queue_exception(c, VEC_GP, true, 0);
		return;
	}
	if (c->exit.reason == CPU_EXIT_MSR_READ) {
		c->reg[RAX] = (u32)c->exit.msr.data;
		c->reg[RDX] = c->exit.msr.data >> 32;
	}
	c->rip = c->exit.msr.next_rip;
	c->shadow = 0;
}

static const struct op *run_rdmsr(struct cpu *c, const struct op *o)
{
	u32 msr = (u32)c->reg[RCX];
	u64 v = 0;
	int r;

	op_begin(c, o);
	need_cpl0(c);
	r = c->env->msr_allowed(c->owner, msr, false) ? cpu_msr_get(c, msr, false, &v) : -EPERM;
	if (r)
		msr_refused(c, o, r, false, 0);
	TRACE(rdmsr, c->stat.id, cpu_rip(c), msr, v, 0, 0);
	c->reg[RAX] = (u32)v;
	c->reg[RDX] = v >> 32;
	return op_continue(o);
}

static const struct op *run_wrmsr(struct cpu *c, const struct op *o)
{
	u32 msr = (u32)c->reg[RCX];
	u64 v = (u32)c->reg[RAX] | c->reg[RDX] << 32;
	int r;

	op_begin(c, o);
	need_cpl0(c);
	r = c->env->msr_allowed(c->owner, msr, true) ? cpu_msr_set(c, msr, false, v) : -EPERM;
	if (r)
		msr_refused(c, o, r, true, v);
	TRACE(wrmsr, c->stat.id, cpu_rip(c), msr, v, 0, 0);
	return op_done_go_on(c, o);
}

bool decode_rdmsr(struct decoder *d, struct op *op)
{
	return op_plain(op, run_rdmsr);
}

bool decode_wrmsr(struct decoder *d, struct op *op)
{
	d->ends_block = true;
	return op_plain(op, run_wrmsr);
}

static void put_tsc(struct cpu *c)
{
	u64 t = cpu_tsc(c);

	c->reg[RAX] = (u32)t;
	c->reg[RDX] = t >> 32;
}

static void check_tsd(struct cpu *c)
{
	if ((c->cr4 & CR4_TSD) && c->cpl)
		raise_gp0(c);
}

static const struct op *run_rdtsc(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	check_tsd(c);
	put_tsc(c);
	return op_continue(o);
}

static const struct op *run_rdtscp(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	check_tsd(c);
	put_tsc(c);
	c->reg[RCX] = (u32)c->tsc_aux;
	return op_continue(o);
}

/* There are no counters: every index is out of range. */
static const struct op *run_rdpmc(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	raise_gp0(c);
}

static const struct op *run_rdpid(struct cpu *c, const struct op *o)
{
	R64(c, o->r0) = (u32)c->tsc_aux;
	return op_continue(o);
}

bool decode_rdtsc(struct decoder *d, struct op *op)
{
	return op_plain(op, run_rdtsc);
}

bool decode_rdtscp(struct decoder *d, struct op *op)
{
	return cpuid_has(d->c, 0x80000001, EDX, 27) && op_plain(op, run_rdtscp);
}

bool decode_rdpmc(struct decoder *d, struct op *op)
{
	return op_plain(op, run_rdpmc);
}

bool decode_rdpid(struct decoder *d, struct op *op)
{
	op->r0 = decode_gpr(d->o[0].reg.value);
	return cpuid_has(d->c, 7, ECX, 22) && op_plain(op, run_rdpid);
}

static const struct op *run_cpuid(struct cpu *c, const struct op *o)
{
	u32 out[4];

	op_begin(c, o);
	if ((c->misc_features & MISC_FEATURES_CPUID_FAULT) && c->cpl)
		raise_gp0(c);
	cpu_cpuid(c, (u32)c->reg[RAX], (u32)c->reg[RCX], out);
	c->reg[RAX] = out[EAX];
	c->reg[RBX] = out[EBX];
	c->reg[RCX] = out[ECX];
	c->reg[RDX] = out[EDX];
	return op_continue(o);
}

bool decode_cpuid(struct decoder *d, struct op *op)
{
	return op_plain(op, run_cpuid);
}
