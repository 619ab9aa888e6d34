/* SPDX-License-Identifier: MIT */
/*
 * What is mapped where, as far as guests have touched it: one piece per mapping, kept until a
 * change of it is seen. A piece covers every address that may have a live SPTE (a change takes out
 * just what changed), so that a change of a file finds its mappings here.
 *
 * Pieces are replaced under the lock. What the kernel said is good for one fault, whose own check of
 * invalidations decides, and for the next ones when no change began since before it was asked. When
 * one did, it is kept for changes of the file only, where nothing else is known.
 */
#include "primary/linux/internal.h"
#include "primary/linux/maps.h"

struct region_piece {
	struct interval node;
	struct region r;
};

static struct {
	struct rwlock lock;	     /* regions_lock */
	struct interval_tree pieces; /* do not overlap */
	struct interval_tree marked[REGION_MARKS]; /* do not overlap */
	u32 seen[REGION_MARKS];	     /* atomic: was one ever set? */
	u64 begun, ended;	     /* atomic: changes of mappings */
} cache;

__attribute__((constructor)) static void cache_init(void)
{
	rwlock_init(&cache.lock);
}

void regions_reset(void)
{
	memset(&cache, 0, sizeof(cache));
	rwlock_init(&cache.lock);
}

void regions_change_begin(void)
{
	sync_add(&cache.begun, 1);
}

void regions_change_end(void)
{
	sync_add(&cache.ended, 1);
}

u64 regions_epoch(void)
{
	/* One that is in progress will have moved `ended` when it is over: ask for its end. */
	return sync_load_acquire(&cache.ended);
}

bool regions_unchanged(u64 epoch)
{
	return sync_load_acquire(&cache.begun) == epoch;
}

/* ------------------------------------------------------------------ pieces, lock held for write */

static void piece_put(struct interval_tree *t, const struct region *r)
{
	struct region_piece *p = pool_alloc();

	if (!p)
		return;
	p->r = *r;
	p->node.start = r->start;
	p->node.last = r->end - 1;
	interval_insert(t, &p->node);
}

/* The parts of r where there is no piece. */
static void put_in_gaps(struct interval_tree *t, const struct region *r)
{
	struct region part = *r;
	u64 at = r->start, last;

	part.doubtful = true;
	for (; interval_gap(t, at, r->end - 1, &part.start, &last); at = last + 1) {
		part.end = last + 1;
		part.off = r->off + (part.start - r->start);
		piece_put(t, &part);
	}
}

/* Take [start, end) out of the tree, keeping what pieces have on either side of it. */
static void cut(struct interval_tree *t, hva_t start, hva_t end)
{
	struct interval *n;

	while ((n = interval_find(t, start, end - 1))) {
		struct region_piece *p = container_of(n, struct region_piece, node);
		struct region left = p->r, right = p->r;

		interval_remove(t, n);
		pool_free(p);
		left.end = start;
		right.start = end;
		right.off += end - left.start;
		/* Out of memory here forgets more than it must: it will be asked for again. */
		if (left.start < left.end)
			piece_put(t, &left);
		if (right.start < right.end)
			piece_put(t, &right);
	}
}

void regions_forget(hva_t start, hva_t end)
{
	rwlock_write_lock(&cache.lock);
	cut(&cache.pieces, start, end);
	rwlock_write_unlock(&cache.lock);
}

void regions_mark(enum region_mark mark, hva_t start, hva_t end, bool on)
{
	struct region r = {.start = start, .end = end};

	if (!on && !sync_load(&cache.seen[mark]))
		return;
	rwlock_write_lock(&cache.lock);
	cut(&cache.marked[mark], start, end);
	if (on) {
		sync_store(&cache.seen[mark], 1);
		piece_put(&cache.marked[mark], &r);
	}
	rwlock_write_unlock(&cache.lock);
}

