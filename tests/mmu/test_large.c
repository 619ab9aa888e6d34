/* SPDX-License-Identifier: MIT */
/* Large SPTEs: where they are made, split for logging and made again. */
#include "harness.h"

#define MB (1ULL << 20)
#define GB (1ULL << 30)

struct fixture {
	struct hvm vm;
	struct hvcpu *h;
	char *mem;
	size_t len;
};

static void setup_over(struct fixture *f, size_t len, size_t align, const struct primary_ops *ops)
{
	f->len = len;
	f->mem = map_aligned(len, align, MAP_PRIVATE | MAP_NORESERVE);
	hvm_init_over(&f->vm, ops);
	f->h = hvcpu_new(&f->vm, 0);
}

static void setup(struct fixture *f, size_t len, size_t align)
{
	setup_over(f, len, align, &primary_linux_ops);
}

static void teardown(struct fixture *f)
{
	hvcpu_free(f->h);
	hvm_fini(&f->vm);
	munmap(f->mem, f->len);
}

static struct mmu_stats stats(struct hvm *vm)
{
	struct mmu_stats s;

	mmu_get_stats(vm->mmu, &s);
	return s;
}

static void test_congruent_slots_get_2m_leaves(void **state)
{
	struct fixture f;
	u64 v;

	setup(&f, 8 * MB, 2 * MB);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 4 * MB, 8 * MB, f.mem), 0);
	assert_int_equal(guest_store_once(f.h, 4 * MB + 0x123008, 9), 0);
	assert_int_equal(stats(&f.vm).pages_2m, 1);
	assert_int_equal(stats(&f.vm).pages_4k, 0);
	assert_int_equal(*(u64 *)(f.mem + 0x123008), 9);
	*(u64 *)(f.mem + 0x1ff000) = 11;
	assert_int_equal(guest_load_once(f.h, 4 * MB + 0x1ff000, &v), 0);
	assert_int_equal(v, 11);
	assert_int_equal(stats(&f.vm).pages_2m, 1);
	teardown(&f);
}

static void test_incongruent_slots_get_4k_leaves(void **state)
{
	struct fixture f;

	setup(&f, 8 * MB, 2 * MB);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 4 * MB + 4096, 6 * MB, f.mem), 0);
	assert_int_equal(guest_store_once(f.h, 6 * MB, 9), 0);
	assert_int_equal(stats(&f.vm).pages_2m, 0);
	assert_int_equal(stats(&f.vm).pages_4k, 1);
	assert_int_equal(*(u64 *)(f.mem + 2 * MB - 4096), 9);
	teardown(&f);
}

static void test_two_mappings_do_not_make_one_leaf(void **state)
{
	struct fixture f;
	u64 v;

	setup(&f, 2 * MB, 2 * MB);
	assert_int_equal(mprotect(f.mem + MB, MB, PROT_READ), 0);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, 2 * MB, f.mem), 0);
	assert_int_equal(guest_load_once(f.h, 0, &v), 0);
	assert_int_equal(stats(&f.vm).pages_4k, 1);
	assert_int_equal(stats(&f.vm).pages_2m, 0);
	assert_int_equal(guest_store_once(f.h, MB - 8, 1), 0);
	assert_int_equal(guest_store_once(f.h, MB, 1), -EFAULT);
	teardown(&f);
}

static void test_1g_leaf(void **state)
{
	struct fixture f;
	u64 v;

	setup(&f, GB, GB);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GB, GB, f.mem), 0);
	assert_int_equal(guest_load_once(f.h, GB + 5 * MB, &v), 0);
	assert_int_equal(stats(&f.vm).pages_1g, 1);
	/* A hole in the middle ends it; what is left is mapped smaller. */
	assert_int_equal(hooked_munmap(f.mem + 512 * MB, 4096), 0);
	assert_int_equal(stats(&f.vm).pages_1g, 0);
	assert_int_equal(guest_load_once(f.h, GB + 512 * MB, &v), -EFAULT);
	assert_int_equal(guest_load_once(f.h, GB + 512 * MB + 4096, &v), 0);
	assert_int_equal(guest_load_once(f.h, GB + 5 * MB, &v), 0);
	assert_int_equal(stats(&f.vm).pages_2m, 1);
	assert_int_equal(stats(&f.vm).pages_4k, 1);
	teardown(&f);
}

#define AROUND 16 /* logged pages that a fault of one maps */

/* One fault maps them, the next one none of them; of each, the log says whether it was written to. */
static void test_pages_around_a_logged_one_are_no_faults(void **state)
{
	u64 bits[1024 / 64], v;
	struct fixture f;

	setup(&f, 4 * MB, 2 * MB);
	assert_int_equal(hvm_slot(&f.vm, 0, MMU_SLOT_LOG_DIRTY, 0, 4 * MB, f.mem), 0);
	for (int harvest = 0; harvest < 2; harvest++) {
		assert_int_equal(guest_store_once(f.h, 5 * PAGE_SIZE, 1), 0);
		assert_int_equal(guest_load_once(f.h, 6 * PAGE_SIZE, &v), 0);
		assert_int_equal(guest_store_once(f.h, (AROUND - 1) * PAGE_SIZE, 1), 0);
		assert_int_equal(f.h->v.stat->pf_taken, 1);
		assert_int_equal(stats(&f.vm).pages_4k, AROUND);
		assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, bits), 0);
		assert_int_equal(bits[0], BIT(5) | BIT(AROUND - 1));
	}
	assert_int_equal(guest_store_once(f.h, AROUND * PAGE_SIZE, 1), 0);
	assert_int_equal(f.h->v.stat->pf_taken, 2);
	assert_int_equal(stats(&f.vm).pages_4k, 2 * AROUND);
	teardown(&f);
}

