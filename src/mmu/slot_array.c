/* SPDX-License-Identifier: MIT */
/*
 * A VM's memslots by gfn: a sorted array of sorted chunks. What was published never changes: an
 * update copies the directory and one or two chunks, so it costs O(sqrt n) of copying, readers take
 * no lock, and no update waits for them: what it replaced is freed after a grace period.
 */
#include <assert.h>
#include <stdlib.h>
#include "mmu/memslots.h"
#include "mmu/slot_array.h"
#include "mmu/vm.h"

#define CHUNK_SLOTS 128

struct slot_chunk {
	u32 n;
	sync_rcu_head rcu;
	struct slot_chunk *next; /* in a list to be freed */
	struct memslot *slot[CHUNK_SLOTS];
};

struct memslots {
	u32 nchunks;
	sync_rcu_head rcu;
	struct slot_chunk *chunk[]; /* none is empty */
};

/* ------------------------------------------------------------------ lookup */

/* Index of the last chunk that begins at or before gfn, or -1. */
static int find_chunk(const struct memslots *m, gfn_t gfn)
{
	int lo = 0, hi = (int)m->nchunks;

	while (lo < hi) {
		int mid = (lo + hi) / 2;

		if (m->chunk[mid]->slot[0]->base_gfn <= gfn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - 1;
}

/* The same within a chunk. */
static int find_in_chunk(const struct slot_chunk *c, gfn_t gfn)
{
	int lo = 0, hi = (int)c->n;

	while (lo < hi) {
		int mid = (lo + hi) / 2;

		if (c->slot[mid]->base_gfn <= gfn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - 1;
}

struct memslot *memslot_find(struct mmu *mmu, gfn_t gfn)
{
	const struct memslots *m = sync_rcu_deref(&mmu->slots);
	int i = find_chunk(m, gfn);
	struct memslot *s;

	if (i < 0)
		return NULL;
	s = m->chunk[i]->slot[find_in_chunk(m->chunk[i], gfn)];
	return memslot_has(s, gfn) ? s : NULL;
}

void memslots_each(struct mmu *mmu, gfn_t start, gfn_t end,
		   void (*fn)(struct memslot *s, void *arg), void *arg)
{
	const struct memslots *m = sync_rcu_deref(&mmu->slots);
	int i = find_chunk(m, start);
	int j = i < 0 ? 0 : find_in_chunk(m->chunk[i], start);

	for (i = MAX(i, 0); i < (int)m->nchunks; i++, j = 0) {
		for (; j < (int)m->chunk[i]->n; j++) {
			struct memslot *s = m->chunk[i]->slot[j];

			if (s->base_gfn >= end)
				return;
			if (s->base_gfn + s->npages > start)
				fn(s, arg);
		}
	}
}

/* ------------------------------------------------------------------ building the next array */

static struct memslots *array_alloc(u32 nchunks)
{
	struct memslots *m = malloc(sizeof(*m) + nchunks * sizeof(m->chunk[0]));

	if (m)
		m->nchunks = nchunks;
	return m;
}

/* A copy of m with chunk i replaced by a and, when not NULL, b; by nothing when both are NULL. */
static struct memslots *array_replace(const struct memslots *m, int i, struct slot_chunk *a,
				      struct slot_chunk *b)
{
	u32 put = (a ? 1 : 0) + (b ? 1 : 0);
	u32 gone = m->nchunks ? 1 : 0;
	struct memslots *n = array_alloc(m->nchunks - gone + put);
	u32 k = 0;

	if (!n)
		return NULL;
	memcpy(n->chunk, m->chunk, (size_t)i * sizeof(m->chunk[0]));
	k = (u32)i;
	if (a)
		n->chunk[k++] = a;
	if (b)
		n->chunk[k++] = b;
	memcpy(&n->chunk[k], &m->chunk[i + (int)gone],
	       (m->nchunks - (u32)i - gone) * sizeof(m->chunk[0]));
	return n;
}

static void retire_chunk(struct slot_array_retired *r, struct slot_chunk *c)
{
	if (!c)
		return;
	c->next = r->chunks;
	r->chunks = c;
}

static struct memslots *array_insert(const struct memslots *m, struct memslot *s,
				     struct slot_array_retired *r)
{
	int i = MAX(find_chunk(m, s->base_gfn), 0);
	struct slot_chunk *old = m->nchunks ? m->chunk[i] : NULL;
	struct slot_chunk *a = calloc(1, sizeof(*a)), *b = NULL;
	int at = old ? find_in_chunk(old, s->base_gfn) + 1 : 0;
	struct memslots *n;

	if (old && old->n == CHUNK_SLOTS)
		b = calloc(1, sizeof(*b));
	if (!a || (old && old->n == CHUNK_SLOTS && !b))
		goto fail;
	/* Full chunks split at the insertion point's side, so that ascending inserts fill them. */
	if (b) {
		int half = at == CHUNK_SLOTS ? CHUNK_SLOTS : CHUNK_SLOTS / 2;
		struct slot_chunk *to = at > half || half == CHUNK_SLOTS ? b : a;
		int pos = to == b ? at - half : at;

		a->n = (u32)half;
		b->n = (u32)(CHUNK_SLOTS - half);
		memcpy(a->slot, old->slot, a->n * sizeof(s));
		memcpy(b->slot, &old->slot[half], b->n * sizeof(s));
		memmove(&to->slot[pos + 1], &to->slot[pos], (to->n - (u32)pos) * sizeof(s));
		to->slot[pos] = s;
		to->n++;
	} else {
		if (old)
			memcpy(a->slot, old->slot, old->n * sizeof(s));
		a->n = old ? old->n + 1 : 1;
		memmove(&a->slot[at + 1], &a->slot[at], (a->n - 1 - (u32)at) * sizeof(s));
		a->slot[at] = s;
	}
	n = array_replace(m, i, a, b);
	if (!n)
		goto fail;
	retire_chunk(r, old);
	return n;
fail:
	free(a);
	free(b);
	return NULL;
}

/* `with` takes the place of s (the same gfns), or nothing does. */
static struct memslots *array_exchange(const struct memslots *m, struct memslot *s,
				       struct memslot *with, struct slot_array_retired *r)
{
	int i = find_chunk(m, s->base_gfn);
	struct slot_chunk *old = m->chunk[i], *a = NULL;
	int at = find_in_chunk(old, s->base_gfn);
	struct memslots *n;

	assert(old->slot[at] == s);
	if (with || old->n > 1) {
		a = calloc(1, sizeof(*a));
		if (!a)
			return NULL;
		memcpy(a->slot, old->slot, old->n * sizeof(s));
		a->n = old->n;
		if (with) {
			a->slot[at] = with;
		} else {
			a->n--;
			memmove(&a->slot[at], &a->slot[at + 1], (a->n - (u32)at) * sizeof(s));
		}
	}
	n = array_replace(m, i, a, NULL);
	if (!n) {
		free(a);
		return NULL;
	}
	retire_chunk(r, old);
	return n;
}

static void chunk_free_rcu(sync_rcu_head *head)
{
	free(container_of(head, struct slot_chunk, rcu));
}

static void array_free_rcu(sync_rcu_head *head)
{
	free(container_of(head, struct memslots, rcu));
}

void slot_array_free_retired(struct slot_array_retired *r)
{
	while (r->chunks) {
		struct slot_chunk *c = r->chunks;

		r->chunks = c->next;
		sync_rcu_call(&c->rcu, chunk_free_rcu);
	}
	for (u32 i = 0; i < r->narrays; i++)
		sync_rcu_call(&r->array[i]->rcu, array_free_rcu);
}

struct memslots *slot_array_update(struct memslots *m, struct memslot *old, struct memslot *new_,
				   struct slot_array_retired *r)
{
	struct memslots *n, *moved;

	r->array[r->narrays++] = m;
	if (!old)
		return array_insert(m, new_, r);
	if (!new_ || new_->base_gfn == old->base_gfn)
		return array_exchange(m, old, new_, r);
	/* A move: the array in between is nobody's, but may be retired like the others. */
	n = array_exchange(m, old, NULL, r);
	if (!n)
		return NULL;
	r->array[r->narrays++] = n;
	moved = array_insert(n, new_, r);
	if (!moved) {
		/* Gone with the chunk it has in the place of one of m's. */
		if (n->nchunks == m->nchunks)
			free(n->chunk[find_chunk(m, old->base_gfn)]);
		free(n);
	}
	return moved;
}

struct memslots *slot_array_create(void)
{
	return array_alloc(0);
}

void slot_array_destroy(struct memslots *m)
{
	for (u32 i = 0; i < m->nchunks; i++)
		free(m->chunk[i]);
	free(m);
}
