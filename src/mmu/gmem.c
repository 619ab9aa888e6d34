/* SPDX-License-Identifier: MIT */
/* guest_memfd: see gmem.h for files, stores, bindings and the store lock. */
#include <stdlib.h>
#include "mmu/attributes.h"
#include "mmu/gmem.h"
#include "mmu/invalidate.h"
#include "mmu/memslots.h"
#include "mmu/vm.h"

struct gmem_store {
	u32 refs; /* atomic: one per file */
	const struct primary_store_ops *ops;
	void *primary; /* theirs */
	u64 npages;
	u64 flags;	    /* GMEM_* */
	struct rwlock lock; /* the store lock */
	struct mutex
		bind_lock; /* binds and unbinds, which hold `lock` for read, among themselves */
	struct gmem_file *files; /* linked; `lock` */
};

struct gmem_file {
	u32 refs;      /* atomic: the descriptor's, and one per fault in progress */
	bool released; /* the store lock */
	struct gmem_store *store;
	struct mmu *mmu; /* a reference */
	struct interval_tree
		bindings;	/* by page, do not overlap; the store lock, and bind_lock */
	struct gmem_file *next; /* in store->files */
	sync_rcu_head rcu;
};

static void lock_shared(struct gmem_store *s)
{
	rwlock_read_lock(&s->lock);
}

static void unlock_shared(struct gmem_store *s)
{
	rwlock_read_unlock(&s->lock);
}

/* ------------------------------------------------------------------ life */

static void store_put(struct gmem_store *s)
{
	if (sync_sub(&s->refs, 1) != 1)
		return;
	s->ops->destroy(s->primary);
	mutex_destroy(&s->bind_lock);
	rwlock_destroy(&s->lock);
	free(s);
}

static void file_free_rcu(sync_rcu_head *head)
{
	free(container_of(head, struct gmem_file, rcu));
}

/* A slot may still show the file to a fault that looks without a lock. */
void gmem_put(struct gmem_file *f)
{
	if (sync_sub(&f->refs, 1) != 1)
		return;
	store_put(f->store);
	mmu_put(f->mmu);
	sync_rcu_call(&f->rcu, file_free_rcu);
}

/* The caller's reference on the store becomes the file's. */
static struct gmem_file *file_make(struct gmem_store *s, struct mmu *mmu)
{
	struct gmem_file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->refs = 1;
	f->store = s;
	f->mmu = mmu;
	mmu_get(mmu);
	rwlock_write_lock(&s->lock);
	f->next = s->files;
	s->files = f;
	rwlock_write_unlock(&s->lock);
	return f;
}

static int store_make(struct mmu *mmu, u64 npages, u64 flags, struct gmem_store **out)
{
	const u64 reachable = GMEM_MAPPABLE | GMEM_INIT_SHARED;
	struct gmem_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->ops = mmu->ops->store;
	r = s->ops->create(mmu->primary, npages, (flags & reachable) == reachable, &s->primary);
	if (r) {
		free(s);
		return r;
	}
	s->refs = 1;
	s->npages = npages;
	s->flags = flags;
	rwlock_init(&s->lock);
	mutex_init(&s->bind_lock);
	*out = s;
	return 0;
}

int gmem_create(struct mmu *mmu, u64 size, u64 flags, struct gmem_file **out)
{
	struct gmem_store *s;
	int r;

	if (!size || (size & ~PAGE_MASK) || size > INT64_MAX)
		return -EINVAL;
	if (!mmu->ops->store)
		return -EOPNOTSUPP;
	r = store_make(mmu, size >> PAGE_SHIFT, flags, &s);
	if (r)
		return r;
	*out = file_make(s, mmu);
	if (*out)
		return 0;
	store_put(s);
	return -ENOMEM;
}

int gmem_link(struct gmem_file *file, struct mmu *mmu, struct gmem_file **out)
{
	struct gmem_store *s = file->store;

	sync_add(&s->refs, 1);
	*out = file_make(s, mmu);
	if (*out)
		return 0;
	store_put(s);
	return -ENOMEM;
}

u64 gmem_size(const struct gmem_file *file)
{
	return file->store->npages << PAGE_SHIFT;
}

u64 gmem_flags(const struct gmem_file *file)
{
	return file->store->flags;
}

struct mmu *gmem_mmu(const struct gmem_file *file)
{
	return file->mmu;
}

void *gmem_primary_store(const struct gmem_file *file)
{
	return file->store->primary;
}

/* ------------------------------------------------------------------ bindings */

static struct memslot *slot_of(struct interval *n)
{
	return container_of(n, struct memslot, bound.by_page);
}

int gmem_bind(struct gmem_file *f, struct memslot *slot)
{
	struct gmem_store *s = f->store;
	u64 first = slot->gmem_page, last = first + slot->npages - 1;
	int r = -EINVAL;

	if (last < first || last >= s->npages)
		return r;
	lock_shared(s);
	mutex_lock(&s->bind_lock);
	if (!f->released && !interval_find(&f->bindings, first, last)) {
		slot->bound.by_page.start = first;
		slot->bound.by_page.last = last;
		interval_insert(&f->bindings, &slot->bound.by_page);
		sync_store_release(&slot->bound.file, f);
		slot->gmem_only = s->flags & GMEM_MAPPABLE;
		r = 0;
	}
	mutex_unlock(&s->bind_lock);
	unlock_shared(s);
	return r;
}

