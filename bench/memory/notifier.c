/* SPDX-License-Identifier: MIT */
/*
 * What the kernel's notifier costs: the userfaultfd that stands behind the hooks (primary/linux/notifier.c), by
 * turns with it and without, in one process and without a processor around. Shared memory, since
 * private memory is not watched.
 */
#include "rooms.h"
#include "primary/linux/linux.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SIZE	  (128 * MIB)
#define PIECE	  (256 * 1024ULL) /* of what is unmapped at a time */
#define MOST_US	  20		  /* that it may add to a munmap */
#define RESTS	  64
#define REST_US	  5000

static struct mmu *mmu;
static struct mmu_vcpu *vcpu;

static u8 *map(bool large)
{
	u8 *p = memory_map(BACKING_MEMFD, SIZE);

	if (large)
		madvise(p, SIZE, MADV_HUGEPAGE);
	return p;
}

/* What this thread used: who else runs on the machine is no part of it. */
static u64 used_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

/* As a guest does: nanoseconds for a store to each page. */
static double touch(void)
{
	struct mmu_xlat x;
	u64 t = used_ns();

	mmu_vcpu_enter(vcpu);
	for (u64 gpa = 0; gpa < SIZE; gpa += PAGE) {
		MUST(!mmu_translate(vcpu, gpa, MMU_WRITE, &x), "no translation");
		*(volatile u64 *)x.host = gpa;
	}
	mmu_vcpu_leave(vcpu);
	return (double)(used_ns() - t) / (SIZE / PAGE);
}

/* Memory that a guest has. */
static u8 *show(bool watched, bool large)
{
	u8 *p = map(large);

	primary_linux_no_notifier = !watched;
	rooms_slot(mmu, 0, SIZE, p);
	return p;
}

static double first_touch(bool watched, bool large)
{
	u8 *p = show(watched, large);
	double ns = touch();

	rooms_slot(mmu, 0, 0, NULL);
	memory_unmap(p, SIZE);
	return ns;
}

/* The VMM reads what a guest wrote, as for a migration. */
static double reread(bool watched)
{
	u8 *p = show(watched, false);
	double ns;
	u64 t;

	touch();
	t = used_ns();
	for (u64 off = 0; off < SIZE; off += PAGE)
		(void)*(const volatile u8 *)(p + off);
	ns = (double)(used_ns() - t) / (SIZE / PAGE);
	rooms_slot(mmu, 0, 0, NULL);
	memory_unmap(p, SIZE);
	return ns;
}

static void unmap(u8 *p, u64 len)
{
	MUST(!syscall(SYS_munmap, p, len), "munmap");
}

static void unmap_hooked(u8 *p, u64 len)
{
	int err;
	void *change = primary_linux_change_begin((hva_t)p, len, CHANGE_UNMAP, &err);

	MUST(!err, "no change begun");
	unmap(p, len);
	primary_linux_change_end(change);
}

/* Microseconds of each. */
static double munmaps(bool watched)
{
	u8 *p = show(watched, false);
	double us;
	u64 t;

	touch();
	t = used_ns();
	for (u64 off = 0; off < SIZE; off += PIECE)
		unmap_hooked(p + off, PIECE);
	us = (double)(used_ns() - t) / (SIZE / PIECE) / 1000;
	rooms_slot(mmu, 0, 0, NULL);
	return us;
}

static int by_value(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return (x > y) - (x < y);
}

/*
 * Microseconds of each raw one, `len` bytes of each PIECE, with the helper it waits for: the mean of all that
 * are made at a stretch, or the median of some with a rest before each, in which the helper falls asleep and who
 * else is on the machine takes the processor.
 */
static double raw_munmaps(bool watched, u64 len, bool rest)
{
	u8 *p = show(watched, false);
	unsigned n = rest ? RESTS : SIZE / PIECE;
	u64 ns[SIZE / PIECE], all = 0;

	touch();
	for (unsigned i = 0; i < n; i++) {
		u64 t;

		if (rest)
			usleep(REST_US);
		t = now_ns();
		unmap(p + i * PIECE, len);
		ns[i] = now_ns() - t;
		all += ns[i];
	}
	rooms_slot(mmu, 0, 0, NULL);
	if (rest || len < PIECE)
		memory_unmap(p, SIZE);
	qsort(ns, n, sizeof(ns[0]), by_value);
	return (rest ? (double)ns[n / 2] : (double)all / n) / 1000;
}

/* Raw munmaps with the notifier and without, and what it adds. */
static void raw(const char *what, u64 len, bool rest)
{
	struct figure each = {.n = 0}, added = {.n = 0};
	char name[80];

	for (unsigned i = 0; i < BENCH_TURNS; i++) {
		double with = raw_munmaps(true, len, rest), without = raw_munmaps(false, len, rest);

		figure_add(&each, with, without);
		figure_add(&added, with - without, MOST_US);
	}
	snprintf(name, sizeof(name), "raw munmap of %s, notifier", what);
	figure_print(&each, name, "us", "without", "-");
	snprintf(name, sizeof(name), "what it adds to a raw munmap of %s", what);
	figure_print(&added, name, "us", "20 us", "<= 1");
}

int main(void)
{
	struct figure small = {.n = 0}, large = {.n = 0}, read = {.n = 0}, hooked = {.n = 0};
	struct figure added = {.n = 0};

	rooms_create(&mmu, &vcpu);
	primary_linux_start();
	first_touch(true, false); /* warms up */
	for (unsigned i = 0; i < BENCH_TURNS; i++) {
		double with = munmaps(true), without = munmaps(false);

		figure_add(&hooked, with, without);
		figure_add(&added, with > without ? with - without : 0, MOST_US);
		figure_add(&small, first_touch(true, false), first_touch(false, false));
		figure_add(&large, first_touch(true, true), first_touch(false, true));
		figure_add(&read, reread(true), reread(false));
	}
	figure_print(&small, "first touch, notifier", "ns/page", "without", "<= 1.03");
	figure_print(&large, "first touch of large pages, notifier", "ns/page", "without", "<= 1.03");
	figure_print(&hooked, "munmap of 256 KiB, notifier", "us", "without", "-");
	figure_print(&added, "what it adds to a munmap", "us", "20 us", "<= 1");
	raw("256 KiB", PIECE, false);
	raw("a page", PAGE, false);
	raw("256 KiB after a rest", PIECE, true);
	raw("a page after a rest", PAGE, true);
	figure_print(&read, "VMM reads what a guest wrote, notifier", "ns/page", "without", "-");
	mmu_vcpu_fini(vcpu);
	mmu_close(mmu);
	return 0;
}
