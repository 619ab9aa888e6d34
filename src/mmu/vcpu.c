/* SPDX-License-Identifier: MIT */
/*
 * The handshake between vCPUs and whoever takes translations away.
 *
 * A vCPU entering guest mode stores its mode, fences, and looks at its requests. A flush zaps,
 * fences (the request is an atomic or), reads the mode. Of the two one sees the other: either
 * the vCPU finds the request before it uses a translation, or the flush finds it in guest mode and
 * waits for its answer. A request taken up, and an answer counted, after the zap are an answer to
 * it: the vCPU holds no translation at that moment, and what it fills in later comes from the zapped
 * tree.
 *
 * A stop is announced twice: mmu->stopper says who stops the others, and then each of them gets a
 * request, so that it looks. A vCPU takes its requests up first and looks at mmu->stopper after
 * that. In the other order a stop that is announced between the two loses its request: the vCPU goes
 * on in guest mode with no reason to look again, and the stopper waits for it for ever.
 */
#include <assert.h>
#include <stdlib.h>
#include "mmu/attributes.h"
#include "mmu/flush.h"
#include "mmu/names.h"
#include "mmu/tlb.h"
#include "mmu/tree.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"

/*
 * A waiter looks, and kicks, again after this long: a kick may come just before the host's fault. Twice as
 * long each time, where it has nothing to look at but what it waits for: that may be a thread which has no
 * processor for ten seconds and more, would get one no sooner for being looked at, and each look costs.
 */
#define REKICK_NS     2000000
#define REKICK_MAX_NS 512000000

static void wake(struct mmu *mmu, const u32 *nr, struct waitq *q)
{
	if (!sync_load(nr))
		return;
	mutex_lock(&mmu->wait_lock);
	waitq_wake_all(q);
	mutex_unlock(&mmu->wait_lock);
}

void mmu_wake_waiters(struct mmu *mmu)
{
	wake(mmu, &mmu->nr_waiters, &mmu->waitq);
}

/*
 * Who waits for one vCPU is woken by that one. The others leave guest mode thousands of times while it waits
 * for a processor, and each of these would cost the waiter more of its own than all its looks.
 */
void mmu_vcpu_wake_waiters(struct mmu_vcpu *v)
{
	wake(v->mmu, &v->awaited, &v->mmu->vcpu_waitq);
}

/*
 * Sleep until done(v, arg), or it is time to look, and kick, again. Whoever wakes the waiters wakes all of
 * them: those whose turn it is not go back to sleep and cost no kick. The caller is counted by who wakes q.
 */
static void sleep_a_while(struct waitq *q, u64 ns, struct mmu_vcpu *v,
			  bool (*done)(struct mmu_vcpu *v, const void *arg), const void *arg)
{
	struct mmu *mmu = v->mmu;
	u64 until = sync_now_ns() + ns;

	mutex_lock(&mmu->wait_lock);
	while (!done(v, arg) && waitq_wait_until(q, &mmu->wait_lock, until))
		;
	mutex_unlock(&mmu->wait_lock);
}

/* Drop what the requests ask for. The vCPU's thread, holding no translation. */
static void answer(struct mmu_vcpu *v)
{
	u32 req;

	if (!(sync_load(&v->requests) & MMU_REQ_MASK))
		return;
	/* A full fence: what is looked at from here on is what the requesters had stored. */
	req = sync_and(&v->requests, ~(u32)MMU_REQ_MASK) & MMU_REQ_MASK;
	/* Having left guest mode is the answer to MMU_REQ_STOP. */
	if (!(req & ~(u32)MMU_REQ_STOP))
		return;
	if (req & MMU_REQ_FLUSH)
		mmu_tlb_flush(v);
	else if (req & MMU_REQ_WRITES)
		tlb_drop_writes(v);
	v->epoch++;
	if (req & (MMU_REQ_FLUSH | MMU_REQ_CODE))
		v->code_epoch++;
	v->stat->tlb_flush++;
	sync_add(&v->nr_answers, 1); /* full fence: after it the tree is read anew */
	mmu_vcpu_wake_waiters(v);
}

/* ------------------------------------------------------------------ the gate */

/* Has another vCPU stopped this one? */
static bool stopped(const struct mmu_vcpu *v)
{
	struct mmu_vcpu *stopper = sync_load_acquire(&v->mmu->stopper);

	return stopper && stopper != v;
}

static bool let_go(struct mmu_vcpu *v, const void *unused)
{
	return !stopped(v);
}

/* Make the stopper let go of what it is doing, if there still is one. */
static void kick_stopper(struct mmu *mmu)
{
	struct mmu_vcpu *stopper;

	rwlock_read_lock(&mmu->vcpus_lock); /* it stays one of the VM's vCPUs meanwhile */
	stopper = sync_load_acquire(&mmu->stopper);
	if (stopper)
		stopper->ops->kick(stopper->owner);
	rwlock_read_unlock(&mmu->vcpus_lock);
}

