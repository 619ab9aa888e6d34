/* SPDX-License-Identifier: MIT */
/* Scenarios about what a vCPU is asked for while it is asked for something else. */
#include "explore/scenario.h"

#include <stdlib.h>
#include "explore/scenarios.h"
#include "explore/world.h"
#include "sync/atomic.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0];

/* ------------------------------------------------------------------ logging is switched on */

static bool started;	  /* the call that starts the log has returned */
static bool wrote_since; /* a write began after it */
static bool done_since;	  /* and was completed */

static void write_thrice(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 3; i++) {
		bool since = SCHED_SEE(started);

		wrote_since |= since;
		SCHED_CHECK(guest_write(v0, 0, i) == 0, "a write fails");
		SCHED_SET(done_since, done_since || since);
	}
	mmu_vcpu_leave(v0);
}

static void start_log(void *arg)
{
	SCHED_CHECK(!world_set_slot(1, MMU_SLOT_LOG_DIRTY), "the log cannot be started");
	SCHED_SET(started, true);
}

/* The page is in stage 2 and can be written, as most are when a migration begins; log-huge faults. */
void setup_log_start(void)
{
	u64 value;

	started = wrote_since = false;
	world_create(1, 1, -1);
	model_write(world.model, WORLD_HVA, 0);
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_read(v0, 0, &value), "a read fails");
	mmu_vcpu_leave(v0);
	sched_spawn("vcpu", write_thrice, NULL);
	sched_spawn("log", start_log, NULL);
}

void check_log_start(void)
{
	u64 bits = 0;

	SCHED_CHECK(!mmu_dirty_get(world.mmu, 0, &bits), "there is no log");
	SCHED_CHECK(bits || !wrote_since, "a write made after the log began is not in it");
}

/* ------------------------------------------------------------------ a logged slot moves */

#define MOVED_GPA (16 * PAGE_SIZE)

static u64 last_word; /* written to the slot before it went */

static void write_before_it_goes(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 2; i++) {
		int r = guest_write(v0, 0, i);

		SCHED_CHECK(!r || r == -ENOENT, "a write ends with %d", r);
		last_word = r ? last_word : i;
	}
	mmu_vcpu_leave(v0);
}

static int put_word(struct mmu_cache *c, void *arg)
{
	return mmu_cache_write(c, 0, arg, sizeof(u64));
}

/* The host writes by itself: a copy, and a clock page. */
static void copy_before_it_goes(void *arg)
{
	u64 word = 1;

	if (!mmu_write_guest(world.mmu, 0, &word, sizeof(word)))
		last_word = word;
	word = 2;
	if (!mmu_cache_use(world.cache, MMU_CACHE_WAIT, put_word, &word))
		last_word = word;
}

static void move_slot(void *arg)
{
	struct mmu_region r = {.flags = MMU_SLOT_LOG_DIRTY,
			       .gpa = MOVED_GPA,
			       .size = PAGE_SIZE,
			       .hva = world.vm[0].hva};

	SCHED_CHECK(!mmu_set_region(world.mmu, &r), "the slot cannot be moved");
}

/* The page is in stage 2 and can be written, so that a write finds it without a fault. */
static void world_to_move(void)
{
	u64 value, bits;

	last_word = 0;
	world_create(1, 1, -1);
	world_set_slot(1, MMU_SLOT_LOG_DIRTY);
	model_write(world.model, WORLD_HVA, 0);
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_read(v0, 0, &value), "a read fails");
	mmu_vcpu_leave(v0);
	SCHED_CHECK(!mmu_dirty_get(world.mmu, 0, &bits), "there is no log");
}

void setup_log_move(void)
{
	world_to_move();
	sched_spawn("vcpu", write_before_it_goes, NULL);
	sched_spawn("move", move_slot, NULL);
}

void setup_log_move_copy(void)
{
	static struct mmu_cache cache;

	world_to_move();
	mmu_cache_init(&cache, v0, 0);
	mmu_cache_set(&cache, 0, sizeof(u64));
	world.cache = &cache;
	sched_spawn("copy", copy_before_it_goes, NULL);
	sched_spawn("move", move_slot, NULL);
}

/* The log goes with the slot. */
void check_log_move(void)
{
	u64 bits = 0;

	SCHED_CHECK(!mmu_dirty_get(world.mmu, 0, &bits), "there is no log");
	SCHED_CHECK(bits || !last_word, "a write made before the slot moved is not in its log");
}

