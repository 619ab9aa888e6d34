/* SPDX-License-Identifier: MIT */
/* Which VMs have memslots where in this process. */
#include <sys/syscall.h>
#include <unistd.h>
#include "base/heap.h"
#include "primary/linux/internal.h"
#include "primary/linux/maps.h"
#include "primary/linux/notifier.h"

static struct {
	struct rwlock lock;	    /* registry_lock */
	struct primary_linux *list; /* guarded by lock */
	u32 nr_ranges;		    /* atomic: a look without the lock */
	int pid;		    /* of the process whose memory this is; atomic */
} registry;

__attribute__((constructor)) static void registry_init(void)
{
	rwlock_init(&registry.lock);
}

bool registry_ours(void)
{
	int pid = sync_load(&registry.pid);

	return !pid || pid == (int)syscall(SYS_getpid);
}

bool registry_empty(void)
{
	return !sync_load(&registry.nr_ranges) || !registry_ours();
}

void registry_add(struct primary_linux *p)
{
	int pid = (int)syscall(SYS_getpid);

	if (registry.pid && registry.pid != pid) {
		/* A forked child makes a VM: the parent's are not here, its locks may be. */
		rwlock_init(&registry.lock);
		registry.list = NULL;
		registry.nr_ranges = 0;
		regions_reset();
		heap_forked_child();
		maps_forked_child();
		notifier_forked_child();
	}
	sync_store(&registry.pid, pid);
	rwlock_write_lock(&registry.lock);
	p->next = registry.list;
	registry.list = p;
	rwlock_write_unlock(&registry.lock);
}

bool registry_any(void)
{
	bool any;

	rwlock_read_lock(&registry.lock);
	any = registry.list;
	rwlock_read_unlock(&registry.lock);
	return any;
}

void registry_remove(struct primary_linux *p)
{
	struct primary_linux **q;

	rwlock_write_lock(&registry.lock);
	for (q = &registry.list; *q != p; q = &(*q)->next)
		;
	*q = p->next;
	rwlock_write_unlock(&registry.lock);
}

/* ------------------------------------------------------------------ ranges */

/* A memslot: in its VM's tree, and where no area of ours may come to lie. */
struct range {
	struct interval node, slot;
};

int registry_range_add(struct primary_linux *p, hva_t start, u64 len)
{
	struct range *r = pool_alloc();

	if (!r)
		return -ENOMEM;
	r->node.start = r->slot.start = start;
	r->node.last = r->slot.last = start + len - 1;
	own_slot_insert(&r->slot);
	rwlock_write_lock(&registry.lock);
	interval_insert(&p->ranges, &r->node);
	sync_add(&registry.nr_ranges, 1);
	rwlock_write_unlock(&registry.lock);
	return 0;
}

struct find_exact {
	hva_t start, last;
	struct interval *found;
};

static bool match_exact(struct interval *n, void *arg)
{
	struct find_exact *f = arg;

	if (n->start != f->start || n->last != f->last)
		return true;
	f->found = n;
	return false;
}

/* The first part of [start, last] that no memslot of any VM covers; false: none. */
static bool gap_of_all(hva_t start, hva_t last, hva_t *from, hva_t *to)
{
	struct primary_linux *p = registry.list;

	*from = start;
	*to = last;
	while (p) {
		hva_t first, end;

		if (!interval_gap(&p->ranges, *from, last, &first, &end))
			return false;
		/* Where one moves it on, the others are asked again. */
		*to = MIN(first > *from ? last : *to, end);
		p = first > *from ? registry.list : p->next;
		*from = first;
	}
	return true;
}

/*
 * Windows of what no other memslot of p covers go; and of what none of any VM does the kernel need not
 * tell. registry_lock held for read.
 */
static void drop_uncovered(struct primary_linux *p, hva_t start, hva_t end)
{
	hva_t at, from, last;

	for (at = start; interval_gap(&p->ranges, at, end - 1, &from, &last); at = last + 1)
		windows_drop(p, from, last + 1);
	for (at = start; gap_of_all(at, end - 1, &from, &last); at = last + 1)
		notifier_unwatch(from, last + 1);
}

void registry_range_remove(struct primary_linux *p, hva_t start, u64 len)
{
	struct find_exact f = {start, start + len - 1, NULL};

	rwlock_write_lock(&registry.lock);
	interval_each(&p->ranges, start, start, match_exact, &f);
	assert(f.found);
	interval_remove(&p->ranges, f.found);
	sync_sub(&registry.nr_ranges, 1);
	rwlock_write_unlock(&registry.lock);
	own_slot_remove(&container_of(f.found, struct range, node)->slot);
	pool_free(container_of(f.found, struct range, node));

	rwlock_read_lock(&registry.lock);
	drop_uncovered(p, start, start + len);
	rwlock_read_unlock(&registry.lock);
}

bool registry_clip(struct primary_linux *p, hva_t hva, hva_t *start, hva_t *end)
{
	struct interval *n;

	rwlock_read_lock(&registry.lock);
	n = interval_find(&p->ranges, hva, hva);
	if (!n) {
		rwlock_read_unlock(&registry.lock);
		return false;
	}
	*start = MAX(*start, n->start);
	*end = MIN(*end, n->last + 1);
	return true;
}

void registry_unlock(void)
{
	rwlock_read_unlock(&registry.lock);
}

bool registry_has(struct primary_linux *p, hva_t hva)
{
	bool any;

	rwlock_read_lock(&registry.lock);
	any = interval_find(&p->ranges, hva, hva);
	rwlock_read_unlock(&registry.lock);
	return any;
}

void registry_each(hva_t start, hva_t last, void (*fn)(struct primary_linux *p, void *arg),
		   void *arg)
{
	rwlock_read_lock(&registry.lock);
	for (struct primary_linux *p = registry.list; p; p = p->next) {
		if (interval_find(&p->ranges, start, last))
			fn(p, arg);
	}
	rwlock_read_unlock(&registry.lock);
}

struct ranges_arg {
	void (*fn)(hva_t start, hva_t end, void *arg);
	void *arg;
};

static bool visit_range(struct interval *n, void *arg)
{
	struct ranges_arg *a = arg;

	a->fn(n->start, n->last + 1, a->arg);
	return true;
}

void registry_each_range(struct primary_linux *p, void (*fn)(hva_t start, hva_t end, void *arg),
			 void *arg)
{
	struct ranges_arg a = {fn, arg};

	interval_each(&p->ranges, 0, ~0ULL, visit_range, &a);
}
