/* SPDX-License-Identifier: MIT */
/* Host-side caches of guest pages against truncation, unmapping, memslots and userfaultfd. */
#include "harness.h"

#include <sched.h>
#include "uffd.h"
#include "mmu/cache.h"

#define GPA    0x100000
#define REQ    (1u << 20)
#define SECOND 1000000000ull

struct fixture {
	struct hvm vm;
	struct hvcpu *h;
	struct mmu_cache cache;
	void *mem;
};

static u64 value;

static int put(struct mmu_cache *c, void *arg)
{
	return mmu_cache_write(c, 0, arg, 8);
}

static int get(struct mmu_cache *c, void *arg)
{
	return mmu_cache_read(c, 0, arg, 8);
}

static int put_value(struct fixture *f, u64 v)
{
	value = v;
	return mmu_cache_use(&f->cache, MMU_CACHE_WAIT, put, &value);
}

static void init_over(struct fixture *f, void *mem, u32 flags, const struct primary_ops *ops)
{
	memset(f, 0, sizeof(*f));
	hvm_init_over(&f->vm, ops);
	f->mem = mem;
	assert_int_equal(hvm_slot(&f->vm, 0, flags, GPA, PAGE_SIZE, mem), 0);
	f->h = hvcpu_new(&f->vm, 0);
	mmu_cache_init(&f->cache, &f->h->v, REQ);
	assert_int_equal(mmu_cache_set(&f->cache, GPA + 64, 8), 0);
}

static void init(struct fixture *f, void *mem, u32 flags)
{
	init_over(f, mem, flags, &primary_linux_ops);
}

static void fini(struct fixture *f)
{
	mmu_cache_fini(&f->cache);
	hvcpu_free(f->h);
	hvm_fini(&f->vm);
}

static void *shared(int *fd, size_t len)
{
	void *p;

	*fd = memfd_create("cache", MFD_CLOEXEC);
	assert_int_equal(ftruncate(*fd, (off_t)len), 0);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	assert_true(p != MAP_FAILED);
	return p;
}

static u64 word(const struct fixture *f)
{
	return *(volatile u64 *)((u8 *)f->mem + 64);
}

static void test_follows_the_mapping(void **state)
{
	struct fixture f;
	u64 v = 0;

	init(&f, map_aligned(PAGE_SIZE, PAGE_SIZE, MAP_PRIVATE), 0);
	assert_int_equal(mmu_cache_set(&f.cache, GPA + PAGE_SIZE - 4, 8), -EINVAL);
	assert_int_equal(mmu_cache_use(&f.cache, MMU_CACHE_NOWAIT, get, &v), -EAGAIN);
	assert_int_equal(put_value(&f, 1), 0);
	assert_int_equal(word(&f), 1);
	assert_false(f.h->v.requests & REQ);
	hooked_mmap(f.mem, PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_true(f.h->v.requests & REQ); /* its owner is told */
	assert_int_equal(mmu_cache_use(&f.cache, MMU_CACHE_NOWAIT, get, &v), -EAGAIN);
	assert_int_equal(put_value(&f, 2), 0);
	assert_int_equal(word(&f), 2);
	hooked_munmap(f.mem, PAGE_SIZE);
	assert_int_equal(put_value(&f, 3), -EFAULT);
	fini(&f);
}

static void test_an_unseen_change_is_found(void **state)
{
	struct fixture f;

	init(&f, map_aligned(PAGE_SIZE, PAGE_SIZE, MAP_PRIVATE), 0);
	assert_int_equal(put_value(&f, 1), 0);
	munmap(f.mem, PAGE_SIZE);
	assert_int_equal(put_value(&f, 2), -EFAULT);
	assert_true(mmap(f.mem, PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == f.mem);
	assert_int_equal(put_value(&f, 3), 0);
	assert_int_equal(word(&f), 3);
	fini(&f);
	munmap(f.mem, PAGE_SIZE);
}

static void *replaced; /* by one call of the VMM, while the next fault looks at it */

static int fault_in_between(void *primary, hva_t hva, bool write,
			    bool (*interrupted)(void *arg), void *arg, struct frame *out)
{
	void *p = replaced, *change;
	int r;

	if (!p)
		return primary_linux_ops.fault_in(primary, hva, write, interrupted, arg, out);
	replaced = NULL;
	change = primary_linux_change_begin((hva_t)p, PAGE_SIZE, CHANGE_UNMAP, &r);
	munmap(p, PAGE_SIZE);
	r = primary_linux_ops.fault_in(primary, hva, write, interrupted, arg, out);
	assert_int_equal(r, -EFAULT);
	assert_true(mmap(p, PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	primary_linux_change_end(change);
	return r;
}

/* Between a mapping and its successor there is none, and nobody but the host may find that. */
static void test_a_replaced_mapping_is_never_missing(void **state)
{
	struct primary_ops ops = primary_linux_ops;
	struct fixture f;

	ops.fault_in = fault_in_between;
	init_over(&f, map_aligned(PAGE_SIZE, PAGE_SIZE, MAP_PRIVATE), 0, &ops);
	replaced = f.mem;
	assert_int_equal(guest_store_once(f.h, GPA + 64, 1), 0);
	assert_null(replaced);
	assert_int_equal(word(&f), 1);
	replaced = f.mem;
	assert_int_equal(put_value(&f, 2), 0);
	assert_null(replaced);
	assert_int_equal(word(&f), 2);
	fini(&f);
	munmap(f.mem, PAGE_SIZE);
}

static void test_follows_the_memslot(void **state)
{
	void *a = map_aligned(PAGE_SIZE, PAGE_SIZE, MAP_PRIVATE);
	void *b = map_aligned(PAGE_SIZE, PAGE_SIZE, MAP_PRIVATE);
	struct fixture f;

	init(&f, a, 0);
	assert_int_equal(put_value(&f, 1), 0);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GPA, 0, NULL), 0);
	assert_int_equal(put_value(&f, 2), -EFAULT);
	assert_int_equal(word(&f), 1);
	assert_int_equal(hvm_slot(&f.vm, 1, MMU_SLOT_READONLY, GPA, PAGE_SIZE, b), 0);
	assert_int_equal(put_value(&f, 3), -EFAULT);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, GPA, 0, NULL), 0);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, GPA, PAGE_SIZE, b), 0);
	assert_int_equal(put_value(&f, 4), 0);
	f.mem = b;
	assert_int_equal(word(&f), 4);
	fini(&f);
}

