/* SPDX-License-Identifier: MIT */
/*
 * Filling and emptying a vCPU's TLB. Everything here is for the vCPU's own thread.
 *
 * A guest that switches address spaces flushes thousands of times a second and has filled few
 * entries in between: a journal lists them, so that a flush costs what was filled.
 *
 * mmu_tlb_refill() is called by generated code, without saving vector state: nothing here, functions of
 * headers included, is compiled to use any. What it calls is all in this file.
 */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("general-regs-only"))), apply_to = function)
#else
#pragma GCC target("general-regs-only")
#endif
#include <assert.h>
#include "mmu/memslots.h"
#include "mmu/tlb.h"
#include "mmu/translate.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"

struct tlb tlb_never = {
	.neg_read = {[0] = TLB_NOTHING_0, [1 ... TLB_ENTRIES - 1] = TLB_NOTHING},
	.neg_write = {[0] = TLB_NOTHING_0, [1 ... TLB_ENTRIES - 1] = TLB_NOTHING},
};

/* Entries have numbers through all modes, as the journal lists them. */
static u32 number_of(enum tlb_mode mode, u32 slot)
{
	return (u32)mode * TLB_ENTRIES + slot;
}

static struct tlb *tlb_of(struct mmu_vcpu *v, u32 number)
{
	return &v->tlb[number / TLB_ENTRIES];
}

static u32 slot_of(u32 number)
{
	return number % TLB_ENTRIES;
}

static void write_drop(struct mmu_vcpu *v, u32 number)
{
	tlb_of(v, number)->neg_write[slot_of(number)] = tlb_nothing(slot_of(number));
}

static void entry_drop(struct mmu_vcpu *v, u32 number)
{
	tlb_of(v, number)->neg_read[slot_of(number)] = tlb_nothing(slot_of(number));
	tlb_of(v, number)->gpa[slot_of(number)] = 0;
	write_drop(v, number);
}

/* Only a non-canonical address could hit what says nothing here, and with this delta it stays one. */
static void near_drop(struct mmu_vcpu *v)
{
	for (unsigned m = 0; m < TLB_MODES; m++)
		v->near[m] = (struct tlb_entry){.neg_read = TLB_NOTHING, .neg_write = TLB_NOTHING};
}

static u32 nr_filled(const struct tlb_journal *j)
{
	return j->full ? TLB_MODES * TLB_ENTRIES : j->n;
}

static u32 filled(const struct tlb_journal *j, u32 i)
{
	return j->full ? i : j->entry[i];
}

/* What was filled of a kind. Where the journal is full, that is every entry, of the other kind too. */
static void each_filled(struct mmu_vcpu *v, enum tlb_kind kind, void (*fn)(struct mmu_vcpu *v, u32 number))
{
	const struct tlb_journal *j = &v->journal[kind];

	for (u32 i = 0; i < nr_filled(j); i++)
		fn(v, filled(j, i));
}

/* The kinds that have to be gone through so that nothing is left out. */
static unsigned kinds_to_see(const struct mmu_vcpu *v)
{
	return v->journal[TLB_OF_ONE_SPACE].full ? 1 : TLB_KINDS;
}

static void journal_empty(struct mmu_vcpu *v, enum tlb_kind kind)
{
	v->journal[kind].n = 0;
	v->journal[kind].full = false;
}

void mmu_tlb_flush(struct mmu_vcpu *v)
{
	near_drop(v);
	for (unsigned k = 0; k < kinds_to_see(v); k++)
		each_filled(v, k, entry_drop);
	journal_empty(v, TLB_OF_ONE_SPACE);
	journal_empty(v, TLB_OF_ALL_SPACES);
	memset(v->large, 0, sizeof(v->large));
	v->flushed_all = ++v->flushes;
	memset(v->spaces, 0, sizeof(v->spaces));
	v->space = ++v->last_space;
}

void tlb_drop_writes(struct mmu_vcpu *v)
{
	near_drop(v);
	for (unsigned k = 0; k < kinds_to_see(v); k++)
		each_filled(v, k, write_drop);
	v->dropped_all = ++v->drops;
}

static u64 *dropped_slot(struct mmu_vcpu *v, u64 host)
{
	return &v->dropped[(host >> PAGE_SHIFT) % TLB_DROPS];
}

/* One that allows no write seems to lead to no page that there is, and would lose nothing. */
static void write_drop_if_to(struct tlb *t, u32 slot, u64 host)
{
	/* The linear page is minus neg_write. */
	if (t->delta[slot] - t->neg_write[slot] == host)
		t->neg_write[slot] = tlb_nothing(slot);
}

static void drop_writes_of(struct mmu_vcpu *v, enum tlb_kind kind, u64 host)
{
	const struct tlb_journal *j = &v->journal[kind];

	for (u32 i = 0; i < j->n; i++)
		write_drop_if_to(tlb_of(v, j->entry[i]), slot_of(j->entry[i]), host);
}

