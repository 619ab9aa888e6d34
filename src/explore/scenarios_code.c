/* SPDX-License-Identifier: MIT */
/*
 * explore/scenarios_code.c: code that a vCPU has from a page, while others store into that page under
 * other names: another gfn, another mapping of its file, another VM's gfn.
 */
#include "explore/scenario.h"
#include "explore/scenarios.h"
#include "explore/world.h"
#include "mmu/code.h"
#include "mmu/invalidate.h"

#define v0 (&world.vcpu[0])

static u64 compiled, epoch; /* what v0 has, and its code_epoch since when */
static u64 stores;	      /* so far */

/* v0 in guest mode: as an engine does, until nothing has come between. */
static void compile(void)
{
	do {
		SCHED_CHECK(!mmu_code_track(v0, 0, 1), "code cannot be tracked");
		epoch = v0->code_epoch;
		SCHED_CHECK(!guest_read(v0, 0, &compiled), "code cannot be read");
	} while (v0->code_epoch != epoch);
}

/* What runs is what memory holds, until a safe point says otherwise. */
static void run(void)
{
	for (int i = 0; i < 2 && v0->code_epoch == epoch; i++) {
		const u64 *now = tlb_read(&v0->tlb[TLB_USER], 0, sizeof(u64));

		sched_point("code runs", now);
		SCHED_CHECK(*now == compiled, "old code runs: %llu, and memory has %llu",
			    (unsigned long long)compiled, (unsigned long long)*now);
		mmu_vcpu_safe_point(v0);
	}
}

static void run_code(void *arg)
{
	mmu_vcpu_enter(v0);
	run();
	mmu_vcpu_leave(v0);
}

static void compile_and_run(void *arg)
{
	mmu_vcpu_enter(v0);
	compile();
	run();
	mmu_vcpu_leave(v0);
}

static void store(struct mmu_vcpu *v, gpa_t gpa)
{
	mmu_vcpu_enter(v);
	SCHED_CHECK(!guest_write(v, gpa, ++stores), "a store fails");
	mmu_vcpu_leave(v);
}

/* arg: the vCPU. */
static void store_by_alias(void *arg)
{
	store(arg, WORLD_ALIAS);
}

static void store_in_own(void *arg)
{
	store(arg, 0);
}

/* In the page that has code, and not in the code: its line has none. */
static void store_beside(void *arg)
{
	store(arg, PAGE_SIZE / 2);
}

/* Two memslots over two mappings of one page of a file; the second has shown another page before. */
void setup_code_alias(void)
{
	stores = 0;
	world_create(2, 2, MODEL_FILE_CACHED);
	world_alias(1);
	store_by_alias(&world.vcpu[1]);
	world_alias(0);
	sched_spawn("runs", compile_and_run, NULL);
	sched_spawn("stores", store_by_alias, &world.vcpu[1]);
}

/* What the vCPU itself may write already, by another name, it may not once it has code from there. */
static void compile_and_store(void *arg)
{
	struct mmu_vcpu *v = arg;

	store(v, WORLD_ALIAS);
	mmu_vcpu_enter(v);
	compile();
	SCHED_CHECK(!guest_write(v, WORLD_ALIAS, ++stores), "a store fails");
	run();
	mmu_vcpu_leave(v);
}

void setup_code_own(void)
{
	stores = 0;
	world_create(1, 2, MODEL_FILE_CACHED);
	world_alias(0);
	sched_spawn("runs and stores", compile_and_store, v0);
}

/* Two files beside each other, each page as far into its own as the other: nothing but the file tells them apart. */
void setup_code_files_two(void)
{
	u64 value;

	stores = 0;
	world_create(2, 2, MODEL_FILE_CACHED);
	model_mmap(world.model, WORLD_HVA + PAGE_SIZE, 1, true, model_file_create(world.model, MODEL_FILE_CACHED, 2), 1);
	world_alias(0);
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_read(v0, 0, &value) && !guest_read(v0, PAGE_SIZE, &value), "a read fails");
	mmu_vcpu_leave(v0);
	sched_spawn("runs", compile_and_run, NULL);
	sched_spawn("stores", store_by_alias, &world.vcpu[1]);
}

