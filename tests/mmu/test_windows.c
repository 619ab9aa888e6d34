/* SPDX-License-Identifier: MIT */
/*
 * Window frames: shared memory is reached through a second mapping, so the invalidation protocol
 * carries weight. Each change is made twice where it matters: with the hooks around it, when the
 * guest must see the new bytes, and without, when it must still see the old ones (the proof that
 * nothing but the protocol brought the new ones).
 */
#include <poll.h>
#include "fixture.h"

#define LEN (4ULL << 20)
#define GPA 0x40000000ULL

static void fill_file(int fd, u64 off, u64 value)
{
	assert_int_equal(pwrite(fd, &value, 8, (off_t)off), 8);
}

static void setup(struct fixture *f)
{
	fixture_map_file(f, LEN, 1 << 21);
	fixture_begin(f, GPA);
}

static u64 load(struct fixture *f, u64 off)
{
	u64 v = 0;

	assert_int_equal(guest_load_once(f->h, GPA + off, &v), 0);
	return v;
}

static void *host_of(struct fixture *f, u64 off)
{
	return fixture_host_of(f, GPA + off);
}

static void test_shared_memory_is_one_large_window(void **state)
{
	struct mmu_stats s;
	struct fixture f;

	setup(&f);
	assert_int_equal(guest_store_once(f.h, GPA + 0x1008, 77), 0);
	assert_int_equal(*(u64 *)(f.mem + 0x1008), 77);
	*(u64 *)(f.mem + 0x3000) = 78;
	assert_int_equal(load(&f, 0x3000), 78);
	assert_ptr_not_equal(host_of(&f, 0x3000), f.mem + 0x3000);
	/* One window: what is next to each other stays so, in large leaves. */
	assert_int_equal((char *)host_of(&f, LEN - 4096) - (char *)host_of(&f, 0), LEN - 4096);
	mmu_get_stats(f.vm.mmu, &s);
	assert_int_equal(s.pages_2m, 2);
	assert_int_equal(s.pages_4k, 0);
	fixture_end(&f);
}