void tlb_drop_writes_to(struct mmu_vcpu *v, u64 host)
{
	near_drop(v);
	if (v->journal[TLB_OF_ONE_SPACE].full || v->journal[TLB_OF_ALL_SPACES].full) {
		for (u32 m = 0; m < TLB_MODES; m++) {
			for (u32 slot = 0; slot < TLB_ENTRIES; slot++)
				write_drop_if_to(&v->tlb[m], slot, host);
		}
	} else {
		drop_writes_of(v, TLB_OF_ONE_SPACE, host);
		drop_writes_of(v, TLB_OF_ALL_SPACES, host);
	}
	*dropped_slot(v, host) = ++v->drops;
}

/* One that was filled for a space may be a global one now. */
static void drop_unless_global(struct mmu_vcpu *v, u32 number)
{
	if (!(tlb_of(v, number)->gpa[slot_of(number)] & TLB_GLOBAL))
		entry_drop(v, number);
}

static void flush_nonglobal(struct mmu_vcpu *v)
{
	near_drop(v);
	each_filled(v, TLB_OF_ONE_SPACE, drop_unless_global);
	journal_empty(v, TLB_OF_ONE_SPACE);
}

/* Which half of the canonical space; a guest's large pages are remembered per half. */
static unsigned half(u64 linear)
{
	return linear >> 63;
}

static u32 frame_bit(u64 linear)
{
	return (u32)(linear >> TLB_FRAME_SHIFT) % TLB_FRAMES;
}

/* May an entry of this page have come from a large page of 2 MiB? */
static bool in_large_frame(const struct mmu_vcpu *v, u64 linear)
{
	return v->large[half(linear)].frames[frame_bit(linear) / 64] >> frame_bit(linear) % 64 & 1;
}

void mmu_tlb_note_large(struct mmu_vcpu *v, u64 linear, u64 size)
{
	struct tlb_large *l = &v->large[half(linear)];
	u64 start = ALIGN_DOWN(linear, size), last = start + size - 1;

	if (size == 1ULL << TLB_FRAME_SHIFT) {
		l->frames[frame_bit(linear) / 64] |= 1ULL << frame_bit(linear) % 64;
		return;
	}
	if (!l->last) {
		l->start = start;
		l->last = last;
		return;
	}
	l->start = MIN(l->start, start);
	l->last = MAX(l->last, last);
}

/* ------------------------------------------------------------------ the second level */

static struct tlb_second_entry *second_slot(const struct mmu_vcpu *v, u64 page, enum tlb_mode mode,
					    u64 space)
{
	u64 h = (page + mode + (space << 40)) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */

	return &v->second[h >> (64 - TLB_SECOND_BITS)];
}

/* The flush before which an entry of this page must not have been filled. */
static u64 flushed(const struct mmu_vcpu *v, u64 page)
{
	return in_large_frame(v, page) ? MAX(v->flushed_all, v->flushed_frames[half(page)]) : v->flushed_all;
}

static struct tlb_second_entry *second_find(const struct mmu_vcpu *v, u64 page, enum tlb_mode mode,
					    u64 space)
{
	struct tlb_second_entry *s = second_slot(v, page, mode, space);

	return s->page == page + 1 + mode && s->space == space && s->flushes >= flushed(v, page) ? s : NULL;
}

static void second_put(struct mmu_vcpu *v, u64 page, enum tlb_mode mode, const struct tlb_entry *e)
{
	u64 space = e->gpa & TLB_GLOBAL ? TLB_EVERY_SPACE : v->space;

	if (v->second)
		*second_slot(v, page, mode, space) = (struct tlb_second_entry){
			.page = page + 1 + mode,
			.space = space,
			.flushes = v->flushes,
			.drops = v->drops,
			.e = *e,
		};
}

static void second_drop(struct mmu_vcpu *v, u64 page, enum tlb_mode mode)
{
	struct tlb_second_entry *s;

	if (!v->second)
		return;
	s = second_find(v, page, mode, v->space);
	if (s)
		s->page = 0;
	s = second_find(v, page, mode, TLB_EVERY_SPACE);
	if (s)
		s->page = 0;
}

static void journal_add(struct mmu_vcpu *v, u32 number, const struct tlb_entry *e)
{
	struct tlb_journal *j = &v->journal[e->gpa & TLB_GLOBAL ? TLB_OF_ALL_SPACES : TLB_OF_ONE_SPACE];

	if (j->n < TLB_JOURNAL)
		j->entry[j->n++] = (u16)number;
	else
		j->full = true;
}

