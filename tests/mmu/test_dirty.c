/* SPDX-License-Identifier: MIT */
/* The dirty log says exactly which pages were written between two harvests. */
#include "harness.h"

#define GPA    0x100000
#define NPAGES 130 /* not a multiple of 64 */
#define WORDS  ((NPAGES + 63) / 64)

struct fixture {
	struct hvm vm;
	struct hvcpu *h;
	char *mem;
};

static void setup(struct fixture *f, u32 flags, u64 manual)
{
	f->mem = map_aligned(NPAGES * 4096, 1 << 21, MAP_PRIVATE);
	hvm_init(&f->vm);
	f->h = hvcpu_new(&f->vm, 0);
	if (manual)
		assert_int_equal(mmu_set_manual_protect(f->vm.mmu, manual), 0);
	assert_int_equal(hvm_slot(&f->vm, 0, flags, GPA, NPAGES * 4096, f->mem), 0);
}

static void teardown(struct fixture *f)
{
	hvcpu_free(f->h);
	hvm_fini(&f->vm);
	munmap(f->mem, NPAGES * 4096);
}

static bool test_page(const u64 *bits, u64 page)
{
	return bits[page / 64] >> (page % 64) & 1;
}

static void test_get_is_exact(void **state)
{
	struct fixture f;
	u64 bits[WORDS];

	setup(&f, MMU_SLOT_LOG_DIRTY, 0);
	srand(2);
	for (int round = 0; round < 50; round++) {
		bool written[NPAGES] = {false};
		u64 v;

		for (int i = 0; i < 20; i++) {
			u64 p = (u64)rand() % NPAGES;

			if (rand() & 1) {
				assert_int_equal(guest_store_once(f.h, GPA + p * 4096 + 8, p), 0);
				written[p] = true;
			} else {
				assert_int_equal(guest_load_once(f.h, GPA + p * 4096, &v), 0);
			}
		}
		assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, bits), 0);
		for (u64 p = 0; p < NPAGES; p++)
			assert_int_equal(test_page(bits, p), written[p]);
	}
	teardown(&f);
}

static void test_host_side_writes_are_logged(void **state)
{
	struct fixture f;
	u64 bits[WORDS], v = 3;

	setup(&f, MMU_SLOT_LOG_DIRTY, 0);
	assert_int_equal(mmu_write_guest(f.vm.mmu, GPA + 5 * 4096 - 4, &v, 8), 0);
	assert_int_equal(mmu_read_guest(f.vm.mmu, GPA + 5 * 4096 - 4, &v, 8), 0);
	assert_int_equal(v, 3);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, bits), 0);
	assert_int_equal(bits[0], 0x30);
	assert_int_equal(mmu_write_guest(f.vm.mmu, GPA + NPAGES * 4096 - 4, &v, 8), -EFAULT);
	teardown(&f);
}

static void test_manual_protect_clears_only_what_is_asked(void **state)
{
	struct fixture f;
	u64 bits[WORDS], clear = 1;

	setup(&f, MMU_SLOT_LOG_DIRTY, 1);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	assert_int_equal(guest_store_once(f.h, GPA + 4096, 1), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, bits), 0);
		assert_int_equal(bits[0], 3);
	}
	assert_int_equal(mmu_dirty_clear(f.vm.mmu, 0, 0, 64, &clear), 0);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, bits), 0);
	assert_int_equal(bits[0], 2);
	assert_int_equal(guest_store_once(f.h, GPA, 2), 0);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, bits), 0);
	assert_int_equal(bits[0], 3);
	teardown(&f);
}

static void test_initially_set_logs_after_the_first_clear(void **state)
{
	struct fixture f;
	u64 bits[WORDS], all[WORDS];

	setup(&f, 0, 3);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	assert_int_equal(hvm_slot(&f.vm, 0, MMU_SLOT_LOG_DIRTY, GPA, NPAGES * 4096, f.mem), 0);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, bits), 0);
	assert_int_equal(bits[0], ~0ULL);
	assert_int_equal(bits[WORDS - 1], 3);
	memset(all, 0xff, sizeof(all));
	assert_int_equal(mmu_dirty_clear(f.vm.mmu, 0, 0, NPAGES, all), 0);
	assert_int_equal(guest_store_once(f.h, GPA + 7 * 4096, 1), 0);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, bits), 0);
	assert_int_equal(bits[0], 0x80);
	assert_int_equal(bits[1], 0);
	teardown(&f);
}

