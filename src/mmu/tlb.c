/* SPDX-License-Identifier: MIT */
/*
 * Filling and emptying a vCPU's TLB. Everything here is for the vCPU's own thread.
 *
 * A guest that switches address spaces flushes thousands of times a second and has filled few
 * entries in between: the journal lists them, so that a flush costs what was filled.
 */
#include "mmu/internal.h"

struct tlb tlb_never = {
	.e = {[0] = {.neg_read = TLB_NOTHING_0, .neg_write = TLB_NOTHING_0},
	      [1 ... TLB_ENTRIES - 1] = {.neg_read = TLB_NOTHING, .neg_write = TLB_NOTHING}},
};

static struct tlb_entry *entries(struct mmu_vcpu *v)
{
	return &v->tlb[0].e[0];
}

/* Of the entry with this number among all modes'. */
static u64 nothing(u32 i)
{
	return tlb_nothing(i & (TLB_ENTRIES - 1));
}

static void entry_drop(struct mmu_vcpu *v, u32 i)
{
	struct tlb_entry *e = &entries(v)[i];

	e->neg_read = e->neg_write = nothing(i);
	e->gpa = 0;
}

void mmu_tlb_flush(struct mmu_vcpu *v)
{
	if (v->journal_full) {
		for (u32 i = 0; i < TLB_MODES * TLB_ENTRIES; i++)
			entry_drop(v, i);
	} else {
		for (u32 i = 0; i < v->journal_n; i++)
			entry_drop(v, v->journal[i]);
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
			e[i].neg_write = nothing(i);
	} else {
		for (u32 i = 0; i < v->journal_n; i++)
			e[v->journal[i]].neg_write = nothing(v->journal[i]);
	}
}

void tlb_drop_writes_to(struct mmu_vcpu *v, gpa_t page)
{
	struct tlb_entry *e = entries(v);
	u32 n = v->journal_full ? TLB_MODES * TLB_ENTRIES : v->journal_n;

	for (u32 i = 0; i < n; i++) {
		u32 at = v->journal_full ? i : v->journal[i];

		if ((e[at].gpa & PAGE_MASK) == page)
			e[at].neg_write = nothing(at);
	}
}

void mmu_tlb_flush_nonglobal(struct mmu_vcpu *v)
{
	struct tlb_entry *e = entries(v);
	u32 kept = 0;

	if (v->journal_full) {
		for (u32 i = 0; i < TLB_MODES * TLB_ENTRIES; i++) {
			if (!(e[i].gpa & TLB_GLOBAL))
				entry_drop(v, i);
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
			entry_drop(v, v->journal[i]);
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
		entry_drop(v, (u32)(tlb_slot(&v->tlb[m], linear) - entries(v)));
}

void mmu_tlb_fill(struct mmu_vcpu *v, enum tlb_mode mode, u64 linear, gpa_t gpa,
		  const struct mmu_xlat *x, unsigned perm, bool global)
{
	u64 page = linear & PAGE_MASK;
	struct tlb_entry *e = tlb_slot(&v->tlb[mode], linear);
	u32 at = (u32)(e - entries(v));

	assert(v->mode == MMU_IN_GUEST);
	e->neg_read = perm & MMU_READ ? -page : nothing(at);
	e->neg_write = (perm & MMU_WRITE) && x->writable && !x->code ? -page : nothing(at);
	e->delta = (u64)x->host - page;
	e->gpa = (gpa & PAGE_MASK) | (global ? TLB_GLOBAL : 0);
	if (v->journal_full)
		return;
	if (v->journal_n == TLB_JOURNAL) {
		v->journal_full = true;
		return;
	}
	v->journal[v->journal_n++] = (u16)at;
}
