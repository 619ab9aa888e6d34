/* SPDX-License-Identifier: MIT */
/* guest_memfd and memory attributes: bindings, private and shared faults, conversion, punch. */
#include "harness.h"

#include "mmu/gmem.h"

#define MB  (1ULL << 20)
#define GPA 0x10000000ULL

struct fx {
	struct hvm vm;
	struct hvcpu *h;
	struct gmem_file *file;
	u8 *mem;
	u64 size;
};

static int bind_at(struct fx *f, u32 slot, gpa_t gpa, u64 size, u64 offset)
{
	struct mmu_region r = {.slot = slot,
			       .flags = MMU_SLOT_GMEM,
			       .gpa = gpa,
			       .size = size,
			       .hva = (hva_t)f->mem,
			       .gmem = f->file,
			       .gmem_offset = offset};

	return mmu_set_region(f->vm.mmu, &r);
}

static int unbind(struct fx *f, u32 slot)
{
	return hvm_slot(&f->vm, slot, 0, 0, 0, NULL);
}

static int convert(struct fx *f, gpa_t gpa, u64 size, bool private_)
{
	return mmu_set_attributes(f->vm.mmu, gpa >> PAGE_SHIFT, size >> PAGE_SHIFT,
				  private_ ? MMU_ATTR_PRIVATE : 0);
}

static void setup(struct fx *f, u64 size, u64 flags)
{
	hvm_init(&f->vm);
	f->size = size;
	f->mem = map_aligned(size, 2 * MB, MAP_SHARED);
	assert_int_equal(gmem_create(f->vm.mmu, size, flags, &f->file), 0);
	f->h = hvcpu_new(&f->vm, 0);
	assert_int_equal(bind_at(f, 0, GPA, size, 0), 0);
}

static void teardown(struct fx *f)
{
	hvcpu_free(f->h);
	if (f->file)
		gmem_release(f->file);
	hvm_fini(&f->vm);
	munmap(f->mem, f->size);
	assert_int_equal(mmu_imbalances, 0);
}

static u64 load(struct fx *f, gpa_t gpa)
{
	u64 v = ~0ULL;

	assert_int_equal(guest_load_once(f->h, gpa, &v), 0);
	return v;
}

static void private_and_shared_memory_are_two(void **state)
{
	struct fx f;

	setup(&f, 2 * MB, 0);
	assert_int_equal(guest_store_once(f.h, GPA + 0x1000, 11), 0);
	assert_int_equal(*(u64 *)(f.mem + 0x1000), 11);
	assert_int_equal(convert(&f, GPA + 0x1000, 0x1000, true), 0);
	assert_int_equal(load(&f, GPA + 0x1000), 0);
	assert_int_equal(guest_store_once(f.h, GPA + 0x1000, 22), 0);
	assert_int_equal(*(u64 *)(f.mem + 0x1000), 11);
	assert_int_equal(load(&f, GPA + 0x2000), 0); /* its neighbour is shared */
	assert_int_equal(mmu_gfn_to_hva(f.vm.mmu, (GPA + 0x1000) >> PAGE_SHIFT, NULL), 0);
	assert_int_equal(convert(&f, GPA + 0x1000, 0x1000, false), 0);
	assert_int_equal(load(&f, GPA + 0x1000), 11);
	/* The private page kept what it had: only a punch takes it away. */
	assert_int_equal(convert(&f, GPA + 0x1000, 0x1000, true), 0);
	assert_int_equal(load(&f, GPA + 0x1000), 22);
	teardown(&f);
}

static void punched_pages_read_zero(void **state)
{
	struct fx f;

	setup(&f, 2 * MB, 0);
	assert_int_equal(convert(&f, GPA, 2 * MB, true), 0);
	for (u64 at = 0; at < 0x4000; at += 0x1000)
		assert_int_equal(guest_store_once(f.h, GPA + at, at + 1), 0);
	assert_int_equal(gmem_punch(f.file, 0x1000, 0x2000), 0);
	assert_int_equal(load(&f, GPA), 1);
	assert_int_equal(load(&f, GPA + 0x1000), 0);
	assert_int_equal(load(&f, GPA + 0x2000), 0);
	assert_int_equal(load(&f, GPA + 0x3000), 0x3001);
	teardown(&f);
}

