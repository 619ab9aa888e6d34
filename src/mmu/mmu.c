/* SPDX-License-Identifier: MIT */
/* The life of a VM's memory, its statistics, and host-side copies. */
#include <assert.h>
#include <stdlib.h>
#include "base/pagemem.h"
#include "mmu/age.h"
#include "mmu/attributes.h"
#include "mmu/code.h"
#include "mmu/dirty.h"
#include "mmu/flush.h"
#include "mmu/invalidate.h"
#include "mmu/memslots.h"
#include "mmu/mmu.h"
#include "mmu/names.h"
#include "mmu/tree.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"

/* The halves of mmu->refs. */
#define REF_OWNER 1ULL
#define REF_TOKEN (1ULL << 32)

u64 mmu_imbalances;
void (*mmu_report)(const char *what);

static void locks_init(struct mmu *mmu)
{
	mutex_init(&mmu->slots_lock);
	mutex_init(&mmu->flush_lock);
	mutex_init(&mmu->stop_lock);
	mutex_init(&mmu->wait_lock);
	rwlock_init(&mmu->lock);
	rwlock_init(&mmu->names_lock);
	rwlock_init(&mmu->vcpus_lock);
	rwlock_init(&mmu->caches_lock);
	waitq_init(&mmu->waitq);
	waitq_init(&mmu->vcpu_waitq);
}

static void locks_fini(struct mmu *mmu)
{
	waitq_destroy(&mmu->vcpu_waitq);
	waitq_destroy(&mmu->waitq);
	rwlock_destroy(&mmu->caches_lock);
	rwlock_destroy(&mmu->vcpus_lock);
	rwlock_destroy(&mmu->names_lock);
	rwlock_destroy(&mmu->lock);
	mutex_destroy(&mmu->wait_lock);
	mutex_destroy(&mmu->stop_lock);
	mutex_destroy(&mmu->flush_lock);
	mutex_destroy(&mmu->slots_lock);
}

static void under_uffd(struct mmu *mmu, u64 n, const struct primary_range *first)
{
	struct statpage_vm *s = &mmu->stat;

	_Static_assert(STATPAGE_UFFD_SHOWN == PRIMARY_UFFD_SHOWN, "as many as are shown");
	for (u64 i = 0; i < MIN(n, (u64)PRIMARY_UFFD_SHOWN); i++) {
		sync_store(&s->uffd[i].start, first[i].start);
		sync_store(&s->uffd[i].end, first[i].end);
	}
	sync_store(&s->nuffd, n);
}

int mmu_create(const struct primary_ops *ops, void *primary, struct mmu **out)
{
	struct mmu *mmu = pagemem_alloc(sizeof(*mmu));
	struct primary_notifier n = {.mmu = mmu,
				     .get = mmu_get_unless_gone,
				     .put = mmu_put,
				     .begin = mmu_invalidate_begin,
				     .end = mmu_invalidate_end,
				     .hide = mmu_invalidate_hide,
				     .zap = mmu_invalidate_zap,
				     .content = mmu_content_changed,
				     .age = mmu_age,
				     .young = mmu_test_young,
				     .under_uffd = under_uffd};
	int r = -ENOMEM;

	if (!mmu)
		return r;
	mmu->refs = REF_OWNER;
	mmu->ops = ops;
	mmu->primary = primary;
	mmu->names_gen = 1;
	locks_init(mmu);
	r = tree_init(mmu);
	if (r)
		goto no_tree;
	r = memslots_init(mmu);
	if (r)
		goto no_slots;
	r = tokens_init(mmu);
	if (r)
		goto no_tokens;
	ops->set_notifier(primary, &n);
	code_join(mmu);
	*out = mmu;
	return 0;
no_tokens:
	memslots_fini(mmu);
no_slots:
	tree_fini(mmu);
no_tree:
	locks_fini(mmu);
	pagemem_free(mmu, sizeof(*mmu));
	return r;
}

void mmu_get(struct mmu *mmu)
{
	u64 refs = sync_add(&mmu->refs, REF_OWNER);

	assert((u32)refs);
}

bool mmu_get_unless_gone(struct mmu *mmu)
{
	u64 refs = sync_load(&mmu->refs);

	while ((u32)refs) {
		if (sync_cmpxchg(&mmu->refs, &refs, refs + REF_OWNER))
			return true;
	}
	return false;
}

void mmu_token_get(struct mmu *mmu)
{
	u64 refs = sync_add(&mmu->refs, REF_TOKEN);

	assert(refs);
}

static void zap_all(struct mmu *mmu)
{
	struct tree_free f = {NULL};

	mmu_lock_write(mmu);
	tree_zap(mmu, 0, TREE_MAX_GFN, &f);
	mmu_unlock_write(mmu);
	tree_free_flush(mmu, &f);
}

static void mmu_destroy(struct mmu *mmu)
{
	/*
	 * A token holds a reference, so an invalidation that began before the VM went ended
	 * before this: what is in progress now is an end that was lost.
	 */
	assert(!mmu->tokens && !mmu->nr_tokens);
	assert(!mmu->vcpus && !mmu->caches);
	code_leave(mmu);
	names_fini(mmu);
	memslots_fini(mmu);
	mmu->ops->destroy(mmu->primary);
	tree_fini(mmu);
	tokens_fini(mmu);
	attr_fini(mmu);
	locks_fini(mmu);
	pagemem_free(mmu, sizeof(*mmu));
}

