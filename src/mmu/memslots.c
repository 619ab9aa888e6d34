/* SPDX-License-Identifier: MIT */
/*
 * The memslots of a VM.
 *
 * By gfn they stand in a sorted array of sorted chunks. A published array and its chunks never
 * change: an update copies the directory and one or two chunks, so it costs O(sqrt n) of
 * copying, readers take no lock, and no update waits for them: what it replaced is freed after a
 * grace period. By hva (ranges may overlap there) they stand in an interval tree under mmu_lock,
 * by id in an array under slots_lock.
 *
 * A new array is published under mmu_lock held for write, and the old slot's SPTEs go in the
 * same hold. So whoever holds mmu_lock for read sees slots and SPTEs that agree, and a fault
 * that looked its slot up before need only compare serials there.
 */
#include <stdlib.h>
#include "mmu/gmem.h"
#include "mmu/internal.h"

#define CHUNK_SLOTS   128
#define MAX_NPAGES    ((1ULL << 31) - 1) /* KVM_MEM_MAX_NR_PAGES */
#define HVA_END	      0x7ffffffff000ULL /* TASK_SIZE_MAX with four-level paging */

struct chunk {
	u32 n;
	sync_rcu_head rcu;
	struct chunk *next; /* in a list to be freed */
	struct memslot *slot[CHUNK_SLOTS];
};

struct memslots {
	u32 nchunks;
	sync_rcu_head rcu;
	struct chunk *chunk[]; /* none is empty */
};

/* ------------------------------------------------------------------ lookup */

