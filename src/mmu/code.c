/* SPDX-License-Identifier: MIT */
/*
 * Which lines of which pages are cached as code, by the page's name (names.c): one set of marks for a
 * page, through whatever gfn, memslot or VM of the process it is written.
 *
 * Marking: set the marks, make every vCPU that may reach the page drop its write entries, then say
 * "ready"; only then may the marker read the bytes. From the mark on, whoever translates for writing
 * is told so. Unmarking before a store: take "ready" away, tell every vCPU of the VMs that have code
 * from there, wait, then take the marks away: until all have been told, nobody else's store goes past
 * the marks. Both under the page's lock, which a vCPU takes and waits for outside guest mode.
 *
 * A page is listed while a VM has code from it. There are code_most_pages at most; beyond, one is unmarked,
 * as by a store, for each that is marked.
 */
#include <assert.h>
#include <stdlib.h>
#include "mmu/attributes.h"
#include "mmu/code.h"
#include "mmu/flush.h"
#include "mmu/memslots.h"
#include "mmu/names.h"
#include "mmu/spte.h"
#include "mmu/tlb.h"
#include "mmu/translate.h"
#include "mmu/vcpu.h"
#include "mmu/vm.h"

#define BUCKETS 8192u
#define VM_BITS 64

u32 code_most_pages = CODE_PAGES;

struct marked_page {
	struct marked_page *next; /* in its bucket */
	struct page_name name;
	u64 marked; /* atomic: stores to these lines are intercepted */
	u64 ready;  /* atomic, subset of marked: no vCPU still has a write entry from before */
	u64 owners; /* atomic: bits of the VMs that have code from here */
	u32 users;  /* threads that hold it; book.lock */
	struct mutex lock;
	sync_rcu_head rcu;
};

/* The process's. `lock` is a leaf, but for mmu_get_unless_gone() under it, which blocks on nothing. */
static struct {
	struct mutex lock;
	struct mmu *vms;     /* all there are */
	u32 nvms;	     /* atomic */
	u32 bit_users[VM_BITS];
	u32 npages;	     /* atomic */
	u32 hand;	     /* bucket of the next page to be evicted */
	struct marked_page *bucket[BUCKETS]; /* RCU */
} book = {.lock = MUTEX_INITIALIZER};

static u32 bucket_of(const struct page_name *n)
{
	u64 h = (n->index ^ n->object << 32) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */

	return (u32)(h >> 40) % BUCKETS;
}

/* ------------------------------------------------------------------ the book */

void code_join(struct mmu *mmu)
{
	u32 bit = 0;

	mutex_lock(&book.lock);
	for (u32 i = 1; i < VM_BITS; i++) {
		if (book.bit_users[i] < book.bit_users[bit])
			bit = i;
	}
	book.bit_users[bit]++;
	mmu->code_bit = bit;
	mmu->next_vm = book.vms;
	book.vms = mmu;
	sync_store(&book.nvms, book.nvms + 1);
	mutex_unlock(&book.lock);
}

static void page_free_rcu(sync_rcu_head *head)
{
	struct marked_page *p = container_of(head, struct marked_page, rcu);

	mutex_destroy(&p->lock);
	free(p);
}

/* book.lock held: nobody holds it nor has code from it. */
static void drop_if_unused(struct marked_page *p)
{
	struct marked_page **at = &book.bucket[bucket_of(&p->name)];

	if (p->users || sync_load(&p->owners))
		return;
	while (*at != p)
		at = &(*at)->next;
	sync_rcu_publish(at, p->next);
	sync_store(&book.npages, book.npages - 1);
	sync_rcu_call(&p->rcu, page_free_rcu);
}

/* book.lock held. */
static void disown_all(u64 owner)
{
	for (u32 i = 0; i < BUCKETS; i++) {
		struct marked_page *next;

		for (struct marked_page *p = book.bucket[i]; p; p = next) {
			next = p->next;
			sync_and(&p->owners, ~owner);
			drop_if_unused(p);
		}
	}
}

void code_leave(struct mmu *mmu)
{
	struct mmu **at;

	mutex_lock(&book.lock);
	for (at = &book.vms; *at != mmu; at = &(*at)->next_vm)
		;
	*at = mmu->next_vm;
	sync_store(&book.nvms, book.nvms - 1);
	if (!--book.bit_users[mmu->code_bit] && book.npages)
		disown_all(BIT(mmu->code_bit));
	mutex_unlock(&book.lock);
}

