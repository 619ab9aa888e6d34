/* SPDX-License-Identifier: MIT */
/* explore/world.h: what scenarios are made of. One world at a time. */
#ifndef EXPLORE_WORLD_H
#define EXPLORE_WORLD_H

#include "explore/sched.h"
#include "mmu/cache.h"
#include "mmu/mmu.h"
#include "primary/model/model.h"

#define WORLD_VCPUS 2
#define WORLD_HVA   MODEL_VA

struct world {
	struct model *model;
	struct mmu *mmu;
	struct mmu_vcpu vcpu[WORLD_VCPUS];
	u32 nvcpus;
	struct model_file *file; /* what slot 0 maps, or NULL for anonymous memory */
	struct mmu_cache *cache; /* to be taken down with the rest, or NULL */
};
extern struct world world;

/* A VM with n vCPUs and slot 0: `pages` pages at gfn 0, backed by a file of that kind and size or,
 * with kind < 0, by anonymous memory. */
void world_create(u32 nvcpus, u64 pages, int kind);
/* The VM goes; its host stays until world_destroy(), which also does this. */
void world_close(void);
void world_destroy(void);
int world_set_slot(u64 pages, u32 flags); /* pages 0: delete */

/* A guest access of a word, in guest mode: TLB, stage 2, and the model's check of what it reached.
 * 0 or as mmu_translate(). */
int guest_read(struct mmu_vcpu *v, gpa_t gpa, u64 *value);
int guest_write(struct mmu_vcpu *v, gpa_t gpa, u64 value);

#endif
