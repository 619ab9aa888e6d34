/* SPDX-License-Identifier: MIT */
/* explore/world.h: what scenarios are made of. One world at a time. */
#ifndef EXPLORE_WORLD_H
#define EXPLORE_WORLD_H

#include "explore/sched.h"
#include "mmu/cache.h"
#include "mmu/gmem.h"
#include "mmu/mmu.h"
#include "primary/model/model.h"

#define WORLD_VMS	 2
#define WORLD_VCPUS	 3
#define WORLD_ALIAS	 (8 * PAGE_SIZE) /* gpa of slot 1 */
#define WORLD_ATTRIBUTES 4 /* gfns from 0 whose attribute is followed */
#define WORLD_HVA	 MODEL_VA
#define WORLD_HUGE_HVA	 MODEL_HUGE_VA
#define WORLD_HUGE_PAGES LEVEL_PAGES(LEVEL_2M)

/* Which memory a guest access may reach. */
enum world_attribute { WORLD_SHARED, WORLD_PRIVATE, WORLD_TO_SHARED, WORLD_TO_PRIVATE };

/* Slot 0 of a VM: gfn g is page g of the mapping at hva and, when private, of the store. */
struct world_vm {
	struct mmu *mmu; /* NULL: not there, or already gone */
	hva_t hva;
	u64 pages;
	struct gmem_file *gmem; /* NULL: none, or closed */
	enum world_attribute attribute[WORLD_ATTRIBUTES];
};

struct world {
	struct model *model;
	struct mmu *mmu; /* of the first VM, as long as it is there */
	struct world_vm vm[WORLD_VMS];
	struct mmu_vcpu vcpu[WORLD_VCPUS]; /* mmu NULL: gone */
	u32 nvcpus;
	bool interrupted[WORLD_VCPUS]; /* a signal waits for the vCPU */
	bool kicked[WORLD_VCPUS];      /* somebody wants it to look, wherever it is */
	struct model_file *file; /* what slot 0 maps, or NULL for anonymous memory */
	struct model_store *store; /* of every vm[].gmem */
	bool store_shares; /* what is shared is the store's, too */
	hva_t alias; /* what slot 1 shows */
	struct mmu_cache *cache; /* to be taken down with the rest, or NULL */
};
extern struct world world;

/* A VM with n vCPUs and slot 0: `pages` pages at gfn 0, backed by a file of that kind and size or,
 * with kind < 0, by anonymous memory. */
void world_create(u32 nvcpus, u64 pages, int kind);
/*
 * A VM with n vCPUs and slot 0 of `pages` pages, which has a guest_memfd of as many; private from
 * gfn 0 on are `private_pages`. WORLD_HUGE_PAGES of them are of huge pages, on either side.
 */
void world_create_gmem(u32 nvcpus, u64 pages, u64 private_pages);
/* The same with flags of the file's (GMEM_*): one that is mappable has shared memory, too. */
void world_create_gmem_flags(u32 nvcpus, u64 pages, u64 private_pages, u64 flags);
/* A second VM like it with one vCPU, vcpu[1], and a file of its own on the same store. */
void world_second_vm(void);
/* Slot 1 at WORLD_ALIAS: a page of slot 0 once more, through another mapping of its file. Again to show
 * another page there. */
void world_alias(u64 page);
/* Slot 1 there: a page of slot 0's memory, at the same address. */
void world_slot_twice(u64 page);
/* A second VM with one vCPU, the next one, over the first's memory. */
void world_vm_beside(void);
/* What a VMM does when it ends a VM, if it is there: vCPUs go, then the VM, then its guest_memfd.
 * Its host stays until world_destroy(), which also does this. */
void world_end_vm(u32 n);
/* Checks that every begin had its end, and references balance. */
void world_destroy(void);

/* A signal comes for a vCPU, or is taken. */
void world_interrupt(struct mmu_vcpu *v, bool there);
bool world_interrupted(const struct mmu_vcpu *v);

int world_set_slot(u64 pages, u32 flags); /* pages 0: delete */
/* Slot 0 of a VM with its guest_memfd, or its deletion. */
int world_set_gmem_slot(struct world_vm *vm, bool there);
/* Make [start, start + npages) private or shared, and expect guest accesses to agree. */
void world_convert(struct world_vm *vm, gfn_t start, u64 npages, bool private_);
void world_punch(struct world_vm *vm, u64 page, u64 npages);
void world_close_gmem(struct world_vm *vm);

/*
 * A guest access of a word, in guest mode: TLB, stage 2, and the checks of what it reached: the
 * model's, and that it is the memory its attribute says. 0 or as mmu_translate().
 */
int guest_read(struct mmu_vcpu *v, gpa_t gpa, u64 *value);
int guest_write(struct mmu_vcpu *v, gpa_t gpa, u64 value);

#endif
