/* SPDX-License-Identifier: MIT */
/* Stage 2: a 512-way radix tree of SPTEs, its walk, and the one place where an SPTE changes. */
#include <assert.h>
#include <stdlib.h>
#include "mmu/attributes.h"
#include "mmu/memslots.h"
#include "mmu/spte.h"
#include "mmu/tree.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"

static unsigned tree_index(gfn_t gfn, int level)
{
	return (gfn >> (9 * (level - 1))) & (TREE_ENTRIES - 1);
}

static struct table *spte_to_table(u64 s)
{
	return (struct table *)(s & SPTE_TABLE_MASK);
}

static struct table *table_alloc(struct mmu *mmu)
{
	struct table *t = aligned_alloc(64, sizeof(*t));

	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	sync_add(&mmu->stat.tables, 1);
	return t;
}

int tree_init(struct mmu *mmu)
{
	mmu->root = mmu->shown = table_alloc(mmu);
	return mmu->root ? 0 : -ENOMEM;
}

/* Nobody else is left; the tree was zapped. */
void tree_fini(struct mmu *mmu)
{
	for (int l = LEVEL_4K; l <= LEVEL_1G; l++)
		assert(!mmu->stat.pages[l - LEVEL_4K]);
	assert(mmu->stat.tables == 1);
	free(mmu->root);
}

int tree_cache_fill(struct mmu *mmu, struct tree_cache *c, u32 n)
{
	while (c->n < n) {
		struct table *t = table_alloc(mmu);

		if (!t)
			return -ENOMEM;
		t->next = c->head;
		c->head = t;
		c->n++;
	}
	return 0;
}

static struct table *cache_take(struct tree_cache *c)
{
	struct table *t = c->head;

	assert(t);
	c->head = t->next;
	c->n--;
	return t;
}

static void cache_give(struct tree_cache *c, struct table *t)
{
	t->next = c->head;
	c->head = t;
	c->n++;
}

void tree_cache_drop(struct mmu *mmu, struct tree_cache *c)
{
	while (c->n) {
		free(cache_take(c));
		sync_sub(&mmu->stat.tables, 1);
	}
}

static void table_free_rcu(sync_rcu_head *head)
{
	free(container_of(head, struct table, rcu));
}

void tree_free_flush(struct mmu *mmu, struct tree_free *f)
{
	while (f->head) {
		struct table *t = f->head;

		f->head = t->next;
		sync_sub(&mmu->stat.tables, 1);
		sync_rcu_call(&t->rcu, table_free_rcu);
	}
}

/* ------------------------------------------------------------------ changes */

/* The books: every change of an SPTE passes here once. */
static void spte_changed(struct mmu *mmu, int level, u64 old, u64 new_)
{
	u64 learnt;

	if (spte_leaf(old))
		assert(spte_level(old) == level);
	if (spte_leaf(new_))
		assert(spte_level(new_) == level && level <= LEVEL_1G);
	if (spte_leaf(old) && !spte_leaf(new_))
		sync_sub(&mmu->stat.pages[level - LEVEL_4K], 1);
	if (!spte_leaf(old) && spte_leaf(new_))
		sync_add(&mmu->stat.pages[level - LEVEL_4K], 1);
	/*
	 * What the leaf learnt and no longer says goes back: before whoever zaps it lets the page
	 * go, and before whoever harvests or ages it relies on the page's own marks.
	 */
	learnt = spte_leaf(new_) && spte_host(old) == spte_host(new_) ? old & ~new_ : old;
	if (spte_leaf(old) && (learnt & (SPTE_ACCESSED | SPTE_DIRTY)))
		mmu->ops->zapped(mmu->primary, spte_host(old) >> PAGE_SHIFT, old & SPTE_PAGE,
				 learnt & SPTE_ACCESSED, (learnt & SPTE_DIRTY) && (old & SPTE_DIRTIES));
}

bool tree_set_atomic(struct mmu *mmu, u64 *sptep, int level, u64 *old, u64 new_)
{
	u64 was = *old;

	/* Replacing a leaf's frame or removing a table needs a flush: exclusive only. */
	assert(!spte_present(was) ||
	       (spte_leaf(was) && spte_leaf(new_) && spte_host(was) == spte_host(new_)));
	assert(!(was & SPTE_FROZEN));
	if (!sync_cmpxchg(sptep, old, new_))
		return false;
	spte_changed(mmu, level, was, new_);
	return true;
}

u64 tree_set(struct mmu *mmu, u64 *sptep, int level, u64 new_)
{
	u64 old;

	assert(mmu->exclusive);
	/* An exchange, because a vCPU may set accessed or dirty at this moment. */
	old = sync_xchg(sptep, new_);
	spte_changed(mmu, level, old, new_);
	return old;
}

/* ------------------------------------------------------------------ walks */

static void iter_load(struct tree_iter *it)
{
	it->sptep = &it->table[it->level]->spte[tree_index(it->gfn, it->level)];
	it->old = sync_load_acquire(it->sptep);
}

void tree_iter_start(struct tree_iter *it, struct mmu *mmu, gfn_t start, gfn_t end)
{
	it->level = TREE_ROOT_LEVEL;
	it->end = MIN(end, TREE_MAX_GFN);
	it->gfn = start;
	it->table[TREE_ROOT_LEVEL] = mmu->root;
	if (start >= it->end) {
		it->sptep = NULL;
		return;
	}
	iter_load(it);
}

