/* SPDX-License-Identifier: MIT */
/* Areas of guest memory: their backings, what they hold, and what must be left in the end. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "stress.h"

#define RESERVED_AT (64ULL << 30)
#define FIRST_STAMP 16 /* above those that stamp_file() gives */

struct area areas[MAX_AREAS];
u32 nareas;

const char *const backing_names[NR_BACKINGS] = {
	"private anonymous", "shared anonymous", "memfd",  "tmpfs",
	"shared file",	     "private file",	 "hugetlb", "read-only file",
	"perf buffer",	     "vvar"};

static int unlinked_file(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		printf("no file in %s: %s\n", dir, strerror(errno));
	return fd;
}

/* Its header page says at SPARSE_WORD where the others begin, and those are zeroes. */
static int perf_event(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
				       .size = sizeof(attr),
				       .config = PERF_COUNT_SW_DUMMY,
				       .disabled = 1,
				       .exclude_kernel = 1};
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);

	if (fd < 0)
		printf("no perf event: %s\n", strerror(errno));
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
	case FILE_READ_ONLY:
		return unlinked_file(".");
	case HUGETLB:
		return memfd_create("stress", MFD_CLOEXEC | MFD_HUGETLB);
	case PERF:
		return perf_event();
	default:
		return -1;
	}
}

/* The same file by a descriptor that cannot write. */
static int reopen_read_only(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

/* ------------------------------------------------------------------ huge pages */

#define NR_HUGE "/proc/sys/vm/nr_hugepages"
#define HUGE	4 /* for this run; what is punched out must be there again when it is needed */

static bool took_huge; /* atomic */

/* By how much the pool grew. Other runs do the same, so no one sets it to what it was before. */
static s64 grow_huge(s64 by)
{
	int fd = open(NR_HUGE, O_RDWR | O_CLOEXEC);
	s64 before = 0, now = 0;
	char text[32] = "";

	if (fd < 0 || flock(fd, LOCK_EX))
		return 0;
	if (pread(fd, text, sizeof(text) - 1, 0) > 0)
		before = now = atol(text);
	snprintf(text, sizeof(text), "%ld\n", before + by);
	if (pwrite(fd, text, strlen(text), 0) > 0 && pread(fd, text, sizeof(text) - 1, 0) > 0)
		now = atol(text);
	close(fd); /* and unlocks */
	return now - before;
}

/*
 * The kernel clears a large page in the fault of whoever touches it first, in one go, and hears no signal
 * meanwhile. That is a fifth of a millisecond, unless the machine is itself a guest whose host has yet to
 * find memory for it, 4 KiB at a time. It has found it once each of them was written.
 */
static void write_huge_pages(void)
{
	int fd = memfd_create("stress", MFD_CLOEXEC | MFD_HUGETLB);
	u8 *p = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, HUGE * HUGE_PAGE))
		p = mmap(NULL, HUGE * HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED) {
		for (u32 i = 0; i < HUGE; i++)
			p[i * HUGE_PAGE] = 1;
		munmap(p, HUGE * HUGE_PAGE);
	}
	close(fd);
}

static bool take_huge_pages(void)
{
	s64 got = grow_huge(HUGE);

	took_huge = got == HUGE;
	if (!took_huge) {
		printf("no huge pages: %ld of %d\n", got, HUGE);
		grow_huge(-got);
	} else {
		write_huge_pages();
	}
	return took_huge;
}

void areas_restore_host(void)
{
	if (__atomic_exchange_n(&took_huge, false, __ATOMIC_SEQ_CST))
		grow_huge(-HUGE);
}

/* ------------------------------------------------------------------ mapping */

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
	int how = MAP_FIXED | (area_is_shared(a) ? MAP_SHARED : MAP_PRIVATE);
	u8 *at = a->mem + first * PAGE;

	if (a->fd < 0) {
		call_mmap(at, n * PAGE, a->prot, how | MAP_ANONYMOUS, -1, 0);
		return;
	}
	/* Neighbours in the file are mapped by one call. */
	for (u32 i = 0, k; i < n; i = k) {
		for (k = i + 1; k < n && a->off[first + k] == a->off[first + k - 1] + 1; k++)
			;
		call_mmap(at + i * PAGE, (k - i) * PAGE, a->prot, how, a->map_fd,
			  a->off[first + i] * PAGE);
	}
}

u64 area_fresh(const struct area *a, u32 page)
{
	if (a->backing == PRIVATE_ANON || a->backing == SHARED_ANON)
		return 0;
	return a->content[a->off[page]];
}

/* ------------------------------------------------------------------ stamps */

static void write_stamp(u64 *page, u64 stamp)
{
	STORE(page[0], stamp);
	for (u32 w = COUNTERS; w < WORDS; w++)
		STORE(page[w], stamp);
}

static void pwrite_stamp(struct area *a, u32 off, u64 stamp)
{
	u64 page[WORDS] = {0};

	write_stamp(page, stamp);
	call_pwrite(a->fd, page, off * PAGE);
}

void area_stored(struct area *a, u32 first, u32 n)
{
	u32 number = ADD(machine.control->stores, 1) + 1;

	for (u32 p = first; p < first + n; p++)
		STORE(a->pages[p].stored, number);
}

