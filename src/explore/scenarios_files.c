/* SPDX-License-Identifier: MIT */
/* Scenarios of files: truncated and written back while guests, and the host itself, write to them. */
#include "explore/scenario.h"

#include "explore/scenarios.h"
#include "explore/world.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0];

/* ------------------------------------------------------------------ truncate and writeback */

static u64 written;   /* the last word a completed guest write stored */
static u64 truncated; /* truncation has begun */
static u64 lost;      /* a writeback that followed a completed write did not find it */

static void write_words(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 2; i++) {
		int r = guest_write(v0, 0, i);

		SCHED_CHECK(r == 0 || (r == -EFAULT && truncated), "a write ends with %d", r);
		if (!r)
			SCHED_SET(written, i);
	}
	mmu_vcpu_leave(v0);
}

static void do_writeback(void *arg)
{
	u64 before = SCHED_SEE(written);

	model_writeback(world.model, world.file, 0);
	if (before && !truncated && model_file_disk(world.file, 0) < before)
		lost = 1;
}

static void do_truncate(void *arg)
{
	truncated = 1;
	model_truncate(world.model, world.file, 0);
	model_extend(world.model, world.file, 1);
}

/* With all SPTEs gone, and their dirty bits handed back, the file holds the last write. */
void check_file(void)
{
	SCHED_CHECK(!lost, "a guest write that completed before a writeback is not in the file");
	world_set_slot(0, 0);
	model_writeback(world.model, world.file, 0);
	if (!truncated)
		SCHED_CHECK(model_file_disk(world.file, 0) == written,
			    "the file holds %llu, the guest wrote %llu",
			    (unsigned long long)model_file_disk(world.file, 0),
			    (unsigned long long)written);
}

static void reset_file(void)
{
	written = truncated = lost = 0;
}

void setup_writeback(void)
{
	reset_file();
	world_create(1, 1, MODEL_FILE_CACHED);
	sched_spawn("vcpu", write_words, NULL);
	sched_spawn("writeback", do_writeback, NULL);
}

void setup_dax_writeback(void)
{
	reset_file();
	world_create(1, 1, MODEL_FILE_DAX);
	sched_spawn("vcpu", write_words, NULL);
	sched_spawn("writeback", do_writeback, NULL);
}

void setup_truncate(void)
{
	reset_file();
	world_create(1, 1, MODEL_FILE_CACHED);
	sched_spawn("vcpu", write_words, NULL);
	sched_spawn("truncate", do_truncate, NULL);
	sched_spawn("writeback", do_writeback, NULL);
}

/* A DAX truncate waits for references: it must end, so none may be leaked. */
void setup_dax(void)
{
	reset_file();
	world_create(1, 1, MODEL_FILE_DAX);
	sched_spawn("vcpu", write_words, NULL);
	sched_spawn("truncate", do_truncate, NULL);
}

void check_truncated(void)
{
	SCHED_CHECK(!lost, "a guest write that completed before a writeback is not in the file");
}

/* ------------------------------------------------------------------ host-side cache */

static struct mmu_cache cache;

static int put_word(struct mmu_cache *c, void *arg)
{
	return mmu_cache_write(c, 0, arg, sizeof(u64));
}

/* A vCPU outside guest mode writes its clock page, as between two runs. */
static void write_cached(void *arg)
{
	for (u64 i = 1; i <= 2; i++) {
		u64 word = i;
		int r = mmu_cache_use(&cache, MMU_CACHE_WAIT, put_word, &word);

		SCHED_CHECK(r == 0 || (r == -EFAULT && truncated), "a use ends with %d", r);
		if (!r)
			SCHED_SET(written, i);
	}
}

static void world_with_cache(int kind)
{
	reset_file();
	world_create(1, 1, kind);
	mmu_cache_init(&cache, v0, 0);
	mmu_cache_set(&cache, 0, sizeof(u64));
	world.cache = &cache;
}

void setup_cache_writeback(void)
{
	world_with_cache(MODEL_FILE_CACHED);
	sched_spawn("cache", write_cached, NULL);
	sched_spawn("writeback", do_writeback, NULL);
}

void setup_cache_dax(void)
{
	world_with_cache(MODEL_FILE_DAX);
	sched_spawn("cache", write_cached, NULL);
	sched_spawn("truncate", do_truncate, NULL);
}

static u64 regrown; /* truncation and the growth after it have returned */
static u64 kept;    /* the last word written by a use that began after that */

