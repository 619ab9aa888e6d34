/* SPDX-License-Identifier: MIT */
/* guest_memfd and memory attributes: bindings, private and shared faults, conversion, punch. */
#include "harness.h"

#include "mmu/cache.h"
#include "mmu/gmem.h"
#include "mmu/invalidate.h"
#include "mmu/memslots.h"
#include "mmu/translate.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"

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

static u64 invalidations(struct fx *f)
{
	struct mmu_stats s;

	mmu_get_stats(f->vm.mmu, &s);
	return s.invalidations;
}

static void a_punch_begins_only_where_it_is_bound(void **state)
{
	struct fx f;
	u64 before;

	setup(&f, 2 * MB, 0);
	assert_int_equal(unbind(&f, 0), 0);
	assert_int_equal(bind_at(&f, 0, GPA, 0x4000, 0x4000), 0);
	assert_int_equal(bind_at(&f, 1, GPA + MB, 0x4000, 0x10000), 0);
	before = invalidations(&f);
	assert_int_equal(gmem_punch(f.file, 0, 0x4000), 0);
	assert_int_equal(gmem_punch(f.file, 0x8000, 0x8000), 0);
	assert_int_equal(invalidations(&f), before);
	assert_int_equal(gmem_punch(f.file, 0, 0x5000), 0);
	assert_int_equal(invalidations(&f), before + 1);
	assert_int_equal(gmem_punch(f.file, 0, 2 * MB), 0);
	assert_int_equal(invalidations(&f), before + 3);
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
	u64 v;

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
	/* Its own file closed, the first VM has nothing left of what the second keeps. */
	gmem_release(a.file);
	a.file = NULL;
	assert_int_equal(guest_load_once(a.h, GPA + 0x2000, &v), -EFAULT);
	teardown(&a);
	assert_int_equal(load(&b, GPA + 0x1000), 7);
	teardown(&b);
}

/* ------------------------------------------------------------------ attributes */

#define NGFNS 300

static void attributes_are_what_was_set_last(void **state)
{
	bool is[NGFNS] = {false};
	unsigned seed = 7;
	struct hvm vm;

	hvm_init(&vm);
	for (int i = 0; i < 3000; i++) {
		u64 first = rand_r(&seed) % NGFNS, n = 1 + rand_r(&seed) % (NGFNS - first);
		bool to = rand_r(&seed) % 2;

		if (rand_r(&seed) % 2)
			n = MIN(n, 3ULL);
		assert_int_equal(
			mmu_set_attributes(vm.mmu, first, n, to ? MMU_ATTR_PRIVATE : 0), 0);
		for (u64 gfn = first; gfn < first + n; gfn++)
			is[gfn] = to;
		for (u64 gfn = 0; gfn < NGFNS; gfn++)
			assert_int_equal(mmu_is_private(vm.mmu, gfn), is[gfn]);
	}
	assert_int_equal(mmu_set_attributes(vm.mmu, 0, NGFNS, 0), 0);
	assert_int_equal(vm.mmu->nr_private, 0);
	assert_int_equal(mmu_set_attributes(vm.mmu, 0, 0, MMU_ATTR_PRIVATE), -EINVAL);
	assert_int_equal(mmu_set_attributes(vm.mmu, ~0ULL, 2, MMU_ATTR_PRIVATE), -EINVAL);
	assert_int_equal(mmu_set_attributes(vm.mmu, 0, 1, 1), -EINVAL);
	hvm_fini(&vm);
}

static struct mmu_stats stats(struct fx *f)
{
	struct mmu_stats st;

	mmu_get_stats(f->vm.mmu, &st);
	return st;
}

/* Large over one attribute only, and large again when there is one. */
static void large_mappings_split_and_recover(void **state)
{
	struct fx f;

	setup(&f, 4 * MB, 0);
	load(&f, GPA);
	load(&f, GPA + 2 * MB);
	assert_int_equal(stats(&f).pages_2m, 2);
	assert_int_equal(convert(&f, GPA + 0x5000, 0x1000, true), 0);
	for (u64 at = 0; at < 2 * MB; at += 0x1000)
		load(&f, GPA + at);
	assert_int_equal(stats(&f).pages_2m, 1);
	assert_int_equal(stats(&f).pages_4k, 512);
	assert_int_equal(convert(&f, GPA + 0x5000, 0x1000, false), 0);
	load(&f, GPA);
	assert_int_equal(stats(&f).pages_2m, 2);
	assert_int_equal(stats(&f).pages_4k, 0);
	/* Private memory is mapped large too, and each half of a conversion alone. */
	assert_int_equal(convert(&f, GPA + MB, 2 * MB, true), 0);
	load(&f, GPA + MB);
	load(&f, GPA + 2 * MB);
	assert_int_equal(stats(&f).pages_2m, 0);
	assert_int_equal(convert(&f, GPA, 4 * MB, true), 0);
	load(&f, GPA);
	load(&f, GPA + 2 * MB);
	assert_int_equal(stats(&f).pages_2m, 2);
	/* A hole takes the large mapping; what is around it is still there. */
	assert_int_equal(guest_store_once(f.h, GPA + 0x6000, 1), 0);
	assert_int_equal(gmem_punch(f.file, 0x5000, 0x1000), 0);
	assert_int_equal(stats(&f).pages_2m, 1);
	assert_int_equal(load(&f, GPA + 0x6000), 1);
	teardown(&f);
}

