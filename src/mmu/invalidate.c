/* SPDX-License-Identifier: MIT */
/*
 * Invalidation: the primary MMU takes pages away, and stage 2 forgets them first.
 *
 * A token stands for one begin on one VM. It holds a reference on the VM's memory and remembers
 * its range, so its end needs to look nothing up: whatever was bound, unbound, created or torn down
 * in between, the end meets what the begin did.
 *
 * A fault reads invalidate_seq before it asks the primary MMU for a frame, and under mmu_lock
 * checks the tokens in progress and the ranges completed since. A memslot update has no
 * need to wait for tokens at all, older or younger: a token's range is one of host addresses or one
 * of gfns, and a fault through any slot, old or new, is checked against both.
 */
#include <assert.h>
#include <stdlib.h>
#include "mmu/attributes.h"
#include "mmu/cache.h"
#include "mmu/flush.h"
#include "mmu/invalidate.h"
#include "mmu/memslots.h"
#include "mmu/slot_array.h"
#include "mmu/tree.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"
#include "sync/trace.h"

/* Tokens kept ready: the VMM's allocator may be what is unmapping, and must not be called then. */
#define TOKENS_READY 32
#define WAIT_NS 1000000 /* how long a fault sleeps before it looks at its signals again */

struct mmu_token {
	struct mmu *mmu; /* a reference */
	struct mmu_span span; /* of its space alone: empty in the other */
	bool ended;
	bool hides; /* stage 2 */
	struct mmu_token *next, **prev; /* in mmu->tokens */
	struct mmu_token *mine; /* in its beginner's list */
};

int tokens_init(struct mmu *mmu)
{
	for (int i = 0; i < TOKENS_READY; i++) {
		struct mmu_token *t = calloc(1, sizeof(*t));

		if (!t) {
			tokens_fini(mmu);
			return -ENOMEM;
		}
		t->next = mmu->tokens_free;
		mmu->tokens_free = t;
	}
	return 0;
}

void tokens_fini(struct mmu *mmu)
{
	while (mmu->tokens_free) {
		struct mmu_token *t = mmu->tokens_free;

		mmu->tokens_free = t->next;
		free(t);
	}
}

static struct mmu_token *token_take(struct mmu *mmu)
{
	struct mmu_token *t;

	mutex_lock(&mmu->wait_lock);
	t = mmu->tokens_free;
	if (t)
		mmu->tokens_free = t->next;
	mutex_unlock(&mmu->wait_lock);
	return t ? t : malloc(sizeof(*t));
}

static void token_give(struct mmu *mmu, struct mmu_token *t)
{
	mutex_lock(&mmu->wait_lock);
	t->next = mmu->tokens_free;
	mmu->tokens_free = t;
	mutex_unlock(&mmu->wait_lock);
}

struct zap_hva {
	struct mmu *mmu;
	hva_t start, end;
	struct tree_free *f;
	bool zapped;
};

static bool zap_slot(struct interval *n, void *arg)
{
	struct memslot *s = container_of(n, struct memslot, by_hva);
	struct zap_hva *z = arg;

	z->zapped |= tree_zap(z->mmu, memslot_gfn_from(s, z->start), memslot_gfn_to(s, z->end), z->f);
	return true;
}

static void token_link(struct mmu_token *t)
{
	struct mmu *mmu = t->mmu;

	assert(mmu->exclusive);
	t->next = mmu->tokens;
	t->prev = &mmu->tokens;
	if (t->next)
		t->next->prev = &t->next;
	mmu->tokens = t;
	sync_store(&mmu->nr_tokens, mmu->nr_tokens + 1);
}

static struct mmu_token *token_of(struct mmu *mmu, hva_t start, hva_t end)
{
	struct mmu_token *t = token_take(mmu);

	if (!t)
		return NULL;
	mmu_token_get(mmu);
	*t = (struct mmu_token){.mmu = mmu, .span = {.hva = start, .hva_end = end}};
	return t;
}

struct mmu_token *mmu_invalidate_begin(struct mmu *mmu, hva_t start, hva_t end)
{
	struct tree_free f = {NULL};
	struct zap_hva z = {.mmu = mmu, .start = start, .end = end, .f = &f};
	struct mmu_token *t = token_of(mmu, start, end);
	u64 mark, caches;

