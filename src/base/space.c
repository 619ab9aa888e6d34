/* SPDX-License-Identifier: MIT */
#include "base/space.h"

#include <assert.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/pool.h"
#include "sync/lock.h"

struct space_block {
	struct interval node;
	u64 live; /* bytes not given back */
	u64 gap;  /* bytes before them that nobody asked for: commit_gap() */
	enum own_kind kind;
};

static struct {
	struct mutex lock;
	struct interval_tree blocks; /* taken */
	u64 next[OWN_KINDS];	     /* look from here first */
} space = {.lock = {.m = PTHREAD_MUTEX_INITIALIZER}};

/* ------------------------------------------------------------------ taking; lock held */

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
		struct interval *n = interval_find(&space.blocks, at, at + len - 1);

		if (!n)
			return at;
		at = congruent(n->last + 1, align, off);
	}
	return 0;
}

static u64 find_place(enum own_kind kind, u64 len, u64 align, u64 off)
{
	u64 next = space.next[kind], at = 0;
	struct own_range r;

	for (u32 i = 0; !at && own_next(kind, &i, &r);) {
		if (next > r.start && next < r.end)
			at = find_free(next, r.end, len, align, off);
	}
	for (u32 i = 0; !at && own_next(kind, &i, &r);)
		at = find_free(r.start, r.end, len, align, off);
	if (at)
		space.next[kind] = at + len;
	return at;
}

u64 space_take(enum own_kind kind, u64 len, u64 align, u64 off)
{
	struct space_block *b = pool_alloc();
	u64 at;

	if (!b)
		return 0;
	mutex_lock(&space.lock);
	at = find_place(kind, len, align, off);
	if (!at && own_reserve(kind, len + align))
		at = find_place(kind, len, align, off);
	if (at) {
		b->node.start = at;
		b->node.last = at + len - 1;
		b->live = len;
		b->gap = 0;
		b->kind = kind;
		interval_insert(&space.blocks, &b->node);
	}
	mutex_unlock(&space.lock);
	if (!at)
		pool_free(b);
	return at;
}

/* Where the free space before `at` begins, in its area and no further than `most` away. */
static u64 free_before(enum own_kind kind, u64 at, u64 most)
{
	u64 from = at;
	struct own_range r;

	for (u32 i = 0; own_next(kind, &i, &r);) {
		if (at < r.start || at >= r.end)
			continue;
		while (from > r.start && at - from < most &&
		       !interval_find(&space.blocks, from - PAGE_SIZE, from - 1))
			from -= PAGE_SIZE;
	}
	return from;
}

/*
 * At vm.max_map_count memory becomes accessible only where that is part of a mapping that is there, as of the
 * block below: so what alignment left free between the two becomes it as well, and is this block's.
 */
static int commit_gap(u64 at, u64 len, u64 align)
{
	struct space_block *b;
	int r = -ENOMEM;
	u64 from;

	mutex_lock(&space.lock);
	b = container_of(interval_find(&space.blocks, at, at), struct space_block, node);
	from = free_before(b->kind, at, align);
	if (from < at)
		r = own_commit((void *)from, at + len - from, PROT_READ | PROT_WRITE);
	if (!r) {
		interval_remove(&space.blocks, &b->node);
		b->node.start = from;
		b->gap = at - from;
		interval_insert(&space.blocks, &b->node);
	}
	mutex_unlock(&space.lock);
	return r;
}

void *space_alloc(u64 len, u64 align)
{
	u64 at = space_take(OWN_FIXED, len, align, 0);
	int r;

	if (!at)
		return NULL;
	r = own_commit((void *)at, len, PROT_READ | PROT_WRITE);
	if (r == -ENOMEM)
		r = commit_gap(at, len, align);
	if (!r)
		return (void *)at;
	space_give(at, at + len);
	return NULL;
}

/* ------------------------------------------------------------------ giving back; lock held */

