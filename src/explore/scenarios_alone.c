/* SPDX-License-Identifier: MIT */
/*
 * explore/scenarios_alone.c: what one thread does with nobody beside it, and so in one schedule: long sequences of
 * fills and flushes of a TLB, memslots by the hundred, and what reports say.
 */
#include "explore/scenario.h"
#include "explore/scenarios.h"
#include "explore/world.h"
#include "mmu/flush.h"
#include "mmu/look.h"
#include "mmu/tree.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0], *const v1 = &world.vcpu[1];

/* ------------------------------------------------------------------ a TLB */

#define LA	   0x7f0000001000ULL
#define SAME_SLOT  (TLB_ENTRIES * PAGE_SIZE)
#define SHARED	   0xffff800000002000ULL
#define LARGE	   0x40000000ULL
#define LARGE_SIZE LEVEL_SIZE(LEVEL_2M)
#define LARGER_SIZE LEVEL_SIZE(LEVEL_1G)
#define TO_WRITE   (MMU_READ | MMU_WRITE)

static struct tlb_second_entry second[TLB_SECOND_ENTRIES];
static struct mmu_vcpu other; /* v1, as it was */

/* `page` is of the guest's memory. */
static void fill(enum tlb_mode m, u64 linear, u64 page, unsigned perm, bool global)
{
	struct mmu_xlat x;

	SCHED_CHECK(!mmu_translate(v0, page * PAGE_SIZE, perm, &x), "a translation fails");
	mmu_tlb_fill(v0, m, linear, page * PAGE_SIZE, &x, perm, global);
}

/* What an entry allows, in the first level. */
static void expect(enum tlb_mode m, u64 la, unsigned perm)
{
	SCHED_CHECK(!tlb_read(&v0->tlb[m], la, 8) == !(perm & MMU_READ), "a read of %llx %s", (unsigned long long)la,
		    perm & MMU_READ ? "misses" : "hits");
	SCHED_CHECK(!tlb_write(&v0->tlb[m], la, 8) == !(perm & MMU_WRITE), "a write of %llx %s",
		    (unsigned long long)la, perm & MMU_WRITE ? "misses" : "hits");
}

/* The same of what the second level brings back. */
static void expect_back(enum tlb_mode m, u64 la, unsigned perm)
{
	bool back = mmu_tlb_refill(v0, m, la, 8, false);

	SCHED_CHECK(back == !!(perm & MMU_READ), "%llx %s", (unsigned long long)la,
		    back ? "comes back" : "does not come back");
	expect(m, la, perm);
}

static void keep_near(u64 la)
{
	SCHED_CHECK(mmu_tlb_near(v0, TLB_USER, la, 8, false), "an entry is not there to be copied");
	SCHED_CHECK(la + v0->near[TLB_USER].neg_read < PAGE_SIZE, "what is copied is another entry");
}

static void expect_no_near(u64 la)
{
	SCHED_CHECK(la + v0->near[TLB_USER].neg_read >= PAGE_SIZE && la + v0->near[TLB_USER].neg_write >= PAGE_SIZE,
		    "the copy of an entry is kept");
}

/* No more than the guest's tables, the page and its log allow. */
static void fill_by_rights(void)
{
	fill(TLB_USER, LA, 0, TO_WRITE, false);
	fill(TLB_USER, LA + PAGE_SIZE, 0, MMU_READ, false);
	expect(TLB_USER, LA, TO_WRITE);
	expect(TLB_USER, LA + PAGE_SIZE, MMU_READ);
	expect(TLB_KERNEL, LA, 0);
	expect(TLB_USER, LA + SAME_SLOT, 0);
	fill(TLB_USER, LA, 3, MMU_READ, false); /* nobody has written there: not dirty yet */
	expect(TLB_USER, LA, MMU_READ);
	SCHED_CHECK(!mmu_tlb_near(v0, TLB_USER, LA, 8, true) && !mmu_tlb_near(v0, TLB_USER, LA + SAME_SLOT, 8, false),
		    "an entry is copied that does not serve");
	keep_near(LA);
	fill(TLB_USER, LA, 0, MMU_READ, false);
	expect_no_near(LA);
}

