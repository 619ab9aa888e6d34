/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of memory attributes: gfns become private and shared again while they are used, with
 * leaves of 4 KiB and of 2 MiB, while they are punched, and while the host itself writes to them.
 * Every guest access checks that it reached the memory its attribute says (world.c); the words that
 * are written here check that the two memories stay apart.
 */
#include "explore/scenario.h"

#include "explore/world.h"

static struct world_vm *vm = &world.vm[0];
static struct mmu_vcpu *v0 = &world.vcpu[0], *v1 = &world.vcpu[1];

#define SHARED_WORD  0x5a
#define PRIVATE_WORD 0x91
#define REUSED_WORD  0x33

/* ------------------------------------------------------------------ who converts */

static void to_private_and_back(void *arg)
{
	world_convert(vm, 0, 1, true);
	world_convert(vm, 0, 1, false);
}

static void to_shared_and_back(void *arg)
{
	world_convert(vm, 0, 1, false);
	world_convert(vm, 0, 1, true);
}

/* ------------------------------------------------------------------ who uses it */

/* A word of either memory, at a page's word. Which one is the attribute's business. */
static void read_either(struct mmu_vcpu *v, gfn_t gfn)
{
	u64 value;
	int r = guest_read(v, gfn * PAGE_SIZE, &value);

	SCHED_CHECK(!r, "a read ends with %d", r);
	SCHED_CHECK(value == SHARED_WORD || value == PRIVATE_WORD, "gfn %llu reads %llx",
		    (unsigned long long)gfn, (unsigned long long)value);
}

static void read_twice(void *arg)
{
	mmu_vcpu_enter(arg);
	read_either(arg, 0);
	read_either(arg, 0);
	mmu_vcpu_leave(arg);
}

static void read_both(void *arg)
{
	mmu_vcpu_enter(arg);
	read_either(arg, 0);
	read_either(arg, 1);
	read_either(arg, 0);
	mmu_vcpu_leave(arg);
}

/* Both memories of the first two gfns hold their words; then stage 2 is empty. */
static void prepare(u32 nvcpus, u64 pages, bool private_)
{
	world_create_gmem(nvcpus, pages, pages);
	mmu_vcpu_enter(v0);
	for (gfn_t gfn = 0; gfn < 2; gfn++)
		SCHED_CHECK(!guest_write(v0, gfn * PAGE_SIZE, PRIVATE_WORD), "a write fails");
	mmu_tlb_flush(v0);
	mmu_vcpu_leave(v0);
	for (gfn_t gfn = 0; gfn < 2; gfn++)
		SCHED_CHECK(!model_write(world.model, vm->hva + gfn * PAGE_SIZE, SHARED_WORD),
			    "the VMM's write fails");
	world_convert(vm, 0, pages, false);
	if (private_)
		world_convert(vm, 0, pages, true);
}

static void setup_convert(void)
{
	prepare(1, 2, false);
	sched_spawn("vcpu", read_twice, v0);
	sched_spawn("convert", to_private_and_back, NULL);
}

static void setup_convert_back(void)
{
	prepare(1, 2, true);
	sched_spawn("vcpu", read_twice, v0);
	sched_spawn("convert", to_shared_and_back, NULL);
}

/* ------------------------------------------------------------------ huge leaves */

static void setup_huge(void)
{
	prepare(1, WORLD_HUGE_PAGES, false);
	sched_spawn("vcpu", read_both, v0);
	sched_spawn("convert", to_private_and_back, NULL);
}

static void setup_huge_back(void)
{
	prepare(1, WORLD_HUGE_PAGES, true);
	sched_spawn("vcpu", read_both, v0);
	sched_spawn("convert", to_shared_and_back, NULL);
}

static void read_next(void *arg)
{
	mmu_vcpu_enter(arg);
	read_either(arg, 1);
	mmu_vcpu_leave(arg);
}

/* One vCPU in the page that changes, one beside it: the leaf of either may not cover the other. */
static void setup_huge_two(void)
{
	prepare(2, WORLD_HUGE_PAGES, true);
	sched_spawn("vcpu0", read_twice, v0);
	sched_spawn("vcpu1", read_next, v1);
	sched_spawn("convert", to_shared_and_back, NULL);
}

/* Pieces of a block, one after the other. */
static void pieces_to_private_and_back(void *arg)
{
	world_convert(vm, 0, 1, true);
	world_convert(vm, 2, 1, true);
	world_convert(vm, 2, 1, false);
	world_convert(vm, 0, 1, false);
}

static void setup_huge_pieces(void)
{
	prepare(1, WORLD_HUGE_PAGES, false);
	sched_spawn("vcpu", read_both, v0);
	sched_spawn("convert", pieces_to_private_and_back, NULL);
}

/* Of one attribute again, the block is mapped by one leaf again (invariant 10). */
static void check_huge(void)
{
	struct mmu_stats stats;

	mmu_vcpu_enter(v0);
	read_either(v0, 1);
	mmu_vcpu_leave(v0);
	mmu_get_stats(world.mmu, &stats);
	SCHED_CHECK(stats.pages_2m == 1 && !stats.pages_4k,
		    "%llu leaves of 2 MiB and %llu of 4 KiB map a block of one attribute",
		    (unsigned long long)stats.pages_2m, (unsigned long long)stats.pages_4k);
}