/*
 * Outside guest mode, until nobody has stopped this vCPU. The stopper waits for no lock and no fault
 * while it holds the others, but the host may hold up its access (a page of the VMM's that is missing
 * under userfaultfd), and before it has them it waits until all are out. A vCPU here that has a reason
 * to leave (a signal) breaks both off: the stopper lets everyone go, and begins anew when nobody is
 * `leaving' any more. This one still is when it returns.
 */
static void wait_at_gate(struct mmu_vcpu *v, bool *leaving)
{
	struct mmu *mmu = v->mmu;
	u64 ns = REKICK_NS;

	sync_add(&mmu->nr_waiters, 1);
	while (stopped(v)) {
		sleep_a_while(&mmu->waitq, ns, v, let_go, NULL);
		if (!stopped(v) || !v->ops->interrupted(v->owner))
			continue;
		if (!*leaving)
			sync_add(&mmu->nr_leaving, 1);
		*leaving = true;
		kick_stopper(mmu);
		ns = MIN(2 * ns, REKICK_MAX_NS);
	}
	sync_sub(&mmu->nr_waiters, 1);
}

/* Is nobody at the gate who has a reason to leave? */
static bool none_leaves(struct mmu_vcpu *v, const void *unused)
{
	return !sync_load(&v->mmu->nr_leaving);
}

/* In guest mode: who would stop the others. Not for long: it may have a reason to leave itself. */
static void let_leave(struct mmu_vcpu *v)
{
	struct mmu *mmu = v->mmu;

	mmu_vcpu_leave(v);
	sync_add(&mmu->nr_waiters, 1);
	sleep_a_while(&mmu->waitq, REKICK_NS, v, none_leaves, NULL);
	sync_sub(&mmu->nr_waiters, 1);
	mmu_vcpu_enter(v);
}

/* The requests, then the gate: see the head of this file. */
static bool held_back(struct mmu_vcpu *v)
{
	answer(v);
	return stopped(v);
}

void mmu_vcpu_enter(struct mmu_vcpu *v)
{
	bool leaving = false;

	assert(v->mode == MMU_OUTSIDE);
	sync_store(&v->mode, MMU_IN_GUEST);
	sync_mb();
	/* As with the requests: a stopper sees the mode, or is seen here. */
	while (held_back(v)) {
		mmu_vcpu_leave(v);
		wait_at_gate(v, &leaving);
		sync_store(&v->mode, MMU_IN_GUEST);
		sync_mb();
	}
	if (unlikely(leaving)) {
		sync_sub(&v->mmu->nr_leaving, 1);
		mmu_wake_waiters(v->mmu);
	}
}

void mmu_vcpu_leave(struct mmu_vcpu *v)
{
	assert(v->mode == MMU_IN_GUEST);
	/* Guest accesses before, a flusher's look at the mode after. */
	sync_store_release(&v->mode, MMU_OUTSIDE);
	sync_mb();
	mmu_vcpu_wake_waiters(v);
}

void mmu_vcpu_safe_point(struct mmu_vcpu *v)
{
	if (!(sync_load(&v->requests) & MMU_REQ_MASK))
		return;
	if (held_back(v)) {
		mmu_vcpu_leave(v);
		mmu_vcpu_enter(v);
	}
}

void mmu_vcpu_init(struct mmu *mmu, struct mmu_vcpu *v, u32 index, void *owner,
		   const struct mmu_vcpu_ops *ops)
{
	memset(v, 0, offsetof(struct mmu_vcpu, tlb));
	v->mmu = mmu;
	v->owner = owner;
	v->ops = ops;
	v->index = index;
	v->stat = &v->own_stat;
	v->journal[TLB_OF_ONE_SPACE].full = v->journal[TLB_OF_ALL_SPACES].full = true;
	mmu_tlb_flush(v);
	mmu_get(mmu);
	rwlock_write_lock(&mmu->vcpus_lock);
	v->next = mmu->vcpus;
	mmu->vcpus = v;
	rwlock_write_unlock(&mmu->vcpus_lock);
}

void mmu_vcpu_fini(struct mmu_vcpu *v)
{
	struct mmu_vcpu **p;

	assert(v->mode == MMU_OUTSIDE);
	rwlock_write_lock(&v->mmu->vcpus_lock);
	for (p = &v->mmu->vcpus; *p != v; p = &(*p)->next)
		;
	*p = v->next;
	rwlock_write_unlock(&v->mmu->vcpus_lock);
	tree_cache_drop(v->mmu, &v->tables);
	names_drop_spares(v);
	mmu_put(v->mmu);
}

/* ------------------------------------------------------------------ flushing */

/*
 * The count alone may have been moved by the answer to a request from before, taken up without ours:
 * ours must have been taken up, too. Then the vCPU is at a safe point or past one.
 */
static bool answered(struct mmu_vcpu *v, const void *req)
{
	if (sync_load_acquire(&v->mode) == MMU_OUTSIDE)
		return true;
	return sync_load_acquire(&v->nr_answers) != v->answers_before &&
	       !(sync_load_acquire(&v->requests) & *(const u32 *)req);
}

static bool outside(struct mmu_vcpu *v, const void *unused)
{
	return sync_load_acquire(&v->mode) == MMU_OUTSIDE;
}

