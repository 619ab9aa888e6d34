/* SPDX-License-Identifier: MIT */
/* The changes there are, one at a time for each thread, and what the oracle is told of each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "changes.h"

#define B(backing)   (1u << (backing))
#define ALL	     (~0u)
#define ORDINARY     (ALL & ~(B(PERF) | B(VVAR)))
#define MAPPED	     (ALL & ~B(VVAR))
#define WRITTEN	     (ORDINARY & ~B(FILE_READ_ONLY))
#define SHARED_FILES (B(MEMFD) | B(TMPFS) | B(FILE_SHARED) | B(HUGETLB))
#define SHARED	     (SHARED_FILES | B(SHARED_ANON))
#define FAULTED	     (B(PRIVATE_ANON) | B(MEMFD) | B(TMPFS))

static const struct {
	const char *name;
	void (*make)(struct change *c);
	u32 longest; /* units */
	u32 backings;
} kinds[] = {
	{"munmap", unmap_then_map, 32, MAPPED},
	{"mmap-over", map_over, 32, MAPPED},
	{"mremap-move", move_away_then_back, 32, MAPPED},
	{"mremap-resize", shrink_then_grow, 32, ORDINARY & ~(B(HUGETLB) | B(SHARED_ANON))},
	{"mremap-dontunmap", move_leaving_zeroes, 32, B(PRIVATE_ANON)},
	{"mprotect", protect_then_allow, 64, MAPPED},
	{"dontneed", dont_need, 64, ORDINARY},
	{"remove", remove_pages, 32, SHARED},
	{"free", free_pages, 32, B(PRIVATE_ANON)},
	/*
	 * Not where pages are to be missing: of a shared huge page that is in use, Linux clears a
	 * part instead of taking it away.
	 */
	{"collapse", collapse, 1, ORDINARY & ~(B(HUGETLB) | B(MEMFD) | B(TMPFS))},
	{"pageout", page_out, 64, ORDINARY & ~B(HUGETLB)},
	{"punch", punch, 16, SHARED_FILES | B(FILE_READ_ONLY)},
	{"ftruncate", truncate_then_extend, PAGES, SHARED_FILES | B(FILE_READ_ONLY)},
	{"pwrite", write_file, 16, (SHARED_FILES & ~B(HUGETLB)) | B(FILE_READ_ONLY)},
	{"fork", fork_and_write, 64, ALL},
	{"litter", litter, 1, ALL},
	{"uffd-missing", uffd_missing, 16, FAULTED},
	{"uffd-minor", uffd_minor, 16, B(MEMFD) | B(TMPFS) | B(SHARED_ANON) | B(HUGETLB)},
	{"uffd-wp", uffd_write_protect, 16, FAULTED},
	{"uffd-monitor", uffd_monitor, 16, B(PRIVATE_ANON)},
	{"slot-delete", slot_remade, 1, ALL},
	{"slot-readonly", slot_read_only, 1, WRITTEN},
	{"slot-move", slot_moved, 1, ALL},
	{"dirty-log", slot_logged, 1, WRITTEN},
};

#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static u64 made[NR_KINDS];
static u64 made_by[NR_WAYS];
static u32 wanted = (1u << NR_KINDS) - 1; /* bits: kinds to be made */
static u32 wanted_ways = ~0u;		  /* bits: how */

/* ------------------------------------------------------------------ ranges and the oracle */

u32 changer_pick(struct changer *c, u32 n)
{
	return (u32)rand_r(&c->seed) % n;
}

static void change_range(struct change *c, u32 longest)
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
	/* Who has not been told of it looks at code again where it looks at the VMM's stores to it. */
	if (way != WAY_LIBC || untold)
		area_stored(c->a, c->first, c->n);
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

/* ------------------------------------------------------------------ what is gone */

#define LATE_MS	   500 /* ten times what docs/memory.md says; the machine may be busy */
#define LATE_ONE_OF 8  /* of the changes that may be seen late, this many are waited for */

static u32 gones, late_waits, latest; /* atomic; ms */

static void set_gone(const struct change *c, u32 value)
{
	for (u32 p = c->first; p < c->first + c->n; p++)
		STORE(c->a->pages[p].gone, value);
}

static void wait_until_late(const struct change *c, u32 gone)
{
	struct timespec t = {.tv_nsec = LATE_MS * 1000000L};
	u32 since = LOAD(machine.control->now), late = 0, was;

	for (u32 p = c->first; p < c->first + c->n; p++)
		STORE(c->a->pages[p].reached, since);
	set_gone(c, gone | GONE_SOON);
	nanosleep(&t, NULL);
	for (u32 p = c->first; p < c->first + c->n; p++) {
		u32 at = LOAD(c->a->pages[p].reached) - since;

		late = at > late ? at : late;
	}
	for (was = LOAD(latest); late > was && !__atomic_compare_exchange_n(&latest, &was, late,
			false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);)
		;
	ADD(late_waits, 1);
}

