/* SPDX-License-Identifier: MIT */
/*
 * Two threads in primary/linux, one of which comes in at each point of what the other does: what only a race
 * would show. And answers of the kernel's that are hard to come by.
 */
#include <dirent.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "fixture.h"
#include "points.h"
#include "base/heap.h"
#include "mmu/look.h"
#include "primary/linux/maps.h"
#include "primary/linux/notifier.h"

#define LEN 0x4000
#define GPA 0x40000000ULL

/* What races are of: LEN bytes of a memfd. */
struct raced {
	struct fixture on;
	struct primary_linux *p;
	int other_fd;
	struct region r; /* what an operation was told */
	int err;
	u64 epoch;
	bool changed; /* the mapping; is so, as an operation found */
};

static void setup(struct raced *f)
{
	fixture_map_file(&f->on, LEN, PAGE_SIZE);
	fixture_begin(&f->on, GPA);
	f->p = f->on.vm.mmu->primary;
}

static bool has_window(struct raced *f)
{
	struct window_piece w;

	return windows_find(f->p, (hva_t)f->on.mem, &w);
}

/* ------------------------------------------------------------------ changes */

static void unguard(void *arg)
{
	struct raced *f = arg;
	int err;

	primary_linux_change_end(primary_linux_change_begin((hva_t)f->on.mem, LEN, CHANGE_GUARD_GONE, &err));
	windows_drop(f->p, 0, ~0ULL);
}

static void guard(void *arg)
{
	struct raced *f = arg;
	int err;

	primary_linux_change_end(primary_linux_change_begin((hva_t)f->on.mem, LEN, CHANGE_GUARD, &err));
}

/* As a fault makes one. */
static void make_window(void *arg)
{
	struct raced *f = arg;
	struct region r;
	u64 epoch;

	assert_int_equal(regions_find((hva_t)f->on.mem, &r, &epoch), 0);
	if (!r.guarded)
		windows_make(f->p, &r, (hva_t)f->on.mem, epoch);
}

static void is_without_window(void *arg)
{
	assert_false(has_window(arg));
}

/* A window of guard pages would show what lies below them. */
static void test_no_window_is_made_of_what_is_just_guarded(void **state)
{
	struct raced f;

	setup(&f);
	each_point(guard, make_window, unguard, is_without_window, &f);
	fixture_end(&f.on);
	regions_reset();
}

static void make_writable(void *arg)
{
	struct raced *f = arg;

	hooked_mprotect(f->on.mem, LEN, PROT_READ | PROT_WRITE);
	f->changed = false;
}

static void make_read_only(void *arg)
{
	struct raced *f = arg;

	hooked_mprotect(f->on.mem, LEN, PROT_READ);
	f->changed = true;
}

static void ask(void *arg)
{
	struct raced *f = arg;

	f->err = regions_ask((hva_t)f->on.mem, &f->r, &f->epoch);
}

static void says_what_is(void *arg)
{
	struct raced *f = arg;
	struct region r;
	u64 epoch;

	assert_int_equal(f->err, 0);
	assert_true(!f->changed || !f->r.writable || !regions_unchanged(f->epoch));
	assert_int_equal(regions_find((hva_t)f->on.mem, &r, &epoch), 0);
	assert_int_equal(r.writable, !f->changed);
}

/* A change that comes while the kernel is asked, and is over before its answer is looked at. */
static void test_what_was_asked_across_a_change_is_not_remembered(void **state)
{
	struct raced f;

	setup(&f);
	each_point(ask, make_read_only, make_writable, says_what_is, &f);
	fixture_end(&f.on);
}

/* ------------------------------------------------------------------ windows */

static void map_another_file(void *arg)
{
	struct raced *f = arg;

	mmap(f->on.mem, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f->other_fd, 0);
}

static void ask_and_make_window(void *arg)
{
	struct raced *f = arg;

	ask(f);
	f->err = windows_make(f->p, &f->r, (hva_t)f->on.mem, f->epoch);
}

