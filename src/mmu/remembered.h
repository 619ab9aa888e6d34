/* SPDX-License-Identifier: MIT */
/*
 * mmu/remembered.h: what a vCPU remembers of stage 2 and of the names of pages, on its own thread.
 */
#ifndef MMU_REMEMBERED_H
#define MMU_REMEMBERED_H

#include "base/types.h"

/* How stage 2 maps 2 MiB that this vCPU has used: by a large leaf, or by a table of small ones (fault.c). */
struct leaf_cached {
	u64 block;  /* gfn >> 9, plus one; 0: nothing */
	u64 epoch;  /* as struct mmu_vcpu's, while it is good */
	u64 *table; /* the first of its SPTEs; NULL: a large leaf, of which is what follows */
	u8 *host;   /* of the block */
	bool writable;
};
#define MMU_LEAVES 64

/* What is known of the names of pages from gfn `start` to `end` (names.c). */
struct name_cached {
	u64 gen; /* as struct mmu's names_gen; 0: nothing */
	gfn_t start, end;
	u64 object; /* 0: none there */
	u64 delta;  /* index in the object minus gfn */
};

#endif