void mmu_forked_child(void)
{
	memset(&book, 0, sizeof(book));
	mutex_init(&book.lock);
}

/* RCU read side, or book.lock held. */
static struct marked_page *page_find(const struct page_name *n)
{
	struct marked_page *p = sync_rcu_deref(&book.bucket[bucket_of(n)]);

	while (p && (p->name.index != n->index || p->name.object != n->object))
		p = sync_rcu_deref(&p->next);
	return p;
}

/* The page, held; made of *spare if need be, which is then used up. NULL: it is not listed. */
static struct marked_page *page_get(const struct page_name *n, struct marked_page **spare)
{
	struct marked_page **head = &book.bucket[bucket_of(n)], *p;

	mutex_lock(&book.lock);
	p = page_find(n);
	if (!p && spare) {
		p = *spare;
		*spare = NULL;
		mutex_init(&p->lock);
		p->name = *n;
		p->next = *head;
		sync_rcu_publish(head, p);
		sync_store(&book.npages, book.npages + 1);
	}
	if (p)
		p->users++;
	mutex_unlock(&book.lock);
	return p;
}

static void page_put(struct marked_page *p)
{
	mutex_lock(&book.lock);
	p->users--;
	drop_if_unused(p);
	mutex_unlock(&book.lock);
}

bool code_any(void)
{
	return sync_load(&book.npages);
}

bool code_marked(const struct page_name *n)
{
	struct marked_page *p;
	bool marked;

	if (!code_any())
		return false;
	sync_rcu_read_lock();
	p = page_find(n);
	marked = p && sync_load(&p->marked);
	sync_rcu_read_unlock();
	return marked;
}

/* ------------------------------------------------------------------ telling other VMs */

/* Call fn for each VM that `concerned` says, with a reference and without book.lock. */
static void each_vm(const struct marked_page *p,
		    bool (*concerned)(struct mmu *mmu, const struct marked_page *p),
		    void (*fn)(struct mmu *mmu, void *arg), void *arg)
{
	struct mmu *last = NULL;

	mutex_lock(&book.lock);
	for (struct mmu *m = book.vms; m; m = m->next_vm) {
		if (!mmu_get_unless_gone(m))
			continue;
		mutex_unlock(&book.lock);
		if (last)
			mmu_put(last);
		last = m; /* stays in the list */
		if (concerned(m, p))
			fn(m, arg);
		mutex_lock(&book.lock);
	}
	mutex_unlock(&book.lock);
	if (last)
		mmu_put(last);
}

/*
 * May a vCPU of this VM have the page in its TLB? It says so before it looks for marks: what is not
 * seen here will see the marks.
 */
static bool may_reach(struct mmu *mmu, const struct marked_page *p)
{
	bool named;

	if (!p->name.object)
		return mmu->ops->may_reach(mmu->primary, p->name.index);
	rwlock_read_lock(&mmu->names_lock);
	named = mmu->objects & object_bit(p->name.object);
	rwlock_read_unlock(&mmu->names_lock);
	return named;
}

static bool owns(struct mmu *mmu, const struct marked_page *p)
{
	return sync_load(&p->owners) & BIT(mmu->code_bit);
}

struct flush {
	struct mmu_vcpu *self;
	u32 req;
};

static void flush_vm(struct mmu *mmu, void *arg)
{
	const struct flush *f = arg;

	mmu_flush_vcpus(mmu, mmu == f->self->mmu ? f->self : NULL, f->req);
}

/* ------------------------------------------------------------------ marking */

static void drop_own_writes(struct mmu_vcpu *v, const struct page_name *n)
{
	/* One with a name of its own may be reached at several addresses. */
	if (n->object)
		tlb_drop_writes(v);
	else
		tlb_drop_writes_to(v, n->index << PAGE_SHIFT);
}

/* p->lock held. */
static void mark(struct mmu_vcpu *v, struct marked_page *p, u64 lines)
{
	struct flush f = {v, MMU_REQ_WRITES};

	sync_or(&p->owners, BIT(v->mmu->code_bit));
	if ((sync_load(&p->ready) & lines) == lines)
		return;
	sync_or(&p->marked, lines);
	mmu_flush_vcpus(v->mmu, v, f.req);
	if (sync_load(&book.nvms) > 1)
		each_vm(p, may_reach, flush_vm, &f);
	drop_own_writes(v, &p->name);
	v->epoch++;
	sync_or(&p->ready, lines);
}

