/* SPDX-License-Identifier: MIT */
/*
 * mmap, munmap, mremap and mprotect. Memory goes in the order the kernel keeps: notifier, page
 * table, then the page.
 */
#include <stdlib.h>
#include "primary/model/internal.h"

struct vma *model_vma(struct model *m, hva_t hva)
{
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		struct vma *v = &m->vma[i];

		if (v->used && hva >= v->start && hva < v->start + v->npages * PAGE_SIZE)
			return v;
	}
	return NULL;
}

hva_t model_mapped_at(const struct vma *v, const struct model_file *f, u64 index)
{
	if (!v->used || v->file != f || index < v->index || index >= v->index + v->npages)
		return 0;
	return v->start + (index - v->index) * PAGE_SIZE;
}

void model_hold(struct model *m, bool (*cond)(void *arg))
{
	m->hold = cond;
}

/* -- mmap_lock held for write from here on */

static void vma_add(struct model *m, struct vma v)
{
	if (!v.npages)
		return;
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		if (m->vma[i].used)
			continue;
		m->vma[i] = v;
		return;
	}
	abort(); /* scenarios are made to fit */
}

/* Take [hva, end) out of every mapping. */
static void vmas_cut(struct model *m, hva_t hva, hva_t end)
{
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		struct vma v = m->vma[i], right = v;
		hva_t v_end = v.start + v.npages * PAGE_SIZE;

		if (!v.used || v.start >= end || v_end <= hva)
			continue;
		m->vma[i].used = false;
		v.npages = v.start < hva ? (hva - v.start) >> PAGE_SHIFT : 0;
		vma_add(m, v);
		right.npages = v_end > end ? (v_end - end) >> PAGE_SHIFT : 0;
		right.start = end;
		right.index += (end - v.start) >> PAGE_SHIFT;
		vma_add(m, right);
	}
}

struct page *model_pte_clear(struct model *m, hva_t hva)
{
	struct pte *pte = model_pte(m, hva);
	struct page *p = pte->page;
	bool part = p && is_huge(m, p) && pte_step(m, hva) == 1;

	if (p && pte->dirty)
		p->dirty = true;
	if (p && !p->file && !part)
		p->maps--;
	*pte = (struct pte){.page = NULL};
	return p;
}

/* Is a huge page cut at this address? */
static bool cuts(hva_t hva)
{
	return huge_block(hva) >= 0 && huge_offset(hva);
}

/* pt_lock held: the PTEs of [hva, hva + n pages), of which huge ones are whole, and how many pages that were. */
static void clear_ptes(struct model *m, hva_t hva, u64 n, struct page **gone, u64 *ngone)
{
	for (u64 i = 0, step; i < n; i += step) {
		hva_t at = hva + i * PAGE_SIZE;
		struct page *p;

		step = pte_step(m, at);
		if (step > n - i)
			abort(); /* scenarios are made to fit */
		p = model_pte_clear(m, at);
		if (p)
			gone[(*ngone)++] = p;
		if (step > 1) /* the rest of a huge page goes last */
			m->split[huge_block(at)] = false;
	}
}

static void unmap(struct model *m, hva_t hva, u64 n)
{
	struct page *gone[MODEL_VA_PAGES];
	struct mmu_token *t;
	u64 ngone = 0;

	if (cuts(hva))
		model_split_at(m, hva);
	if (cuts(hva + n * PAGE_SIZE))
		model_split_at(m, hva + n * PAGE_SIZE);
	t = model_begin(m, hva, n);
	mutex_lock(&m->pt_lock);
	clear_ptes(m, hva, n, gone, &ngone);
	mutex_unlock(&m->pt_lock);
	vmas_cut(m, hva, hva + n * PAGE_SIZE);
	model_end(m, t);
	mutex_lock(&m->pt_lock);
	for (u64 i = 0; i < ngone; i++)
		model_page_put(m, gone[i]);
	mutex_unlock(&m->pt_lock);
}

void model_take_out(struct model *m, hva_t hva, u64 n)
{
	mutex_lock(&m->pt_lock);
	for (u64 i = 0; i < n; i++) {
		struct page *p = model_pte_clear(m, hva + i * PAGE_SIZE);

		if (p)
			model_page_put(m, p);
	}
	mutex_unlock(&m->pt_lock);
	vmas_cut(m, hva, hva + n * PAGE_SIZE);
}

static bool any_mapping(struct model *m, hva_t hva, u64 n)
{
	for (u64 i = 0; i < n; i += pte_step(m, hva + i * PAGE_SIZE)) {
		if (model_vma(m, hva + i * PAGE_SIZE))
			return true;
	}
	return false;
}

