/* SPDX-License-Identifier: MIT */
/* Scenarios about whose memory it is that a guest reaches: a device's, a driver's, a child's. */
#include "explore/scenario.h"

#include "explore/scenarios.h"
#include "explore/world.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0];

static bool going; /* the host has begun to take the memory away */
static bool gone;  /* it has done so */

/* Writes and reads that succeed until the memory goes, and fail with `error` once it has. */
static void touch(u64 pages, int error)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (u64 i = 0; i < 3; i++) {
		gpa_t gpa = i % pages * PAGE_SIZE;
		bool was_gone = SCHED_SEE(gone);
		int r = i == 1 ? guest_read(v0, gpa, &value) : guest_write(v0, gpa, i);

		SCHED_CHECK(r == 0 || (r == error && going), "an access ends with %d", r);
		SCHED_CHECK(!(was_gone && r == 0), "memory is reached after it went");
	}
	mmu_vcpu_leave(v0);
}

static void world_to_go(u64 pages, int kind)
{
	going = gone = false;
	world_create(1, pages, kind);
}

/* ------------------------------------------------------------------ a device is unbound */

static void touch_device(void *arg)
{
	touch(1, -EFAULT);
}

static void do_unbind(void *arg)
{
	going = true;
	model_unbind(world.model, world.file);
	SCHED_SET(gone, true);
}

void setup_unbind(void)
{
	world_to_go(1, MODEL_FILE_DAX);
	sched_spawn("vcpu", touch_device, NULL);
	sched_spawn("unbind", do_unbind, NULL);
}

/* ------------------------------------------------------------------ a long-term pin */

static bool pinned, unpinned;

/* What DMA would do: the page stays where it is, and in its file, until the end. */
static void pin_for_dma(void *arg)
{
	void *cookie;

	if (primary_model_ops.pin(world.model, WORLD_HVA, PAGE_SIZE, &cookie))
		return; /* the truncate was faster */
	SCHED_SET(pinned, true);
	sched_point("DMA", cookie);
	unpinned = true;
	primary_model_ops.unpin(world.model, cookie);
}

static void truncate_pinned(void *arg)
{
	bool was_pinned = SCHED_SEE(pinned);

	model_truncate(world.model, world.file, 0);
	SCHED_CHECK(!was_pinned || unpinned, "a DAX truncate ends while a page is pinned");
}

void setup_pin(void)
{
	pinned = unpinned = false;
	world_create(1, 1, MODEL_FILE_DAX);
	sched_spawn("dma", pin_for_dma, NULL);
	sched_spawn("truncate", truncate_pinned, NULL);
}

/* ------------------------------------------------------------------ VM_PFNMAP */

static void touch_pfnmap(void *arg)
{
	touch(2, -EFAULT);
}

static void do_munmap(void *arg)
{
	going = true;
	model_munmap(world.model, WORLD_HVA, 2);
	SCHED_SET(gone, true);
}

void setup_pfnmap(void)
{
	world_to_go(2, MODEL_FILE_PFNMAP);
	sched_spawn("vcpu", touch_pfnmap, NULL);
	sched_spawn("munmap", do_munmap, NULL);
}

/* Memory that no fault has touched, for fear of what a read does, says no by itself, and to every access. */
static void reach_refused(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_read(v0, 0, &value) && !guest_read(v0, PAGE_SIZE, &value), "a read fails");
	SCHED_CHECK(mmu_refault(v0, 0, MMU_READ, -EFAULT) == -EFAULT, "what a device refuses is tried again and again");
	SCHED_CHECK(!mmu_refault(v0, PAGE_SIZE, MMU_READ, -EFAULT), "a page whose mapping changed unseen is not faulted in");
	mmu_vcpu_leave(v0);
}

void setup_pfnmap_refused(void)
{
	world_create(1, 2, MODEL_FILE_PFNMAP);
	model_mmap(world.model, WORLD_HVA + PAGE_SIZE, 1, true, NULL, 0);
	sched_spawn("vcpu", reach_refused, NULL);
}

static void move_twice(void *arg)
{
	model_driver_move(world.model, world.file);
	model_driver_move(world.model, world.file);
}

void setup_driver(void)
{
	world_create(1, 1, MODEL_FILE_PFNMAP);
	sched_spawn("vcpu", own_writes_stay, v0);
	sched_spawn("driver", move_twice, NULL);
}

/* ------------------------------------------------------------------ swap */

/*
 * A page that came back from swap by a read may be written without another fault of the primary
 * MMU's: then stage 2 alone knows that the copy in swap is stale.
 */
static void swap_out_twice(void *arg)
{
	model_swap_out(world.model, WORLD_HVA);
	model_swap_out(world.model, WORLD_HVA);
}