/* ------------------------------------------------------------------ one memslot of two goes */

static struct mmu_vcpu *const other_vcpu = &world.vcpu[1];

/* Its page is in the other memslot, which has a log of its own. */
static void write_beside_leaving(void *arg)
{
	mmu_vcpu_enter(other_vcpu);
	for (u64 i = 1; i <= 2; i++)
		SCHED_CHECK(!guest_write(other_vcpu, WORLD_ALIAS, i), "a write fails");
	mmu_vcpu_leave(other_vcpu);
}

static void delete_first(void *arg)
{
	SCHED_CHECK(!world_set_slot(0, 0), "deleting the slot fails");
}

void setup_log_leave(void)
{
	struct mmu_region r = {.slot = 1, .flags = MMU_SLOT_LOG_DIRTY, .gpa = WORLD_ALIAS, .size = PAGE_SIZE};
	u64 value;

	world_create(2, 2, -1);
	world_set_slot(2, MMU_SLOT_LOG_DIRTY);
	model_write(world.model, WORLD_HVA + PAGE_SIZE, 0);
	world.alias = r.hva = WORLD_HVA + PAGE_SIZE;
	SCHED_CHECK(!mmu_set_region(world.mmu, &r), "a memslot cannot be made");
	mmu_vcpu_enter(other_vcpu);
	SCHED_CHECK(!guest_read(other_vcpu, WORLD_ALIAS, &value), "a read fails");
	mmu_vcpu_leave(other_vcpu);
	sched_spawn("vcpu", write_beside_leaving, NULL);
	sched_spawn("delete", delete_first, NULL);
}

void check_log_leave(void)
{
	u64 bits = 0;

	SCHED_CHECK(!mmu_dirty_get(world.mmu, 1, &bits) && bits == 1, "a write is not in its memslot's log");
}

/* ------------------------------------------------------------------ logging and huge leaves */

static void check_leaves(u64 huge, const char *when)
{
	struct mmu_stats stats;

	mmu_get_stats(world.mmu, &stats);
	SCHED_CHECK(stats.pages_2m == huge && (!huge || !stats.pages_4k),
		    "%s there are %llu huge leaves and %llu small ones", when,
		    (unsigned long long)stats.pages_2m, (unsigned long long)stats.pages_4k);
}

static void log_for_a_while(void *arg)
{
	u64 bits[WORLD_HUGE_PAGES / 64];
	bool done;

	SCHED_CHECK(!world_set_slot(WORLD_HUGE_PAGES, MMU_SLOT_LOG_DIRTY), "no log");
	check_leaves(0, "while a log is kept");
	SCHED_SET(started, true);
	sched_point("log", NULL);
	check_leaves(0, "while a log is kept");
	done = SCHED_SEE(done_since);
	SCHED_CHECK(!mmu_dirty_get(world.mmu, 0, bits), "there is no log");
	SCHED_CHECK((bits[0] & 1) || !done, "a write made after the log began is not in it");
	SCHED_CHECK(!world_set_slot(WORLD_HUGE_PAGES, 0), "the log cannot be ended");
}

void setup_log_huge(void)
{
	started = done_since = false;
	world_create(1, WORLD_HUGE_PAGES, -1);
	sched_spawn("vcpu", write_thrice, NULL);
	sched_spawn("log", log_for_a_while, NULL);
}

/* No page needs to be made clean when all are in the log from the start; a huge leaf has to go all the same. */
void setup_log_huge_all(void)
{
	setup_log_huge();
	SCHED_CHECK(!mmu_set_manual_protect(world.mmu, 3), "a log cannot be cleared by hand");
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_write(v0, 0, 0), "a write fails");
	mmu_vcpu_leave(v0);
	check_leaves(1, "before a log is kept");
}

/* What logging has split is whole again at the next access. */
void check_log_huge(void)
{
	mmu_vcpu_enter(v0);
	SCHED_CHECK(!guest_write(v0, PAGE_SIZE, 1), "a write fails");
	mmu_vcpu_leave(v0);
	check_leaves(1, "after a log has ended");
}

/* ------------------------------------------------------------------ code and a flush */

static bool unmapped;

static void read_until_gone(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		bool gone = SCHED_SEE(unmapped);
		int r;

		/* Somebody wrote bytes that may be code, and tells. */
		if (!i)
			mmu_vcpu_request(v0, MMU_REQ_CODE);
		r = guest_read(v0, 0, &value);
		SCHED_CHECK(r == 0 || r == -EFAULT, "a read ends with %d", r);
		SCHED_CHECK(!(gone && r == 0), "memory is reached after its munmap returned");
	}
	mmu_vcpu_leave(v0);
}

