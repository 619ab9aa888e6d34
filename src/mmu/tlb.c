/* SPDX-License-Identifier: MIT */
/*
 * Filling and emptying a vCPU's TLB. Everything here is for the vCPU's own thread.
 *
 * A guest that switches address spaces flushes thousands of times a second and has filled few
 * entries in between: the journal lists them, so that a flush costs what was filled.
 */
#include "mmu/internal.h"

struct tlb tlb_never = {
	.e = {[0 ... TLB_ENTRIES - 1] = {.neg_read = TLB_NEVER, .neg_write = TLB_NEVER}},
};

static void entry_drop(struct tlb_entry *e)
{
	e->neg_read = TLB_NEVER;
	e->neg_write = TLB_NEVER;
	e->gpa = 0;
}

static struct tlb_entry *entries(struct mmu_vcpu *v)
{
	return &v->tlb[0].e[0];
}

void mmu_tlb_flush(struct mmu_vcpu *v)
{
	struct tlb_entry *e = entries(v);

	if (v->journal_full) {
		for (u32 i = 0; i < TLB_MODES * TLB_ENTRIES; i++)
			entry_drop(&e[i]);
	} else {
		for (u32 i = 0; i < v->journal_n; i++)
			entry_drop(&e[v->journal[i]]);
	}
	v->journal_n = 0;
	v->journal_full = false;
	memset(v->large, 0, sizeof(v->large));
}

void tlb_drop_writes(struct mmu_vcpu *v)
{
	struct tlb_entry *e = entries(v);

	if (v->journal_full) {
		for (u32 i = 0; i < TLB_MODES * TLB_ENTRIES; i++)
			e[i].neg_write = TLB_NEVER;
	} else {
		for (u32 i = 0; i < v->journal_n; i++)
			e[v->journal[i]].neg_write = TLB_NEVER;
	}
}

void tlb_drop_writes_to(struct mmu_vcpu *v, gpa_t page)
{
	struct tlb_entry *e = entries(v);
	u32 n = v->journal_full ? TLB_MODES * TLB_ENTRIES : v->journal_n;

	for (u32 i = 0; i < n; i++) {
		struct tlb_entry *x = v->journal_full ? &e[i] : &e[v->journal[i]];

		if ((x->gpa & PAGE_MASK) == page)
			x->neg_write = TLB_NEVER;
	}
}

void mmu_tlb_flush_nonglobal(struct mmu_vcpu *v)
{
	struct tlb_entry *e = entries(v);
	u32 kept = 0;

	if (v->journal_full) {
		for (u32 i = 0; i < TLB_MODES * TLB_ENTRIES; i++) {
			if (!(e[i].gpa & TLB_GLOBAL))
				entry_drop(&e[i]);
			else if (kept++ < TLB_JOURNAL)
				v->journal[kept - 1] = (u16)i;
		}
		v->journal_full = kept > TLB_JOURNAL;
		v->journal_n = MIN(kept, TLB_JOURNAL);
		return;
	}
	for (u32 i = 0; i < v->journal_n; i++) {
		if (e[v->journal[i]].gpa & TLB_GLOBAL)
			v->journal[kept++] = v->journal[i];
		else
			entry_drop(&e[v->journal[i]]);
	}
	v->journal_n = kept;
}

/* Which half of the canonical space; a guest's large pages are remembered per half. */
static unsigned half(u64 linear)
{
	return linear >> 63;
}

void mmu_tlb_note_large(struct mmu_vcpu *v, u64 linear, u64 size)
{
	struct tlb_large *l = &v->large[half(linear)];
	u64 start = ALIGN_DOWN(linear, size), last = start + size - 1;

	if (!l->last) {
		l->start = start;
		l->last = last;
		return;
	}
	l->start = MIN(l->start, start);
	l->last = MAX(l->last, last);
}

void mmu_tlb_flush_page(struct mmu_vcpu *v, u64 linear)
{
	const struct tlb_large *l = &v->large[half(linear)];

	/* Entries of one large page are many, and INVLPG drops them all (SDM vol. 3, 4.10.4.1). */
	if (l->last && linear >= l->start && linear <= l->last) {
		mmu_tlb_flush(v);
		return;
	}
	for (int m = 0; m < TLB_MODES; m++)
		entry_drop(tlb_slot(&v->tlb[m], linear));
}

void mmu_tlb_fill(struct mmu_vcpu *v, enum tlb_mode mode, u64 linear, gpa_t gpa,
		  const struct mmu_xlat *x, unsigned perm, bool global)
{
	u64 page = linear & PAGE_MASK;
	struct tlb_entry *e = tlb_slot(&v->tlb[mode], linear);

	assert(v->mode == MMU_IN_GUEST);
	e->neg_read = perm & MMU_READ ? -page : TLB_NEVER;
	e->neg_write = (perm & MMU_WRITE) && x->writable && !x->code ? -page : TLB_NEVER;
	e->delta = (u64)x->host - page;
	e->gpa = (gpa & PAGE_MASK) | (global ? TLB_GLOBAL : 0);
	if (v->journal_full)
		return;
	if (v->journal_n == TLB_JOURNAL) {
		v->journal_full = true;
		return;
	}
	v->journal[v->journal_n++] = (u16)(e - entries(v));
}
