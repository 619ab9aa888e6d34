/* SPDX-License-Identifier: MIT */
/*
 * explore/scenarios_huge.c: huge pages that are split, collapse, move, fail and are forked under running vCPUs, and
 * hugetlb files that are truncated.
 */
#include "explore/scenario.h"
#include "explore/scenarios.h"
#include "explore/world.h"
#include "mmu/fault.h"
#include "mmu/invalidate.h"
#include "mmu/look.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0], *const v1 = &world.vcpu[1];

/* ------------------------------------------------------------------ split and collapse */

static void split_and_collapse(void *arg)
{
	model_split(world.model, WORLD_HUGE_HVA);
	model_collapse(world.model, WORLD_HUGE_HVA);
}

/* The page the vCPU is in goes to a frame of its own in between. */
static void split_move_and_collapse(void *arg)
{
	model_split(world.model, WORLD_HUGE_HVA);
	model_migrate(world.model, WORLD_HUGE_HVA);
	model_collapse(world.model, WORLD_HUGE_HVA);
}

static void huge_world(u32 nvcpus)
{
	world_create(nvcpus, WORLD_HUGE_PAGES, -1);
	model_write(world.model, WORLD_HUGE_HVA, 0); /* so that there is something to split */
}

void setup_thp_collapse(void)
{
	huge_world(1);
	sched_spawn("vcpu", own_writes_stay, v0);
	sched_spawn("khugepaged", split_and_collapse, NULL);
}

void setup_thp_move(void)
{
	huge_world(1);
	model_split(world.model, WORLD_HUGE_HVA);
	sched_spawn("vcpu", own_writes_stay, v0);
	sched_spawn("kernel", split_move_and_collapse, NULL);
}

/* What is one page again is one leaf again. */
void check_thp_whole(void)
{
	struct mmu_stats stats;
	u64 value;

	model_collapse(world.model, WORLD_HUGE_HVA);
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_read(v0, 0, &value) && value == OWN_LAST_WRITE, "page 0 reads %llu in the end",
		    (unsigned long long)value);
	mmu_vcpu_leave(v0);
	mmu_get_stats(world.mmu, &stats);
	SCHED_CHECK(stats.pages_2m == 1 && !stats.pages_4k, "a huge page is mapped by %llu huge leaves and %llu others",
		    (unsigned long long)stats.pages_2m, (unsigned long long)stats.pages_4k);
}

static void migrate_huge(void *arg)
{
	model_migrate(world.model, WORLD_HUGE_HVA + PAGE_SIZE);
	model_migrate(world.model, WORLD_HUGE_HVA);
}

void setup_thp_migrate(void)
{
	huge_world(1);
	sched_spawn("vcpu", own_writes_stay, v0);
	sched_spawn("migrate", migrate_huge, NULL);
}

/* ------------------------------------------------------------------ a change beside */

/* Of one page, and the frame is as it was: a leaf of the block and leaves of its pages meet in stage 2. */
static void change_beside(void *arg)
{
	hva_t hva = WORLD_HUGE_HVA + 2 * PAGE_SIZE;

	mmu_invalidate_end(mmu_invalidate_begin(world.mmu, hva, hva + PAGE_SIZE));
}

void setup_thp_beside(void)
{
	huge_world(2);
	sched_spawn("vcpu0", own_writes_stay, v0);
	sched_spawn("vcpu1", own_writes_stay, v1);
	sched_spawn("change", change_beside, NULL);
}

/* The same of a file, whose pages have names. */
void setup_hugetlb_beside(void)
{
	world_create(2, WORLD_HUGE_PAGES, MODEL_FILE_HUGETLB);
	sched_spawn("vcpu1", own_writes_stay, v1);
	sched_spawn("vcpu0", own_writes_stay, v0);
	sched_spawn("change", change_beside, NULL);
}

/* What was faulted in as a page of its own stays so: nobody takes that page away. */
static void fault_in_ahead(void *arg)
{
	gfn_t gfn = v1->index;

	for (int i = 0; i < 2; i++) {
		int level = 0, r = mmu_fault(v1, gfn, MMU_READ, &level);
		struct mmu_seen seen;

		SCHED_CHECK(!r, "a fault ends with %d", r);
		mmu_look(world.mmu, gfn, &seen);
		SCHED_CHECK(level > LEVEL_4K || seen.mapped, "a fault says that it is done, and its page is not mapped");
	}
}