static void write_cached_again(void *arg)
{
	for (u64 i = 1; i <= 2; i++) {
		u64 word = i, after = SCHED_SEE(regrown);
		int r = mmu_cache_use(&cache, MMU_CACHE_WAIT, put_word, &word);

		SCHED_CHECK(r == 0 || (r == -EFAULT && truncated && !after), "a use ends with %d",
			    r);
		if (!r && after)
			kept = i;
	}
}

static void truncate_and_regrow(void *arg)
{
	do_truncate(arg);
	SCHED_SET(regrown, 1);
}

void setup_cache_truncate(void)
{
	regrown = kept = 0;
	world_with_cache(MODEL_FILE_CACHED);
	sched_spawn("cache", write_cached_again, NULL);
	sched_spawn("truncate", truncate_and_regrow, NULL);
}

/* What was written into the file as it is now is in it after a writeback. */
void check_regrown(void)
{
	model_writeback(world.model, world.file, 0);
	SCHED_CHECK(!kept || model_file_disk(world.file, 0) == kept,
		    "the file holds %llu, the host's use wrote %llu",
		    (unsigned long long)model_file_disk(world.file, 0), (unsigned long long)kept);
}

static bool is_regrown(void *arg)
{
	return regrown;
}

/* A vCPU that has written, by itself and through its clock page, halts until the truncate is over:
 * nothing it left behind may keep that waiting. */
static void write_then_halt(void *arg)
{
	u64 word = 1;

	mmu_vcpu_enter(v0);
	guest_write(v0, 0, 1);
	mmu_vcpu_leave(v0);
	mmu_cache_use(&cache, MMU_CACHE_WAIT, put_word, &word);
	sched_wait("the truncate", is_regrown, NULL);
}

void setup_dax_halted(void)
{
	regrown = 0;
	world_with_cache(MODEL_FILE_DAX);
	sched_spawn("vcpu", write_then_halt, NULL);
	sched_spawn("truncate", truncate_and_regrow, NULL);
}

/* In guest mode, as for a WRMSR, a vCPU writes a clock page that holds code: all are told. */
static void write_code_in_guest(void *arg)
{
	u64 word = 1;

	mmu_vcpu_enter(v0);
	SCHED_CHECK(!mmu_cache_use(&cache, MMU_CACHE_NOWAIT, put_word, &word), "a use fails");
	mmu_vcpu_leave(v0);
}

static void flush(void *arg)
{
	model_munmap(world.model, WORLD_HVA + PAGE_SIZE, 1);
}

static void make_vcpu(void *arg)
{
	mmu_vcpu_init(world.mmu, &world.vcpu[1], 1, &world.vcpu[1], v0->ops);
	world.nvcpus = 2;
}

void setup_cache_code(void)
{
	u64 word = 0;

	world_create(1, 2, -1);
	mmu_cache_init(&cache, v0, 0);
	mmu_cache_set(&cache, 0, sizeof(u64));
	world.cache = &cache;
	mmu_cache_use(&cache, MMU_CACHE_WAIT, put_word, &word);
	mmu_vcpu_enter(v0);
	guest_read(v0, PAGE_SIZE, &word);
	mmu_code_track(v0, 0, 1);
	mmu_vcpu_leave(v0);
	sched_spawn("vcpu", write_code_in_guest, NULL);
	sched_spawn("munmap", flush, NULL);
	sched_spawn("create", make_vcpu, NULL);
}

static u64 slot_gone; /* its deletion has returned */

/* The host's clock page, in a memslot that is deleted: what lies there is no longer the guest's. */
static void write_until_slot_gone(void *arg)
{
	for (u64 i = 1; i <= 2; i++) {
		u64 word = i, was_gone = SCHED_SEE(slot_gone);
		int r = mmu_cache_use(&cache, MMU_CACHE_WAIT, put_word, &word);

		SCHED_CHECK(r == 0 || r == -EFAULT, "a use ends with %d", r);
		SCHED_CHECK(r || !was_gone, "the host writes by a memslot that was deleted");
	}
}

static void delete_slot(void *arg)
{
	SCHED_CHECK(!world_set_slot(0, 0), "deleting the slot fails");
	SCHED_SET(slot_gone, 1);
}

void setup_cache_slot(void)
{
	slot_gone = 0;
	world_with_cache(MODEL_FILE_CACHED);
	sched_spawn("cache", write_until_slot_gone, NULL);
	sched_spawn("delete", delete_slot, NULL);
}
