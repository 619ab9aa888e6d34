/* SPDX-License-Identifier: MIT */
/*
 * Which lines of guest memory are cached as code, by gfn, because a guest writes its code through
 * other mappings than it executes.
 *
 * Marking: set the marks, make every vCPU drop its write entries, then say "ready"; only then may
 * the marker read the bytes. From the mark on, whoever translates for writing is told so.
 * Unmarking before a store: take ready and marks away, tell every vCPU that code changed, wait.
 * Both under code_lock, which a vCPU takes and waits for outside guest mode.
 */
#include <stdlib.h>
#include "mmu/internal.h"

struct slot_code *slot_code_alloc(u64 npages)
{
	u64 n = (npages + CODE_CHUNK_PAGES - 1) / CODE_CHUNK_PAGES;
	struct slot_code *c = calloc(1, sizeof(*c) + n * sizeof(c->chunk[0]));

	if (c)
		c->nchunks = n;
	return c;
}

void slot_code_free(struct slot_code *c)
{
	if (!c)
		return;
	for (u64 i = 0; c->any && i < c->nchunks; i++)
		free(c->chunk[i]);
	free(c);
}

static struct code_page *code_page_find(struct memslot *s, gfn_t gfn)
{
	u64 page = gfn - s->base_gfn;
	struct code_page *chunk;

	if (!sync_load(&s->code->any))
		return NULL;
	chunk = sync_load_acquire(&s->code->chunk[page / CODE_CHUNK_PAGES]);
	return chunk ? &chunk[page % CODE_CHUNK_PAGES] : NULL;
}

bool code_marked(struct memslot *s, gfn_t gfn)
{
	struct code_page *p = code_page_find(s, gfn);

	return p && sync_load(&p->marked);
}

/* The chunk of a page, made if need be. `spare` is used up or left. RCU read side. */
static struct code_page *code_page_make(struct memslot *s, gfn_t gfn, struct code_page **spare)
{
	u64 page = gfn - s->base_gfn;
	struct code_page **p = &s->code->chunk[page / CODE_CHUNK_PAGES], *none = NULL;

	sync_store(&s->code->any, 1);
	if (sync_cmpxchg(p, &none, *spare)) {
		none = *spare;
		*spare = NULL;
	}
	return &none[page % CODE_CHUNK_PAGES];
}

/* 0: marked and ready already; 1: marked now, a flush is due; -ENOENT. code_lock held. */
static int mark(struct mmu *mmu, gfn_t gfn, u64 lines, struct code_page **spare)
{
	struct memslot *s;
	struct code_page *p;
	int r = -ENOENT;

	sync_rcu_read_lock();
	s = memslot_find(mmu, gfn);
	if (s) {
		p = code_page_make(s, gfn, spare);
		r = (sync_load(&p->ready) & lines) != lines;
		if (r)
			sync_or(&p->marked, lines);
	}
	sync_rcu_read_unlock();
	return r;
}

static void set_ready(struct mmu *mmu, gfn_t gfn, u64 lines)
{
	struct memslot *s;
	struct code_page *p;

	sync_rcu_read_lock();
	s = memslot_find(mmu, gfn);
	p = s ? code_page_find(s, gfn) : NULL;
	/* A slot made meanwhile has no marks, and its making tells every vCPU that code changed. */
	if (p && (sync_load(&p->marked) & lines) == lines)
		sync_or(&p->ready, lines);
	sync_rcu_read_unlock();
}

static bool is_ready(struct mmu *mmu, gfn_t gfn, u64 lines, int *r)
{
	struct memslot *s;
	struct code_page *p;
	bool ready;

	sync_rcu_read_lock();
	s = memslot_find(mmu, gfn);
	*r = s ? 0 : -ENOENT;
	p = s ? code_page_find(s, gfn) : NULL;
	ready = !s || (p && (sync_load_acquire(&p->ready) & lines) == lines);
	sync_rcu_read_unlock();
	return ready;
}

int mmu_code_track(struct mmu_vcpu *v, gpa_t gpa, u64 lines)
{
	struct mmu *mmu = v->mmu;
	gfn_t gfn = gpa >> PAGE_SHIFT;
	struct code_page *spare;
	int r;

	assert(v->mode == MMU_IN_GUEST);
	/* Again when the slot was replaced meanwhile: its marks went with it. */
	while (!is_ready(mmu, gfn, lines, &r)) {
		/* Allocated outside guest mode: a flush may be waiting for us with the VMM's
		 * allocator locked. */
		mmu_vcpu_leave(v);
		spare = calloc(CODE_CHUNK_PAGES, sizeof(*spare));
		if (!spare) {
			mmu_vcpu_enter(v);
			return -ENOMEM;
		}
		mutex_lock(&mmu->code_lock);
		if (mark(mmu, gfn, lines, &spare) > 0) {
			mmu_flush_vcpus(mmu, v, MMU_REQ_WRITES);
			tlb_drop_writes_to(v, gpa & PAGE_MASK);
			v->epoch++;
			set_ready(mmu, gfn, lines);
		}
		mutex_unlock(&mmu->code_lock);
		mmu_vcpu_enter(v);
		free(spare);
	}
	return r;
}

/* Does [gpa, gpa + len), which lies in one page, touch a marked line? */
static bool touches(struct mmu *mmu, gpa_t gpa, u32 len, bool unmark)
{
	u32 first = (gpa & ~PAGE_MASK) / 64, last = ((gpa & ~PAGE_MASK) + len - 1) / 64;
	u64 lines = (~0ULL >> (63 - (last - first))) << first;
	struct memslot *s;
	struct code_page *p;
	bool hit;

	sync_rcu_read_lock();
	s = memslot_find(mmu, gpa >> PAGE_SHIFT);
	p = s ? code_page_find(s, gpa >> PAGE_SHIFT) : NULL;
	hit = p && (sync_load(&p->marked) & lines);
	if (hit && unmark) {
		sync_store(&p->ready, 0);
		sync_xchg(&p->marked, 0);
	}
	sync_rcu_read_unlock();
	return hit;
}

void mmu_code_write(struct mmu_vcpu *v, gpa_t gpa, u32 len)
{
	struct mmu *mmu = v->mmu;

	assert(v->mode == MMU_IN_GUEST && len && (gpa & ~PAGE_MASK) + len <= PAGE_SIZE);
	if (!touches(mmu, gpa, len, false))
		return;
	mmu_vcpu_leave(v);
	mutex_lock(&mmu->code_lock);
	if (touches(mmu, gpa, len, true)) {
		mmu_flush_vcpus(mmu, v, MMU_REQ_CODE);
		v->epoch++;
	}
	mutex_unlock(&mmu->code_lock);
	mmu_vcpu_enter(v);
}
