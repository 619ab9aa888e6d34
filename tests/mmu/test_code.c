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

static void test_marks_outlive_a_zap_logging_and_the_slot(void **state)
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
	/* Another slot over the same page, which may have changed meanwhile: the vCPU is told. */
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, 0, 0), 0);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GPA, 1 << 20, f.mem), 0);
	mmu_vcpu_enter(v);
	assert_true(v->epoch > epoch);
	epoch = v->epoch;
	assert_int_equal(guest_store(f.h, GPA, 1), 0);
	assert_int_equal(v->epoch, epoch + 1);
	mmu_vcpu_leave(v);
	teardown(&f);
}

/* ------------------------------------------------------------------ other names of a page */

#define ALIAS 0x40000000ULL

/* A vCPU's code from page 1 of the slot at GPA; a store by `h` at gpa must be told to it. */
static void expect_told(struct mmu_vcpu *v, struct hvcpu *h, gpa_t gpa)
{
	u64 epoch, word;

	/* What the storer has in its TLB from before must not serve it. */
	assert_int_equal(guest_store_once(h, gpa + 0x1000, 1), 0);
	mmu_vcpu_enter(v);
	assert_int_equal(mmu_code_track(v, GPA + 0x1000, 1), 0);
	epoch = v->epoch;
	mmu_vcpu_leave(v);
	mmu_vcpu_enter(&h->v);
	/* Another line, and another page: no. */
	assert_int_equal(guest_store(h, gpa + 0x1080, 2), 0);
	assert_int_equal(guest_store(h, gpa + 0x2000, 2), 0);
	mmu_vcpu_leave(&h->v);
	mmu_vcpu_enter(v);
	assert_int_equal(v->epoch, epoch);
	mmu_vcpu_leave(v);
	mmu_vcpu_enter(&h->v);
	assert_int_equal(guest_store(h, gpa + 0x1000, 3), 0);
	mmu_vcpu_leave(&h->v);
	mmu_vcpu_enter(v);
	assert_int_equal(v->epoch, epoch + 1);
	assert_int_equal(guest_load(container_of(v, struct hvcpu, v), GPA + 0x1000, &word), 0);
	assert_int_equal(word, 3);
	mmu_vcpu_leave(v);
}

static void test_a_store_through_another_slot_of_the_mapping_is_told(void **state)
{
	struct fixture f;

	setup(&f);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, ALIAS, 1 << 20, f.mem), 0);
	expect_told(&f.h->v, f.h, ALIAS);
	/* At another place in the slot. */
	assert_int_equal(hvm_slot(&f.vm, 2, 0, 2 * ALIAS, 1 << 19, f.mem + 0x1000), 0);
	expect_told(&f.h->v, f.h, 2 * ALIAS - 0x1000);
	teardown(&f);
}

static void test_a_store_through_another_mapping_of_the_file_is_told(void **state)
{
	int fd = memfd_create("code", MFD_CLOEXEC), prot = PROT_READ | PROT_WRITE;
	struct fixture f;
	char *other, *third;

	setup(&f);
	assert_int_equal(ftruncate(fd, 2 << 20), 0);
	hooked_mmap(f.mem, 1 << 20, prot, MAP_SHARED | MAP_FIXED, fd, 0x3000);
	other = mmap(NULL, 1 << 20, prot, MAP_SHARED, fd, 0x3000);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, ALIAS, 1 << 20, other), 0);
	expect_told(&f.h->v, f.h, ALIAS);
	/* One that begins elsewhere in the file, made when there is code. */
	third = mmap(NULL, 1 << 20, prot, MAP_SHARED, fd, 0x1000);
	assert_int_equal(hvm_slot(&f.vm, 2, 0, 2 * ALIAS, 1 << 20, third), 0);
	expect_told(&f.h->v, f.h, 2 * ALIAS + 0x2000);
	/* The mapping of a slot that is used is replaced by this page's. */
	hooked_mmap(third, 1 << 20, prot, MAP_SHARED | MAP_FIXED, fd, 0);
	expect_told(&f.h->v, f.h, 2 * ALIAS + 0x3000);
	teardown(&f);
	munmap(other, 1 << 20);
	munmap(third, 1 << 20);
	close(fd);
}

