/* SPDX-License-Identifier: MIT */
/*
 * Memory attributes: which gfns are private. A set of pieces in an interval tree, so that a
 * conversion costs what it touches and not what it covers, whatever its size, and a lookup
 * O(log pieces). What a conversion has to zap is another matter: that is the tree's.
 *
 * A conversion is an invalidation by gfn: begin (nobody reaches the range any more), the new
 * attribute under mmu_lock, end. A fault of the range waits or starts over, so at any instant
 * every translation in use is of the attribute that stands.
 */
#include <stdlib.h>
#include "mmu/attributes.h"
#include "mmu/invalidate.h"
#include "mmu/memslots.h"
#include "mmu/slot_array.h"
#include "mmu/vm.h"

struct private_piece {
	struct interval node; /* private gfns; in mmu->private_gfns */
	struct private_piece *next;   /* to be freed */
};

bool attr_uniform(struct mmu *mmu, gfn_t start, gfn_t end, bool private_)
{
	const struct interval *n;

	if (start >= end)
		return true;
	n = interval_find(&mmu->private_gfns, start, end - 1);
	return private_ ? n && n->start <= start && n->last >= end - 1 : !n;
}

bool mmu_is_private(struct mmu *mmu, gfn_t gfn)
{
	bool yes;

	if (!attr_any(mmu))
		return false;
	mmu_lock_read(mmu);
	yes = !attr_uniform(mmu, gfn, gfn + 1, false);
	mmu_unlock_read(mmu);
	return yes;
}

/* ------------------------------------------------------------------ the set */

struct attr_change {
	struct mmu *mmu;
	struct private_piece *spare; /* one is enough: see below */
	struct private_piece *gone;
	u64 npieces; /* there will be */
};

static void put(struct attr_change *c, struct private_piece *p, gfn_t start, gfn_t last)
{
	p->node.start = start;
	p->node.last = last;
	interval_insert(&c->mmu->private_gfns, &p->node);
	c->npieces++;
}

static struct private_piece *take(struct attr_change *c, gfn_t start, gfn_t last)
{
	struct interval *n = interval_find(&c->mmu->private_gfns, start, last);

	if (!n)
		return NULL;
	interval_remove(&c->mmu->private_gfns, n);
	c->npieces--;
	return container_of(n, struct private_piece, node);
}

static void drop(struct attr_change *c, struct private_piece *p)
{
	p->next = c->gone;
	c->gone = p;
}

/* [start, last] and what it meets or touches become one piece. */
static void make_private(struct attr_change *c, gfn_t start, gfn_t last)
{
	struct private_piece *p;

	while ((p = take(c, start ? start - 1 : 0, last + 1))) {
		start = MIN(start, p->node.start);
		last = MAX(last, p->node.last);
		drop(c, p);
	}
	put(c, c->spare, start, last);
	c->spare = NULL;
}

/* Pieces keep what they have on either side; only one that has both needs a second node. */
static void make_shared(struct attr_change *c, gfn_t start, gfn_t last)
{
	struct private_piece *p;

	while ((p = take(c, start, last))) {
		gfn_t s = p->node.start, l = p->node.last;

		if (s < start) {
			put(c, p, s, start - 1);
			p = c->spare;
			if (l > last)
				c->spare = NULL;
		}
		if (l > last)
			put(c, p, last + 1, l);
		else if (p != c->spare)
			drop(c, p);
	}
}

static void free_all(struct attr_change *c)
{
	while (c->gone) {
		struct private_piece *p = c->gone;

		c->gone = p->next;
		free(p);
	}
	free(c->spare);
}

void attr_fini(struct mmu *mmu)
{
	struct attr_change c = {.mmu = mmu};
	struct private_piece *p;

	while ((p = take(&c, 0, ~0ULL)))
		drop(&c, p);
	free_all(&c);
}

/* ------------------------------------------------------------------ conversion */

/*
 * What has to go for the new attribute: [*start, *end), and of the large blocks around its ends
 * those that will be of one attribute and in one slot, so that faults map them large again.
 * slots_lock held.
 */
static void widen(struct mmu *mmu, gfn_t at, bool private_, gfn_t *start, gfn_t *end)
{
	for (int level = LEVEL_1G; level > LEVEL_4K; level--) {
		gfn_t first = ALIGN_DOWN(at, LEVEL_PAGES(level));
		gfn_t after = first + LEVEL_PAGES(level);
		const struct memslot *s = memslot_find(mmu, at);

		if (!s || first < s->base_gfn || after > s->base_gfn + s->npages)
			continue;
		if (!attr_uniform(mmu, first, *start, private_) ||
		    !attr_uniform(mmu, *end, after, private_))
			continue;
		*start = MIN(*start, first);
		*end = MAX(*end, after);
		return;
	}
}

static int convert(struct attr_change *c, gfn_t start, gfn_t end, bool private_)
{
	gfn_t zap_start = start, zap_end = end;
	struct mmu *mmu = c->mmu;
	struct mmu_token *t;

	widen(mmu, start, private_, &zap_start, &zap_end);
	widen(mmu, end - 1, private_, &zap_start, &zap_end);
	t = mmu_invalidate_gfns_begin(mmu, zap_start, zap_end);
	if (!t)
		return -ENOMEM;
	mmu_lock_write(mmu);
	c->npieces = mmu->nr_private;
	if (private_)
		make_private(c, start, end - 1);
	else
		make_shared(c, start, end - 1);
	/* At once: a look without the lock must not find none while the only piece is replaced. */
	sync_store(&mmu->nr_private, c->npieces);
	mmu_unlock_write(mmu);
	mmu_invalidate_end(t);
	/* Host-side copies that found the range shared. */
	mmu_users_wait(mmu);
	return 0;
}

int mmu_set_attributes(struct mmu *mmu, gfn_t start, u64 npages, u64 attributes)
{
	bool private_ = attributes & MMU_ATTR_PRIVATE;
	struct attr_change c = {.mmu = mmu};
	gfn_t end = start + npages;
	int r = 0;

	if ((attributes & ~MMU_ATTR_PRIVATE) || end <= start)
		return -EINVAL;
	c.spare = calloc(1, sizeof(*c.spare));
	if (!c.spare)
		return -ENOMEM;
	mutex_lock(&mmu->slots_lock);
	if (!attr_uniform(mmu, start, end, private_))
		r = convert(&c, start, end, private_);
	mutex_unlock(&mmu->slots_lock);
	free_all(&c);
	return r;
}