void setup_thp_ahead(void)
{
	huge_world(2);
	sched_spawn("vcpu0", own_writes_stay, v0);
	sched_spawn("vcpu1", fault_in_ahead, NULL);
	sched_spawn("change", change_beside, NULL);
}

/* ------------------------------------------------------------------ a part goes */

static bool gone, going;

static void read_part(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		bool was_gone = SCHED_SEE(gone);

		SCHED_CHECK(!guest_read(v0, PAGE_SIZE, &value), "a read fails");
		SCHED_CHECK(value == 7 || (!value && going), "page 1 reads %llu", (unsigned long long)value);
		SCHED_CHECK(!value || !was_gone, "page 1 reads as it was before MADV_DONTNEED");
		SCHED_CHECK(!guest_read(v0, 0, &value) && value == 5, "page 0 reads %llu", (unsigned long long)value);
	}
	mmu_vcpu_leave(v0);
}

static void drop_part(void *arg)
{
	going = true;
	model_dontneed(world.model, WORLD_HUGE_HVA + PAGE_SIZE);
	SCHED_SET(gone, true);
	model_collapse(world.model, WORLD_HUGE_HVA);
}

void setup_thp_part(void)
{
	going = gone = false;
	huge_world(1);
	model_write(world.model, WORLD_HUGE_HVA, 5);
	model_write(world.model, WORLD_HUGE_HVA + PAGE_SIZE, 7);
	sched_spawn("vcpu", read_part, NULL);
	sched_spawn("vmm", drop_part, NULL);
}

/* ------------------------------------------------------------------ memory failure */

static void touch_broken(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		bool was_gone = SCHED_SEE(gone);
		int r = guest_write(v0, 0, i + 1);

		SCHED_CHECK(!r || (r == -EHWPOISON && going), "a write ends with %d", r);
		SCHED_CHECK(r || !was_gone, "memory that failed is written");
		SCHED_CHECK(!guest_read(v0, PAGE_SIZE, &value) && value == 7, "what is beside memory that failed is lost");
	}
	mmu_vcpu_leave(v0);
}

static void fail_part(void *arg)
{
	going = true;
	model_poison(world.model, WORLD_HUGE_HVA);
	SCHED_SET(gone, true);
}

void setup_thp_poison(void)
{
	going = gone = false;
	huge_world(1);
	model_write(world.model, WORLD_HUGE_HVA + PAGE_SIZE, 7);
	sched_spawn("vcpu", touch_broken, NULL);
	sched_spawn("failure", fail_part, NULL);
}

/* ------------------------------------------------------------------ fork */

static void fork_huge(void *arg)
{
	fork_and_look_at(WORLD_HUGE_HVA);
}

void setup_thp_fork(void)
{
	huge_world(1);
	sched_spawn("vcpu", own_writes_stay, v0);
	sched_spawn("fork", fork_huge, NULL);
}

/* ------------------------------------------------------------------ pins */

/* DMA writes to the page where it was pinned, and the guest finds it there. */
static void write_by_dma(void *arg)
{
	hva_t hva = *(const hva_t *)arg;
	void *cookie;

	SCHED_CHECK(!primary_model_ops.pin(world.model, hva, PAGE_SIZE, &cookie), "a page cannot be pinned");
	for (int i = 0; i < 2; i++) {
		sched_point("DMA", cookie);
		SCHED_CHECK(model_pinned(world.model, hva), "a page that is pinned is no longer what the process has");
	}
	primary_model_ops.unpin(world.model, cookie);
}

static void *cookie_of_set_up;

static void unpin_later(void *arg)
{
	sched_point("DMA", cookie_of_set_up);
	SCHED_CHECK(model_pinned(world.model, *(const hva_t *)arg),
		    "a page that is pinned is no longer what the process has");
	primary_model_ops.unpin(world.model, cookie_of_set_up);
}

static void fork_and_migrate(void *arg)
{
	hva_t hva = *(const hva_t *)arg;

	fork_and_look_at(hva);
	model_migrate(world.model, hva);
	model_collapse(world.model, hva);
}