static void unmap(void *arg)
{
	model_munmap(world.model, WORLD_HVA, 1);
	SCHED_SET(unmapped, true);
}

void setup_requests(void)
{
	u64 value;

	unmapped = false;
	world_create(1, 1, -1);
	mmu_vcpu_enter(v0);
	guest_read(v0, 0, &value);
	mmu_vcpu_leave(v0);
	sched_spawn("vcpu", read_until_gone, NULL);
	sched_spawn("munmap", unmap, NULL);
}

/* ------------------------------------------------------------------ a dirty ring */

#define RING_ENTRIES 128
#define RING_PAGE    PAGE_SIZE /* the page that is written: its entry is not the same as none */

static struct mmu_dirty_gfn ring[RING_ENTRIES];
static u32 collected;	/* entries */
static u64 final_word;	/* the guest wrote last */
static u64 copied;	/* the host read after the last reset that followed an entry */

/* The page is there by a read, so that the first write lists it without a fault and its lock. */
static void write_listed(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	SCHED_CHECK(guest_read(v0, RING_PAGE, &value) == 0, "a read fails");
	for (u64 i = 1; i <= 3; i++) {
		SCHED_CHECK(guest_write(v0, RING_PAGE, i) == 0, "a write fails");
		final_word = i;
	}
	mmu_vcpu_leave(v0);
}

static void collect_and_reset(void *arg)
{
	u32 before = collected, n;

	while (sync_load_acquire(&ring[collected].flags) == MMU_DIRTY_GFN_DIRTY) {
		sync_store_release(&ring[collected].flags, MMU_DIRTY_GFN_RESET);
		collected++;
	}
	SCHED_CHECK(!mmu_ring_reset(world.mmu, &n), "the ring cannot be reset");
	SCHED_CHECK(n == collected - before, "%u entries were collected, %u taken out",
		    collected - before, n);
	if (n)
		model_read(world.model, WORLD_HVA + RING_PAGE, &copied);
}

void setup_ring(void)
{
	memset(ring, 0, sizeof(ring));
	collected = 0;
	final_word = copied = 0;
	world_create(1, 2, -1);
	model_write(world.model, WORLD_HVA + RING_PAGE, 0); /* so that the page can be written */
	if (mmu_ring_enable(world.mmu, RING_ENTRIES))
		abort();
	mmu_ring_attach(v0, ring, 0);
	world_set_slot(2, MMU_SLOT_LOG_DIRTY);
	sched_spawn("vcpu", write_listed, NULL);
	sched_spawn("collect", collect_and_reset, NULL);
}

void check_ring(void)
{
	collect_and_reset(NULL);
	SCHED_CHECK(copied == final_word, "the last reset shows %llu, the guest wrote %llu",
		    (unsigned long long)copied, (unsigned long long)final_word);
}

/* ------------------------------------------------------------------ the world stops */

static struct mmu_vcpu *const v1 = &world.vcpu[1];

/* An access that the host cannot make in one piece: nobody's store is seen between its halves. */
static void read_in_halves(void *arg)
{
	u64 first, second;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 3; i++) {
		while (!mmu_stop_others(v0))
			mmu_vcpu_safe_point(v0);
		/* A fault ends the stop; then the access begins anew. */
		if (guest_read(v0, 0, &first) || guest_read(v0, 0, &second)) {
			SCHED_CHECK(!mmu_stops_others(v0), "a read fails while others are stopped");
			continue;
		}
		SCHED_CHECK(first == second, "%llu, then %llu, while the world was stopped",
			    (unsigned long long)first, (unsigned long long)second);
		mmu_start_others(v0);
	}
	mmu_vcpu_leave(v0);
}

/* Its stores fault on the way, and it leaves and enters guest mode between them. */
static void store_meanwhile(void *arg)
{
	mmu_vcpu_enter(v1);
	for (u64 i = 1; i <= 2; i++)
		SCHED_CHECK(!guest_write(v1, 0, i), "a write fails");
	mmu_vcpu_leave(v1);
	mmu_vcpu_enter(v1);
	SCHED_CHECK(!guest_write(v1, 0, 3), "a write fails");
	mmu_vcpu_leave(v1);
}

