/* SPDX-License-Identifier: MIT */
/* Changes of the VMM's mappings: unmapped, replaced, moved, resized, protected. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "changes.h"

/* A private area's pages go back to what they were made of; others keep what they have. */
static bool keeps_content(const struct area *a)
{
	return a->fd >= 0 && area_is_shared(a);
}

void unmap_then_map(struct change *c)
{
	bool keeps = keeps_content(c->a);

	if (!keeps)
		content_begin(c);
	away_begin(c);
	call_munmap(change_addr(c), c->n * PAGE);
	gone_begin(c, true);
	change_pause(c);
	gone_end(c);
	area_map(c->a, c->first, c->n);
	if (!keeps)
		content_fresh(c);
	away_end(c);
	if (!keeps)
		content_end(c);
}

/* Never away: the kernel replaces one mapping by the other at once. */
void map_over(struct change *c)
{
	struct area *a = c->a;
	bool moves = a->fd >= 0 && a->backing != PERF && changer_pick(c->by, 3);

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

/*
 * Since Linux 6.17 mremap() moves several mappings, and one under a userfaultfd, which a library in
 * between may have registered, ends it halfway: what has moved comes back page by page.
 */
static void move_half_back(struct change *c, u8 *at, u8 *park)
{
	unsigned char in;

	for (u64 off = 0; off < c->n * PAGE; off += PAGE) {
		if (!mincore(at + off, PAGE, &in) || errno != ENOMEM)
			continue;
		MUST(call_mremap(park + off, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at + off) ==
			     (long)(at + off),
		     "mremap back: %s", strerror(errno));
		call_mmap(park + off, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			  0);
	}
}

void move_away_then_back(struct change *c)
{
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED;
	u8 *at = change_addr(c), *park = c->a->park + c->first * PAGE;
	long r;

	away_begin(c);
	r = call_mremap(at, c->n * PAGE, c->n * PAGE, flags, park);
	if (r != -1) {
		gone_begin(c, true);
		change_pause(c);
		gone_end(c);
		MUST(call_mremap(park, c->n * PAGE, c->n * PAGE, flags, at) == (long)at,
		     "mremap back: %s", strerror(errno));
		call_mmap(park, c->n * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			  -1, 0);
	} else {
		move_half_back(c, at, park);
	}
	away_end(c);
}

/* The second half goes, and comes back by growth. */
void shrink_then_grow(struct change *c)
{
	struct change half = *c;
	u64 keep = c->n / 2 * PAGE, len = c->n * PAGE;
	u8 *at = change_addr(c);

	/* Growth continues one mapping; a file's must be one from its first page to its last.
	 */
	for (u32 p = c->first + 1; c->a->fd >= 0 && p < c->first + c->n; p++)
		if (c->a->off[p] != c->a->off[p - 1] + 1)
			return;
	if (!keep)
		return;
	half.first += c->n / 2;
	half.n -= c->n / 2;
	content_begin(&half);
	away_begin(&half);
	MUST(call_mremap(at, len, keep, 0, NULL) == (long)at, "mremap smaller: %s",
	     strerror(errno));
	gone_begin(&half, true);
	change_pause(c);
	gone_end(&half);
	/* What grows must be one mapping, which changes before may have made two of. */
	if (call_mremap(at, keep, len, 0, NULL) != (long)at)
		area_map(c->a, half.first, half.n);
	content_fresh(&half);
	away_end(&half);
	content_end(&half);
}

void move_leaving_zeroes(struct change *c)
{
	u8 *park = c->a->park + c->first * PAGE;
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

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

void protect_then_allow(struct change *c)
{
	static const int prots[] = {PROT_NONE, PROT_READ};
	int prot = prots[changer_pick(c->by, 2)];

	away_begin(c);
	call_mprotect(change_addr(c), c->n * PAGE, prot);
	if (prot == PROT_NONE)
		gone_begin(c, false);
	change_pause(c);
	gone_end(c);
	call_mprotect(change_addr(c), c->n * PAGE, c->a->prot);
	away_end(c);
}
