/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of guest_memfd: a hole is punched while its pages are faulted in, bound, unbound, used
 * by another VM, converted, or while a VM ends. Pages that a punch took are another process's the
 * next moment (the model's store), so an access that is too late is caught wherever it comes from;
 * what is checked here is what the guest may read.
 */
#include "explore/scenario.h"

#include <stdlib.h>

#include "explore/world.h"

static struct world_vm *vm_a = &world.vm[0], *vm_b = &world.vm[1];
static struct mmu_vcpu *vcpu_a = &world.vcpu[0], *vcpu_b = &world.vcpu[1];

/* ------------------------------------------------------------------ punched pages read zero */

#define SECRET 7 /* is in page 0 before anything begins */

static u64 punches_begun, punches_done;
/* The last word written to page 0: by whom does not matter, one actor writes. */
static u64 word, begun_at_word, done_at_word;
static u64 writing; /* the word that is on its way: another VM may find it already */

static void reset_punches(u64 first_word)
{
	punches_begun = punches_done = begun_at_word = done_at_word = writing = 0;
	word = first_word;
}

static void punch_by(struct world_vm *vm)
{
	punches_begun++;
	world_punch(vm, 0, 1);
	SCHED_SET(punches_done, punches_done + 1);
}

static void do_punch(void *arg)
{
	punch_by(arg);
}

static void do_punch_twice(void *arg)
{
	punch_by(arg);
	punch_by(arg);
}

/* Invariant 12, for a read of page 0 that began when `done` punches were over. */
static void check_word(u64 value, u64 done)
{
	if (value && value == writing)
		return;
	if (value == word)
		SCHED_CHECK(!word || done <= begun_at_word,
			    "what was written before a punch is read after it");
	else
		SCHED_CHECK(!value && punches_begun > done_at_word,
			    "page 0 reads %llx, written was %llx", (unsigned long long)value,
			    (unsigned long long)word);
}

static void read_page_0(struct mmu_vcpu *v)
{
	u64 done = SCHED_SEE(punches_done), before = word, value;
	int r = guest_read(v, 0, &value);

	SCHED_CHECK(!r, "a read ends with %d", r);
	if (value || before) /* nothing was there yet, and nothing was found */
		check_word(value, done);
}

static void write_page_0(struct mmu_vcpu *v, u64 value)
{
	u64 done = SCHED_SEE(punches_done);
	int r;

	writing = value;
	r = guest_write(v, 0, value);
	writing = 0;
	SCHED_CHECK(!r, "a write ends with %d", r);
	word = value;
	begun_at_word = punches_begun;
	done_at_word = done;
}

/* From outside the guests, before there are actors. */
static void put_secret(struct mmu_vcpu *v)
{
	mmu_vcpu_enter(v);
	SCHED_CHECK(!guest_write(v, 0, SECRET), "a write fails");
	mmu_tlb_flush(v);
	mmu_vcpu_leave(v);
	reset_punches(SECRET);
}

/* ------------------------------------------------------------------ fault */

static void write_then_read(void *arg)
{
	mmu_vcpu_enter(arg);
	for (u64 i = 1; i <= 2; i++) {
		write_page_0(arg, i);
		read_page_0(arg);
	}
	mmu_vcpu_leave(arg);
}

static void setup_fault(void)
{
	world_create_gmem(1, 2, 2);
	reset_punches(0);
	sched_spawn("vcpu", write_then_read, vcpu_a);
	sched_spawn("punch", do_punch, vm_a);
}

/* ------------------------------------------------------------------ bind, unbind */

/* Page 0, if there is a memslot to reach it by. */
static void try_page_0(struct mmu_vcpu *v)
{
	u64 done = SCHED_SEE(punches_done), value;
	int r = guest_read(v, 0, &value);

	SCHED_CHECK(!r || r == -EFAULT, "a read ends with %d", r);
	if (!r)
		check_word(value, done);
}

static void try_twice(void *arg)
{
	mmu_vcpu_enter(arg);
	try_page_0(arg);
	try_page_0(arg);
	mmu_vcpu_leave(arg);
}

static void do_bind(void *arg)
{
	SCHED_CHECK(!world_set_gmem_slot(vm_a, true), "binding fails");
}

static void do_unbind(void *arg)
{
	SCHED_CHECK(!world_set_gmem_slot(vm_a, false), "unbinding fails");
}

static void setup_bind(void)
{
	world_create_gmem(1, 2, 2);
	put_secret(vcpu_a);
	do_unbind(NULL);
	sched_spawn("bind", do_bind, NULL);
	sched_spawn("vcpu", try_twice, vcpu_a);
	sched_spawn("punch", do_punch, vm_a);
}

static void setup_unbind(void)
{
	world_create_gmem(1, 2, 2);
	put_secret(vcpu_a);
	sched_spawn("unbind", do_unbind, NULL);
	sched_spawn("vcpu", try_twice, vcpu_a);
	sched_spawn("punch", do_punch_twice, vm_a);
}

static bool closed;

static void try_until_closed(void *arg)
{
	bool was_closed;
	u64 value;
	int r;

	mmu_vcpu_enter(arg);
	for (int i = 0; i < 2; i++) {
		was_closed = SCHED_SEE(closed);
		r = guest_read(arg, 0, &value);
		SCHED_CHECK(!r || r == -EFAULT, "a read ends with %d", r);
		SCHED_CHECK(r || !was_closed, "private memory is reached after its file was closed");
	}
	mmu_vcpu_leave(arg);
}

static void do_close(void *arg)
{
	world_close_gmem(vm_a);
	SCHED_SET(closed, true);
}

static void setup_close(void)
{
	closed = false;
	world_create_gmem(1, 2, 2);
	sched_spawn("vcpu", try_until_closed, vcpu_a);
	sched_spawn("close", do_close, NULL);
}

/* ------------------------------------------------------------------ two VMs on a store */

static void read_twice(void *arg)
{
	mmu_vcpu_enter(arg);
	read_page_0(arg);
	read_page_0(arg);
	mmu_vcpu_leave(arg);
}

static void setup_two_vms(void)
{
	world_create_gmem(1, 2, 2);
	world_second_vm();
	put_secret(vcpu_a);
	sched_spawn("vcpu A", read_twice, vcpu_a);
	sched_spawn("vcpu B", read_twice, vcpu_b);
	sched_spawn("punch by A", do_punch, vm_a);
}

static void do_end_vm(void *arg)
{
	world_end_vm(0);
}

static void delete_slot_and_end_vm(void *arg)
{
	do_unbind(NULL);
	world_end_vm(0);
}

/* VM A ends, at whatever moment of a punch by B's file, and B goes on. */
static void setup_vm_ends(void)
{
	world_create_gmem(1, 2, 2);
	world_second_vm();
	put_secret(vcpu_a);
	sched_spawn("end of A", do_end_vm, NULL);
	sched_spawn("vcpu B", read_twice, vcpu_b);
	sched_spawn("punch by B", do_punch, vm_b);
}

static void setup_vm_unbinds_and_ends(void)
{
	world_create_gmem(1, 2, 2);
	world_second_vm();
	put_secret(vcpu_a);
	sched_spawn("end of A", delete_slot_and_end_vm, NULL);
	sched_spawn("punch by B", do_punch, vm_b);
}

/* Hand-over: B finds what A left, and a punch then takes it from B. */
static void write_and_hand_over(void *arg)
{
	mmu_vcpu_enter(vcpu_a);
	write_page_0(vcpu_a, 1);
	mmu_vcpu_leave(vcpu_a);
	world_end_vm(0);
}

static void take_over(void *arg)
{
	u64 done_before = punches_done;

	mmu_vcpu_enter(vcpu_b);
	read_page_0(vcpu_b);
	read_page_0(vcpu_b);
	mmu_vcpu_leave(vcpu_b);
	SCHED_CHECK(done_before == punches_done, "nobody punches yet");
	punch_by(vm_b);
	mmu_vcpu_enter(vcpu_b);
	read_page_0(vcpu_b);
	mmu_vcpu_leave(vcpu_b);
}

static void setup_hand_over(void)
{
	world_create_gmem(1, 2, 2);
	world_second_vm();
	reset_punches(0);
	sched_spawn("VM A", write_and_hand_over, NULL);
	sched_spawn("VM B", take_over, NULL);
}

/* What A wrote is still there for B, unless B's punch came after it. */
static void check_hand_over(void)
{
	u64 left = model_store_word(world.store, 0);

	SCHED_CHECK(left == word || (!left && punches_begun > done_at_word),
		    "page 0 holds %llx after the hand-over, written was %llx",
		    (unsigned long long)left, (unsigned long long)word);
}

/* ------------------------------------------------------------------ memory failure */

static bool poisoned, failed; /* memory failure has begun; is over */

static void read_what_fails(void *arg)
{
	bool was_failed;
	u64 value;
	int r;

	mmu_vcpu_enter(arg);
	for (int i = 0; i < 2; i++) {
		was_failed = SCHED_SEE(failed);
		r = guest_read(arg, 0, &value);
		SCHED_CHECK(!r || (r == -EHWPOISON && poisoned), "a read ends with %d", r);
		SCHED_CHECK(r || !was_failed || punches_begun, "memory that failed is read");
	}
	mmu_vcpu_leave(arg);
}

static void fail_then_punch(void *arg)
{
	poisoned = true;
	model_store_poison(world.store, 0);
	SCHED_SET(failed, true);
	punch_by(vm_a);
}

static void setup_poison(void)
{
	poisoned = failed = false;
	world_create_gmem(1, 2, 2);
	reset_punches(0);
	sched_spawn("vcpu", read_what_fails, vcpu_a);
	sched_spawn("memory failure", fail_then_punch, NULL);
}

/* A punch mends it. */
static void check_poison(void)
{
	mmu_vcpu_enter(vcpu_a);
	read_page_0(vcpu_a);
	mmu_vcpu_leave(vcpu_a);
}

/* ------------------------------------------------------------------ files come and go */

static struct gmem_file *second;

static void close_second(void *arg)
{
	gmem_release(second);
}

static void link_and_close(void *arg)
{
	struct gmem_file *third;

	SCHED_CHECK(!gmem_link(world.vm[0].gmem, world.mmu, &third), "a file cannot be linked");
	gmem_release(third);
}

/* Each finds its own in the store's list, whatever the other does to that. */
static void setup_close_link(void)
{
	world_create_gmem(1, 2, 2);
	if (gmem_link(world.vm[0].gmem, world.mmu, &second))
		abort();
	sched_spawn("close", close_second, NULL);
	sched_spawn("link", link_and_close, NULL);
}

/* ------------------------------------------------------------------ pages are allocated ahead */

static void allocate(u64 off, u64 len, int expected)
{
	int r = gmem_allocate(vm_a->gmem, off, len);

	SCHED_CHECK(r == expected, "allocating %llx bytes at %llx ends with %d", (unsigned long long)len,
		    (unsigned long long)off, r);
}

/* What is allocated holds nothing, and what was written there stays. */
static void allocate_all(void *arg)
{
	allocate(0, 2 * PAGE_SIZE, 0);
	allocate(PAGE_SIZE, PAGE_SIZE, 0);
	allocate(1, PAGE_SIZE, -EINVAL);
	allocate(0, 3 * PAGE_SIZE, -EINVAL);
	allocate(0, 0, -EINVAL);
}

static void setup_allocate(void)
{
	world_create_gmem(1, 2, 2);
	reset_punches(0);
	sched_spawn("allocate", allocate_all, NULL);
	sched_spawn("vcpu", write_then_read, vcpu_a);
	sched_spawn("punch", do_punch, vm_a);
}

/* ------------------------------------------------------------------ a file that serves shared faults as well */

static void setup_shared(void)
{
	world_create_gmem_flags(1, 2, 0, GMEM_MAPPABLE | GMEM_INIT_SHARED);
	reset_punches(0);
	sched_spawn("vcpu", write_then_read, vcpu_a);
	sched_spawn("punch", do_punch, vm_a);
}

/* ------------------------------------------------------------------ calls that are refused */

static int bind_at(u32 slot, u64 pages, u64 offset, struct gmem_file *f)
{
	struct mmu_region r = {.slot = slot,
			       .flags = MMU_SLOT_GMEM,
			       .gpa = WORLD_ALIAS + slot * 4 * PAGE_SIZE,
			       .size = pages * PAGE_SIZE,
			       .hva = WORLD_HVA,
			       .gmem = f,
			       .gmem_offset = offset,
			       .gmem_error = -EBADF};

	return mmu_set_region(vm_a->mmu, &r);
}

static void expect(int r, int error)
{
	SCHED_CHECK(r == error, "a call ends with %d, and not with %d", r, error);
}

/* None of them lets anybody reach anything, or takes anything away. */
static void refused_calls(void *arg)
{
	struct gmem_file *f;

	SCHED_CHECK(!gmem_create(vm_a->mmu, 4 * PAGE_SIZE, 0, &f), "a file cannot be made");
	expect(bind_at(1, 1, 1, f), -EINVAL); /* not a whole page */
	expect(bind_at(1, 1, 1ULL << 63, f), -EINVAL);
	gmem_release(f);
	expect(bind_at(1, 1, 0, NULL), -EBADF);
	expect(bind_at(1, 1, 1, vm_a->gmem), -EINVAL);
	expect(bind_at(1, 1, 2 * PAGE_SIZE, vm_a->gmem), -EINVAL);	 /* behind its end */
	expect(bind_at(1, 2, PAGE_SIZE, vm_a->gmem), -EINVAL);
	expect(bind_at(1, 1, -PAGE_SIZE, vm_a->gmem), -EINVAL);
	expect(bind_at(1, 1, 0, vm_a->gmem), -EINVAL);		 /* bound already */
	expect(bind_at(1, 1, 0, vm_b->gmem), -EINVAL);		 /* another VM's */
	expect(bind_at(0, 2, 0, vm_a->gmem), -EINVAL);		 /* one with private memory stays as it is */
	expect(gmem_punch(vm_a->gmem, 1, PAGE_SIZE), -EINVAL);
	expect(gmem_punch(vm_a->gmem, 0, 0), -EINVAL);
	expect(gmem_punch(vm_a->gmem, 2 * PAGE_SIZE, PAGE_SIZE), 0); /* nothing is there */
}

static void setup_refused(void)
{
	world_create_gmem(1, 2, 2);
	world_second_vm();
	put_secret(vcpu_a);
	sched_spawn("vcpu", read_twice, vcpu_b);
	sched_spawn("vmm", refused_calls, NULL);
	sched_spawn("punch", do_punch, vm_a);
}

/* ------------------------------------------------------------------ a file is closed before its memslot goes */

/* Who looks at the memslot's file while that is closed finds either what was bound, or nothing. */
static void setup_close_unbind(void)
{
	closed = false;
	world_create_gmem(1, 2, 2);
	sched_spawn("unbind", do_unbind, NULL);
	sched_spawn("close", do_close, NULL);
}

const struct scenario gmem_scenarios[] = {
	{"gmem-fault", "a vCPU uses private memory while it is punched", setup_fault, check_nothing,
	 {DEFECT_NO_ZAP, DEFECT_NO_FLUSH, DEFECT_DROP_BY_PFN}},
	{"gmem-bind", "a memslot is bound while its private memory is punched", setup_bind,
	 check_nothing, {DEFECT_GMEM_NO_STORE_LOCK, DEFECT_GMEM_LOST_END}},
	{"gmem-unbind", "a memslot is deleted while its private memory is punched", setup_unbind,
	 check_nothing, {DEFECT_NO_FLUSH, DEFECT_GMEM_LOST_END, DEFECT_NO_GRACE_PERIOD}},
	{"gmem-close", "a guest_memfd is closed under a vCPU", setup_close, check_nothing,
	 {DEFECT_NO_ZAP, DEFECT_NO_FLUSH, DEFECT_GMEM_NO_STORE_LOCK, DEFECT_DYING_FILE_BOUND}},
	{"gmem-close-link", "a file of a store is closed while another is made", setup_close_link,
	 check_nothing, {DEFECT_FILE_UNLISTED_LATE}},
	{"gmem-close-unbind", "a guest_memfd is closed while its memslot is deleted", setup_close_unbind,
	 check_nothing, {DEFECT_UNBOUND_TWICE}},
	{"gmem-allocate", "private memory is allocated ahead while it is written and punched", setup_allocate,
	 check_nothing, {DEFECT_NO_ZAP, DEFECT_NO_FLUSH}},
	{"gmem-shared", "a vCPU uses shared memory of a guest_memfd while it is punched", setup_shared, check_nothing,
	 {DEFECT_NO_ZAP, DEFECT_NO_FLUSH}},
	{"gmem-refused", "a vCPU reads private memory while calls are refused", setup_refused, check_nothing,
	 {DEFECT_NO_ZAP, DEFECT_NO_FLUSH}},
	{"gmem-two-vms", "two VMs use a store while one of them punches", setup_two_vms,
	 check_nothing, {DEFECT_GMEM_FIRST_FILE_ONLY, DEFECT_NO_FLUSH}},
	{"gmem-vm-ends", "a VM ends while another one punches their store", setup_vm_ends,
	 check_nothing, {DEFECT_TEARDOWN_UNCHECKED}},
	{"gmem-vm-unbinds", "a VM deletes its memslot and ends while another one punches",
	 setup_vm_unbinds_and_ends, check_nothing,
	 {DEFECT_GMEM_LOST_END, DEFECT_TEARDOWN_UNCHECKED}},
	{"gmem-hand-over", "a VM ends, and another carries on with its private memory",
	 setup_hand_over, check_hand_over, {DEFECT_NO_ZAP, DEFECT_TEARDOWN_UNCHECKED}},
	{"gmem-poison", "private memory fails under a vCPU and is punched", setup_poison,
	 check_poison, {DEFECT_NO_ZAP, DEFECT_LOCK_KEPT_ON_POISON}},
	{NULL},
};
