/* SPDX-License-Identifier: MIT */
/* What a VMM does to its own mappings and memslots while vCPUs run, one change at a time. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "changes.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

u32 changer_pick(struct changer *c, u32 n)
{
	return (u32)rand_r(&c->seed) % n;
}

void change_range(struct change *c, u32 longest)
{
	u32 units = c->a->npages / c->a->unit, first = changer_pick(c->by, units);
	u32 most = units - first < longest ? units - first : longest;

	c->first = first * c->a->unit;
	c->n = (1 + changer_pick(c->by, most)) * c->a->unit;
}

u8 *change_addr(const struct change *c)
{
	return c->a->mem + c->first * PAGE;
}

void content_begin(const struct change *c)
{
	for (u32 p = c->first; p < c->first + c->n; p++)
		ADD(c->a->pages[p].seq, 1);
}

void content_end(const struct change *c)
{
	for (u32 p = c->first; p < c->first + c->n; p++)
		ADD(c->a->pages[p].seq, 1);
}

void away_begin(const struct change *c)
{
	for (u32 p = c->first; p < c->first + c->n; p++) {
		ADD(c->a->pages[p].aways, 1);
		ADD(c->a->pages[p].away, 1);
	}
}

void away_end(const struct change *c)
{
	for (u32 p = c->first; p < c->first + c->n; p++)
		ADD(c->a->pages[p].away, -1u);
}

/* Let the vCPUs meet what is there now. */
void change_pause(const struct change *c)
{
	struct timespec t = {.tv_nsec = 1000 * changer_pick(c->by, 200)};

	if (changer_pick(c->by, 4) == 0)
		nanosleep(&t, NULL);
}

/* The pages were mapped anew: what they hold now, and perhaps a stamp. */
void content_fresh(const struct change *c)
{
	for (u32 p = c->first; p < c->first + c->n; p++)
		STORE(c->a->pages[p].expected, area_fresh(c->a, p));
	if (changer_pick(c->by, 2))
		area_stamp(c->a, c->first, c->n);
}

/* A private area's pages go back to what they were made of; others keep what they have. */
static bool keeps_content(const struct area *a)
{
	return a->fd >= 0 && area_is_shared(a);
}

/* ------------------------------------------------------------------ mappings */

static void unmap_then_map(struct change *c)
{
	bool keeps = keeps_content(c->a);

	if (!keeps)
		content_begin(c);
	away_begin(c);
	call_munmap(change_addr(c), c->n * PAGE);
	change_pause(c);
	area_map(c->a, c->first, c->n);
	if (!keeps)
		content_fresh(c);
	away_end(c);
	if (!keeps)
		content_end(c);
}

/* Never away: the kernel replaces one mapping by the other at once. */
static void map_over(struct change *c)
{
	struct area *a = c->a;
	bool moves = a->fd >= 0 && changer_pick(c->by, 3);

	if (a->fd >= 0 && !moves && area_is_shared(a)) {
		area_map(a, c->first, c->n); /* the same pages: nothing is seen */
		return;
	}
	content_begin(c);
	if (a->fd >= 0)
		for (u32 p = c->first; p < c->first + c->n; p++)
			a->off[p] = (a->off[p] + a->npages) % (2 * a->npages);
	area_map(a, c->first, c->n);
	content_fresh(c);
	content_end(c);
}

static void move_away_then_back(struct change *c)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	u8 *at = change_addr(c), *park = c->a->park + c->first * PAGE;
	long r;

	away_begin(c);
	r = call_mremap(at, c->n * PAGE, c->n * PAGE, flags, park);
	if (r != -1) {
		change_pause(c);
		MUST(call_mremap(park, c->n * PAGE, c->n * PAGE, flags, at) == (long)at,
		     "mremap back: %s", strerror(errno));
		call_mmap(park, c->n * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			  -1, 0);
	}
	away_end(c);
}