static void test_writes_are_logged(void **state)
{
	struct fixture f;
	u64 log;

	init(&f, map_aligned(PAGE_SIZE, PAGE_SIZE, MAP_PRIVATE), MMU_SLOT_LOG_DIRTY);
	assert_int_equal(put_value(&f, 1), 0);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, &log), 0);
	assert_int_equal(log, 1);
	assert_int_equal(mmu_cache_use(&f.cache, MMU_CACHE_WAIT, get, &log), 0);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, &log), 0);
	assert_int_equal(log, 0);
	assert_int_equal(put_value(&f, 2), 0);
	assert_int_equal(mmu_dirty_get(f.vm.mmu, 0, &log), 0);
	assert_int_equal(log, 1);
	fini(&f);
}

/* ---- truncation against uses */

static u64 published; /* last value whose use returned 0; odd while one is under way */

static void write_on(struct hvcpu *h, void *arg)
{
	struct fixture *f = arg;
	u64 n = published + 1;

	mmu_vcpu_leave(&h->v);
	__atomic_store_n(&published, n, __ATOMIC_SEQ_CST);
	if (!mmu_cache_use(&f->cache, MMU_CACHE_WAIT, put, &n))
		__atomic_store_n(&published, n + 1, __ATOMIC_SEQ_CST);
	else
		published = n - 1;
	mmu_vcpu_enter(&h->v);
}

/*
 * With the file whole, a value that was published is there: it went neither into the page that
 * a truncation had taken away nor anywhere else. What the file holds when a truncation begins
 * is lost by right; a use that ends after the file has grown again is not.
 */
static void test_no_write_is_lost_to_truncation(void **state)
{
	struct fixture f;
	int fd;

	init(&f, shared(&fd, PAGE_SIZE), 0);
	hvcpu_start(f.h, write_on, &f);
	for (int i = 0; i < 200; i++) {
		u64 before, after, found;

		hooked_ftruncate(fd, 0);
		hooked_ftruncate(fd, PAGE_SIZE);
		before = __atomic_load_n(&published, __ATOMIC_SEQ_CST);
		do {
			sched_yield();
			after = __atomic_load_n(&published, __ATOMIC_SEQ_CST);
			/* Two whole uses began and ended since the file was whole. */
		} while (after < before + 4);
		found = word(&f);
		assert_true(found + 2 >= after); /* the last may be under way */
	}
	hvcpu_stop(f.h);
	fini(&f);
	munmap(f.mem, PAGE_SIZE);
	close(fd);
}

/* ---- begin waits for a use */

