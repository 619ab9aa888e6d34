/* SPDX-License-Identifier: MIT */
#include "explore/world.h"

#include <stdlib.h>
#include "mmu/code.h"

struct world world;

static void kick(void *owner)
{
	/* An actor reaches its next safe point by itself, but where it waits for this. */
	const struct mmu_vcpu *v = owner;

	world.kicked[v->index] = true;
}

static bool interrupted(void *owner)
{
	const struct mmu_vcpu *v = owner;

	return world.interrupted[v->index];
}

void world_interrupt(struct mmu_vcpu *v, bool there)
{
	sched_point("signal", v);
	world.interrupted[v->index] = there;
	if (there)
		sched_time_passes(); /* who sleeps for a while looks again */
}

bool world_interrupted(const struct mmu_vcpu *v)
{
	return world.interrupted[v->index];
}

static const struct mmu_vcpu_ops vcpu_ops = {.kick = kick, .interrupted = interrupted};

int world_set_slot(u64 pages, u32 flags)
{
	struct mmu_region r = {
		.slot = 0, .flags = flags, .size = pages * PAGE_SIZE, .hva = world.vm[0].hva};

	return mmu_set_region(world.mmu, &r);
}

int world_set_gmem_slot(struct world_vm *vm, bool there)
{
	struct mmu_region r = {.flags = there ? MMU_SLOT_GMEM : 0,
			       .size = there ? vm->pages * PAGE_SIZE : 0,
			       .hva = vm->hva,
			       .gmem = vm->gmem};

	return mmu_set_region(vm->mmu, &r);
}

static void vm_create(u32 n, u64 pages)
{
	struct world_vm *vm = &world.vm[n];

	vm->hva = pages < WORLD_HUGE_PAGES ? WORLD_HVA : WORLD_HUGE_HVA;
	vm->pages = pages;
	if (mmu_create(&primary_model_ops, world.model, &vm->mmu))
		abort();
	sched_counters(mmu_stat_page(vm->mmu), sizeof(struct statpage_vm));
}

static void add_vcpu(struct world_vm *vm)
{
	u32 n = world.nvcpus++;

	mmu_vcpu_init(vm->mmu, &world.vcpu[n], n, &world.vcpu[n], &vcpu_ops);
}

static void create(u32 nvcpus, u64 pages, int kind)
{
	memset(&world, 0, offsetof(struct world, vcpu));
	world.nvcpus = 0;
	memset(world.interrupted, 0, sizeof(world.interrupted));
	memset(world.kicked, 0, sizeof(world.kicked));
	world.file = NULL;
	world.store = NULL;
	world.store_shares = false;
	world.cache = NULL;
	mmu_imbalances = 0;
	code_most_pages = CODE_PAGES;
	mmu_forked_child(); /* what an execution that failed has left is gone */
	world.model = model_create();
	if (kind >= 0)
		world.file = model_file_create(world.model, (enum model_file_kind)kind, pages);
	vm_create(0, pages);
	world.mmu = world.vm[0].mmu;
	model_mmap(world.model, world.vm[0].hva, pages, true, world.file, 0);
	while (world.nvcpus < nvcpus)
		add_vcpu(&world.vm[0]);
}

void world_create(u32 nvcpus, u64 pages, int kind)
{
	create(nvcpus, pages, kind);
	if (world_set_slot(pages, 0))
		abort();
}

static void make_private(struct world_vm *vm, u64 pages)
{
	if (world_set_gmem_slot(vm, true))
		abort();
	if (pages)
		world_convert(vm, 0, pages, true);
}

void world_create_gmem(u32 nvcpus, u64 pages, u64 private_pages)
{
	world_create_gmem_flags(nvcpus, pages, private_pages, 0);
}