void setup_swap(void)
{
	world_create(1, 1, -1);
	sched_spawn("vcpu", own_writes_stay, v0);
	sched_spawn("reclaim", swap_out_twice, NULL);
}

void check_swap(void)
{
	u64 value = 0;

	SCHED_CHECK(!model_read(world.model, WORLD_HVA, &value) && value == OWN_LAST_WRITE,
		    "the guest wrote %d last, its memory holds %llu", OWN_LAST_WRITE,
		    (unsigned long long)value);
}

/* ------------------------------------------------------------------ merging */

static void merge_twice(void *arg)
{
	model_merge(world.model, WORLD_HVA, WORLD_HVA + PAGE_SIZE);
	model_merge(world.model, WORLD_HVA, WORLD_HVA + PAGE_SIZE);
}

/* Two vCPUs write the same words, each into a page of its own. */
void setup_merge(void)
{
	world_create(2, 2, -1);
	model_write(world.model, WORLD_HVA, 0);
	model_write(world.model, WORLD_HVA + PAGE_SIZE, 0);
	sched_spawn("vcpu0", own_writes_stay, &world.vcpu[0]);
	sched_spawn("vcpu1", own_writes_stay, &world.vcpu[1]);
	sched_spawn("merge", merge_twice, NULL);
}

/* ------------------------------------------------------------------ mprotect */

static bool closing, closed, opening, opened; /* to writes */

static void write_while_protected(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 3; i++) {
		bool was_closed = SCHED_SEE(closed), was_opened = SCHED_SEE(opened);
		int r = guest_write(v0, 0, i);

		SCHED_CHECK(r == 0 || (r == -EFAULT && closing && !was_opened),
			    "a write ends with %d", r);
		SCHED_CHECK(r || !was_closed || opening, "read-only memory is written");
	}
	mmu_vcpu_leave(v0);
}

static void protect_and_back(void *arg)
{
	closing = true;
	model_mprotect(world.model, WORLD_HVA, 1, false);
	SCHED_SET(closed, true);
	sched_point("protected", NULL);
	opening = true;
	model_mprotect(world.model, WORLD_HVA, 1, true);
	SCHED_SET(opened, true);
}

void setup_protect(void)
{
	closing = closed = opening = opened = false;
	world_create(1, 1, -1);
	sched_spawn("vcpu", write_while_protected, NULL);
	sched_spawn("mprotect", protect_and_back, NULL);
}

/* ------------------------------------------------------------------ fork */

/* What a child sees of private memory stays as it was at the fork. */
void fork_and_look_at(u64 hva)
{
	struct model_child *c = model_fork(world.model);
	u64 first, again;

	SCHED_CHECK(!model_child_read(c, hva, &first), "a child has no memory");
	sched_point("child looks again", c);
	SCHED_CHECK(!model_child_read(c, hva, &again), "a child has no memory");
	SCHED_CHECK(first == again, "a child's memory changes from %llu to %llu",
		    (unsigned long long)first, (unsigned long long)again);
	model_child_exit(c);
}

static void fork_and_look(void *arg)
{
	fork_and_look_at(WORLD_HVA);
}

void setup_fork(void)
{
	world_create(1, 1, -1);
	sched_spawn("vcpu", own_writes_stay, v0);
	sched_spawn("fork", fork_and_look, NULL);
}

/* ------------------------------------------------------------------ memory failure */

static void touch_until_broken(void *arg)
{
	touch(1, -EHWPOISON);
}

static void do_poison(void *arg)
{
	going = true;
	model_poison(world.model, WORLD_HVA);
	SCHED_SET(gone, true);
}

void setup_poison(void)
{
	world_to_go(1, -1);
	model_write(world.model, WORLD_HVA, 1); /* so that there is a frame to break */
	sched_spawn("vcpu", touch_until_broken, NULL);
	sched_spawn("failure", do_poison, NULL);
}

/* ------------------------------------------------------------------ aging and writes */

static void age_once(void *arg)
{
	model_age(world.model, WORLD_HVA);
}

static void write_last(void *arg)
{
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_write(v0, 0, OWN_LAST_WRITE), "a write fails");
	mmu_vcpu_leave(v0);
}

/* The page came from swap by a read, so that only stage 2 learns of the write; check_swap() lets it go again. */
void setup_age_write(void)
{
	u64 value;

	world_create(1, 1, -1);
	model_write(world.model, WORLD_HVA, 1);
	model_swap_out(world.model, WORLD_HVA);
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_read(v0, 0, &value), "a read fails");
	mmu_vcpu_leave(v0);
	sched_spawn("vcpu", write_last, NULL);
	sched_spawn("reclaim", age_once, NULL);
}

void check_age_write(void)
{
	SCHED_CHECK(model_swap_out(world.model, WORLD_HVA), "the page cannot go to swap");
	check_swap();
}
