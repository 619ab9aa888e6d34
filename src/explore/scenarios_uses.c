/* SPDX-License-Identifier: MIT */
/*
 * explore/scenarios_uses.c: host-side uses of guest memory: two caches whose memory goes at once, uses that the host
 * refuses or a signal breaks off, and what is not the host's to write.
 */
#include "explore/scenario.h"
#include "explore/scenarios.h"
#include "explore/world.h"

#define STALE_REQUEST (1u << MMU_REQ_OWNER_SHIFT)

static struct mmu_vcpu *const v0 = &world.vcpu[0];
static struct mmu_cache caches[2];

static int put_word(struct mmu_cache *c, void *arg)
{
	return mmu_cache_write(c, 0, arg, sizeof(u64));
}

static int use(struct mmu_cache *c, enum mmu_cache_how how, u64 value)
{
	return mmu_cache_use(c, how, put_word, &value);
}

/* ------------------------------------------------------------------ two caches */

static bool going;   /* a munmap has begun */
static bool gone[2]; /* that of their pages has returned */

static void use_both(void *arg)
{
	for (unsigned i = 0; i < 4; i++) {
		bool was_gone = SCHED_SEE(gone[i & 1]);
		int r = use(&caches[i & 1], MMU_CACHE_WAIT, i + 1);

		SCHED_CHECK(!r || r == -EFAULT, "a use ends with %d", r);
		SCHED_CHECK(r || !was_gone, "the host writes after the munmap");
	}
}

/* Who has one at hand is told that it is no longer good. */
static void unmap_page(u64 n)
{
	going = true;
	model_munmap(world.model, WORLD_HVA + n * PAGE_SIZE, 1);
	SCHED_CHECK(sync_load(&caches[n].stale), "a cache is good after the munmap of its page");
	SCHED_SET(gone[n], true);
}

static void unmap_first(void *arg)
{
	unmap_page(0);
}

/* Which makes stale what the munmap has to wait for, or the other way round. */
static void delete_slot(void *arg)
{
	going = true;
	SCHED_CHECK(!world_set_slot(0, 0), "the memslot cannot be deleted");
	gone[1] = true;
	SCHED_SET(gone[0], true);
}

static void make_caches(void)
{
	going = gone[0] = gone[1] = false;
	world_create(1, 2, -1);
	for (unsigned i = 0; i < 2; i++) {
		mmu_cache_init(&caches[i], v0, STALE_REQUEST << i);
		SCHED_CHECK(mmu_cache_set(&caches[i], i * PAGE_SIZE, 0) == -EINVAL, "a cache of nothing");
		SCHED_CHECK(!mmu_cache_set(&caches[i], i * PAGE_SIZE, sizeof(u64)), "a cache cannot be set");
	}
}

void setup_cache_two(void)
{
	make_caches();
	sched_spawn("caches", use_both, NULL);
	sched_spawn("munmap", unmap_first, NULL);
	sched_spawn("delete", delete_slot, NULL);
}

/* A cache that was good has asked its vCPU to look, as it became stale. They are in one list: any may go first. */
void check_caches(void)
{
	mmu_cache_fini(&caches[0]);
	mmu_cache_fini(&caches[1]);
}

static bool first_gone(void *arg)
{
	return gone[0];
}

static void use_and_be_told(void *arg)
{
	int r = use(&caches[0], MMU_CACHE_WAIT, 1);

	SCHED_CHECK(!r || r == -EFAULT, "a use ends with %d", r);
	sched_wait("the munmap", first_gone, NULL);
	SCHED_CHECK(r || (sync_load(&v0->requests) & STALE_REQUEST), "nobody says that a cache became stale");
	SCHED_CHECK(!(sync_load(&v0->requests) & STALE_REQUEST << 1), "a cache that nobody used is said to be stale");
}

void setup_cache_told(void)
{
	make_caches();
	sched_spawn("cache", use_and_be_told, NULL);
	sched_spawn("munmap", unmap_first, NULL);
}

