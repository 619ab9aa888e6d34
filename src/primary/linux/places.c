/* SPDX-License-Identifier: MIT */
/*
 * Where windows and stores lie: address space kept for them, so that nobody else's mapping comes to
 * lie where one was, and none comes to lie where the VMM had memory and, with MAP_FIXED, may have it
 * again.
 *
 * It is taken far from where the kernel puts what may lie anywhere, in arenas of inaccessible
 * memory. What one leaves becomes inaccessible in the same call that unmaps it. A block is
 * taken again when all of it was given back, the rest of its arena first.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "primary/linux/internal.h"
#include "primary/linux/maps.h"

#define ARENA_FIRST (1ULL << 44)  /* below every place where Linux begins to look by itself */
#define ARENA_TRIES 64

u64 primary_linux_arena = 64ULL << 30;

struct arena {
	struct interval node;
	u64 next; /* look from here */
	struct arena *older;
};

struct block {
	struct interval node;
	u64 live; /* bytes not given back */
};

static struct {
	struct mutex lock;
	struct arena *arenas;	     /* the newest first */
	struct interval_tree blocks; /* taken */
} places;

__attribute__((constructor)) static void places_init(void)
{
	mutex_init(&places.lock);
}

void places_reset(void)
{
	memset(&places, 0, sizeof(places));
	mutex_init(&places.lock);
}

static long reserve(u64 at, u64 len, int flags)
{
	return syscall(SYS_mmap, at, len, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0L);
}

/* Address space of `len` bytes, or 0. Where the usual part is full, anywhere. */
static u64 find_space(u64 len)
{
	long at;

	for (u64 i = 0; i < ARENA_TRIES; i++) {
		u64 want = ARENA_FIRST + i * len;

		at = reserve(want, len, MAP_FIXED_NOREPLACE);
		if (at == (long)want)
			return want;
		if (errno != EEXIST)
			return 0;
	}
	at = reserve(0, len, 0);
	return at == -1 ? 0 : (u64)at;
}

/* Room for `least` bytes more. Halves what it asks for where address space is limited. */
static bool add_arena(u64 least)
{
	struct arena *a = pool_alloc();
	u64 len = primary_linux_arena + ALIGN_UP(least, LEVEL_SIZE(LEVEL_2M));
	u64 at = 0;

	while (a && !(at = find_space(len)) && len / 2 >= least)
		len = ALIGN_UP(len / 2, PAGE_SIZE);
	if (!at) {
		pool_free(a);
		return false;
	}
	a->node.start = a->next = at;
	a->node.last = at + len - 1;
	a->older = places.arenas;
	places.arenas = a;
	return true;
}

/* The first address from `at` up that is `off` modulo align. */
static u64 congruent(u64 at, u64 align, u64 off)
{
	return at + ((off - at) & (align - 1));
}

/* Free space in [from, to), or 0. */
static u64 find_free(u64 from, u64 to, u64 len, u64 align, u64 off)
{
	u64 at = congruent(from, align, off);

	while (at + len <= to) {
		struct interval *n = interval_find(&places.blocks, at, at + len - 1);

		if (!n)
			return at;
		at = congruent(n->last + 1, align, off);
	}
	return 0;
}

static u64 find_place(u64 len, u64 align, u64 off)
{
	for (struct arena *a = places.arenas; a; a = a->older) {
		u64 end = a->node.last + 1;
		u64 at = find_free(a->next, end, len, align, off);

		if (!at)
			at = find_free(a->node.start, end, len, align, off);
		if (!at)
			continue;
		a->next = at + len;
		return at;
	}
	return 0;
}

u64 places_take(u64 len, u64 align, u64 off)
{
	struct block *b = pool_alloc();
	u64 at = 0;

	mutex_lock(&places.lock);
	if (b)
		at = find_place(len, align, off);
	if (b && !at && add_arena(len + align))
		at = find_place(len, align, off);
	if (at) {
		b->node.start = at;
		b->node.last = at + len - 1;
		b->live = len;
		interval_insert(&places.blocks, &b->node);
	}
	mutex_unlock(&places.lock);
	if (!at)
		pool_free(b);
	return at;
}

static void give(u64 start, u64 end)
{
	struct block *b;

	mutex_lock(&places.lock);
	b = container_of(interval_find(&places.blocks, start, start), struct block, node);
	assert(end - 1 <= b->node.last && b->live >= end - start);
	b->live -= end - start;
	if (b->live)
		b = NULL;
	else
		interval_remove(&places.blocks, &b->node);
	mutex_unlock(&places.lock);
	pool_free(b);
}

void places_give(u64 start, u64 end)
{
	if (start < end && reserve(start, end - start, MAP_FIXED) != -1)
		give(start, end);
}

/* Is what lies in [start, end) as an arena is where nothing is? */
static bool still_reserved(u64 start, u64 end)
{
	struct region r;

	return !maps_query(start, &r) && !r.readable && !r.writable && r.start <= start &&
	       r.end >= end;
}

void places_give_hole(u64 start, u64 end)
{
	/* If something came to lie there, the place is its own from now on: the block stays. */
	if (reserve(start, end - start, MAP_FIXED_NOREPLACE) != -1 || still_reserved(start, end))
		give(start, end);
}
