/* SPDX-License-Identifier: MIT */
/*
 * interpreter/lock.h: locked read-modify-writes.
 *
 * An operand that one host pointer reaches and that lies in one cache line is handled by the
 * host's own locked instruction. Any other one (two pages, two lines, a device, a page of cached
 * code) is carried out by the op's unlocked form with the world stopped: every other vCPU of the
 * VM outside guest mode. The host never executes a split lock, which is slow on some systems and
 * a SIGBUS on others.
 */
#ifndef CPU_INTERPRETER_LOCK_H
#define CPU_INTERPRETER_LOCK_H

#include "cpu/access.h"
#include "cpu/code/op.h"

#define LOCK_LINE 64 /* bytes; SDM vol. 3, 8.1.2.2: a locked access in one line is atomic */

/* Host pointer for a locked access at la, or NULL: use lock_stopped(). */
static inline void *lock_ptr(struct cpu *c, u64 la, u32 size)
{
	void *p = access_direct(c, la, size, true);

	return ((u64)p & (LOCK_LINE - 1)) + size <= LOCK_LINE ? p : NULL;
}

/* The world goes on, if this vCPU has stopped it. In guest mode. */
void lock_let_go(struct cpu *c);

/* Carry the op out by its unlocked handler with the world stopped. */
const struct op *lock_stopped(struct cpu *c, const struct op *o, op_fn *unlocked);

#endif
