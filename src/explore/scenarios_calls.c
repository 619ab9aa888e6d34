/* SPDX-License-Identifier: MIT */
/*
 * explore/scenarios_calls.c: calls that a VMM makes from outside: a log that is cleared by hand, looks from a
 * report, pre-faulting, copies, a clock page that is read, and signals to vCPUs that wait.
 */
#include "explore/scenario.h"
#include "explore/scenarios.h"
#include "explore/world.h"
#include "mmu/age.h"
#include "mmu/look.h"
#include "mmu/tree.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0], *const v1 = &world.vcpu[1];

/* ------------------------------------------------------------------ a log that is cleared by hand */

static u64 final_word, copied; /* the guest wrote last; the host read after it cleared */

static void write_twice(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 2; i++) {
		SCHED_CHECK(!guest_write(v0, 0, i), "a write fails");
		final_word = i;
	}
	mmu_vcpu_leave(v0);
}

/* As KVM_CLEAR_DIRTY_LOG is meant: get, clear what was got, then copy. */
static void get_and_clear(void *arg)
{
	u64 bits = 0;

	SCHED_CHECK(!mmu_dirty_get(world.mmu, 0, &bits), "there is no log");
	if (!(bits & 1))
		return;
	SCHED_CHECK(!mmu_dirty_clear(world.mmu, 0, 0, 1, &bits), "the log cannot be cleared");
	SCHED_CHECK(!model_read(world.model, WORLD_HVA, &copied), "the VMM's read fails");
}

static void setup_cleared(u64 how)
{
	final_word = copied = 0;
	world_create(1, 1, -1);
	/* The page is there, and dirty, before the log is. */
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_write(v0, 0, 0), "a write fails");
	mmu_vcpu_leave(v0);
	SCHED_CHECK(!mmu_set_manual_protect(world.mmu, how), "a log cannot be cleared by hand");
	world_set_slot(1, MMU_SLOT_LOG_DIRTY);
	sched_spawn("vcpu", write_twice, NULL);
	sched_spawn("clear", get_and_clear, NULL);
}

void setup_log_clear(void)
{
	setup_cleared(1);
}

/* All pages are in the log from the start. */
void setup_log_all(void)
{
	setup_cleared(3);
}

void check_log_clear(void)
{
	get_and_clear(NULL);
	SCHED_CHECK(copied == final_word, "the log's last clear shows %llu, the guest wrote %llu",
		    (unsigned long long)copied, (unsigned long long)final_word);
}

/* ------------------------------------------------------------------ reports, pre-faulting, copies */

static bool unmapped;

static void prefault_and_read(void *arg)
{
	u64 done, value;
	int r;

	r = mmu_prefault(v0, 0, 2 * PAGE_SIZE, &done);
	SCHED_CHECK(!r || r == -EFAULT, "pre-faulting ends with %d", r);
	SCHED_CHECK(r || done == 2 * PAGE_SIZE, "pre-faulting ends after %llu bytes", (unsigned long long)done);
	for (int i = 0; i < 2; i++) {
		bool was_unmapped = SCHED_SEE(unmapped);

		r = mmu_read_guest(world.mmu, PAGE_SIZE - sizeof(value) / 2, &value, sizeof(value));
		SCHED_CHECK(!r || r == -EFAULT, "a copy ends with %d", r);
		SCHED_CHECK(r || !was_unmapped, "memory is copied after its munmap");
	}
}

/* What was taken away is in no report; what is in one was there. */
static void look(void *arg)
{
	for (int i = 0; i < 2; i++) {
		bool was_unmapped = SCHED_SEE(unmapped);
		struct mmu_slot_seen slot;
		struct mmu_seen seen;

		mmu_look(world.mmu, 0, &seen);
		SCHED_CHECK(seen.slot && seen.hva == WORLD_HVA, "a report misses the memslot");
		SCHED_CHECK(!seen.mapped || !was_unmapped, "a report shows a leaf after the munmap");
		SCHED_CHECK(mmu_look_slots(world.mmu, &slot, 0) == 1, "a report misses the memslot");
		SCHED_CHECK(mmu_look_slots(world.mmu, &slot, 1) == 1, "a report misses the memslot");
		SCHED_CHECK(!slot.mapped[0] || !was_unmapped, "a report counts leaves after the munmap");
		SCHED_CHECK(!mmu_test_young(world.mmu, WORLD_HVA, WORLD_HVA + PAGE_SIZE) || !was_unmapped,
			    "what was unmapped is young");
	}
}