/* Two vCPUs store: the second must not slip past the marks that the first takes away. */
void setup_code_two(void)
{
	stores = 0;
	world_create(3, 1, -1);
	store_in_own(&world.vcpu[1]);
	mmu_vcpu_enter(v0);
	compile();
	mmu_vcpu_leave(v0);
	sched_spawn("runs", run_code, NULL);
	sched_spawn("stores", store_in_own, &world.vcpu[1]);
	sched_spawn("stores, too", store_in_own, &world.vcpu[2]);
}

/* Two VMs over one mapping. The other one's vCPU has the page in its TLB. */
void setup_code_vms(void)
{
	stores = 0;
	world_create(1, 1, -1);
	world_vm_beside();
	store_in_own(&world.vcpu[1]);
	sched_spawn("runs", compile_and_run, NULL);
	sched_spawn("stores in another VM", store_in_own, &world.vcpu[1]);
}

/* One stores beside the code, in its page; the code stays what it is, and trusted. */
void setup_code_beside(void)
{
	stores = 0;
	world_create(2, 1, -1);
	mmu_vcpu_enter(v0);
	compile();
	mmu_vcpu_leave(v0);
	sched_spawn("runs", run_code, NULL);
	sched_spawn("stores beside", store_beside, &world.vcpu[1]);
}

/* ------------------------------------------------------------------ the VMM changes what is in the page */

static bool told; /* its call has returned */

static void change_content(void *arg)
{
	SCHED_CHECK(!model_write(world.model, WORLD_HVA, ++stores), "the VMM's write fails");
	mmu_content_changed(world.mmu, WORLD_HVA, WORLD_HVA + PAGE_SIZE);
	SCHED_SET(told, true);
}

/* Old code may run until the call returns, as on a processor that has not been told either. */
static void compile_and_run_until_told(void *arg)
{
	mmu_vcpu_enter(v0);
	compile();
	for (int i = 0; i < 2 && v0->code_epoch == epoch; i++) {
		bool was_told = SCHED_SEE(told);
		const u64 *now = tlb_read(&v0->tlb[TLB_USER], 0, sizeof(u64));

		sched_point("code runs", now);
		SCHED_CHECK(*now == compiled || !was_told, "old code runs: %llu, and memory has %llu",
			    (unsigned long long)compiled, (unsigned long long)*now);
		mmu_vcpu_safe_point(v0);
	}
	mmu_vcpu_leave(v0);
}

void setup_code_content(void)
{
	stores = 0;
	told = false;
	world_create(1, 1, -1);
	sched_spawn("runs", compile_and_run_until_told, NULL);
	sched_spawn("vmm", change_content, NULL);
}

/* The same where nobody waits for the vCPU: it hears at its first safe point after the call. */
static void compile_and_run_until_safe_point(void *arg)
{
	bool heard = false;

	mmu_vcpu_enter(v0);
	compile();
	for (int i = 0; i < 3 && v0->code_epoch == epoch; i++) {
		const u64 *now = tlb_read(&v0->tlb[TLB_USER], 0, sizeof(u64));

		sched_point("code runs", now);
		SCHED_CHECK(*now == compiled || !heard, "old code runs: %llu, and memory has %llu",
			    (unsigned long long)compiled, (unsigned long long)*now);
		heard = SCHED_SEE(told);
		mmu_vcpu_safe_point(v0);
	}
	mmu_vcpu_leave(v0);
}

/* ------------------------------------------------------------------ a file's page, in two VMs */

/* Known by its place in the file, in each VM by a gfn of its own. */
void setup_code_file(void)
{
	stores = 0;
	world_create(1, 1, MODEL_FILE_CACHED);
	world_vm_beside();
	store_in_own(&world.vcpu[1]);
	sched_spawn("runs", compile_and_run, NULL);
	sched_spawn("stores in another VM", store_in_own, &world.vcpu[1]);
}

/* ------------------------------------------------------------------ two have the same code */

static u64 compiled_by[2];

