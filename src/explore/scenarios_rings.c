/* SPDX-License-Identifier: MIT */
/*
 * explore/scenarios_rings.c: dirty rings: one page after another until there is no room, and what the host writes for
 * a vCPU. The VMM collects entries and resets, as in scenarios_requests.c.
 */
#include "explore/scenario.h"

#include <stdlib.h>
#include "explore/scenarios.h"
#include "explore/world.h"
#include "sync/atomic.h"

#define RING_ENTRIES  128
#define RING_LARGE    1024 /* a reset takes 512 at a time */
#define RING_RESERVED 64 /* which a full ring keeps free (mmu/ring.c) */
#define FULL	      (1u << MMU_REQ_OWNER_SHIFT)
#define PAGES	      4
#define ALIAS_PAGE    3 /* is in a second memslot as well */

static struct mmu_vcpu *const v0 = &world.vcpu[0];
static struct mmu_dirty_gfn ring[RING_LARGE];
static u32 entries; /* of it that are used */
static u32 collected;
static u64 final_word[PAGES], copied[PAGES];

/* Collects what is there, resets and looks at it. How many entries it was. */
static u32 collect(void)
{
	bool shown[PAGES] = {false};
	u32 before = collected, n;

	while (sync_load_acquire(&ring[collected % entries].flags) == MMU_DIRTY_GFN_DIRTY) {
		struct mmu_dirty_gfn *e = &ring[collected % entries];
		u64 page = sync_load(&e->slot) ? ALIAS_PAGE : sync_load(&e->offset);

		SCHED_CHECK(page < PAGES, "page %llu is listed", (unsigned long long)page);
		shown[page] = true;
		sync_store_release(&e->flags, MMU_DIRTY_GFN_RESET);
		collected++;
	}
	SCHED_CHECK(!mmu_ring_reset(world.mmu, &n), "the ring cannot be reset");
	SCHED_CHECK(n == collected - before, "%u entries were collected, %u taken out", collected - before, n);
	for (u64 page = 0; page < PAGES; page++) {
		if (shown[page])
			model_read(world.model, WORLD_HVA + page * PAGE_SIZE, &copied[page]);
	}
	return n;
}

void check_rings(void)
{
	collect();
	for (u64 page = 0; page < PAGES; page++)
		SCHED_CHECK(copied[page] == final_word[page], "the last reset shows %llu of page %llu, which holds %llu",
			    (unsigned long long)copied[page], (unsigned long long)page,
			    (unsigned long long)final_word[page]);
}

/* A ring in which so many entries are used already: they list page 0. */
static void world_with_ring(u32 nvcpus, u32 size, u32 used)
{
	entries = size;
	memset(ring, 0, sizeof(ring));
	memset(final_word, 0, sizeof(final_word));
	memset(copied, 0, sizeof(copied));
	collected = 0;
	world_create(nvcpus, PAGES, -1);
	for (u64 page = 0; page < PAGES; page++)
		model_write(world.model, WORLD_HVA + page * PAGE_SIZE, 0);
	SCHED_CHECK(!mmu_ring_enable(world.mmu, size), "there are no rings");
	SCHED_CHECK(mmu_ring_enable(world.mmu, size) == -EINVAL, "rings are enabled twice");
	for (u32 i = 0; i < used; i++)
		ring[i] = (struct mmu_dirty_gfn){.flags = MMU_DIRTY_GFN_DIRTY};
	mmu_ring_attach(v0, ring, FULL);
	v0->ring.added = used;
	SCHED_CHECK(!world_set_slot(PAGES, MMU_SLOT_LOG_DIRTY), "no log");
}

/* ------------------------------------------------------------------ no room */

static bool room_again(void *arg)
{
	return v0->ring.added - v0->ring.taken < RING_ENTRIES - RING_RESERVED; /* no step of the vCPU's */
}

/* As a run: whoever is told that the ring is full goes to the VMM, and comes again when there is room. */
static void write_until_full(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 page = 1; page < PAGES; page++) {
		int r = guest_write(v0, page * PAGE_SIZE, page);

		if (r == -EINTR) {
			SCHED_CHECK(sync_load(&v0->requests) & FULL, "a full ring asks nobody to leave");
			mmu_vcpu_leave(v0);
			sched_wait("room in the ring", room_again, NULL);
			mmu_vcpu_enter(v0);
			r = guest_write(v0, page * PAGE_SIZE, page);
		}
		SCHED_CHECK(!r, "a write ends with %d", r);
		SCHED_CHECK(v0->ring.added - v0->ring.taken <= entries - RING_RESERVED, "a page is listed in a full ring");
		final_word[page] = page;
	}
	mmu_vcpu_leave(v0);
}

static void collect_once(void *arg)
{
	collect();
}

static void collect_until_room(void *arg)
{
	collect();
	collect();
}

/* One entry more than fit, less the two pages that may be listed. The second vCPU has no ring yet. */
void setup_ring_full(void)
{
	world_with_ring(2, RING_ENTRIES, RING_ENTRIES - RING_RESERVED - 2);
	sched_spawn("vcpu", write_until_full, NULL);
	sched_spawn("collect", collect_until_room, NULL);
}

/* ------------------------------------------------------------------ what the host writes */

static struct mmu_cache cache;

static int put_word(struct mmu_cache *c, void *arg)
{
	return mmu_cache_write(c, 0, arg, sizeof(u64));
}