/* ------------------------------------------------------------------ a block that is logged */

static bool wrote_beside;

/* A fault of one page puts leaves of its neighbours there as well. */
static void write_side_by_side(void *arg)
{
	int r;

	mmu_vcpu_enter(arg);
	SCHED_CHECK(!guest_write(arg, PAGE_SIZE, SHARED_WORD), "a write fails");
	r = guest_write(arg, 0, SHARED_WORD);
	SCHED_CHECK(!r || r == -EFAULT, "a write ends with %d", r);
	wrote_beside = !r;
	mmu_vcpu_leave(arg);
}

static void first_to_private(void *arg)
{
	world_convert(vm, 0, 1, true);
}

static void setup_convert_log(void)
{
	world_create(1, WORLD_HUGE_PAGES, -1);
	SCHED_CHECK(!world_set_slot(WORLD_HUGE_PAGES, MMU_SLOT_LOG_DIRTY), "no log");
	sched_spawn("vcpu", write_side_by_side, v0);
	sched_spawn("convert", first_to_private, NULL);
}

/* What was written is in the log, and of what was only brought in with it nothing is. */
static void check_convert_log(void)
{
	u64 bits[WORLD_HUGE_PAGES / 64];

	SCHED_CHECK(!mmu_dirty_get(world.mmu, 0, bits), "there is no log");
	SCHED_CHECK(bits[0] & 2, "a write is not in the log");
	SCHED_CHECK((bits[0] & 1) || !wrote_beside, "a write to a page beside another is not in the log");
	SCHED_CHECK(!(bits[0] & ~3ULL), "pages are in the log that nobody wrote to: %llx",
		    (unsigned long long)bits[0]);
}

/* ------------------------------------------------------------------ conversion and punch */

static u64 punches_begun;
static bool punched;

/* As a VMM does: what is no longer private is given back. */
static void to_shared_and_punch(void *arg)
{
	world_convert(vm, 0, WORLD_HUGE_PAGES, false);
	punches_begun++;
	world_punch(vm, 0, WORLD_HUGE_PAGES);
	SCHED_SET(punched, true);
	world_convert(vm, 0, 1, true);
}

static void punch_the_rest(void *arg)
{
	punches_begun++;
	world_punch(vm, 1, 1);
}

/* What is private reads as it was written until a punch begins, and zero after it. */
static void read_punched(void *arg)
{
	mmu_vcpu_enter(arg);
	for (int i = 0; i < 2; i++) {
		bool was_punched = SCHED_SEE(punched);
		u64 value;
		int r = guest_read(arg, 0, &value);

		SCHED_CHECK(!r, "a read ends with %d", r);
		SCHED_CHECK(value == SHARED_WORD || (value == PRIVATE_WORD && !was_punched) ||
				    (!value && punches_begun),
			    "gfn 0 reads %llx", (unsigned long long)value);
	}
	mmu_vcpu_leave(arg);
}

static void setup_convert_punch(void)
{
	punches_begun = 0;
	punched = false;
	prepare(1, WORLD_HUGE_PAGES, true);
	sched_spawn("vcpu", read_punched, v0);
	sched_spawn("convert", to_shared_and_punch, NULL);
	sched_spawn("punch", punch_the_rest, NULL);
}

/* ------------------------------------------------------------------ conversion and memslots */

static void bind_anew(void *arg)
{
	SCHED_CHECK(!world_set_gmem_slot(vm, false), "unbinding fails");
	SCHED_CHECK(!world_set_gmem_slot(vm, true), "binding fails");
}

/* A private gfn without a memslot is nobody's, a shared one without is MMIO. */
static void read_if_there(void *arg)
{
	mmu_vcpu_enter(arg);
	for (int i = 0; i < 2; i++) {
		u64 value = SHARED_WORD;
		int r = guest_read(arg, 0, &value);

		SCHED_CHECK(!r || r == -EFAULT || r == -ENOENT, "a read ends with %d", r);
		SCHED_CHECK(value == SHARED_WORD || value == PRIVATE_WORD, "gfn 0 reads %llx",
			    (unsigned long long)value);
	}
	mmu_vcpu_leave(arg);
}

/* What is there at the end is reached, whatever went on. */
static void check_bind(void)
{
	mmu_vcpu_enter(v0);
	read_either(v0, 0);
	read_either(v0, 1);
	mmu_vcpu_leave(v0);
}

static void setup_convert_bind(void)
{
	prepare(1, 2, false);
	sched_spawn("vcpu", read_if_there, v0);
	sched_spawn("convert", to_private_and_back, NULL);
	sched_spawn("bind", bind_anew, NULL);
}

/* ------------------------------------------------------------------ the host's own uses */

static struct mmu_cache cache;
static bool is_private;

static int put_word(struct mmu_cache *c, void *arg)
{
	return mmu_cache_write(c, 0, arg, sizeof(u64));
}