/* ------------------------------------------------------------------ refused, and broken off */

static unsigned calls;	/* of the function that uses it */
static bool refuse;	/* the host refuses the next access */
static int say;		/* what it returns by itself */
static int say_once;	/* the same, of the next call alone */

static int refused_or_not(struct mmu_cache *c, void *arg)
{
	u64 value = ++calls;

	if (refuse) {
		refuse = false;
		return -EFAULT;
	}
	if (say_once) {
		say_once = 0;
		return -EAGAIN;
	}
	return say ? say : mmu_cache_write(c, 0, &value, sizeof(value));
}

/* A mapping that changed unseen is faulted in once more, and no more than once. */
static void use_refused(void *arg)
{
	int r;

	refuse = true;
	r = mmu_cache_use(&caches[0], MMU_CACHE_WAIT, refused_or_not, NULL);
	SCHED_CHECK(!r || (r == -EFAULT && going), "a use that was refused once ends with %d", r);
	say = -EFAULT;
	calls = 0;
	r = mmu_cache_use(&caches[1], MMU_CACHE_WAIT, refused_or_not, NULL);
	SCHED_CHECK(r == -EFAULT && calls == 2, "a use that is refused ends with %d after %u", r, calls);
	r = mmu_cache_use(&caches[1], MMU_CACHE_NOWAIT, refused_or_not, NULL);
	SCHED_CHECK(r == -EAGAIN || r == -EFAULT, "a use that is refused ends with %d", r);
	say = 0;
	r = mmu_cache_use(&caches[1], MMU_CACHE_NOWAIT, refused_or_not, NULL);
	SCHED_CHECK(r == -EAGAIN, "a use of what is not at hand ends with %d", r);
}

/* One that comes to nothing again and again ends when a signal comes. */
static void use_in_vain(void *arg)
{
	int r = use(&caches[1], MMU_CACHE_WAIT, 1);

	SCHED_CHECK(!r, "a use ends with %d", r);
	say_once = -EAGAIN;
	r = mmu_cache_use(&caches[1], MMU_CACHE_WAIT, refused_or_not, NULL);
	SCHED_CHECK(!r, "a use that is to begin anew ends with %d", r);
	say = -EAGAIN;
	world_interrupt(v0, true);
	r = mmu_cache_use(&caches[1], MMU_CACHE_WAIT, refused_or_not, NULL);
	SCHED_CHECK(r == -EINTR, "a use that a signal breaks off ends with %d", r);
	mmu_cache_set(&caches[1], PAGE_SIZE, sizeof(u64));
	calls = 0;
	r = mmu_cache_use(&caches[1], MMU_CACHE_WAIT, refused_or_not, NULL);
	SCHED_CHECK(r == -EINTR && !calls, "a cache is filled in spite of a signal: %d", r);
	world_interrupt(v0, false);
	say = 0;
}

static void use_badly(void *arg)
{
	use_refused(arg);
	use_in_vain(arg);
}

void setup_cache_refused(void)
{
	calls = 0;
	say = say_once = 0;
	refuse = false;
	make_caches();
	SCHED_CHECK(!use(&caches[0], MMU_CACHE_WAIT, 1) && !use(&caches[1], MMU_CACHE_WAIT, 1), "a use fails");
	sched_spawn("cache", use_badly, NULL);
	sched_spawn("munmap", unmap_first, NULL);
}

/* ------------------------------------------------------------------ memory that is not the host's to write */

static bool readonly;

static void use_until_readonly(void *arg)
{
	for (u64 i = 1; i <= 2; i++) {
		bool was_readonly = SCHED_SEE(readonly);
		u64 value = i;
		int r = use(&caches[0], MMU_CACHE_WAIT, i);

		SCHED_CHECK(!r || r == -EFAULT, "a use ends with %d", r);
		SCHED_CHECK(r || !was_readonly, "the host uses a read-only memslot to write");
		was_readonly = SCHED_SEE(readonly);
		r = mmu_write_guest(world.mmu, 0, &value, sizeof(value));
		SCHED_CHECK(!r || r == -EFAULT, "a copy ends with %d", r);
		SCHED_CHECK(r || !was_readonly, "the host copies into a read-only memslot");
		r = mmu_read_guest(world.mmu, 4 * PAGE_SIZE, &value, sizeof(value));
		SCHED_CHECK(r == -EFAULT, "the host reads where no memslot is: %d", r);
	}
}

