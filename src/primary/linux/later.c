/* SPDX-License-Identifier: MIT */
/*
 * Windows that are out of every book and still mapped: an event of the kernel's named what they showed. To
 * unmap one takes several times as long as all else that the caller of munmap() waits for. So it is
 * put off until no event came for a while, and then done by pieces: who comes meanwhile waits for one piece, for
 * the helper as well as for mmap_lock. A VMM that never pauses gets a while, too, and pays after that: one piece
 * for each event, until nothing is left.
 *
 * The notifier's helper alone calls this.
 */
#include "primary/linux/internal.h"

#define QUIET_NS  1000000  /* after the last that came */
#define LATEST_NS 20000000 /* after the first */
/* Emptied at a time: some tens of microseconds where it is of small pages. */
#define PIECE (512ULL << 10)

struct leaving {
	struct interval node; /* where it lies */
	u64 full_from;	      /* what lies before has no page any more */
};

static struct {
	struct interval_tree ranges; /* that do not overlap */
	u64 due, latest;	     /* if there are any */
} later;

static struct leaving *find(u64 start, u64 last)
{
	struct interval *n = interval_find(&later.ranges, start, last);

	return n ? container_of(n, struct leaving, node) : NULL;
}

void later_unmap(u64 start, u64 end)
{
	struct leaving *l = find(start - 1, start - 1);
	u64 now = sync_now_ns();

	if (!later_any())
		later.latest = now + LATEST_NS;
	later.due = MIN(now + QUIET_NS, later.latest);
	if (l) {
		interval_remove(&later.ranges, &l->node);
	} else {
		l = pool_alloc();
		if (!l) {
			space_give(start, end);
			return;
		}
		l->node.start = l->full_from = start;
	}
	l->node.last = end - 1;
	interval_insert(&later.ranges, &l->node);
}

bool later_any(void)
{
	return later.ranges.root;
}

u64 later_due(void)
{
	return later.due;
}

void later_unmap_piece(void)
{
	struct leaving *l = find(0, ~0ULL);
	u64 end = l->node.last + 1;

	if (end - l->full_from > PIECE) {
		space_empty(l->full_from, l->full_from + PIECE);
		l->full_from += PIECE;
		return;
	}
	interval_remove(&later.ranges, &l->node);
	space_give(l->node.start, end);
	pool_free(l);
}

void later_forked_child(void)
{
	later.ranges = (struct interval_tree){NULL}; /* no window is inherited */
}
