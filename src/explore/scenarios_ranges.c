/* SPDX-License-Identifier: MIT */
/*
 * explore/scenarios_ranges.c: ranges that are not whole: attributes of some gfns of a piece, a memslot that shows
 * a part of a huge page, a log of which some pages are cleared, and more invalidations than are remembered.
 */
#include "explore/scenario.h"
#include "explore/scenarios.h"
#include "explore/world.h"
#include "mmu/attributes.h"
#include "mmu/invalidate.h"
#include "mmu/tree.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0];

/* ------------------------------------------------------------------ pieces of private memory */

#define FIRST_GFN 16 /* no memslot is there: an attribute needs none */
#define GFNS	  12
#define OTHER_GFN 64 /* a memslot is there */

static bool is_private[GFNS], changes[GFNS];
static unsigned nchanges;

static void change(unsigned first, unsigned n, bool private_)
{
	for (unsigned i = first; i < first + n; i++)
		changes[i] = is_private[i] != private_;
	nchanges++;
	SCHED_CHECK(!mmu_set_attributes(world.mmu, FIRST_GFN + first, n, private_ ? MMU_ATTR_PRIVATE : 0),
		    "a conversion fails");
	for (unsigned i = first; i < first + n; i++) {
		is_private[i] = private_;
		changes[i] = false;
	}
}

/* Of a gfn that is about to change, or did so meanwhile, either answer is right. */
static void compare_attributes(void)
{
	for (unsigned i = 0; i < GFNS; i++) {
		bool was_private = is_private[i], changed = changes[i];
		unsigned before = nchanges;
		bool now = mmu_is_private(world.mmu, FIRST_GFN + i);

		SCHED_CHECK(changed || nchanges != before || now == was_private, "gfn %u should be %s", FIRST_GFN + i,
			    was_private ? "private" : "shared");
	}
}

/* Holes, cuts at either end, pieces that join, and what changes nothing. */
static void change_ranges(void *arg)
{
	static const struct {
		u8 first, n;
		bool private_;
	} calls[] = {{2, 6, true},  {4, 1, false}, {6, 4, false}, {0, 2, true},	 {5, 1, true},	{4, 1, true},
		     {1, 2, false}, {1, 2, true},  {8, 1, true},  {3, 1, false}, {0, 12, false}, {0, 12, false}};

	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		change(calls[i].first, calls[i].n, calls[i].private_);
		compare_attributes();
	}
	/* In a memslot that begins in its block, and where stage 2 ends. */
	SCHED_CHECK(!mmu_set_attributes(world.mmu, OTHER_GFN + 1, 1, MMU_ATTR_PRIVATE), "a conversion fails");
	SCHED_CHECK(!mmu_set_attributes(world.mmu, TREE_MAX_GFN + 1, 1, MMU_ATTR_PRIVATE), "a conversion fails");
	SCHED_CHECK(mmu_is_private(world.mmu, TREE_MAX_GFN + 1) && mmu_is_private(world.mmu, OTHER_GFN + 1) &&
			    !mmu_is_private(world.mmu, OTHER_GFN),
		    "gfns should be private");
}

static void ask_attributes(void *arg)
{
	for (int i = 0; i < 4; i++) {
		sched_point("asks", NULL);
		compare_attributes();
	}
}

void setup_attributes(void)
{
	struct mmu_region other = {
		.slot = 1, .gpa = OTHER_GFN * PAGE_SIZE, .size = 2 * PAGE_SIZE, .hva = WORLD_HVA};

	memset(is_private, 0, sizeof(is_private));
	memset(changes, 0, sizeof(changes));
	nchanges = 0;
	world_create(1, 2, -1);
	SCHED_CHECK(!mmu_set_region(world.mmu, &other), "a memslot cannot be made");
	sched_spawn("convert", change_ranges, NULL);
	sched_spawn("asks", ask_attributes, NULL);
}

/* ------------------------------------------------------------------ a part of a huge page */

#define HUGE_GFN WORLD_HUGE_PAGES /* the block of gfns in which the memslots lie */

static bool unmapped;

/* Three pages of a huge page, from `page` on, at gfn. */
static void part(gfn_t gfn, u64 page)
{
	struct mmu_region r = {.gpa = gfn * PAGE_SIZE,
			       .size = 3 * PAGE_SIZE,
			       .hva = WORLD_HUGE_HVA + page * PAGE_SIZE};

	world.vm[0].hva = r.hva - r.gpa;
	SCHED_CHECK(!world_set_slot(0, 0), "a memslot cannot be deleted");
	SCHED_CHECK(!mmu_set_region(world.mmu, &r), "a memslot cannot be made");
}