bool regions_marked(enum region_mark mark, hva_t start, hva_t end)
{
	bool any;

	if (!sync_load(&cache.seen[mark]))
		return false;
	rwlock_read_lock(&cache.lock);
	any = interval_find(&cache.marked[mark], start, end - 1);
	rwlock_read_unlock(&cache.lock);
	return any;
}

struct marked {
	hva_t start, end;
	void (*fn)(hva_t start, hva_t end, void *arg);
	void *arg;
};

static bool visit_marked(struct interval *n, void *arg)
{
	const struct marked *k = arg;

	k->fn(MAX(n->start, k->start), MIN(n->last + 1, k->end), k->arg);
	return true;
}

void regions_each_marked(enum region_mark mark, hva_t start, hva_t end,
			 void (*fn)(hva_t start, hva_t end, void *arg), void *arg)
{
	struct marked k = {start, end, fn, arg};

	rwlock_read_lock(&cache.lock);
	interval_each(&cache.marked[mark], start, end - 1, visit_marked, &k);
	rwlock_read_unlock(&cache.lock);
}

void regions_set_fixed(hva_t hva)
{
	struct interval *n;

	rwlock_write_lock(&cache.lock);
	n = interval_find(&cache.pieces, hva, hva);
	if (n)
		container_of(n, struct region_piece, node)->r.fixed = true;
	rwlock_write_unlock(&cache.lock);
}

bool regions_uffd_seen(void)
{
	return sync_load(&cache.seen[REGION_UFFD]);
}

/* ------------------------------------------------------------------ lookup */

/* Lock held. A mapping partly marked counts as wholly so: it makes no difference to what the guest
 * sees. */
static void look_at_marks(struct region *r)
{
	r->uffd = interval_find(&cache.marked[REGION_UFFD], r->start, r->end - 1);
	r->guarded = interval_find(&cache.marked[REGION_GUARD], r->start, r->end - 1);
}

static bool lookup(hva_t hva, struct region *out)
{
	struct interval *n = interval_find(&cache.pieces, hva, hva);

	if (!n || container_of(n, struct region_piece, node)->r.doubtful)
		return false;
	*out = container_of(n, struct region_piece, node)->r;
	out->fresh = false;
	look_at_marks(out);
	return true;
}

/* The kernel makes one of mappings that are alike and touch, be one of them ours. */
static void clip(hva_t hva, struct region *r)
{
	hva_t start = r->start;

	own_clip(hva, &r->start, &r->end);
	r->off += r->start - start;
}

int regions_find(hva_t hva, struct region *out, u64 *epoch)
{
	bool found;

	*epoch = regions_epoch();
	rwlock_read_lock(&cache.lock);
	found = lookup(hva, out);
	rwlock_read_unlock(&cache.lock);
	return found ? 0 : regions_ask(hva, out, epoch);
}

int regions_ask(hva_t hva, struct region *out, u64 *epoch)
{
	int r;

	*epoch = regions_epoch();
	r = maps_query(hva, out);
	if (r)
		return r;
	clip(hva, out);
	out->fresh = true;
	rwlock_write_lock(&cache.lock);
	look_at_marks(out);
	if (regions_unchanged(*epoch)) {
		cut(&cache.pieces, out->start, out->end);
		piece_put(&cache.pieces, out);
	} else {
		put_in_gaps(&cache.pieces, out);
	}
	rwlock_write_unlock(&cache.lock);
	return 0;
}

struct of_file {
	u64 ino;
	void (*fn)(const struct region *r, void *arg);
	void *arg;
};

static bool visit_file(struct interval *n, void *arg)
{
	const struct region *r = &container_of(n, struct region_piece, node)->r;
	struct of_file *f = arg;

	if (r->ino == f->ino)
		f->fn(r, f->arg);
	return true;
}

void regions_each_of_file(u64 ino, hva_t start, hva_t end,
			  void (*fn)(const struct region *r, void *arg), void *arg)
{
	struct of_file f = {ino, fn, arg};

	rwlock_read_lock(&cache.lock);
	interval_each(&cache.pieces, start, end - 1, visit_file, &f);
	rwlock_read_unlock(&cache.lock);
}
