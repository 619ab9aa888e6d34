/* SPDX-License-Identifier: MIT */
/* Faults of every kind, and what the VMM's changes of its mappings do to them. */
#include "harness.h"

#define GPA 0x100000

static void test_load_and_store_reach_the_vmms_memory(void **state)
{
	struct hvm vm;
	char *mem = map_aligned(1 << 20, 4096, MAP_PRIVATE);
	struct hvcpu *h;
	u64 v = 1;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, GPA, 1 << 20, mem), 0);
	assert_int_equal(guest_load_once(h, GPA, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(guest_store_once(h, GPA + 0x5008, 0x1122334455667788), 0);
	assert_int_equal(*(u64 *)(mem + 0x5008), 0x1122334455667788);
	*(u64 *)mem = 7;
	assert_int_equal(guest_load_once(h, GPA, &v), 0);
	assert_int_equal(v, 7);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, 1 << 20);
}

static void test_no_slot_and_readonly_slot_are_mmio(void **state)
{
	struct hvm vm;
	char *mem = map_aligned(1 << 20, 4096, MAP_PRIVATE);
	struct hvcpu *h;
	u64 v;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(guest_load_once(h, GPA, &v), -ENOENT);
	assert_int_equal(hvm_slot(&vm, 3, MMU_SLOT_READONLY, GPA, 1 << 20, mem), 0);
	assert_int_equal(guest_load_once(h, GPA, &v), 0);
	assert_int_equal(guest_store_once(h, GPA, 1), -ENOENT);
	assert_int_equal(guest_load_once(h, GPA - 8, &v), -ENOENT);
	assert_int_equal(guest_load_once(h, GPA + (1 << 20), &v), -ENOENT);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, 1 << 20);
}

static void test_munmap_then_efault_then_repair(void **state)
{
	struct hvm vm;
	char *mem = map_aligned(1 << 20, 4096, MAP_PRIVATE);
	struct hvcpu *h;
	u64 v;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, GPA, 1 << 20, mem), 0);
	assert_int_equal(guest_store_once(h, GPA, 42), 0);
	assert_int_equal(hooked_munmap(mem, 4096), 0);
	assert_int_equal(guest_load_once(h, GPA, &v), -EFAULT);
	assert_int_equal(guest_load_once(h, GPA + 4096, &v), 0);
	assert_ptr_equal(hooked_mmap(mem, 4096, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			 mem);
	assert_int_equal(guest_load_once(h, GPA, &v), 0);
	assert_int_equal(v, 0);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, 1 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load_and_store_reach_the_vmms_memory),
		cmocka_unit_test(test_no_slot_and_readonly_slot_are_mmio),
		cmocka_unit_test(test_munmap_then_efault_then_repair),
	};

	return cmocka_run_group_tests_name("mmu faults", tests, NULL, NULL);
}
