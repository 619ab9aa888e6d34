/* SPDX-License-Identifier: MIT */
/*
 * What primary/linux keeps in its books, asked for directly: mappings, marks of ranges, windows, stores, and whose
 * the VMs are after a fork.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "fixture.h"
#include "mmu/look.h"
#include "primary/linux/maps.h"

#define LEN	 0x10000
#define GPA	 0x40000000ULL
#define LOOK_MAX 32 /* windows that one look of an entry goes through (changes.c) */

static _Thread_local bool no_memory;

void *__libc_calloc(size_t n, size_t size);

void *calloc(size_t n, size_t size)
{
	return no_memory ? NULL : __libc_calloc(n, size);
}

/* Private memory, or a file's. */
static void setup(struct fixture *f, u64 len, bool shared)
{
	if (shared)
		fixture_map_file(f, len, PAGE_SIZE);
	else
		fixture_map(f, len, PAGE_SIZE);
	fixture_begin(f, GPA);
}

static bool loads(struct fixture *f, u64 off)
{
	u64 v;

	return !guest_load_once(f->h, GPA + off, &v);
}

static u64 invalidations(struct fixture *f)
{
	struct mmu_stats s;

	mmu_get_stats(f->vm.mmu, &s);
	return s.invalidations;
}

/* 0: it says that all is as it should be. */
static int in_child(int (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		alarm(HANG_SECONDS);
		_exit(fn(arg));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* ------------------------------------------------------------------ mappings */

/* As an older kernel, and a filter of a VMM's, do it: this thread can ask nothing by ioctl(). */
static void forbid_ioctl(u32 error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {ARRAY_SIZE(code), code};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

struct question {
	hva_t at;
	struct region r;
	int err;
};

static void *read_instead(void *arg)
{
	struct question *q = arg;

	forbid_ioctl(ENOTTY);
	for (; q->at; q++)
		q->err = maps_query(q->at, &q->r);
	return NULL;
}

static void test_a_mapping_that_is_read_is_as_one_that_is_asked_for(void **state)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	char *file, *private_;
	pthread_t t;

	assert_int_equal(ftruncate(fd, 0x8000), 0);
	file = mmap(NULL, 0x2000, PROT_READ, MAP_SHARED, fd, 0x3000);
	private_ = mmap(NULL, 0x3000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0x1000);
	{
		struct question q[] = {{.at = (hva_t)file + 0x1000}, {.at = (hva_t)private_},
				       {.at = (hva_t)in_child}, {.at = (hva_t)&fd}, {.at = 0}};

		pthread_create(&t, NULL, read_instead, q);
		pthread_join(t, NULL);
		for (unsigned i = 0; q[i].at; i++) {
			struct region r;

			assert_int_equal(maps_query(q[i].at, &r), 0);
			assert_int_equal(q[i].err, 0);
			assert_int_equal(r.start, q[i].r.start);
			assert_int_equal(r.end, q[i].r.end);
			assert_int_equal(r.readable, q[i].r.readable);
			assert_int_equal(r.writable, q[i].r.writable);
			assert_int_equal(r.shared, q[i].r.shared);
			assert_int_equal(r.off, q[i].r.off);
			assert_int_equal(r.ino, q[i].r.ino);
			assert_int_equal(r.dev, q[i].r.dev);
		}
		assert_int_equal(q[0].r.start, file);
		assert_int_equal(q[0].r.off, 0x3000);
	}
	munmap(file, 0x2000);
	munmap(private_, 0x3000);
	close(fd);
}

static u64 reads_so_far(void)
{
	FILE *f = fopen("/proc/thread-self/io", "r");
	unsigned long long n = 0;
	char line[64];

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "syscr: %llu", &n) != 1)
		;
	if (f)
		fclose(f);
	return n;
}

enum { TOGETHER = 64, PLACES = TOGETHER / 2 + 1 };

/* Questions at every page where every second page is mapped, and one above all that is. */
static struct {
	struct maps_question q[TOGETHER + 1];
	u64 reads_for_last, reads_for_all;
} together;

static void *read_together(void *arg)
{
	struct maps_question *of[TOGETHER + 1];
	u64 before;

	forbid_ioctl(ENOTTY);
	for (unsigned i = 0; i <= TOGETHER; i++) {
		of[i] = &together.q[i];
		of[i]->at = i < TOGETHER ? (hva_t)arg + i * 0x1000 : ~0xfffULL;
	}
	before = reads_so_far();
	maps_next_of(&of[TOGETHER], 1);
	together.reads_for_last = reads_so_far() - before;
	before = reads_so_far();
	maps_next_of(of, TOGETHER + 1);
	together.reads_for_all = reads_so_far() - before;
	return NULL;
}

