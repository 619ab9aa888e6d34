/* SPDX-License-Identifier: MIT */
/* Memslots: KVM's rules, lookup, and the cost of very many. */
#include "base/clock.h"
#include "harness.h"

/*
 * One call after another on one VM, with the errno that KVM_SET_USER_MEMORY_REGION of a real
 * /dev/kvm (Linux 6.18) gave. hva is relative to the test's memory unless `raw`.
 */
static const struct step {
	u32 slot, flags;
	u64 gpa, size, hva;
	bool raw;
	int expect;
} steps[] = {
	{0, 0, 0x100000, 0x10000, 0, false, 0},
	{0, 0, 0x100000, 0x10000, 0, false, 0},		  /* nothing to change */
	{0, 1, 0x100000, 0x10000, 0, false, 0},		  /* logging on */
	{0, 0, 0x100000, 0x10000, 0, false, 0},		  /* and off */
	{0, 2, 0x100000, 0x10000, 0, false, -EINVAL},	  /* read-only cannot change */
	{0, 4, 0x100000, 0x10000, 0, false, -EINVAL},	  /* unknown flag */
	{0, 0, 0x100000, 0x11000, 0, false, -EINVAL},	  /* nor the size */
	{0, 0, 0x100000, 0x10000, 0x1000, false, -EINVAL}, /* nor the address behind */
	{0, 0, 0x200000, 0x10000, 0, false, 0},		  /* moved */
	{1, 0, 0x200000, 0x1000, 0, false, -EEXIST},	  /* overlaps at the start */
	{1, 0, 0x20f000, 0x2000, 0, false, -EEXIST},	  /* at the end */
	{1, 0, 0x210000, 0x1000, 0, false, 0},		  /* next to it */
	{0, 0, 0x208000, 0x10000, 0, false, -EEXIST},	  /* moved into the next */
	{0, 0, 0x201000, 0x10000, 0, false, -EEXIST},
	{1, 0, 0, 0, 0, true, 0},			  /* deleted */
	{1, 0, 0, 0, 0, true, -EINVAL},			  /* twice */
	{0, 0, 0x300001, 0, 0, true, -EINVAL},		  /* alignment counts even then */
	{0, 0, 0, 0, 1, true, -EINVAL},
	{0, 8, 0, 0, 0, true, -EINVAL},
	{0, 0, 0, 0x1001, 0, false, -EINVAL},
	{2, 0, 1, 0x1000, 0, false, -EINVAL},
	{2, 0, 0x400000, 0x1000, 1, false, -EINVAL},
	{2, 0, 0x400000, 0x1000, 0x7ffffffff000, true, -EINVAL}, /* beyond user space */
	{2, 0, 0x400000, 0x1000, 0x7fffffffe000, true, 0},
	{2, 0, 0, 0, 0, true, 0},
	{2, 0, 0x400000, 0x2000, 0x7fffffffd000, true, 0},
	{2, 0, 0, 0, 0, true, 0},
	{2, 0, 0x400000, 0x1000, 0x800000000000, true, -EINVAL},
	{2, 0, 0x400000, 0x1000, 0xffff888000000000, true, -EINVAL},
	{2, 0, 0x400000, 0x1000, 0, true, 0}, /* nothing need be mapped there */
	{2, 0, 0, 0, 0, true, 0},
	{32763, 0, 0x400000, 0x1000, 0, false, 0},
	{32764, 0, 0x500000, 0x1000, 0, false, -EINVAL},
	{32767, 0, 0x500000, 0x1000, 0, false, -EINVAL},
	{65535, 0, 0x500000, 0x1000, 0, false, -EINVAL},
	{0x10000, 0, 0x500000, 0x1000, 0, false, -EINVAL}, /* another address space */
	{3, 0, 0xfffffffffffff000, 0x1000, 0, false, -EINVAL},
	{3, 0, 0xfffffffffffff000, 0x2000, 0, false, -EINVAL}, /* wraps */
	{3, 0, 0x500000, 1ULL << 43, 0, true, -EINVAL},	       /* too many pages */
	{3, 0, 0x500000, (1ULL << 43) - 4096, 0, true, 0},
	{3, 0, 0, 0, 0, true, 0},
	{4, 0, (1ULL << 52) - 4096, 0x1000, 0, false, 0},
	{4, 0, 0, 0, 0, true, 0},
	{5, 0, 0x500000, 0x1000, 0, false, 0},
	{5, 2, 0x600000, 0x1000, 0, false, -EINVAL},
	{5, 1, 0x600000, 0x1000, 0, false, 0}, /* moved and logging at once */
	{5, 0, 0x200000, 0x1000, 0, false, -EEXIST},
	{6, 3, 0x800000, 0x1000, 0, false, 0},
	{6, 2, 0x800000, 0x1000, 0, false, 0},
	{6, 0, 0x800000, 0x1000, 0, false, -EINVAL},
	{8, 0, 0xfffffffffffff000, 0, 0, false, -EINVAL},
	{0, 1, 0xfffff000, 0, 0, false, 0}, /* the rest of a deletion means nothing */
};