static u32 in_use, let_go, taken;

static int put_slowly(struct mmu_cache *c, void *arg)
{
	__atomic_store_n(&in_use, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&let_go, __ATOMIC_SEQ_CST))
		sched_yield();
	assert_false(__atomic_load_n(&taken, __ATOMIC_SEQ_CST));
	return put(c, arg);
}

static void *use_slowly(void *arg)
{
	u64 n = 9;

	assert_int_equal(mmu_cache_use(arg, MMU_CACHE_WAIT, put_slowly, &n), 0);
	return NULL;
}

static void *take_away(void *mem)
{
	hooked_munmap(mem, PAGE_SIZE);
	__atomic_store_n(&taken, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* The second finds nothing to make stale, and waits for what the first made so. */
static void test_begin_waits_for_a_use(void **state)
{
	pthread_t user, taker[2];
	struct fixture f;

	init(&f, map_aligned(PAGE_SIZE, PAGE_SIZE, MAP_PRIVATE), 0);
	assert_int_equal(put_value(&f, 1), 0);
	pthread_create(&user, NULL, use_slowly, &f.cache);
	while (!__atomic_load_n(&in_use, __ATOMIC_SEQ_CST))
		sched_yield();
	for (int i = 0; i < 2; i++) {
		pthread_create(&taker[i], NULL, take_away, f.mem);
		usleep(20000);
		assert_false(__atomic_load_n(&taken, __ATOMIC_SEQ_CST));
	}
	__atomic_store_n(&let_go, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 2; i++)
		pthread_join(taker[i], NULL);
	pthread_join(user, NULL);
	fini(&f);
}

/* ---- a use stuck in the host */

static u32 done;

static void use_once(struct hvcpu *h, void *arg)
{
	u64 n = 7;

	if (done)
		return;
	mmu_vcpu_leave(&h->v);
	assert_int_equal(mmu_cache_use(arg, MMU_CACHE_WAIT, put, &n), 0);
	__atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
	mmu_vcpu_enter(&h->v);
}

/*
 * The page is missing and nobody serves it. Whoever takes the range away must not wait for the
 * use: its access, dropped unseen so that the use gets stuck in it, or its fault.
 */
static void stuck(bool in_access)
{
	struct fixture f;
	struct uffd_msg msg;
	void *mem = map_aligned(PAGE_SIZE, PAGE_SIZE, MAP_PRIVATE);
	struct uffdio_range range = {(u64)mem, PAGE_SIZE};
	int fd;

	init(&f, mem, 0);
	fd = uffd_open(UFFD_USER_MODE_ONLY, 0);
	if (fd < 0) {
		fini(&f);
		munmap(mem, PAGE_SIZE);
		skip();
	}
	uffd_register(fd, mem, PAGE_SIZE);
	if (in_access) {
		struct uffdio_zeropage z = {.range = {(u64)mem, PAGE_SIZE}};

		assert_int_equal(ioctl(fd, UFFDIO_ZEROPAGE, &z), 0);
		assert_int_equal(put_value(&f, 1), 0);
		madvise(mem, PAGE_SIZE, MADV_DONTNEED);
	}
	done = 0;
	hvcpu_start(f.h, use_once, &f.cache);
	assert_int_equal(read(fd, &msg, sizeof(msg)), sizeof(msg));
	/* It would wait for ever if it waited for the use. */
	assert_true(hooked_mmap(mem, PAGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == mem);
	/* Taking a mapping away does not wake who waits for its page. */
	assert_int_equal(ioctl(fd, UFFDIO_WAKE, &range), 0);
	while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST))
		usleep(100);
	assert_int_equal(word(&f), 7);
	hvcpu_stop(f.h);
	fini(&f);
	close(fd);
	munmap(mem, PAGE_SIZE);
}

static void test_begin_breaks_off_a_stuck_access(void **state)
{
	stuck(true);
}

static void test_begin_does_not_wait_for_a_fault(void **state)
{
	stuck(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_follows_the_mapping),
		cmocka_unit_test(test_an_unseen_change_is_found),
		cmocka_unit_test(test_a_replaced_mapping_is_never_missing),
		cmocka_unit_test(test_follows_the_memslot),
		cmocka_unit_test(test_writes_are_logged),
		cmocka_unit_test(test_no_write_is_lost_to_truncation),
		cmocka_unit_test(test_begin_waits_for_a_use),
		cmocka_unit_test(test_begin_breaks_off_a_stuck_access),
		cmocka_unit_test(test_begin_does_not_wait_for_a_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