static void touch_part(gfn_t gfn)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (u64 i = 0; i < 3; i++) {
		bool was_unmapped = SCHED_SEE(unmapped);
		gpa_t gpa = (gfn + i) * PAGE_SIZE;
		int r = guest_write(v0, gpa, i + 1);

		SCHED_CHECK(!r || r == -EFAULT, "a write ends with %d", r);
		SCHED_CHECK(r || !was_unmapped, "memory is reached after its munmap returned");
		if (!r && !guest_read(v0, gpa, &value))
			SCHED_CHECK(value == i + 1, "page %llu reads %llu", (unsigned long long)i,
				    (unsigned long long)value);
	}
	SCHED_CHECK(guest_read(v0, (gfn - 1) * PAGE_SIZE, &value) == -ENOENT, "what is before the memslot is there");
	SCHED_CHECK(guest_read(v0, (gfn + 3) * PAGE_SIZE, &value) == -ENOENT, "what is behind the memslot is there");
	mmu_vcpu_leave(v0);
}

static void touch_middle(void *arg)
{
	touch_part(HUGE_GFN + 1);
}

static void touch_end(void *arg)
{
	touch_part(2 * HUGE_GFN - 3);
}

static void touch_shifted(void *arg)
{
	touch_part(HUGE_GFN + 8);
}

static void unmap_huge(void *arg)
{
	model_munmap(world.model, WORLD_HUGE_HVA, WORLD_HUGE_PAGES);
	SCHED_SET(unmapped, true);
}

static void setup_part(gfn_t gfn, u64 page, sched_actor_fn *touch)
{
	unmapped = false;
	world_create(1, WORLD_HUGE_PAGES, -1);
	part(gfn, page);
	sched_spawn("vcpu", touch, NULL);
	sched_spawn("munmap", unmap_huge, NULL);
}

void setup_part_middle(void)
{
	setup_part(HUGE_GFN + 1, 1, touch_middle);
}

void setup_part_end(void)
{
	setup_part(2 * HUGE_GFN - 3, WORLD_HUGE_PAGES - 3, touch_end);
}

/* It begins where the block does. */
static void touch_begin(void *arg)
{
	touch_part(HUGE_GFN);
}

void setup_part_begin(void)
{
	setup_part(HUGE_GFN, 0, touch_begin);
}

/* All of a block of gfns, and parts of two huge pages. */
static void touch_two(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (u64 i = 0; i < 2; i++) {
		bool was_unmapped = SCHED_SEE(unmapped);
		gpa_t gpa = (2 * HUGE_GFN - 1 - i * (HUGE_GFN - 1)) * PAGE_SIZE;
		int r = guest_write(v0, gpa, i + 1);

		SCHED_CHECK(!r || r == -EFAULT, "a write ends with %d", r);
		SCHED_CHECK(r || i || !was_unmapped, "memory is reached after its munmap returned");
		if (!r && !guest_read(v0, gpa, &value))
			SCHED_CHECK(value == i + 1, "a page reads %llu", (unsigned long long)value);
	}
	mmu_vcpu_leave(v0);
}

static void unmap_second(void *arg)
{
	model_munmap(world.model, WORLD_HUGE_HVA + LEVEL_SIZE(LEVEL_2M), WORLD_HUGE_PAGES);
	SCHED_SET(unmapped, true);
}

void setup_part_two(void)
{
	struct mmu_region r = {.gpa = HUGE_GFN * PAGE_SIZE,
			       .size = WORLD_HUGE_PAGES * PAGE_SIZE,
			       .hva = WORLD_HUGE_HVA + 8 * PAGE_SIZE};

	unmapped = false;
	world_create(1, 2 * WORLD_HUGE_PAGES, -1);
	world.vm[0].hva = r.hva - r.gpa;
	SCHED_CHECK(!world_set_slot(0, 0) && !mmu_set_region(world.mmu, &r), "a memslot cannot be made");
	sched_spawn("vcpu", touch_two, NULL);
	sched_spawn("munmap", unmap_second, NULL);
}

/* Small pages on either side of a boundary of tables. */
static void touch_boundary(void *arg)
{
	touch_part(HUGE_GFN - 1);
}

static void unmap_small(void *arg)
{
	model_munmap(world.model, WORLD_HVA, 3);
	SCHED_SET(unmapped, true);
}

void setup_part_boundary(void)
{
	struct mmu_region r = {.gpa = (HUGE_GFN - 1) * PAGE_SIZE, .size = 3 * PAGE_SIZE, .hva = WORLD_HVA};

	unmapped = false;
	world_create(1, 3, -1);
	world.vm[0].hva = r.hva - r.gpa;
	SCHED_CHECK(!world_set_slot(0, 0) && !mmu_set_region(world.mmu, &r), "a memslot cannot be made");
	sched_spawn("vcpu", touch_boundary, NULL);
	sched_spawn("munmap", unmap_small, NULL);
}

/* Guest and host addresses lie at different places of their blocks. */
void setup_part_shifted(void)
{
	setup_part(HUGE_GFN + 8, 4, touch_shifted);
}

/* A huge leaf would show what the memslot does not. */
void check_part(void)
{
	struct mmu_stats stats;

	mmu_get_stats(world.mmu, &stats);
	SCHED_CHECK(!stats.pages_2m, "a part of a huge page is mapped by a huge leaf");
}