void world_create_gmem_flags(u32 nvcpus, u64 pages, u64 private_pages, u64 flags)
{
	struct world_vm *vm = &world.vm[0];

	create(nvcpus, pages, -1);
	if (gmem_create(vm->mmu, pages * PAGE_SIZE, flags, &vm->gmem))
		abort();
	world.store_shares = flags & GMEM_MAPPABLE;
	world.store = gmem_primary_store(vm->gmem);
	make_private(vm, private_pages);
}

void world_second_vm(void)
{
	struct world_vm *vm = &world.vm[1];
	u64 pages = world.vm[0].pages;

	vm_create(1, pages);
	add_vcpu(vm);
	if (gmem_link(world.vm[0].gmem, vm->mmu, &vm->gmem))
		abort();
	make_private(vm, pages);
}

static void set_alias(hva_t hva)
{
	struct mmu_region r = {.slot = 1, .gpa = WORLD_ALIAS, .size = PAGE_SIZE, .hva = hva};

	world.alias = hva;
	if (mmu_set_region(world.mmu, &r))
		abort();
}

void world_alias(u64 page)
{
	hva_t hva = world.vm[0].hva + (world.vm[0].pages << PAGE_SHIFT);

	model_mmap(world.model, hva, 1, true, world.file, page);
	set_alias(hva);
}

void world_slot_twice(u64 page)
{
	set_alias(world.vm[0].hva + page * PAGE_SIZE);
}

void world_vm_beside(void)
{
	struct world_vm *vm = &world.vm[1];
	struct mmu_region r = {.size = world.vm[0].pages * PAGE_SIZE, .hva = world.vm[0].hva};

	vm_create(1, world.vm[0].pages);
	add_vcpu(vm);
	if (mmu_set_region(vm->mmu, &r))
		abort();
}

static struct world_vm *vm_of(const struct mmu *mmu)
{
	return &world.vm[mmu == world.vm[1].mmu];
}

void world_close_gmem(struct world_vm *vm)
{
	struct gmem_file *f = vm->gmem;

	vm->gmem = NULL;
	gmem_release(f);
}

void world_end_vm(u32 n)
{
	struct world_vm *vm = &world.vm[n];
	struct mmu *mmu = vm->mmu;

	if (!mmu)
		return;
	for (u32 i = 0; i < world.nvcpus; i++) {
		if (world.vcpu[i].mmu != mmu)
			continue;
		mmu_vcpu_fini(&world.vcpu[i]);
		world.vcpu[i].mmu = NULL;
	}
	vm->mmu = NULL;
	if (!n)
		world.mmu = NULL;
	mmu_close(mmu);
	if (vm->gmem)
		world_close_gmem(vm);
}

void world_destroy(void)
{
	if (world.cache)
		mmu_cache_fini(world.cache);
	for (u32 i = 0; i < WORLD_VMS; i++)
		world_end_vm(i);
	SCHED_CHECK(!mmu_imbalances, "a VM was torn down with %llu invalidations that never ended",
		    (unsigned long long)mmu_imbalances);
	model_destroy(world.model);
}

void world_convert(struct world_vm *vm, gfn_t start, u64 npages, bool private_)
{
	int r;

	for (gfn_t i = start; i < MIN(start + npages, WORLD_ATTRIBUTES); i++)
		vm->attribute[i] = private_ ? WORLD_TO_PRIVATE : WORLD_TO_SHARED;
	r = mmu_set_attributes(vm->mmu, start, npages, private_ ? MMU_ATTR_PRIVATE : 0);
	SCHED_CHECK(!r, "a conversion ends with %d", r);
	for (gfn_t i = start; i < MIN(start + npages, WORLD_ATTRIBUTES); i++)
		vm->attribute[i] = private_ ? WORLD_PRIVATE : WORLD_SHARED;
	sched_point("converted", vm);
}

void world_punch(struct world_vm *vm, u64 page, u64 npages)
{
	int r = gmem_punch(vm->gmem, page * PAGE_SIZE, npages * PAGE_SIZE);

	SCHED_CHECK(!r, "a punch ends with %d", r);
}

/*
 * Invariant 11: private memory is reached where the attribute is private and nowhere else. While it
 * changes, what was may still be in use, until the first access that finds what will be.
 */