static void flush_pages(void)
{
	fill(TLB_USER, LA, 0, TO_WRITE, false);
	fill(TLB_KERNEL, LA, 0, TO_WRITE, true);
	fill(TLB_USER, LA + PAGE_SIZE, 1, TO_WRITE, false);
	keep_near(LA);
	SCHED_CHECK(mmu_tlb_flush_page(v0, LA + 8) == PAGE_SIZE, "more than a page is dropped for one");
	expect_no_near(LA);
	expect_back(TLB_USER, LA, 0);
	expect_back(TLB_KERNEL, LA, 0);
	expect(TLB_USER, LA + PAGE_SIZE, TO_WRITE);
	keep_near(LA + PAGE_SIZE);
	mmu_tlb_flush(v0);
	expect_no_near(LA + PAGE_SIZE);
	expect_back(TLB_USER, LA + PAGE_SIZE, 0);
}

/* In a large page, each in another slot: one that the first level has, and one that it has lost. */
static u64 in_large(u64 page)
{
	return LARGE + page * LARGE_SIZE + (page + 2) * PAGE_SIZE;
}

static u64 lost_of_large(u64 page)
{
	return LARGE + page * LARGE_SIZE + (page + 8) * PAGE_SIZE;
}

static void fill_large(u64 page)
{
	mmu_tlb_note_large(v0, LARGE + page * LARGE_SIZE, LARGE_SIZE);
	fill(TLB_USER, in_large(page), 1, TO_WRITE, page == 0);
	fill(TLB_KERNEL, lost_of_large(page), 2, MMU_READ, false);
	fill(TLB_KERNEL, lost_of_large(page) + 16 * SAME_SLOT, 2, MMU_READ, false);
}

/* INVLPG of any address in a page of 2 MiB drops all of it, of either level, and nothing beside it in the first. */
static void flush_large_pages(void)
{
	for (u64 i = 0; i < 3; i++) {
		for (u64 page = 0; page < 3; page++)
			fill_large(page);
		fill(TLB_USER, LA, 0, TO_WRITE, false);
		keep_near(in_large(i));
		SCHED_CHECK(mmu_tlb_flush_page(v0, LARGE - 1) == PAGE_SIZE &&
				    mmu_tlb_flush_page(v0, LARGE + 3 * LARGE_SIZE) == PAGE_SIZE,
			    "more than a page is dropped for one beside a large one");
		SCHED_CHECK(mmu_tlb_flush_page(v0, LARGE + (i + 1) * LARGE_SIZE - 1) == LARGE_SIZE,
			    "a large page is not dropped for one");
		expect_no_near(in_large(i));
		for (u64 page = 0; page < 3; page++)
			expect(TLB_USER, in_large(page), page == i ? 0 : TO_WRITE);
		expect_back(TLB_USER, in_large(i), 0);
		expect_back(TLB_KERNEL, lost_of_large(i), 0);
		expect_back(TLB_KERNEL, lost_of_large(i) + 16 * SAME_SLOT, MMU_READ);
		expect_back(TLB_USER, LA, TO_WRITE);
	}
	mmu_tlb_flush(v0);
	fill(TLB_USER, in_large(0), 1, TO_WRITE, false);
	SCHED_CHECK(mmu_tlb_flush_page(v0, LARGE) == PAGE_SIZE, "a large page is remembered beyond a flush of everything");
	expect(TLB_USER, in_large(0), TO_WRITE);
	fill_large(0);
	expect_back(TLB_KERNEL, lost_of_large(0), MMU_READ);
}

/* The same of pages that are larger: all there is, for an address of one or between two, below and above the first. */
static void flush_larger_pages(void)
{
	for (u64 i = 0; i < 3; i++) {
		for (u64 page = 0; page < 3; page++) {
			u64 la = LARGE + (page + 1) % 3 * LARGER_SIZE;

			mmu_tlb_note_large(v0, la + PAGE_SIZE, LARGER_SIZE);
			fill(TLB_USER, la + PAGE_SIZE, 1, TO_WRITE, false);
		}
		fill(TLB_USER, LA, 0, TO_WRITE, false);
		SCHED_CHECK(mmu_tlb_flush_page(v0, LARGE - 1) && mmu_tlb_flush_page(v0, LARGE + 3 * LARGER_SIZE),
			    "everything is dropped for a page beside a larger one");
		SCHED_CHECK(!mmu_tlb_flush_page(v0, LARGE + (i + 1) * LARGER_SIZE - 1), "part of a larger page is kept");
		for (u64 page = 0; page < 3; page++)
			expect_back(TLB_USER, LARGE + page * LARGER_SIZE + PAGE_SIZE, 0);
	}
}

