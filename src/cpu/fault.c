/* SPDX-License-Identifier: MIT */
/* cpu/fault.c: exceptions, raised or queued, and the unwinding of what could not be finished. */
#include "cpu/fault.h"

#include "base/guard.h"
#include "cpu/code/op.h"
#include "cpu/cpu.h"

void cpu_unwind(struct cpu *c)
{
	if (c->op) {
		c->rip = op_rip(c, c->op);
		op_uncount(c, c->op);
	}
	c->op = NULL;
	UNWIND_GO(c->unwind);
}

void cpu_queue_exception(struct cpu *c, u8 vector, bool has_error, u32 error)
{
	c->exception.pending = true;
	c->exception.injected = false;
	c->exception.vector = vector;
	c->exception.has_error = has_error;
	c->exception.error = error;
	c->exception.has_payload = false;
	c->exception.payload = 0;
}

static void NORETURN raise_exception(struct cpu *c, u8 vector, bool has_error, u32 error)
{
	cpu_queue_exception(c, vector, has_error, error);
	cpu_unwind(c);
}

void cpu_raise(struct cpu *c, u8 vector)
{
	raise_exception(c, vector, false, 0);
}

void cpu_raise_error(struct cpu *c, u8 vector, u32 error)
{
	/* Real mode pushes no error codes. */
	raise_exception(c, vector, c->cr0 & CR0_PE, error);
}

void cpu_raise_pf(struct cpu *c, u64 la, u32 error)
{
	cpu_queue_exception(c, VEC_PF, true, error);
	c->exception.has_payload = true;
	c->exception.payload = la;
	cpu_unwind(c);
}

void cpu_queue_debug(struct cpu *c, u64 dr6_bits)
{
	c->halted = false;
	cpu_queue_exception(c, VEC_DB, false, 0);
	c->exception.has_payload = true;
	c->exception.payload = dr6_bits;
}

void cpu_leave(struct cpu *c, enum cpu_exit_reason reason)
{
	c->exit.reason = reason;
	cpu_unwind(c);
}

void cpu_restart(struct cpu *c)
{
	cpu_unwind(c);
}

void cpu_cannot(struct cpu *c)
{
	u64 rip = c->op ? op_rip(c, c->op) : c->rip;
	u64 la = (rip + c->seg[SEG_CS].base) & c->ea_mask;
	const u8 *p = tlb_read(c->tlb, la, 1);
	u32 n = (u32)MIN(15ULL, PAGE_SIZE - (la & ~PAGE_MASK));

	c->exit.internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
	c->exit.internal.insn_len = 0;
	if (p && !guard_copy_from(c->exit.internal.insn, p, n))
		c->exit.internal.insn_len = (u8)n;
	cpu_leave(c, CPU_EXIT_INTERNAL);
}