/* A process may have ten thousands of mappings, and a reading is of all of them up to the last in question. */
static void test_one_reading_answers_all_questions(void **state)
{
	char *p = mmap(NULL, PLACES * 0x2000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t t;

	for (unsigned i = 0; i < PLACES; i++)
		munmap(p + i * 0x2000 + 0x1000, 0x1000);
	pthread_create(&t, NULL, read_together, p);
	pthread_join(t, NULL);
	for (unsigned i = 0; i < TOGETHER; i++) {
		const struct maps_question *q = &together.q[i];

		assert_int_equal(q->err, 0);
		assert_int_equal(q->region.start, p + (i + 1) / 2 * 0x2000);
		assert_int_equal(q->region.end, q->region.start + 0x1000);
	}
	assert_int_equal(together.q[TOGETHER].err, -EFAULT);
	/* A mapping more of the thread's may take one more. */
	assert_in_range(together.reads_for_all, 0, together.reads_for_last + 1);
	for (unsigned i = 0; i < PLACES; i++)
		munmap(p + i * 0x2000, 0x1000);
}

/* A mapping of the VMM's begins where one of ours ends that is alike: to the kernel they are one. */
static void test_a_mapping_that_is_joined_with_ours_is_the_vmms_part(void **state)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	u64 at = space_take(OWN_LOOSE, LEN, PAGE_SIZE, 0), theirs = at + LEN / 2, epoch;
	struct own_range part;
	struct region r;

	assert_true(at);
	assert_int_equal(ftruncate(fd, 2 * LEN), 0);
	assert_true(mmap((void *)at, LEN, PROT_READ, MAP_SHARED | MAP_FIXED, fd, LEN) == (void *)at);
	assert_int_equal(space_leave(theirs, at + LEN, &part), 1);
	assert_int_equal(regions_ask(theirs, &r, &epoch), 0);
	assert_int_equal(r.start, theirs);
	assert_int_equal(r.off, LEN + LEN / 2);
	regions_forget(theirs, at + LEN);
	munmap((void *)theirs, LEN / 2);
	space_give(at, theirs);
	close(fd);
}