static void switch_spaces(void)
{
	for (int how = 0; how < 5; how++) {
		unsigned kept = how == 4 ? TO_WRITE : 0, global = how == 2 ? 0 : TO_WRITE;

		mmu_tlb_switch(v0, 1, false);
		fill(TLB_USER, LA, 0, TO_WRITE, false);
		fill(TLB_KERNEL, SHARED, 1, TO_WRITE, true);
		keep_near(LA);
		SCHED_CHECK(mmu_tlb_switch(v0, 2, false), "another space is the same");
		expect_no_near(LA);
		expect_back(TLB_USER, LA, 0);
		expect(TLB_KERNEL, SHARED, TO_WRITE);
		if (how == 0)
			mmu_tlb_forget_space(v0, 1);
		else if (how == 1)
			mmu_tlb_forget_spaces(v0);
		else if (how == 2)
			mmu_tlb_flush(v0);
		mmu_tlb_switch(v0, 1, how != 3);
		expect_back(TLB_USER, LA, kept);
		expect(TLB_KERNEL, SHARED, global);
		expect_back(TLB_KERNEL, SHARED, global);
		SCHED_CHECK(!mmu_tlb_switch(v0, 1, true), "the same space is another one");
	}
}

/* Another page has taken the entry's place; then what it allows to write is code. */
static void take_rights(void)
{
	for (int all = 0; all < 2; all++) {
		fill(TLB_USER, LA, 0, TO_WRITE, false);
		fill(TLB_USER, LA + SAME_SLOT, 1, TO_WRITE, false);
		fill(TLB_USER, LA + PAGE_SIZE, 0, TO_WRITE, false);
		keep_near(LA + PAGE_SIZE);
		if (all)
			tlb_drop_writes(v0);
		else
			tlb_drop_writes_to(v0, (u64)tlb_read(&v0->tlb[TLB_USER], LA + PAGE_SIZE, 8));
		expect_no_near(LA + PAGE_SIZE);
		expect(TLB_USER, LA + PAGE_SIZE, MMU_READ);
		expect(TLB_USER, LA + SAME_SLOT, all ? MMU_READ : TO_WRITE);
		expect_back(TLB_USER, LA, MMU_READ);
		expect_back(TLB_USER, LA + SAME_SLOT, all ? MMU_READ : TO_WRITE);
		mmu_tlb_flush(v0);
	}
}

/* More entries than are listed one by one: of one space, or of all. */
static void fill_many(void)
{
	for (int global = 0; global < 2; global++) {
		for (u64 i = 0; i <= TLB_JOURNAL; i++)
			fill(TLB_KERNEL, SHARED + i * PAGE_SIZE, i & 1, TO_WRITE, global);
		fill(TLB_USER, LA, 0, TO_WRITE, !global);
		tlb_drop_writes_to(v0, (u64)tlb_read(&v0->tlb[TLB_USER], LA, 8));
		expect(TLB_USER, LA, MMU_READ);
		for (u64 i = 0; i <= TLB_JOURNAL; i++)
			expect(TLB_KERNEL, SHARED + i * PAGE_SIZE, i & 1 ? TO_WRITE : MMU_READ);
		mmu_tlb_switch(v0, 3 + (u32)global, false);
		for (u64 i = 0; i <= TLB_JOURNAL; i++)
			expect(TLB_KERNEL, SHARED + i * PAGE_SIZE, !global ? 0 : i & 1 ? TO_WRITE : MMU_READ);
		expect(TLB_USER, LA, global ? 0 : MMU_READ);
		mmu_tlb_flush(v0);
		for (u64 i = 0; i <= TLB_JOURNAL; i++)
			expect(TLB_KERNEL, SHARED + i * PAGE_SIZE, 0);
		expect(TLB_USER, LA, 0);
	}
}

static void fill_and_flush(void *arg)
{
	mmu_vcpu_enter(v0);
	fill_by_rights();
	flush_pages();
	flush_large_pages();
	flush_larger_pages();
	switch_spaces();
	take_rights();
	fill_many();
	mmu_vcpu_leave(v0);
	SCHED_CHECK(!memcmp(&other, v1, sizeof(other)), "another vCPU's TLB has changed");
}

void setup_tlb(void)
{
	world_create(2, 4, -1);
	model_write(world.model, WORLD_HVA + 3 * PAGE_SIZE, 1);
	memset(second, 0, sizeof(second));
	v0->second = second;
	other = *v1;
	sched_spawn("vcpu", fill_and_flush, NULL);
}