static void test_private_memory_is_direct(void **state)
{
	struct fixture f;

	setup(&f);
	hooked_mmap(f.mem, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_equal(host_of(&f, 0x3000), f.mem + 0x3000);
	fixture_end(&f);
}

/*
 * With the zap off this one still passes: the window has gone, so the guest's next access faults.
 * The next test has something else lie there.
 */
static void test_mmap_over_shows_new_bytes_only_through_the_protocol(void **state)
{
	struct fixture f;

	setup(&f);
	fill_file(f.fd, 0x5000, 1);
	fill_file(f.fd, LEN + 0x5000, 2);
	fill_file(f.fd, 2 * LEN + 0x5000, 3);
	assert_int_equal(load(&f, 0x5000), 1);
	hooked_mmap(f.mem + 0x5000, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd,
		    LEN + 0x5000);
	assert_int_equal(load(&f, 0x5000), 2);
	assert_int_equal(load(&f, 0x4000), 0);
	/* Unseen: the old page is still there for the guest, and the VMM sees the new one. */
	mmap(f.mem + 0x5000, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f.fd,
	     2 * LEN + 0x5000);
	assert_int_equal(*(u64 *)(f.mem + 0x5000), 3);
	assert_int_equal(load(&f, 0x5000), 2);
	/* And told of it at last, the guest sees it too. */
	hooked_mprotect(f.mem + 0x5000, 4096, PROT_READ | PROT_WRITE);
	assert_int_equal(load(&f, 0x5000), 3);
	fixture_end(&f);
}

/*
 * A window that went leaves its address to another in time; here to memory of the VMM's. Fails
 * when the zap or the flush is off, whatever else protects the guest then: that is what the builds
 * with those defects are for (meson.build).
 */
static void test_the_address_of_a_window_that_went_may_be_used_again(void **state)
{
	struct fixture f;
	char *old, *foreign;

	setup(&f);
	fill_file(f.fd, LEN + 0x5000, 2);
	assert_int_equal(load(&f, 0x5000), 0);
	old = host_of(&f, 0x5000);
	assert_ptr_not_equal(old, f.mem + 0x5000);
	hooked_mmap(f.mem + 0x5000, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, LEN + 0x5000);
	foreign = mmap(old, 4096, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_ptr_equal(foreign, old);
	*(u64 *)foreign = 666;
	assert_int_equal(load(&f, 0x5000), 2);
	assert_int_equal(guest_store_once(f.h, GPA + 0x5000, 5), 0);
	assert_int_equal(*(u64 *)foreign, 666);
	munmap(foreign, 4096);
	fixture_end(&f);
}

/*
 * Address space the VMM has left may be its own again by MAP_FIXED: nothing that a guest reaches
 * may have come to lie there meanwhile.
 */
static void test_no_window_lies_where_the_vmm_had_memory(void **state)
{
	const size_t room = 1 << 30;
	struct fixture f;
	char *left;

	setup(&f);
	left = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(left, MAP_FAILED);
	hooked_munmap(left, room);
	assert_int_equal(guest_store_once(f.h, GPA + 0x5000, 5), 0);
	hooked_mmap(left, room, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_int_equal(load(&f, 0x5000), 5);
	assert_false((char *)host_of(&f, 0x5000) >= left && (char *)host_of(&f, 0x5000) < left + room);
	hooked_munmap(left, room);
	fixture_end(&f);
}

static void test_munmap_ends_the_window(void **state)
{
	struct fixture f;
	u64 v;

	setup(&f);
	assert_int_equal(load(&f, 0), 0);
	hooked_munmap(f.mem + 0x2000, 0x2000);
	assert_int_equal(guest_load_once(f.h, GPA + 0x2000, &v), -EFAULT);
	assert_int_equal(guest_store_once(f.h, GPA + 0x3000, 1), -EFAULT);
	assert_int_equal(load(&f, 0x1000), 0);
	assert_int_equal(load(&f, 0x4000), 0);
	fixture_end(&f);
}

static void test_mremap_moves_pages_in(void **state)
{
	struct fixture f;
	char *other;

	setup(&f);
	fill_file(f.fd, LEN, 21);
	other = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, LEN);
	assert_int_equal(load(&f, 0x6000), 0);
	assert_ptr_equal(hooked_mremap(other, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED,
				       f.mem + 0x6000),
			 f.mem + 0x6000);
	assert_int_equal(load(&f, 0x6000), 21);
	/* And out again. */
	other = map_aligned(4096, 4096, MAP_PRIVATE);
	hooked_mremap(f.mem + 0x6000, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, other);
	assert_int_equal(guest_load_once(f.h, GPA + 0x6000, &(u64){0}), -EFAULT);
	munmap(other, 4096);
	fixture_end(&f);
}

static void test_mprotect_both_ways(void **state)
{
	struct fixture f;

	setup(&f);
	assert_int_equal(guest_store_once(f.h, GPA, 1), 0);
	hooked_mprotect(f.mem, LEN, PROT_READ);
	assert_int_equal(load(&f, 0), 1);
	assert_int_equal(guest_store_once(f.h, GPA, 2), -EFAULT);
	assert_int_equal(load(&f, 0), 1);
	hooked_mprotect(f.mem, LEN, PROT_READ | PROT_WRITE);
	assert_int_equal(guest_store_once(f.h, GPA, 2), 0);
	assert_int_equal(*(u64 *)f.mem, 2);
	hooked_mprotect(f.mem, LEN, PROT_NONE);
	assert_int_equal(guest_load_once(f.h, GPA, &(u64){0}), -EFAULT);
	fixture_end(&f);
}

static void test_truncate_and_punch(void **state)
{
	struct fixture f;
	u64 v;

	setup(&f);
	assert_int_equal(guest_store_once(f.h, GPA + 0x7000, 5), 0);
	assert_int_equal(hooked_punch(f.fd, 0x7000, 4096), 0);
	assert_int_equal(load(&f, 0x7000), 0);
	assert_int_equal(hooked_ftruncate(f.fd, 0x7000), 0);
	assert_int_equal(guest_load_once(f.h, GPA + 0x7000, &v), -EFAULT);
	assert_int_equal(guest_load_once(f.h, GPA + 0x6000, &v), 0);
	assert_int_equal(hooked_ftruncate(f.fd, 4 * LEN), 0);
	assert_int_equal(load(&f, 0x7000), 0);
	fixture_end(&f);
}

/* What is left on either side of a change is still known for what it is, offset and all. */
static void test_a_punch_beside_a_changed_range_is_told(void **state)
{
	struct mmu_stats before, after;
	struct fixture f;

	setup(&f);
	assert_int_equal(load(&f, 0x9000), 0);
	hooked_mprotect(f.mem + 0x5000, 0x1000, PROT_READ);
	for (u64 off = 0x4000; off <= 0x6000; off += 0x2000) {
		assert_int_equal(load(&f, off), 0);
		mmu_get_stats(f.vm.mmu, &before);
		assert_int_equal(hooked_punch(f.fd, (off_t)off, 0x1000), 0);
		mmu_get_stats(f.vm.mmu, &after);
		assert_int_equal(after.invalidations, before.invalidations + 1);
	}
	fixture_end(&f);
}

static void test_read_only_files_are_readable(void **state)
{
	struct fixture f;
	char path[32];
	int ro;

	setup(&f);
	fill_file(f.fd, 0x1000, 31);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f.fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(ro >= 0);
	hooked_mmap(f.mem, LEN, PROT_READ, MAP_SHARED, ro, 0);
	assert_int_equal(load(&f, 0x1000), 31);
	assert_ptr_not_equal(host_of(&f, 0x1000), f.mem + 0x1000);
	assert_int_equal(guest_store_once(f.h, GPA, 2), -EFAULT);
	close(ro);
	fixture_end(&f);
}

static void test_slots_that_share_memory_share_no_fate(void **state)
{
	struct fixture f;
	u64 v;

	setup(&f);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, 2 * GPA, LEN / 2, f.mem), 0);
	assert_int_equal(guest_store_once(f.h, 2 * GPA, 9), 0);
	assert_int_equal(load(&f, 0), 9);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, 0, 0), 0);
	assert_int_equal(guest_load_once(f.h, 2 * GPA, &v), 0);
	assert_int_equal(v, 9);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, 0, 0, 0), 0);
	assert_int_equal(guest_load_once(f.h, 2 * GPA, &v), -ENOENT);
	fixture_end(&f);
}