/* As compile() and run(), of a vCPU (arg) among two. */
static void compile_and_run_too(void *arg)
{
	struct mmu_vcpu *v = arg;
	u64 *word = &compiled_by[v->index], since;
	int r;

	mmu_vcpu_enter(v);
	do {
		r = mmu_code_track(v, 0, 1);
		SCHED_CHECK(!r, "code cannot be tracked: %d", r);
		since = v->code_epoch;
		SCHED_CHECK(!guest_read(v, 0, word), "code cannot be read");
	} while (v->code_epoch != since);
	for (int i = 0; i < 2 && v->code_epoch == since; i++) {
		const u64 *now = tlb_read(&v->tlb[TLB_USER], 0, sizeof(u64));

		sched_point("code runs", now);
		SCHED_CHECK(*now == *word, "old code runs: %llu, and memory has %llu", (unsigned long long)*word,
			    (unsigned long long)*now);
		mmu_vcpu_safe_point(v);
	}
	mmu_vcpu_leave(v);
}

void setup_code_both(void)
{
	stores = 0;
	world_create(3, 1, -1);
	store_in_own(&world.vcpu[2]);
	sched_spawn("runs", compile_and_run_too, &world.vcpu[0]);
	sched_spawn("runs, too", compile_and_run_too, &world.vcpu[1]);
	sched_spawn("stores", store_in_own, &world.vcpu[2]);
}

/* Two VMs have code from one page, and one of them stores. */
void setup_code_shared(void)
{
	stores = 0;
	world_create(1, 1, -1);
	world_vm_beside();
	compile_and_run_too(&world.vcpu[1]);
	sched_spawn("runs", compile_and_run_too, &world.vcpu[0]);
	sched_spawn("stores in another VM", store_in_own, &world.vcpu[1]);
}

/* ------------------------------------------------------------------ the host writes, the memory goes, a VM ends */

static void copy_over_code(void *arg)
{
	u64 word = ++stores;

	SCHED_CHECK(!mmu_write_guest(world.mmu, 0, &word, sizeof(word)), "a copy fails");
	SCHED_SET(told, true);
}

static struct mmu_cache clock_page;

static int put_clock(struct mmu_cache *c, void *arg)
{
	return mmu_cache_write(c, 0, arg, sizeof(u64));
}

/* Between two runs of its vCPU. */
static void use_over_code(void *arg)
{
	u64 word = ++stores;

	SCHED_CHECK(!mmu_cache_use(&clock_page, MMU_CACHE_WAIT, put_clock, &word), "a use fails");
	SCHED_SET(told, true);
}

static void setup_written_by_host(sched_actor_fn *write)
{
	stores = 0;
	told = false;
	world_create(2, 1, -1);
	mmu_cache_init(&clock_page, &world.vcpu[1], 0);
	mmu_cache_set(&clock_page, 0, sizeof(u64));
	world.cache = &clock_page;
	sched_spawn("runs", compile_and_run_until_safe_point, NULL);
	sched_spawn("host", write, NULL);
}

void setup_code_copy(void)
{
	setup_written_by_host(copy_over_code);
}

void setup_code_use(void)
{
	setup_written_by_host(use_over_code);
}

static bool page_gone;

static void track_until_gone(void *arg)
{
	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		bool was_gone = SCHED_SEE(page_gone);
		int r = mmu_code_track(v0, 0, 1);

		SCHED_CHECK(!r || r == -EFAULT, "tracking code ends with %d", r);
		SCHED_CHECK(r || !was_gone, "code is tracked after the munmap of its page");
	}
	mmu_vcpu_leave(v0);
}

static void unmap_code(void *arg)
{
	model_munmap(world.model, WORLD_HVA, 1);
	SCHED_SET(page_gone, true);
}

void setup_code_gone(void)
{
	page_gone = false;
	world_create(1, 1, -1);
	sched_spawn("tracks", track_until_gone, NULL);
	sched_spawn("munmap", unmap_code, NULL);
}

static void end_other_vm(void *arg)
{
	world_end_vm(1);
}

/* Who tells every VM meets one that is about to go. */
void setup_code_vm_ends(void)
{
	stores = 0;
	world_create(1, 1, -1);
	world_vm_beside();
	store_in_own(&world.vcpu[1]);
	sched_spawn("runs", compile_and_run, NULL);
	sched_spawn("end of another VM", end_other_vm, NULL);
}

/* ------------------------------------------------------------------ two stores from two VMs */

