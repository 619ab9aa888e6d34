/* SPDX-License-Identifier: MIT */
/* What a TLB holds after fills and flushes of every kind. */
#include "harness.h"

#define MB (1ULL << 20)

struct fixture {
	struct hvm vm;
	struct hvcpu *h;
	char *mem;
};

static void setup(struct fixture *f)
{
	f->mem = map_aligned(16 * MB, 2 * MB, MAP_PRIVATE);
	hvm_init(&f->vm);
	f->h = hvcpu_new(&f->vm, 0);
	assert_int_equal(hvm_slot(&f->vm, 0, 0, 0, 16 * MB, f->mem), 0);
	mmu_vcpu_enter(&f->h->v);
}

static void teardown(struct fixture *f)
{
	mmu_vcpu_leave(&f->h->v);
	hvcpu_free(f->h);
	hvm_fini(&f->vm);
	munmap(f->mem, 16 * MB);
}

static void fill(struct fixture *f, enum tlb_mode m, u64 linear, gpa_t gpa, unsigned perm,
		 bool global)
{
	struct mmu_xlat x;

	assert_int_equal(mmu_translate(&f->h->v, gpa, MMU_WRITE, &x), 0);
	mmu_tlb_fill(&f->h->v, m, linear, gpa, &x, perm, global);
}

static bool reads(struct fixture *f, enum tlb_mode m, u64 la)
{
	return tlb_read(&f->h->v.tlb[m], la, 8);
}

static bool writes(struct fixture *f, enum tlb_mode m, u64 la)
{
	return tlb_write(&f->h->v.tlb[m], la, 8);
}

static void test_entries_allow_what_both_sides_allow(void **state)
{
	struct fixture f;
	struct tlb *t;

	setup(&f);
	t = &f.h->v.tlb[TLB_USER];
	fill(&f, TLB_USER, 0x7f0000001000, 0x3000, MMU_READ | MMU_WRITE, false);
	fill(&f, TLB_USER, 0x7f0000002000, 0x4000, MMU_READ, false);
	assert_ptr_equal(tlb_read(t, 0x7f0000001010, 8), f.mem + 0x3010);
	assert_ptr_equal(tlb_write(t, 0x7f0000001ff8, 8), f.mem + 0x3ff8);
	assert_null(tlb_read(t, 0x7f0000001ff9, 8)); /* crosses the page */
	assert_ptr_equal(tlb_read(t, 0x7f0000002000, 4096), f.mem + 0x4000);
	assert_false(writes(&f, TLB_USER, 0x7f0000002000));
	assert_false(reads(&f, TLB_KERNEL, 0x7f0000001010));
	assert_false(reads(&f, TLB_USER, 0x1010)); /* the same slot, another page */
	teardown(&f);
}

static void test_flushes(void **state)
{
	struct fixture f;

	/* Few entries, which the journal lists, and more than it can. */
	for (u64 n = 4; n <= 1000; n += 996) {
		setup(&f);
		for (u64 i = 0; i < n; i++) {
			fill(&f, TLB_KERNEL, 0xffff800000000000 + i * 4096, i * 4096,
			     MMU_READ | MMU_WRITE, i & 1);
			fill(&f, TLB_USER, i * 4096, i * 4096, MMU_READ | MMU_WRITE, false);
		}
		mmu_tlb_flush_page(&f.h->v, 0xffff800000000000 + (n - 1) * 4096);
		assert_false(reads(&f, TLB_KERNEL, 0xffff800000000000 + (n - 1) * 4096));
		assert_true(reads(&f, TLB_KERNEL, 0xffff800000000000 + (n - 2) * 4096));
		assert_true(reads(&f, TLB_KERNEL, 0xffff800000000000 + (n - 3) * 4096));
		mmu_tlb_flush_nonglobal(&f.h->v);
		assert_false(reads(&f, TLB_KERNEL, 0xffff800000000000 + (n - 2) * 4096));
		assert_true(reads(&f, TLB_KERNEL, 0xffff800000000000 + (n - 3) * 4096));
		for (u64 i = 0; i < n; i++)
			assert_false(reads(&f, TLB_USER, i * 4096));
		mmu_tlb_flush(&f.h->v);
		for (u64 i = 0; i < n; i++)
			assert_false(reads(&f, TLB_KERNEL, 0xffff800000000000 + i * 4096));
		teardown(&f);
	}
}

static void test_invlpg_of_a_large_page_drops_all_of_it(void **state)
{
	struct fixture f;

	setup(&f);
	for (u64 i = 0; i < 3; i++) {
		mmu_tlb_note_large(&f.h->v, 0x40000000 + i * 4096, 2 * MB);
		fill(&f, TLB_USER, 0x40000000 + i * 4096, i * 4096, MMU_READ, false);
	}
	fill(&f, TLB_USER, 0x50010000, 0x10000, MMU_READ, false);
	mmu_tlb_flush_page(&f.h->v, 0x50020000); /* a small page: only its own entry */
	assert_true(reads(&f, TLB_USER, 0x50010000));
	assert_true(reads(&f, TLB_USER, 0x40002000));
	mmu_tlb_flush_page(&f.h->v, 0x401ff000); /* the large one, elsewhere in it */
	for (u64 i = 0; i < 3; i++)
		assert_false(reads(&f, TLB_USER, 0x40000000 + i * 4096));
	teardown(&f);
}

static void test_a_read_leaves_no_write_entry_on_a_clean_page(void **state)
{
	struct mmu_xlat x;
	struct fixture f;

	setup(&f);
	assert_int_equal(mmu_translate(&f.h->v, 0x5000, MMU_READ, &x), 0);
	assert_false(x.writable);
	assert_int_equal(mmu_translate(&f.h->v, 0x5000, MMU_WRITE, &x), 0);
	assert_true(x.writable);
	assert_int_equal(mmu_translate(&f.h->v, 0x5000, MMU_READ, &x), 0);
	assert_true(x.writable);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries_allow_what_both_sides_allow),
		cmocka_unit_test(test_flushes),
		cmocka_unit_test(test_invlpg_of_a_large_page_drops_all_of_it),
		cmocka_unit_test(test_a_read_leaves_no_write_entry_on_a_clean_page),
	};

	return cmocka_run_group_tests_name("mmu tlb", tests, NULL, NULL);
}