/* A clock page, which the guest writes to as well, by the thread of its vCPU. */
static void write_for_vcpu(void *arg)
{
	for (u64 i = 1; i <= 3; i++) {
		u64 word = i;

		SCHED_CHECK(!mmu_cache_use(&cache, MMU_CACHE_WAIT, put_word, &word), "a use fails");
		final_word[1] = word;
		if (i == 2)
			continue;
		mmu_vcpu_enter(v0);
		SCHED_CHECK(!guest_write(v0, 2 * PAGE_SIZE, i) && !guest_write(v0, WORLD_ALIAS, i), "a write fails");
		final_word[2] = final_word[ALIAS_PAGE] = i;
		mmu_vcpu_leave(v0);
	}
}

static void set_cache(void)
{
	mmu_cache_init(&cache, v0, 0);
	mmu_cache_set(&cache, PAGE_SIZE, sizeof(u64));
	world.cache = &cache;
}

void setup_ring_host(void)
{
	struct mmu_region r = {.slot = 1,
			       .flags = MMU_SLOT_LOG_DIRTY,
			       .gpa = WORLD_ALIAS,
			       .size = PAGE_SIZE,
			       .hva = WORLD_HVA + ALIAS_PAGE * PAGE_SIZE};

	world_with_ring(1, RING_ENTRIES, 0);
	world.alias = r.hva;
	SCHED_CHECK(!mmu_set_region(world.mmu, &r), "a memslot cannot be made");
	set_cache();
	sched_spawn("vcpu", write_for_vcpu, NULL);
	sched_spawn("collect", collect_once, NULL);
}

/* Nothing is written that could not be listed. */
static void write_if_room(void *arg)
{
	for (u64 page = 1; page <= 2; page++) {
		u64 word = page;
		int r;

		mmu_cache_set(&cache, page * PAGE_SIZE, sizeof(u64));
		r = mmu_cache_use(&cache, MMU_CACHE_WAIT, put_word, &word);
		SCHED_CHECK(!r || r == -EINTR, "a use ends with %d", r);
		if (!r)
			final_word[page] = word;
		SCHED_CHECK(!mmu_ring_full(v0) || r || (sync_load(&v0->requests) & FULL),
			    "a full ring asks nobody to leave");
	}
}

static void setup_host_writes(u32 used)
{
	world_with_ring(1, RING_ENTRIES, used);
	set_cache();
	sched_spawn("host", write_if_room, NULL);
	sched_spawn("collect", collect_once, NULL);
}

void setup_ring_host_full(void)
{
	setup_host_writes(RING_ENTRIES - RING_RESERVED - 1);
}

void setup_ring_no_room(void)
{
	setup_host_writes(RING_ENTRIES - 1);
}

/* ------------------------------------------------------------------ entries of a memslot that is gone */

static void write_if_there(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 0; i < 4; i++) {
		int r = guest_write(v0, i % 3 * PAGE_SIZE, i);

		SCHED_CHECK(!r || r == -ENOENT, "a write ends with %d", r);
	}
	mmu_vcpu_leave(v0);
}

/* The VMM collects what was listed before; the memslot may be gone, or smaller, or keep no log by then. */
static void collect_of_gone(void *arg)
{
	SCHED_CHECK(!world_set_slot(0, 0), "the memslot cannot be deleted");
	collect();
	SCHED_CHECK(!world_set_slot(1, MMU_SLOT_LOG_DIRTY), "it cannot be made anew");
	collect();
	SCHED_CHECK(!world_set_slot(1, 0), "its log cannot be ended");
	collect();
}

static void collect_of_smaller(void *arg)
{
	SCHED_CHECK(!world_set_slot(0, 0), "the memslot cannot be deleted");
	SCHED_CHECK(!world_set_slot(1, MMU_SLOT_LOG_DIRTY), "it cannot be made anew");
	collect();
}

/* All pages are in logs from the start, where there are any: a ring has no such promise. */
static void setup_gone(sched_actor_fn *fn)
{
	world_with_ring(1, RING_ENTRIES, 0);
	SCHED_CHECK(!mmu_set_manual_protect(world.mmu, 3), "a log cannot be cleared by hand");
	SCHED_CHECK(!world_set_slot(PAGES, 0) && !world_set_slot(PAGES, MMU_SLOT_LOG_DIRTY), "no log");
	sched_spawn("vcpu", write_if_there, NULL);
	sched_spawn("collect", fn, NULL);
}

void setup_ring_gone(void)
{
	setup_gone(collect_of_gone);
}

void setup_ring_smaller(void)
{
	setup_gone(collect_of_smaller);
}

void check_ring_gone(void)
{
	collect();
}

/* ------------------------------------------------------------------ what the VMM writes into its ring */

/* It names memslots and pages that there are none of; the vCPU goes on. */
static void forge_and_reset(void *arg)
{
	u32 n;

	ring[0] = (struct mmu_dirty_gfn){MMU_DIRTY_GFN_RESET, MMU_USER_SLOTS + 5, 0};
	ring[1] = (struct mmu_dirty_gfn){MMU_DIRTY_GFN_RESET, 0, 1ULL << 40};
	ring[2] = (struct mmu_dirty_gfn){MMU_DIRTY_GFN_RESET, 7, 0};
	SCHED_CHECK(!mmu_ring_reset(world.mmu, &n), "the ring cannot be reset");
	SCHED_CHECK(n >= 3, "%u entries were taken out", n);
	collected = n;
	collect();
}

void setup_ring_forged(void)
{
	world_with_ring(1, RING_ENTRIES, 3);
	sched_spawn("vcpu", write_until_full, NULL);
	sched_spawn("vmm", forge_and_reset, NULL);
}

/* ------------------------------------------------------------------ more than a reset takes at a time */

void setup_ring_large(void)
{
	world_with_ring(1, RING_LARGE, RING_LARGE / 2 + 10);
	sched_spawn("vcpu", write_until_full, NULL);
	sched_spawn("collect", collect_once, NULL);
}