static void a_file_range_is_bound_once(void **state)
{
	struct fx f;

	setup(&f, 2 * MB, 0);
	assert_int_equal(bind_at(&f, 1, GPA + 4 * MB, 0x1000, 0x1000), -EINVAL);
	assert_int_equal(bind_at(&f, 0, GPA, 2 * MB, 0), -EINVAL); /* nothing may change */
	assert_int_equal(bind_at(&f, 0, GPA + 4 * MB, 2 * MB, 0), -EINVAL); /* nor move */
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GPA, 2 * MB, f.mem), -EINVAL);
	assert_int_equal(unbind(&f, 0), 0);
	assert_int_equal(bind_at(&f, 0, GPA, 2 * MB, 0x1000), -EINVAL);
	assert_int_equal(bind_at(&f, 0, GPA, MB, 0x800), -EINVAL);
	assert_int_equal(bind_at(&f, 0, GPA, MB, 0), 0);
	assert_int_equal(bind_at(&f, 1, GPA + 4 * MB, MB, MB), 0);
	teardown(&f);
}

static void a_released_file_serves_no_more(void **state)
{
	struct fx f;
	u64 v;

	setup(&f, 2 * MB, 0);
	assert_int_equal(convert(&f, GPA, 0x1000, true), 0);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	gmem_release(f.file);
	f.file = NULL;
	assert_int_equal(guest_load_once(f.h, GPA, &v), -EFAULT);
	assert_true(f.h->v.fault_private);
	assert_int_equal(load(&f, GPA + 0x1000), 0); /* shared memory does not need it */
	/* Private without a slot, or in one without a file, is no device. */
	assert_int_equal(unbind(&f, 0), 0);
	assert_int_equal(guest_load_once(f.h, GPA, &v), -EFAULT);
	assert_int_equal(guest_load_once(f.h, GPA + 0x1000, &v), -ENOENT);
	assert_false(f.h->v.fault_private);
	teardown(&f);
}

static void a_second_file_carries_on(void **state)
{
	struct gmem_file *second;
	struct fx a, b;

	setup(&a, 2 * MB, 0);
	assert_int_equal(convert(&a, GPA, 2 * MB, true), 0);
	assert_int_equal(guest_store_once(a.h, GPA + 0x1000, 5), 0);
	setup(&b, 2 * MB, 0);
	assert_int_equal(convert(&b, GPA, 2 * MB, true), 0);
	assert_int_equal(gmem_link(a.file, b.vm.mmu, &second), 0);
	gmem_release(b.file);
	b.file = second;
	assert_int_equal(unbind(&b, 0), 0);
	assert_int_equal(bind_at(&b, 0, GPA, MB, 0x1000), 0);
	assert_int_equal(load(&b, GPA), 5);
	/* A punch through either takes the page from both. */
	assert_int_equal(gmem_punch(a.file, 0x1000, 0x1000), 0);
	assert_int_equal(load(&b, GPA), 0);
	assert_int_equal(guest_store_once(b.h, GPA, 6), 0);
	assert_int_equal(load(&a, GPA + 0x1000), 6);
	assert_int_equal(gmem_punch(b.file, 0x1000, 0x1000), 0);
	assert_int_equal(load(&a, GPA + 0x1000), 0);
	assert_int_equal(guest_store_once(a.h, GPA + 0x2000, 7), 0);
	teardown(&a);
	assert_int_equal(load(&b, GPA + 0x1000), 7);
	teardown(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(private_and_shared_memory_are_two),
		cmocka_unit_test(punched_pages_read_zero),
		cmocka_unit_test(a_file_range_is_bound_once),
		cmocka_unit_test(a_released_file_serves_no_more),
		cmocka_unit_test(a_second_file_carries_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