static void test_logging_splits_and_its_end_recovers(void **state)
{
	u64 bits[1024 / 64];
	struct fixture f;

	setup(&f, 4 * MB, 2 * MB);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, 4 * MB, f.mem), 0);
	assert_int_equal(guest_store_once(f.h, 0, 1), 0);
	assert_int_equal(stats(&f.vm).pages_2m, 1);
	assert_int_equal(hvm_slot(&f.vm, 0, MMU_SLOT_LOG_DIRTY, 0, 4 * MB, f.mem), 0);
	assert_int_equal(stats(&f.vm).pages_2m, 0);
	assert_int_equal(guest_store_once(f.h, 0x5000, 2), 0);
	assert_int_equal(stats(&f.vm).pages_4k, AROUND);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, bits), 0);
	assert_int_equal(bits[0], 1 << 5);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, 4 * MB, f.mem), 0);
	assert_int_equal(guest_store_once(f.h, 0x5000, 3), 0);
	assert_int_equal(stats(&f.vm).pages_2m, 1);
	assert_int_equal(stats(&f.vm).pages_4k, 0);
	teardown(&f);
}

static void test_4k_leaves_stay_when_logging_starts(void **state)
{
	u64 bits[256 / 64];
	struct fixture f;

	setup(&f, MB, 4096);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, MB, f.mem), 0);
	assert_int_equal(guest_store_once(f.h, 0x2000, 1), 0);
	assert_int_equal(guest_store_once(f.h, 0x3000, 1), 0);
	assert_int_equal(hvm_slot(&f.vm, 0, MMU_SLOT_LOG_DIRTY, 0, MB, f.mem), 0);
	assert_int_equal(stats(&f.vm).pages_4k, 2);
	assert_int_equal(guest_store_once(f.h, 0x3000, 2), 0);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, bits), 0);
	assert_int_equal(bits[0], 1 << 3);
	teardown(&f);
}

static struct {
	hva_t page; /* is changed while a frame is asked for */
	unsigned asked;
} beside;

#define MANY_FAULTS 100

static int fault_in_beside(void *primary, hva_t hva, bool write,
			   bool (*interrupted)(void *arg), void *arg, struct frame *out)
{
	int r = primary_linux_ops.fault_in(primary, hva, write, interrupted, arg, out), error;

	/* So that one that never comes to its end fails. */
	if (++beside.asked < MANY_FAULTS)
		primary_linux_change_end(primary_linux_change_begin(beside.page, PAGE_SIZE,
								    CHANGE_UNMAP, &error));
	return r;
}

/* A VMM that goes on changing its mappings in a block holds up no fault on another page of it. */
static void test_invalidations_beside_a_fault(void **state)
{
	struct primary_ops ops = primary_linux_ops;
	struct fixture f;

	ops.fault_in = fault_in_beside;
	setup_over(&f, GB, GB, &ops);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GB, GB, f.mem), 0);
	beside.page = (hva_t)f.mem + 512 * MB;
	assert_int_equal(guest_store_once(f.h, GB + 5 * MB, 1), 0);
	assert_int_equal(beside.asked, 1);
	assert_int_equal(stats(&f.vm).pages_2m, 1);
	beside.page = (hva_t)f.mem + 9 * MB;
	assert_int_equal(guest_store_once(f.h, GB + 8 * MB, 1), 0);
	assert_int_equal(beside.asked, 2);
	assert_int_equal(stats(&f.vm).pages_4k, 1);
	/* On the page itself it does. */
	beside.page = (hva_t)f.mem + 20 * MB;
	assert_int_equal(guest_store_once(f.h, GB + 20 * MB, 1), 0);
	assert_int_equal(beside.asked, MANY_FAULTS);
	teardown(&f);
}

static void test_prefault_maps_without_an_access(void **state)
{
	struct fixture f;
	u64 done;

	setup(&f, 8 * MB, 2 * MB);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, 6 * MB, f.mem), 0);
	assert_int_equal(mmu_prefault(&f.h->v, 4096, 4 * MB, &done), 0);
	assert_int_equal(done, 4 * MB);
	assert_int_equal(stats(&f.vm).pages_2m, 3);
	assert_int_equal(mmu_prefault(&f.h->v, 4 * MB, 4 * MB, &done), -ENOENT);
	assert_int_equal(done, 2 * MB);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_congruent_slots_get_2m_leaves),
		cmocka_unit_test(test_incongruent_slots_get_4k_leaves),
		cmocka_unit_test(test_two_mappings_do_not_make_one_leaf),
		cmocka_unit_test(test_1g_leaf),
		cmocka_unit_test(test_pages_around_a_logged_one_are_no_faults),
		cmocka_unit_test(test_logging_splits_and_its_end_recovers),
		cmocka_unit_test(test_4k_leaves_stay_when_logging_starts),
		cmocka_unit_test(test_invalidations_beside_a_fault),
		cmocka_unit_test(test_prefault_maps_without_an_access),
	};

	return cmocka_run_group_tests_name("mmu large", tests, NULL, NULL);
}