static u64 count_mappings(const char *name)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	u64 n = 0;

	while (fgets(line, sizeof(line), maps))
		n += strstr(line, name) != NULL;
	fclose(maps);
	return n;
}

static void test_no_window_outlives_its_slot(void **state)
{
	struct fixture f;
	u64 before;

	setup(&f);
	before = count_mappings("memfd:guest");
	load(&f, 0);
	assert_int_equal(count_mappings("memfd:guest"), before + 1);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, 0, 0), 0);
	assert_int_equal(count_mappings("memfd:guest"), before);
	fixture_end(&f);
}

/* Slots of one VM may overlap in the VMM's memory: what none of them covers any more is nobody's. */
static void test_no_window_outlives_slots_that_overlap(void **state)
{
	struct fixture f;
	u64 before;

	setup(&f);
	before = count_mappings("memfd:guest");
	assert_int_equal(hvm_slot(&f.vm, 1, 0, 2 * GPA, LEN / 2, f.mem + LEN / 4), 0);
	assert_int_equal(load(&f, 0), 0);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, 0, 0), 0);
	assert_int_equal(guest_store_once(f.h, 2 * GPA, 9), 0);
	assert_int_equal(*(u64 *)(f.mem + LEN / 4), 9);
	assert_int_equal(hvm_slot(&f.vm, 1, 0, 0, 0, 0), 0);
	assert_int_equal(count_mappings("memfd:guest"), before);
	/* Nobody was told of this, as there was no slot. */
	fill_file(f.fd, LEN, 21);
	mmap(f.mem, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f.fd, LEN);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GPA, LEN, f.mem), 0);
	assert_int_equal(load(&f, 0), 21);
	fixture_end(&f);
}

/*
 * A change of a mapping may take as long as a userfaultfd's monitor holds it up, who may be waiting
 * for the guest.
 */
static void test_a_change_elsewhere_keeps_no_fault_waiting(void **state)
{
	struct fixture f;
	void *change;
	int err;

	setup(&f);
	fill_file(f.fd, 0x5000, 5);
	hooked_mmap(f.mem + LEN / 2, LEN / 2, PROT_READ, MAP_SHARED, f.fd, LEN);
	change = primary_linux_change_begin((hva_t)f.mem + LEN / 2, LEN / 2, CHANGE_UNMAP, &err);
	assert_non_null(change);
	alarm(HANG_SECONDS);
	assert_int_equal(load(&f, 0x5000), 5);
	alarm(0);
	primary_linux_change_end(change);
	/* And a change of that one is seen as ever. */
	hooked_mmap(f.mem + 0x5000, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, LEN);
	assert_int_equal(load(&f, 0x5000), 0);
	fixture_end(&f);
}