/* Is a stop to be given up, for the stopper or for another? */
static bool gives_up(const struct mmu_vcpu *stopper)
{
	return stopper->ops->interrupted(stopper->owner) || sync_load(&stopper->mmu->nr_leaving);
}

bool mmu_wait_for_vcpu(struct mmu_vcpu *v, bool (*done)(struct mmu_vcpu *v, const void *arg),
		       const void *arg, const struct mmu_vcpu *self)
{
	u64 ns = REKICK_NS;
	bool is_done;

	/* One that runs answers within a block of guest code: look before kicking. */
	for (int i = 0; i < SYNC_SPINS; i++) {
		if (done(v, arg))
			return true;
		sync_relax();
	}
	sync_add(&v->awaited, 1);
	while (!(is_done = done(v, arg)) && !(self && gives_up(self))) {
		v->ops->kick(v->owner);
		sleep_a_while(&v->mmu->vcpu_waitq, ns, v, done, arg);
		ns = self ? ns : MIN(2 * ns, REKICK_MAX_NS);
	}
	sync_sub(&v->awaited, 1);
	return is_done;
}

void mmu_flush_vcpus(struct mmu *mmu, struct mmu_vcpu *self, u32 req)
{
	/*
	 * One flush at a time: answers_before is the flusher's. A vCPU thread that waits here is
	 * outside guest mode, so no flush waits for it.
	 */
	mutex_lock(&mmu->flush_lock);
	rwlock_read_lock(&mmu->vcpus_lock);
	sync_mb();
	for (struct mmu_vcpu *v = mmu->vcpus; v; v = v->next) {
		if (v == self)
			continue;
		v->answers_before = sync_load(&v->nr_answers);
		sync_or(&v->requests, req);
	}
	for (struct mmu_vcpu *v = mmu->vcpus; v; v = v->next) {
		if (v != self)
			mmu_wait_for_vcpu(v, answered, &req, NULL);
	}
	rwlock_read_unlock(&mmu->vcpus_lock);
	mutex_unlock(&mmu->flush_lock);
	sync_add(&mmu->stat.remote_flushes, 1);
}

/* ------------------------------------------------------------------ stopping the others */

/* Are all of them outside guest mode? They are asked to be; false: somebody has a reason to leave first. */
static bool send_out(struct mmu_vcpu *v)
{
	struct mmu *mmu = v->mmu;
	bool out = true;

	rwlock_read_lock(&mmu->vcpus_lock);
	for (struct mmu_vcpu *o = mmu->vcpus; o; o = o->next) {
		if (o != v)
			sync_or(&o->requests, MMU_REQ_STOP);
	}
	for (struct mmu_vcpu *o = mmu->vcpus; o && out; o = o->next) {
		if (o != v)
			out = mmu_wait_for_vcpu(o, outside, NULL, v);
	}
	rwlock_read_unlock(&mmu->vcpus_lock);
	return out;
}

/*
 * Outside guest mode while it waits, as everyone who does: the others may have flushes under way
 * that wait for this one.
 */
bool mmu_stop_others(struct mmu_vcpu *v)
{
	struct mmu *mmu = v->mmu;
	bool out;

	if (unlikely(!none_leaves(v, NULL))) {
		let_leave(v);
		return false;
	}
	if (!mutex_trylock(&mmu->stop_lock))
		return false;
	sync_store(&mmu->stopper, v);
	mmu_vcpu_leave(v); /* with a full fence behind both stores */
	out = send_out(v);
	if (!out)
		mmu_start_others(v);
	mmu_vcpu_enter(v);
	return out;
}

bool mmu_stops_others(const struct mmu_vcpu *v)
{
	return sync_load(&v->mmu->stopper) == v;
}

void mmu_start_others(struct mmu_vcpu *v)
{
	assert(mmu_stops_others(v));
	/* What the stopper stored is there before anyone enters. */
	sync_store_release(&v->mmu->stopper, NULL);
	mutex_unlock(&v->mmu->stop_lock);
	sync_mb();
	mmu_wake_waiters(v->mmu);
}

u64 mmu_zap_mark(struct mmu *mmu, bool zapped)
{
	assert(mmu->exclusive);
	return sync_add(&mmu->zap_seq, zapped ? 1 : 0) + (zapped ? 1 : 0);
}

/*
 * Somebody else's zap counts too: a range found empty may have been emptied by a thread that is
 * still on its way to the flush.
 */
void mmu_flush_zapped(struct mmu *mmu, u64 mark)
{
	u64 upto = sync_load(&mmu->zap_seq);
	u64 done = sync_load(&mmu->flushed_seq);

	if (done >= mark)
		return;
	mmu_flush_vcpus(mmu, NULL, MMU_REQ_FLUSH);
	while (done < upto && !sync_cmpxchg(&mmu->flushed_seq, &done, upto))
		;
}

void mmu_request_all(struct mmu *mmu, u32 bits)
{
	rwlock_read_lock(&mmu->vcpus_lock);
	for (struct mmu_vcpu *v = mmu->vcpus; v; v = v->next) {
		sync_or(&v->requests, bits);
		v->ops->kick(v->owner);
	}
	rwlock_read_unlock(&mmu->vcpus_lock);
}
