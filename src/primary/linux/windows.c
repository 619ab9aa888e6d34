/* SPDX-License-Identifier: MIT */
/*
 * Windows: a second mapping of shared memory, at addresses the VMM was never told, so that its
 * calls do not touch it. What a guest reaches there is what it was given, until a zap: as with
 * KVM, and unlike a direct frame, a zap that is forgotten shows.
 *
 * mremap() of a shared mapping with old size 0 duplicates it, without its descriptor. One window
 * per mapping and memslot, not per page: vm.max_map_count bounds the number of mappings. It is
 * placed (base/space.h) congruent to the hva modulo 1 GiB or 2 MiB where it is as long, so that the host
 * can use huge pages too.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "primary/linux/internal.h"
#include "primary/linux/maps.h"
#include "primary/linux/notifier.h"

/* Of what mapping a window is the second. */
struct source {
	dev_t dev;
	u64 ino, off; /* off: in the file, minus the hva */
	bool readable, writable;
};

struct window {
	struct interval node; /* by hva */
	u64 delta;	      /* window address minus hva */
	struct source of;
};

static u32 nr_windows; /* atomic */

/* ------------------------------------------------------------------ the kernel's side */

struct duplicate {
	hva_t start;
	u64 len;
};

static int duplicate_to(u64 to, void *arg)
{
	const struct duplicate *d = arg;

	/* -EAGAIN would be RLIMIT_MEMLOCK's: the duplicate of what is locked would be locked, too. */
	if (syscall(SYS_mremap, d->start, 0L, d->len, MREMAP_MAYMOVE | MREMAP_FIXED, to) == -1)
		return errno == EAGAIN ? -ENOMEM : -errno;
	/* The pages are locked by the VMM's mapping. A child has no guest, and a core file has that. */
	syscall(SYS_munlock, to, d->len);
	syscall(SYS_madvise, to, d->len, MADV_DONTFORK);
	syscall(SYS_madvise, to, d->len, MADV_DONTDUMP);
	return 0;
}

/* Duplicate [start, end). 0 with *delta set, or -errno. */
static int duplicate(hva_t start, hva_t end, u64 *delta)
{
	u64 len = end - start;
	u64 align = len >= LEVEL_SIZE(LEVEL_1G)	  ? LEVEL_SIZE(LEVEL_1G)
		    : len >= LEVEL_SIZE(LEVEL_2M) ? LEVEL_SIZE(LEVEL_2M)
						  : PAGE_SIZE;
	u64 to = space_take(OWN_LOOSE, len, align, start & (align - 1));
	struct duplicate d = {start, len};
	int err;

	if (!to)
		return -ENOMEM;
	err = space_fill(to, len, duplicate_to, &d);
	*delta = to - start;
	return err;
}

/* ------------------------------------------------------------------ ours */

static struct window *find(struct primary_linux *p, hva_t start, hva_t last)
{
	struct interval *n = interval_find(&p->windows, start, last);

	return n ? container_of(n, struct window, node) : NULL;
}

bool windows_find(struct primary_linux *p, hva_t hva, struct window_piece *out)
{
	struct window *w;

	rwlock_read_lock(&p->windows_lock);
	w = find(p, hva, hva);
	if (w)
		*out = (struct window_piece){w->node.start, w->node.last + 1, w->delta};
	rwlock_read_unlock(&p->windows_lock);
	return w;
}

bool windows_overlap(struct primary_linux *p, hva_t start, hva_t end)
{
	bool any;

	rwlock_read_lock(&p->windows_lock);
	any = find(p, start, end - 1);
	rwlock_read_unlock(&p->windows_lock);
	return any;
}

struct find_at {
	u64 at, end;
	const struct window *found;
};

static bool lies_at(struct interval *n, void *arg)
{
	const struct window *w = container_of(n, struct window, node);
	struct find_at *f = arg;

	if (n->start + w->delta >= f->end || n->last + w->delta < f->at)
		return true;
	f->found = w;
	return false;
}