static void test_rules_and_errno_are_kvms(void **state)
{
	char *mem = map_aligned(1 << 20, 4096, MAP_PRIVATE);
	struct hvm vm;

	hvm_init(&vm);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		const struct step *s = &steps[i];
		u64 hva = s->raw ? s->hva : (u64)mem + s->hva;
		int r = hvm_slot(&vm, s->slot, s->flags, s->gpa, s->size, (void *)hva);

		if (r != s->expect)
			fail_msg("step %zu: %d, expected %d", i, r, s->expect);
	}
	hvm_fini(&vm);
	munmap(mem, 1 << 20);
}

/* Every gfn near every slot's edge is found in it or in none. */
static void check_lookup(struct hvm *vm, u32 n, const bool *present, char *mem)
{
	u64 there = 0;

	for (u32 i = 0; i < n; i++) {
		gfn_t gfn = 0x1000 + 3 * (u64)i;

		assert_int_equal(mmu_gfn_to_hva(vm->mmu, gfn, NULL),
				 present[i] ? (u64)mem + i % 64 * 8192 : 0);
		assert_int_equal(mmu_gfn_to_hva(vm->mmu, gfn + 1, NULL),
				 present[i] ? (u64)mem + i % 64 * 8192 + 4096 : 0);
		assert_int_equal(mmu_gfn_to_hva(vm->mmu, gfn + 2, NULL), 0);
		there += present[i];
	}
	assert_int_equal(mmu_stat_page(vm->mmu)->memslots, there);
	assert_int_equal(mmu_stat_page(vm->mmu)->memslot_bytes, there * 8192);
}

static void test_lookup_with_random_updates(void **state)
{
	enum { N = 2000 };
	char *mem = map_aligned(1 << 20, 4096, MAP_PRIVATE);
	bool present[N] = {false};
	struct hvm vm;

	hvm_init(&vm);
	srand(1);
	for (int step = 0; step < 12000; step++) {
		u32 i = (u32)rand() % N;
		u64 size = present[i] ? 0 : 8192;

		assert_int_equal(hvm_slot(&vm, i, 0, (0x1000 + 3 * (u64)i) << 12, size,
					  mem + i % 64 * 8192),
				 0);
		present[i] = !present[i];
		if (step % 3000 == 0)
			check_lookup(&vm, N, present, mem);
	}
	check_lookup(&vm, N, present, mem);
	hvm_fini(&vm);
	munmap(mem, 1 << 20);
}

/* Processor time for slots [from, to), made or deleted, in microseconds. */
static u64 slots_us(struct hvm *vm, char *mem, u32 from, u32 to)
{
	u64 start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	for (u32 i = from; i < to; i++)
		assert_int_equal(hvm_slot(vm, i, 0, mem ? (u64)i << 13 : 0, mem ? 4096 : 0,
					  mem ? mem + i % 256 * 4096 : NULL), 0);
	return (clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start) / 1000;
}

