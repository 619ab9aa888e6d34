/* SPDX-License-Identifier: MIT */
/*
 * explore/scenarios_vmm.c: a VMM that owns its address space: it maps where windows lie, unmaps by a
 * call that nobody announces, and shows one page in two memslots.
 */
#include "explore/scenario.h"
#include "explore/scenarios.h"
#include "explore/world.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0];

/* ------------------------------------------------------------------ mapped where a window lies */

#define VMM_WORD 0x5ec5e7

static void map_over(void *arg)
{
	u64 *mine = model_map_over_window(world.model, WORLD_HVA);

	if (!mine)
		return; /* there was no window yet */
	*mine = VMM_WORD;
	sched_point("the VMM uses its memory", mine);
	SCHED_CHECK(*mine == VMM_WORD, "the VMM's memory changes under its hands");
}

void setup_arena(void)
{
	world_create(1, 1, MODEL_FILE_CACHED);
	model_use_windows(world.model);
	sched_spawn("vcpu", own_writes_stay, v0);
	sched_spawn("vmm", map_over, NULL);
}

/* ------------------------------------------------------------------ unmapped unseen */

static u64 unmapped; /* the call has returned */

static void touch_until_unmapped(void *arg)
{
	u64 value, was_unmapped;
	int r;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		was_unmapped = SCHED_SEE(unmapped);
		r = guest_read(v0, 0, &value);
		SCHED_CHECK(!r || r == -EFAULT, "an access ends with %d", r);
		SCHED_CHECK(r || !was_unmapped, "memory is reached after it was unmapped, unseen");
	}
	mmu_vcpu_leave(v0);
}

static void unmap_unseen(void *arg)
{
	model_munmap_unseen(world.model, WORLD_HVA, 1);
	SCHED_SET(unmapped, 1);
}

static void serve(void *arg)
{
	model_serve_event(world.model);
}

void setup_unseen(void)
{
	u64 value;

	unmapped = 0;
	world_create(1, 1, MODEL_FILE_CACHED);
	model_use_windows(world.model);
	/* There is a window, and a translation to it. */
	mmu_vcpu_enter(v0);
	guest_read(v0, 0, &value);
	mmu_vcpu_leave(v0);
	sched_spawn("vcpu", touch_until_unmapped, NULL);
	sched_spawn("munmap", unmap_unseen, NULL);
	sched_spawn("notifier", serve, NULL);
}

/* ------------------------------------------------------------------ a table that is known goes */

/* Each of them has been written by another: there is nothing to mark, and the table is enough. */
#define KNOWN_PAGES 3

static void walk_through_block(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 0; i < KNOWN_PAGES; i++) {
		u64 was_unmapped = SCHED_SEE(unmapped);
		int r = guest_write(v0, i * PAGE_SIZE, i);

		SCHED_CHECK(!r || r == -EFAULT, "an access ends with %d", r);
		SCHED_CHECK(r || !was_unmapped, "memory is reached after its munmap returned");
	}
	mmu_vcpu_leave(v0);
}

static void unmap_block(void *arg)
{
	model_munmap(world.model, WORLD_HUGE_HVA, WORLD_HUGE_PAGES);
	SCHED_SET(unmapped, 1);
}

/* A slot that logs has small leaves, and the table that they are in goes with the block. */
void setup_tables(void)
{
	struct mmu_vcpu *v1 = &world.vcpu[1];

	unmapped = 0;
	world_create(2, WORLD_HUGE_PAGES, -1);
	SCHED_CHECK(!world_set_slot(WORLD_HUGE_PAGES, MMU_SLOT_LOG_DIRTY), "no log");
	mmu_vcpu_enter(v1);
	for (u64 i = 0; i < KNOWN_PAGES; i++)
		SCHED_CHECK(!guest_write(v1, i * PAGE_SIZE, i), "a write fails");
	mmu_vcpu_leave(v1);
	sched_spawn("vcpu", walk_through_block, NULL);
	sched_spawn("munmap", unmap_block, NULL);
}

/* ------------------------------------------------------------------ one page in two memslots */

static void touch_both(void *arg)
{
	u64 value, was_unmapped;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		gpa_t gpa = i ? 0 : WORLD_ALIAS;
		int r;

		was_unmapped = SCHED_SEE(unmapped);
		r = guest_read(v0, gpa, &value);
		SCHED_CHECK(!r || r == -EFAULT, "an access ends with %d", r);
		SCHED_CHECK(r || !was_unmapped, "memory is reached by its other gfn after its munmap");
		was_unmapped = SCHED_SEE(unmapped);
		r = guest_write(v0, WORLD_ALIAS - gpa, 7);
		SCHED_CHECK(r || !was_unmapped, "memory is written by its other gfn after its munmap");
	}
	mmu_vcpu_leave(v0);
}

/* By the first memslot alone: the second has nothing to zap, and is looked at last. */
static void touch_first(void *arg)
{
	u64 value, was_unmapped;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		was_unmapped = SCHED_SEE(unmapped);
		SCHED_CHECK(guest_read(v0, 0, &value) || !was_unmapped,
			    "memory is reached after its munmap");
	}
	mmu_vcpu_leave(v0);
}

static void unmap(void *arg)
{
	model_munmap(world.model, WORLD_HVA, 1);
	SCHED_SET(unmapped, 1);
}

void setup_two_slots(void)
{
	unmapped = 0;
	world_create(1, 1, -1);
	world_slot_twice(0);
	sched_spawn("vcpu", touch_both, NULL);
	sched_spawn("munmap", unmap, NULL);
}

void setup_two_slots_one(void)
{
	unmapped = 0;
	world_create(1, 1, -1);
	world_slot_twice(0);
	sched_spawn("vcpu", touch_first, NULL);
	sched_spawn("munmap", unmap, NULL);
}

/* ------------------------------------------------------------------ a memslot becomes read-only */

static bool readonly; /* the call that makes it so has returned */

static void write_until_readonly(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 2; i++) {
		bool was_readonly = SCHED_SEE(readonly);
		int r = guest_write(v0, 0, i);

		SCHED_CHECK(r == 0 || r == -ENOENT, "a write ends with %d", r);
		SCHED_CHECK(r || !was_readonly, "a read-only memslot is written");
	}
	mmu_vcpu_leave(v0);
}

/* As KVM wants it: the flag cannot change, so the memslot is deleted and made anew. */
static void make_readonly(void *arg)
{
	SCHED_CHECK(!world_set_slot(0, 0), "the memslot cannot be deleted");
	SCHED_CHECK(!world_set_slot(1, MMU_SLOT_READONLY), "it cannot be made anew");
	SCHED_SET(readonly, true);
}

void setup_read_only(void)
{
	readonly = false;
	world_create(1, 1, -1);
	sched_spawn("vcpu", write_until_readonly, NULL);
	sched_spawn("vmm", make_readonly, NULL);
}

/* ------------------------------------------------------------------ a window comes late */

/* A leaf of the page's own address is in the way of one of its window, and nobody announces either. */
void setup_window_late(void)
{
	u64 value;

	world_create(1, 1, MODEL_FILE_CACHED);
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_read(v0, 0, &value), "a read fails");
	mmu_vcpu_leave(v0);
	model_use_windows(world.model);
	sched_spawn("vcpu", own_writes_stay, v0);
}
