/* SPDX-License-Identifier: MIT */
#include "base/interval.h"

#include <assert.h>

/* splitmix64's finaliser: priorities need only look random to whoever chooses the keys. */
static u64 mix(u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static void update(struct interval *n)
{
	u64 m = n->last;

	if (n->left)
		m = MAX(m, n->left->max_last);
	if (n->right)
		m = MAX(m, n->right->max_last);
	n->max_last = m;
}

/* Total order: by start, then by address, so that equal starts can be told apart. */
static bool before(const struct interval *a, const struct interval *b)
{
	return a->start != b->start ? a->start < b->start : a < b;
}

/* Split t into what stands before `key` and the rest. */
static void split(struct interval *t, const struct interval *key, struct interval **l,
		  struct interval **r)
{
	if (!t) {
		*l = *r = NULL;
		return;
	}
	if (before(t, key)) {
		*l = t;
		split(t->right, key, &t->right, r);
	} else {
		*r = t;
		split(t->left, key, l, &t->left);
	}
	update(t);
}

static struct interval *merge(struct interval *l, struct interval *r)
{
	if (!l || !r)
		return l ? l : r;
	if (l->prio > r->prio) {
		l->right = merge(l->right, r);
		update(l);
		return l;
	}
	r->left = merge(l, r->left);
	update(r);
	return r;
}

static struct interval *insert(struct interval *t, struct interval *n)
{
	if (!t)
		return n;
	if (n->prio > t->prio) {
		split(t, n, &n->left, &n->right);
		update(n);
		return n;
	}
	if (before(n, t))
		t->left = insert(t->left, n);
	else
		t->right = insert(t->right, n);
	update(t);
	return t;
}

void interval_insert(struct interval_tree *t, struct interval *n)
{
	assert(n->start <= n->last);
	n->left = n->right = NULL;
	n->max_last = n->last;
	n->prio = mix(t->count++);
	t->root = insert(t->root, n);
}

static struct interval *remove_node(struct interval *t, struct interval *n)
{
	assert(t); /* the caller promised that n is here */
	if (t == n)
		return merge(n->left, n->right);
	if (before(n, t))
		t->left = remove_node(t->left, n);
	else
		t->right = remove_node(t->right, n);
	update(t);
	return t;
}

void interval_remove(struct interval_tree *t, struct interval *n)
{
	t->root = remove_node(t->root, n);
}

static bool each(struct interval *n, u64 start, u64 last,
		 bool (*fn)(struct interval *n, void *arg), void *arg)
{
	if (!n || n->max_last < start)
		return true;
	if (!each(n->left, start, last, fn, arg))
		return false;
	if (n->start > last)
		return true;
	if (n->last >= start && !fn(n, arg))
		return false;
	return each(n->right, start, last, fn, arg);
}

bool interval_each(const struct interval_tree *t, u64 start, u64 last,
		   bool (*fn)(struct interval *n, void *arg), void *arg)
{
	return each(t->root, start, last, fn, arg);
}

static bool take_first(struct interval *n, void *arg)
{
	*(struct interval **)arg = n;
	return false;
}

struct interval *interval_find(const struct interval_tree *t, u64 start, u64 last)
{
	struct interval *found = NULL;

	interval_each(t, start, last, take_first, &found);
	return found;
}

bool interval_gap(const struct interval_tree *t, u64 start, u64 last, u64 *gap_start,
		  u64 *gap_last)
{
	const struct interval *n;

	while (start <= last) {
		n = interval_find(t, start, last);
		if (!n || n->start > start) {
			*gap_start = start;
			*gap_last = n ? n->start - 1 : last;
			return true;
		}
		if (n->last >= last)
			return false;
		start = n->last + 1;
	}
	return false;
}
