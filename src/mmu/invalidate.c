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
 * need to wait for tokens at all, older or younger: a token's range is host addresses, which a
 * fault through any slot, old or new, is checked against.
 */
#include <stdlib.h>
#include "mmu/internal.h"

/* Tokens kept ready: the VMM's allocator may be what is unmapping, and must not be called then. */
#define TOKENS_READY 32
#define WAIT_NS 1000000 /* how long a fault sleeps before it looks at its signals again */

struct mmu_token {
	struct mmu *mmu; /* a reference */
	hva_t start, end;
	bool ended;
	struct mmu_token *next, **prev; /* in mmu->tokens */
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
	bool zapped, code;
};

static bool zap_slot(struct interval *n, void *arg)
{
	struct memslot *s = container_of(n, struct memslot, by_hva);
	struct zap_hva *z = arg;
	hva_t start = MAX(z->start, s->hva);
	hva_t end = MIN(z->end, s->hva + (s->npages << PAGE_SHIFT));

	if (sync_defect(NO_ZAP))
		return true;
	if (tree_zap(z->mmu, s->base_gfn + ((start - s->hva) >> PAGE_SHIFT),
		     s->base_gfn + ((end - s->hva + PAGE_SIZE - 1) >> PAGE_SHIFT), z->f)) {
		z->zapped = true;
		z->code |= sync_load(&s->code->any);
	}
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

struct mmu_token *mmu_invalidate_begin(struct mmu *mmu, hva_t start, hva_t end)
{
	struct tree_free f = {NULL};
	struct zap_hva z = {.mmu = mmu, .start = start, .end = end, .f = &f};
	struct mmu_token *t;
	u64 mark, caches;

	t = token_take(mmu);
	if (!t)
		return NULL;
	mmu_get(mmu);
	*t = (struct mmu_token){.mmu = mmu, .start = start, .end = end};
	mmu_lock_write(mmu);
	token_link(t);
	interval_each(&mmu->hva_tree, start, end - 1, zap_slot, &z);
	mark = mmu_zap_mark(mmu, z.zapped);
	caches = mmu_caches_stale(mmu, start, end);
	mmu_unlock_write(mmu);

	mmu_flush_zapped(mmu, mark, z.code ? MMU_REQ_CODE : 0);
	mmu_caches_wait(mmu, caches);
	tree_free_flush(mmu, &f);
	sync_add(&mmu->stat_invalidations, 1);
	return t;
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
	mmu->recent[n % MMU_RECENT].start = t->start;
	mmu->recent[n % MMU_RECENT].end = t->end;
	sync_store_release(&mmu->invalidate_seq, n + 1);
	mmu_unlock_write(mmu);

	sync_mb();
	mmu_wake_waiters(mmu);
	token_give(mmu, t);
	mmu_put(mmu);
}

static bool slot_has_code(struct interval *n, void *arg)
{
	struct memslot *s = container_of(n, struct memslot, by_hva);

	*(bool *)arg |= sync_load(&s->code->any);
	return true;
}

void mmu_content_changed(struct mmu *mmu, hva_t start, hva_t end)
{
	bool code = false;

	mmu_lock_read(mmu);
	interval_each(&mmu->hva_tree, start, end - 1, slot_has_code, &code);
	mmu_unlock_read(mmu);
	if (code)
		mmu_flush_vcpus(mmu, NULL, MMU_REQ_CODE);
}

bool mmu_invalidating(struct mmu *mmu, hva_t start, hva_t end)
{
	for (const struct mmu_token *t = mmu->tokens; t; t = t->next) {
		if (t->start < end && start < t->end)
			return true;
	}
	return false;
}

bool mmu_invalidated_since(struct mmu *mmu, u64 seq, hva_t start, hva_t end)
{
	u64 now = mmu->invalidate_seq;

	if (now - seq > MMU_RECENT)
		return true;
	for (u64 i = seq; i < now; i++) {
		if (mmu->recent[i % MMU_RECENT].start < end &&
		    start < mmu->recent[i % MMU_RECENT].end)
			return true;
	}
	return false;
}

bool mmu_invalidate_wait(struct mmu *mmu, hva_t start, hva_t end)
{
	bool busy;

	if (!sync_load(&mmu->nr_tokens))
		return false;
	sync_add(&mmu->nr_waiters, 1);
	mutex_lock(&mmu->wait_lock);
	mmu_lock_read(mmu);
	busy = mmu_invalidating(mmu, start, end);
	mmu_unlock_read(mmu);
	if (busy)
		waitq_wait_until(&mmu->waitq, &mmu->wait_lock, sync_now_ns() + WAIT_NS);
	mutex_unlock(&mmu->wait_lock);
	sync_sub(&mmu->nr_waiters, 1);
	return busy;
}