static void unmap(void *arg)
{
	model_munmap(world.model, WORLD_HVA, 2);
	SCHED_SET(unmapped, true);
}

void setup_reports(void)
{
	unmapped = false;
	world_create(1, 2, -1);
	sched_spawn("vcpu", prefault_and_read, NULL);
	sched_spawn("report", look, NULL);
	sched_spawn("munmap", unmap, NULL);
}

/* ------------------------------------------------------------------ a clock page is read, and given up */

static struct mmu_cache cache;

static int get_word(struct mmu_cache *c, void *arg)
{
	return mmu_cache_read(c, 0, arg, sizeof(u64));
}

static void read_and_give_up(void *arg)
{
	for (int i = 0; i < 2; i++) {
		bool was_unmapped = SCHED_SEE(unmapped);
		u64 word;
		int r = mmu_cache_use(&cache, MMU_CACHE_WAIT, get_word, &word);

		SCHED_CHECK(!r || r == -EFAULT, "a use ends with %d", r);
		SCHED_CHECK(r || !was_unmapped, "the host reads after the munmap");
	}
	mmu_cache_unset(&cache);
	SCHED_CHECK(mmu_cache_use(&cache, MMU_CACHE_WAIT, get_word, NULL) == -EFAULT,
		    "a cache that was given up is used");
}

void setup_cache_read(void)
{
	unmapped = false;
	world_create(1, 2, -1);
	mmu_cache_init(&cache, v0, 0);
	SCHED_CHECK(mmu_cache_set(&cache, PAGE_SIZE - 4, 8) == -EINVAL, "a cache lies in two pages");
	mmu_cache_set(&cache, 0, sizeof(u64));
	world.cache = &cache;
	sched_spawn("cache", read_and_give_up, NULL);
	sched_spawn("munmap", unmap, NULL);
}

/* ------------------------------------------------------------------ signals */

/* Until it succeeds: what a signal breaks off is begun anew, and what a fault does that ends the vCPU's stop. */
static void write_word(struct mmu_vcpu *v, u64 value)
{
	int r;

	while ((r = guest_write(v, 0, value)) == -EINTR || r == -EAGAIN)
		world_interrupt(v, false);
	SCHED_CHECK(!r, "a write ends with %d", r);
}

static bool holding; /* v0 holds the others */

static void stop_or_not(void *arg)
{
	bool stopped;

	mmu_vcpu_enter(v0);
	while (!(stopped = mmu_stop_others(v0)) && world_interrupted(v0))
		world_interrupt(v0, false);
	if (stopped) {
		holding = true;
		sched_point("holds the others", NULL);
		holding = false;
		write_word(v0, 1);
		if (mmu_stops_others(v0))
			mmu_start_others(v0);
	}
	mmu_vcpu_leave(v0);
}

static void write_and_leave(void *arg)
{
	for (int i = 0; i < 2; i++) {
		mmu_vcpu_enter(v1);
		write_word(v1, 2);
		SCHED_CHECK(!holding, "a vCPU is in guest mode while the world was stopped");
		mmu_vcpu_leave(v1);
	}
}

static void signal_both(void *arg)
{
	world_interrupt(v0, true);
	world_interrupt(v1, true);
}

void setup_signals(void)
{
	holding = false;
	world_create(2, 1, -1);
	sched_spawn("stopper", stop_or_not, NULL);
	sched_spawn("vcpu", write_and_leave, NULL);
	sched_spawn("signals", signal_both, NULL);
}

/* ------------------------------------------------------------------ calls that are refused */

static int region(u32 slot, u32 flags, gpa_t gpa, u64 size, hva_t hva)
{
	struct mmu_region r = {.slot = slot, .flags = flags, .gpa = gpa, .size = size, .hva = hva};

	return mmu_set_region(world.mmu, &r);
}

static void expect(int r, int error)
{
	SCHED_CHECK(r == error, "a call ends with %d, and not with %d", r, error);
}

