/* SPDX-License-Identifier: MIT */
/*
 * mmu/tlb.h: a vCPU's software TLB, and the one-compare lookup that cpu/ inlines.
 *
 * An entry maps one 4 KiB linear page. For an access of `size` bytes at linear address la,
 * `la + neg_read` is the offset in the page when the entry is this page's and allows reading, and
 * far more than a page otherwise: one addition and one unsigned compare against 4096 - size check
 * tag, permission and page crossing at once. The same with neg_write. The host address is
 * la + delta. An entry that allows nothing holds tlb_nothing(), which no address that is looked up
 * there brings below a page: what it would hit has another slot.
 *
 * Who calls it: cpu/ looks up; only mmu/ fills and flushes, and only on the vCPU's own thread.
 */
#ifndef MMU_TLB_H
#define MMU_TLB_H

#include "base/types.h"

#define TLB_BITS    9
#define TLB_ENTRIES (1u << TLB_BITS)
#define TLB_GLOBAL  1ULL /* in tlb_entry.gpa */
#define TLB_JOURNAL 256  /* entries filled since the last flush that are listed one by one */

/* Which accesses an entry is for; the guest's privilege and SMAP decide (cpu/ picks). */
enum tlb_mode {
	TLB_USER,      /* CPL 3 */
	TLB_KERNEL,    /* CPL 0 to 2, user pages refused where SMAP says so */
	TLB_KERNEL_AC, /* CPL 0 to 2 with user pages allowed: SMAP off or EFLAGS.AC set */
	TLB_MODES,
};

struct tlb_entry {
	u64 neg_read;  /* minus the linear page when reads are allowed, else tlb_nothing() */
	u64 neg_write; /* the same for writes that need no slow path (dirty, code) */
	u64 delta;     /* host minus linear */
	u64 gpa;       /* guest-physical page, bit 0: global */
};

struct tlb {
	struct tlb_entry e[TLB_ENTRIES];
};

/* Hull of the large guest pages (linear, more than 4 KiB) that entries came from; last 0: none. */
struct tlb_large {
	u64 start, last;
};

/*
 * One that allows nothing and is never filled: a vCPU that must look at every access (alignment
 * checks, watchpoints) looks up here and takes its slow path each time.
 */
extern struct tlb tlb_never;

/*
 * For the entry in this slot. Canonical addresses (48 or 57 bits) are far from it; of the others,
 * the only page it would hit is in slot 0, or, for slot 0 itself, in the last.
 */
#define TLB_NOTHING    (1ULL << 62)
#define TLB_NOTHING_0  (TLB_NOTHING + PAGE_SIZE)

static inline u64 tlb_nothing(u32 slot)
{
	return slot ? TLB_NOTHING : TLB_NOTHING_0;
}

static inline struct tlb_entry *tlb_slot(struct tlb *t, u64 la)
{
	return &t->e[(la >> PAGE_SHIFT) & (TLB_ENTRIES - 1)];
}

/* Host address for a read of `size` (1 to 4096) bytes wholly in one page, or NULL on a miss. */
static inline void *tlb_read(struct tlb *t, u64 la, u64 size)
{
	const struct tlb_entry *e = tlb_slot(t, la);

	return likely(la + e->neg_read <= PAGE_SIZE - size) ? (void *)(la + e->delta) : NULL;
}

static inline void *tlb_write(struct tlb *t, u64 la, u64 size)
{
	const struct tlb_entry *e = tlb_slot(t, la);

	return likely(la + e->neg_write <= PAGE_SIZE - size) ? (void *)(la + e->delta) : NULL;
}

#endif
