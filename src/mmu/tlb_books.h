/* SPDX-License-Identifier: MIT */
/*
 * mmu/tlb_books.h: what a vCPU keeps of its TLB beside the entries: which were filled, what other address
 * spaces have left, what single drops have reached. All of it is tlb.c's, on the vCPU's own thread.
 */
#ifndef MMU_TLB_BOOKS_H
#define MMU_TLB_BOOKS_H

#include "mmu/tlb.h"

/*
 * The numbers of entries that were filled since they were last dropped. Global entries, which most flushes
 * spare, and the others have a list each.
 */
#define TLB_JOURNAL 256 /* entries of a kind that are listed one by one */

enum tlb_kind { TLB_OF_ONE_SPACE, TLB_OF_ALL_SPACES, TLB_KINDS };
struct tlb_journal {
	u32 n;
	bool full; /* there were more than it lists */
	u16 entry[TLB_JOURNAL];
};

/*
 * The second level: what the first has lost to other pages, and what other address spaces have left.
 * Looked at by the miss path, before the guest's tables are walked. It is direct mapped by page, mode
 * and space. Nothing in it is ever searched for: what makes an entry void is counted, and an entry
 * remembers the counts of when it was filled.
 */
#define TLB_SECOND_BITS	   12
#define TLB_SECOND_ENTRIES (1u << TLB_SECOND_BITS)
#define TLB_EVERY_SPACE	   (~0ULL)

struct tlb_second_entry {
	u64 page;    /* linear page + 1 + enum tlb_mode; 0: none */
	u64 space;   /* mmu_vcpu.space; a global page: TLB_EVERY_SPACE */
	u64 flushes; /* mmu_vcpu.flushes: what it came from may have been flushed since */
	u64 drops;   /* mmu_vcpu.drops: since then the right to write may have gone */
	struct tlb_entry e;
};

/*
 * Address spaces: what a CR3 write switches between. Each PCID whose entries may be kept has a number
 * that was never another's; forgetting what was filled for it is giving it a new one.
 */
#define TLB_SPACES 16 /* PCIDs that are remembered */
struct tlb_space {
	u64 id;	  /* 0: none */
	u32 pcid;
};

#define TLB_DROPS 256 /* slots that drops of single pages are counted in */

/*
 * Large guest pages that entries came from, in one half of the canonical space: since everything was flushed
 * last. Of those of 2 MiB a bit for each, which others may have too; of what is larger, the hull.
 */
#define TLB_FRAME_SHIFT 21
#define TLB_FRAMES 4096 /* bits */
struct tlb_large {
	u64 frames[TLB_FRAMES / 64];
	u64 start, last; /* last 0: none */
};

#endif
