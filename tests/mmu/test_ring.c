/* SPDX-License-Identifier: MIT */
/* Dirty rings: what is listed when, what a reset takes out, and when a ring is full. */
#include "harness.h"

#include "mmu/cache.h"

#define GPA	0x100000
#define NPAGES	512
#define SLOT	3
#define ENTRIES 256
#define RESERVE 64
#define FULL	(1u << 20) /* the request of a full ring */

struct fixture {
	struct hvm vm;
	struct hvcpu *h;
	struct mmu_dirty_gfn ring[ENTRIES];
	u32 next; /* entry the VMM looks at next */
	u8 *mem;
};

static struct fixture f;

static int setup(void **state)
{
	memset(&f, 0, sizeof(f));
	hvm_init(&f.vm);
	assert_int_equal(mmu_ring_enable(f.vm.mmu, 100), -EINVAL);
	assert_int_equal(mmu_ring_enable(f.vm.mmu, ENTRIES), 0);
	assert_int_equal(mmu_ring_enable(f.vm.mmu, ENTRIES), -EINVAL);
	f.h = hvcpu_new(&f.vm, 0);
	mmu_ring_attach(&f.h->v, f.ring, FULL);
	f.mem = map_aligned(NPAGES * PAGE_SIZE, PAGE_SIZE, MAP_PRIVATE);
	assert_int_equal(
		hvm_slot(&f.vm, SLOT, MMU_SLOT_LOG_DIRTY, GPA, NPAGES * PAGE_SIZE, f.mem), 0);
	return 0;
}

static int teardown(void **state)
{
	hvcpu_free(f.h);
	hvm_fini(&f.vm);
	munmap(f.mem, NPAGES * PAGE_SIZE);
	return 0;
}

static int store(u64 page)
{
	return guest_store_once(f.h, GPA + page * PAGE_SIZE, page + 1);
}

/* The next entry is this page of the slot; mark it collected. */
static void collect(u64 page)
{
	struct mmu_dirty_gfn *e = &f.ring[f.next++ % ENTRIES];

	assert_int_equal(e->flags, MMU_DIRTY_GFN_DIRTY);
	assert_int_equal(e->slot, SLOT);
	assert_int_equal(e->offset, page);
	e->flags = MMU_DIRTY_GFN_DIRTY | MMU_DIRTY_GFN_RESET;
}

static void nothing_listed(void)
{
	assert_int_equal(f.ring[f.next % ENTRIES].flags, 0);
}

static u32 reset(void)
{
	u32 n;

	assert_int_equal(mmu_ring_reset(f.vm.mmu, &n), 0);
	return n;
}

static void test_a_page_is_listed_once_until_a_reset(void **state)
{
	u64 v;

	assert_int_equal(guest_load_once(f.h, GPA, &v), 0);
	nothing_listed();
	assert_int_equal(store(5), 0);
	assert_int_equal(store(5), 0);
	assert_int_equal(store(0), 0);
	collect(5);
	collect(0);
	nothing_listed();
	assert_int_equal(store(5), 0);
	nothing_listed();
	assert_int_equal(reset(), 2);
	assert_int_equal(reset(), 0);
	assert_int_equal(store(5), 0);
	collect(5);
	nothing_listed();
}

static void test_a_reset_takes_what_was_collected(void **state)
{
	for (u64 p = 0; p < 4; p++)
		assert_int_equal(store(p), 0);
	collect(0);
	collect(1);
	assert_int_equal(reset(), 2);
	assert_int_equal(store(2), 0); /* listed still */
	assert_int_equal(store(1), 0);
	collect(2);
	collect(3);
	collect(1);
	nothing_listed();
	assert_int_equal(reset(), 3);
}

static void test_a_full_ring_takes_no_more(void **state)
{
	u64 n = 0;

	while (!mmu_ring_full(&f.h->v))
		assert_int_equal(store(n++), 0);
	assert_int_equal(n, ENTRIES - RESERVE);
	assert_int_equal(store(n), -EINTR);
	for (u64 p = 0; p < n; p++)
		collect(p);
	assert_int_equal(reset(), n);
	assert_false(mmu_ring_full(&f.h->v));
	assert_int_equal(store(n), 0);
	collect(n);
}

static int write_byte(struct mmu_cache *c, void *arg)
{
	u8 byte = 1;

	return mmu_cache_write(c, 0, &byte, 1);
}