/* The second half goes, and comes back by growth. */
static void shrink_then_grow(struct change *c)
{
	struct change half = *c;
	u64 keep = c->n / 2 * PAGE, len = c->n * PAGE;
	u8 *at = change_addr(c);

	/* Growth continues one mapping; a file's must be one from its first page to its last.
	 */
	for (u32 p = c->first + 1; c->a->fd >= 0 && p < c->first + c->n; p++)
		if (c->a->off[p] != c->a->off[p - 1] + 1)
			return;
	if (!keep || c->a->backing == HUGETLB || c->a->backing == SHARED_ANON)
		return;
	half.first += c->n / 2;
	half.n -= c->n / 2;
	content_begin(&half);
	away_begin(&half);
	MUST(call_mremap(at, len, keep, 0, NULL) == (long)at, "mremap smaller: %s",
	     strerror(errno));
	change_pause(c);
	/* What grows must be one mapping, which changes before may have made two of. */
	if (call_mremap(at, keep, len, 0, NULL) != (long)at)
		area_map(c->a, half.first, half.n);
	content_fresh(&half);
	away_end(&half);
	content_end(&half);
}

static void move_leaving_zeroes(struct change *c)
{
	u8 *park = c->a->park + c->first * PAGE;
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

	if (c->a->backing != PRIVATE_ANON)
		return;
	content_begin(c);
	if (call_mremap(change_addr(c), c->n * PAGE, c->n * PAGE, flags, park) != -1) {
		call_mmap(park, c->n * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			  -1, 0);
		content_fresh(c);
	} else { /* more than one mapping */
		area_stamp(c->a, c->first, c->n);
	}
	content_end(c);
}

static void protect_then_allow(struct change *c)
{
	static const int prots[] = {PROT_NONE, PROT_READ};

	away_begin(c);
	call_mprotect(change_addr(c), c->n * PAGE, prots[changer_pick(c->by, 2)]);
	change_pause(c);
	call_mprotect(change_addr(c), c->n * PAGE, PROT_READ | PROT_WRITE);
	away_end(c);
}

/* ------------------------------------------------------------------ advice */

static void dont_need(struct change *c)
{
	bool keeps = area_is_shared(c->a);

	if (!keeps)
		content_begin(c);
	MUST(!call_madvise(change_addr(c), c->n * PAGE, MADV_DONTNEED), "MADV_DONTNEED: %s",
	     strerror(errno));
	if (!keeps) {
		content_fresh(c);
		content_end(c);
	}
}

static void forget_file_pages(struct area *a, u32 first, u32 n)
{
	for (u32 p = first; p < first + n; p++)
		a->content[a->off[p]] = 0;
}

static void remove_pages(struct change *c)
{
	if (!area_is_shared(c->a))
		return;
	content_begin(c);
	MUST(!call_madvise(change_addr(c), c->n * PAGE, MADV_REMOVE), "MADV_REMOVE: %s",
	     strerror(errno));
	forget_file_pages(c->a, c->first, c->n);
	content_fresh(c);
	content_end(c);
}

/* The kernel may take the pages at any time until they are written. */
static void free_pages(struct change *c)
{
	if (c->a->backing != PRIVATE_ANON)
		return;
	content_begin(c);
	MUST(!call_madvise(change_addr(c), c->n * PAGE, MADV_FREE), "MADV_FREE: %s",
	     strerror(errno));
	change_pause(c);
	area_stamp(c->a, c->first, c->n);
	content_end(c);
}

/*
 * One huge page of small ones, where the kernel can; the bytes stay. Not where pages are to be
 * missing: of a shared huge page that is in use, Linux clears a part instead of taking it away.
 */
static void collapse(struct change *c)
{
	if (c->a->unit == 1 && c->a->backing != MEMFD && c->a->backing != TMPFS)
		call_madvise(c->a->mem, c->a->npages * PAGE, MADV_COLLAPSE);
}

/* ------------------------------------------------------------------ files */