void setup_stop(void)
{
	world_create(2, 1, -1);
	sched_spawn("stopper", read_in_halves, NULL);
	sched_spawn("vcpu", store_meanwhile, NULL);
}

/* Guest code that never leaves by itself: it goes to its safe point when it is asked to. */
static bool stops_are_over;

static bool asked_or_over(void *arg)
{
	const struct mmu_vcpu *v = arg;

	return stops_are_over || (v->requests & MMU_REQ_MASK); /* no step of the vCPU's */
}

static u64 flushes; /* that v1 has answered */

static void run_until_asked(void *arg)
{
	flushes = v1->stat->tlb_flush;

	mmu_vcpu_enter(v1);
	while (!stops_are_over) {
		sched_wait("a request", asked_or_over, v1);
		mmu_vcpu_safe_point(v1);
	}
	mmu_vcpu_leave(v1);
	SCHED_CHECK(v1->stat->tlb_flush == flushes, "a stop is counted as a flush");
}

static void stop_twice(void *arg)
{
	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		SCHED_CHECK(mmu_stop_others(v0), "nobody else stops");
		mmu_start_others(v0);
	}
	mmu_vcpu_leave(v0);
	stops_are_over = true;
}

void setup_stop_guest(void)
{
	stops_are_over = false;
	world_create(2, 1, -1);
	sched_spawn("stopper", stop_twice, NULL);
	sched_spawn("vcpu", run_until_asked, NULL);
}

/* Who waits at the gate for long wakes up, looks, and has no reason to break off a stop. */
static void wait_long(void *arg)
{
	for (int i = 0; i < 2; i++) {
		sched_point("time passes", NULL);
		sched_time_passes();
	}
}

void setup_stop_slow(void)
{
	setup_stop_guest();
	sched_spawn("clock", wait_long, NULL);
}

/* What two split locks in two vCPUs do: who cannot stop the other is about to be stopped. */
static unsigned in_stop, stops; /* vCPUs that have stopped the others; times it was done */

static bool asked_or_free(void *arg)
{
	const struct mmu_vcpu *v = arg;

	return (v->requests & MMU_REQ_MASK) || stops == 1;
}

static void stop_once(void *arg)
{
	struct mmu_vcpu *v = arg;

	mmu_vcpu_enter(v);
	while (!mmu_stop_others(v)) {
		sched_wait("the other's stop", asked_or_free, v);
		mmu_vcpu_safe_point(v);
	}
	SCHED_CHECK(!in_stop++, "both have stopped the other");
	sched_point("the access", NULL);
	in_stop--;
	stops++;
	mmu_start_others(v);
	mmu_vcpu_leave(v);
}

void setup_stop_both(void)
{
	in_stop = stops = 0;
	world_create(2, 1, -1);
	sched_spawn("vcpu0", stop_once, v0);
	sched_spawn("vcpu1", stop_once, v1);
}

void check_both_stopped(void)
{
	SCHED_CHECK(stops == 2, "%u stops were made", stops);
}

/*
 * A vCPU that has a signal gets out of a stop which waits for a third one. That one, which the host does not
 * run, leaves guest mode only when the first has got out.
 */
static struct mmu_vcpu *const v2 = &world.vcpu[2];
static bool in_guest, got_out;

static bool is_set(void *arg)
{
	return *(const bool *)arg;
}

static void stop_others_at_last(void)
{
	sched_wait("the others", is_set, &in_guest);
	mmu_vcpu_enter(v0);
	while (!mmu_stop_others(v0))
		sched_wait("who has a signal", is_set, &got_out);
}

static void stop_until_out(void *arg)
{
	stop_others_at_last();
	mmu_start_others(v0);
	mmu_vcpu_leave(v0);
}

static void have_signal_at_gate(void *arg)
{
	mmu_vcpu_enter(v1);
	in_guest = true;
	sched_wait("a request", asked_or_over, v1);
	world_interrupt(v1, true);
	mmu_vcpu_safe_point(v1);
	mmu_vcpu_leave(v1);
	got_out = true;
}

static void leave_for_signal(void *arg)
{
	mmu_vcpu_enter(v2);
	have_signal_at_gate(NULL);
	mmu_vcpu_leave(v2);
}

void setup_stop_signal(void)
{
	stops_are_over = in_guest = got_out = false;
	world_create(3, 1, -1);
	sched_spawn("stopper", stop_until_out, NULL);
	sched_spawn("vcpu", leave_for_signal, NULL);
}

