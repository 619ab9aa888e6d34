/* SPDX-License-Identifier: MIT */
/* What a TLB holds after fills and flushes of every kind. */
#include "harness.h"
#include "mmu/flush.h"

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
		assert_true(mmu_tlb_switch(&f.h->v, 0, false));
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

/* Global entries and the others are listed apart: either list may be full. */
static void test_flushes_by_kind(void **state)
{
	static const struct {
		u64 global, local;
	} many[] = {{4, 1000}, {1000, 4}};
	struct fixture f;

	for (unsigned k = 0; k < ARRAY_SIZE(many); k++) {
		setup(&f);
		for (u64 i = 0; i < many[k].global; i++)
			fill(&f, TLB_KERNEL, 0xffff800000000000 + i * 4096, i * 4096, MMU_READ | MMU_WRITE, true);
		for (u64 i = 0; i < many[k].local; i++)
			fill(&f, TLB_USER, i * 4096, i * 4096, MMU_READ | MMU_WRITE, false);
		tlb_drop_writes_to(&f.h->v, (u64)f.mem + 2 * 4096);
		assert_false(writes(&f, TLB_KERNEL, 0xffff800000002000));
		assert_false(writes(&f, TLB_USER, 0x2000));
		assert_true(writes(&f, TLB_KERNEL, 0xffff800000003000));
		assert_true(writes(&f, TLB_USER, 0x3000));
		tlb_drop_writes(&f.h->v);
		for (u64 i = 0; i < many[k].global; i++)
			assert_false(writes(&f, TLB_KERNEL, 0xffff800000000000 + i * 4096));
		for (u64 i = 0; i < many[k].local; i++)
			assert_false(writes(&f, TLB_USER, i * 4096));
		/* Entries change their kind, either way. */
		fill(&f, TLB_KERNEL, 0xffff800000000000, 0, MMU_READ, false);
		fill(&f, TLB_USER, 0, 0, MMU_READ, true);
		assert_true(mmu_tlb_switch(&f.h->v, k, false));
		assert_false(reads(&f, TLB_KERNEL, 0xffff800000000000));
		assert_true(reads(&f, TLB_USER, 0));
		for (u64 i = 1; i < many[k].global; i++)
			assert_true(reads(&f, TLB_KERNEL, 0xffff800000000000 + i * 4096));
		for (u64 i = 1; i < many[k].local; i++)
			assert_false(reads(&f, TLB_USER, i * 4096));
		mmu_tlb_flush(&f.h->v);
		for (u64 i = 0; i < many[k].global; i++)
			assert_false(reads(&f, TLB_KERNEL, 0xffff800000000000 + i * 4096));
		assert_false(reads(&f, TLB_USER, 0));
		teardown(&f);
	}
}

/* As generated code does: the stack's page is kept twice. */
static bool make_near(struct fixture *f, u64 la, u32 size, bool write)
{
	return mmu_tlb_near(&f->h->v, TLB_USER, la, size, write);
}

static bool near(struct fixture *f, u64 la)
{
	return la + f->h->v.near[TLB_USER].neg_read < PAGE_SIZE ||
	       la + f->h->v.near[TLB_USER].neg_write < PAGE_SIZE;
}

static void test_the_copy_of_the_stacks_entry_is_dropped_by_every_change(void **state)
{
	const u64 stack = 0x7ffffffde000, other = 0x7f0000001000;
	struct fixture f;

	setup(&f);
	for (unsigned change = 0; change < 6; change++) {
		fill(&f, TLB_USER, stack, 0x3000, MMU_READ | MMU_WRITE, false);
		fill(&f, TLB_USER, other, 0x4000, MMU_READ | MMU_WRITE, false);
		assert_true(make_near(&f, stack, 8, false));
		assert_true(near(&f, stack + 8));
		switch (change) {
		case 0:
			mmu_tlb_flush(&f.h->v);
			break;
		case 1:
			mmu_tlb_switch(&f.h->v, 0, false);
			break;
		case 2:
			mmu_tlb_flush_page(&f.h->v, stack);
			break;
		case 3: /* another translation, without a flush between */
			fill(&f, TLB_USER, stack, 0x5000, MMU_READ, false);
			break;
		case 4: /* code is read from that very page */
			assert_int_equal(mmu_code_track(&f.h->v, 0x3000, 1), 0);
			break;
		case 5: /* dirty logging begins */
			mmu_vcpu_leave(&f.h->v);
			assert_int_equal(hvm_slot(&f.vm, 0, MMU_SLOT_LOG_DIRTY, 0, 16 * MB, f.mem), 0);
			mmu_vcpu_enter(&f.h->v);
			break;
		}
		assert_false(near(&f, stack + 8));
	}
	teardown(&f);
}