bool windows_at(struct primary_linux *p, u64 at, u64 end, struct window_piece *out)
{
	struct find_at f = {at, end, NULL};

	rwlock_read_lock(&p->windows_lock);
	interval_each(&p->windows, 0, ~0ULL, lies_at, &f);
	if (f.found)
		*out = (struct window_piece){f.found->node.start, f.found->node.last + 1,
					     f.found->delta};
	rwlock_read_unlock(&p->windows_lock);
	return f.found;
}

/* windows_lock held for write. Out of memory loses the piece from our books only: it stays
 * mapped until the process ends, and nobody is led there. */
static void put(struct primary_linux *p, hva_t start, hva_t end, u64 delta, const struct source *of)
{
	struct window *w = start < end ? pool_alloc() : NULL;

	if (!w)
		return;
	w->node.start = start;
	w->node.last = end - 1;
	w->delta = delta;
	w->of = *of;
	interval_insert(&p->windows, &w->node);
	sync_add(&nr_windows, 1);
}

/* The parts of [start, end) that no window covers yet become windows, the rest is unmapped. */
static void fill_gaps(struct primary_linux *p, hva_t start, hva_t end, u64 delta,
		      const struct source *of)
{
	while (start < end) {
		struct window *w = find(p, start, end - 1);
		hva_t gap_end = w ? MAX(w->node.start, start) : end;
		hva_t next = w ? MIN(w->node.last + 1, end) : end;

		put(p, start, gap_end, delta, of);
		space_give(gap_end + delta, next + delta);
		start = next;
	}
}

static bool is_part(const struct source *of, const struct region *r)
{
	return r->shared && r->ino == of->ino && r->dev == of->dev && r->off - r->start == of->off &&
	       r->writable == of->writable && r->readable == of->readable;
}

/* Of what maps_next() says: what is mapped at `at`, or that nothing is up to the next mapping. 0 or -errno. */
static int mapped_or_not(int err, hva_t at, struct region *out)
{
	if (!err && out->start > at)
		*out = (struct region){.start = at, .end = out->start};
	if (err == -EFAULT)
		*out = (struct region){.start = at, .end = ~0ULL};
	return err == -EFAULT ? 0 : err;
}

/* -errno: the kernel does not say. */
static int mapped_at(hva_t at, struct region *out)
{
	return mapped_or_not(maps_next(at, out), at, out);
}

/*
 * The first part of [start, end) where no mapping shows what the one that `of` says did, or not as it did; false:
 * there is none. Where the kernel does not say, the part is all that is left. What is at `start` may have been asked
 * already.
 */
static bool differs(const struct source *of, hva_t start, hva_t end, const struct maps_question *asked,
		    struct own_range *part)
{
	struct region now;

	for (hva_t at = start; at < end; at = now.end) {
		*part = (struct own_range){at, end};
		if (asked && at == start)
			now = asked->region;
		if (asked && at == start ? mapped_or_not(asked->err, at, &now) : mapped_at(at, &now))
			return true;
		part->end = MIN(now.end, end);
		if (!is_part(of, &now))
			return true;
	}
	return false;
}

/* Do all mappings of [start, end) show it, and as it did? */
static bool shows(const struct source *of, hva_t start, hva_t end)
{
	struct own_range part;

	return !differs(of, start, end, NULL, &part);
}

/*
 * May the VMM write to what this duplicate shows, if it likes? Before Linux 6.7 files cannot be registered with a
 * userfaultfd, and so it does not say.
 */
static bool may_write(hva_t start, hva_t end, const struct source *of)
{
	int is = of->readable ? PROT_READ : PROT_NONE;

	if (of->writable)
		return true;
	if (syscall(SYS_mprotect, start, end - start, PROT_READ | PROT_WRITE))
		return errno != EACCES;
	syscall(SYS_mprotect, start, end - start, is);
	return true;
}