bool mmu_tlb_refill(struct mmu_vcpu *v, enum tlb_mode mode, u64 linear, u32 size, bool write)
{
	u64 page = linear & PAGE_MASK;
	u32 slot = tlb_slot(linear);
	const struct tlb_second_entry *s;
	struct tlb_entry e;

	assert(v->mode == MMU_IN_GUEST);
	if (!v->second)
		return false;
	s = second_find(v, page, mode, v->space);
	if (!s)
		s = second_find(v, page, mode, TLB_EVERY_SPACE);
	if (!s)
		return false;
	e = s->e;
	if (s->drops < MAX(v->dropped_all, *dropped_slot(v, page + e.delta)))
		e.neg_write = tlb_nothing(slot);
	tlb_set(&v->tlb[mode], slot, e);
	journal_add(v, number_of(mode, slot), &e);
	return linear + (write ? e.neg_write : e.neg_read) <= PAGE_SIZE - size;
}

bool mmu_tlb_near(struct mmu_vcpu *v, enum tlb_mode mode, u64 linear, u32 size, bool write)
{
	struct tlb_entry e = tlb_get(&v->tlb[mode], tlb_slot(linear));

	if (linear + (write ? e.neg_write : e.neg_read) > PAGE_SIZE - size)
		return false;
	v->near[mode] = e;
	return true;
}

/* ------------------------------------------------------------------ address spaces */

/* The number of a PCID's space; a new one unless it is to be kept. Only so many are remembered. */
static u64 space_of(struct mmu_vcpu *v, u32 pcid, bool keep)
{
	struct tlb_space this = {.pcid = pcid};
	u32 i = 0;

	while (i < TLB_SPACES - 1 && v->spaces[i].id && v->spaces[i].pcid != pcid)
		i++;
	if (keep && v->spaces[i].pcid == pcid)
		this.id = v->spaces[i].id;
	if (!this.id)
		this.id = ++v->last_space;
	memmove(&v->spaces[1], &v->spaces[0], i * sizeof(this));
	v->spaces[0] = this;
	return this.id;
}

bool mmu_tlb_switch(struct mmu_vcpu *v, u32 pcid, bool keep)
{
	u64 space = space_of(v, pcid, keep);

	if (space == v->space)
		return false;
	v->space = space;
	flush_nonglobal(v);
	return true;
}

void mmu_tlb_forget_space(struct mmu_vcpu *v, u32 pcid)
{
	for (u32 i = 0; i < TLB_SPACES; i++) {
		if (v->spaces[i].pcid == pcid && v->spaces[i].id)
			v->spaces[i].id = ++v->last_space;
	}
}

void mmu_tlb_forget_spaces(struct mmu_vcpu *v)
{
	memset(v->spaces, 0, sizeof(v->spaces));
	v->space = ++v->last_space;
	flush_nonglobal(v);
}

/* ------------------------------------------------------------------ pages */

static bool entry_in_frame(const struct tlb *t, u32 slot, u64 linear)
{
	return !((-t->neg_read[slot] ^ linear) >> TLB_FRAME_SHIFT);
}

/* What was filled from a large page is many entries, and INVLPG drops them all (SDM vol. 3, 4.10.4.1). */
static void flush_frame(struct mmu_vcpu *v, u64 linear)
{
	for (unsigned k = 0; k < kinds_to_see(v); k++) {
		const struct tlb_journal *j = &v->journal[k];

		for (u32 i = 0; i < nr_filled(j); i++) {
			u32 number = filled(j, i);

			if (entry_in_frame(tlb_of(v, number), slot_of(number), linear))
				entry_drop(v, number);
		}
	}
	v->flushed_frames[half(linear)] = ++v->flushes;
}

u64 mmu_tlb_flush_page(struct mmu_vcpu *v, u64 linear)
{
	const struct tlb_large *l = &v->large[half(linear)];

	v->invlpgs++;
	if (l->last && linear >= l->start && linear <= l->last) {
		mmu_tlb_flush(v);
		return 0;
	}
	near_drop(v);
	if (in_large_frame(v, linear)) {
		flush_frame(v, linear);
		return 1ULL << TLB_FRAME_SHIFT;
	}
	for (u32 m = 0; m < TLB_MODES; m++) {
		entry_drop(v, number_of(m, tlb_slot(linear)));
		second_drop(v, linear & PAGE_MASK, m);
	}
	return PAGE_SIZE;
}

void mmu_tlb_fill(struct mmu_vcpu *v, enum tlb_mode mode, u64 linear, gpa_t gpa,
		  const struct mmu_xlat *x, unsigned perm, bool global)
{
	u64 page = linear & PAGE_MASK;
	u32 slot = tlb_slot(linear);
	struct tlb_entry e = {
		.neg_read = perm & MMU_READ ? -page : tlb_nothing(slot),
		.neg_write = (perm & MMU_WRITE) && x->writable && !x->code ? -page : tlb_nothing(slot),
		.delta = (u64)x->host - page,
		.gpa = (gpa & PAGE_MASK) | (global ? TLB_GLOBAL : 0),
	};

	assert(v->mode == MMU_IN_GUEST);
	if (v->near[mode].neg_read == -page)
		near_drop(v);
	tlb_set(&v->tlb[mode], slot, e);
	journal_add(v, number_of(mode, slot), &e);
	second_put(v, page, mode, &e);
}
#ifdef __clang__
#pragma clang attribute pop
#endif