/* Nothing is mapped there afterwards but what keeps others out. */
static void clear(u64 start, u64 end)
{
	if (own_blank(start, end))
		return;
	/* vm.max_map_count: then it is a hole, and nobody's. */
	own_carve(start, end);
	syscall(SYS_munmap, start, end - start);
}

/* The parts of [start, end) that the VMM has not taken. */
static void clear_ours(enum own_kind kind, u64 start, u64 end)
{
	struct own_range r;

	for (u32 i = 0; own_next(kind, &i, &r);) {
		u64 from = MAX(r.start, start), to = MIN(r.end, end);

		if (from < to)
			clear(from, to);
	}
}

/* The block that start lies in, when all of it was given back, to be freed when the lock is not held any more; or NULL. */
static struct space_block *give(u64 start, u64 end)
{
	struct interval *n = interval_find(&space.blocks, start, start);
	struct space_block *b = container_of(n, struct space_block, node);

	if (!n) { /* a parent's, in its child */
		clear_ours(OWN_IMAGE, start, end);
		return NULL;
	}
	assert(start >= b->node.start && end - 1 <= b->node.last && b->live >= end - start);
	clear_ours(b->kind, start, end);
	b->live -= end - start;
	if (b->live)
		return NULL;
	if (b->gap)
		clear_ours(b->kind, b->node.start, b->node.start + b->gap);
	interval_remove(&space.blocks, &b->node);
	return b;
}

/* Where the block ends that start lies in, but no further than `end`. */
static u64 block_end(u64 start, u64 end)
{
	struct interval *n = interval_find(&space.blocks, start, start);

	return n ? MIN(n->last + 1, end) : end;
}

void space_give(u64 start, u64 end)
{
	while (start < end) {
		struct space_block *b;
		u64 to;

		mutex_lock(&space.lock);
		to = block_end(start, end);
		b = give(start, to);
		mutex_unlock(&space.lock);
		pool_free(b);
		start = to;
	}
}

void space_empty(u64 start, u64 end)
{
	struct own_range r;

	mutex_lock(&space.lock);
	for (u32 i = 0; own_next(OWN_LOOSE, &i, &r);) {
		u64 from = MAX(r.start, start), to = MIN(r.end, end);

		/* Of large pages no part goes, and on Linux before 5.18 nothing: it goes when it is given. */
		if (from < to)
			syscall(SYS_madvise, from, to - from, MADV_DONTNEED);
	}
	mutex_unlock(&space.lock);
}

/* Is all of [start, end) still ours? */
static bool covered(u64 start, u64 end)
{
	struct own_range r;

	for (u32 i = 0; own_next(OWN_LOOSE, &i, &r);) {
		if (r.start <= start && r.end >= end)
			return true;
	}
	for (u32 i = 0; own_next(OWN_FIXED, &i, &r);) {
		if (r.start <= start && r.end >= end)
			return true;
	}
	return false;
}

int space_fill(u64 to, u64 len, int (*fn)(u64 to, void *arg), void *arg)
{
	struct space_block *b = NULL;
	int r = -EAGAIN;

	mutex_lock(&space.lock);
	if (covered(to, to + len))
		r = fn(to, arg);
	if (r)
		b = give(to, to + len);
	mutex_unlock(&space.lock);
	pool_free(b);
	return r;
}

int space_leave(u64 start, u64 end, struct own_range *part)
{
	bool found = false;
	int r = 0;

	mutex_lock(&space.lock);
	for (u32 i = 0; !found && own_next(OWN_LOOSE, &i, part);) {
		part->start = MAX(part->start, start);
		part->end = MIN(part->end, end);
		found = part->start < part->end;
	}
	if (found)
		r = own_carve(part->start, part->end) ? 1 : -ENOMEM;
	mutex_unlock(&space.lock);
	return r;
}

/* ------------------------------------------------------------------ fork */

void space_forked_child(void)
{
	own_forked_child();
	pool_forked_child();
	mutex_init(&space.lock);
	space.blocks = (struct interval_tree){NULL};
	memset(space.next, 0, sizeof(space.next));
}
