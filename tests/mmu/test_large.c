/* SPDX-License-Identifier: MIT */
/* Large SPTEs: where they are made, split for logging and made again. */
#include "harness.h"

#define MB (1ULL << 20)
#define GB (1ULL << 30)

static struct mmu_stats stats(struct hvm *vm)
{
	struct mmu_stats s;

	mmu_get_stats(vm->mmu, &s);
	return s;
}

static void test_congruent_slots_get_2m_leaves(void **state)
{
	char *mem = map_aligned(8 * MB, 2 * MB, MAP_PRIVATE);
	struct hvcpu *h;
	struct hvm vm;
	u64 v;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, 4 * MB, 8 * MB, mem), 0);
	assert_int_equal(guest_store_once(h, 4 * MB + 0x123008, 9), 0);
	assert_int_equal(stats(&vm).pages_2m, 1);
	assert_int_equal(stats(&vm).pages_4k, 0);
	assert_int_equal(*(u64 *)(mem + 0x123008), 9);
	*(u64 *)(mem + 0x1ff000) = 11;
	assert_int_equal(guest_load_once(h, 4 * MB + 0x1ff000, &v), 0);
	assert_int_equal(v, 11);
	assert_int_equal(stats(&vm).pages_2m, 1);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, 8 * MB);
}

static void test_incongruent_slots_get_4k_leaves(void **state)
{
	char *mem = map_aligned(8 * MB, 2 * MB, MAP_PRIVATE);
	struct hvcpu *h;
	struct hvm vm;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, 4 * MB + 4096, 6 * MB, mem), 0);
	assert_int_equal(guest_store_once(h, 6 * MB, 9), 0);
	assert_int_equal(stats(&vm).pages_2m, 0);
	assert_int_equal(stats(&vm).pages_4k, 1);
	assert_int_equal(*(u64 *)(mem + 2 * MB - 4096), 9);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, 8 * MB);
}

static void test_two_mappings_do_not_make_one_leaf(void **state)
{
	char *mem = map_aligned(2 * MB, 2 * MB, MAP_PRIVATE);
	struct hvcpu *h;
	struct hvm vm;
	u64 v;

	assert_int_equal(mprotect(mem + MB, MB, PROT_READ), 0);
	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, 0, 2 * MB, mem), 0);
	assert_int_equal(guest_load_once(h, 0, &v), 0);
	assert_int_equal(stats(&vm).pages_4k, 1);
	assert_int_equal(stats(&vm).pages_2m, 0);
	assert_int_equal(guest_store_once(h, MB - 8, 1), 0);
	assert_int_equal(guest_store_once(h, MB, 1), -EFAULT);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, 2 * MB);
}

static void test_1g_leaf(void **state)
{
	char *mem = map_aligned(GB, GB, MAP_PRIVATE | MAP_NORESERVE);
	struct hvcpu *h;
	struct hvm vm;
	u64 v;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, GB, GB, mem), 0);
	assert_int_equal(guest_load_once(h, GB + 5 * MB, &v), 0);
	assert_int_equal(stats(&vm).pages_1g, 1);
	/* A hole in the middle ends it; what is left is mapped smaller. */
	assert_int_equal(hooked_munmap(mem + 512 * MB, 4096), 0);
	assert_int_equal(stats(&vm).pages_1g, 0);
	assert_int_equal(guest_load_once(h, GB + 512 * MB, &v), -EFAULT);
	assert_int_equal(guest_load_once(h, GB + 512 * MB + 4096, &v), 0);
	assert_int_equal(guest_load_once(h, GB + 5 * MB, &v), 0);
	assert_int_equal(stats(&vm).pages_2m, 1);
	assert_int_equal(stats(&vm).pages_4k, 1);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, GB);
}

static void test_logging_splits_and_its_end_recovers(void **state)
{
	char *mem = map_aligned(4 * MB, 2 * MB, MAP_PRIVATE);
	u64 bits[1024 / 64];
	struct hvcpu *h;
	struct hvm vm;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, 0, 4 * MB, mem), 0);
	assert_int_equal(guest_store_once(h, 0, 1), 0);
	assert_int_equal(stats(&vm).pages_2m, 1);
	assert_int_equal(hvm_slot(&vm, 0, MMU_SLOT_LOG_DIRTY, 0, 4 * MB, mem), 0);
	assert_int_equal(stats(&vm).pages_2m, 0);
	assert_int_equal(guest_store_once(h, 0x5000, 2), 0);
	assert_int_equal(stats(&vm).pages_4k, 1);
	assert_int_equal(mmu_dirty_get(vm.mmu, 0, bits), 0);
	assert_int_equal(bits[0], 1 << 5);
	assert_int_equal(hvm_slot(&vm, 0, 0, 0, 4 * MB, mem), 0);
	assert_int_equal(guest_store_once(h, 0x5000, 3), 0);
	assert_int_equal(stats(&vm).pages_2m, 1);
	assert_int_equal(stats(&vm).pages_4k, 0);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, 4 * MB);
}

static void test_4k_leaves_stay_when_logging_starts(void **state)
{
	char *mem = map_aligned(MB, 4096, MAP_PRIVATE);
	u64 bits[256 / 64];
	struct hvcpu *h;
	struct hvm vm;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, 0, MB, mem), 0);
	assert_int_equal(guest_store_once(h, 0x2000, 1), 0);
	assert_int_equal(guest_store_once(h, 0x3000, 1), 0);
	assert_int_equal(hvm_slot(&vm, 0, MMU_SLOT_LOG_DIRTY, 0, MB, mem), 0);
	assert_int_equal(stats(&vm).pages_4k, 2);
	assert_int_equal(guest_store_once(h, 0x3000, 2), 0);
	assert_int_equal(mmu_dirty_get(vm.mmu, 0, bits), 0);
	assert_int_equal(bits[0], 1 << 3);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, MB);
}

static void test_prefault_maps_without_an_access(void **state)
{
	char *mem = map_aligned(8 * MB, 2 * MB, MAP_PRIVATE);
	struct hvcpu *h;
	struct hvm vm;
	u64 done;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, 0, 6 * MB, mem), 0);
	assert_int_equal(mmu_prefault(&h->v, 4096, 4 * MB, &done), 0);
	assert_int_equal(done, 4 * MB);
	assert_int_equal(stats(&vm).pages_2m, 3);
	assert_int_equal(mmu_prefault(&h->v, 4 * MB, 4 * MB, &done), -ENOENT);
	assert_int_equal(done, 2 * MB);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, 8 * MB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_congruent_slots_get_2m_leaves),
		cmocka_unit_test(test_incongruent_slots_get_4k_leaves),
		cmocka_unit_test(test_two_mappings_do_not_make_one_leaf),
		cmocka_unit_test(test_1g_leaf),
		cmocka_unit_test(test_logging_splits_and_its_end_recovers),
		cmocka_unit_test(test_4k_leaves_stay_when_logging_starts),
		cmocka_unit_test(test_prefault_maps_without_an_access),
	};

	return cmocka_run_group_tests_name("mmu large", tests, NULL, NULL);
}