static void move_ptes(struct model *m, hva_t from, u64 n, hva_t to)
{
	struct mmu_token *t = model_begin(m, from, n);

	mutex_lock(&m->pt_lock);
	for (u64 i = 0; i < n; i++) {
		struct pte *old = model_pte(m, from + i * PAGE_SIZE);
		struct pte *new_ = model_pte(m, to + i * PAGE_SIZE);

		*new_ = *old;
		*old = (struct pte){.page = NULL};
		if (new_->page && !new_->page->file)
			new_->page->index = (to >> PAGE_SHIFT) + i;
	}
	mutex_unlock(&m->pt_lock);
	model_end(m, t);
}

/* -- the calls */

/* hugetlb's pages are reserved before what was there goes. */
static bool reserve(struct model *m, struct model_file *f, u64 index, u64 n)
{
	bool there;

	if (!f || f->kind != MODEL_FILE_HUGETLB)
		return true;
	mutex_lock(&m->pt_lock);
	there = model_huge_reserve(m, f, index, n);
	mutex_unlock(&m->pt_lock);
	return there;
}

int model_mmap(struct model *m, hva_t hva, u64 n, bool writable, struct model_file *f, u64 index)
{
	int r = -ENOMEM;

	rwlock_write_lock(&m->mmap_lock);
	if (reserve(m, f, index, n)) {
		if (any_mapping(m, hva, n))
			unmap(m, hva, n);
		vma_add(m, (struct vma){true, writable, hva, n, f, index});
		r = 0;
	}
	rwlock_write_unlock(&m->mmap_lock);
	return r;
}

int model_replace(struct model *m, hva_t hva, u64 n, struct model_file *f, u64 index)
{
	struct mmu_token *t;
	int r;

	rwlock_write_lock(&m->mmap_lock);
	t = model_begin(m, hva, n);
	unmap(m, hva, n);
	rwlock_write_unlock(&m->mmap_lock);
	sched_point("between two mappings", (void *)hva);
	r = model_mmap(m, hva, n, true, f, index);
	model_end(m, t);
	return r;
}

void model_munmap(struct model *m, hva_t hva, u64 n)
{
	rwlock_write_lock(&m->mmap_lock);
	if (any_mapping(m, hva, n))
		unmap(m, hva, n);
	rwlock_write_unlock(&m->mmap_lock);
}

int model_mremap(struct model *m, hva_t from, u64 n, hva_t to)
{
	struct vma *v, moved;
	int r = -EFAULT;

	rwlock_write_lock(&m->mmap_lock);
	v = model_vma(m, from);
	if (v && from + n * PAGE_SIZE <= v->start + v->npages * PAGE_SIZE) {
		if (any_mapping(m, to, n))
			unmap(m, to, n);
		v = model_vma(m, from); /* it may have been cut in two */
		moved = (struct vma){true, v->writable, to, n, v->file,
				     v->index + ((from - v->start) >> PAGE_SHIFT)};
		move_ptes(m, from, n, to);
		vmas_cut(m, from, from + n * PAGE_SIZE);
		vma_add(m, moved);
		r = 0;
	}
	rwlock_write_unlock(&m->mmap_lock);
	return r;
}

/* Pages mapped from hva on, up to n. */
static u64 mapped_pages(struct model *m, hva_t hva, u64 n)
{
	u64 i = 0;

	while (i < n && model_vma(m, hva + i * PAGE_SIZE))
		i++;
	return i;
}

/* A mapping of its own for this page. */
static void protect_page(struct model *m, hva_t hva, bool writable)
{
	const struct vma *v = model_vma(m, hva);
	struct vma page = {true, writable, hva, 1, v->file,
			   v->index + ((hva - v->start) >> PAGE_SHIFT)};

	vmas_cut(m, hva, hva + PAGE_SIZE);
	vma_add(m, page);
	mutex_lock(&m->pt_lock);
	/* Writing is allowed again by the next fault. */
	if (!writable)
		model_pte(m, hva)->writable = false;
	mutex_unlock(&m->pt_lock);
}

int model_mprotect(struct model *m, hva_t hva, u64 n, bool writable)
{
	struct mmu_token *t;
	u64 mapped;

	rwlock_write_lock(&m->mmap_lock);
	mapped = mapped_pages(m, hva, n);
	if (mapped) {
		model_split_at(m, hva); /* only its parts are protected by themselves */
		t = model_begin(m, hva, mapped);
		for (u64 i = 0; i < mapped; i++)
			protect_page(m, hva + i * PAGE_SIZE, writable);
		model_end(m, t);
	}
	rwlock_write_unlock(&m->mmap_lock);
	return mapped == n ? 0 : -ENOMEM;
}
