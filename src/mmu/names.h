/* SPDX-License-Identifier: MIT */
/* mmu/names.h: by what name every VM of the process knows a page of the host's. */
#ifndef MMU_NAMES_H
#define MMU_NAMES_H

#include "mmu/mmu.h"

/* What a page of the host's is known by in the process: as struct frame says. */
struct page_name {
	u64 object, index; /* index of object 0: host address >> 12 */
};

static inline struct page_name frame_name(const struct frame *f)
{
	return f->object ? (struct page_name){f->object, f->index} : (struct page_name){0, f->pfn};
}

/* Bit of struct mmu's `objects`. */
static inline u64 object_bit(u64 object)
{
	return BIT(object * 0x9e3779b97f4a7c15ULL >> 58);
}

/* Before names_set(), with no lock held: 0 or -ENOMEM. */
int names_prepare(struct mmu_vcpu *v, const struct frame *f);
/*
 * SPTEs of [start, end), whose page `gfn` is f, are about to be installed. mmu_lock held for read, and
 * what f says was found not to have changed.
 */
void names_set(struct mmu_vcpu *v, const struct frame *f, gfn_t gfn, gfn_t start, gfn_t end);
/* The name of the page that gfn's SPTE reaches at `host`; v is in guest mode and has not answered since
 * it read the SPTE. */
struct page_name name_of(struct mmu_vcpu *v, gfn_t gfn, const void *host);
void names_drop_spares(struct mmu_vcpu *v);
void names_fini(struct mmu *mmu);

#endif