	if (!t)
		return NULL;
	mmu_lock_write(mmu);
	token_link(t);
	interval_each(&mmu->hva_tree, start, end - 1, zap_slot, &z);
	mark = mmu_zap_mark(mmu, z.zapped);
	caches = mmu_caches_stale(mmu, start, end);
	mmu_unlock_write(mmu);

	mmu_flush_zapped(mmu, mark);
	mmu_caches_wait(mmu, caches);
	tree_free_flush(mmu, &f);
	sync_add(&mmu->stat.invalidations, 1);
	TRACE_TEXT(invalidate, -1, 0, start, end, trace_cause);
	return t;
}

/*
 * No fault is finished while the token is there, private memory's neither, and no cache is left. What is in
 * stage 2 nobody finds, and what vCPUs had found is flushed.
 */
struct mmu_token *mmu_invalidate_hide(struct mmu *mmu)
{
	struct mmu_token *t = token_of(mmu, 0, ~0ULL);
	u64 mark, caches;

	if (!t)
		return NULL;
	t->hides = true;
	t->span.gfn_end = ~0ULL;
	mmu_lock_write(mmu);
	token_link(t);
	tree_hide(mmu);
	mark = mmu_zap_mark(mmu, true);
	caches = mmu_caches_stale(mmu, 0, ~0ULL);
	mmu_unlock_write(mmu);

	mmu_flush_zapped(mmu, mark);
	mmu_caches_wait(mmu, caches);
	sync_add(&mmu->stat.invalidations, 1);
	TRACE_TEXT(invalidate, -1, 0, 0, ~0ULL, trace_cause);
	return t;
}

/* No flush: since it was hidden nobody can have come to use it. */
void mmu_invalidate_zap(struct mmu_token *t, hva_t start, hva_t end)
{
	struct mmu *mmu = t->mmu;
	struct tree_free f = {NULL};
	struct zap_hva z = {.mmu = mmu, .start = start, .end = end, .f = &f};

	assert(t->hides);
	mmu_lock_write(mmu);
	interval_each(&mmu->hva_tree, start, end - 1, zap_slot, &z);
	mmu_unlock_write(mmu);
	tree_free_flush(mmu, &f);
}

void mmu_invalidate_end(struct mmu_token *t)
{
	struct mmu *mmu = t->mmu;
	u64 n;

	mmu_lock_write(mmu);
	assert(!t->ended && mmu->nr_tokens);
	t->ended = true;
	*t->prev = t->next;
	if (t->next)
		t->next->prev = t->prev;
	sync_store(&mmu->nr_tokens, mmu->nr_tokens - 1);
	n = mmu->invalidate_seq;
	mmu->recent[n % MMU_RECENT] = t->span;
	sync_store_release(&mmu->invalidate_seq, n + 1);
	if (t->hides)
		tree_show(mmu);
	mmu_unlock_write(mmu);

	sync_mb();
	mmu_wake_waiters(mmu);
	token_give(mmu, t);
	mmu_token_put(mmu);
}

/* ------------------------------------------------------------------ by gfn */

struct zap_gfns {
	struct mmu *mmu;
	gfn_t start, end;
	u64 caches;
};

static void zap_beside(struct memslot *s, void *arg)
{
	struct zap_gfns *z = arg;
	gfn_t start = MAX(z->start, s->base_gfn), end = MIN(z->end, s->base_gfn + s->npages);

	z->caches = mmu_caches_stale(z->mmu, memslot_gfn_to_hva(s, start),
				     memslot_gfn_to_hva(s, end));
}

/* Zap, and return when no vCPU and no host-side cache can still use what was there. */
static void zap_gfns(struct mmu *mmu, gfn_t start, gfn_t end, struct mmu_token *t)
{
	struct zap_gfns z = {.mmu = mmu, .start = start, .end = end};
	struct tree_free f = {NULL};
	bool zapped;
	u64 mark;

	mmu_lock_write(mmu);
	if (t)
		token_link(t);
	zapped = tree_zap(mmu, start, end, &f);
	mark = mmu_zap_mark(mmu, zapped);
	z.caches = mmu->cache_seq;
	memslots_each(mmu, start, end, zap_beside, &z);
	mmu_unlock_write(mmu);

	mmu_flush_zapped(mmu, mark);
	mmu_caches_wait(mmu, z.caches);
	tree_free_flush(mmu, &f);
}