/*
 * Keep of a duplicate of [from, to) what is p's to see, unless the mappings changed meanwhile: first
 * the kernel is asked to tell of changes that nobody else tells of, then whether one came before. 0;
 * -EAGAIN; -EBUSY: it is under somebody's userfaultfd; -EPERM: the VMM may not write there, and so no
 * userfaultfd may be put there.
 */
static int adopt(struct primary_linux *p, hva_t hva, hva_t from, hva_t to, u64 delta,
		 const struct source *of, u64 epoch)
{
	hva_t start = from, end = to;
	int err = -EAGAIN;

	if (!registry_clip(p, hva, &start, &end))
		return err;
	rwlock_write_lock(&p->windows_lock);
	if (regions_unchanged(epoch))
		err = notifier_watch(start, end);
	if (err == -EINVAL && !may_write(start + delta, end + delta, of))
		err = -EPERM;
	if (err != -EBUSY && err != -EPERM && err != -EAGAIN)
		err = 0; /* nobody tells: it is looked at again */
	if (!err && !shows(of, start, end))
		err = -EAGAIN;
	if (!err) {
		space_give(from + delta, start + delta);
		fill_gaps(p, start, end, delta, of);
		space_give(end + delta, to + delta);
	}
	rwlock_write_unlock(&p->windows_lock);
	registry_unlock();
	return err;
}

int windows_make(struct primary_linux *p, const struct region *r, hva_t hva, u64 epoch)
{
	struct source of = {r->dev, r->ino, r->off - r->start, r->readable, r->writable};
	hva_t start = r->start, end = r->end;
	u64 delta = 0;
	int err;

	if (!registry_clip(p, hva, &start, &end))
		return -EAGAIN;
	registry_unlock();
	/* A change nobody told us of must not show a guest more of a file than the VMM maps. */
	if (!r->fresh && !shows(&of, start, end)) {
		regions_forget(r->start, r->end);
		return -EAGAIN;
	}
	err = duplicate(start, end, &delta);
	if (err)
		return err;
	/*
	 * A change that has begun takes windows away before it changes anything; one made across
	 * its begin may show what was there before, so it is not kept. The same for a memslot
	 * that has gone: who removes it drops its windows afterwards.
	 */
	err = adopt(p, hva, start, end, delta, &of, epoch);
	if (!err)
		return 0;
	space_give(start + delta, end + delta);
	/* Registered where we did not see it: before we were there, or by a raw call. */
	if (err == -EBUSY)
		regions_mark(REGION_UFFD, r->start, r->end, true);
	return err == -EPERM ? err : -EAGAIN;
}

/* Of [start, end), where `of` was mapped, what is something else becomes the VMM's. True: all is as it was. */
static bool leave_what_is_lost(const struct source *of, hva_t start, hva_t end)
{
	struct own_range part;
	bool kept = true;
	struct region now;

	for (hva_t at = start; at < end && !mapped_at(at, &now); at = now.end) {
		if (is_part(of, &now))
			continue;
		kept = false;
		while (space_leave(at, MIN(now.end, end), &part) > 0)
			;
	}
	return kept;
}

/* A window that is looked at, and what the kernel says of where its mapping begins and where it does itself. */
struct looked_at {
	hva_t start, end;
	u64 delta;
	struct source of;
	struct maps_question mapping, window;
};

/* So many windows are asked about at a time. */
#define LOOK_TOGETHER 16

/*
 * Is it where it was put? A window that goes leaves the books first, and its place may be the next one's
 * before it is looked at: what is there is the VMM's doing only if the window is still in the books.
 */
static bool in_place(struct primary_linux *p, const struct looked_at *l)
{
	hva_t start = l->start + l->delta, end = l->end + l->delta;
	struct source at_window = l->of;
	struct own_range part;
	const struct window *now;
	bool kept = true;

	at_window.off -= l->delta;
	if (!differs(&at_window, start, end, &l->window, &part))
		return true;
	rwlock_read_lock(&p->windows_lock);
	now = find(p, l->start, l->start);
	if (now && now->delta == l->delta && now->node.start == l->start && now->node.last + 1 == l->end)
		kept = leave_what_is_lost(&at_window, start, end);
	rwlock_read_unlock(&p->windows_lock);
	return kept;
}