static void test_what_is_private_and_read_only(void **state)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	char *p = mmap(NULL, 0x1000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_int_equal(ftruncate(fd, 0x1000), 0);
	assert_true(primary_linux_is_private_and_read_only((u64)p));
	mprotect(p, 0x1000, PROT_READ | PROT_WRITE);
	assert_false(primary_linux_is_private_and_read_only((u64)p));
	mmap(p, 0x1000, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	assert_false(primary_linux_is_private_and_read_only((u64)p));
	munmap(p, 0x1000);
	assert_false(primary_linux_is_private_and_read_only((u64)p));
	close(fd);
}

/* ------------------------------------------------------------------ descriptors */

/* A VM of the child's own, whose VMM closes what it does not know. */
static int close_all_and_load(void *unused)
{
	struct fixture f;
	struct region r;

	setup(&f, LEN, false);
	syscall(SYS_close_range, 3, ~0U, 0);
	return maps_query((hva_t)f.mem, &r) || r.start > (hva_t)f.mem || !loads(&f, 0);
}

/* One that has no descriptors left when a vCPU first comes to its memory. */
static int load_without_descriptors(void *unused)
{
	struct rlimit none;
	struct fixture f;
	struct region r;

	setup(&f, LEN, false);
	getrlimit(RLIMIT_NOFILE, &none);
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	return maps_query((hva_t)f.mem, &r) || !loads(&f, 0);
}

static void test_a_vmm_may_close_descriptors_and_have_none_left(void **state)
{
	assert_int_equal(in_child(close_all_and_load, NULL), 0);
	assert_int_equal(in_child(load_without_descriptors, NULL), 0);
}

/* ------------------------------------------------------------------ marks, windows, stores */

static void test_marks_are_of_their_range(void **state)
{
	const hva_t at = 0x100000;

	regions_reset();
	assert_false(regions_marked(REGION_UFFD, at, at + 0x1000));
	regions_mark(REGION_UFFD, at, at + 0x2000, true);
	assert_true(regions_marked(REGION_UFFD, at + 0x1000, at + 0x3000));
	assert_false(regions_marked(REGION_UFFD, at - 0x1000, at));
	assert_false(regions_marked(REGION_UFFD, at + 0x2000, at + 0x3000));
	assert_false(regions_marked(REGION_GUARD, at, at + 0x1000));
	regions_mark(REGION_UFFD, at, at + 0x1000, false);
	assert_false(regions_marked(REGION_UFFD, at, at + 0x1000));
	assert_true(regions_marked(REGION_UFFD, at + 0x1000, at + 0x1001));
	regions_reset();
}

static void test_windows_are_found_by_where_they_lie(void **state)
{
	enum { PAGES = 3 };
	struct primary_linux *p;
	struct fixture f;

	setup(&f, LEN, true);
	p = f.vm.mmu->primary;
	for (u64 i = 0; i < PAGES; i++) {
		hooked_mmap(f.mem + i * 0x1000, 0x1000, PROT_READ, MAP_SHARED | MAP_FIXED, f.fd, (off_t)(2 * i * 0x1000));
		assert_true(loads(&f, i * 0x1000));
	}
	for (u64 i = 0; i < PAGES; i++) {
		struct window_piece w, at;

		assert_true(windows_find(p, (hva_t)f.mem + i * 0x1000, &w));
		assert_true(windows_at(p, w.start + w.delta, w.end + w.delta, &at));
		assert_int_equal(at.start, w.start);
		assert_int_equal(at.delta, w.delta);
	}
	fixture_end(&f);
}

/* One that was asked for before a change is not kept. */
static void test_no_window_is_made_across_a_change(void **state)
{
	struct primary_linux *p;
	struct window_piece w;
	struct region r;
	struct fixture f;
	u64 epoch;

	setup(&f, LEN, true);
	p = f.vm.mmu->primary;
	assert_int_equal(regions_ask((hva_t)f.mem, &r, &epoch), 0);
	regions_change_begin();
	regions_change_end();
	assert_int_equal(windows_make(p, &r, (hva_t)f.mem, epoch), -EAGAIN);
	assert_false(windows_find(p, (hva_t)f.mem, &w));
	epoch = regions_epoch();
	assert_int_equal(windows_make(p, &r, (hva_t)f.mem, epoch), 0);
	assert_true(windows_find(p, (hva_t)f.mem, &w));
	fixture_end(&f);
}

/* A page of a file that changes is taken from guests, and its neighbours are not. */
static void test_a_change_of_a_file_is_of_its_pages(void **state)
{
	struct mmu_seen seen;
	struct fixture f;
	struct stat st;
	void *change;
	int err;

	setup(&f, LEN, true);
	regions_mark(REGION_UFFD, 0x100000, 0x101000, true); /* somebody may wait for a fault of what goes */
	assert_true(loads(&f, 0) && loads(&f, 0x8000) && loads(&f, LEN - 8));
	fstat(f.fd, &st);
	change = linux_file_change_begin(st.st_ino, 0x8000, 0x1000, &err);
	assert_non_null(change);
	primary_linux_change_end(change);
	mmu_look(f.vm.mmu, (GPA + 0x8000) >> PAGE_SHIFT, &seen);
	assert_false(seen.mapped);
	mmu_look(f.vm.mmu, GPA >> PAGE_SHIFT, &seen);
	assert_true(seen.mapped);
	mmu_look(f.vm.mmu, (GPA + LEN - 8) >> PAGE_SHIFT, &seen);
	assert_true(seen.mapped);
	regions_reset();
	fixture_end(&f);
}

/* Before Linux 6.7 no userfaultfd says which file the VMM may not write to: there alone is no window. */
static int reach_without_registering(void *unused)
{
	struct window_piece w;
	struct primary_linux *p;
	struct fixture f;
	char path[64];
	int ro;

	setup(&f, LEN, true);
	p = f.vm.mmu->primary;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f.fd);
	ro = open(path, O_RDONLY);
	hooked_mmap(f.mem + 0x1000, 0x1000, PROT_READ, MAP_SHARED | MAP_FIXED, f.fd, 0x4000);
	hooked_mmap(f.mem + 0x2000, 0x1000, PROT_READ, MAP_SHARED | MAP_FIXED, ro, 0x8000);
	forbid_ioctl(EINVAL);
	if (ro < 0 || !loads(&f, 0) || !loads(&f, 0x1000) || !loads(&f, 0x2000))
		return 1;
	if (!windows_find(p, (hva_t)f.mem, &w) || !windows_find(p, (hva_t)f.mem + 0x1000, &w))
		return 2;
	if (windows_find(p, (hva_t)f.mem + 0x2000, &w))
		return 3;
	return guest_store_once(f.h, GPA, 7) || *(volatile u64 *)f.mem != 7;
}

static void test_what_cannot_be_registered_has_a_window_if_it_can_be_written(void **state)
{
	assert_int_equal(in_child(reach_without_registering, NULL), 0);
}

