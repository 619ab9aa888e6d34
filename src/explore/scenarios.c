/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of memory that the VMM maps. What each one's actors may meet is said where they check
 * it; the model itself checks every guest access (model_check_access) and that references balance.
 */
#include "explore/scenario.h"

#include "explore/scenarios.h"
#include "explore/world.h"

static struct mmu_vcpu *const v0 = &world.vcpu[0], *const v1 = &world.vcpu[1];

/* ------------------------------------------------------------------ fault against munmap */

static u64 munmapped; /* munmap has returned */

static void touch_until_gone(void *arg)
{
	u64 value, was_gone;
	int r;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 3; i++) {
		was_gone = SCHED_SEE(munmapped);
		r = i == 1 ? guest_write(v0, 0, 7) : guest_read(v0, 0, &value);
		SCHED_CHECK(r == 0 || r == -EFAULT, "an access ends with %d", r);
		SCHED_CHECK(!(was_gone && r == 0), "memory is reached after its munmap returned");
	}
	mmu_vcpu_leave(v0);
}

static void do_munmap(void *arg)
{
	model_munmap(world.model, WORLD_HVA, 2);
	SCHED_SET(munmapped, 1);
}

static void setup_munmap(void)
{
	munmapped = 0;
	world_create(1, 2, -1);
	sched_spawn("vcpu", touch_until_gone, NULL);
	sched_spawn("munmap", do_munmap, NULL);
}

/* ------------------------------------------------------------------ flush and a running vCPU */

void own_writes_stay(void *arg)
{
	struct mmu_vcpu *v = arg;
	gpa_t gpa = v->index * PAGE_SIZE;
	u64 value;

	mmu_vcpu_enter(v);
	for (u64 i = 1; i <= OWN_LAST_WRITE; i++) {
		SCHED_CHECK(guest_write(v, gpa, i) == 0, "a write fails");
		SCHED_CHECK(guest_read(v, gpa, &value) == 0, "a read fails");
		SCHED_CHECK(value == i, "vcpu %u wrote %llu and reads %llu", v->index,
			    (unsigned long long)i, (unsigned long long)value);
	}
	mmu_vcpu_leave(v);
}

static void do_migrate(void *arg)
{
	model_migrate(world.model, WORLD_HVA);
	model_migrate(world.model, WORLD_HVA);
}

static void setup_migrate(void)
{
	world_create(1, 1, -1);
	sched_spawn("vcpu", own_writes_stay, v0);
	sched_spawn("migrate", do_migrate, NULL);
}

/* The second one's page is there, so that its part is short. */
static void setup_migrate_two(void)
{
	world_create(2, 2, -1);
	mmu_vcpu_enter(&world.vcpu[1]);
	guest_write(&world.vcpu[1], PAGE_SIZE, 0);
	mmu_vcpu_leave(&world.vcpu[1]);
	sched_spawn("vcpu0", own_writes_stay, &world.vcpu[0]);
	sched_spawn("vcpu1", own_writes_stay, &world.vcpu[1]);
	sched_spawn("migrate", do_migrate, NULL);
}

/* ------------------------------------------------------------------ memslot delete */

static u64 deleted;

static void touch_slot(void *arg)
{
	u64 value, was_deleted;
	int r;

	mmu_vcpu_enter(v0);
	for (int i = 0; i < 2; i++) {
		was_deleted = SCHED_SEE(deleted);
		r = guest_read(v0, PAGE_SIZE, &value);
		SCHED_CHECK(r == 0 || r == -ENOENT, "an access ends with %d", r);
		SCHED_CHECK(!(was_deleted && r == 0), "a deleted memslot is still used");
	}
	mmu_vcpu_leave(v0);
}

static void do_delete(void *arg)
{
	SCHED_CHECK(world_set_slot(0, 0) == 0, "deleting the slot fails");
	SCHED_SET(deleted, 1);
}

static void setup_delete(void)
{
	deleted = 0;
	world_create(1, 2, -1);
	sched_spawn("vcpu", touch_slot, NULL);
	sched_spawn("delete", do_delete, NULL);
}

/* ------------------------------------------------------------------ dirty log */

static u64 harvested; /* pages the log has shown */
static u64 final_word;