/* The other VM has no code from there, and nobody waits for it: the page may be unmarked before its store is. */
void setup_code_vms_two(void)
{
	stores = 0;
	world_create(2, 1, -1);
	world_vm_beside();
	store_in_own(&world.vcpu[1]);
	store_in_own(&world.vcpu[2]);
	mmu_vcpu_enter(v0);
	compile();
	mmu_vcpu_leave(v0);
	sched_spawn("runs", run_code, NULL);
	sched_spawn("stores", store_in_own, &world.vcpu[1]);
	sched_spawn("stores in another VM", store_in_own, &world.vcpu[2]);
}

/* ------------------------------------------------------------------ a page makes room for another's code */

/* Its code is in the list's only place, until this one's is. */
static void take_the_place(void *arg)
{
	struct mmu_vcpu *v = arg;
	int r;

	mmu_vcpu_enter(v);
	r = mmu_code_track(v, PAGE_SIZE, 1);
	SCHED_CHECK(!r, "code cannot be tracked: %d", r);
	mmu_vcpu_leave(v);
	store_in_own(v);
}

void setup_code_room(void)
{
	stores = 0;
	world_create(3, 2, -1);
	code_most_pages = 1;
	store_in_own(&world.vcpu[2]);
	mmu_vcpu_enter(v0);
	compile();
	mmu_vcpu_leave(v0);
	sched_spawn("runs", run_code, NULL);
	sched_spawn("takes its place, stores", take_the_place, &world.vcpu[1]);
	sched_spawn("stores", store_in_own, &world.vcpu[2]);
}

/* ------------------------------------------------------------------ names */

/* Pages of a file beside each other, in any order, one that does not go on, and memory that has no name. */
static void touch_names(void *arg)
{
	struct mmu_vcpu *v = arg;
	u64 value;

	mmu_vcpu_enter(v);
	SCHED_CHECK(!guest_write(v, 3 * PAGE_SIZE, 1) && !guest_write(v, 2 * PAGE_SIZE, 2) &&
			    !guest_write(v, PAGE_SIZE, 3),
		    "a write fails");
	SCHED_CHECK(!guest_write(v, 0, ++stores), "a store fails");
	mmu_tlb_flush(v);
	SCHED_CHECK(!guest_write(v, PAGE_SIZE, 4) && !guest_write(v, 3 * PAGE_SIZE, 5), "a write fails");
	mmu_vcpu_leave(v);
	model_mmap(world.model, WORLD_HVA + PAGE_SIZE, 1, true, NULL, 0);
	mmu_vcpu_enter(v);
	SCHED_CHECK(!guest_read(v, PAGE_SIZE, &value) && !value, "a page that was mapped anew reads %llu",
		    (unsigned long long)value);
	mmu_vcpu_leave(v);
}

void setup_code_names(void)
{
	stores = 0;
	world_create(2, 4, MODEL_FILE_CACHED);
	model_mmap(world.model, WORLD_HVA, 1, true, NULL, 0);
	model_mmap(world.model, WORLD_HVA + 3 * PAGE_SIZE, 1, true,
		   model_file_create(world.model, MODEL_FILE_CACHED, 4), 3);
	sched_spawn("runs", compile_and_run, NULL);
	sched_spawn("stores", touch_names, &world.vcpu[1]);
}

/* ------------------------------------------------------------------ the host copies beside code */

static void copy_beside(void *arg)
{
	u64 word = 1;
	int r = mmu_write_guest(world.mmu, PAGE_SIZE, &word, sizeof(word));

	SCHED_CHECK(!r || r == -EFAULT, "a copy ends with %d", r);
}

static void unmap_beside(void *arg)
{
	model_munmap(world.model, WORLD_HVA + PAGE_SIZE, 1);
}

/* Where no code is, and it may be gone before anybody asks whose it was: the code stays trusted. */
static void run_untouched(void *arg)
{
	mmu_vcpu_enter(v0);
	run();
	mmu_vcpu_safe_point(v0);
	mmu_vcpu_leave(v0);
}

void setup_code_copy_beside(void)
{
	stores = 0;
	world_create(1, 2, -1);
	mmu_vcpu_enter(v0);
	compile();
	mmu_vcpu_leave(v0);
	sched_spawn("runs", run_untouched, NULL);
	sched_spawn("copy", copy_beside, NULL);
	sched_spawn("munmap", unmap_beside, NULL);
}