/* A ring that host-side writes fill asks the vCPU to leave, and in the end they have to wait. */
static void test_host_side_writes_leave_room(void **state)
{
	struct mmu_cache cache;
	u64 n = 0;
	int r;

	mmu_cache_init(&cache, &f.h->v, 0);
	do {
		assert_int_equal(!!(f.h->v.requests & FULL), n >= ENTRIES - RESERVE);
		assert_int_equal(mmu_cache_set(&cache, GPA + n * PAGE_SIZE, 1), 0);
		r = mmu_cache_use(&cache, MMU_CACHE_WAIT, write_byte, NULL);
		n += !r;
	} while (!r);
	assert_int_equal(r, -EINTR);
	assert_true(n >= ENTRIES - 2 && n <= ENTRIES);
	assert_int_equal(f.mem[n * PAGE_SIZE], 0); /* not written, then */
	for (u64 p = 0; p < n; p++)
		collect(p);
	assert_int_equal(reset(), n);
	assert_int_equal(mmu_cache_use(&cache, MMU_CACHE_WAIT, write_byte, NULL), 0);
	collect(n);
	mmu_cache_fini(&cache);
}

/* What the VMM writes into the ring names no page of anybody else's. */
static void test_a_forged_entry_does_nothing(void **state)
{
	static const struct mmu_dirty_gfn forged[] = {
		{MMU_DIRTY_GFN_RESET, SLOT, NPAGES},
		{MMU_DIRTY_GFN_RESET, SLOT, ~0ull},
		{MMU_DIRTY_GFN_RESET, SLOT + 1, 0},
		{MMU_DIRTY_GFN_RESET, ~0u, 0},
	};

	f.ring[0] = forged[0];
	assert_int_equal(reset(), 0); /* the vCPU has listed nothing there */
	for (u64 p = 0; p < ARRAY_SIZE(forged); p++)
		assert_int_equal(store(p), 0);
	memcpy(f.ring, forged, sizeof(forged));
	assert_int_equal(reset(), ARRAY_SIZE(forged));
	f.next = ARRAY_SIZE(forged);
	assert_int_equal(store(0), 0);
	nothing_listed();
}

static int put(struct mmu_cache *c, void *arg)
{
	return mmu_cache_write(c, 0, arg, 8);
}

static void test_host_side_writes_are_listed(void **state)
{
	struct mmu_cache c;
	u64 v = 7;

	mmu_cache_init(&c, &f.h->v, 0);
	assert_int_equal(mmu_cache_set(&c, GPA + 9 * PAGE_SIZE, 8), 0);
	for (int i = 0; i < 2 * ENTRIES; i++)
		assert_int_equal(mmu_cache_use(&c, MMU_CACHE_WAIT, put, &v), 0);
	collect(9);
	nothing_listed();
	assert_int_equal(reset(), 1);
	assert_int_equal(mmu_cache_use(&c, MMU_CACHE_WAIT, put, &v), 0);
	collect(9);
	mmu_cache_fini(&c);
}

/* ---- a harvest while the guest writes: after the last one the copy is the memory */

static u64 next_value;

static void write_anywhere(struct hvcpu *h, void *arg)
{
	u64 v = ++next_value;
	int r = guest_store(h, GPA + v * 2654435761u % NPAGES * PAGE_SIZE, v);

	assert_true(!r || r == -EINTR);
	if (r)
		sched_yield();
}

static void harvest(u64 *copy)
{
	u64 page[ENTRIES];
	u32 n = 0, i;

	while (n < ENTRIES && __atomic_load_n(&f.ring[f.next % ENTRIES].flags,
					      __ATOMIC_ACQUIRE) == MMU_DIRTY_GFN_DIRTY) {
		struct mmu_dirty_gfn *e = &f.ring[f.next++ % ENTRIES];

		page[n++] = e->offset;
		__atomic_store_n(&e->flags, MMU_DIRTY_GFN_RESET, __ATOMIC_RELEASE);
	}
	assert_int_equal(reset(), n);
	for (i = 0; i < n; i++)
		copy[page[i]] = *(volatile u64 *)(f.mem + page[i] * PAGE_SIZE);
}

static void test_harvests_miss_no_write(void **state)
{
	static u64 copy[NPAGES];

	hvcpu_start(f.h, write_anywhere, NULL);
	while (__atomic_load_n(&next_value, __ATOMIC_RELAXED) < 20000)
		harvest(copy);
	hvcpu_stop(f.h);
	harvest(copy);
	for (u64 p = 0; p < NPAGES; p++)
		assert_int_equal(copy[p], *(u64 *)(f.mem + p * PAGE_SIZE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_page_is_listed_once_until_a_reset, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_reset_takes_what_was_collected, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_host_side_writes_leave_room, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_full_ring_takes_no_more, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_forged_entry_does_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_host_side_writes_are_listed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_harvests_miss_no_write, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
