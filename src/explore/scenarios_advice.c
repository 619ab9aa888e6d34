/* SPDX-License-Identifier: MIT */
/*
 * explore/scenarios_advice.c: a VMM that says what it needs no more, asks what was written, and asks to be asked; and
 * another process that has the same file mapped.
 */
#include "explore/scenario.h"
#include "explore/scenarios.h"
#include "explore/world.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0];

/* ------------------------------------------------------------------ MADV_FREE */

static bool freed;	/* the call has returned */
static u64 kept_word;	/* written after that */

/* A write that follows a read is known to stage 2 alone. */
static void write_around_free(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 2; i++) {
		bool was_freed = SCHED_SEE(freed);

		SCHED_CHECK(!guest_read(v0, 0, &value), "a read fails");
		SCHED_CHECK(!guest_write(v0, 0, i), "a write fails");
		if (was_freed)
			kept_word = i;
	}
	mmu_vcpu_leave(v0);
}

static void free_and_reclaim(void *arg)
{
	model_madv_free(world.model, WORLD_HVA);
	SCHED_SET(freed, true);
	model_reclaim_lazy(world.model, WORLD_HVA);
}

void setup_lazy_free(void)
{
	freed = false;
	kept_word = 0;
	world_create(1, 1, -1);
	model_write(world.model, WORLD_HVA, 0);
	sched_spawn("vcpu", write_around_free, NULL);
	sched_spawn("vmm", free_and_reclaim, NULL);
}

/* What was written after it was given up stays, however often reclaim comes. */
void check_lazy_free(void)
{
	u64 value = 0;

	model_reclaim_lazy(world.model, WORLD_HVA);
	SCHED_CHECK(!model_read(world.model, WORLD_HVA, &value), "the VMM's read fails");
	SCHED_CHECK(!kept_word || value == kept_word, "the guest wrote %llu after MADV_FREE, its memory holds %llu",
		    (unsigned long long)kept_word, (unsigned long long)value);
}

/* ------------------------------------------------------------------ soft-dirty */

static bool cleared;
static bool wrote_since; /* a write began after it was cleared, and is over */

static void write_around_clear(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 2; i++) {
		bool was_cleared = SCHED_SEE(cleared);

		SCHED_CHECK(!guest_write(v0, 0, i), "a write fails");
		SCHED_SET(wrote_since, wrote_since || was_cleared);
	}
	mmu_vcpu_leave(v0);
}

static void clear_and_ask(void *arg)
{
	bool wrote;

	model_clear_soft_dirty(world.model);
	SCHED_SET(cleared, true);
	sched_point("asks", NULL);
	wrote = SCHED_SEE(wrote_since);
	SCHED_CHECK(!wrote || model_soft_dirty(world.model, WORLD_HVA), "a page that was written is not soft-dirty");
}

void setup_soft_dirty(void)
{
	cleared = wrote_since = false;
	world_create(1, 1, -1);
	sched_spawn("vcpu", write_around_clear, NULL);
	sched_spawn("vmm", clear_and_ask, NULL);
}

void check_soft_dirty(void)
{
	SCHED_CHECK(!wrote_since || model_soft_dirty(world.model, WORLD_HVA), "a page that was written is not soft-dirty");
}

/* ------------------------------------------------------------------ a snapshot in the background */

static bool over;     /* the vCPU has written all it had to */
static u64 snapshot; /* what the page held when it was protected */

static void write_guarded(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 3; i++)
		SCHED_CHECK(!guest_write(v0, 0, i), "a write fails");
	mmu_vcpu_leave(v0);
	SCHED_SET(over, true);
}

static bool hit_or_over(void *arg)
{
	return model_guard_hit(world.model) || over;
}

/* From the protection on nobody writes until the page is copied: as a snapshot needs it. */
static void protect_copy_and_let_go(void *arg)
{
	const struct statpage_vm *stat = mmu_stat_page(world.mmu);
	u64 copy;

	model_guard(world.model, WORLD_HVA, true);
	SCHED_CHECK(stat->nuffd == 1 && stat->uffd[0].start == WORLD_HVA && stat->uffd[0].end == WORLD_HVA + PAGE_SIZE,
		    "the statistics do not show what is under a userfaultfd");
	SCHED_CHECK(!model_read(world.model, WORLD_HVA, &snapshot), "the VMM's read fails");
	sched_point("the snapshot goes on", NULL);
	sched_wait("a write", hit_or_over, NULL);
	SCHED_CHECK(!model_read(world.model, WORLD_HVA, &copy), "the VMM's read fails");
	SCHED_CHECK(copy == snapshot, "a page that is write-protected changes from %llu to %llu",
		    (unsigned long long)snapshot, (unsigned long long)copy);
	model_guard(world.model, WORLD_HVA, false);
	SCHED_CHECK(!stat->nuffd, "the statistics show a userfaultfd that is gone");
}

void setup_guard(void)
{
	over = false;
	snapshot = 0;
	world_create(1, 1, -1);
	model_write(world.model, WORLD_HVA, 0); /* what is not there cannot be protected */
	sched_spawn("vcpu", write_guarded, NULL);
	sched_spawn("monitor", protect_copy_and_let_go, NULL);
}

/* ------------------------------------------------------------------ two processes with one file */

static u64 others_word;	 /* the other process has written */
static u64 guests_word;	 /* the guest has written last */

/* Page 0 is the other process's to write, page 1 the guest's. */
static void share_file(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 2; i++) {
		u64 word = SCHED_SEE(others_word);

		SCHED_CHECK(!guest_read(v0, 0, &value), "a read fails");
		SCHED_CHECK(value >= word || (!value && word == 1), "the guest reads %llu, another process has written %llu",
			    (unsigned long long)value, (unsigned long long)word);
		SCHED_CHECK(!guest_write(v0, PAGE_SIZE, i), "a write fails");
		SCHED_SET(guests_word, i);
	}
	mmu_vcpu_leave(v0);
}

static void write_and_read_too(void *arg)
{
	u64 value, word;

	SCHED_CHECK(!model_other_write(world.model, world.file, 0, 1), "another process's write fails");
	SCHED_SET(others_word, 1);
	/* It leaves a hole and fills it: the page is another one. */
	model_punch(world.model, world.file, 0);
	SCHED_CHECK(!model_other_write(world.model, world.file, 0, 2), "another process's write fails");
	SCHED_SET(others_word, 2);
	word = SCHED_SEE(guests_word);
	SCHED_CHECK(!model_other_read(world.model, world.file, 1, &value), "another process's read fails");
	SCHED_CHECK(value >= word, "another process reads %llu, the guest has written %llu", (unsigned long long)value,
		    (unsigned long long)word);
}

void setup_other_process(void)
{
	others_word = guests_word = 0;
	world_create(1, 2, MODEL_FILE_CACHED);
	sched_spawn("vcpu", share_file, NULL);
	sched_spawn("process", write_and_read_too, NULL);
}
