/* SPDX-License-Identifier: MIT */
/* Scenarios about what may happen between an invalidation's begin and its end. */
#include "explore/scenario.h"

#include "explore/scenarios.h"
#include "explore/world.h"
#include "mmu/invalidate.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0];

static bool unmapped, updated;

static void do_munmap(void *arg)
{
	model_munmap(world.model, WORLD_HVA, 2);
	SCHED_SET(unmapped, true);
}

static void read_once(void)
{
	bool after = SCHED_SEE(unmapped) && SCHED_SEE(updated);
	u64 value;
	int r;

	mmu_vcpu_enter(v0);
	r = guest_read(v0, 0, &value);
	SCHED_CHECK(r == 0 || r == -EFAULT || r == -ENOENT, "an access ends with %d", r);
	SCHED_CHECK(!after || r == -EFAULT, "unmapped memory reads with %d", r);
	mmu_vcpu_leave(v0);
}

/* ------------------------------------------------------------------ memslots in between */

static bool both_done(void *arg)
{
	return unmapped && updated;
}

/* A begin that never found its end would keep the last fault waiting for good. */
static void read_during_and_after(void *arg)
{
	read_once();
	sched_wait("munmap and memslots", both_done, NULL);
	read_once();
}

static void make_anew(void *arg)
{
	SCHED_CHECK(!world_set_slot(0, 0), "deleting the slot fails");
	SCHED_CHECK(!world_set_slot(2, 0), "making it anew fails");
	SCHED_SET(updated, true);
}

void setup_rebind(void)
{
	unmapped = updated = false;
	world_create(1, 2, -1);
	sched_spawn("vcpu", read_during_and_after, NULL);
	sched_spawn("munmap", do_munmap, NULL);
	sched_spawn("slots", make_anew, NULL);
}

/* ------------------------------------------------------------------ the VM goes in between */

static void read_then_close(void *arg)
{
	read_once();
	world_end_vm(0);
}

void setup_teardown(void)
{
	unmapped = updated = false;
	world_create(1, 2, -1);
	sched_spawn("vcpu", read_then_close, NULL);
	sched_spawn("munmap", do_munmap, NULL);
}

/* ------------------------------------------------------------------ beside what is open */

static bool read_beside; /* the vCPU has read what is not being taken away */

static bool is_read(void *arg)
{
	return read_beside;
}

static void read_middle(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_read(v0, PAGE_SIZE, &value), "a read fails");
	mmu_vcpu_leave(v0);
	read_beside = true;
}

/* Host addresses above, gfns below, or the other way round, until the page between them has been read. */
static void open_beside(void *arg)
{
	u64 first = arg ? 0 : 2, second = 2 - first;
	hva_t hva = WORLD_HVA + first * PAGE_SIZE;
	struct mmu_token *t = mmu_invalidate_begin(world.mmu, hva, hva + PAGE_SIZE);
	struct mmu_token *u = mmu_invalidate_gfns_begin(world.mmu, second, second + 1);

	sched_wait("the page between", is_read, NULL);
	mmu_invalidate_end(u);
	mmu_invalidate_end(t);
}

static void setup_open(bool below)
{
	read_beside = false;
	world_create(1, 3, -1);
	sched_spawn("vcpu", read_middle, NULL);
	sched_spawn("opens", open_beside, below ? &read_beside : NULL);
}

void setup_open_above(void)
{
	setup_open(false);
}

void setup_open_below(void)
{
	setup_open(true);
}

/* ------------------------------------------------------------------ a monitor */

static bool is_updated(void *arg)
{
	return updated;
}

static void update_slot(void *arg)
{
	SCHED_CHECK(!world_set_slot(0, 0), "deleting the slot fails");
	SCHED_SET(updated, true);
}

void setup_monitor(void)
{
	unmapped = updated = false;
	world_create(1, 2, -1);
	model_hold(world.model, is_updated);
	sched_spawn("munmap", do_munmap, NULL);
	sched_spawn("monitor", update_slot, NULL);
}