/* A change that nobody tells of comes between the duplicate and the last look at what it is of. */
static void test_a_window_shows_what_is_mapped_after_it_was_made(void **state)
{
	struct raced f;
	struct other o = {.fn = map_another_file, .arg = &f};

	setup(&f);
	f.other_fd = memfd_create("other", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f.other_fd, LEN), 0);
	assert_true(with_other_at(0, SYS_mremap, ask_and_make_window, &f, &o));
	assert_int_equal(f.err, -EAGAIN);
	assert_false(has_window(&f));
	close(f.other_fd);
	fixture_end(&f.on);
}

static void make_one_window(void *arg)
{
	struct raced *f = arg;

	windows_drop(f->p, 0, ~0ULL);
	do
		ask_and_make_window(f);
	while (f->err == -EAGAIN); /* the helper is at what the kernel told it */
	assert_int_equal(f->err, 0);
}

static void drop_windows(void *arg)
{
	struct raced *f = arg;

	windows_drop(f->p, 0, ~0ULL);
}

static void is_stale(hva_t start, hva_t end, void *arg)
{
	((struct raced *)arg)->changed = true;
}

static void look(void *arg)
{
	struct raced *f = arg;
	hva_t from = 0;

	f->changed = false;
	windows_look(f->p, &from, 1, is_stale, f);
}

static void none_is_stale(void *arg)
{
	assert_false(((struct raced *)arg)->changed);
}

/* Nothing of the VMM's has changed, wherever its windows go. */
static void test_a_look_at_windows_that_go_finds_none_that_is_stale(void **state)
{
	struct raced f;

	setup(&f);
	each_point(look, drop_windows, make_one_window, none_is_stale, &f);
	fixture_end(&f.on);
}

/* ------------------------------------------------------------------ what the kernel says of mappings */

#define LONG_NAME 200 /* bytes of a file's name: more than a short answer has room for */

/* The kernel's struct procmap_query, as far as it matters here. */
struct asked {
	u64 to_name[11];
	u64 name;
};
#define ASK _IOWR('f', 17, char[104])

struct two {
	char *at[2];
	struct region r[2];
	int err[2];
	bool renamed; /* the second one's answer */
};

static struct two *asking;

/* As if the file were a device's. */
static bool name_a_device(long nr, const long *a, long *r)
{
	if (nr != SYS_ioctl || (u32)a[1] != (u32)ASK)
		return false;
	*r = kernel_call(nr, a);
	if (*r)
		return true;
	memcpy((char *)((struct asked *)a[2])->name, "/dev/", 5);
	asking->renamed = true;
	return true;
}

/* An older kernel's: it has no such call. */
static bool refuse_to_answer(long nr, const long *a, long *r)
{
	*r = -ENOTTY;
	return nr == SYS_ioctl && (u32)a[1] == (u32)ASK;
}

static void ask_first(void *arg)
{
	struct two *t = arg;

	t->err[0] = maps_query((hva_t)t->at[0], &t->r[0]);
}

static void ask_second(void *arg)
{
	struct two *t = arg;

	instead = name_a_device;
	t->err[1] = maps_query((hva_t)t->at[1], &t->r[1]);
}

static void forget_answers(void *arg)
{
	struct two *t = arg;

	memset(t->r, 0, sizeof(t->r));
	memset(t->err, 0, sizeof(t->err));
	t->renamed = false;
	ask_second(t);
	instead = NULL;
}

static void are_their_own(void *arg)
{
	struct two *t = arg;

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(t->err[i], 0);
		assert_true(t->r[i].start <= (hva_t)t->at[i] && t->r[i].end > (hva_t)t->at[i]);
		assert_int_equal(t->r[i].special, i && t->renamed);
	}
}