/* ------------------------------------------------------------------ memslots by the hundred */

#define FULL	  128u /* as many as are listed together (mmu/slot_array.c) */
#define FIRST_GFN 1000u
#define GFNS	  (3 * FULL + 8) /* from there on */
#define BEYOND	  (3 * FULL)	 /* of them, behind those that are there at first */
#define OTHER_ID  (2 * FULL)	 /* of a memslot that is not to be */

static u32 shown[GFNS]; /* id of the memslot of one page there, or 0 */
static u32 nslots;	/* beside slot 0 */

static int region(u32 id, u32 at, u64 pages)
{
	struct mmu_region r = {.slot = id, .gpa = (FIRST_GFN + at) * PAGE_SIZE, .size = pages * PAGE_SIZE,
			       .hva = WORLD_HVA + (id & 1) * PAGE_SIZE};

	return mmu_set_region(world.mmu, &r);
}

/* Each of the call's allocations fails in turn, and then none: what fails changes nothing. */
static void call(u32 id, u32 at, u64 pages, void (*look)(void))
{
	int r = -ENOMEM;

	for (unsigned n = 1; r; n++) {
		sched_fail_allocation(look ? n : 0);
		r = region(id, at, pages);
		sched_fail_allocation(0);
		SCHED_CHECK(!r || (look && r == -ENOMEM), "memslot %u ends with %d", id, r);
		if (r)
			look();
	}
}

static void look_at_slots(void)
{
	static struct mmu_slot_seen seen[2 * FULL + 1];
	const struct statpage_vm *stat = mmu_stat_page(world.mmu);
	u32 n = mmu_look_slots(world.mmu, seen, ARRAY_SIZE(seen)), i = 1;

	SCHED_CHECK(n == nslots + 1, "%u memslots are listed, and there are %u", n, nslots + 1);
	SCHED_CHECK(stat->memslots == n && stat->memslot_bytes == (n + 1) * PAGE_SIZE, /* slot 0 has two pages */
		    "%llu memslots are counted, and there are %u", (unsigned long long)stat->memslots, n);
	for (u32 at = 0; at < GFNS; at++) {
		struct mmu_seen one;

		mmu_look(world.mmu, FIRST_GFN + at, &one);
		SCHED_CHECK(one.slot == !!shown[at] && (!one.slot || one.id == shown[at]), "gfn %u shows memslot %u, not %u",
			    FIRST_GFN + at, one.slot ? one.id : 0, shown[at]);
		if (shown[at]) {
			SCHED_CHECK(seen[i].id == shown[at] && seen[i].base == FIRST_GFN + at,
				    "memslot %u is not the next one listed", shown[at]);
			i++;
		}
	}
}

/* A failure is looked for by one look only, for each is long. */
static void look_soon(void)
{
	struct mmu_seen one;

	mmu_look(world.mmu, FIRST_GFN, &one);
	SCHED_CHECK(one.slot && one.id == shown[0], "a call that found no memory changes memslots");
}

static void put(u32 at, bool fails)
{
	call(nslots + 1, at, 1, fails ? look_soon : NULL);
	shown[at] = ++nslots;
}

static void move(u32 from, u32 to)
{
	call(shown[from], to, 1, look_soon);
	shown[to] = shown[from];
	shown[from] = 0;
}

static void delete(u32 at)
{
	call(shown[at], 0, 0, look_soon);
	shown[at] = 0;
	nslots--;
}

/* Begins with as many as are listed together, slot 0 among them, at every third gfn. */
static void change_slots(void *arg)
{
	put(BEYOND, true); /* alone in a list */
	put(1, true);	   /* among the first of so many: half of them get a list of their own */
	for (u32 i = 1; i < FULL / 2 - 1; i++)
		put(3 * i + 1, false);
	put(2, false);
	look_at_slots();
	put(3 * (FULL / 2 - 4) + 2, true); /* among the last of so many */
	look_at_slots();
	move(BEYOND, BEYOND + 2); /* the only one of its list */
	move(3, BEYOND + 4);	  /* from one list to another */
	move(6, BEYOND + 1);
	look_at_slots();
	SCHED_CHECK(region(OTHER_ID, 0, 1) == -EEXIST, "two memslots overlap");
	SCHED_CHECK(region(OTHER_ID, BEYOND, 2) == -EEXIST, "a memslot overlaps the first of another list");
	delete(BEYOND + 2);
	delete(1);
	delete(BEYOND + 4);
	delete(BEYOND + 1);
	look_at_slots();
}

