/* SPDX-License-Identifier: MIT */
/* Accessed tracking, and what SPTEs learnt going back to the primary MMU. */
#include "harness.h"

#include "mmu/age.h"
#include "mmu/memslots.h"
#include "mmu/vm.h"

#define GPA    0x100000
#define NPAGES 4

static struct {
	struct hvm vm;
	struct hvcpu *h;
	u8 *mem;
	struct primary_ops spied;
	u32 accessed, dirty; /* marks handed back */
} f;

static void spy(void *primary, u64 pfn, bool page_backed, bool accessed, bool dirty)
{
	assert_true(pfn - ((u64)f.mem >> PAGE_SHIFT) < NPAGES);
	f.accessed += accessed;
	f.dirty += dirty;
}

static int setup(void **state)
{
	memset(&f, 0, sizeof(f));
	f.spied = primary_linux_ops;
	f.spied.zapped = spy;
	hvm_init_over(&f.vm, &f.spied);
	f.mem = map_aligned(NPAGES * PAGE_SIZE, PAGE_SIZE, MAP_PRIVATE);
	assert_int_equal(hvm_slot(&f.vm, 0, MMU_SLOT_LOG_DIRTY, GPA, NPAGES * PAGE_SIZE, f.mem),
			 0);
	f.h = hvcpu_new(&f.vm, 0);
	return 0;
}

static int teardown(void **state)
{
	hvcpu_free(f.h);
	hvm_fini(&f.vm);
	munmap(f.mem, NPAGES * PAGE_SIZE);
	return 0;
}

static bool young(u64 page)
{
	return mmu_test_young(f.vm.mmu, (hva_t)f.mem + page * PAGE_SIZE,
			      (hva_t)f.mem + (page + 1) * PAGE_SIZE);
}

static bool age(void)
{
	return mmu_age(f.vm.mmu, (hva_t)f.mem, (hva_t)f.mem + NPAGES * PAGE_SIZE);
}

static void test_an_access_after_an_age_is_seen(void **state)
{
	u64 v;

	assert_false(age());
	assert_int_equal(guest_load_once(f.h, GPA + PAGE_SIZE, &v), 0);
	assert_true(young(1));
	assert_false(young(0));
	assert_true(age());
	assert_int_equal(f.accessed, 1);
	assert_false(young(1));
	assert_false(age());
	/* The translation was in the TLB. */
	assert_int_equal(guest_load_once(f.h, GPA + PAGE_SIZE, &v), 0);
	assert_true(young(1));
	assert_int_equal(guest_store_once(f.h, GPA + PAGE_SIZE, 1), 0);
	assert_true(age());
	assert_int_equal(f.accessed, 2);
	assert_int_equal(f.dirty, 0); /* the leaf says so still */
}

/* A vCPU that knows the table from one page marks the others that it finds there. */
static void test_an_access_by_a_known_table_is_seen(void **state)
{
	u64 v;

	for (u64 i = 0; i < 2; i++)
		assert_int_equal(guest_load_once(f.h, GPA + i * PAGE_SIZE, &v), 0);
	assert_true(age());
	for (u64 i = 0; i < 2; i++) {
		assert_false(young(i));
		assert_int_equal(guest_load_once(f.h, GPA + i * PAGE_SIZE, &v), 0);
		assert_true(young(i));
	}
}

static u64 loads;

static void load_on(struct hvcpu *h, void *arg)
{
	u64 v;

	assert_int_equal(guest_load(h, GPA, &v), 0);
	__atomic_fetch_add(&loads, 1, __ATOMIC_SEQ_CST);
}

static void test_a_running_vcpu_is_seen_each_time(void **state)
{
	hvcpu_start(f.h, load_on, NULL);
	for (int i = 0; i < 100; i++) {
		u64 from = __atomic_load_n(&loads, __ATOMIC_SEQ_CST);

		/* One of two loads from here on began here. */
		while (__atomic_load_n(&loads, __ATOMIC_SEQ_CST) < from + 2)
			sched_yield();
		assert_true(age());
	}
	hvcpu_stop(f.h);
}

/* What a harvest clears, the primary MMU must know: the zap after it has forgotten. */
static void test_a_harvest_hands_dirty_back(void **state)
{
	u64 v, bits;

	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, &bits), 0);
	assert_int_equal(bits, 1);
	assert_int_equal(f.dirty, 1);
	hooked_munmap(f.mem, NPAGES * PAGE_SIZE);
	assert_int_equal(f.accessed, 1);
	assert_int_equal(f.dirty, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_an_access_after_an_age_is_seen, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_an_access_by_a_known_table_is_seen, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_running_vcpu_is_seen_each_time, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_harvest_hands_dirty_back, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