/* A slot whose pages do not lie in the file as its gfns do is mapped small. */
static void incongruent_offsets_are_mapped_small(void **state)
{
	struct fx f;

	setup(&f, 4 * MB, 0);
	assert_int_equal(unbind(&f, 0), 0);
	assert_int_equal(bind_at(&f, 0, GPA, 2 * MB, 0x1000), 0);
	assert_int_equal(convert(&f, GPA, 2 * MB, true), 0);
	load(&f, GPA);
	assert_int_equal(stats(&f).pages_2m, 0);
	assert_int_equal(stats(&f).pages_4k, 1);
	assert_int_equal(guest_store_once(f.h, GPA, 9), 0);
	assert_int_equal(unbind(&f, 0), 0);
	assert_int_equal(bind_at(&f, 0, GPA, 2 * MB, 0), 0);
	assert_int_equal(load(&f, GPA + 0x1000), 9);
	teardown(&f);
}

static void private_ranges_are_prefaulted(void **state)
{
	struct fx f;
	u64 done;

	setup(&f, 4 * MB, 0);
	assert_int_equal(convert(&f, GPA, 3 * MB, true), 0);
	assert_int_equal(mmu_prefault(&f.h->v, GPA, 4 * MB, &done), 0);
	assert_int_equal(done, 4 * MB);
	assert_int_equal(stats(&f).pages_2m * 512 + stats(&f).pages_4k, 1024);
	gmem_release(f.file);
	f.file = NULL;
	assert_int_equal(mmu_prefault(&f.h->v, GPA + 3 * MB, 4096, &done), 0);
	assert_int_equal(mmu_prefault(&f.h->v, GPA, 4096, &done), -EFAULT);
	teardown(&f);
}

static int add_one(struct mmu_cache *c, void *arg)
{
	u64 v;
	int r = mmu_cache_read(c, 0, &v, sizeof(v));

	if (r)
		return r;
	v++;
	return mmu_cache_write(c, 0, &v, sizeof(v));
}

/* The host has no business in private memory, nor in what was shared before. */
static void the_host_does_not_write_private_memory(void **state)
{
	struct mmu_cache c;
	struct fx f;
	u64 v = 5;

	setup(&f, 2 * MB, 0);
	mmu_cache_init(&c, &f.h->v, 0);
	assert_int_equal(mmu_cache_set(&c, GPA, 8), 0);
	assert_int_equal(mmu_cache_use(&c, MMU_CACHE_WAIT, add_one, NULL), 0);
	assert_int_equal(*(u64 *)f.mem, 1);
	assert_int_equal(convert(&f, GPA, 0x1000, true), 0);
	assert_int_equal(mmu_cache_use(&c, MMU_CACHE_NOWAIT, add_one, NULL), -EAGAIN);
	assert_int_equal(mmu_cache_use(&c, MMU_CACHE_WAIT, add_one, NULL), -EFAULT);
	assert_int_equal(mmu_write_guest(f.vm.mmu, GPA, &v, 8), -EFAULT);
	assert_int_equal(mmu_read_guest(f.vm.mmu, GPA, &v, 8), -EFAULT);
	assert_int_equal(*(u64 *)f.mem, 1);
	assert_int_equal(load(&f, GPA), 0);
	assert_int_equal(convert(&f, GPA, 0x1000, false), 0);
	assert_int_equal(mmu_cache_use(&c, MMU_CACHE_WAIT, add_one, NULL), 0);
	assert_int_equal(*(u64 *)f.mem, 2);
	mmu_cache_fini(&c);
	teardown(&f);
}

/* ------------------------------------------------------------------ mappable files */