/* p->lock held. */
static void unmark(struct mmu_vcpu *v, struct marked_page *p)
{
	struct flush f = {v, MMU_REQ_CODE};

	sync_store(&p->ready, 0);
	if (sync_load(&book.nvms) > 1)
		each_vm(p, owns, flush_vm, &f);
	else
		mmu_flush_vcpus(v->mmu, v, f.req);
	v->epoch++;
	v->code_epoch++;
	sync_store(&p->owners, 0);
	sync_store(&p->marked, 0);
}

/* One page less, when there are too many. */
static void evict(struct mmu_vcpu *v)
{
	struct marked_page *p = NULL;

	mutex_lock(&book.lock);
	if (book.npages >= code_most_pages) {
		while (!(p = book.bucket[book.hand++ % BUCKETS]))
			;
		while (p->next) /* the oldest there */
			p = p->next;
		p->users++;
	}
	mutex_unlock(&book.lock);
	if (!p)
		return;
	mutex_lock(&p->lock);
	unmark(v, p);
	mutex_unlock(&p->lock);
	page_put(p);
}

static bool is_ready(const struct mmu *mmu, const struct page_name *n, u64 lines)
{
	struct marked_page *p;
	bool ready;

	sync_rcu_read_lock();
	p = page_find(n);
	ready = p && (sync_load_acquire(&p->ready) & lines) == lines &&
		(sync_load(&p->owners) & BIT(mmu->code_bit));
	sync_rcu_read_unlock();
	return ready;
}

int mmu_code_track(struct mmu_vcpu *v, gpa_t gpa, u64 lines)
{
	struct marked_page *spare, *p;
	struct page_name n;
	struct mmu_xlat x;
	int r;

	assert(v->mode == MMU_IN_GUEST);
	/* Again when another page came there meanwhile. */
	while (!(r = mmu_translate(v, gpa, MMU_EXEC, &x))) {
		n = name_of(v, gpa >> PAGE_SHIFT, x.host);
		if (is_ready(v->mmu, &n, lines))
			return 0;
		/* Allocated outside guest mode: a flush may be waiting for us with the VMM's
		 * allocator locked. */
		mmu_vcpu_leave(v);
		spare = calloc(1, sizeof(*spare));
		if (!spare) {
			mmu_vcpu_enter(v);
			return -ENOMEM;
		}
		sync_store(&v->mmu->has_code, 1);
		evict(v);
		p = page_get(&n, &spare);
		mutex_lock(&p->lock);
		mark(v, p, lines);
		mutex_unlock(&p->lock);
		page_put(p);
		mmu_vcpu_enter(v);
		free(spare);
	}
	return r;
}

/* ------------------------------------------------------------------ stores */

/* Does a store of len bytes at this offset of the page touch a marked line? */
static bool touches(const struct marked_page *p, u32 off, u32 len)
{
	u32 first = off / 64, last = (off + len - 1) / 64;

	return sync_load(&p->marked) & (~0ULL >> (63 - (last - first))) << first;
}

void mmu_code_write(struct mmu_vcpu *v, gpa_t gpa, const void *host, u32 len)
{
	struct page_name n = name_of(v, gpa >> PAGE_SHIFT, host);
	u32 off = (u32)(gpa & ~PAGE_MASK);
	struct marked_page *p;
	bool hit;

	assert(v->mode == MMU_IN_GUEST && len && off + len <= PAGE_SIZE);
	sync_rcu_read_lock();
	p = page_find(&n);
	hit = p && touches(p, off, len);
	sync_rcu_read_unlock();
	if (!hit)
		return;
	mmu_vcpu_leave(v);
	p = page_get(&n, NULL);
	if (p) {
		mutex_lock(&p->lock);
		if (touches(p, off, len))
			unmark(v, p);
		mutex_unlock(&p->lock);
		page_put(p);
	}
	mmu_vcpu_enter(v);
}

static void request_code(struct mmu *mmu, void *unused)
{
	mmu_request_all(mmu, MMU_REQ_CODE);
}

void code_written(const struct page_name *n)
{
	struct marked_page *p = page_get(n, NULL);

	if (!p)
		return;
	each_vm(p, owns, request_code, NULL);
	page_put(p);
}