/* The pages' sequences are odd. */
static void stamp(struct area *a, u32 first, u32 n, bool by_file)
{
	static u32 last = FIRST_STAMP;
	u32 number = ADD(last, 1);

	for (u32 p = first; p < first + n; p++) {
		u64 s = stamp_of(a->index, p, number);

		if (by_file)
			pwrite_stamp(a, a->off[p], s);
		else
			write_stamp((u64 *)(a->mem + p * PAGE), s);
		STORE(a->pages[p].expected, s);
		if (area_is_shared(a))
			a->content[a->off[p]] = s;
	}
	area_stored(a, first, n);
}

void area_stamp(struct area *a, u32 first, u32 n)
{
	stamp(a, first, n, !(a->prot & PROT_WRITE));
}

void area_stamp_file(struct area *a, u32 first, u32 n)
{
	stamp(a, first, n, true);
}

/* A private file's pages have stamps of their own, which come back when a copy is dropped. */
static void stamp_file(struct area *a)
{
	for (u32 o = 0; o < 2 * a->npages; o++) {
		a->content[o] = stamp_of(a->index, o % a->npages, 1 + o / a->npages);
		pwrite_stamp(a, o, a->content[o]);
	}
}

/* ------------------------------------------------------------------ making them */

/* The kernel's page of the time, or NULL. */
static u8 *find_vvar(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	u64 start = 0, value;
	char line[512];
	bool found = false;
	int fd;

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, "[vvar]") && sscanf(line, "%lx-", &start) == 1;
	if (f)
		fclose(f);
	/* The kernel reads it for us, and says so if it cannot. */
	fd = memfd_create("vvar", MFD_CLOEXEC);
	if (found && write(fd, (void *)start, sizeof(value)) != sizeof(value))
		found = false;
	close(fd);
	return found ? (u8 *)start : NULL;
}

static bool area_open(struct area *a)
{
	bool needs_fd = a->backing != PRIVATE_ANON && a->backing != SHARED_ANON && a->backing != VVAR;

	a->fd = a->map_fd = -1;
	if (a->backing == HUGETLB && !take_huge_pages())
		return false;
	if (needs_fd) {
		a->fd = a->map_fd = open_backing(a->backing);
		if (a->fd < 0)
			return false;
		if (a->backing != PERF && ftruncate(a->fd, (off_t)(2 * PAGES * PAGE)))
			return false;
	}
	if (a->backing == FILE_READ_ONLY)
		a->map_fd = reopen_read_only(a->fd);
	if (a->backing == VVAR) {
		a->mem = find_vvar();
		return a->mem;
	}
	a->mem = reserve(PAGES * PAGE);
	a->park = reserve(PAGES * PAGE);
	return true;
}

/* What the guest is told, and what holds from the beginning. */
static void area_fill(struct area *a)
{
	struct garea *g = &machine.control->areas[a->index];

	g->npages = a->npages;
	if (a->slot_flags & KVM_MEM_READONLY)
		g->flags |= GAREA_READ_ONLY;
	if (a->backing == VVAR) {
		g->flags |= GAREA_UNCHECKED;
		return;
	}
	if (a->backing == FILE_PRIVATE)
		stamp_file(a);
	area_map(a, 0, a->npages);
	if (a->backing != PERF) {
		area_stamp(a, 0, a->npages);
		return;
	}
	g->flags |= GAREA_SPARSE;
	a->content[0] = a->pages[0].expected = ((u64 *)a->mem)[SPARSE_WORD];
}

static const u32 special_pages[NR_BACKINGS] = {[PERF] = 1 + 8, [VVAR] = 1};

bool area_create(enum backing backing)
{
	struct area *a = &areas[nareas];

	memset(a, 0, sizeof(*a));
	a->backing = backing;
	a->index = nareas;
	a->npages = special_pages[backing] ? special_pages[backing] : PAGES;
	/* Neither a huge page nor a buffer of the kernel's can be changed in part. */
	a->unit = backing == HUGETLB || special_pages[backing] ? a->npages : 1;
	a->gpa = GPA_AREAS + nareas * AREA_STRIDE;
	a->pages = machine.control->pages[nareas];
	a->prot = PROT_READ;
	if (backing == FILE_READ_ONLY || special_pages[backing])
		a->slot_flags = KVM_MEM_READONLY;
	else
		a->prot |= PROT_WRITE;
	pthread_mutex_init(&a->lock, NULL);
	for (u32 p = 0; p < PAGES; p++)
		a->off[p] = p;
	if (!area_open(a))
		return false;
	area_fill(a);
	machine_slot(a->index, a->slot_flags, a->gpa, a->npages * PAGE, a->mem);
	nareas++;
	return true;
}

void area_destroy(struct area *a)
{
	machine_slot(a->index, 0, 0, 0, NULL);
	if (a->backing == VVAR)
		return;
	munmap(a->mem, a->npages * PAGE);
	munmap(a->park, a->npages * PAGE);
	if (a->map_fd != a->fd)
		close(a->map_fd);
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
		/* Not seen by who maps it twice, a userfaultfd's page may have been filled by
		 * another. */
		MUST(page[w] == want || (weak && !page[w]),
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
	if (special_pages[a->backing])
		return;
	for (u32 p = 0; p < a->npages; p++)
		check_page(a, p);
}