#define LARGE_GPA (1ULL << 44)
#define LARGEST	  (((1ULL << 31) - 1) * PAGE_SIZE)

static void refused_regions(void)
{
	expect(region(MMU_USER_SLOTS, 0, 0, PAGE_SIZE, WORLD_HVA), -EINVAL);
	expect(region(1 << 16, 0, 0, PAGE_SIZE, WORLD_HVA), -EINVAL);
	expect(region(1, 0, WORLD_ALIAS + 1, PAGE_SIZE, WORLD_HVA), -EINVAL);
	expect(region(1, 0, WORLD_ALIAS, PAGE_SIZE, -PAGE_SIZE), -EINVAL);
	expect(region(1, 0, -PAGE_SIZE, 2 * PAGE_SIZE, WORLD_HVA), -EINVAL);
	expect(region(1, 0, TREE_MAX_GFN << PAGE_SHIFT, PAGE_SIZE, WORLD_HVA), -EINVAL);
	expect(region(0, 0, 0, PAGE_SIZE, WORLD_HVA), -EINVAL); /* it has another size */
	expect(region(1, 0, 0, 0, 0), -EINVAL); /* there is none to be deleted */
	expect(region(1, 0, 0, PAGE_SIZE, WORLD_HVA), -EEXIST);
	expect(region(0, 0, 0, 2 * PAGE_SIZE, WORLD_HVA + PAGE_SIZE), -EINVAL); /* it shows other memory */
	expect(region(0, MMU_SLOT_READONLY, 0, 2 * PAGE_SIZE, WORLD_HVA), -EINVAL);
	expect(region(1, 0, LARGE_GPA, LARGEST + PAGE_SIZE, PAGE_SIZE), -EINVAL);
	expect(region(1, 0, LARGE_GPA, LARGEST, PAGE_SIZE), 0); /* and one that is as large as may be */
	expect(region(1, 0, 0, 0, 0), 0);
}

static void refused_logs(void)
{
	u64 bits[1] = {1};
	u32 n;

	expect(mmu_dirty_get(world.mmu, MMU_USER_SLOTS, bits), -EINVAL);
	expect(mmu_dirty_get(world.mmu, 0, bits), -ENOENT);
	expect(mmu_dirty_get(world.mmu, 1, bits), -ENOENT);
	expect(mmu_dirty_clear(world.mmu, 0, 1, 1, bits), -EINVAL);
	expect(mmu_dirty_clear(world.mmu, 0, 0, 1, bits), -ENOENT);
	expect(mmu_set_manual_protect(world.mmu, 2), -EINVAL);
	expect(mmu_set_manual_protect(world.mmu, 4), -EINVAL);
	expect(mmu_ring_enable(world.mmu, 3), -EINVAL);
	expect(mmu_ring_reset(world.mmu, &n), -EINVAL);
	expect(mmu_set_attributes(world.mmu, 0, 0, MMU_ATTR_PRIVATE), -EINVAL);
	expect(mmu_set_attributes(world.mmu, 0, 1, ~MMU_ATTR_PRIVATE), -EINVAL);
}

/* None of them changes anything: what a vCPU wrote before is there after them, until the munmap. */
static void refused(void *arg)
{
	struct mmu_seen seen;

	refused_regions();
	refused_logs();
	mmu_look(world.mmu, WORLD_ALIAS >> PAGE_SHIFT, &seen);
	SCHED_CHECK(!seen.slot && !seen.mapped, "a report shows a memslot that was refused");
	unmap(arg);
}

static void write_until_unmapped(void *arg)
{
	u64 value;
	int r;

	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 2; i++) {
		bool was_unmapped = SCHED_SEE(unmapped);

		r = guest_write(v0, 0, i);
		SCHED_CHECK(!r || r == -EFAULT, "a write ends with %d", r);
		SCHED_CHECK(r || !was_unmapped, "memory is written after its munmap");
		if (!r && !guest_read(v0, 0, &value))
			SCHED_CHECK(value == i, "a refused call changes memory");
	}
	mmu_vcpu_leave(v0);
}

void setup_refused(void)
{
	unmapped = false;
	world_create(1, 2, -1);
	sched_spawn("vcpu", write_until_unmapped, NULL);
	sched_spawn("vmm", refused, NULL);
}
