/* SPDX-License-Identifier: MIT */
#include "explore/world.h"

#include <stdlib.h>

struct world world;

static void kick(void *owner)
{
	/* An actor reaches its next safe point by itself. */
	(void)owner;
}

static bool interrupted(void *owner)
{
	(void)owner;
	return false;
}

static const struct mmu_vcpu_ops vcpu_ops = {.kick = kick, .interrupted = interrupted};

int world_set_slot(u64 pages, u32 flags)
{
	struct mmu_region r = {
		.slot = 0, .flags = flags, .size = pages * PAGE_SIZE, .hva = WORLD_HVA};

	return mmu_set_region(world.mmu, &r);
}

void world_create(u32 nvcpus, u64 pages, int kind)
{
	world.cache = NULL;
	world.model = model_create();
	world.file = kind < 0 ? NULL
			      : model_file_create(world.model, (enum model_file_kind)kind, pages);
	model_mmap(world.model, WORLD_HVA, pages, true, world.file, 0);
	if (mmu_create(&primary_model_ops, world.model, &world.mmu))
		abort();
	world.nvcpus = nvcpus;
	for (u32 i = 0; i < nvcpus; i++)
		mmu_vcpu_init(world.mmu, &world.vcpu[i], i, NULL, &vcpu_ops);
	if (world_set_slot(pages, 0))
		abort();
}

void world_close(void)
{
	if (!world.mmu)
		return;
	for (u32 i = 0; i < world.nvcpus; i++)
		mmu_vcpu_fini(&world.vcpu[i]);
	mmu_put(world.mmu);
	world.mmu = NULL;
}

void world_destroy(void)
{
	if (world.cache)
		mmu_cache_fini(world.cache);
	world_close();
	model_destroy(world.model);
}

/* Where the guest reaches the word, with the TLB filled. */
static int reach(struct mmu_vcpu *v, gpa_t gpa, bool write, u64 **p)
{
	struct mmu_xlat x;
	int r;

	*p = write ? tlb_write(&v->tlb[TLB_USER], gpa, 8) : tlb_read(&v->tlb[TLB_USER], gpa, 8);
	if (*p)
		return 0;
	r = mmu_translate(v, gpa, write ? MMU_WRITE : MMU_READ, &x);
	if (r)
		return r;
	mmu_tlb_fill(v, TLB_USER, gpa & PAGE_MASK, gpa & PAGE_MASK, &x, MMU_READ | MMU_WRITE,
		     false);
	*p = (u64 *)(x.host + (gpa & ~PAGE_MASK));
	return 0;
}

static int guest_access(struct mmu_vcpu *v, gpa_t gpa, bool write, u64 *value)
{
	u64 *p;
	int r = reach(v, gpa, write, &p);

	if (r)
		return r;
	/* Others may do anything between a translation and its use. */
	sched_point(write ? "guest write" : "guest read", p);
	model_check_access(world.model, p, WORLD_HVA + gpa, write);
	SCHED_CHECK(!model_held(world.model), "a fault's reference is held in guest mode");
	if (write)
		*p = *value;
	else
		*value = *p;
	mmu_vcpu_safe_point(v);
	return 0;
}

int guest_read(struct mmu_vcpu *v, gpa_t gpa, u64 *value)
{
	return guest_access(v, gpa, false, value);
}

int guest_write(struct mmu_vcpu *v, gpa_t gpa, u64 value)
{
	return guest_access(v, gpa, true, &value);
}