/* Index of the last chunk that begins at or before gfn, or -1. */
static int find_chunk(const struct memslots *m, gfn_t gfn)
{
	int lo = 0, hi = (int)m->nchunks;

	while (lo < hi) {
		int mid = (lo + hi) / 2;

		if (m->chunk[mid]->slot[0]->base_gfn <= gfn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - 1;
}

/* The same within a chunk. */
static int find_in_chunk(const struct chunk *c, gfn_t gfn)
{
	int lo = 0, hi = (int)c->n;

	while (lo < hi) {
		int mid = (lo + hi) / 2;

		if (c->slot[mid]->base_gfn <= gfn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - 1;
}

struct memslot *memslot_find(struct mmu *mmu, gfn_t gfn)
{
	const struct memslots *m = sync_rcu_deref(&mmu->slots);
	int i = find_chunk(m, gfn);
	struct memslot *s;

	if (i < 0)
		return NULL;
	s = m->chunk[i]->slot[find_in_chunk(m->chunk[i], gfn)];
	return memslot_has(s, gfn) ? s : NULL;
}

struct memslot *memslot_by_id(struct mmu *mmu, u32 id)
{
	mutex_assert_held(&mmu->slots_lock);
	return id < MMU_USER_SLOTS ? mmu->by_id[id] : NULL;
}

/* Does any slot but `but` overlap [gfn, gfn + npages)? slots_lock held. */
static bool overlaps(struct mmu *mmu, const struct memslot *but, gfn_t gfn, u64 npages)
{
	const struct memslots *m = mmu->slots;
	int i = find_chunk(m, gfn);
	int j = i < 0 ? 0 : find_in_chunk(m->chunk[i], gfn);

	for (i = MAX(i, 0); i < (int)m->nchunks; i++, j = 0) {
		for (; j < (int)m->chunk[i]->n; j++) {
			const struct memslot *s = m->chunk[i]->slot[j];

			if (s->base_gfn >= gfn + npages)
				return false;
			if (s != but && s->base_gfn + s->npages > gfn)
				return true;
		}
	}
	return false;
}

void memslots_each(struct mmu *mmu, gfn_t start, gfn_t end,
		   void (*fn)(struct memslot *s, void *arg), void *arg)
{
	const struct memslots *m = sync_rcu_deref(&mmu->slots);
	int i = find_chunk(m, start);
	int j = i < 0 ? 0 : find_in_chunk(m->chunk[i], start);

	for (i = MAX(i, 0); i < (int)m->nchunks; i++, j = 0) {
		for (; j < (int)m->chunk[i]->n; j++) {
			struct memslot *s = m->chunk[i]->slot[j];

			if (s->base_gfn >= end)
				return;
			if (s->base_gfn + s->npages > start)
				fn(s, arg);
		}
	}
}

/* ------------------------------------------------------------------ building the next array */

static struct memslots *array_alloc(u32 nchunks)
{
	struct memslots *m = malloc(sizeof(*m) + nchunks * sizeof(m->chunk[0]));

	if (m)
		m->nchunks = nchunks;
	return m;
}

/* A copy of m with chunk i replaced by a and, when not NULL, b; by nothing when both are NULL. */
static struct memslots *array_replace(const struct memslots *m, int i, struct chunk *a,
				      struct chunk *b)
{
	u32 put = (a ? 1 : 0) + (b ? 1 : 0);
	u32 gone = m->nchunks ? 1 : 0;
	struct memslots *n = array_alloc(m->nchunks - gone + put);
	u32 k = 0;

	if (!n)
		return NULL;
	memcpy(n->chunk, m->chunk, (size_t)i * sizeof(m->chunk[0]));
	k = (u32)i;
	if (a)
		n->chunk[k++] = a;
	if (b)
		n->chunk[k++] = b;
	memcpy(&n->chunk[k], &m->chunk[i + (int)gone],
	       (m->nchunks - (u32)i - gone) * sizeof(m->chunk[0]));
	return n;
}

/* What an update replaces, to be freed once nobody can see it. */
struct retired {
	struct chunk *chunks;
	struct memslots *array[2];
	u32 narrays;
};

static void retire_chunk(struct retired *r, struct chunk *c)
{
	if (!c)
		return;
	c->next = r->chunks;
	r->chunks = c;
}

static struct memslots *array_insert(const struct memslots *m, struct memslot *s,
				     struct retired *r)
{
	int i = MAX(find_chunk(m, s->base_gfn), 0);
	struct chunk *old = m->nchunks ? m->chunk[i] : NULL;
	struct chunk *a = calloc(1, sizeof(*a)), *b = NULL;
	int at = old ? find_in_chunk(old, s->base_gfn) + 1 : 0;
	struct memslots *n;

	if (old && old->n == CHUNK_SLOTS)
		b = calloc(1, sizeof(*b));
	if (!a || (old && old->n == CHUNK_SLOTS && !b))
		goto fail;
	/* Full chunks split at the insertion point's side, so that ascending inserts fill them. */
	if (b) {
		int half = at == CHUNK_SLOTS ? CHUNK_SLOTS : CHUNK_SLOTS / 2;
		struct chunk *to = at > half || half == CHUNK_SLOTS ? b : a;
		int pos = to == b ? at - half : at;

		a->n = (u32)half;
		b->n = (u32)(CHUNK_SLOTS - half);
		memcpy(a->slot, old->slot, a->n * sizeof(s));
		memcpy(b->slot, &old->slot[half], b->n * sizeof(s));
		memmove(&to->slot[pos + 1], &to->slot[pos], (to->n - (u32)pos) * sizeof(s));
		to->slot[pos] = s;
		to->n++;
	} else {
		if (old)
			memcpy(a->slot, old->slot, old->n * sizeof(s));
		a->n = old ? old->n + 1 : 1;
		memmove(&a->slot[at + 1], &a->slot[at], (a->n - 1 - (u32)at) * sizeof(s));
		a->slot[at] = s;
	}
	n = array_replace(m, i, a, b);
	if (!n)
		goto fail;
	retire_chunk(r, old);
	return n;
fail:
	free(a);
	free(b);
	return NULL;
}

/* `with` takes the place of s (the same gfns), or nothing does. */
static struct memslots *array_exchange(const struct memslots *m, struct memslot *s,
				       struct memslot *with, struct retired *r)
{
	int i = find_chunk(m, s->base_gfn);
	struct chunk *old = m->chunk[i], *a = NULL;
	int at = find_in_chunk(old, s->base_gfn);
	struct memslots *n;

	assert(old->slot[at] == s);
	if (with || old->n > 1) {
		a = calloc(1, sizeof(*a));
		if (!a)
			return NULL;
		memcpy(a->slot, old->slot, old->n * sizeof(s));
		a->n = old->n;
		if (with) {
			a->slot[at] = with;
		} else {
			a->n--;
			memmove(&a->slot[at], &a->slot[at + 1], (a->n - (u32)at) * sizeof(s));
		}
	}
	n = array_replace(m, i, a, NULL);
	if (!n) {
		free(a);
		return NULL;
	}
	retire_chunk(r, old);
	return n;
}

static void chunk_free_rcu(sync_rcu_head *head)
{
	free(container_of(head, struct chunk, rcu));
}

static void array_free_rcu(sync_rcu_head *head)
{
	free(container_of(head, struct memslots, rcu));
}

static void retired_free(struct retired *r)
{
	while (r->chunks) {
		struct chunk *c = r->chunks;

		r->chunks = c->next;
		if (sync_defect(NO_GRACE_PERIOD))
			chunk_free_rcu(&c->rcu);
		else
			sync_rcu_call(&c->rcu, chunk_free_rcu);
	}
	for (u32 i = 0; i < r->narrays; i++) {
		if (sync_defect(NO_GRACE_PERIOD))
			array_free_rcu(&r->array[i]->rcu);
		else
			sync_rcu_call(&r->array[i]->rcu, array_free_rcu);
	}
}

/* The array without `old` and with `new_` (either may be NULL). */
static struct memslots *array_update(struct mmu *mmu, struct memslot *old, struct memslot *new_,
				     struct retired *r)
{
	struct memslots *m = mmu->slots, *n, *moved;

	r->array[r->narrays++] = m;
	if (!old)
		return array_insert(m, new_, r);
	if (!new_ || new_->base_gfn == old->base_gfn)
		return array_exchange(m, old, new_, r);
	/* A move: the array in between is nobody's, but may be retired like the others. */
	n = array_exchange(m, old, NULL, r);
	if (!n)
		return NULL;
	r->array[r->narrays++] = n;
	moved = array_insert(n, new_, r);
	if (!moved && !sync_defect(ARRAY_KEPT)) {
		/* Gone with the chunk it has in the place of one of m's. */
		if (n->nchunks == m->nchunks)
			free(n->chunk[find_chunk(m, old->base_gfn)]);
		free(n);
	}
	return moved;
}

/* ------------------------------------------------------------------ slots */

static void slot_free(struct memslot *s)
{
	if (s->free_log)
		free(s->log);
	if (s->free_code)
		slot_code_free(s->code);
	free(s);
}

static void slot_free_rcu(sync_rcu_head *head)
{
	slot_free(container_of(head, struct memslot, rcu));
}

/* A slot as r asks for, taking over what `old` has gathered about the same memory. */
static struct memslot *slot_make(struct mmu *mmu, const struct mmu_region *r, struct memslot *old)
{
	struct memslot *s = calloc(1, sizeof(*s));
	bool same_gfns = old && old->base_gfn == r->gpa >> PAGE_SHIFT;

	if (!s)
		return NULL;
	s->id = r->slot;
	s->flags = r->flags;
	s->base_gfn = r->gpa >> PAGE_SHIFT;
	s->npages = r->size >> PAGE_SHIFT;
	s->hva = r->hva;
	s->gmem_page = r->gmem_offset >> PAGE_SHIFT;
	s->serial = ++mmu->serial;
	s->by_hva.start = r->hva;
	s->by_hva.last = r->hva + r->size - 1;
	if (r->flags & MMU_SLOT_LOG_DIRTY)
		s->log = old && old->log ? old->log
					 : slot_log_alloc(s->npages, mmu->manual_protect & 2);
	s->code = same_gfns ? old->code : slot_code_alloc(s->npages);
	if (!s->code || ((r->flags & MMU_SLOT_LOG_DIRTY) && !s->log)) {
		if (!same_gfns)
			slot_code_free(s->code);
		if (!old || s->log != old->log)
			free(s->log);
		free(s);
		return NULL;
	}
	s->free_log = s->free_code = true;
	return s;
}

/* The old slot leaves; what the new one took over stays. */
static void slot_retire(struct memslot *old, const struct memslot *new_)
{
	if (new_ && old->log == new_->log)
		old->free_log = false;
	if (new_ && old->code == new_->code)
		old->free_code = false;
	sync_rcu_call(&old->rcu, slot_free_rcu);
}

static void slot_unmake(struct memslot *s, const struct memslot *old)
{
	s->free_log = !old || s->log != old->log;
	s->free_code = !old || s->code != old->code;
	gmem_unbind(s);
	slot_free(s);
}

/* ------------------------------------------------------------------ the update */

/* KVM's checks of the arguments alone (api.rst, 4.35), in KVM's order where it shows. */
static int region_check(const struct mmu_region *r)
{
	if ((r->slot & 0xffff) >= MMU_USER_SLOTS || r->slot >> 16)
		return -EINVAL;
	/* Private memory is neither logged nor read-only (api.rst, 4.140). */
	if (r->flags & MMU_SLOT_GMEM ? r->flags != MMU_SLOT_GMEM
				     : r->flags & ~(MMU_SLOT_READONLY | MMU_SLOT_LOG_DIRTY))
		return -EINVAL;
	if ((r->flags & MMU_SLOT_GMEM) && ((r->gmem_offset & ~PAGE_MASK) ||
					   r->gmem_offset + r->size < r->gmem_offset))
		return -EINVAL;
	if ((r->size | r->gpa | r->hva) & ~PAGE_MASK)
		return -EINVAL;
	if (r->hva + r->size < r->hva || r->hva + r->size > HVA_END)
		return -EINVAL;
	if (r->gpa + r->size < r->gpa || r->size >> PAGE_SHIFT > MAX_NPAGES)
		return -EINVAL;
	return 0;
}

/* The checks against what exists. 0: carry it out; 1: nothing to do; or -errno. */
static int region_check_old(struct mmu *mmu, const struct mmu_region *r, struct memslot *old)
{
	gfn_t gfn = r->gpa >> PAGE_SHIFT;
	u64 npages = r->size >> PAGE_SHIFT;

	if (!npages)
		return old ? 0 : -EINVAL;
	if (old) {
		/* A slot with a guest_memfd can only be deleted. */
		if (r->hva != old->hva || npages != old->npages ||
		    ((r->flags | old->flags) & MMU_SLOT_GMEM) ||
		    ((r->flags ^ old->flags) & MMU_SLOT_READONLY))
			return -EINVAL;
		if (gfn == old->base_gfn)
			return r->flags == old->flags ? 1 : 0;
	}
	if (overlaps(mmu, old, gfn, npages))
		return -EEXIST;
	if (gfn + npages > TREE_MAX_GFN)
		return -EINVAL;
	return 0;
}

/* Publish, and bring stage 2 in line, in one hold of mmu_lock. */
static void slot_swap(struct mmu *mmu, struct memslots *m, struct memslot *old,
		      struct memslot *new_)
{
	struct tree_free f = {NULL};
	bool reflag = old && new_ && old->base_gfn == new_->base_gfn;
	bool zapped = false;
	u64 mark, caches = 0;

	mmu_lock_write(mmu);
	sync_rcu_publish(&mmu->leaving, old);
	sync_rcu_publish(&mmu->slots, m);
	if (old)
		interval_remove(&mmu->hva_tree, &old->by_hva);
	if (new_)
		interval_insert(&mmu->hva_tree, &new_->by_hva);
	if (reflag && new_->log)
		zapped = tree_start_logging(mmu, old->base_gfn, old->base_gfn + old->npages,
					    (mmu->manual_protect & 2) && !mmu->ring_entries);
	else if (old) /* gone, moved, or to be faulted in anew as large as may be */
		zapped = tree_zap(mmu, old->base_gfn, old->base_gfn + old->npages, &f);
	mark = mmu_zap_mark(mmu, zapped);
	if (old && !reflag)
		caches = mmu_caches_stale(mmu, old->hva, old->hva + (old->npages << PAGE_SHIFT));
	mmu_unlock_write(mmu);

	mmu_flush_zapped(mmu, mark);
	mmu_caches_wait(mmu, caches);
	tree_free_flush(mmu, &f);
	if (old)
		mmu_users_wait(mmu);
	sync_store(&mmu->leaving, NULL);
}

/* slots_lock held. `new_` is NULL to delete. */
static int slot_change(struct mmu *mmu, u32 id, struct memslot *old, struct memslot *new_)
{
	struct retired r = {NULL};
	struct memslots *m;
	int err;

	if (!old) {
		err = mmu->ops->range_add(mmu->primary, new_->hva, new_->npages << PAGE_SHIFT);
		if (err)
			return err;
	}
	m = array_update(mmu, old, new_, &r);
	if (!m) {
		if (!old)
			mmu->ops->range_remove(mmu->primary, new_->hva, new_->npages << PAGE_SHIFT);
		return -ENOMEM;
	}
	slot_swap(mmu, m, old, new_);
	mmu->by_id[id] = new_;
	if (!old || !new_) {
		sync_add(&mmu->stat.memslots, new_ ? 1 : -1);
		sync_add(&mmu->stat.memslot_bytes, (new_ ? new_->npages : -old->npages) << PAGE_SHIFT);
	}
	if (!new_)
		mmu->ops->range_remove(mmu->primary, old->hva, old->npages << PAGE_SHIFT);
	retired_free(&r);
	if (old) {
		gmem_unbind(old);
		slot_retire(old, new_);
	}
	return 0;
}

/* slots_lock held; nobody sees s yet. */
static int slot_bind(struct mmu *mmu, const struct mmu_region *r, struct memslot *s)
{
	if (!(r->flags & MMU_SLOT_GMEM))
		return 0;
	if (!r->gmem)
		return r->gmem_error;
	return gmem_mmu(r->gmem) == mmu ? gmem_bind(r->gmem, s) : -EINVAL;
}

int mmu_set_region(struct mmu *mmu, const struct mmu_region *r)
{
	struct memslot *old, *new_ = NULL;
	int err = region_check(r);

	if (err)
		return err;
	mutex_lock(&mmu->slots_lock);
	while (sync_defect(SLOTS_WAIT) && sync_load(&mmu->nr_tokens))
		;
	old = memslot_by_id(mmu, r->slot);
	err = region_check_old(mmu, r, old);
	if (err)
		goto out;
	if (r->size) {
		new_ = slot_make(mmu, r, old);
		err = new_ ? slot_bind(mmu, r, new_) : -ENOMEM;
	}
	if (!err)
		err = slot_change(mmu, r->slot, old, new_);
	if (err && new_)
		slot_unmake(new_, old);
out:
	mutex_unlock(&mmu->slots_lock);
	return MIN(err, 0);
}

/* ------------------------------------------------------------------ life */

int memslots_init(struct mmu *mmu)
{
	mmu->by_id = calloc(MMU_USER_SLOTS, sizeof(mmu->by_id[0]));
	mmu->slots = array_alloc(0);
	if (mmu->by_id && mmu->slots)
		return 0;
	free(mmu->by_id);
	free(mmu->slots);
	return -ENOMEM;
}

/* Nobody else is left; stage 2 was zapped. */
void memslots_fini(struct mmu *mmu)
{
	for (u32 i = 0; i < MMU_USER_SLOTS; i++) {
		struct memslot *s = mmu->by_id[i];

		if (!s)
			continue;
		mmu->ops->range_remove(mmu->primary, s->hva, s->npages << PAGE_SHIFT);
		assert(!s->bound.file); /* a file holds a reference on the VM */
		slot_free(s);
	}
	for (u32 i = 0; i < mmu->slots->nchunks; i++)
		free(mmu->slots->chunk[i]);
	free(mmu->slots);
	free(mmu->by_id);
}

hva_t mmu_gfn_to_hva(struct mmu *mmu, gfn_t gfn, bool *readonly)
{
	struct memslot *s;
	hva_t hva = 0;

	if (mmu_is_private(mmu, gfn))
		return 0;
	sync_rcu_read_lock();
	s = memslot_find(mmu, gfn);
	if (s) {
		hva = memslot_gfn_to_hva(s, gfn);
		if (readonly)
			*readonly = s->flags & MMU_SLOT_READONLY;
	}
	sync_rcu_read_unlock();
	return hva;
}