struct gmem_file *gmem_of_slot(struct memslot *slot)
{
	struct gmem_file *f = sync_load_acquire(&slot->bound.file);
	u32 refs = f ? sync_load(&f->refs) : 0;

	while (refs) {
		if (sync_cmpxchg(&f->refs, &refs, refs + 1))
			return f;
	}
	return NULL;
}

/* The store lock, and bind_lock unless that is held for write. */
static void unbind(struct gmem_file *f, struct memslot *slot)
{
	interval_remove(&f->bindings, &slot->bound.by_page);
	sync_store(&slot->bound.file, NULL);
}

void gmem_unbind(struct memslot *slot)
{
	struct gmem_file *f;

	sync_rcu_read_lock();
	f = gmem_of_slot(slot);
	sync_rcu_read_unlock();
	if (!f)
		return;
	lock_shared(f->store);
	mutex_lock(&f->store->bind_lock);
	if (!f->released)
		unbind(f, slot);
	mutex_unlock(&f->store->bind_lock);
	unlock_shared(f->store);
	gmem_put(f);
}

void gmem_release(struct gmem_file *f)
{
	struct gmem_store *s = f->store;
	struct gmem_file **p;
	struct interval *n;

	rwlock_write_lock(&s->lock);
	f->released = true;
	/* No token: a fault through a binding wants the store lock, and then finds it gone. */
	while ((n = interval_find(&f->bindings, 0, ~0ULL))) {
		struct memslot *slot = slot_of(n);

		mmu_zap_gfns(f->mmu, slot->base_gfn, slot->base_gfn + slot->npages);
		unbind(f, slot);
	}
	for (p = &s->files; *p != f; p = &(*p)->next)
		;
	*p = f->next;
	rwlock_write_unlock(&s->lock);
	gmem_put(f);
}

/* ------------------------------------------------------------------ faults */

int gmem_fault_begin(struct gmem_file *f, u64 index, bool (*interrupted)(void *arg), void *arg,
		     struct frame *out)
{
	lock_shared(f->store);
	if (f->released)
		return -EFAULT;
	return f->store->ops->fault(f->store->primary, index, interrupted, arg, out);
}

void gmem_fault_end(struct gmem_file *f)
{
	unlock_shared(f->store);
}

/* ------------------------------------------------------------------ allocate, punch */

/* Pages per hold of the store lock: a punch that waits keeps faults waiting. */
#define ALLOCATE_AT_ONCE 4096ULL

int gmem_allocate(struct gmem_file *f, u64 off, u64 len)
{
	struct gmem_store *s = f->store;
	u64 end = off + len;
	int r = 0;

	if (((off | len) & ~PAGE_MASK) || end <= off || end >> PAGE_SHIFT > s->npages)
		return -EINVAL;
	for (u64 at = off >> PAGE_SHIFT, n; !r && at < end >> PAGE_SHIFT; at += n) {
		n = MIN((end >> PAGE_SHIFT) - at, ALLOCATE_AT_ONCE);
		rwlock_read_lock(&s->lock);
		r = s->ops->allocate(s->primary, at, n);
		rwlock_read_unlock(&s->lock);
	}
	return r;
}

struct punch {
	struct gmem_store *store;
	u64 first, last; /* pages */
	struct mmu *mmu; /* of the file that is looked at */
	struct mmu_token *tokens;
	bool no_memory;
};

static bool punch_begin(struct interval *n, void *arg)
{
	const struct memslot *slot = slot_of(n);
	struct punch *p = arg;
	u64 first = MAX(p->first, n->start), last = MIN(p->last, n->last);
	gfn_t base = slot->base_gfn - n->start;
	struct mmu_token *t = mmu_invalidate_gfns_begin(p->mmu, base + first, base + last + 1);

	if (t)
		mmu_tokens_push(&p->tokens, t);
	else
		p->no_memory = true;
	return t;
}

/* Every file's VM lets go of its pages, and stays away from them until the end. */
static void punch_begin_all(struct punch *p)
{
	for (struct gmem_file *f = p->store->files; f && !p->no_memory; f = f->next) {
		p->mmu = f->mmu;
		interval_each(&f->bindings, p->first, p->last, punch_begin, p);
	}
}

static void punch_end_all(struct punch *p)
{
	struct mmu_token *t;

	while ((t = mmu_tokens_pop(&p->tokens)))
		mmu_invalidate_end(t);
}

int gmem_punch(struct gmem_file *f, u64 off, u64 len)
{
	struct gmem_store *s = f->store;
	u64 end = off + len;
	struct punch p = {.store = s, .first = off >> PAGE_SHIFT};
	int r = -ENOMEM;

	if (((off | len) & ~PAGE_MASK) || end <= off)
		return -EINVAL;
	if (p.first >= s->npages)
		return 0;
	p.last = MIN(end >> PAGE_SHIFT, s->npages) - 1;
	rwlock_write_lock(&s->lock);
	punch_begin_all(&p);
	if (!p.no_memory)
		r = s->ops->punch(s->primary, p.first, p.last - p.first + 1);
	punch_end_all(&p);
	rwlock_write_unlock(&s->lock);
	return r;
}
