/* SPDX-License-Identifier: MIT */
/* Areas of guest memory: their backings, what they hold, and what must be left in the end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "stress.h"

#define RESERVED_AT (64ULL << 30)

struct area areas[MAX_AREAS];
u32 nareas;

const char *const backing_names[NR_BACKINGS] = {
	"private anonymous", "shared anonymous", "memfd",  "tmpfs",
	"shared file",	     "private file",	 "hugetlb"};

static int unlinked_file(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		printf("no file in %s: %s\n", dir, strerror(errno));
	return fd;
}

static int open_backing(enum backing backing)
{
	switch (backing) {
	case MEMFD:
		return memfd_create("stress", MFD_CLOEXEC);
	case TMPFS:
		return unlinked_file("/dev/shm");
	case FILE_SHARED:
	case FILE_PRIVATE:
		return unlinked_file(".");
	case HUGETLB:
		return memfd_create("stress", MFD_CLOEXEC | MFD_HUGETLB);
	default:
		return -1;
	}
}

static bool has_huge_pages(u64 n)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "r+");
	u64 have = 0;

	if (!f)
		return false;
	if (fscanf(f, "%lu", &have) == 1 && have < n) {
		rewind(f);
		fprintf(f, "%lu\n", n);
		fflush(f);
		rewind(f);
		if (fscanf(f, "%lu", &have) != 1)
			have = 0;
	}
	fclose(f);
	if (have < n)
		printf("no huge pages: %lu of %lu\n", have, n);
	return have >= n;
}

/*
 * Far below where the kernel maps what is to lie anywhere: an area has holes for a while, and
 * nobody else's memory (a library's, the sanitizer's) may come to lie there.
 */
static u8 *reserve(u64 len)
{
	static u64 next = RESERVED_AT;
	u8 *p = mmap((void *)next, len, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	MUST(p == (u8 *)next, "no address space at %#lx: %s", next, strerror(errno));
	next += 2 * len;
	return p;
}

void area_map(struct area *a, u32 first, u32 n)
{
	int prot = PROT_READ | PROT_WRITE;
	u8 *at = a->mem + first * PAGE;

	if (a->fd < 0) {
		call_mmap(at, n * PAGE, prot,
			  MAP_FIXED | MAP_ANONYMOUS |
				  (a->backing == SHARED_ANON ? MAP_SHARED : MAP_PRIVATE),
			  -1, 0);
		return;
	}
	/* Neighbours in the file are mapped by one call. */
	for (u32 i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && a->off[first + k] == a->off[first + k - 1] + 1; k++)
			;
		call_mmap(at + i * PAGE, (k - i) * PAGE, prot,
			  MAP_FIXED | (a->backing == FILE_PRIVATE ? MAP_PRIVATE : MAP_SHARED),
			  a->fd, a->off[first + i] * PAGE);
	}
}

u64 area_fresh(const struct area *a, u32 page)
{
	if (a->backing == PRIVATE_ANON || a->backing == SHARED_ANON)
		return 0;
	return a->content[a->off[page]];
}

static void write_stamp(u64 *page, u64 stamp)
{
	STORE(page[0], stamp);
	for (u32 w = COUNTERS; w < WORDS; w++)
		STORE(page[w], stamp);
}

/* The pages' sequences are odd. */
void area_stamp(struct area *a, u32 first, u32 n)
{
	static u32 last;
	u32 number = ADD(last, 1) + 1;

	for (u32 p = first; p < first + n; p++) {
		u64 stamp = stamp_of(a->index, p, number);

		write_stamp((u64 *)(a->mem + p * PAGE), stamp);
		STORE(a->pages[p].expected, stamp);
		if (area_is_shared(a))
			a->content[a->off[p]] = stamp;
	}
}

/* A private file's pages have stamps of their own, which come back when a copy is dropped. */
static void stamp_file(struct area *a)
{
	u64 page[WORDS];

	for (u32 o = 0; o < 2 * a->npages; o++) {
		memset(page, 0, sizeof(page));
		a->content[o] = stamp_of(a->index, o % a->npages, 1 + o / a->npages);
		write_stamp(page, a->content[o]);
		MUST(pwrite(a->fd, page, PAGE, (off_t)(o * PAGE)) == (ssize_t)PAGE,
		     "pwrite: %s", strerror(errno));
	}
}

bool area_create(enum backing backing)
{
	struct area *a = &areas[nareas];
	u64 len = PAGES * PAGE;

	memset(a, 0, sizeof(*a));
	a->fd = -1;
	if (backing == HUGETLB && !has_huge_pages(4))
		return false;
	if (backing != PRIVATE_ANON && backing != SHARED_ANON) {
		a->fd = open_backing(backing);
		if (a->fd < 0 || ftruncate(a->fd, (off_t)(2 * len)))
			return false;
	}
	a->backing = backing;
	a->index = nareas;
	a->npages = PAGES;
	a->unit = backing == HUGETLB ? PAGES : 1;
	a->mem = reserve(len);
	a->park = reserve(len);
	a->gpa = GPA_AREAS + nareas * AREA_STRIDE;
	a->pages = machine.control->pages[nareas];
	pthread_mutex_init(&a->lock, NULL);
	for (u32 p = 0; p < PAGES; p++)
		a->off[p] = p;
	if (backing == FILE_PRIVATE)
		stamp_file(a);
	area_map(a, 0, PAGES);
	area_stamp(a, 0, PAGES);
	machine_slot(a->index, 0, a->gpa, len, a->mem);
	nareas++;
	return true;
}

void area_destroy(struct area *a)
{
	machine_slot(a->index, 0, 0, 0, NULL);
	munmap(a->mem, a->npages * PAGE);
	munmap(a->park, a->npages * PAGE);
	if (a->fd >= 0)
		close(a->fd);
}

static void check_page(struct area *a, u32 p)
{
	const u64 *page = (u64 *)(a->mem + p * PAGE);
	u64 want = a->pages[p].expected;

	for (u32 w = 0; w < WORDS; w++) {
		if (w >= 1 && w < COUNTERS)
			continue;
		/* Unseen by who maps it twice, a userfaultfd's page may have been filled by
		 * another. */
		MUST(page[w] == want || (unseen && !page[w]),
		     "%s page %u word %u holds %#lx in the end, not %#lx",
		     backing_names[a->backing], p, w, page[w], want);
	}
	for (u32 i = 0; i < machine.nvcpus; i++) {
		struct gvcpu *g = machine.vcpus[i].g;
		u64 mine = count_of(i, a->index, p, g->counts[a->index][p].done);

		if (!machine.control->strict || g->counts[a->index][p].seq != a->pages[p].seq)
			continue;
		MUST(page[1 + i] == mine,
		     "%s page %u: vCPU %u's count is %#lx in the end, not %#lx",
		     backing_names[a->backing], p, i, page[1 + i], mine);
	}
}

void area_check(struct area *a)
{
	for (u32 p = 0; p < a->npages; p++)
		check_page(a, p);
}