static void write_and_note(void *arg)
{
	mmu_vcpu_enter(v0);
	for (u64 i = 1; i <= 2; i++) {
		SCHED_CHECK(guest_write(v0, 0, i) == 0, "a write fails");
		final_word = i;
	}
	mmu_vcpu_leave(v0);
}

static u64 copied; /* what the host read after a harvest that showed the page */

static void harvest(void)
{
	u64 bits = 0;

	SCHED_CHECK(mmu_dirty_get(world.mmu, 0, &bits) == 0, "no log");
	if (bits & 1) {
		harvested++;
		model_read(world.model, WORLD_HVA, &copied);
	}
}

static void do_harvest(void *arg)
{
	harvest();
}

static void setup_log(void)
{
	harvested = final_word = copied = 0;
	world_create(1, 1, -1);
	world_set_slot(1, MMU_SLOT_LOG_DIRTY);
	sched_spawn("vcpu", write_and_note, NULL);
	sched_spawn("harvest", do_harvest, NULL);
}

/* Invariant 9: what no harvest has shown yet, the last one does. */
static void check_log(void)
{
	harvest();
	SCHED_CHECK(copied == final_word, "the log's last harvest shows %llu, the guest wrote %llu",
		    (unsigned long long)copied, (unsigned long long)final_word);
}

static u64 written_by_other;

static void write_beside(void *arg)
{
	mmu_vcpu_enter(v1);
	SCHED_CHECK(guest_write(v1, 8, 1) == 0, "a write fails");
	SCHED_SET(written_by_other, 1);
	mmu_vcpu_leave(v1);
}

static void harvest_after_other(void *arg)
{
	u64 before = SCHED_SEE(written_by_other);

	harvest();
	SCHED_CHECK(!before || harvested, "a write that was over before the harvest is not in the log");
}

static void setup_log_shared(void)
{
	harvested = final_word = copied = 0;
	written_by_other = 0;
	world_create(2, 1, -1);
	world_set_slot(1, MMU_SLOT_LOG_DIRTY);
	sched_spawn("vcpu", write_and_note, NULL);
	sched_spawn("other", write_beside, NULL);
	sched_spawn("harvest", harvest_after_other, NULL);
}

/* The other has read the page and remembers the table that its leaf is in. */
static void setup_log_known(void)
{
	u64 value;

	setup_log_shared();
	model_write(world.model, WORLD_HVA, 0); /* so that the page can be written */
	mmu_vcpu_enter(v1);
	SCHED_CHECK(guest_read(v1, 0, &value) == 0, "a read fails");
	mmu_vcpu_leave(v1);
}

/* ------------------------------------------------------------------ aging */

#define MOST_AGED 2

static u64 aged_pages;
static bool aged, read_since[MOST_AGED];

static void read_twice(void *arg)
{
	u64 value;

	mmu_vcpu_enter(v0);
	for (u64 i = 0; i < 2 * aged_pages; i++) {
		bool after = SCHED_SEE(aged);

		SCHED_CHECK(!guest_read(v0, i % aged_pages * PAGE_SIZE, &value), "a read fails");
		read_since[i % aged_pages] |= after;
	}
	mmu_vcpu_leave(v0);
}

static void do_age(void *arg)
{
	for (u64 i = 0; i < aged_pages; i++)
		model_age(world.model, WORLD_HVA + i * PAGE_SIZE);
	SCHED_SET(aged, true);
}

static void create_aged(u64 pages)
{
	aged = false;
	memset(read_since, 0, sizeof(read_since));
	aged_pages = pages;
	world_create(1, pages, -1);
}

static void setup_age(void)
{
	create_aged(1);
	sched_spawn("vcpu", read_twice, NULL);
	sched_spawn("reclaim", do_age, NULL);
}

/*
 * The vCPU has read both pages, whose leaves are in one table. What it knows of that goes with the flush of an age;
 * then its read of the first page makes the table known again, and its read of the second goes by that.
 */
static void setup_age_known(void)
{
	u64 value;

	create_aged(MOST_AGED);
	mmu_vcpu_enter(v0);
	for (u64 i = 0; i < MOST_AGED; i++)
		SCHED_CHECK(!guest_read(v0, i * PAGE_SIZE, &value), "a read fails");
	mmu_vcpu_leave(v0);
	sched_spawn("vcpu", read_twice, NULL);
	sched_spawn("reclaim", do_age, NULL);
}