static void look_at_window(struct primary_linux *p, const struct looked_at *l, windows_stale_fn *stale, void *arg)
{
	const struct maps_question *asked = &l->mapping;
	struct own_range part = {l->start, l->start};

	if (!in_place(p, l)) {
		stale(l->start, l->end, arg);
		return;
	}
	while (differs(&l->of, part.end, l->end, asked, &part)) {
		stale(part.start, part.end, arg);
		asked = NULL;
	}
}

static bool from_here(struct interval *n, void *arg)
{
	*(struct interval **)arg = n;
	return false;
}

/* The first window that ends after `from`, in *out; false: none. */
static bool next_window(struct primary_linux *p, hva_t from, struct looked_at *out)
{
	struct interval *n = NULL;

	rwlock_read_lock(&p->windows_lock);
	interval_each(&p->windows, from, ~0ULL, from_here, &n);
	if (n) {
		const struct window *w = container_of(n, struct window, node);

		*out = (struct looked_at){.start = n->start, .end = n->last + 1, .delta = w->delta, .of = w->of};
	}
	rwlock_read_unlock(&p->windows_lock);
	return n;
}

static void put_question(struct maps_question **q, u32 n, struct maps_question *new, hva_t at)
{
	new->at = at;
	for (; n && q[n - 1]->at > at; n--)
		q[n] = q[n - 1];
	q[n] = new;
}

static void ask_about(struct looked_at *l, u32 n)
{
	struct maps_question *q[2 * LOOK_TOGETHER];

	for (u32 i = 0; i < n; i++) {
		put_question(q, 2 * i, &l[i].mapping, l[i].start);
		put_question(q, 2 * i + 1, &l[i].window, l[i].start + l[i].delta);
	}
	maps_next_of(q, 2 * n);
}

void windows_look(struct primary_linux *p, hva_t *from, u32 n, windows_stale_fn *stale, void *arg)
{
	struct looked_at l[LOOK_TOGETHER];

	while (n) {
		u32 most = MIN(n, LOOK_TOGETHER), have = 0;

		for (; have < most && next_window(p, *from, &l[have]); have++)
			*from = l[have].end;
		n -= have;
		ask_about(l, have);
		for (u32 i = 0; i < have; i++)
			look_at_window(p, &l[i], stale, arg);
		if (have < most) {
			*from = 0;
			return;
		}
	}
}

bool windows_any(void)
{
	return sync_load(&nr_windows);
}

/* Take what the next window has of [start, end) out of the books; where it lies is *at. False: there is none. */
static bool take(struct primary_linux *p, hva_t start, hva_t end, struct own_range *at)
{
	struct window *w;

	rwlock_write_lock(&p->windows_lock);
	w = find(p, start, end - 1);
	if (w) {
		hva_t s = w->node.start, e = w->node.last + 1;

		interval_remove(&p->windows, &w->node);
		sync_sub(&nr_windows, 1);
		put(p, s, MIN(start, e), w->delta, &w->of);
		put(p, MAX(end, s), e, w->delta, &w->of);
		*at = (struct own_range){MAX(s, start) + w->delta, MIN(e, end) + w->delta};
	}
	rwlock_write_unlock(&p->windows_lock);
	pool_free(w);
	return w;
}

/* ------------------------------------------------------------------ dropping */

/*
 * No new ones are made of [start, end) meanwhile: a change is under way there, or no memslot shows it. So
 * the lock need not be held over all of it: a fault elsewhere waits for one window at most.
 */
void windows_drop(struct primary_linux *p, hva_t start, hva_t end)
{
	struct own_range at;

	while (take(p, start, end, &at))
		space_give(at.start, at.end);
}

void windows_drop_first(struct primary_linux *p, hva_t start, hva_t end)
{
	struct own_range at;

	while (take(p, start, end, &at))
		later_unmap(at.start, at.end);
}