void gone_begin(const struct change *c, bool told)
{
	u32 gone = (ADD(gones, 1) + 1) * GONE_STEP;

	if (weak)
		return;
	/* Of a file's memory older kernels tell nobody. */
	told &= told_at_all && (told_of_files || c->a->fd < 0);
	if (!(told || (way == WAY_LIBC && !untold) || !area_is_shared(c->a))) {
		if (changer_pick(c->by, LATE_ONE_OF))
			return;
		wait_until_late(c, gone);
	}
	set_gone(c, gone | GONE);
}

void gone_begin_truncated(const struct change *c)
{
	if (!told_at_all || weak)
		return;
	if (c->a->backing == HUGETLB)
		set_gone(c, (ADD(gones, 1) + 1) * GONE_STEP | GONE_ZERO);
	else
		gone_begin(c, true);
}

void gone_end(const struct change *c)
{
	if (!weak)
		set_gone(c, 0);
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
	if (changer_pick(c->by, 2) && c->a->backing != PERF)
		area_stamp(c->a, c->first, c->n);
}

/* ------------------------------------------------------------------ the log */

bool changes_logged;

/* (While others make changes: what is printed may be half of one.) */
__attribute__((no_sanitize("thread"))) static void print_logged(const struct changer *c, const struct logged *l)
{
	fprintf(stderr, "%11.6f %11.6f thread %u change %lu: %s %s %s %u+%u\n", l->begun, l->ended,
		c->index, l->number, kinds[l->kind].name, way_names[l->way],
		backing_names[areas[l->area].backing], l->first, l->n);
}

__attribute__((no_sanitize("thread"))) void changes_print_log(const struct changer *c)
{
	u64 end = LOAD(c->done) + 1;

	for (u64 i = end < LOGGED ? 0 : end - LOGGED; i < end; i++)
		print_logged(c, &c->log[i % LOGGED]);
}

/* ------------------------------------------------------------------ making them */

static const char *kind_name(u32 k)
{
	return k < NR_KINDS ? kinds[k].name : NULL;
}

static const char *way_name(u32 w)
{
	return w < NR_WAYS ? way_names[w] : NULL;
}

/* The bits of the names in a list; 0: there is no such name. */
static u32 select_names(const char *list, const char *(*nth)(u32 n))
{
	char copy[512], *save, *name;
	u32 bits = 0;

	snprintf(copy, sizeof(copy), "%s", list);
	for (name = strtok_r(copy, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		u32 k = 0;

		while (nth(k) && strcmp(nth(k), name))
			k++;
		if (!nth(k))
			return 0;
		bits |= 1u << k;
	}
	return bits;
}

bool changes_select(const char *list)
{
	wanted = select_names(list, kind_name);
	return wanted;
}

bool changes_select_ways(const char *list)
{
	wanted_ways = select_names(list, way_name) & ways_there_are;
	return wanted_ways;
}

/* One of those that are wanted. */
static enum way choose_way(struct changer *by)
{
	u32 w;

	do
		w = changer_pick(by, NR_WAYS);
	while (!(wanted_ways & ways_there_are & 1u << w));
	return (enum way)w;
}

/* What a thread does next is a function of the seed and of how much it has done. */
static struct area *choose(struct changer *by, u32 *kind)
{
	u64 x = ((u64)by->first_seed << 32 | (u32)by->done) * 0x9e3779b97f4a7c15ULL;

	struct area *a;

	by->seed = (u32)((x ^ x >> 29) * 0xbf58476d1ce4e5b9ULL >> 32);
	for (u32 tries = 0; tries < 100000; tries++) {
		*kind = changer_pick(by, NR_KINDS);
		a = &areas[changer_pick(by, nareas)];
		if ((wanted >> *kind & 1) && (kinds[*kind].backings >> a->backing & 1))
			return a;
	}
	fail("there is no memory for these changes");
}

void change_something(struct changer *by)
{
	struct change c = {.by = by};
	struct logged *l;
	u32 kind;

	c.a = choose(by, &kind);
	pthread_mutex_lock(&c.a->lock);
	STORE(by->doing, kinds[kind].name);
	change_range(&c, kinds[kind].longest);
	way = choose_way(by);
	l = &by->log[by->done % LOGGED];
	*l = (struct logged){by->done, seconds_now(), 0, kind, c.a->index, c.first, c.n, way};
	kinds[kind].make(&c);
	l->ended = seconds_now();
	if (changes_logged)
		print_logged(by, l);
	pthread_mutex_unlock(&c.a->lock);
	ADD(made[kind], 1);
	ADD(made_by[way], 1);
	ADD(by->done, 1);
}

void changes_print(void)
{
	for (u32 i = 0; i < NR_KINDS; i++)
		printf("%s%s %lu", i ? ", " : "", kinds[i].name, LOAD(made[i]));
	printf("\n");
	for (u32 i = 0; i < NR_WAYS; i++)
		printf("%s%s %lu", i ? ", " : "by ", way_names[i], LOAD(made_by[i]));
	printf("; %u out of reach at once or waited for, %u of these may be late: at most %u ms\n",
	       LOAD(gones), LOAD(late_waits), LOAD(latest));
}