/* What was read after one age is young at the next. */
static void check_age(void)
{
	for (u64 i = 0; i < aged_pages; i++)
		SCHED_CHECK(model_age(world.model, WORLD_HVA + i * PAGE_SIZE) || !read_since[i],
			    "a read after the page was aged was not seen");
}

/* ------------------------------------------------------------------ all of them */

void check_nothing(void)
{
}

void scenario_teardown(void)
{
	world_destroy();
}

const struct scenario memory_scenarios[] = {
	{"munmap", "a vCPU faults while the VMM unmaps", setup_munmap, check_nothing,
	 {DEFECT_NO_SEQUENCE_CHECK, DEFECT_SEQUENCE_AFTER_FAULT, DEFECT_NO_ZAP, DEFECT_NO_FLUSH}},
	{"writeback", "a vCPU writes while the page is cleaned", setup_writeback, check_file,
	 {DEFECT_NO_FLUSH, DEFECT_NO_SEQUENCE_CHECK}},
	{"truncate", "a vCPU writes while its file is truncated and written back", setup_truncate,
	 check_truncated, {DEFECT_NO_FLUSH}},
	{"dax", "a vCPU writes while its DAX file is truncated", setup_dax, check_nothing,
	 {DEFECT_DROP_BY_PFN, DEFECT_NO_FLUSH}},
	{"migrate", "a running vCPU against a page that moves", setup_migrate, check_nothing,
	 {DEFECT_NO_FLUSH, DEFECT_DROP_BY_PFN}},
	{"migrate-two", "two running vCPUs against a page that moves", setup_migrate_two,
	 check_nothing, {DEFECT_NO_FLUSH, DEFECT_FIRST_VCPU_ONLY}},
	{"arena", "the VMM maps memory of its own where a vCPU's window lies", setup_arena,
	 check_nothing, {DEFECT_MAPPED_FIRST, DEFECT_NO_FLUSH, DEFECT_NO_ZAP}},
	{"unseen", "a vCPU reads and writes while a call that nobody announces unmaps", setup_unseen,
	 check_nothing, {DEFECT_EVENT_READ_FIRST, DEFECT_NOT_HIDDEN, DEFECT_NO_FLUSH, DEFECT_ZAPPED_LATE}},
	{"tables", "a vCPU goes from page to page of a block whose table it knows, while that is unmapped", setup_tables,
	 check_nothing, {DEFECT_TABLE_KEPT, DEFECT_NO_FLUSH, DEFECT_NO_ZAP}},
	{"two-slots", "a vCPU uses memory by two gfns while it is unmapped", setup_two_slots,
	 check_nothing, {DEFECT_FIRST_SLOT_ONLY, DEFECT_NO_FLUSH}},
	{"two-slots-one", "a vCPU uses memory by one of its two gfns while it is unmapped",
	 setup_two_slots_one, check_nothing, {DEFECT_ZAPPED_OF_LAST_SLOT}},
	{"read-only", "a vCPU writes while its memslot becomes read-only", setup_read_only, check_nothing,
	 {DEFECT_NO_FLUSH}},
	{"cache-slot", "a host-side cache is written while its memslot is deleted", setup_cache_slot,
	 check_nothing, {DEFECT_CACHE_OF_OLD_SLOT}},
	{"delete", "a memslot is deleted under a fault", setup_delete, check_nothing,
	 {DEFECT_NO_GRACE_PERIOD, DEFECT_NO_FLUSH}},
	{"cache", "a host-side cache is written while its page is cleaned", setup_cache_writeback,
	 check_file, {DEFECT_CACHE_KEPT, DEFECT_CACHE_LOOKED_FIRST}},
	{"cache-dax", "a host-side cache is written while its DAX file is truncated",
	 setup_cache_dax, check_nothing, {DEFECT_CACHE_KEPT, DEFECT_CACHE_NOT_RECHECKED}},
	{"cache-code", "a vCPU writes a clock page that holds code while another is made",
	 setup_cache_code, check_nothing, {DEFECT_TOLD_IN_GUEST}},
	{"code-alias", "code runs while it is stored into through another mapping of its file",
	 setup_code_alias, check_nothing, {DEFECT_NAME_KEPT}},
	{"code-two", "code runs while two vCPUs store into it", setup_code_two, check_nothing,
	 {DEFECT_MARKS_TAKEN_FIRST, DEFECT_MODE_AFTER_REQUESTS}},
	{"code-vms", "code runs while another VM stores into it", setup_code_vms, check_nothing,
	 {DEFECT_CODE_OF_ONE_VM}},
	{"code-beside", "code runs while another vCPU stores into its page, beside it", setup_code_beside,
	 check_nothing, {}},
	{"cache-truncate", "a host-side cache is written while its file is truncated and regrown",
	 setup_cache_truncate, check_regrown, {DEFECT_CACHE_KEPT}},
	{"dax-halted", "a DAX file is truncated under a halted vCPU and its clock page",
	 setup_dax_halted, check_nothing, {DEFECT_PIN_KEPT, DEFECT_DROP_BY_PFN}},
	{"dax-writeback", "a vCPU writes while its DAX file is flushed", setup_dax_writeback,
	 check_file, {DEFECT_NO_FLUSH, DEFECT_NO_SEQUENCE_CHECK}},
	{"pin", "a page pinned for DMA, and a DAX truncate that must wait for it", setup_pin,
	 check_nothing, {DEFECT_PIN_WEAK}},
	{"unbind", "a DAX device goes away while a vCPU writes", setup_unbind, check_nothing,
	 {DEFECT_MARK_UNHELD, DEFECT_PIN_KEPT, DEFECT_NO_FLUSH}},
	{"pfnmap", "a vCPU uses memory without reference counts while the VMM unmaps it",
	 setup_pfnmap, check_nothing, {DEFECT_NEEDS_PAGE, DEFECT_PAGE_BY_PFN, DEFECT_COUNTED_AT_INSTALL, DEFECT_NO_FLUSH}},
	{"driver", "a driver moves its buffer, mapped VM_PFNMAP, under a running vCPU",
	 setup_driver, check_nothing, {DEFECT_NO_FLUSH, DEFECT_NO_ZAP, DEFECT_NO_SEQUENCE_CHECK}},
	{"swap", "a vCPU writes while its page goes to swap and comes back", setup_swap,
	 check_swap, {DEFECT_MARKS_DROPPED, DEFECT_NO_FLUSH}},
	{"merge", "two vCPUs write while their pages, found to hold the same, become one",
	 setup_merge, check_nothing, {DEFECT_NO_FLUSH, DEFECT_NO_SEQUENCE_CHECK}},
	{"protect", "a vCPU writes while the VMM forbids it and allows it again", setup_protect,
	 check_nothing, {DEFECT_NO_FLUSH, DEFECT_NO_ZAP, DEFECT_NO_SEQUENCE_CHECK}},
	{"fork", "a vCPU writes while the VMM forks", setup_fork, check_nothing,
	 {DEFECT_WRITABLE_BY_SLOT, DEFECT_NO_FLUSH, DEFECT_NO_SEQUENCE_CHECK}},
	{"poison", "a frame breaks under a running vCPU", setup_poison, check_nothing,
	 {DEFECT_NO_FLUSH, DEFECT_NO_SEQUENCE_CHECK}},
	{"rebind", "a memslot is deleted and made anew during an invalidation", setup_rebind,
	 check_nothing, {DEFECT_END_LOOKS_UP}},
	{"teardown", "a VM goes away during an invalidation", setup_teardown, check_nothing,
	 {DEFECT_TOKEN_NO_REF, DEFECT_LATE_ZAP}},
	{"monitor", "a munmap goes on only when a memslot update has returned", setup_monitor,
	 check_nothing, {DEFECT_SLOTS_WAIT}},
	{"no-memory", "each allocation of each call fails in turn", setup_no_memory, check_nothing,
	 {DEFECT_ARRAY_KEPT}},
	{"age", "a vCPU reads while reclaim ages its page", setup_age, check_age,
	 {DEFECT_NO_FLUSH}},
	{"age-known", "two pages of one small table are aged while a vCPU knows it", setup_age_known, check_age,
	 {DEFECT_KNOWN_UNMARKED, DEFECT_NO_FLUSH}},
	{"log", "a vCPU writes while its dirty log is harvested", setup_log, check_log,
	 {DEFECT_NO_FLUSH}},
	{"log-shared", "two vCPUs write one page while its dirty log is harvested", setup_log_shared,
	 check_log, {DEFECT_LOGGED_BY_ANOTHER, DEFECT_NO_FLUSH}},
	{"log-known", "two vCPUs write one page, which one of them knows, while its dirty log is harvested", setup_log_known,
	 check_log, {DEFECT_LOGGED_BY_ANOTHER_KNOWN, DEFECT_NO_FLUSH}},
	{"log-huge", "a vCPU writes in a huge leaf while logging starts and ends", setup_log_huge,
	 check_log_huge, {DEFECT_SLOT_NOT_RECHECKED, DEFECT_NO_FLUSH}},
	{"log-start", "a vCPU writes while its dirty log is switched on", setup_log_start,
	 check_log_start, {DEFECT_LOG_OF_OLD_SLOT}},
	{"log-move", "a vCPU writes while its memslot moves, with its dirty log", setup_log_move,
	 check_log_move, {DEFECT_LOG_OF_NEW_SLOT}},
	{"log-move-copy", "the host itself writes while a memslot moves, with its dirty log",
	 setup_log_move_copy, check_log_move, {DEFECT_LOG_OF_NEW_SLOT}},
	{"ring", "a vCPU writes while its dirty ring is collected", setup_ring, check_ring,
	 {DEFECT_RING_SHOWN_FIRST, DEFECT_RING_FLAG_FIRST, DEFECT_NO_FLUSH}},
	{"requests", "a vCPU answers for code while it is asked for a flush", setup_requests,
	 check_nothing, {DEFECT_ANSWER_TO_ANOTHER, DEFECT_NO_FLUSH}},
	{"stop", "a vCPU faults, leaves and enters while another has stopped it", setup_stop,
	 check_nothing, {DEFECT_NO_GATE}},
	{"stop-guest", "a vCPU that leaves guest mode only when asked to is stopped", setup_stop_guest,
	 check_nothing, {DEFECT_LOST_STOP}},
	{"stop-both", "two vCPUs stop each other", setup_stop_both, check_both_stopped,
	 {DEFECT_LOST_STOP, DEFECT_NO_GATE}},
	{"stop-signal", "a vCPU that has a signal leaves while a stop waits for a third", setup_stop_signal,
	 check_nothing, {DEFECT_DEAF_STOP}},
	{"code-content", "code runs while the VMM changes what is in its page", setup_code_content, check_nothing,
	 {DEFECT_CONTENT_UNTOLD}},
	{"log-clear", "a vCPU writes while its dirty log is cleared by hand", setup_log_clear, check_log_clear,
	 {DEFECT_NO_FLUSH, DEFECT_LOCK_KEPT_BY_CALL}},
	{"log-all", "a vCPU writes while a log that began with every page is cleared by hand", setup_log_all,
	 check_log_clear, {DEFECT_NO_FLUSH}},
	{"reports", "memory is pre-faulted, copied and reported while it is unmapped", setup_reports,
	 check_nothing, {DEFECT_NO_ZAP}},
	{"cache-read", "a host-side cache is read while its memory is unmapped, and given up", setup_cache_read,
	 check_nothing, {DEFECT_CACHE_KEPT}},
	{"refused", "a vCPU writes while calls are refused, and its memory is unmapped", setup_refused,
	 check_nothing, {DEFECT_NO_FLUSH, DEFECT_NO_ZAP}},
	{"signals", "signals come for a vCPU that stops others and one that is stopped", setup_signals,
	 check_nothing, {DEFECT_NO_GATE}},
	{"age-write", "a vCPU writes while reclaim ages its page", setup_age_write, check_age_write,
	 {DEFECT_AGED_BY_STORE}},
	{"attributes", "attributes of gfns beside each other change, and are asked for", setup_attributes, check_nothing,
	 {DEFECT_NONE_FOR_A_MOMENT}},
	{"part-middle", "a memslot shows three pages of a huge one", setup_part_middle, check_part,
	 {DEFECT_NO_FLUSH, DEFECT_NO_ZAP, DEFECT_LEVEL_BY_FRAME}},
	{"part-end", "a memslot shows the last three pages of a huge one", setup_part_end, check_part,
	 {DEFECT_NO_FLUSH, DEFECT_NO_ZAP, DEFECT_LEVEL_BY_FRAME}},
	{"part-shifted", "a memslot shows pages of a huge one at another place of its block", setup_part_shifted,
	 check_part, {DEFECT_NO_FLUSH, DEFECT_NO_ZAP, DEFECT_LEVEL_BY_FRAME}},
	{"log-part", "a log is cleared by hand, some pages before others", setup_log_part, check_log_part,
	 {DEFECT_NO_FLUSH, DEFECT_CLEARED_BY_WORD}},
	{"many", "more invalidations end during a fault than are remembered", setup_many, check_nothing,
	 {DEFECT_NO_SEQUENCE_CHECK, DEFECT_OLDEST_FORGOTTEN}},
	{"cache-two", "two host-side caches are written while memory is unmapped and their memslot deleted",
	 setup_cache_two, check_caches, {DEFECT_CACHE_KEPT, DEFECT_OWN_CACHES_AWAITED}},
	{"cache-told", "a host-side cache becomes stale, and its vCPU is told", setup_cache_told, check_caches,
	 {DEFECT_CACHE_KEPT, DEFECT_STALE_UNTOLD}},
	{"cache-refused", "the host refuses uses of a cache, and signals break them off", setup_cache_refused,
	 check_caches, {DEFECT_CACHE_KEPT}},
	{"cache-readonly", "the host uses and copies into a memslot that becomes read-only", setup_cache_readonly,
	 check_caches, {DEFECT_CACHE_OF_OLD_SLOT}},
	{"cache-pfnmap", "a host-side cache of memory without reference counts is unmapped", setup_cache_pfnmap,
	 check_nothing, {DEFECT_CACHE_KEPT}},
	{"ring-full", "a vCPU writes until its dirty ring is full",
	 setup_ring_full, check_rings, {DEFECT_NO_FLUSH, DEFECT_FULL_UNTOLD}},
	{"ring-host", "the host writes for a vCPU while its dirty ring is collected", setup_ring_host, check_rings,
	 {DEFECT_NO_FLUSH, DEFECT_LISTED_BY_ANOTHER}},
	{"ring-host-full", "the host fills the dirty ring of a vCPU that does not write", setup_ring_host_full, check_rings,
	 {DEFECT_FULL_UNTOLD}},
	{"ring-no-room", "the host would write where a dirty ring has no room",
	 setup_ring_no_room, check_rings, {DEFECT_ROOM_UNCHECKED}},
	{"ring-gone", "a dirty ring lists pages of a memslot that is gone",
	 setup_ring_gone, check_ring_gone, {DEFECT_RESET_UNCHECKED}},
	{"code-file", "code of a file's page runs while another VM stores into it", setup_code_file, check_nothing,
	 {DEFECT_CODE_OF_ONE_VM}},
	{"code-both", "two vCPUs have the same code while a third stores into it", setup_code_both, check_nothing,
	 {DEFECT_MARKED_IS_READY}},
	{"code-shared", "two VMs have the same code, and one of them stores into it", setup_code_shared, check_nothing,
	 {DEFECT_READY_FOR_ANOTHER}},
	{"code-copy", "code runs while the host copies over it", setup_code_copy, check_nothing, {DEFECT_COPY_UNTOLD}},
	{"code-use", "code runs while the host writes a clock page over it",
	 setup_code_use, check_nothing, {DEFECT_USE_UNTOLD}},
	{"code-gone", "code is tracked while its page is unmapped", setup_code_gone, check_nothing, {DEFECT_NO_ZAP}},
	{"code-vm-ends", "code is tracked while another VM with its page ends",
	 setup_code_vm_ends, check_nothing, {DEFECT_DEAD_VM_HELD}},
	{"stop-slot", "a vCPU has stopped another while its memslot goes and comes back", setup_stop_slot,
	 check_nothing, {DEFECT_DEVICE_WITHOUT_STOP}},
	{"no-tokens", "calls find no memory for a token", setup_no_tokens, check_nothing, {DEFECT_NO_TOKEN_NO_MATTER}},
	{"thp-collapse", "a vCPU writes while its huge page is split and collapses", setup_thp_collapse, check_thp_whole,
	 {DEFECT_COLLAPSE_UNTOLD, DEFECT_NO_FLUSH, DEFECT_NO_ZAP, DEFECT_NO_SEQUENCE_CHECK}},
	{"thp-move", "a vCPU writes while its part of a huge page moves, and it collapses", setup_thp_move,
	 check_thp_whole, {DEFECT_COLLAPSE_UNTOLD, DEFECT_NO_FLUSH}},
	{"thp-migrate", "a vCPU writes while its huge page moves", setup_thp_migrate, check_nothing,
	 {DEFECT_NO_FLUSH, DEFECT_DROP_BY_PFN}},
	{"thp-beside", "two vCPUs in a huge page of which another page is invalidated", setup_thp_beside, check_nothing,
	 {DEFECT_FINER_NOT_TRIED}},
	{"thp-part", "a vCPU reads while a part of its huge page is given up", setup_thp_part, check_nothing,
	 {DEFECT_NO_FLUSH, DEFECT_NO_ZAP}},
	{"thp-poison", "a part of a huge page fails under a vCPU", setup_thp_poison, check_nothing,
	 {DEFECT_NO_FLUSH, DEFECT_NO_SEQUENCE_CHECK}},
	{"thp-fork", "a vCPU writes to a huge page while the VMM forks", setup_thp_fork, check_nothing,
	 {DEFECT_WRITABLE_BY_SLOT, DEFECT_NO_FLUSH}},
	{"pin-fork", "a page that is pinned for DMA, while the VMM forks and the host migrates", setup_pin_fork,
	 check_nothing, {DEFECT_PINNED_SHARED, DEFECT_PIN_DURING_FORK, DEFECT_NO_FLUSH}},
	{"pin-fork-huge", "the same of a huge page", setup_pin_fork_huge,
	 check_nothing, {DEFECT_NO_FLUSH}},
	{"pin-free", "a page that is pinned for DMA is given up by MADV_FREE and reclaimed", setup_pin_free,
	 check_nothing, {DEFECT_LAZY_WHILE_HELD}},
	{"hugetlb", "a vCPU writes while its hugetlb file is truncated", setup_hugetlb, check_hugetlb,
	 {DEFECT_HUGE_RANGE_SHORT, DEFECT_NO_FLUSH, DEFECT_NO_ZAP}},
	{"hugetlb-hole", "a hole in a hugetlb file, whose page another file takes from the pool", setup_hugetlb_hole,
	 check_nothing, {DEFECT_NO_FLUSH, DEFECT_NO_SEQUENCE_CHECK}},
	{"lazy-free", "a vCPU writes while its page is given up by MADV_FREE and reclaimed", setup_lazy_free,
	 check_lazy_free, {DEFECT_MARKS_DROPPED, DEFECT_NO_FLUSH}},
	{"soft-dirty", "a vCPU writes while the VMM asks what was written", setup_soft_dirty, check_soft_dirty,
	 {DEFECT_NO_FLUSH, DEFECT_NO_ZAP}},
	{"guard", "a vCPU writes while its page is write-protected for a snapshot", setup_guard, check_nothing,
	 {DEFECT_GUARD_UNTOLD, DEFECT_NO_FLUSH, DEFECT_NO_SEQUENCE_CHECK}},
	{"other-process", "a vCPU and another process share a file", setup_other_process, check_nothing,
	 {DEFECT_NO_FLUSH, DEFECT_NO_SEQUENCE_CHECK}},
	{"part-begin", "a memslot shows the first three pages of a huge one", setup_part_begin, check_part,
	 {DEFECT_LEVEL_BY_FRAME, DEFECT_NO_FLUSH}},
	{"part-two", "a memslot of a block shows parts of two huge pages", setup_part_two, check_part,
	 {DEFECT_LEVEL_BY_FRAME, DEFECT_NO_FLUSH}},
	{"part-boundary", "a memslot lies on either side of a boundary of tables", setup_part_boundary, check_part,
	 {DEFECT_NO_FLUSH, DEFECT_NO_ZAP}},
	{"log-part-all", "the same of a log that began with every page", setup_log_part_all, check_log_part,
	 {DEFECT_CLEARED_BY_WORD}},
	{"log-leave", "a vCPU writes to a logged memslot while another one goes", setup_log_leave, check_log_leave,
	 {}},
	{"stop-device", "a vCPU has stopped another and reads where no memslot is", setup_stop_device, check_nothing, {}},
	{"code-vms-two", "code runs while vCPUs of two VMs store into it", setup_code_vms_two, check_nothing,
	 {DEFECT_CODE_OF_ONE_VM}},
	{"code-names", "code runs in memory without a name, among pages of files that come and go", setup_code_names,
	 check_nothing, {DEFECT_NO_ZAP}},
	{"code-copy-beside", "code runs while the host copies beside it, where memory goes", setup_code_copy_beside,
	 check_nothing, {}},
	{"hugetlb-beside", "two vCPUs in a hugetlb page of which another part is invalidated", setup_hugetlb_beside,
	 check_nothing, {DEFECT_FINER_NOT_TRIED}},
	{"ring-smaller", "a dirty ring lists pages that its memslot no longer has", setup_ring_smaller, check_ring_gone,
	 {}},
	{"ring-forged", "a VMM writes what it likes into a dirty ring", setup_ring_forged, check_rings,
	 {DEFECT_RESET_UNCHECKED}},
	{"ring-large", "a reset takes more entries than it takes at a time", setup_ring_large, check_rings,
	 {DEFECT_NO_FLUSH}},
	{"open-above", "a vCPU faults between a range of addresses and one of gfns that stay open", setup_open_above,
	 check_nothing, {DEFECT_MEETS_BESIDE}},
	{"open-below", "the same with either in the other's place", setup_open_below, check_nothing,
	 {DEFECT_MEETS_BESIDE}},
	{"code-room", "code runs while its page makes room for another's, and is stored into", setup_code_room,
	 check_nothing, {DEFECT_EVICTED_UNTOLD, DEFECT_MARKS_TAKEN_FIRST}},
	{"thp-ahead", "a page is faulted in ahead in a huge one of which another page is invalidated", setup_thp_ahead,
	 check_nothing, {DEFECT_CLEARED_IS_DONE}},
	{"tlb", "a vCPU fills and flushes its TLB in every way", setup_tlb, check_nothing,
	 {DEFECT_GLOBAL_COMES_BACK, DEFECT_LARGE_COMES_BACK}},
	{"slots", "memslots by the hundred are made, moved and deleted", setup_slots, check_nothing, {DEFECT_ARRAY_KEPT}},
	{"look", "a VMM looks at what is mapped, page by page", setup_look, check_nothing, {}},
	{"look-huge", "the same of a huge page", setup_look_huge, check_nothing, {}},
	{"window-late", "a page gets a window when a vCPU has it without", setup_window_late, check_nothing,
	 {DEFECT_WAY_NOT_CLEARED}},
	{"cache-age", "a host-side cache is used while reclaim ages its page", setup_cache_age, check_cache_age,
	 {DEFECT_USE_UNMARKED}},
	{"log-huge-all", "a vCPU writes in a huge leaf while a log of every page starts and ends", setup_log_huge_all,
	 check_log_huge, {DEFECT_NO_FLUSH}},
	{"stop-slow", "a stopped vCPU waits for long, and has no signal", setup_stop_slow, check_nothing,
	 {DEFECT_LEAVES_UNASKED}},
	{"stop-unmapped", "a vCPU has stopped another and reads what is unmapped", setup_stop_unmapped, check_nothing, {}},
	{"stop-device-shared", "a vCPU has stopped another and reads where no memslot is, and nothing is private any more",
	 setup_stop_device_shared, check_nothing, {}},
	{"code-files-two", "code of one file runs beside a page of another, and is stored into", setup_code_files_two,
	 check_nothing, {DEFECT_NAMED_BY_DELTA}},
	{"replace", "a vCPU reads while one mapping takes another's place", setup_replace, check_caches,
	 {DEFECT_NO_BETWEEN, DEFECT_NO_SEQUENCE_CHECK}},
	{"cache-replace", "a host-side cache is used while one mapping takes another's place", setup_cache_replace,
	 check_caches, {DEFECT_NO_BETWEEN, DEFECT_CACHE_NOT_RECHECKED}},
	{"pfnmap-refused", "a device refuses accesses to memory that nobody touches for a fault", setup_pfnmap_refused,
	 check_nothing, {}},
	{"stop-held-up", "the access of who has stopped the others is held up, and one of these has a signal",
	 setup_stop_held_up, check_nothing, {DEFECT_LEAVES_UNKICKED}},
	{"code-own", "a vCPU stores into code of its own by another gfn", setup_code_own, check_nothing,
	 {DEFECT_OWN_WRITES_KEPT}},
	{NULL},
};