/* Where an update's cost grew with the number of slots, the last tenth would take 19 times the first. */
static void test_30000_slots_are_made_quickly(void **state)
{
	char *mem = map_aligned(1 << 20, 4096, MAP_PRIVATE);
	u64 few, many, fewer;
	struct hvm vm;

	hvm_init(&vm);
	few = slots_us(&vm, mem, 0, 3000);
	slots_us(&vm, mem, 3000, 27000);
	many = slots_us(&vm, mem, 27000, 30000);
	assert_int_equal(mmu_gfn_to_hva(vm.mmu, 2 * 29999, NULL), (u64)mem + 29999 % 256 * 4096);
	print_message("3000 slots made: the first in %lu us, the last in %lu us\n", few, many);
	assert_true(many < 12 * few);
	many = slots_us(&vm, NULL, 0, 3000);
	slots_us(&vm, NULL, 3000, 27000);
	fewer = slots_us(&vm, NULL, 27000, 30000);
	print_message("3000 slots deleted: amid all in %lu us, the last in %lu us\n", many, fewer);
	assert_true(many < 12 * fewer);
	hvm_fini(&vm);
	munmap(mem, 1 << 20);
}

static void test_a_deleted_slot_is_out_of_reach_at_once(void **state)
{
	char *mem = map_aligned(1 << 20, 4096, MAP_PRIVATE);
	struct hvcpu *h;
	struct hvm vm;
	u64 v;

	hvm_init(&vm);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, 0, 1 << 20, mem), 0);
	assert_int_equal(guest_store_once(h, 0x3000, 5), 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, 0x100000, 1 << 20, mem), 0);
	assert_int_equal(guest_load_once(h, 0x3000, &v), -ENOENT);
	assert_int_equal(guest_load_once(h, 0x103000, &v), 0);
	assert_int_equal(v, 5);
	assert_int_equal(hvm_slot(&vm, 0, 0, 0, 0, 0), 0);
	assert_int_equal(guest_load_once(h, 0x103000, &v), -ENOENT);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, 1 << 20);
}

/* ------------------------------------------------------------------ a stop and a slot that goes */

static struct hvm *going; /* its slot 0 is deleted by the next fault */

static int fault_in_and_delete(void *primary, hva_t hva, bool write, bool (*interrupted)(void *arg),
			       void *arg, struct frame *out)
{
	int r = primary_linux_ops.fault_in(primary, hva, write, interrupted, arg, out);

	if (going)
		assert_int_equal(hvm_slot(going, 0, 0, 0, 0, 0), 0);
	going = NULL;
	return r;
}

/*
 * A locked access with the others stopped faults, and finds the slot gone: no MMIO, since the stop has
 * ended, and what the instruction accesses next may be memory again.
 */
static void test_a_stopper_whose_slot_goes_begins_anew(void **state)
{
	struct primary_ops ops = primary_linux_ops;
	struct mmu_xlat x;
	struct hvcpu *h;
	struct hvm vm;
	void *mem;

	ops.fault_in = fault_in_and_delete;
	hvm_init_over(&vm, &ops);
	mem = map_aligned(1 << 20, 1 << 21, MAP_PRIVATE);
	h = hvcpu_new(&vm, 0);
	assert_int_equal(hvm_slot(&vm, 0, 0, 0x100000, 1 << 20, mem), 0);
	mmu_vcpu_enter(&h->v);
	assert_true(mmu_stop_others(&h->v));
	going = &vm;
	assert_int_equal(mmu_translate(&h->v, 0x100000, MMU_WRITE, &x), -EAGAIN);
	assert_false(mmu_stops_others(&h->v));
	/* Begun anew, it is a device's, and the stop holds. */
	assert_true(mmu_stop_others(&h->v));
	assert_int_equal(mmu_translate(&h->v, 0x100000, MMU_WRITE, &x), -ENOENT);
	assert_true(mmu_stops_others(&h->v));
	mmu_start_others(&h->v);
	mmu_vcpu_leave(&h->v);
	hvcpu_free(h);
	hvm_fini(&vm);
	munmap(mem, 1 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_stopper_whose_slot_goes_begins_anew),
		cmocka_unit_test(test_rules_and_errno_are_kvms),
		cmocka_unit_test(test_lookup_with_random_updates),
		cmocka_unit_test(test_30000_slots_are_made_quickly),
		cmocka_unit_test(test_a_deleted_slot_is_out_of_reach_at_once),
	};

	return cmocka_run_group_tests_name("mmu slots", tests, NULL, NULL);
}