void setup_slots(void)
{
	memset(shown, 0, sizeof(shown));
	nslots = 0;
	world_create(1, 2, -1);
	for (u32 i = 0; i + 1 < FULL; i++)
		put(3 * i, false);
	sched_spawn("vmm", change_slots, NULL);
}

/* ------------------------------------------------------------------ what reports say */

static void fault_at(gpa_t gpa)
{
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_write(v0, gpa, 1), "a write fails");
	mmu_vcpu_leave(v0);
}

/* A report names the memory that the vCPU reaches, page by page, and counts what there is of it. */
static void look_at_pages(void *arg)
{
	struct mmu_stats stats;

	for (gfn_t gfn = 0; gfn < 4; gfn++) {
		struct mmu_seen seen;

		fault_at(gfn * PAGE_SIZE);
		mmu_look(world.mmu, gfn, &seen);
		SCHED_CHECK(seen.slot && !seen.id && seen.hva == world.vm[0].hva + gfn * PAGE_SIZE, "a report has page %llu elsewhere",
			    (unsigned long long)gfn);
		SCHED_CHECK(seen.mapped && seen.writable && seen.accessed && seen.dirty, "a report misses a written page");
		SCHED_CHECK(seen.host == (u64)tlb_read(&v0->tlb[TLB_USER], gfn * PAGE_SIZE, 8), "a report has another page");
	}
	mmu_get_stats(world.mmu, &stats);
	SCHED_CHECK(stats.pages_4k + stats.pages_2m * 4 == 4, "%llu pages are mapped", (unsigned long long)stats.pages_4k);
	SCHED_CHECK(stats.table_bytes <= (TREE_ROOT_LEVEL - LEVEL_4K) * 2 * sizeof(struct table) + sizeof(struct table),
		    "more tables are kept ready than one fault needs");
}

/* A memslot that is set once more as it is stays as it is, with what is mapped of it. */
static void set_again(void *arg)
{
	struct mmu_seen seen;

	fault_at(0);
	SCHED_CHECK(!world_set_slot(world.vm[0].pages, 0), "a memslot cannot be set once more");
	mmu_look(world.mmu, 0, &seen);
	SCHED_CHECK(seen.mapped, "a memslot that was set once more is faulted in anew");
}

/* With no other VM there is nobody to be told but this one's vCPUs, once. */
static void track_code(void)
{
	struct mmu_stats before, after;

	mmu_get_stats(world.mmu, &before);
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!mmu_code_track(v0, 0, 1), "code cannot be tracked");
	mmu_vcpu_leave(v0);
	mmu_get_stats(world.mmu, &after);
	SCHED_CHECK(after.remote_flushes == before.remote_flushes + 1, "code is tracked with %llu flushes",
		    (unsigned long long)(after.remote_flushes - before.remote_flushes));
}

/* Of a block that is mapped page by page for its log, those around the one that is written come with it. */
static void look_around(void)
{
	struct mmu_seen seen;

	SCHED_CHECK(!world_set_slot(world.vm[0].pages, MMU_SLOT_LOG_DIRTY), "no log");
	fault_at(PAGE_SIZE);
	for (gfn_t gfn = 0; gfn < 16; gfn++) {
		mmu_look(world.mmu, gfn, &seen);
		SCHED_CHECK(seen.mapped && seen.level == LEVEL_4K, "page %llu around a fault is not brought in",
			    (unsigned long long)gfn);
		SCHED_CHECK(seen.host == (u64)tlb_read(&v0->tlb[TLB_USER], PAGE_SIZE, 8) + (gfn - 1) * PAGE_SIZE,
			    "a page around a fault is another's");
	}
	SCHED_CHECK(!world_set_slot(world.vm[0].pages, 0), "a log cannot be ended");
}

static void look_and_set(void *arg)
{
	look_at_pages(arg);
	set_again(arg);
	track_code();
	if (world.vm[0].pages == WORLD_HUGE_PAGES)
		look_around();
}

void setup_look(void)
{
	world_create(1, 4, -1);
	sched_spawn("vmm", look_and_set, NULL);
}

void setup_look_huge(void)
{
	world_create(1, WORLD_HUGE_PAGES, -1);
	sched_spawn("vmm", look_and_set, NULL);
}