/* `beside` shows the page that the first VM has at GPA. */
static void expect_told_across(struct fixture *f, char *beside)
{
	struct hvcpu *h;
	struct hvm vm;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, ALIAS, 1 << 20, beside), 0);
	expect_told(&f->h->v, h, ALIAS);
	hvcpu_free(h);
	hvm_fini(&vm);
	/* The marks of a VM that went are nobody's. */
	expect_told(&f->h->v, f->h, GPA);
}

static void test_a_store_by_another_vm_is_told(void **state)
{
	int fd = memfd_create("code", MFD_CLOEXEC), prot = PROT_READ | PROT_WRITE;
	struct fixture f;
	char *other;

	setup(&f);
	expect_told_across(&f, f.mem);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	hooked_mmap(f.mem, 1 << 20, prot, MAP_SHARED | MAP_FIXED, fd, 0);
	expect_told_across(&f, f.mem);
	other = mmap(NULL, 1 << 20, prot, MAP_SHARED, fd, 0);
	expect_told_across(&f, other);
	teardown(&f);
	munmap(other, 1 << 20);
	close(fd);
}

/* Two VMs that have code from one page are both told, and each at its own safe point. */
static void test_all_who_have_code_from_a_page_are_told(void **state)
{
	struct hvcpu *h;
	struct fixture f;
	struct hvm vm;
	u64 epoch;

	setup(&f);
	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, ALIAS, 1 << 20, f.mem), 0);
	mmu_vcpu_enter(&h->v);
	assert_int_equal(mmu_code_track(&h->v, ALIAS + 0x1000, 1), 0);
	epoch = h->v.epoch;
	mmu_vcpu_leave(&h->v);
	expect_told(&f.h->v, f.h, GPA);
	mmu_vcpu_enter(&h->v);
	assert_true(h->v.epoch > epoch);
	mmu_vcpu_leave(&h->v);
	hvcpu_free(h);
	hvm_fini(&vm);
	teardown(&f);
}

static void test_what_userkvm_writes_by_another_name_is_told(void **state)
{
	struct mmu_vcpu *v;
	struct fixture f;
	u64 epoch, one = 1;

	setup(&f);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, ALIAS, 1 << 20, f.mem), 0);
	v = &f.h->v;
	mmu_vcpu_enter(v);
	assert_int_equal(mmu_code_track(v, GPA, 1), 0);
	epoch = v->epoch;
	mmu_vcpu_leave(v);
	assert_int_equal(mmu_write_guest(f.vm.mmu, ALIAS, &one, 8), 0);
	mmu_vcpu_enter(v);
	assert_int_equal(v->epoch, epoch + 1);
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

static u64 run_beside(struct fixture *f, const u64 *n)
{
	struct mmu_vcpu *v = &f->h->v;
	u64 compiled = 0, runs = 0, stale = 0;

	mmu_vcpu_enter(v);
	while (runs < 5000 || __atomic_load_n(n, __ATOMIC_RELAXED) < 500) {
		u64 epoch, before, now;

		assert_int_equal(mmu_code_track(v, GPA + 64, 2), 0);
		epoch = v->epoch;
		assert_int_equal(guest_load(f->h, GPA + 64, &compiled), 0);
		for (int i = 0; i < 50; i++) {
			assert_int_equal(guest_load(f->h, GPA + 64, &before), 0);
			mmu_vcpu_safe_point(v);
			if (v->epoch != epoch)
				break;
			assert_int_equal(guest_load(f->h, GPA + 64, &now), 0);
			/* The store comes after every vCPU answered: so not yet, if we have not. */
			stale += now != compiled;
			stale += before != compiled;
			runs++;
		}
	}
	mmu_vcpu_leave(v);
	return stale;
}

static void test_compiled_code_is_never_stale_after_a_safe_point(void **state)
{
	struct hvcpu *writer;
	struct fixture f;
	u64 n = 0;

	setup(&f);
	writer = hvcpu_new(&f.vm, 1);
	hvcpu_start(writer, write_code, &n);
	assert_int_equal(run_beside(&f, &n), 0);
	hvcpu_stop(writer);
	hvcpu_free(writer);
	teardown(&f);
}

/* VMs that have code from the page, store into it, and go. */
struct passing {
	char *mem;
	bool stop;
};