void mmu_token_put(struct mmu *mmu)
{
	if (sync_sub(&mmu->refs, REF_TOKEN) == REF_TOKEN)
		mmu_destroy(mmu);
}

void mmu_put(struct mmu *mmu)
{
	/* A token's reference in the place of this one keeps the books open for a look at them. */
	u64 refs = sync_add(&mmu->refs, REF_TOKEN - REF_OWNER);

	if ((u32)refs == REF_OWNER)
		mmu_tokens_torn_down(mmu);
	mmu_token_put(mmu);
}

void mmu_close(struct mmu *mmu)
{
	/*
	 * With the last owner goes the ear for invalidations, so SPTEs go before it: without that a
	 * page could be given away with a zap still to come that marks it. No vCPU is left to
	 * install new ones; a begin that takes a reference meanwhile zaps once more.
	 */
	zap_all(mmu);
	memslots_let_go(mmu);
	mmu_put(mmu);
}

void mmu_get_stats(struct mmu *mmu, struct mmu_stats *out)
{
	out->pages_4k = sync_load(&mmu->stat.pages[LEVEL_4K - LEVEL_4K]);
	out->pages_2m = sync_load(&mmu->stat.pages[LEVEL_2M - LEVEL_4K]);
	out->pages_1g = sync_load(&mmu->stat.pages[LEVEL_1G - LEVEL_4K]);
	out->remote_flushes = sync_load(&mmu->stat.remote_flushes);
	out->invalidations = sync_load(&mmu->stat.invalidations);
	out->table_bytes = sync_load(&mmu->stat.tables) * sizeof(struct table);
}

struct statpage_vm *mmu_stat_page(struct mmu *mmu)
{
	return &mmu->stat;
}

/* ------------------------------------------------------------------ copies */

unsigned mmu_user_begin(struct mmu *mmu)
{
	for (;;) {
		unsigned turn = sync_load(&mmu->users_turn) & 1;

		sync_add(&mmu->users[turn], 1);
		if ((sync_load(&mmu->users_turn) & 1) == turn)
			return turn;
		mmu_user_end(mmu, turn);
	}
}

void mmu_user_end(struct mmu *mmu, unsigned turn)
{
	if (sync_sub(&mmu->users[turn], 1) == 1)
		mmu_wake_waiters(mmu);
}

void mmu_users_wait(struct mmu *mmu)
{
	unsigned turn = sync_add(&mmu->users_turn, 1) & 1;

	mutex_assert_held(&mmu->slots_lock); /* one turn at a time */
	if (!sync_load(&mmu->users[turn]))
		return;
	sync_add(&mmu->nr_waiters, 1);
	mutex_lock(&mmu->wait_lock);
	while (sync_load(&mmu->users[turn]))
		waitq_wait(&mmu->waitq, &mmu->wait_lock);
	mutex_unlock(&mmu->wait_lock);
	sync_sub(&mmu->nr_waiters, 1);
}

/* Copy within one page. */
static int read_page(struct mmu *mmu, gpa_t gpa, void *buf, u64 n)
{
	unsigned turn = mmu_user_begin(mmu);
	hva_t hva = mmu_gfn_to_hva(mmu, gpa >> PAGE_SHIFT, NULL);
	int r = -EFAULT;

	if (hva)
		r = mmu->ops->copy_from(mmu->primary, hva + (gpa & ~PAGE_MASK), buf, n);
	mmu_user_end(mmu, turn);
	return r;
}

int mmu_read_guest(struct mmu *mmu, gpa_t gpa, void *buf, u64 len)
{
	while (len) {
		u64 n = MIN(len, PAGE_SIZE - (gpa & ~PAGE_MASK));

		if (read_page(mmu, gpa, buf, n))
			return -EFAULT;
		gpa += n;
		buf = (u8 *)buf + n;
		len -= n;
	}
	return 0;
}

void mmu_log_write(struct mmu *mmu, struct mmu_vcpu *v, gfn_t gfn)
{
	sync_rcu_read_lock();
	memslots_mark_dirty(mmu, v, gfn, true);
	sync_rcu_read_unlock();
}

/* The page at hva was written: who has code from it? */
static void tell_written(struct mmu *mmu, hva_t hva)
{
	struct page_name n;
	struct frame f;

	if (!code_any() || mmu->ops->fault_in(mmu->primary, hva & PAGE_MASK, true, NULL, NULL, &f))
		return;
	n = frame_name(&f);
	mmu->ops->release(mmu->primary, &f, false, false);
	code_written(&n);
}

static int write_page(struct mmu *mmu, gpa_t gpa, const void *buf, u64 n)
{
	unsigned turn = mmu_user_begin(mmu);
	bool readonly = false;
	hva_t hva = mmu_gfn_to_hva(mmu, gpa >> PAGE_SHIFT, &readonly);
	int r = -EFAULT;

	if (hva && !readonly)
		r = mmu->ops->copy_to(mmu->primary, hva + (gpa & ~PAGE_MASK), buf, n);
	if (!r) {
		mmu_log_write(mmu, NULL, gpa >> PAGE_SHIFT);
		tell_written(mmu, hva);
	}
	mmu_user_end(mmu, turn);
	return r;
}

int mmu_write_guest(struct mmu *mmu, gpa_t gpa, const void *buf, u64 len)
{
	while (len) {
		u64 n = MIN(len, PAGE_SIZE - (gpa & ~PAGE_MASK));

		if (write_page(mmu, gpa, buf, n))
			return -EFAULT;
		gpa += n;
		buf = (const u8 *)buf + n;
		len -= n;
	}
	return 0;
}
