/* SPDX-License-Identifier: MIT */
#include "cpu/replay.h"
#include "cpu/system/system.h"

#include "cpu/code/op.h"
#include "cpu/cpu.h"
#include "cpu/fault.h"
#include "cpu/interpreter/interpreter.h"
#include "sync/trace.h"

static u64 current_rip(const struct cpu *c)
{
	return c->op ? op_rip(c, c->op) : c->rip;
}

/*
 * The VMM's answer, if it answered this very access in an earlier run of the instruction, else
 * NULL. `string`: repeated input, which is answered in c->io_data.
 */
static inline __attribute__((always_inline)) const void *replayed(struct cpu *c, u64 addr, u32 size, bool write,
								  bool port, bool string)
{
	struct replay *r = &c->replay;
	typeof(&r->done[0]) d = &r->done[r->next];

	if (r->next >= r->ndone)
		return NULL;
	if (r->rip != current_rip(c) || d->addr != addr || d->size != size || d->write != write ||
	    d->port != port || (d->elements != 0) != string) {
		/* The guest's or the VMM's doing: the instruction is another one by now, or takes
		 * another way this time. The answer is nobody's. */
		r->ndone = r->next;
		return NULL;
	}
	r->next++;
	return string ? c->io_data : (const u8 *)&d->data;
}

/* `elements`: of repeated string input, else 0. */
static u8 *ask_vmm(struct cpu *c, u64 addr, u32 size, bool write, bool port, u32 elements,
		   const void *data)
{
	struct replay *r = &c->replay;
	typeof(&r->done[0]) d = &r->done[r->ndone];

	if (r->ndone == MMIO_MAX_FRAGMENTS)
		cpu_cannot(c); /* no instruction makes that many device accesses at once */
	r->rip = current_rip(c);
	r->waiting = true;
	r->whole = 0;
	d->addr = addr;
	d->size = (u8)size;
	d->write = write;
	d->port = port;
	d->elements = elements;
	d->data = 0;
	if (elements)
		memset(c->io_data, 0, (size_t)elements * size);
	if (write)
		memcpy(&d->data, data, size);
	return elements ? c->io_data : (u8 *)&d->data;
}

/* The access asked for is one of a size that the instruction's operand has: then it is the operand. */
static void note_whole_mov(struct cpu *c, u32 size, bool write)
{
	const struct op *o = c->op;

	/* Where rip is narrower than an address, its end is found by executing it. */
	if (!o || (c->mode != MODE_LONG && c->mode != MODE_PROT32) || !size || (size & (size - 1)) || size > 8 ||
	    !interpreter_is_mov(o, size, write))
		return;
	c->replay.whole = o->len;
	c->replay.reg = o->r0;
}

void replay_mmio(struct cpu *c, gpa_t gpa, u32 size, bool write, void *data)
{
	const void *answer = replayed(c, gpa, size, write, false, false);

	if (answer) {
		if (!write)
			memcpy(data, answer, size);
		return;
	}
	TRACE(mmio, c->stat.id, cpu_rip(c), gpa, size, write, 0);
	if (!c->env->mmio(c->owner, gpa, size, write, data)) {
		c->stat.mmio_in_vm++;
		return;
	}
	c->stat.mmio_exits++;
	c->exit.mmio.data = ask_vmm(c, gpa, size, write, false, 0, data);
	note_whole_mov(c, size, write);
	c->exit.mmio.gpa = gpa;
	c->exit.mmio.len = size;
	c->exit.mmio.write = write;
	cpu_leave(c, CPU_EXIT_MMIO);
}

void replay_port(struct cpu *c, u16 port, u32 size, bool write, void *data, u8 whole)
{
	const void *answer = replayed(c, port, size, write, true, false);

	if (answer) {
		if (!write)
			memcpy(data, answer, size);
		return;
	}
	c->stat.io_exits++;
	TRACE(pio, c->stat.id, cpu_rip(c), port, size, write, 0);
	if (!c->env->io(c->owner, port, size, write, data)) {
		c->stat.io_in_vm++;
		return;
	}
	c->exit.io.data = ask_vmm(c, port, size, write, true, 0, data);
	c->replay.whole = whole;
	c->replay.reg = REG_OFF(RAX);
	c->exit.io.port = port;
	c->exit.io.size = (u8)size;
	c->exit.io.in = !write;
	c->exit.io.count = 1;
	cpu_leave(c, CPU_EXIT_IO);
}

static void keep_port(struct cpu *c, u16 port, u32 size, u32 value, u32 elements)
{
	struct replay *r = &c->replay;

	if (r->ndone) /* it is the VMM's answer, and kept */
		return;
	r->rip = current_rip(c);
	r->done[0] = (typeof(r->done[0])){
		.addr = port, .data = value, .size = (u8)size, .port = true, .elements = elements};
	r->ndone = r->next = 1;
}

void replay_keep_port(struct cpu *c, u16 port, u32 size, u32 value)
{
	keep_port(c, port, size, value, 0);
}

u32 replay_port_string(struct cpu *c, u16 port, u32 size, u32 max, const u8 **data)
{
	u32 answered = replay_elements(c);

	*data = c->io_data;
	if (replayed(c, port, size, false, true, true))
		return MIN(max, answered); /* the VMM may have changed rCX meanwhile */
	c->stat.io_exits++;
	TRACE(pio, c->stat.id, cpu_rip(c), port, size, false, 0);
	if (!c->env->io(c->owner, port, size, false, c->io_data)) {
		c->stat.io_in_vm++;
		keep_port(c, port, size, 0, 1);
		return 1;
	}
	c->exit.io.data = ask_vmm(c, port, size, false, true, max, NULL);
	c->exit.io.port = port;
	c->exit.io.size = (u8)size;
	c->exit.io.in = true;
	c->exit.io.count = max;
	cpu_leave(c, CPU_EXIT_IO);
}

static void put_answer(struct cpu *c, u8 reg, u64 v, u32 size)
{
	switch (size) {
	case 1:
		set_r8(c, reg, (u8)v);
		break;
	case 2:
		set_r16(c, reg, (u16)v);
		break;
	case 4:
		set_r32(c, reg, (u32)v);
		break;
	default:
		set_r64(c, reg, v);
		break;
	}
}

/*
 * Finish an IN, OUT or MOV that the VMM has just answered, without executing it again: nothing is left to be
 * done but the move to the register. Not where more belongs to an instruction's end than that.
 */
static bool finish_whole(struct cpu *c)
{
	const struct replay *r = &c->replay;
	const typeof(r->done[0]) *d = &r->done[0];

	if (!r->whole || r->ndone || r->rip != c->rip || c->check_watch || c->watch_hits || c->repeating ||
	    cpu_must_step(c))
		return false;
	if (!d->write)
		put_answer(c, r->reg, d->data, d->size);
	c->rip = (c->rip + r->whole) & c->ea_mask;
	c->stat.instructions++;
	replay_forget(c);
	return true;
}

void cpu_complete_exit(struct cpu *c)
{
	switch (c->exit.reason) {
	case CPU_EXIT_MSR_READ:
	case CPU_EXIT_MSR_WRITE:
		msr_complete(c);
		return;
	case CPU_EXIT_HYPERCALL:
		c->reg[RAX] = c->exit.hypercall.ret;
		return;
	default:
		break;
	}
	if (!c->replay.waiting)
		return;
	if (finish_whole(c))
		return;
	c->replay.waiting = false;
	c->replay.tries = 0;
	c->replay.ndone++;
}