/* ------------------------------------------------------------------ a log of which some pages are cleared */

#define LOG_WORDS (WORLD_HUGE_PAGES / 64)

static const u64 logged[] = {1, 3, 5, 65}; /* pages that are written */

static u64 final_word[ARRAY_SIZE(logged)], copied[ARRAY_SIZE(logged)];

static void write_logged(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 2; i++) {
		for (unsigned n = 0; n < ARRAY_SIZE(logged); n++) {
			SCHED_CHECK(!guest_write(v0, logged[n] * PAGE_SIZE, i), "a write fails");
			final_word[n] = i;
		}
	}
	mmu_vcpu_leave(v0);
}

/* Clear the pages of `mask` in words from `first` on, of those that the log shows, and copy them. */
static void clear_some(u64 first, u32 npages, u64 mask)
{
	u64 bits[LOG_WORDS], some[LOG_WORDS] = {0};

	SCHED_CHECK(!mmu_dirty_get(world.mmu, 0, bits), "there is no log");
	for (u64 w = first / 64; w < first / 64 + (npages + 63) / 64; w++)
		some[w] = bits[w] & mask;
	SCHED_CHECK(!mmu_dirty_clear(world.mmu, 0, first, npages, &some[first / 64]), "the log cannot be cleared");
	for (unsigned n = 0; n < ARRAY_SIZE(logged); n++) {
		if (some[logged[n] / 64] & BIT(logged[n] % 64))
			model_read(world.model, WORLD_HUGE_HVA + logged[n] * PAGE_SIZE, &copied[n]);
	}
}

static void refuse_to_clear(void)
{
	u64 bits[LOG_WORDS] = {1};

	SCHED_CHECK(mmu_dirty_clear(world.mmu, 0, 2 * WORLD_HUGE_PAGES, 64, bits) == -EINVAL,
		    "pages behind the memslot are cleared");
	SCHED_CHECK(mmu_dirty_clear(world.mmu, 0, 64, WORLD_HUGE_PAGES, bits) == -EINVAL,
		    "more pages are cleared than there are");
	SCHED_CHECK(mmu_dirty_clear(world.mmu, 0, 64, 63, bits) == -EINVAL, "a part of a word is cleared");
	SCHED_CHECK(mmu_dirty_clear(world.mmu, 0, 0, 64, NULL) == -EFAULT, "what is not there is cleared");
}

static void clear_parts(void *arg)
{
	refuse_to_clear();
	clear_some(0, 64, ~8ULL);
	clear_some(64, WORLD_HUGE_PAGES - 64, ~0ULL);
	clear_some(0, WORLD_HUGE_PAGES, 8);
}

static void setup_partly_cleared(u64 how)
{
	memset(final_word, 0, sizeof(final_word));
	memset(copied, 0, sizeof(copied));
	world_create(1, WORLD_HUGE_PAGES, -1);
	SCHED_CHECK(!mmu_set_manual_protect(world.mmu, how), "a log cannot be cleared by hand");
	SCHED_CHECK(!world_set_slot(WORLD_HUGE_PAGES, MMU_SLOT_LOG_DIRTY), "no log");
	sched_spawn("vcpu", write_logged, NULL);
	sched_spawn("clear", clear_parts, NULL);
}

void setup_log_part(void)
{
	setup_partly_cleared(1);
}

/* Every page is in it from the start. */
void setup_log_part_all(void)
{
	setup_partly_cleared(3);
}

void check_log_part(void)
{
	clear_some(0, WORLD_HUGE_PAGES, ~0ULL);
	for (unsigned n = 0; n < ARRAY_SIZE(logged); n++)
		SCHED_CHECK(copied[n] == final_word[n], "the log's last clear shows %llu of page %llu, which holds %llu",
			    (unsigned long long)copied[n], (unsigned long long)logged[n],
			    (unsigned long long)final_word[n]);
}

/* ------------------------------------------------------------------ more invalidations than are remembered */

static void read_until_unmapped(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		bool was_unmapped = SCHED_SEE(unmapped);
		int r = guest_read(v0, 0, &value);

		SCHED_CHECK(!r || r == -EFAULT, "a read ends with %d", r);
		SCHED_CHECK(r || !was_unmapped, "memory is reached after its munmap returned");
	}
	mmu_vcpu_leave(v0);
}

static void unmap_then_others(void *arg)
{
	model_munmap(world.model, WORLD_HVA, 1);
	for (int i = 0; i < MMU_RECENT; i++)
		mmu_invalidate_end(mmu_invalidate_begin(world.mmu, WORLD_HUGE_HVA, WORLD_HUGE_HVA + PAGE_SIZE));
	SCHED_SET(unmapped, true);
}

void setup_many(void)
{
	unmapped = false;
	world_create(1, 1, -1);
	sched_spawn("vcpu", read_until_unmapped, NULL);
	sched_spawn("munmap", unmap_then_others, NULL);
}
