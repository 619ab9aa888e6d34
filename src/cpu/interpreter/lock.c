/* SPDX-License-Identifier: MIT */
/*
 * Locked operations that no instruction of the host's can do, with the world stopped
 * (mmu_stop_others()). Another vCPU may be about to stop this one: then the instruction is started
 * again after a look at the requests. Nothing stays stopped when the access faults: stage 2 ends the
 * stop before it faults a page in, and for what else unwinds there is a point here that lets everyone
 * go and unwinds on. A fault that finds no memory does not unwind: the operand is a device's, and there
 * is nothing for it to be atomic with.
 */
#include "cpu/interpreter/lock.h"

#include <sched.h>
#include "cpu/code/flow.h"
#include "cpu/fault.h"

static const struct op *op_stop(struct cpu *c, const struct op *o)
{
	return o;
}

void lock_let_go(struct cpu *c)
{
	if (mmu_stops_others(&c->mmu))
		mmu_start_others(&c->mmu);
}

const struct op *lock_stopped(struct cpu *c, const struct op *o, op_fn *unlocked)
{
	struct op *scratch = c->code->scratch;
	struct unwind_point *outer = c->unwind, here;
	u64 epoch = c->mmu.epoch;
	const struct op *r;

	if (!mmu_stop_others(&c->mmu)) {
		sched_yield();
		cpu_restart(c);
	}
	if (UNWIND_SET(&here)) {
		lock_let_go(c);
		c->unwind = outer;
		cpu_unwind(c);
	}
	c->unwind = &here;
	scratch[0] = *o;
	scratch[1].fn = op_stop;
	r = unlocked(c, &scratch[0]);
	c->unwind = outer;
	lock_let_go(c);
	if (!r)
		return NULL;
	/* Outside guest mode a flush may have been answered: old pointers are stale, and the block ends. */
	return c->mmu.epoch == epoch ? op_after_slow_store(c, o) : op_leave_next(c, o);
}