static void a_mappable_file_serves_shared_faults(void **state)
{
	struct fx f;
	int fd;
	u64 *p;

	setup(&f, 2 * MB, GMEM_MAPPABLE | GMEM_INIT_SHARED);
	fd = primary_linux_store_take_fd(gmem_primary_store(f.file));
	assert_true(fd >= 0);
	assert_int_equal(primary_linux_store_take_fd(gmem_primary_store(f.file)), -1);
	p = mmap(NULL, 2 * MB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(guest_store_once(f.h, GPA + 8, 3), 0);
	assert_int_equal(p[1], 3);
	assert_int_equal(*(u64 *)(f.mem + 8), 0);
	/* In place: the page is the same one whatever the attribute says. */
	assert_int_equal(convert(&f, GPA, 0x1000, true), 0);
	assert_int_equal(load(&f, GPA + 8), 3);
	assert_int_equal(gmem_punch(f.file, 0, 0x1000), 0);
	assert_int_equal(p[1], 0);
	assert_int_equal(load(&f, GPA + 8), 0);
	munmap(p, 2 * MB);
	close(fd);
	teardown(&f);
}

/* ------------------------------------------------------------------ pages */

static void allocation_and_punching_check_their_range(void **state)
{
	struct fx f;

	setup(&f, MB, 0);
	assert_int_equal(gmem_size(f.file), MB);
	assert_int_equal(gmem_allocate(f.file, 0, MB), 0);
	assert_int_equal(gmem_allocate(f.file, 0, MB + 0x1000), -EINVAL);
	assert_int_equal(gmem_allocate(f.file, 0x800, 0x1000), -EINVAL);
	assert_int_equal(gmem_punch(f.file, 0, 0x800), -EINVAL);
	assert_int_equal(gmem_punch(f.file, 0, 0), -EINVAL);
	assert_int_equal(gmem_punch(f.file, MB, MB), 0);
	assert_int_equal(gmem_punch(f.file, 0, 4 * MB), 0);
	teardown(&f);
}

/* Memory that the VMM has locked, all of it, is not removed as it is. */
static void locked_memory_is_punched(void **state)
{
	struct fx f;

	setup(&f, MB, 0);
	assert_int_equal(convert(&f, GPA, MB, true), 0);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	if (mlockall(MCL_CURRENT)) {
		teardown(&f);
		skip();
	}
	assert_int_equal(gmem_punch(f.file, 0, 0x1000), 0);
	munlockall();
	assert_int_equal(load(&f, GPA), 0);
	teardown(&f);
}

/* Kilobytes of shared memory that this process has in its page tables. */
static u64 resident(void)
{
	u64 size, all, shared;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu %lu", &size, &all, &shared), 3);
	fclose(f);
	return shared * 4;
}

static bool always(void *arg)
{
	return true;
}

/* A kick may have come before the page is touched, which alone it would not break off. */
static void a_fault_asks_before_it_waits(void **state)
{
	const struct primary_store_ops *ops = primary_linux_ops.store;
	struct frame f;
	void *store;

	assert_int_equal(ops->create(NULL, 1, false, &store), 0);
	assert_int_equal(ops->fault(store, 0, always, NULL, &f), -EINTR);
	assert_int_equal(ops->fault(store, 0, NULL, NULL, &f), 0);
	ops->destroy(store);
}

static void locking_all_memory_fills_no_store(void **state)
{
	struct fx f;
	u64 before;

	hvm_init(&f.vm);
	if (mlockall(MCL_FUTURE)) {
		hvm_fini(&f.vm);
		skip();
	}
	before = resident();
	assert_int_equal(gmem_create(f.vm.mmu, 128 * MB, 0, &f.file), 0);
	munlockall();
	assert_true(resident() - before < 16 * 1024);
	gmem_release(f.file);
	hvm_fini(&f.vm);
}

static struct primary_store_ops spied_store;
static struct primary_ops spied;
static u64 poisoned; /* a page of the store */

static int poison(void *store, u64 index, bool (*interrupted)(void *arg), void *arg,
		  struct frame *out)
{
	if (index == poisoned)
		return -EHWPOISON;
	return primary_linux_ops.store->fault(store, index, interrupted, arg, out);
}

/* A page that the host has lost is given to nobody, until a hole is punched in its place. */
static void a_poisoned_page_is_ehwpoison(void **state)
{
	struct fx f;
	u64 v;

	spied_store = *primary_linux_ops.store;
	spied_store.fault = poison;
	spied = primary_linux_ops;
	spied.store = &spied_store;
	poisoned = ~0ULL;
	hvm_init_over(&f.vm, &spied);
	f.size = 2 * MB;
	f.mem = map_aligned(f.size, 2 * MB, MAP_SHARED);
	assert_int_equal(gmem_create(f.vm.mmu, f.size, 0, &f.file), 0);
	f.h = hvcpu_new(&f.vm, 0);
	assert_int_equal(bind_at(&f, 0, GPA, f.size, 0), 0);
	assert_int_equal(convert(&f, GPA, f.size, true), 0);
	assert_int_equal(guest_store_once(f.h, GPA + 0x3000, 1), 0);

	/* As a vCPU that runs into it through the mapping it has. */
	poisoned = 3;
	mmu_vcpu_enter(&f.h->v);
	assert_int_equal(mmu_refault(&f.h->v, GPA + 0x3000, MMU_READ, -EHWPOISON), -EHWPOISON);
	assert_true(f.h->v.fault_private);
	mmu_vcpu_leave(&f.h->v);
	assert_int_equal(guest_load_once(f.h, GPA + 0x3000, &v), -EHWPOISON);
	assert_int_equal(load(&f, GPA + 0x4000), 0);
	assert_int_equal(gmem_punch(f.file, 0x3000, 0x1000), 0);
	poisoned = ~0ULL;
	assert_int_equal(load(&f, GPA + 0x3000), 0);
	teardown(&f);
}

/* ------------------------------------------------------------------ teardown */

static int reports;

static void count_report(const char *what)
{
	reports++;
}

/* By host address the end may come after the VM has gone; by gfn it was lost. */
static void teardown_tells_an_early_end_from_a_lost_one(void **state)
{
	struct mmu_token *t;
	struct hvm vm;

	reports = 0;
	mmu_report = count_report;
	hvm_init(&vm);
	t = mmu_invalidate_begin(vm.mmu, 0x10000, 0x20000);
	assert_non_null(t);
	hvm_fini(&vm);
	assert_int_equal(reports, 0);
	mmu_invalidate_end(t);

	hvm_init(&vm);
	t = mmu_invalidate_gfns_begin(vm.mmu, 1, 2);
	assert_non_null(t);
	hvm_fini(&vm);
	assert_int_equal(reports, 1);
	assert_int_equal(mmu_imbalances, 1);
	mmu_invalidate_end(t);
	mmu_imbalances = 0;
	mmu_report = NULL;
}

struct puncher {
	struct gmem_file *file;
	pthread_t thread;
};

static void *punch_all(void *arg)
{
	struct puncher *p = arg;

	for (int i = 0; i < 200; i++)
		assert_int_equal(gmem_punch(p->file, 0, 2 * MB), 0);
	return NULL;
}

/* A VM that comes, binds, unbinds and goes while its store is punched through another's file.
 */
static void vms_come_and_go_during_punches(void **state)
{
	struct puncher p;
	struct fx a, b;

	setup(&a, 2 * MB, 0);
	p.file = a.file;
	assert_int_equal(pthread_create(&p.thread, NULL, punch_all, &p), 0);
	for (int i = 0; i < 100; i++) {
		struct gmem_file *own;

		setup(&b, 2 * MB, 0);
		own = b.file;
		assert_int_equal(gmem_link(a.file, b.vm.mmu, &b.file), 0);
		assert_int_equal(unbind(&b, 0), 0);
		assert_int_equal(bind_at(&b, 0, GPA, 2 * MB, 0), 0);
		assert_int_equal(convert(&b, GPA, 2 * MB, true), 0);
		assert_int_equal(guest_store_once(b.h, GPA, 1), 0);
		gmem_release(own);
		teardown(&b);
	}
	pthread_join(p.thread, NULL);
	teardown(&a);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(private_and_shared_memory_are_two),
		cmocka_unit_test(punched_pages_read_zero),
		cmocka_unit_test(a_file_range_is_bound_once),
		cmocka_unit_test(a_punch_begins_only_where_it_is_bound),
		cmocka_unit_test(a_released_file_serves_no_more),
		cmocka_unit_test(a_second_file_carries_on),
		cmocka_unit_test(attributes_are_what_was_set_last),
		cmocka_unit_test(large_mappings_split_and_recover),
		cmocka_unit_test(incongruent_offsets_are_mapped_small),
		cmocka_unit_test(private_ranges_are_prefaulted),
		cmocka_unit_test(the_host_does_not_write_private_memory),
		cmocka_unit_test(a_mappable_file_serves_shared_faults),
		cmocka_unit_test(allocation_and_punching_check_their_range),
		cmocka_unit_test(locked_memory_is_punched),
		cmocka_unit_test(a_fault_asks_before_it_waits),
		cmocka_unit_test(locking_all_memory_fills_no_store),
		cmocka_unit_test(a_poisoned_page_is_ehwpoison),
		cmocka_unit_test(teardown_tells_an_early_end_from_a_lost_one),
		cmocka_unit_test(vms_come_and_go_during_punches),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
