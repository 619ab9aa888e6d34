/* SPDX-License-Identifier: MIT */
/*
 * Stopping the world.
 *
 * One vCPU of the process at a time may stop the others of its VM. It takes stop_mutex without
 * waiting (a vCPU in guest mode must not wait for another that may be waiting for it: when the
 * mutex is taken, the instruction is started again after a look at the requests), announces
 * itself in `stopper`, posts a flush request, so that everyone comes to a safe point, and waits
 * until every other one is outside guest mode. Those that come to interpreter_run() meanwhile
 * wait in lock_gate(), outside guest mode. Nothing stays held when the access faults: the
 * stopper has an unwind point of its own that lets everyone go and unwinds on.
 *
 * What remains: a processor-made access (event delivery) of a vCPU that enters guest mode just
 * then is not held back, for it happens before interpreter_run().
 */
#include "cpu/interpreter/lock.h"

#include <sched.h>
#include "cpu/fault.h"
#include "cpu/interpreter/flow.h"
#include "sync/atomic.h"
#include "sync/lock.h"

static struct mutex stop_mutex = {.m = PTHREAD_MUTEX_INITIALIZER};
static struct mmu *stopped;   /* the VM whose vCPUs have to wait; set under stop_mutex */
static struct cpu *stopper;   /* who may run */

static struct mutex list_mutex = {.m = PTHREAD_MUTEX_INITIALIZER};
static struct code_cache *list; /* guarded by list_mutex */

void lock_register(struct code_cache *cc)
{
	mutex_lock(&list_mutex);
	cc->next = list;
	list = cc;
	mutex_unlock(&list_mutex);
}

void lock_unregister(struct code_cache *cc)
{
	struct code_cache **p;

	mutex_lock(&list_mutex);
	for (p = &list; *p != cc; p = &(*p)->next)
		;
	*p = cc->next;
	mutex_unlock(&list_mutex);
}

void lock_gate(struct cpu *c)
{
	if (likely(sync_load_acquire(&stopped) != c->mmu.mmu) || sync_load(&stopper) == c)
		return;
	mmu_vcpu_leave(&c->mmu);
	mutex_lock(&stop_mutex);
	mutex_unlock(&stop_mutex);
	mmu_vcpu_enter(&c->mmu);
}

static bool others_outside(struct cpu *c)
{
	bool all = true;

	mutex_lock(&list_mutex);
	for (struct code_cache *cc = list; cc; cc = cc->next) {
		if (cc->cpu != c && cc->cpu->mmu.mmu == c->mmu.mmu)
			all &= sync_load_acquire(&cc->cpu->mmu.mode) != MMU_IN_GUEST;
	}
	mutex_unlock(&list_mutex);
	return all;
}

static void stop(struct cpu *c)
{
	sync_store(&stopper, c);
	sync_store(&stopped, c->mmu.mmu);
	sync_mb(); /* announced before anyone's mode is looked at */
	mmu_request_all(c->mmu.mmu, MMU_REQ_FLUSH);
	/* Outside: one of the others may be waiting for an answer of ours. */
	mmu_vcpu_leave(&c->mmu);
	while (!others_outside(c))
		sched_yield();
	mmu_vcpu_enter(&c->mmu);
}

static void go(void)
{
	sync_store_release(&stopped, NULL);
	sync_store(&stopper, NULL);
	mutex_unlock(&stop_mutex);
}

static const struct op *op_stop(struct cpu *c, const struct op *o)
{
	return o;
}

const struct op *lock_stopped(struct cpu *c, const struct op *o, op_fn *unlocked)
{
	struct op *scratch = c->code->scratch;
	jmp_buf *outer = c->unwind, here;
	const struct op *r;

	if (!mutex_trylock(&stop_mutex)) {
		sched_yield();
		cpu_restart(c);
	}
	if (_setjmp(here)) {
		go();
		c->unwind = outer;
		_longjmp(*outer, 1);
	}
	stop(c);
	c->unwind = &here;
	scratch[0] = *o;
	scratch[1].fn = op_stop;
	r = unlocked(c, &scratch[0]);
	c->unwind = outer;
	go();
	/* The flush request made old pointers stale: let this block end. */
	return r ? op_leave_next(c, o) : NULL;
}
