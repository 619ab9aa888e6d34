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
 * Each field of the entries is an array, so that generated code has an entry's field with one scaled index,
 * and who looks through all of them for one thing reads no other.
 *
 * One entry a mode may be kept twice, where the stack pointer points: cpu/ copies it to mmu_vcpu.near
 * and may then go by the copy, which every change of the TLB's drops.
 *
 * Who calls it: cpu/ looks up; only mmu/ fills and flushes, and only on the vCPU's own thread.
 */
#ifndef MMU_TLB_H
#define MMU_TLB_H

#include "base/types.h"

struct mmu_vcpu;
struct mmu_xlat;

#define TLB_BITS    10
#define TLB_ENTRIES (1u << TLB_BITS)
#define TLB_GLOBAL  1ULL /* in tlb_entry.gpa */

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
	u64 neg_read[TLB_ENTRIES];
	u64 neg_write[TLB_ENTRIES];
	u64 delta[TLB_ENTRIES];
	u64 gpa[TLB_ENTRIES];
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

static inline u32 tlb_slot(u64 la)
{
	return (u32)(la >> PAGE_SHIFT) & (TLB_ENTRIES - 1);
}

static inline struct tlb_entry tlb_get(const struct tlb *t, u32 slot)
{
	return (struct tlb_entry){t->neg_read[slot], t->neg_write[slot], t->delta[slot], t->gpa[slot]};
}

static inline void tlb_set(struct tlb *t, u32 slot, struct tlb_entry e)
{
	t->neg_read[slot] = e.neg_read;
	t->neg_write[slot] = e.neg_write;
	t->delta[slot] = e.delta;
	t->gpa[slot] = e.gpa;
}

/* Host address for a read of `size` (1 to 4096) bytes wholly in one page, or NULL on a miss. */
static inline void *tlb_read(struct tlb *t, u64 la, u64 size)
{
	u32 at = tlb_slot(la);

	return likely(la + t->neg_read[at] <= PAGE_SIZE - size) ? (void *)(la + t->delta[at]) : NULL;
}

static inline void *tlb_write(struct tlb *t, u64 la, u64 size)
{
	u32 at = tlb_slot(la);

	return likely(la + t->neg_write[at] <= PAGE_SIZE - size) ? (void *)(la + t->delta[at]) : NULL;
}

/* ------------------------------------------------------------------ tlb.c */

/* Guest TLB maintenance, by the vCPU's own thread in guest mode. */
void mmu_tlb_flush(struct mmu_vcpu *v);			  /* everything */
/*
 * The page that holds `linear`, in this address space. Returns how many bytes around it, aligned, may mean something
 * else now: 4 KiB; 2 MiB where an entry there may have come from a large page; 0: it dropped everything.
 */
u64 mmu_tlb_flush_page(struct mmu_vcpu *v, u64 linear);
/*
 * A CR3 write: to another address space, all but global pages being dropped from sight; with `keep`
 * those that were filled for this PCID come back. False: it is the space that it was.
 */
bool mmu_tlb_switch(struct mmu_vcpu *v, u32 pcid, bool keep);
/* All but global pages of a PCID that is not the current one, or of every one and the current space. */
void mmu_tlb_forget_space(struct mmu_vcpu *v, u32 pcid);
void mmu_tlb_forget_spaces(struct mmu_vcpu *v);
/*
 * From the second level into the first: does that answer for this access? The guest's vector state may be in registers.
 */
bool mmu_tlb_refill(struct mmu_vcpu *v, enum tlb_mode mode, u64 linear, u32 size, bool write);
/* Does the first level answer for it? Then its entry becomes mmu_vcpu.near of the mode. The same. */
bool mmu_tlb_near(struct mmu_vcpu *v, enum tlb_mode mode, u64 linear, u32 size, bool write);
/* The next fill at `linear` comes from a guest page of `size` > 4 KiB bytes: flush_page() of any
 * address in it must drop every entry of it. */
void mmu_tlb_note_large(struct mmu_vcpu *v, u64 linear, u64 size);
/*
 * Put a translation into a TLB: linear page -> x. `perm` is what the guest's own tables allow
 * (enum mmu_access), narrowed here by what x allows. Global guest pages pass global = true.
 */
void mmu_tlb_fill(struct mmu_vcpu *v, enum tlb_mode mode, u64 linear, gpa_t gpa,
		  const struct mmu_xlat *x, unsigned perm, bool global);

#endif