/* The call was made while no memslot was there to be told, and ends when one is in use. */
static void test_a_change_begun_before_the_slot_is_seen(void **state)
{
	struct fixture f;
	void *change;
	int err;

	setup(&f);
	fill_file(f.fd, LEN + 0x5000, 2);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, 0, 0, 0), 0);
	change = primary_linux_change_begin((hva_t)f.mem, LEN, CHANGE_UNMAP, &err);
	assert_int_equal(hvm_slot(&f.vm, 0, 0, GPA, LEN, f.mem), 0);
	assert_int_equal(load(&f, 0x5000), 0);
	mmap(f.mem, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f.fd, LEN);
	primary_linux_change_end(change);
	assert_int_equal(load(&f, 0x5000), 2);
	/* Nothing is kept of the change: windows are made again. */
	assert_int_equal(load(&f, 0x200000), 0);
	assert_ptr_not_equal(host_of(&f, 0x200000), f.mem + 0x200000);
	fixture_end(&f);
}

/* What is faulted in during a change of another mapping is known when its own file changes. */
static void test_a_punch_after_a_change_elsewhere_is_told(void **state)
{
	struct fixture f;
	void *change;
	u64 epoch;
	int err;

	setup(&f);
	hooked_mmap(f.mem + LEN / 2, LEN / 2, PROT_READ, MAP_SHARED, f.fd, LEN);
	change = primary_linux_change_begin((hva_t)f.mem + LEN / 2, LEN / 2, CHANGE_UNMAP, &err);
	assert_int_equal(load(&f, 0x5000), 0);
	primary_linux_change_end(change);
	mmu_vcpu_enter(&f.h->v);
	assert_int_equal(mmu_code_track(&f.h->v, GPA + 0x5000, 1), 0);
	epoch = f.h->v.epoch;
	mmu_vcpu_leave(&f.h->v);
	assert_int_equal(hooked_punch(f.fd, 0x5000, 0x1000), 0);
	mmu_vcpu_enter(&f.h->v);
	assert_true(f.h->v.epoch > epoch);
	mmu_vcpu_leave(&f.h->v);
	fixture_end(&f);
}

static void test_without_windows_frames_are_direct(void **state)
{
	struct fixture f;

	primary_linux_no_windows = true;
	setup(&f);
	assert_ptr_equal(host_of(&f, 0x3000), f.mem + 0x3000);
	fixture_end(&f);
	primary_linux_no_windows = false;
}

static struct stale {
	u32 n;
	hva_t last; /* where the last one begins */
} stale;

static void is_stale(hva_t start, hva_t end, void *unused)
{
	stale.n++;
	stale.last = start;
}

/* A signal that comes then waits for few looks, however many windows there are. */
static void test_a_look_at_some_windows_goes_on_with_the_others(void **state)
{
	enum { WINDOWS = 100, AT_ONCE = 32 };
	u64 last = (WINDOWS - 1) * 0x1000;
	struct fixture f;
	hva_t from = 0;

	stale.n = 0;
	setup(&f);
	for (u64 i = 0; i < WINDOWS; i++) {
		hooked_mmap(f.mem + i * 0x1000, 0x1000, PROT_READ, MAP_SHARED, f.fd, i * 0x2000);
		assert_int_equal(load(&f, i * 0x1000), 0);
	}
	assert_int_equal(mprotect(f.mem, 0x1000, PROT_NONE), 0);
	assert_int_equal(mprotect(f.mem + last, 0x1000, PROT_NONE), 0);
	for (u64 i = 1; i <= WINDOWS / AT_ONCE; i++) {
		windows_look(f.vm.mmu->primary, &from, AT_ONCE, is_stale, NULL);
		assert_int_equal(from, f.mem + i * AT_ONCE * 0x1000);
		assert_int_equal(stale.n, 1);
		assert_int_equal(stale.last, f.mem);
	}
	windows_look(f.vm.mmu->primary, &from, AT_ONCE, is_stale, NULL);
	assert_int_equal(from, 0);
	assert_int_equal(stale.n, 2);
	assert_int_equal(stale.last, f.mem + last);
	fixture_end(&f);
}