static char *map_long_name(char c)
{
	char name[LONG_NAME + 1] = "/tmp/userkvm-";
	char *p;
	int fd;

	memset(name + strlen(name), c, sizeof(name) - 1 - strlen(name));
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(ftruncate(fd, 0x1000), 0);
	p = mmap(NULL, 0x1000, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	assert_true(p != MAP_FAILED);
	return p;
}

/* There is one buffer for names that are longer than most. */
static void test_a_long_name_is_that_of_the_mapping_that_is_asked_for(void **state)
{
	struct two t = {.at = {map_long_name('a'), map_long_name('b')}};

	asking = &t;
	each_point(ask_first, ask_second, forget_answers, are_their_own, &t);
	munmap(t.at[0], 0x1000);
	munmap(t.at[1], 0x1000);
}

static void read_first(void *arg)
{
	instead = refuse_to_answer;
	ask_first(arg);
	instead = NULL;
}

static void read_second(void *arg)
{
	struct two *t = arg;

	instead = refuse_to_answer;
	t->err[1] = maps_query((hva_t)t->at[1], &t->r[1]);
	instead = NULL;
}

static void read_second_alone(void *arg)
{
	struct two *t = arg;

	memset(t->r, 0, sizeof(t->r));
	t->renamed = false;
	read_second(t);
}

/* There is one place in the list, which both read on at. */
static void test_two_read_the_list_of_mappings(void **state)
{
	struct two t = {.at = {(char *)&t, (char *)test_two_read_the_list_of_mappings}};

	each_point(read_first, read_second, read_second_alone, are_their_own, &t);
}

/* ------------------------------------------------------------------ what the kernel tells of */

#define GONE   0x1000 /* offset of the page that goes without a word */
#define TOLD   0x2000 /* of the one that a call is about to unmap */
#define POINTS 16     /* more than the helper has for one event */

static void stop_watching_told(void *arg)
{
	struct raced *f = arg;

	notifier_unwatch((hva_t)f->on.mem + TOLD, (hva_t)f->on.mem + TOLD + PAGE_SIZE);
}

static bool is_watched(int uffd, char *p)
{
	struct uffdio_range page = {(u64)p, PAGE_SIZE};

	if (uffd_register_unseen(uffd, p, PAGE_SIZE))
		return true;
	ioctl(uffd, UFFDIO_UNREGISTER, &page);
	return false;
}

/* A raw munmap() of a page that the helper hears of, and another thread that comes in at its point n. */
static bool unmap_with_other_at(unsigned n, struct raced *f, struct other *o)
{
	struct window_piece w;

	mmap(f->on.mem, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f->on.fd, 0);
	make_one_window(f);
	to_helper_at(n, o);
	kernel_call(SYS_munmap, (long[6]){(long)f->on.mem + GONE, PAGE_SIZE});
	while (windows_find(f->p, (hva_t)f->on.mem + GONE, &w) || !regions_unchanged(regions_epoch()))
		sched_yield();
	return not_to_helper(o);
}

/* While the helper takes from its list what is gone, too. */
static void test_what_a_call_unmaps_is_watched_no_more(void **state)
{
	int uffd = uffd_open(O_NONBLOCK | UFFD_USER_MODE_ONLY, 0);
	struct raced f;
	struct other o = {.fn = stop_watching_told, .arg = &f};
	unsigned n = 0;

	if (uffd < 0)
		skip();
	setup(&f);
	for (; n < POINTS && unmap_with_other_at(n, &f, &o); n++) {
		assert_false(is_watched(uffd, f.on.mem + TOLD));
		assert_true(is_watched(uffd, f.on.mem));
		assert_true(is_watched(uffd, f.on.mem + LEN - PAGE_SIZE));
	}
	assert_true(n > 0);
	close(uffd);
	fixture_end(&f.on);
}

/* ------------------------------------------------------------------ locked memory */

static u64 limit; /* bytes; 0: what it is */
static u64 locked; /* bytes */
static bool locked_all;

int getrlimit(__rlimit_resource_t what, struct rlimit *l)
{
	if (what != RLIMIT_MEMLOCK || !limit)
		return prlimit(0, what, NULL, l);
	*l = (struct rlimit){limit, limit};
	return 0;
}

static bool count_locked(long nr, const long *a, long *r)
{
	*r = 0;
	if (nr == SYS_mlock2)
		locked += (u64)a[1];
	else if (nr == SYS_mlockall && (a[0] & MCL_CURRENT))
		locked_all = true;
	else if (nr != SYS_mlockall && nr != SYS_munlockall)
		return false;
	return true;
}

/* 0 or -errno; what it locks is counted, and not done. */
static int lock_with_limit(u64 bytes)
{
	int r;

	limit = bytes;
	locked = 0;
	locked_all = false;
	instead = count_locked;
	r = primary_linux_lock_all(MCL_CURRENT);
	instead = NULL;
	limit = 0;
	return r;
}

/* The limit is for the VMM's memory alone: with ours, all of the process would be more. */
static void test_the_vmm_may_lock_all_of_its_memory_up_to_the_limit(void **state)
{
	u64 all;

	assert_int_equal(lock_with_limit(1), 0);
	assert_true(locked_all);
	assert_int_equal(lock_with_limit(1ULL << 46), 0);
	assert_false(locked_all);
	all = locked;
	assert_int_equal(lock_with_limit(all), 0);
	assert_false(locked_all);
	assert_int_equal(locked, all);
	lock_with_limit(all - PAGE_SIZE);
	assert_true(locked_all);
}

/* ------------------------------------------------------------------ forks */

struct forked {
	int (*look)(void); /* in the child: 0, all is as it should be */
	int status;
	void *store;
	int err;
};

/* As the preload does it. */
static void fork_and_look(void *arg)
{
	struct forked *f = arg;
	pid_t pid;

	primary_linux_fork_begin();
	pid = fork();
	if (!pid) {
		alone = true;
		primary_linux_fork_end(true);
		_exit(f->look());
	}
	primary_linux_fork_end(false);
	if (waitpid(pid, &f->status, 0) != pid)
		f->status = -1;
}

static void not_forked(void *arg)
{
	struct forked *f = arg;

	f->status = 0;
}

static void child_is_content(void *arg)
{
	assert_int_equal(((struct forked *)arg)->status, 0);
}

static bool is_store(const char *number)
{
	char path[64], to[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%.20s", number);
	return readlink(path, to, sizeof(to) - 1) > 0 && strstr(to, PRIMARY_STORE_NAME);
}

static int look_for_stores(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (is_store(e->d_name))
			return 1;
	}
	return d ? 0 : 2;
}

static void create_store(void *arg)
{
	struct forked *f = arg;

	f->err = primary_linux_store_ops.create(NULL, 4, false, &f->store);
}

static void store_is_the_parents(void *arg)
{
	struct forked *f = arg;

	child_is_content(f);
	assert_int_equal(f->err, 0);
	primary_linux_store_ops.destroy(f->store);
}

/* Its descriptor is closed before a fork, and so is none of a child's. */
static void test_no_child_has_a_store_that_is_being_made(void **state)
{
	struct forked f = {.look = look_for_stores};

	each_point(create_store, fork_and_look, not_forked, store_is_the_parents, &f);
}

#define OBJECT	    10000 /* bytes */
#define SLAB_HOLDS 6	  /* of them */

/* With room that is new for at least one of them. */
static void allocate(void *unused)
{
	for (unsigned i = 0; i < SLAB_HOLDS; i++)
		assert_non_null(heap_alloc(OBJECT, HEAP_ALIGN));
}

static int allocate_in_child(void)
{
	void *p = heap_alloc(OBJECT, HEAP_ALIGN);

	if (!p)
		return 1;
	heap_free(p);
	return 0;
}

/* Whoever held the heap's lock is not there any more. */
static void test_a_child_may_allocate_whatever_was_going_on(void **state)
{
	struct forked f = {.look = allocate_in_child};

	each_point(allocate, fork_and_look, not_forked, child_is_content, &f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_window_is_made_of_what_is_just_guarded),
		cmocka_unit_test(test_what_was_asked_across_a_change_is_not_remembered),
		cmocka_unit_test(test_a_window_shows_what_is_mapped_after_it_was_made),
		cmocka_unit_test(test_a_look_at_windows_that_go_finds_none_that_is_stale),
		cmocka_unit_test(test_a_long_name_is_that_of_the_mapping_that_is_asked_for),
		cmocka_unit_test(test_two_read_the_list_of_mappings),
		cmocka_unit_test(test_what_a_call_unmaps_is_watched_no_more),
		cmocka_unit_test(test_the_vmm_may_lock_all_of_its_memory_up_to_the_limit),
		cmocka_unit_test(test_no_child_has_a_store_that_is_being_made),
		cmocka_unit_test(test_a_child_may_allocate_whatever_was_going_on),
	};

	primary_linux_no_looks = true; /* of the helper's, whenever it likes */
	return cmocka_run_group_tests_name("mmu races", tests, NULL, NULL);
}
