/* SPDX-License-Identifier: MIT */
/* Code tracking: a store to a tracked line is always told, one to another line never is. */
#include "harness.h"

#define GPA 0x100000

struct fixture {
	struct hvm vm;
	struct hvcpu *h;
	char *mem;
};

static void setup(struct fixture *f)
{
	f->mem = map_aligned(1 << 20, 1 << 21, MAP_PRIVATE);
	hvm_init(&f->vm);
	f->h = hvcpu_new(&f->vm, 0);
	assert_int_equal(hvm_slot(&f->vm, 0, 0, GPA, 1 << 20, f->mem), 0);
}

static void teardown(struct fixture *f)
{
	hvcpu_free(f->h);
	hvm_fini(&f->vm);
	munmap(f->mem, 1 << 20);
}

static void test_a_store_to_a_marked_line_changes_the_epoch(void **state)
{
	struct fixture f;
	struct mmu_vcpu *v;
	u64 epoch;

	setup(&f);
	v = &f.h->v;
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	mmu_vcpu_enter(v);
	assert_int_equal(mmu_code_track(v, GPA + 0x40, 2), 0);
	/* The write entry from before must be gone. */
	assert_null(tlb_write(&v->tlb[TLB_KERNEL], GPA, 8));
	epoch = v->epoch;
	assert_int_equal(guest_store(f.h, GPA + 0x80, 5), 0); /* another line */
	assert_int_equal(v->epoch, epoch);
	assert_int_equal(guest_store(f.h, GPA + 0x3c, 6), 0); /* reaches into the marked one */
	assert_int_equal(v->epoch, epoch + 1);
	assert_int_equal(*(u64 *)(f.mem + 0x3c), 6);
	assert_int_equal(guest_store(f.h, GPA + 0x40, 7), 0); /* the marks are gone */
	assert_int_equal(v->epoch, epoch + 1);
	/* Marked anew, told anew. */
	assert_int_equal(mmu_code_track(v, GPA, ~0ULL), 0);
	epoch = v->epoch;
	assert_int_equal(guest_store(f.h, GPA + 0xff8, 8), 0);
	assert_int_equal(v->epoch, epoch + 1);
	mmu_vcpu_leave(v);
	teardown(&f);
}

static void test_marks_outlive_a_zap_and_logging_but_not_the_slot(void **state)
{
	struct fixture f;
	struct mmu_vcpu *v;
	u64 epoch;

	setup(&f);
	v = &f.h->v;
	mmu_vcpu_enter(v);
	assert_int_equal(mmu_code_track(v, GPA, 1), 0);
	mmu_vcpu_leave(v);
	assert_int_equal(hvm_slot(&f.vm, 0, MMU_SLOT_LOG_DIRTY, GPA, 1 << 20, f.mem), 0);
	assert_int_equal(hooked_mprotect(f.mem, 4096, PROT_READ), 0);
	assert_int_equal(hooked_mprotect(f.mem, 4096, PROT_READ | PROT_WRITE), 0);
	mmu_vcpu_enter(v);
	epoch = v->epoch;
	assert_int_equal(guest_store(f.h, GPA, 1), 0);
	assert_int_equal(v->epoch, epoch + 1);
	assert_int_equal(mmu_code_track(v, GPA, 1), 0);
	epoch = v->epoch;
	mmu_vcpu_leave(v);
	/* Another slot at the same gfn: nothing is known of its bytes, and the vCPU is told. */
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, 0, 0), 0);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GPA, 1 << 20, f.mem), 0);
	mmu_vcpu_enter(v);
	assert_true(v->epoch > epoch);
	epoch = v->epoch;
	assert_int_equal(guest_store(f.h, GPA, 1), 0);
	assert_int_equal(v->epoch, epoch);
	mmu_vcpu_leave(v);
	teardown(&f);
}

static void test_changed_mappings_and_host_writes_change_the_epoch(void **state)
{
	struct fixture f;
	struct mmu_vcpu *v;
	u64 epoch, one = 1;

	setup(&f);
	v = &f.h->v;
	mmu_vcpu_enter(v);
	assert_int_equal(mmu_code_track(v, GPA, 1), 0);
	assert_int_equal(guest_load(f.h, GPA, &one), 0);
	epoch = v->epoch;
	mmu_vcpu_leave(v);
	hooked_mmap(f.mem, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mmu_vcpu_enter(v);
	assert_true(v->epoch > epoch);
	epoch = v->epoch;
	mmu_vcpu_leave(v);
	hooked_madvise(f.mem, 4096, MADV_DONTNEED);
	mmu_vcpu_enter(v);
	assert_true(v->epoch > epoch);
	epoch = v->epoch;
	mmu_vcpu_leave(v);
	assert_int_equal(mmu_write_guest(f.vm.mmu, GPA, &one, 8), 0);
	mmu_vcpu_enter(v);
	assert_true(v->epoch > epoch);
	mmu_vcpu_leave(v);
	teardown(&f);
}

/* ------------------------------------------------------------------ two vCPUs */

/*
 * The writer stores growing numbers into a line of code, each through mmu_code_write() when it is
 * told to. The runner "compiles" the line (tracks it, then reads it) and "runs" what it compiled
 * for as long as its epoch stands still. What it runs may be older than the memory only until
 * its next safe point: so at a safe point with an unchanged epoch, memory holds what was compiled.
 */
static void write_code(struct hvcpu *h, void *arg)
{
	u64 *n = arg;

	if (guest_store(h, GPA + 64, *n + 1))
		abort();
	__atomic_store_n(n, *n + 1, __ATOMIC_RELAXED);
}

static void test_compiled_code_is_never_stale_after_a_safe_point(void **state)
{
	u64 compiled = 0, n = 0, runs = 0, stale = 0;
	struct hvcpu *writer;
	struct mmu_vcpu *v;
	struct fixture f;

	setup(&f);
	v = &f.h->v;
	writer = hvcpu_new(&f.vm, 1);
	hvcpu_start(writer, write_code, &n);
	mmu_vcpu_enter(v);
	while (runs < 5000 || __atomic_load_n(&n, __ATOMIC_RELAXED) < 500) {
		u64 epoch, before, now;

		assert_int_equal(mmu_code_track(v, GPA + 64, 2), 0);
		epoch = v->epoch;
		assert_int_equal(guest_load(f.h, GPA + 64, &compiled), 0);
		for (int i = 0; i < 50; i++) {
			assert_int_equal(guest_load(f.h, GPA + 64, &before), 0);
			mmu_vcpu_safe_point(v);
			if (v->epoch != epoch)
				break;
			assert_int_equal(guest_load(f.h, GPA + 64, &now), 0);
			/* The store comes after every vCPU answered: so not yet, if we have not. */
			stale += now != compiled;
			stale += before != compiled;
			runs++;
		}
	}
	mmu_vcpu_leave(v);
	hvcpu_stop(writer);
	assert_int_equal(stale, 0);
	hvcpu_free(writer);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_store_to_a_marked_line_changes_the_epoch),
		cmocka_unit_test(test_marks_outlive_a_zap_and_logging_but_not_the_slot),
		cmocka_unit_test(test_changed_mappings_and_host_writes_change_the_epoch),
		cmocka_unit_test(test_compiled_code_is_never_stale_after_a_safe_point),
	};

	return cmocka_run_group_tests_name("mmu code", tests, NULL, NULL);
}