#define MANY (LEN / 0x1000)

/* MANY windows of a page each. */
static void setup_many(struct fixture *f)
{
	setup(f);
	for (u64 i = 0; i < MANY; i++) {
		hooked_mmap(f->mem + i * 0x1000, 0x1000, PROT_READ, MAP_SHARED, f->fd, i * 0x2000);
		assert_int_equal(load(f, i * 0x1000), 0);
	}
}

static void *unmap_all(void *arg)
{
	struct fixture *f = arg;

	assert_int_equal(hooked_munmap(f->mem, LEN), 0);
	return NULL;
}

/* Whoever unmaps the page at p waits until this descriptor is read. -1: this machine has none for us. */
static int hold_who_unmaps(void *p)
{
	int fd = uffd_open(O_NONBLOCK | UFFD_USER_MODE_ONLY, UFFD_FEATURE_EVENT_UNMAP);

	if (fd >= 0)
		assert_int_equal(uffd_register_unseen(fd, p, PAGE_SIZE), 0);
	return fd;
}

struct finder {
	struct fixture *f;
	bool first, last; /* is there a window? */
};

static void *find_both(void *arg)
{
	struct finder *n = arg;
	struct window_piece w;

	n->first = windows_find(n->f->vm.mmu->primary, (hva_t)n->f->mem, &w);
	n->last = windows_find(n->f->vm.mmu->primary, (hva_t)n->f->mem + LEN - 0x1000, &w);
	return NULL;
}

#define FIND_SECONDS 10 /* finding takes some microseconds, or as long as the unmapping */

/* A fault that asks for its window waits for one other to go, not for all that go with a long range. */
static void test_a_fault_does_not_wait_for_all_the_windows_of_a_change(void **state)
{
	struct fixture f;
	struct finder n = {.f = &f};
	struct pollfd p = {.events = POLLIN};
	pthread_t unmapping, finding;
	struct timespec until;
	struct uffd_msg m;
	int late;

	setup_many(&f);
	p.fd = hold_who_unmaps(host_of(&f, LEN / 2));
	if (p.fd < 0)
		skip();
	assert_int_equal(pthread_create(&unmapping, NULL, unmap_all, &f), 0);
	assert_int_equal(poll(&p, 1, -1), 1); /* it is held up */
	assert_int_equal(pthread_create(&finding, NULL, find_both, &n), 0);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += FIND_SECONDS;
	late = pthread_timedjoin_np(finding, NULL, &until);
	assert_int_equal(read(p.fd, &m, sizeof(m)), sizeof(m));
	pthread_join(unmapping, NULL);
	if (late)
		pthread_join(finding, NULL);
	assert_int_equal(late, 0);
	assert_false(n.first);
	assert_true(n.last);
	close(p.fd);
	fixture_end(&f);
}

/* Bytes of areas for windows that are ours. */
static u64 loose_bytes(void)
{
	struct own_range r;
	u64 n = 0;

	for (u32 i = 0; own_next(OWN_LOOSE, &i, &r);)
		n += r.end - r.start;
	return n;
}

/* A look that finds a part of a window changed drops that part: what is beside it a guest need not fault on anew. */
static void test_a_look_drops_what_has_changed(void **state)
{
	struct window_piece before, after;
	struct fixture f;
	hva_t hva;

	setup(&f);
	hva = (hva_t)f.mem;
	primary_linux_no_looks = false;
	assert_int_equal(load(&f, 0), 0);
	assert_true(windows_find(f.vm.mmu->primary, hva, &before));
	assert_true(before.end >= hva + 3 * PAGE_SIZE);
	assert_int_equal(syscall(SYS_mprotect, f.mem + PAGE_SIZE, PAGE_SIZE, PROT_NONE), 0);
	changes_look_again();
	assert_false(windows_find(f.vm.mmu->primary, hva + PAGE_SIZE, &after));
	assert_true(windows_find(f.vm.mmu->primary, hva, &after));
	assert_int_equal(after.delta, before.delta);
	assert_true(windows_find(f.vm.mmu->primary, hva + 2 * PAGE_SIZE, &after));
	assert_int_equal(after.delta, before.delta);
	assert_int_equal(after.end, before.end);
	primary_linux_no_looks = true;
	fixture_end(&f);
}