void tree_iter_next(struct tree_iter *it)
{
	if (spte_table(it->old)) {
		it->level--;
		it->table[it->level] = spte_to_table(it->old);
		iter_load(it);
		return;
	}
	it->gfn = ALIGN_DOWN(it->gfn, LEVEL_PAGES(it->level)) + LEVEL_PAGES(it->level);
	if (it->gfn >= it->end) {
		it->sptep = NULL;
		return;
	}
	while (it->level < TREE_ROOT_LEVEL && !tree_index(it->gfn, it->level))
		it->level++;
	iter_load(it);
}

static struct table nothing; /* in which no leaf is ever found, and so none changed */

void tree_hide(struct mmu *mmu)
{
	assert(mmu->exclusive);
	mmu->hides++;
	sync_store(&mmu->shown, &nothing);
}

void tree_show(struct mmu *mmu)
{
	assert(mmu->exclusive && mmu->hides);
	if (!--mmu->hides)
		sync_store_release(&mmu->shown, mmu->root);
}

u64 tree_lookup(struct mmu *mmu, gfn_t gfn, u64 **sptep)
{
	struct table *t = sync_load(&mmu->shown);

	for (int level = TREE_ROOT_LEVEL; level >= LEVEL_4K; level--) {
		u64 *p = &t->spte[tree_index(gfn, level)];
		u64 s = sync_load_acquire(p);

		if (spte_leaf(s)) {
			*sptep = p;
			return s;
		}
		if (!spte_table(s))
			return 0;
		t = spte_to_table(s);
	}
	return 0;
}

/* ------------------------------------------------------------------ zap */

/* Empty a table that is already out of the tree, and those below it. */
static bool zap_table(struct mmu *mmu, struct table *t, int level, struct tree_free *f)
{
	bool zapped = false;

	for (unsigned i = 0; i < TREE_ENTRIES; i++) {
		u64 s = sync_load(&t->spte[i]);

		if (!spte_present(s))
			continue;
		tree_set(mmu, &t->spte[i], level, 0);
		if (spte_table(s))
			zapped |= zap_table(mmu, spte_to_table(s), level - 1, f);
		else
			zapped = true;
	}
	t->next = f->head;
	f->head = t;
	return zapped;
}

bool tree_zap(struct mmu *mmu, gfn_t start, gfn_t end, struct tree_free *f)
{
	struct tree_iter it;
	bool zapped = false;

	tree_for_each(&it, mmu, start, end) {
		gfn_t first = ALIGN_DOWN(it.gfn, LEVEL_PAGES(it.level));

		if (!spte_present(it.old))
			continue;
		if (spte_table(it.old)) {
			if (first < start || first + LEVEL_PAGES(it.level) > end)
				continue;
			tree_set(mmu, it.sptep, it.level, 0);
			zapped |= zap_table(mmu, spte_to_table(it.old), it.level - 1, f);
		} else {
			tree_set(mmu, it.sptep, it.level, 0);
			zapped = true;
		}
		it.old = 0;
	}
	return zapped;
}

bool tree_start_logging(struct mmu *mmu, gfn_t start, gfn_t end, bool keep_dirty)
{
	struct tree_iter it;
	bool changed = false;

	tree_for_each(&it, mmu, start, end) {
		u64 new_ = it.level > LEVEL_4K ? 0 : it.old & ~SPTE_DIRTY;

		if (!spte_leaf(it.old) || (it.level == LEVEL_4K && (keep_dirty || new_ == it.old)))
			continue;
		tree_set(mmu, it.sptep, it.level, new_);
		it.old = new_;
		changed = true;
	}
	return changed;
}

/* ------------------------------------------------------------------ install */

int tree_install(struct mmu *mmu, gfn_t gfn, int level, u64 leaf, struct tree_cache *c)
{
	struct table *t = mmu->root;
	int l = TREE_ROOT_LEVEL;

	for (;;) {
		u64 *p = &t->spte[tree_index(gfn, l)];
		u64 s = sync_load_acquire(p);

		if (spte_table(s)) {
			if (l == level)
				return -EEXIST; /* finer mappings stand here already */
			t = spte_to_table(s);
			l--;
			continue;
		}
		if (spte_leaf(s) && (l > level || spte_host(s) != spte_host(leaf)))
			return -EBUSY; /* another leaf must go first, with a flush */
		if (l > level) {
			struct table *new_ = cache_take(c);

			if (!tree_set_atomic(mmu, p, l, &s, (u64)new_ | SPTE_PRESENT))
				cache_give(c, new_);
			continue;
		}
		if (tree_set_atomic(mmu, p, l, &s, s | leaf))
			return 0;
	}
}

void tree_install_beside(struct mmu *mmu, gfn_t first, u64 n, u64 leaf)
{
	struct table *t = mmu->root;

	assert(!(first % n) && n <= TREE_ENTRIES);
	for (int l = TREE_ROOT_LEVEL; l > LEVEL_4K; l--)
		t = spte_to_table(sync_load_acquire(&t->spte[tree_index(first, l)]));
	for (u64 i = 0; i < n; i++) {
		u64 *p = &t->spte[tree_index(first + i, LEVEL_4K)];
		u64 s = sync_load(p);

		/* Who comes first puts his leaf there, which says the same. */
		if (!s)
			tree_set_atomic(mmu, p, LEVEL_4K, &s, leaf + (i << PAGE_SHIFT));
	}
}