static void punch(struct change *c)
{
	struct area *a = c->a;

	if (a->fd < 0 || !area_is_shared(a))
		return;
	content_begin(c);
	for (u32 p = c->first; p < c->first + c->n; p += a->unit)
		MUST(!call_punch(a->fd, a->off[p] * PAGE, a->unit * PAGE), "punch: %s",
		     strerror(errno));
	forget_file_pages(a, c->first, c->n);
	content_fresh(c);
	content_end(c);
}

/* Shorter, and as long as before: what lay beyond is zeroes now, mapped or not. */
static void truncate_then_extend(struct change *c)
{
	struct area *a = c->a;
	u32 from = a->npages + c->first;
	struct change one = {.by = c->by, .a = a, .n = 1};

	if (a->fd < 0 || !area_is_shared(a))
		return;
	for (one.first = 0; one.first < a->npages; one.first++) {
		if (a->off[one.first] >= from) {
			content_begin(&one);
			away_begin(&one);
		}
	}
	call_truncate(a->fd, from * PAGE);
	change_pause(c);
	call_truncate(a->fd, 2 * a->npages * PAGE);
	for (u32 o = from; o < 2 * a->npages; o++)
		a->content[o] = 0;
	for (one.first = 0; one.first < a->npages; one.first++) {
		if (a->off[one.first] >= from) {
			content_fresh(&one);
			away_end(&one);
			content_end(&one);
		}
	}
}

/* ------------------------------------------------------------------ processes */

/* The child writes to its copy, which is nobody else's. */
static void fork_and_write(struct change *c)
{
	int status, pid = call_fork();

	MUST(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		if (!area_is_shared(c->a))
			for (u32 p = c->first; p < c->first + c->n; p++)
				*(volatile u64 *)(c->a->mem + p * PAGE) = 0xdead;
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		MUST(errno == EINTR, "waitpid: %s", strerror(errno));
}

/* ------------------------------------------------------------------ all of them */

static const struct {
	const char *name;
	void (*make)(struct change *c);
	u32 longest; /* units */
} kinds[] = {
	{"munmap, mmap", unmap_then_map, 32},
	{"mmap over", map_over, 32},
	{"mremap move", move_away_then_back, 32},
	{"mremap shrink, grow", shrink_then_grow, 32},
	{"mremap DONTUNMAP", move_leaving_zeroes, 32},
	{"mprotect", protect_then_allow, 64},
	{"MADV_DONTNEED", dont_need, 64},
	{"MADV_REMOVE", remove_pages, 32},
	{"MADV_FREE", free_pages, 32},
	{"MADV_COLLAPSE", collapse, 1},
	{"punch", punch, 16},
	{"ftruncate", truncate_then_extend, PAGES},
	{"fork", fork_and_write, 64},
	{"litter", litter, 1},
	{"userfaultfd missing", uffd_missing, 16},
	{"userfaultfd minor", uffd_minor, 16},
	{"userfaultfd write-protect", uffd_write_protect, 16},
	{"userfaultfd monitor", uffd_monitor, 16},
	{"memslot deleted", slot_remade, 1},
	{"memslot read-only", slot_read_only, 1},
	{"memslot moved", slot_moved, 1},
	{"dirty log", slot_logged, 1},
};

#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static u64 made[NR_KINDS];

void change_something(struct changer *by)
{
	u32 kind = changer_pick(by, NR_KINDS);
	struct change c = {.by = by, .a = &areas[changer_pick(by, nareas)]};

	pthread_mutex_lock(&c.a->lock);
	STORE(by->doing, kinds[kind].name);
	change_range(&c, kinds[kind].longest);
	kinds[kind].make(&c);
	pthread_mutex_unlock(&c.a->lock);
	ADD(made[kind], 1);
	ADD(by->done, 1);
}

void changes_print(void)
{
	for (u32 i = 0; i < NR_KINDS; i++)
		printf("%s%s %lu", i ? ", " : "", kinds[i].name, LOAD(made[i]));
	printf("\n");
}