static void make_readonly(void *arg)
{
	SCHED_CHECK(!world_set_slot(0, 0), "the memslot cannot be deleted");
	SCHED_CHECK(!world_set_slot(2, MMU_SLOT_READONLY), "it cannot be made anew");
	SCHED_SET(readonly, true);
}

void setup_cache_readonly(void)
{
	readonly = false;
	make_caches();
	sched_spawn("cache", use_until_readonly, NULL);
	sched_spawn("vmm", make_readonly, NULL);
}

/* ------------------------------------------------------------------ one mapping in another's place */

static void use_replaced(void *arg)
{
	int r = use(&caches[0], MMU_CACHE_WAIT, 1);

	SCHED_CHECK(!r, "a use ends with %d where one mapping takes another's place", r);
}

static void read_replaced(void *arg)
{
	u64 value;
	int r;

	mmu_vcpu_enter(v0);
	r = guest_read(v0, 0, &value);
	SCHED_CHECK(!r, "a read ends with %d where one mapping takes another's place", r);
	mmu_vcpu_leave(v0);
}

static void replace_page(void *arg)
{
	model_replace(world.model, WORLD_HVA, 1, NULL, 0);
}

void setup_replace(void)
{
	make_caches();
	sched_spawn("vcpu", read_replaced, NULL);
	sched_spawn("vmm", replace_page, NULL);
}

void setup_cache_replace(void)
{
	make_caches();
	sched_spawn("cache", use_replaced, NULL);
	sched_spawn("vmm", replace_page, NULL);
}

/* ------------------------------------------------------------------ reclaim asks */

static bool aged, used_since;

/* Nothing makes the cache stale, so that nobody but its uses says that its page is in use. */
static void use_young(void *arg)
{
	for (u64 i = 1; i <= 2; i++) {
		bool after = SCHED_SEE(aged);

		SCHED_CHECK(!use(&caches[0], MMU_CACHE_WAIT, i), "a use fails");
		used_since |= after;
	}
}

static void age_page(void *arg)
{
	model_age(world.model, WORLD_HVA);
	SCHED_SET(aged, true);
}

void setup_cache_age(void)
{
	aged = used_since = false;
	make_caches();
	SCHED_CHECK(!use(&caches[0], MMU_CACHE_WAIT, 0), "a use fails");
	sched_spawn("cache", use_young, NULL);
	sched_spawn("reclaim", age_page, NULL);
}

void check_cache_age(void)
{
	SCHED_CHECK(model_age(world.model, WORLD_HVA) || !used_since, "a use after the page was aged was not seen");
	check_caches();
}

/* ------------------------------------------------------------------ memory without reference counts */

static void use_twice(void *arg)
{
	for (u64 i = 1; i <= 2; i++) {
		bool was_gone = SCHED_SEE(gone[0]);
		int r = use(&caches[0], MMU_CACHE_WAIT, i);

		SCHED_CHECK(!r || r == -EFAULT, "a use ends with %d", r);
		SCHED_CHECK(r || !was_gone, "the host writes after the munmap");
	}
}

void setup_cache_pfnmap(void)
{
	going = gone[0] = gone[1] = false;
	world_create(1, 1, MODEL_FILE_PFNMAP);
	mmu_cache_init(&caches[0], v0, 0);
	mmu_cache_set(&caches[0], 0, sizeof(u64));
	world.cache = &caches[0];
	sched_spawn("cache", use_twice, NULL);
	sched_spawn("munmap", unmap_first, NULL);
}