static bool over; /* atomic */

static void *look_all_the_time(void *unused)
{
	while (!sync_load(&over))
		changes_look_again();
	return NULL;
}

#define CHURN_NS 3000000000ULL

/* A look that comes across a window that goes takes its place for ours still, which it is. */
static void test_the_place_of_a_window_that_goes_stays_ours(void **state)
{
	u64 had, until = now_ns() + CHURN_NS;
	struct fixture f;
	pthread_t looker;

	setup(&f);
	assert_int_equal(load(&f, 0), 0);
	primary_linux_no_looks = false;
	had = loose_bytes();
	sync_store(&over, false);
	assert_int_equal(pthread_create(&looker, NULL, look_all_the_time, NULL), 0);
	while (now_ns() < until) {
		hooked_mmap(f.mem, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
		assert_int_equal(load(&f, 0), 0);
	}
	sync_store(&over, true);
	pthread_join(looker, NULL);
	primary_linux_no_looks = true;
	assert_int_equal(loose_bytes(), had);
	fixture_end(&f);
}

/* A VMM that maps over one window after the other is refused in the end: what we note of that has its bounds. */
static void test_a_vmm_that_takes_too_many_places_is_refused(void **state)
{
	enum { ROUNDS = 32 };
	struct fixture f;
	int r = 0;

	setup_many(&f);
	for (u64 n = 0; !r && n < ROUNDS; n++) {
		for (u64 i = 0; !r && i < MANY; i += 2) {
			char *p = f.mem + i * 0x1000;

			/* Two windows side by side, of which the second one stays. */
			hooked_mmap(p, 0x2000, PROT_READ, MAP_SHARED, f.fd, i * 0x4000);
			hooked_mmap(p + 0x1000, 0x1000, PROT_READ, MAP_SHARED, f.fd, i * 0x4000);
			assert_int_equal(load(&f, i * 0x1000), 0);
			assert_int_equal(load(&f, (i + 1) * 0x1000), 0);
			r = primary_linux_step_aside((u64)host_of(&f, i * 0x1000), 0x1000);
		}
	}
	assert_int_equal(r, -ENOMEM);
	assert_int_equal(load(&f, 0), 0);
	fixture_end(&f);
}

/* usage: test_mmu_windows [TEST], one of them alone. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared_memory_is_one_large_window),
		cmocka_unit_test(test_private_memory_is_direct),
		cmocka_unit_test(test_mmap_over_shows_new_bytes_only_through_the_protocol),
		cmocka_unit_test(test_the_address_of_a_window_that_went_may_be_used_again),
		cmocka_unit_test(test_no_window_lies_where_the_vmm_had_memory),
		cmocka_unit_test(test_munmap_ends_the_window),
		cmocka_unit_test(test_mremap_moves_pages_in),
		cmocka_unit_test(test_mprotect_both_ways),
		cmocka_unit_test(test_truncate_and_punch),
		cmocka_unit_test(test_a_punch_beside_a_changed_range_is_told),
		cmocka_unit_test(test_read_only_files_are_readable),
		cmocka_unit_test(test_slots_that_share_memory_share_no_fate),
		cmocka_unit_test(test_no_window_outlives_its_slot),
		cmocka_unit_test(test_no_window_outlives_slots_that_overlap),
		cmocka_unit_test(test_a_change_elsewhere_keeps_no_fault_waiting),
		cmocka_unit_test(test_a_change_begun_before_the_slot_is_seen),
		cmocka_unit_test(test_a_punch_after_a_change_elsewhere_is_told),
		cmocka_unit_test(test_a_look_at_some_windows_goes_on_with_the_others),
		cmocka_unit_test(test_a_fault_does_not_wait_for_all_the_windows_of_a_change),
		cmocka_unit_test(test_a_look_drops_what_has_changed),
		cmocka_unit_test(test_the_place_of_a_window_that_goes_stays_ours),
		cmocka_unit_test(test_without_windows_frames_are_direct),
		/* the last one: no place is left */
		cmocka_unit_test(test_a_vmm_that_takes_too_many_places_is_refused),
	};

	/* Most of these make changes that are not to be seen. */
	primary_linux_no_notifier = primary_linux_no_looks = true;
	cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("mmu windows", tests, NULL, NULL);
}
