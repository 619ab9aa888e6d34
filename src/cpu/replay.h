/* SPDX-License-Identifier: MIT */
/*
 * cpu/replay.h: device accesses that may need the VMM (struct replay in state.h).
 *
 * replay_mmio() and replay_port() return when the access is done: by a device of the VM's, or
 * because the VMM already answered it and the instruction is being run again. Otherwise they fill
 * in c->exit and unwind; they may do so with the instruction half done, since it is run again
 * from its start and its answered accesses are not repeated.
 */
#ifndef CPU_REPLAY_H
#define CPU_REPLAY_H

#include "cpu/state.h"

void replay_mmio(struct cpu *c, gpa_t gpa, u32 size, bool write, void *data);
/* `whole`: as access_port_in()'s. */
void replay_port(struct cpu *c, u16 port, u32 size, bool write, void *data, u8 whole);
/*
 * What a port gave to an instruction that has yet to store it: if that is broken off and run again,
 * a device of the VM's is not read a second time. Until replay_forget().
 */
void replay_keep_port(struct cpu *c, u16 port, u32 size, u32 value);
/*
 * Repeated input of up to `max` elements, which together fit a page: how many were read, 1 to max,
 * and *data points to them. A device of the VM's gives one; the VMM is asked for all at once.
 */
u32 replay_port_string(struct cpu *c, u16 port, u32 size, u32 max, const u8 **data);

/* Is an instruction to be run again with answers waiting for it? */
static inline bool replay_pending(const struct cpu *c)
{
	return c->replay.ndone != 0;
}

/* Elements of repeated string input that the next answer gives, or 0. */
static inline u32 replay_elements(const struct cpu *c)
{
	const struct replay *r = &c->replay;

	return r->next < r->ndone ? r->done[r->next].elements : 0;
}

/*
 * Is the next answer that of an access at gpa? A write's says nothing of a read there, which a
 * read-only memslot serves; a read's is that of a read-modify-write, which asks to write first.
 */
static inline bool replay_answers(const struct cpu *c, gpa_t gpa, bool write)
{
	const struct replay *r = &c->replay;

	return r->next < r->ndone && !r->done[r->next].port && r->done[r->next].addr == gpa &&
	       (write || !r->done[r->next].write);
}

/* The instruction is complete, or gone: forget its answers. */
static inline void replay_forget(struct cpu *c)
{
	c->replay.ndone = c->replay.next = c->replay.tries = 0;
	c->replay.waiting = false;
	c->replay.old.size = 0;
}

#endif