/* What an entry looks at is some of them; the next one goes on. */
static void test_looks_of_entries_come_to_all_windows(void **state)
{
	u64 len = 2 * LOOK_MAX * 0x1000;
	struct primary_linux *p;
	struct fixture f;

	setup(&f, len, true);
	p = f.vm.mmu->primary;
	for (u64 i = 0; i < len / 0x1000; i++) {
		hooked_mmap(f.mem + i * 0x1000, 0x1000, PROT_READ, MAP_SHARED | MAP_FIXED, f.fd, (off_t)(2 * i * 0x1000));
		assert_true(loads(&f, i * 0x1000));
	}
	alarm(HANG_SECONDS);
	while (!sync_load(&p->look_from))
		primary_linux_look_at_entry();
	alarm(0);
	fixture_end(&f);
}

/* The one behind it in our space may be another's. */
static void test_a_store_ends_where_it_ends(void **state)
{
	const struct primary_store_ops *ops = &primary_linux_store_ops;
	void *store[4];
	struct frame f;

	for (unsigned i = 0; i < ARRAY_SIZE(store); i++) {
		assert_int_equal(ops->create(NULL, 1, false, &store[i]), 0);
		assert_int_equal(ops->fault(store[i], 0, NULL, NULL, &f), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(store); i++)
		assert_int_equal(ops->fault(store[i], 1, NULL, NULL, &f), -ENOMEM);
	for (unsigned i = 0; i < ARRAY_SIZE(store); i++)
		ops->destroy(store[i]);
}

/* ------------------------------------------------------------------ VMs */

static void test_without_memory_there_is_no_vm(void **state)
{
	void *p = NULL;
	int r;

	no_memory = true;
	r = primary_linux_create(&p);
	no_memory = false;
	assert_int_equal(r, -ENOMEM);
	assert_null(p);
}

static void test_there_is_a_vm_or_none(void **state)
{
	struct fixture f;

	assert_false(registry_any());
	setup(&f, LEN, false);
	assert_true(registry_any());
	fixture_end(&f);
	assert_false(registry_any());
}

/* A forked child has copies of the parent's VMs, and changes of its own mappings are none of theirs. */
static int change_in_child(void *arg)
{
	struct fixture *f = arg, own;
	u64 before = invalidations(f);
	struct stat st;
	int err;

	fstat(f->fd, &st);
	if (linux_file_change_begin(st.st_ino, 0, LEN, &err) || err || invalidations(f) != before)
		return 1;
	if (hooked_munmap(f->mem, 0x1000) || invalidations(f) != before)
		return 2;
	/* Nor when it has a VM itself. */
	setup(&own, LEN, false);
	if (!loads(&own, 0) || hooked_munmap(f->mem + 0x1000, 0x1000) || invalidations(f) != before)
		return 4;
	fixture_end(&own);
	return registry_any() ? 5 : 0;
}

static void test_a_forked_child_leaves_its_parents_vms_alone(void **state)
{
	struct fixture f;
	struct stat st;
	void *change;
	u64 before;
	int err;

	setup(&f, LEN, true);
	assert_true(loads(&f, 0));
	assert_int_equal(in_child(change_in_child, &f), 0);
	fstat(f.fd, &st);
	assert_null(linux_file_change_begin(st.st_ino, 8, 0, &err)); /* nothing changes */
	change = linux_file_change_begin(st.st_ino, 0, LEN, &err);
	assert_non_null(change);
	primary_linux_change_end(change);
	before = invalidations(&f);
	assert_int_equal(hooked_munmap(f.mem, 0x1000), 0);
	assert_true(invalidations(&f) > before);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_is_a_vm_or_none),
		cmocka_unit_test(test_without_memory_there_is_no_vm),
		cmocka_unit_test(test_a_vmm_may_close_descriptors_and_have_none_left),
		cmocka_unit_test(test_a_forked_child_leaves_its_parents_vms_alone),
		cmocka_unit_test(test_what_cannot_be_registered_has_a_window_if_it_can_be_written),
		cmocka_unit_test(test_a_mapping_that_is_read_is_as_one_that_is_asked_for),
		cmocka_unit_test(test_one_reading_answers_all_questions),
		cmocka_unit_test(test_a_mapping_that_is_joined_with_ours_is_the_vmms_part),
		cmocka_unit_test(test_what_is_private_and_read_only),
		cmocka_unit_test(test_marks_are_of_their_range),
		cmocka_unit_test(test_windows_are_found_by_where_they_lie),
		cmocka_unit_test(test_looks_of_entries_come_to_all_windows),
		cmocka_unit_test(test_no_window_is_made_across_a_change),
		cmocka_unit_test(test_a_change_of_a_file_is_of_its_pages),
		cmocka_unit_test(test_a_store_ends_where_it_ends),
	};

	return cmocka_run_group_tests_name("mmu books", tests, NULL, NULL);
}