static hva_t pinned_hva;

static void setup_pinned(u64 pages)
{
	world_create(1, pages, -1);
	pinned_hva = world.vm[0].hva;
	model_write(world.model, pinned_hva, 0);
	sched_spawn("vcpu", own_writes_stay, v0);
	sched_spawn("vmm", fork_and_migrate, &pinned_hva);
}

void setup_pin_fork(void)
{
	setup_pinned(1);
	sched_spawn("dma", write_by_dma, &pinned_hva);
}

/* The page is pinned already. */
void setup_pin_fork_huge(void)
{
	setup_pinned(WORLD_HUGE_PAGES);
	SCHED_CHECK(!primary_model_ops.pin(world.model, pinned_hva, PAGE_SIZE, &cookie_of_set_up),
		    "a page cannot be pinned");
	sched_spawn("dma", unpin_later, &pinned_hva);
}

static void free_and_reclaim(void *arg)
{
	model_madv_free(world.model, pinned_hva);
	model_reclaim_lazy(world.model, pinned_hva);
}

void setup_pin_free(void)
{
	world_create(1, 1, -1);
	pinned_hva = world.vm[0].hva;
	model_write(world.model, pinned_hva, 0);
	sched_spawn("dma", write_by_dma, &pinned_hva);
	sched_spawn("vmm", free_and_reclaim, NULL);
}

/* ------------------------------------------------------------------ hugetlb */

static void write_hugetlb(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 3; i++) {
		bool was_gone = SCHED_SEE(gone);
		gpa_t gpa = i * PAGE_SIZE;
		int r = guest_write(v0, gpa, i);

		SCHED_CHECK(!r || (r == -EFAULT && going), "a write ends with %d", r);
		SCHED_CHECK(r || !was_gone, "a hugetlb file is written behind its end");
		r = guest_read(v0, gpa, &value);
		SCHED_CHECK(!r || (r == -EFAULT && going), "a read ends with %d", r);
		SCHED_CHECK(r || value == i, "page %llu reads %llu", (unsigned long long)i, (unsigned long long)value);
	}
	mmu_vcpu_leave(v0);
}

static void truncate_hugetlb(void *arg)
{
	going = true;
	model_truncate(world.model, world.file, 0);
	SCHED_SET(gone, true);
}

void setup_hugetlb(void)
{
	going = gone = false;
	world_create(1, WORLD_HUGE_PAGES, MODEL_FILE_HUGETLB);
	sched_spawn("vcpu", write_hugetlb, NULL);
	sched_spawn("truncate", truncate_hugetlb, NULL);
}

void check_hugetlb(void)
{
	SCHED_CHECK(model_pool_free(world.model) == MODEL_POOL, "%u pages of the pool are free after a truncate",
		    model_pool_free(world.model));
}

/* A hole, whose page another file takes: who touches it then finds nothing left in the pool. */
static void touch_hole(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		bool was_gone = SCHED_SEE(gone);
		int r = guest_read(v0, 0, &value);

		SCHED_CHECK(!r || (r == -EFAULT && going), "a read ends with %d", r);
		SCHED_CHECK(r || value == 7 || (!value && going), "a hugetlb file reads %llu", (unsigned long long)value);
		SCHED_CHECK(r || !was_gone || !value, "a hugetlb file reads what was punched");
	}
	mmu_vcpu_leave(v0);
}

static struct model_file *other;

static void punch_and_take(void *arg)
{
	going = true;
	model_punch(world.model, world.file, 0);
	SCHED_SET(gone, true);
	model_mmap(world.model, WORLD_HUGE_HVA + LEVEL_SIZE(LEVEL_2M), WORLD_HUGE_PAGES, true, other, 0);
}

void setup_hugetlb_hole(void)
{
	going = gone = false;
	world_create(1, WORLD_HUGE_PAGES, MODEL_FILE_HUGETLB);
	other = model_file_create(world.model, MODEL_FILE_HUGETLB, WORLD_HUGE_PAGES);
	model_write(world.model, WORLD_HUGE_HVA, 7);
	sched_spawn("vcpu", touch_hole, NULL);
	sched_spawn("vmm", punch_and_take, NULL);
}
