/* SPDX-License-Identifier: MIT */
/* Memory runs out: each allocation of each call fails in turn. */
#include "explore/scenario.h"

#include "explore/scenarios.h"
#include "explore/world.h"

#define OTHER_GPA (2 * PAGE_SIZE) /* a second memslot over page 1 */
#define MOVED_GPA (16 * PAGE_SIZE)
#define WORD	  0x5a

static struct mmu_vcpu *const v0 = &world.vcpu[0];

static int set_other(u32 flags, gpa_t gpa, u64 size)
{
	struct mmu_region r = {.slot = 1, .flags = flags, .gpa = gpa, .size = size,
			       .hva = WORLD_HVA + PAGE_SIZE};

	return mmu_set_region(world.mmu, &r);
}

static int create_slot(void)
{
	return set_other(0, OTHER_GPA, PAGE_SIZE);
}

static int start_log(void)
{
	return set_other(MMU_SLOT_LOG_DIRTY, OTHER_GPA, PAGE_SIZE);
}

static int move_slot(void)
{
	return set_other(MMU_SLOT_LOG_DIRTY, MOVED_GPA, PAGE_SIZE);
}

static int delete_slot(void)
{
	return set_other(0, 0, 0);
}

static int make_private(void)
{
	return mmu_set_attributes(world.mmu, 8, 4, MMU_ATTR_PRIVATE);
}

static int make_a_hole(void)
{
	return mmu_set_attributes(world.mmu, 9, 1, 0);
}

static int create_and_link_gmem(void)
{
	struct gmem_file *f, *other;
	int r = gmem_create(world.mmu, PAGE_SIZE, 0, &f);

	if (r)
		return r;
	r = gmem_link(f, world.mmu, &other);
	if (!r)
		gmem_release(other);
	gmem_release(f);
	return r;
}

static int harvest(void)
{
	u64 bits;

	return mmu_dirty_get(world.mmu, 1, &bits);
}

static int fault(void)
{
	u64 value;
	int r;

	mmu_vcpu_enter(v0);
	r = guest_read(v0, 0, &value);
	mmu_vcpu_leave(v0);
	return r;
}

static void check_word(void)
{
	u64 value = 0;

	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_read(v0, 0, &value) && value == WORD, "a read fails");
	mmu_vcpu_leave(v0);
}

static void call_all(void *arg)
{
	static int (*const calls[])(void) = {fault,	  create_slot,	start_log,
					     harvest,	  move_slot,	delete_slot,
					     make_private, make_a_hole, create_and_link_gmem};

	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		int r = -ENOMEM;

		for (unsigned n = 1; r; n++) {
			sched_fail_allocation(n);
			r = calls[i]();
			sched_fail_allocation(0);
			SCHED_CHECK(!r || r == -ENOMEM, "call %u ends with %d", i, r);
			if (i)
				check_word();
		}
	}
}

void setup_no_memory(void)
{
	world_create(1, 2, -1);
	model_write(world.model, WORLD_HVA, WORD);
	sched_spawn("vmm", call_all, NULL);
}