void mmu_zap_gfns(struct mmu *mmu, gfn_t start, gfn_t end)
{
	zap_gfns(mmu, start, end, NULL);
}

struct mmu_token *mmu_invalidate_gfns_begin(struct mmu *mmu, gfn_t start, gfn_t end)
{
	struct mmu_token *t = token_take(mmu);

	if (!t)
		return NULL;
	mmu_token_get(mmu);
	*t = (struct mmu_token){.mmu = mmu, .span = {.gfn = start, .gfn_end = end}};
	zap_gfns(mmu, start, end, t);
	sync_add(&mmu->stat.invalidations, 1);
	TRACE_TEXT(invalidate_gfns, -1, 0, start << PAGE_SHIFT, end << PAGE_SHIFT, trace_cause);
	return t;
}

void mmu_tokens_push(struct mmu_token **list, struct mmu_token *t)
{
	t->mine = *list;
	*list = t;
}

struct mmu_token *mmu_tokens_pop(struct mmu_token **list)
{
	struct mmu_token *t = *list;

	if (t)
		*list = t->mine;
	return t;
}

struct mmu *mmu_token_mmu(const struct mmu_token *t)
{
	return t->mmu;
}

/*
 * By host address: the VM was torn down between the primary MMU's begin and its end, and the token
 * brings the memory down when the end comes. By gfn: a punch has a file of this VM's store open to
 * it, a conversion is a call on this VM, so neither is under way.
 */
void mmu_tokens_torn_down(struct mmu *mmu)
{
	u64 lost = 0;

	mmu_lock_read(mmu);
	for (const struct mmu_token *t = mmu->tokens; t; t = t->next)
		lost += t->span.gfn_end && !t->hides;
	mmu_unlock_read(mmu);
	if (!lost)
		return;
	sync_add(&mmu_imbalances, lost);
	if (mmu_report)
		mmu_report("a VM was torn down with an invalidation of its memory that never ended");
}

/* ------------------------------------------------------------------ what others ask */

void mmu_content_changed(struct mmu *mmu, hva_t start, hva_t end)
{
	/* Which it has code from is known by name only. */
	if (sync_load(&mmu->has_code))
		mmu_flush_vcpus(mmu, NULL, MMU_REQ_CODE);
}

static bool meet(const struct mmu_span *a, const struct mmu_span *b)
{
	return (a->hva < b->hva_end && b->hva < a->hva_end) ||
	       (a->gfn < b->gfn_end && b->gfn < a->gfn_end);
}

bool mmu_invalidating(struct mmu *mmu, const struct mmu_span *s)
{
	for (const struct mmu_token *t = mmu->tokens; t; t = t->next) {
		if (meet(&t->span, s))
			return true;
	}
	return false;
}

bool mmu_invalidated_since(struct mmu *mmu, u64 seq, const struct mmu_span *s)
{
	u64 now = mmu->invalidate_seq;

	if (now - seq > MMU_RECENT)
		return true;
	for (u64 i = seq; i < now; i++) {
		if (meet(&mmu->recent[i % MMU_RECENT], s))
			return true;
	}
	return false;
}

int mmu_fault_result(struct mmu *mmu, int r, u64 seq, const struct mmu_span *s)
{
	if (r != -EFAULT)
		return r;
	mmu_lock_read(mmu);
	if (mmu_invalidating(mmu, s) || mmu_invalidated_since(mmu, seq, s))
		r = -EAGAIN;
	mmu_unlock_read(mmu);
	return r;
}

bool mmu_invalidate_wait(struct mmu *mmu, const struct mmu_span *s)
{
	bool busy;

	if (!sync_load(&mmu->nr_tokens))
		return false;
	sync_add(&mmu->nr_waiters, 1);
	mutex_lock(&mmu->wait_lock);
	mmu_lock_read(mmu);
	busy = mmu_invalidating(mmu, s);
	mmu_unlock_read(mmu);
	if (busy)
		waitq_wait_until(&mmu->waitq, &mmu->wait_lock, sync_now_ns() + WAIT_NS);
	mutex_unlock(&mmu->wait_lock);
	sync_sub(&mmu->nr_waiters, 1);
	return busy;
}