static void check_attribute(struct world_vm *vm, gfn_t gfn, bool private_)
{
	enum world_attribute *a = &vm->attribute[gfn];

	if (gfn >= WORLD_ATTRIBUTES)
		return;
	if (*a == WORLD_TO_SHARED && !private_)
		*a = WORLD_SHARED;
	if (*a == WORLD_TO_PRIVATE && private_)
		*a = WORLD_PRIVATE;
	SCHED_CHECK(!private_ || *a != WORLD_SHARED, "private memory is reached by a shared gfn");
	SCHED_CHECK(private_ || *a != WORLD_PRIVATE, "shared memory is reached by a private gfn");
}

static void check_reached(const struct mmu_vcpu *v, const void *host, gpa_t gpa, bool write)
{
	struct world_vm *vm = vm_of(v->mmu);
	gfn_t gfn = gpa >> PAGE_SHIFT;

	if (model_is_private(world.model, host)) {
		model_store_check_access(world.model, host, world.store, gfn);
		if (!world.store_shares)
			check_attribute(vm, gfn, true);
	} else if (gfn == WORLD_ALIAS >> PAGE_SHIFT && vm->pages < WORLD_HUGE_PAGES) {
		model_check_access(world.model, host, world.alias + (gpa - WORLD_ALIAS), write);
	} else if (model_in_window(world.model, host)) {
		model_window_check_access(world.model, host, vm->hva + gpa);
	} else {
		model_check_access(world.model, host, vm->hva + gpa, write);
		check_attribute(vm, gfn, false);
	}
}

/* Where the guest reaches the word, with the TLB filled. */
static int reach(struct mmu_vcpu *v, gpa_t gpa, bool write, u64 **p)
{
	struct mmu_xlat x;
	u64 epoch;
	int r;

	*p = write ? tlb_write(&v->tlb[TLB_USER], gpa, 8) : tlb_read(&v->tlb[TLB_USER], gpa, 8);
	if (*p)
		return 0;
	do {
		r = mmu_translate_present(v, gpa, write ? MMU_WRITE : MMU_READ, true, &x)
			    ? 0
			    : mmu_translate(v, gpa, write ? MMU_WRITE : MMU_READ, &x);
		if (r)
			return r;
		epoch = v->epoch;
		if (write && x.code)
			mmu_code_write(v, gpa, x.host, sizeof(u64));
	} while (v->epoch != epoch);
	mmu_tlb_fill(v, TLB_USER, gpa & PAGE_MASK, gpa & PAGE_MASK, &x, MMU_READ | MMU_WRITE,
		     false);
	*p = (u64 *)(x.host + (gpa & ~PAGE_MASK));
	return 0;
}

/* The host's own check of an access: memory that failed, or is not there, is faulted anew. 0 or -errno. */
static int host_check(u64 *p, gpa_t gpa)
{
	if (!model_place(world.model, p))
		return -EFAULT;
	return model_is_private(world.model, p) &&
			       model_store_poisoned(world.store, gpa >> PAGE_SHIFT)
		       ? -EHWPOISON
		       : 0;
}

static int guest_access(struct mmu_vcpu *v, gpa_t gpa, bool write, u64 *value)
{
	u64 *p, *at;
	int r = reach(v, gpa, write, &p), err;

	/* Others may do anything between a translation and its use. */
	if (!r)
		sched_point(write ? "guest write" : "guest read", p);
	while (!r && (err = host_check(p, gpa))) {
		r = mmu_refault(v, gpa, write ? MMU_WRITE : MMU_READ, err);
		if (!r)
			r = reach(v, gpa, write, &p);
	}
	if (r)
		return r;
	check_reached(v, p, gpa, write);
	SCHED_CHECK(!model_held(world.model), "a fault's reference is held in guest mode");
	at = model_place(world.model, p);
	if (write)
		*at = *value;
	else
		*value = *at;
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
