/* SPDX-License-Identifier: MIT */
/*
 * base/interval.h: a set of closed intervals [start, last] that may overlap, found by overlap in
 * O(log n + matches). Nodes are embedded in what they describe; a treap whose priorities are a
 * hash of the insertion count, with the largest `last` of each subtree kept beside it.
 *
 * No lock inside: the owner's lock guards every call. Nothing allocates.
 */
#ifndef BASE_INTERVAL_H
#define BASE_INTERVAL_H

#include "base/types.h"

struct interval {
	u64 start, last; /* set by the owner before interval_insert() */
	u64 max_last;
	u64 prio;
	struct interval *left, *right;
};

struct interval_tree {
	struct interval *root;
	u64 count; /* insertions so far */
};

void interval_insert(struct interval_tree *t, struct interval *n);
/* `n` must be in the tree. */
void interval_remove(struct interval_tree *t, struct interval *n);

/*
 * Call fn for every interval that overlaps [start, last], by ascending start, until it returns
 * false. fn does not change the tree. False when fn ended the walk.
 */
bool interval_each(const struct interval_tree *t, u64 start, u64 last,
		   bool (*fn)(struct interval *n, void *arg), void *arg);

/* The overlapping interval with the smallest start, or NULL. */
struct interval *interval_find(const struct interval_tree *t, u64 start, u64 last);
/* The first part of [start, last] that no interval overlaps; false when there is none, or start > last. */
bool interval_gap(const struct interval_tree *t, u64 start, u64 last, u64 *gap_start,
		  u64 *gap_last);

#endif