static void *come_and_go(void *arg)
{
	struct passing *p = arg;

	while (!__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE)) {
		struct hvcpu *h;
		struct hvm vm;

		hvm_init(&vm);
		h = hvcpu_new(&vm, 0);
		if (hvm_slot(&vm, 0, 0, ALIAS, 1 << 20, p->mem))
			abort();
		mmu_vcpu_enter(&h->v);
		if (mmu_code_track(&h->v, ALIAS + 64, 3) || guest_store(h, ALIAS + 128, 1))
			abort();
		mmu_vcpu_leave(&h->v);
		hvcpu_free(h);
		hvm_fini(&vm);
	}
	return NULL;
}

/* The same with the writer in another VM, while others come and go. */
static void test_code_is_never_stale_beside_other_vms(void **state)
{
	struct passing passing = {NULL};
	struct hvcpu *writer;
	struct fixture f;
	pthread_t thread;
	struct hvm vm;
	u64 n = 0;

	setup(&f);
	hvm_init(&vm);
	writer = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, GPA, 1 << 20, f.mem), 0);
	passing.mem = f.mem;
	hvcpu_start(writer, write_code, &n);
	pthread_create(&thread, NULL, come_and_go, &passing);
	assert_int_equal(run_beside(&f, &n), 0);
	__atomic_store_n(&passing.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	hvcpu_stop(writer);
	hvcpu_free(writer);
	hvm_fini(&vm);
	teardown(&f);
}

/* ------------------------------------------------------------------ more pages than are kept */

#define KEPT	 (1u << 18) /* of the process (mmu/code.c) */
#define TOO_MANY 64u
#define MANY_GPA 0x100000000ULL

/* For each one that is too many another one is unmarked, as by a store: whoever has code from there looks again. */
static void test_code_from_more_pages_than_are_kept_is_told(void **state)
{
	size_t size = (size_t)(KEPT + TOO_MANY) << PAGE_SHIFT;
	struct fixture f;
	struct mmu_vcpu *v;
	u64 code_epoch, again = 0;
	char *mem;

	setup(&f);
	v = &f.h->v;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(mem, MAP_FAILED);
	madvise(mem, size, MADV_NOHUGEPAGE); /* reading them takes no memory */
	assert_int_equal(hvm_slot(&f.vm, 1, 0, MANY_GPA, size, mem), 0);
	mmu_vcpu_enter(v);
	code_epoch = v->code_epoch;
	for (u64 i = 0; i < KEPT + TOO_MANY; i++)
		assert_int_equal(mmu_code_track(v, MANY_GPA + (i << PAGE_SHIFT), 1), 0);
	assert_int_equal(v->code_epoch - code_epoch, TOO_MANY);
	/* Those that were unmarked are marked anew, at the cost of others. */
	for (u64 i = 0; i < KEPT + TOO_MANY && again < TOO_MANY; i++) {
		u64 epoch = v->epoch;

		assert_int_equal(mmu_code_track(v, MANY_GPA + (i << PAGE_SHIFT), 1), 0);
		again += v->epoch != epoch;
	}
	assert_int_equal(again, TOO_MANY);
	assert_int_equal(v->code_epoch - code_epoch, 2 * TOO_MANY);
	mmu_vcpu_leave(v);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, 0, 0, 0), 0);
	munmap(mem, size);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_store_to_a_marked_line_changes_the_epoch),
		cmocka_unit_test(test_marks_outlive_a_zap_logging_and_the_slot),
		cmocka_unit_test(test_a_store_through_another_slot_of_the_mapping_is_told),
		cmocka_unit_test(test_a_store_through_another_mapping_of_the_file_is_told),
		cmocka_unit_test(test_a_store_by_another_vm_is_told),
		cmocka_unit_test(test_all_who_have_code_from_a_page_are_told),
		cmocka_unit_test(test_what_userkvm_writes_by_another_name_is_told),
		cmocka_unit_test(test_changed_mappings_and_host_writes_change_the_epoch),
		cmocka_unit_test(test_compiled_code_is_never_stale_after_a_safe_point),
		cmocka_unit_test(test_code_is_never_stale_beside_other_vms),
		cmocka_unit_test(test_code_from_more_pages_than_are_kept_is_told),
	};

	return cmocka_run_group_tests_name("mmu code", tests, NULL, NULL);
}
