/* SPDX-License-Identifier: MIT */
/*
 * Stores: pages with reference counts and no mapping. What a punch takes is free as soon as nobody
 * holds it for the length of a fault, and belongs to another process the next moment, so that
 * whoever still reaches it is caught, whatever it reads there.
 */
#include <stdlib.h>
#include "primary/model/internal.h"

static int store_create(void *primary, u64 npages, bool mappable, void **out)
{
	struct model *m = primary;
	u64 step = npages % LEVEL_PAGES(LEVEL_2M) ? 1 : LEVEL_PAGES(LEVEL_2M);
	int r = model_need_memory();

	if (r)
		return r;
	for (u32 i = 0; i < MODEL_STORES; i++) {
		struct model_store *s = &m->store[i];

		if (s->used)
			continue;
		if (npages / step > MODEL_STORE_FRAMES)
			break;
		*s = (struct model_store){m, true, npages / step, step, {NULL}};
		*out = s;
		return 0;
	}
	abort(); /* scenarios are made to fit */
}

/* pt_lock held. */
static struct page *store_page(struct model_store *s, u64 index)
{
	struct page **p = &s->page[index / s->step];

	if (*p)
		return *p;
	*p = s->step > 1 ? model_huge_alloc(s->m, ALIGN_DOWN(index, s->step))
			 : model_page_alloc(s->m, NULL, index);
	(*p)->store = s;
	return *p;
}

static int store_fault(void *store, u64 index, bool (*interrupted)(void *arg), void *arg,
		       struct frame *out)
{
	struct model_store *s = store;
	struct page *p;
	int r = 0;

	memset(out, 0, sizeof(*out));
	mutex_lock(&s->m->pt_lock);
	p = store_page(s, index);
	if (p->poisoned) {
		r = -EHWPOISON;
	} else {
		out->host = page_word_of(s->m, p, index);
		out->pfn = (u64)out->host >> PAGE_SHIFT;
		out->writable = out->dirties = true;
		out->max_level = s->step > 1 ? LEVEL_2M : LEVEL_4K;
		out->page = p;
		model_page_get(p);
		s->m->held[sched_self() + 1]++;
	}
	mutex_unlock(&s->m->pt_lock);
	sched_point("faulted in from a store", s);
	return r;
}

static int store_allocate(void *store, u64 index, u64 npages)
{
	struct model_store *s = store;

	mutex_lock(&s->m->pt_lock);
	for (u64 i = index; i < index + npages; i += s->step)
		store_page(s, i);
	mutex_unlock(&s->m->pt_lock);
	return 0;
}

/* pt_lock held. */
static void drop(struct model_store *s, struct page **pp)
{
	struct page *p = *pp;

	*pp = NULL;
	p->store = NULL;
	p->index = ~0ULL; /* nobody's, whoever still holds it */
	model_page_put(s->m, p);
	model_page_to_stranger(s->m, p);
}

/* What of the n-th frame lies in [index, end): all of it goes, or that part is made zeroes. */
static void punch_frame(struct model_store *s, u64 n, u64 index, u64 end)
{
	u64 first = MAX(index, n * s->step), after = MIN(end, (n + 1) * s->step);
	struct page **p = &s->page[n];

	mutex_lock(&s->m->pt_lock);
	if (*p && after - first == s->step)
		drop(s, p);
	for (u64 i = first; *p && i < after; i++)
		*page_word_of(s->m, *p, i) = 0;
	mutex_unlock(&s->m->pt_lock);
	sched_point("punched", p);
}

static int store_punch(void *store, u64 index, u64 npages)
{
	struct model_store *s = store;
	u64 end = index + npages;

	for (u64 n = index / s->step; n * s->step < end; n++)
		punch_frame(s, n, index, end);
	return 0;
}

static void store_destroy(void *store)
{
	struct model_store *s = store;

	store_punch(s, 0, s->nframes * s->step);
	s->used = false;
}

const struct primary_store_ops model_store_ops = {
	.create = store_create,
	.fault = store_fault,
	.allocate = store_allocate,
	.punch = store_punch,
	.destroy = store_destroy,
};

/* -- what scenarios do and see */

void model_store_poison(struct model_store *s, u64 index)
{
	mutex_lock(&s->m->pt_lock);
	store_page(s, index)->poisoned = true;
	mutex_unlock(&s->m->pt_lock);
}

bool model_store_poisoned(struct model_store *s, u64 index)
{
	const struct page *p = s->page[index / s->step];

	return p && p->poisoned;
}

u64 model_store_word(struct model_store *s, u64 index)
{
	const struct page *p = s->page[index / s->step];

	return p ? *page_word_of(s->m, p, index) : 0;
}