static void test_the_stacks_entry_is_one_that_answers(void **state)
{
	const u64 stack = 0x7ffffffde000, other = 0x7f0000001000;
	struct fixture f;

	setup(&f);
	fill(&f, TLB_USER, stack, 0x3000, MMU_READ | MMU_WRITE, false);
	fill(&f, TLB_USER, other, 0x4000, MMU_READ, false);
	assert_true(make_near(&f, stack, 8, true));
	/* A page that nobody knows, one that allows less, and an access that ends in the next page: it stays. */
	assert_false(make_near(&f, stack + PAGE_SIZE, 8, false));
	assert_false(make_near(&f, other, 8, true));
	assert_false(make_near(&f, stack + PAGE_SIZE - 4, 8, false));
	assert_true(near(&f, stack));
	assert_true(make_near(&f, other + PAGE_SIZE - 8, 8, false));
	assert_true(near(&f, other));
	teardown(&f);
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
	/* One beyond another, and one below it. */
	for (u64 i = 0; i < 2; i++) {
		u64 la = i ? 0x3fe00000 : 0x40200000;

		mmu_tlb_note_large(&f.h->v, 0x40000000, 2 * MB);
		mmu_tlb_note_large(&f.h->v, la, 2 * MB);
		fill(&f, TLB_USER, la, i * 4096, MMU_READ, false);
		mmu_tlb_flush_page(&f.h->v, la + 2 * MB - 1);
		assert_false(reads(&f, TLB_USER, la));
	}
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

/* What is known of a large leaf goes when the leaf does, and says no more than the leaf. */
static void test_a_known_leaf_goes_with_it(void **state)
{
	struct mmu_xlat x;
	struct fixture f;

	setup(&f);
	assert_false(mmu_translate_present(&f.h->v, 0x5000, MMU_READ, true, &x));
	assert_int_equal(mmu_translate(&f.h->v, 0x5000, MMU_READ, &x), 0);
	assert_true(mmu_translate_present(&f.h->v, 0x7000, MMU_READ, true, &x));
	assert_ptr_equal(x.host, f.mem + 0x7000);
	assert_false(x.writable); /* not dirty yet */
	assert_true(mmu_translate_present(&f.h->v, 0x7000, MMU_WRITE, true, &x));
	assert_true(x.writable);
	assert_true(mmu_translate_present(&f.h->v, 0x8000, MMU_READ, true, &x));
	assert_true(x.writable && !x.code);
	/* Code is looked for page by page. */
	assert_int_equal(mmu_code_track(&f.h->v, 0x8000, 1), 0);
	assert_true(mmu_translate_present(&f.h->v, 0x8000, MMU_READ, true, &x) && x.code);
	assert_true(mmu_translate_present(&f.h->v, 0x9000, MMU_READ, true, &x) && !x.code);
	mmu_vcpu_leave(&f.h->v);
	assert_int_equal(hooked_mprotect(f.mem, 2 * MB, PROT_NONE), 0);
	mmu_vcpu_enter(&f.h->v);
	assert_false(mmu_translate_present(&f.h->v, 0x7000, MMU_READ, true, &x));
	mmu_vcpu_leave(&f.h->v);
	assert_int_equal(hooked_mprotect(f.mem, 2 * MB, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(hvm_slot(&f.vm, 0, MMU_SLOT_LOG_DIRTY, 0, 16 * MB, f.mem), 0);
	mmu_vcpu_enter(&f.h->v);
	assert_int_equal(mmu_translate(&f.h->v, 0x7000, MMU_READ, &x), 0);
	assert_true(mmu_translate_present(&f.h->v, 0x7000, MMU_READ, true, &x));
	assert_false(x.writable);
	teardown(&f);
}

/* -- the second level, and address spaces */

#define LA     0x7f0000001000ULL
#define SHARED 0xffff800000002000ULL

static struct tlb_second_entry second[TLB_SECOND_ENTRIES];

static void setup_second(struct fixture *f)
{
	setup(f);
	memset(second, 0, sizeof(second));
	f->h->v.second = second;
	mmu_tlb_switch(&f->h->v, 1, false);
	fill(f, TLB_USER, LA, 0x1000, MMU_READ | MMU_WRITE, false);
	fill(f, TLB_KERNEL, SHARED, 0x2000, MMU_READ | MMU_WRITE, true);
}

static bool refilled(struct fixture *f, enum tlb_mode m, u64 la)
{
	return mmu_tlb_refill(&f->h->v, m, la, 1, false);
}

static void test_a_kept_address_space_comes_back(void **state)
{
	struct fixture f;

	setup_second(&f);
	assert_true(mmu_tlb_switch(&f.h->v, 2, false));
	assert_false(reads(&f, TLB_USER, LA));
	assert_false(refilled(&f, TLB_USER, LA));
	assert_true(reads(&f, TLB_KERNEL, SHARED));
	assert_true(mmu_tlb_switch(&f.h->v, 1, true));
	assert_true(refilled(&f, TLB_USER, LA));
	assert_true(writes(&f, TLB_USER, LA));
	assert_false(refilled(&f, TLB_KERNEL, LA)); /* another mode */
	assert_false(mmu_tlb_switch(&f.h->v, 1, true)); /* it is the one that it was */
	assert_true(reads(&f, TLB_USER, LA));
	teardown(&f);
}

static void test_what_ends_an_address_space(void **state)
{
	for (int how = 0; how < 4; how++) {
		struct fixture f;

		setup_second(&f);
		mmu_tlb_switch(&f.h->v, 2, false);
		if (how == 0)
			mmu_tlb_forget_space(&f.h->v, 1);
		else if (how == 1)
			mmu_tlb_forget_spaces(&f.h->v);
		else if (how == 2)
			mmu_tlb_flush(&f.h->v);
		mmu_tlb_switch(&f.h->v, 1, how < 3);
		assert_false(refilled(&f, TLB_USER, LA));
		assert_int_equal(reads(&f, TLB_KERNEL, SHARED), how != 2);
		assert_int_equal(refilled(&f, TLB_KERNEL, SHARED), how != 2);
		teardown(&f);
	}
	/* One forgotten for want of room only costs walks. */
	for (u32 pcid = 2; pcid < 2 + 2 * TLB_SPACES; pcid += TLB_SPACES) {
		struct fixture f;

		setup_second(&f);
		for (u32 i = 2; i <= pcid; i++)
			mmu_tlb_switch(&f.h->v, i, false);
		mmu_tlb_switch(&f.h->v, 1, true);
		assert_int_equal(refilled(&f, TLB_USER, LA), pcid == 2);
		teardown(&f);
	}
}

static void test_the_second_level_forgets_pages(void **state)
{
	struct fixture f;

	setup_second(&f);
	assert_true(mmu_tlb_flush_page(&f.h->v, LA + 8));
	assert_true(mmu_tlb_flush_page(&f.h->v, SHARED));
	assert_false(refilled(&f, TLB_USER, LA));
	assert_false(refilled(&f, TLB_KERNEL, SHARED));
	teardown(&f);
}

/* Another page takes the entry's slot in the first level; then what it allowed to write is code. */
static void test_a_right_to_write_is_not_brought_back(void **state)
{
	for (int all = 0; all < 2; all++) {
		struct fixture f;

		setup_second(&f);
		fill(&f, TLB_USER, LA + TLB_ENTRIES * PAGE_SIZE, 0x3000, MMU_READ | MMU_WRITE, false);
		assert_false(reads(&f, TLB_USER, LA));
		if (all) {
			mmu_vcpu_request(&f.h->v, MMU_REQ_WRITES);
			mmu_vcpu_safe_point(&f.h->v);
		} else {
			assert_int_equal(mmu_code_track(&f.h->v, 0x1000, 1), 0);
		}
		assert_true(refilled(&f, TLB_USER, LA));
		assert_false(writes(&f, TLB_USER, LA));
		assert_true(refilled(&f, TLB_USER, LA + TLB_ENTRIES * PAGE_SIZE));
		assert_int_equal(writes(&f, TLB_USER, LA + TLB_ENTRIES * PAGE_SIZE), !all);
		teardown(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries_allow_what_both_sides_allow),
		cmocka_unit_test(test_flushes),
		cmocka_unit_test(test_flushes_by_kind),
		cmocka_unit_test(test_the_copy_of_the_stacks_entry_is_dropped_by_every_change),
		cmocka_unit_test(test_the_stacks_entry_is_one_that_answers),
		cmocka_unit_test(test_invlpg_of_a_large_page_drops_all_of_it),
		cmocka_unit_test(test_a_known_leaf_goes_with_it),
		cmocka_unit_test(test_a_read_leaves_no_write_entry_on_a_clean_page),
		cmocka_unit_test(test_a_kept_address_space_comes_back),
		cmocka_unit_test(test_what_ends_an_address_space),
		cmocka_unit_test(test_the_second_level_forgets_pages),
		cmocka_unit_test(test_a_right_to_write_is_not_brought_back),
	};

	return cmocka_run_group_tests_name("mmu tlb", tests, NULL, NULL);
}
