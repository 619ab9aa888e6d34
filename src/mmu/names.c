/* SPDX-License-Identifier: MIT */
/*
 * By what name every VM of the process knows a page of the host's, however it comes to reach it: the
 * object that it belongs to, as the primary MMU says with the frame, and its place there. Memory that
 * is nobody else's has the host address for a name.
 *
 * Pieces of gfns whose frames have names are kept by gfn: what a fault installs is named before, so a
 * live SPTE always has its name here. What a memslot leaves behind stays until something else is
 * installed there, and is never asked for.
 */
#include <stdlib.h>
#include "mmu/attributes.h"
#include "mmu/memslots.h"
#include "mmu/names.h"
#include "mmu/tree.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"

struct name_piece {
	struct interval by_gfn;
	u64 object;
	u64 delta; /* index in the object minus gfn */
	struct name_piece *next; /* among a vCPU's spare ones */
};

static struct name_piece *piece_find(struct mmu *mmu, gfn_t start, gfn_t end)
{
	struct interval *n = interval_find(&mmu->names, start, end - 1);

	return n ? container_of(n, struct name_piece, by_gfn) : NULL;
}

static bool says(const struct name_piece *p, const struct frame *f, gfn_t gfn)
{
	return p->object == f->object && p->delta == f->index - gfn;
}

/* ------------------------------------------------------------------ setting */

/* A change splits one piece at most, and adds one. */
#define SPARES 2

int names_prepare(struct mmu_vcpu *v, const struct frame *f)
{
	if (!f->object && !sync_load(&v->mmu->nr_names))
		return 0;
	while (v->nr_spare_names < SPARES) {
		struct name_piece *p = malloc(sizeof(*p));

		if (!p)
			return -ENOMEM;
		p->next = v->spare_names;
		v->spare_names = p;
		v->nr_spare_names++;
	}
	return 0;
}

void names_drop_spares(struct mmu_vcpu *v)
{
	while (v->spare_names) {
		struct name_piece *p = v->spare_names;

		v->spare_names = p->next;
		free(p);
	}
	v->nr_spare_names = 0;
}

/* names_lock held for write from here on. */
static void piece_put(struct mmu_vcpu *v, gfn_t start, gfn_t end, u64 object, u64 delta)
{
	struct name_piece *p = v->spare_names;

	if (start >= end)
		return;
	v->spare_names = p->next;
	v->nr_spare_names--;
	p->by_gfn.start = start;
	p->by_gfn.last = end - 1;
	p->object = object;
	p->delta = delta;
	interval_insert(&v->mmu->names, &p->by_gfn);
	sync_store(&v->mmu->nr_names, v->mmu->nr_names + 1);
}

static void piece_drop(struct mmu_vcpu *v, struct name_piece *p)
{
	interval_remove(&v->mmu->names, &p->by_gfn);
	sync_store(&v->mmu->nr_names, v->mmu->nr_names - 1);
	p->next = v->spare_names;
	v->spare_names = p;
	v->nr_spare_names++;
}

static void cut(struct mmu_vcpu *v, gfn_t start, gfn_t end)
{
	struct name_piece *p;

	while ((p = piece_find(v->mmu, start, end))) {
		struct name_piece was = *p;

		piece_drop(v, p);
		piece_put(v, was.by_gfn.start, start, was.object, was.delta);
		piece_put(v, end, was.by_gfn.last + 1, was.object, was.delta);
	}
}

/* Pieces that touch [*start, *end) and go on as it does become part of it. */
static void join(struct mmu_vcpu *v, const struct frame *f, gfn_t gfn, gfn_t *start, gfn_t *end)
{
	struct name_piece *p;

	if (*start && (p = piece_find(v->mmu, *start - 1, *start)) && says(p, f, gfn)) {
		*start = p->by_gfn.start;
		piece_drop(v, p);
	}
	if ((p = piece_find(v->mmu, *end, *end + 1)) && says(p, f, gfn)) {
		*end = p->by_gfn.last + 1;
		piece_drop(v, p);
	}
}

/* Has all of [start, end) its name already? */
static bool named(struct mmu *mmu, gfn_t start, gfn_t end, const struct frame *f, gfn_t gfn)
{
	struct name_piece *p = piece_find(mmu, start, end);

	if (!f->object)
		return !p;
	return p && says(p, f, gfn) && p->by_gfn.start <= start && p->by_gfn.last >= end - 1;
}

void names_set(struct mmu_vcpu *v, const struct frame *f, gfn_t gfn, gfn_t start, gfn_t end)
{
	struct mmu *mmu = v->mmu;
	bool done;

	if (!f->object && !sync_load(&mmu->nr_names))
		return;
	rwlock_read_lock(&mmu->names_lock);
	done = named(mmu, start, end, f, gfn);
	rwlock_read_unlock(&mmu->names_lock);
	if (done)
		return;
	rwlock_write_lock(&mmu->names_lock);
	cut(v, start, end);
	if (f->object) {
		join(v, f, gfn, &start, &end);
		piece_put(v, start, end, f->object, f->index - gfn);
		mmu->objects |= object_bit(f->object);
	}
	sync_store_release(&mmu->names_gen, mmu->names_gen + 1);
	rwlock_write_unlock(&mmu->names_lock);
}

void names_fini(struct mmu *mmu)
{
	struct name_piece *p;

	while ((p = piece_find(mmu, 0, TREE_MAX_GFN))) {
		interval_remove(&mmu->names, &p->by_gfn);
		free(p);
	}
}

/* ------------------------------------------------------------------ asking */

/* What is known around gfn: a piece, or the gap between two. */
static struct name_cached look_up(struct mmu *mmu, gfn_t gfn)
{
	struct name_cached c = {.start = gfn, .end = gfn + 1};
	struct name_piece *p;
	u64 first, last;

	rwlock_read_lock(&mmu->names_lock);
	c.gen = mmu->names_gen;
	p = piece_find(mmu, gfn, gfn + 1);
	if (p) {
		c.start = p->by_gfn.start;
		c.end = p->by_gfn.last + 1;
		c.object = p->object;
		c.delta = p->delta;
	} else if (interval_gap(&mmu->names, gfn, TREE_MAX_GFN - 1, &first, &last)) {
		c.end = last + 1;
	}
	rwlock_read_unlock(&mmu->names_lock);
	return c;
}

struct page_name name_of(struct mmu_vcpu *v, gfn_t gfn, const void *host)
{
	struct page_name n = {0, (u64)host >> PAGE_SHIFT};
	struct name_cached *c = &v->names[0];
	u64 gen;

	if (!sync_load(&v->mmu->nr_names))
		return n;
	gen = sync_load_acquire(&v->mmu->names_gen);
	for (u32 i = 0; i < ARRAY_SIZE(v->names); i++) {
		if (v->names[i].gen == gen && gfn >= v->names[i].start && gfn < v->names[i].end) {
			c = &v->names[i];
			goto found;
		}
	}
	c = &v->names[v->next_name++ % ARRAY_SIZE(v->names)];
	*c = look_up(v->mmu, gfn);
found:
	if (c->object)
		n = (struct page_name){c->object, gfn + c->delta};
	return n;
}