/* The host holds up the stopper's access, until somebody who was stopped and has a signal kicks it. */
static bool kicked_or_out(void *arg)
{
	return world.kicked[0] || got_out;
}

static void stop_and_be_held_up(void *arg)
{
	stop_others_at_last();
	sched_wait("its access", kicked_or_out, NULL);
	mmu_start_others(v0);
	mmu_vcpu_leave(v0);
}

/* A signal wakes nobody here: who sleeps at the gate looks when its sleep's limit is over. */
void setup_stop_held_up(void)
{
	stops_are_over = in_guest = got_out = false;
	world_create(2, 1, -1);
	sched_limits_count();
	sched_spawn("stopper", stop_and_be_held_up, NULL);
	sched_spawn("vcpu", have_signal_at_gate, NULL);
}

/* ------------------------------------------------------------------ a stopper's memslot goes */

/* As an instruction that takes what no memslot shows for a device's, and goes on with its next access. */
static void read_halves_or_device(void *arg)
{
	bool first_held, second_held;
	u64 value;
	int r;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		while (!mmu_stop_others(v0))
			mmu_vcpu_safe_point(v0);
		r = guest_read(v0, 0, &value);
		SCHED_CHECK(!r || r == -ENOENT || r == -EAGAIN, "a read ends with %d", r);
		first_held = mmu_stops_others(v0);
		if (r == -EAGAIN)
			continue;
		r = guest_read(v0, 0, &value);
		second_held = mmu_stops_others(v0);
		SCHED_CHECK(first_held || r, "half of an access is made without its stop");
		if (second_held)
			mmu_start_others(v0);
	}
	mmu_vcpu_leave(v0);
}

static void delete_and_make_anew(void *arg)
{
	SCHED_CHECK(!world_set_slot(0, 0), "deleting the slot fails");
	SCHED_CHECK(!world_set_slot(1, 0), "making it anew fails");
}

void setup_stop_slot(void)
{
	world_create(2, 1, -1);
	sched_spawn("stopper", read_halves_or_device, NULL);
	sched_spawn("slots", delete_and_make_anew, NULL);
}

/* What no memslot shows is a device's, also where some gfn is private: an access ends as one without a stop does. */
static bool any_private; /* then only a fault can say that it is no private memory without a page */

static void read_device(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	while (!mmu_stop_others(v0))
		mmu_vcpu_safe_point(v0);
	SCHED_CHECK(guest_read(v0, 4 * PAGE_SIZE, &value) == -ENOENT, "a device's memory is reached");
	SCHED_CHECK(any_private || mmu_stops_others(v0), "a device's memory is looked for by a fault");
	if (mmu_stops_others(v0))
		mmu_start_others(v0);
	mmu_vcpu_leave(v0);
}

static void setup_device(void)
{
	world_create(2, 1, -1);
	SCHED_CHECK(!mmu_set_attributes(world.mmu, 32, 3, MMU_ATTR_PRIVATE), "a conversion fails");
	sched_spawn("stopper", read_device, NULL);
	sched_spawn("slots", delete_and_make_anew, NULL);
}

void setup_stop_device(void)
{
	any_private = true;
	setup_device();
}

/* What was private is not any more: in the middle first, then the rest. */
void setup_stop_device_shared(void)
{
	any_private = false;
	setup_device();
	SCHED_CHECK(!mmu_set_attributes(world.mmu, 33, 1, 0) && !mmu_set_attributes(world.mmu, 30, 8, 0),
		    "a conversion fails");
}

/* A fault that fails says so, also to who has stopped the others: it would begin anew for ever. */
static void read_unmapped(void *arg)
{
	mmu_vcpu_enter(v0);
	for (int i = 0; i < 3; i++) {
		bool was_unmapped = SCHED_SEE(unmapped);
		u64 value;
		int r;

		while (!mmu_stop_others(v0))
			mmu_vcpu_safe_point(v0);
		r = guest_read(v0, 0, &value);
		SCHED_CHECK(!r || r == -EFAULT || r == -EAGAIN, "a read ends with %d", r);
		SCHED_CHECK(!was_unmapped || r == -EFAULT, "a read of what was unmapped ends with %d", r);
		if (mmu_stops_others(v0))
			mmu_start_others(v0);
	}
	mmu_vcpu_leave(v0);
}

void setup_stop_unmapped(void)
{
	unmapped = false;
	world_create(2, 1, -1);
	sched_spawn("stopper", read_unmapped, NULL);
	sched_spawn("munmap", unmap, NULL);
}
