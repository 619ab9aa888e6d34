/* SPDX-License-Identifier: MIT */
#include "cpu/replay.h"
#include "cpu/system/system.h"

#include "cpu/code/op.h"
#include "cpu/cpu.h"
#include "cpu/fault.h"

static u64 current_rip(const struct cpu *c)
{
	return c->op ? op_rip(c, c->op) : c->rip;
}

/* True: the VMM answered this very access in an earlier run of the instruction. */
static bool replayed(struct cpu *c, u64 addr, u32 size, bool write, bool port, void *data)
{
	struct replay *r = &c->replay;
	typeof(&r->done[0]) d = &r->done[r->next];

	if (r->next >= r->ndone)
		return false;
	if (r->rip != current_rip(c) || d->addr != addr || d->size != size || d->write != write ||
	    d->port != port) {
		/* The guest's or the VMM's doing: the instruction takes another way this time. */
		r->ndone = r->next;
		return false;
	}
	r->next++;
	if (!write)
		memcpy(data, r->elements ? c->io_data : (void *)&d->data, size);
	return true;
}

static u8 *ask_vmm(struct cpu *c, u64 addr, u32 size, bool write, bool port, const void *data)
{
	struct replay *r = &c->replay;
	typeof(&r->done[0]) d = &r->done[r->ndone];

	if (r->ndone == MMIO_MAX_FRAGMENTS)
		cpu_cannot(c); /* no instruction makes that many device accesses at once */
	r->rip = current_rip(c);
	r->waiting = true;
	d->addr = addr;
	d->size = (u8)size;
	d->write = write;
	d->port = port;
	d->data = 0;
	if (write)
		memcpy(&d->data, data, size);
	return (u8 *)&d->data;
}

void replay_mmio(struct cpu *c, gpa_t gpa, u32 size, bool write, void *data)
{
	if (replayed(c, gpa, size, write, false, data))
		return;
	if (!c->env->mmio(c->owner, gpa, size, write, data)) {
		c->stat.mmio_in_vm++;
		return;
	}
	c->stat.mmio_exits++;
	c->exit.mmio.data = ask_vmm(c, gpa, size, write, false, data);
	c->exit.mmio.gpa = gpa;
	c->exit.mmio.len = size;
	c->exit.mmio.write = write;
	cpu_leave(c, CPU_EXIT_MMIO);
}

void replay_port(struct cpu *c, u16 port, u32 size, bool write, void *data)
{
	if (replayed(c, port, size, write, true, data))
		return;
	c->stat.io_exits++;
	if (!c->env->io(c->owner, port, size, write, data)) {
		c->stat.io_in_vm++;
		return;
	}
	c->exit.io.data = ask_vmm(c, port, size, write, true, data);
	c->exit.io.port = port;
	c->exit.io.size = (u8)size;
	c->exit.io.in = !write;
	c->exit.io.count = 1;
	cpu_leave(c, CPU_EXIT_IO);
}

u32 replay_port_string(struct cpu *c, u16 port, u32 size, u32 max, const u8 **data)
{
	struct replay *r = &c->replay;
	u64 first;

	*data = c->io_data;
	if (r->elements && replayed(c, port, size, false, true, &first))
		return MIN(max, r->elements); /* the VMM may have changed rCX meanwhile */
	c->stat.io_exits++;
	if (!c->env->io(c->owner, port, size, false, c->io_data)) {
		c->stat.io_in_vm++;
		return 1;
	}
	r->elements = max;
	ask_vmm(c, port, size, false, true, NULL);
	c->exit.io.data = c->io_data;
	c->exit.io.port = port;
	c->exit.io.size = (u8)size;
	c->exit.io.in = true;
	c->exit.io.count = max;
	cpu_leave(c, CPU_EXIT_IO);
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
	c->replay.waiting = false;
	c->replay.ndone++;
}