static void test_errors_are_kvms(void **state)
{
	struct fixture f;
	u64 bits[WORDS] = {0};
	struct {
		u64 first;
		u32 n;
		int expect;
	} clears[] = {{0, 64, 0},	{0, NPAGES, 0},	    {128, 2, 0},
		      {0, NPAGES + 1, -EINVAL},
		      {1, 64, -EINVAL}, {128, 3, -EINVAL},  {192, 0, -EINVAL},	{0, 0, 0},
		      {0, 63, -EINVAL}, {65, 0, -EINVAL}};

	setup(&f, MMU_SLOT_LOG_DIRTY, 1);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, 0, 4096, f.mem), 0);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 1, bits), -ENOENT);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 2, bits), -ENOENT);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 32764, bits), -EINVAL);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0x10000, bits), -EINVAL);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, (void *)8), -EFAULT);
	for (size_t i = 0; i < ARRAY_SIZE(clears); i++)
		assert_int_equal(mmu_dirty_clear(f.vm.mmu, 0, clears[i].first, clears[i].n, bits),
				 clears[i].expect);
	assert_int_equal(mmu_set_manual_protect(f.vm.mmu, 2), -EINVAL);
	assert_int_equal(mmu_set_manual_protect(f.vm.mmu, 4), -EINVAL);
	teardown(&f);
}

/* ------------------------------------------------------------------ under a running vCPU */

struct writer {
	unsigned seed;
	u64 writes;
};

static void write_some(struct hvcpu *h, void *arg)
{
	struct writer *w = arg;

	for (int i = 0; i < 16; i++) {
		gpa_t at = GPA + (u64)(rand_r(&w->seed) % NPAGES) * 4096;

		if (guest_store(h, at, ++w->writes))
			abort();
	}
}

/*
 * Let R be the return of a harvest. What was written before R is seen by a read after R, what is
 * written after R is in a later harvest: so a page that a harvest does not name holds what it held
 * after the harvest before.
 */
static void test_no_write_is_lost_between_harvests(void **state)
{
	u64 bits[WORDS], seen[NPAGES] = {0};
	struct fixture f;
	struct writer w = {.seed = 5};
	unsigned long named = 0;

	setup(&f, MMU_SLOT_LOG_DIRTY, 0);
	hvcpu_start(f.h, write_some, &w);
	while (named < 5000) {
		u64 before[NPAGES];

		for (u64 p = 0; p < NPAGES; p++)
			before[p] = seen[p];
		assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, bits), 0);
		for (u64 p = 0; p < NPAGES; p++) {
			u64 v = __atomic_load_n((u64 *)(f.mem + p * 4096), __ATOMIC_SEQ_CST);

			/*
			 * A page named by no harvest since `before` was read after the last R: if
			 * it changed since, the next harvest names it, so look again there.
			 */
			if (test_page(bits, p)) {
				seen[p] = v;
				named++;
			} else if (v != before[p]) {
				u64 next[WORDS];

				assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, next), 0);
				assert_true(test_page(next, p));
				for (u64 q = 0; q < NPAGES; q++)
					seen[q] = __atomic_load_n((u64 *)(f.mem + q * 4096),
								  __ATOMIC_SEQ_CST);
				break;
			}
		}
	}
	hvcpu_stop(f.h);
	assert_true(named >= 100); /* less than asked for where the machine is busy */
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get_is_exact),
		cmocka_unit_test(test_host_side_writes_are_logged),
		cmocka_unit_test(test_manual_protect_clears_only_what_is_asked),
		cmocka_unit_test(test_initially_set_logs_after_the_first_clear),
		cmocka_unit_test(test_errors_are_kvms),
		cmocka_unit_test(test_no_write_is_lost_between_harvests),
	};

	return cmocka_run_group_tests_name("mmu dirty", tests, NULL, NULL);
}