/* The host's clock page, in a gfn that becomes private: no write once it is. */
static void write_cached(void *arg)
{
	u64 value = SHARED_WORD;

	for (int i = 0; i < 2; i++) {
		bool was_private = SCHED_SEE(is_private);
		int r = mmu_cache_use(&cache, MMU_CACHE_WAIT, put_word, &value);

		SCHED_CHECK(!r || r == -EFAULT, "a use ends with %d", r);
		SCHED_CHECK(r || !was_private, "the host writes to a private gfn");
	}
}

static void copy_in(void *arg)
{
	u64 value = SHARED_WORD;

	for (int i = 0; i < 2; i++) {
		bool was_private = SCHED_SEE(is_private);
		int r = mmu_write_guest(world.mmu, 0, &value, sizeof(value));

		SCHED_CHECK(!r || r == -EFAULT, "a copy ends with %d", r);
		SCHED_CHECK(r || !was_private, "the host copies into a private gfn");
	}
}

static void to_private(void *arg)
{
	world_convert(vm, 0, 1, true);
	SCHED_SET(is_private, true);
}

static void setup_convert_cache(void)
{
	is_private = false;
	prepare(1, 2, false);
	mmu_cache_init(&cache, v0, 0);
	mmu_cache_set(&cache, 0, sizeof(u64));
	world.cache = &cache;
	sched_spawn("cache", write_cached, NULL);
	sched_spawn("convert", to_private, NULL);
}

/* From then on the VMM may use the shared page for something else. */
static void to_private_and_reuse(void *arg)
{
	to_private(arg);
	SCHED_CHECK(!model_write(world.model, vm->hva, REUSED_WORD), "the VMM's write fails");
}

static void setup_convert_copy(void)
{
	is_private = false;
	prepare(1, 2, false);
	sched_spawn("copy", copy_in, NULL);
	sched_spawn("convert", to_private_and_reuse, NULL);
}

static void setup_convert_copy_two(void)
{
	is_private = false;
	prepare(1, 2, false);
	sched_spawn("copy", copy_in, NULL);
	sched_spawn("copy, too", copy_in, NULL);
	sched_spawn("convert", to_private_and_reuse, NULL);
}

static void check_copy(void)
{
	u64 value;

	SCHED_CHECK(!model_read(world.model, vm->hva, &value), "the VMM's read fails");
	SCHED_CHECK(value == REUSED_WORD, "a copy ends after its gfn became private");
}

const struct scenario attribute_scenarios[] = {
	{"convert", "a vCPU uses a gfn that becomes private and shared again", setup_convert,
	 check_nothing,
	 {DEFECT_ATTRIBUTE_NOT_RECHECKED, DEFECT_NO_ZAP, DEFECT_NO_FLUSH,
	  DEFECT_NO_SEQUENCE_CHECK}},
	{"convert-back", "a vCPU uses a gfn that becomes shared and private again",
	 setup_convert_back, check_nothing,
	 {DEFECT_ATTRIBUTE_NOT_RECHECKED, DEFECT_NO_ZAP, DEFECT_NO_FLUSH,
	  DEFECT_NO_SEQUENCE_CHECK}},
	{"convert-huge", "a page of a huge leaf becomes private and shared again", setup_huge,
	 check_huge, {DEFECT_ATTRIBUTE_NOT_RECHECKED, DEFECT_NO_FLUSH}},
	{"convert-huge-back", "a page of a private huge leaf becomes shared and private again",
	 setup_huge_back, check_huge, {DEFECT_ATTRIBUTE_NOT_RECHECKED, DEFECT_NO_FLUSH}},
	{"convert-huge-two", "two vCPUs in a huge leaf of which a page is converted", setup_huge_two,
	 check_huge, {DEFECT_ATTRIBUTE_NOT_RECHECKED, DEFECT_NO_FLUSH}},
	{"convert-huge-pieces", "pages of a huge leaf become private and shared again, one by one", setup_huge_pieces,
	 check_huge, {DEFECT_NO_FLUSH}},
	{"convert-log", "pages side by side are written and logged while one becomes private", setup_convert_log,
	 check_convert_log, {DEFECT_AROUND_UNCHECKED, DEFECT_NO_FLUSH}},
	{"convert-punch", "a huge leaf is converted and punched", setup_convert_punch, check_nothing,
	 {DEFECT_ATTRIBUTE_NOT_RECHECKED, DEFECT_NO_FLUSH}},
	{"convert-bind", "a gfn is converted while its memslot is deleted and bound anew",
	 setup_convert_bind, check_bind,
	 {DEFECT_ATTRIBUTE_NOT_RECHECKED, DEFECT_NO_FLUSH, DEFECT_NO_GRACE_PERIOD}},
	{"convert-cache", "a host-side cache of a gfn that becomes private", setup_convert_cache,
	 check_nothing, {DEFECT_CACHE_KEPT}},
	{"convert-copy-two", "two threads of the host copy into a gfn that becomes private", setup_convert_copy_two,
	 check_copy, {DEFECT_COPY_NOT_AWAITED}},
	{"convert-copy", "the host copies into a gfn that becomes private", setup_convert_copy,
	 check_copy, {DEFECT_COPY_NOT_AWAITED}},
	{NULL},
};
