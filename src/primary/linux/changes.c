/* SPDX-License-Identifier: MIT */
/*
 * Which VMs have memory where, and what the preload says before and after the VMM changes its
 * mappings.
 */
#include <stdlib.h>
#include "primary/linux/internal.h"

static struct {
	struct rwlock lock;	    /* registry_lock */
	struct primary_linux *list; /* guarded by lock */
	u32 nr_ranges;		    /* atomic: a look without the lock */
} registry;

__attribute__((constructor)) static void registry_init(void)
{
	rwlock_init(&registry.lock);
}

void registry_add(struct primary_linux *p)
{
	rwlock_write_lock(&registry.lock);
	p->next = registry.list;
	registry.list = p;
	rwlock_write_unlock(&registry.lock);
}

void registry_remove(struct primary_linux *p)
{
	struct primary_linux **q;

	rwlock_write_lock(&registry.lock);
	for (q = &registry.list; *q != p; q = &(*q)->next)
		;
	*q = p->next;
	rwlock_write_unlock(&registry.lock);
	/* A begin that found p before is short once the VM's last reference is gone. */
	while (sync_load_acquire(&p->busy))
		sync_relax();
}

int registry_range_add(struct primary_linux *p, hva_t start, u64 len)
{
	struct range *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->node.start = start;
	r->node.last = start + len - 1;
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

void registry_range_remove(struct primary_linux *p, hva_t start, u64 len)
{
	struct find_exact f = {start, start + len - 1, NULL};

	rwlock_write_lock(&registry.lock);
	interval_each(&p->ranges, start, start, match_exact, &f);
	assert(f.found);
	interval_remove(&p->ranges, f.found);
	sync_sub(&registry.nr_ranges, 1);
	rwlock_write_unlock(&registry.lock);
	free(container_of(f.found, struct range, node));
}

/* ------------------------------------------------------------------ changes */

/* One change in progress: a token for each VM it concerns. */
struct change {
	u32 n;
	struct begun {
		struct primary_linux *p;
		struct primary_notifier notifier;
		struct mmu_token *token;
	} vm[];
};

/* How many VMs have memory in [start, last]; up to `max` of them, made busy, into c. */
static u32 collect(hva_t start, hva_t last, struct change *c, u32 max)
{
	u32 n = 0;

	rwlock_read_lock(&registry.lock);
	for (struct primary_linux *p = registry.list; p; p = p->next) {
		if (!interval_find(&p->ranges, start, last))
			continue;
		if (n < max) {
			sync_add(&p->busy, 1);
			c->vm[n].p = p;
			c->vm[n].notifier = p->notifier;
		}
		n++;
	}
	rwlock_read_unlock(&registry.lock);
	return n;
}

static void change_abandon(struct change *c)
{
	for (u32 i = 0; i < c->n; i++) {
		if (c->vm[i].token)
			c->vm[i].notifier.end(c->vm[i].notifier.ctx, c->vm[i].token);
	}
	free(c);
}

static struct change *change_alloc(hva_t start, hva_t last, int *err)
{
	u32 want = collect(start, last, NULL, 0);
	struct change *c;

	for (;;) {
		u32 n;

		if (!want)
			return NULL;
		c = calloc(1, sizeof(*c) + want * sizeof(c->vm[0]));
		if (!c) {
			*err = -ENOMEM;
			return NULL;
		}
		n = collect(start, last, c, want);
		c->n = MIN(n, want);
		if (n <= want)
			return c;
		/* More VMs than a moment ago. */
		for (u32 i = 0; i < c->n; i++)
			sync_sub(&c->vm[i].p->busy, 1);
		free(c);
		want = n;
	}
}

void *primary_linux_change_begin(hva_t start, u64 len, enum primary_change kind, int *err)
{
	hva_t first = start & PAGE_MASK, end = ALIGN_UP(start + len, PAGE_SIZE);
	struct change *c;
	bool failed = false;

	*err = 0;
	if (!len || end <= first || !sync_load(&registry.nr_ranges))
		return NULL;
	c = change_alloc(first, end - 1, err);
	if (!c)
		return NULL;
	for (u32 i = 0; i < c->n; i++) {
		struct begun *b = &c->vm[i];

		if (!failed)
			b->token = b->notifier.begin(b->notifier.ctx, first, end);
		failed |= !b->token;
		sync_sub(&b->p->busy, 1);
	}
	if (kind != CHANGE_CONTENT)
		regions_forget();
	if (failed) {
		*err = -ENOMEM;
		change_abandon(c);
		return NULL;
	}
	return c;
}

void primary_linux_change_end(void *cookie)
{
	if (!cookie)
		return;
	regions_forget();
	change_abandon(cookie);
}

void *primary_linux_file_change_begin(int fd, u64 off, u64 len, int *err)
{
	/* Direct frames only: the host's MMU takes a truncated page away by itself. */
	*err = 0;
	return NULL;
}

void *primary_linux_fork_begin(void)
{
	/* A direct frame's copy on write is the host MMU's. */
	return NULL;
}

void primary_linux_fork_end(void *cookie, bool child)
{
}
