/* SPDX-License-Identifier: MIT */
/* Anonymous memory shared with a child, away in swap, merged with other, or broken. */
#include "primary/model/internal.h"

/* -- fork */

struct model_child {
	struct model *m;
	struct vma vma[MODEL_VMAS];
	struct pte pte[MODEL_VA_PAGES];
};

/* mmap_lock held for write. */
static void share_vma(struct model *m, const struct vma *v, struct model_child *c)
{
	struct mmu_token *t = model_begin(m, v->start, v->npages);

	mutex_lock(&m->pt_lock);
	for (u64 i = 0; i < v->npages; i++) {
		hva_t hva = v->start + i * PAGE_SIZE;
		struct pte *pte = model_pte(m, hva);

		pte->writable = false;
		c->pte[(hva - MODEL_VA) >> PAGE_SHIFT] = *pte;
		if (pte->page) {
			model_page_get(pte->page);
			pte->page->maps++;
		}
	}
	mutex_unlock(&m->pt_lock);
	model_end(m, t);
}

struct model_child *model_fork(struct model *m)
{
	struct model_child *c = sched_calloc(1, sizeof(*c));

	c->m = m;
	rwlock_write_lock(&m->mmap_lock);
	memcpy(c->vma, m->vma, sizeof(c->vma));
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		if (m->vma[i].used && !m->vma[i].file)
			share_vma(m, &m->vma[i], c);
	}
	rwlock_write_unlock(&m->mmap_lock);
	return c;
}

static int child_read_file(struct model *m, struct model_file *f, u64 index, u64 *value)
{
	if (index >= f->npages)
		return -ENXIO;
	*value = f->cache[index] ? *page_word(m, f->cache[index]) : f->disk[index];
	return 0;
}

int model_child_read(struct model_child *c, hva_t hva, u64 *value)
{
	struct pte *pte = &c->pte[(hva - MODEL_VA) >> PAGE_SHIFT];
	struct model *m = c->m;
	const struct vma *v = NULL;
	int r = 0;

	for (u32 i = 0; i < MODEL_VMAS; i++) {
		const struct vma *w = &c->vma[i];

		if (w->used && hva >= w->start && hva < w->start + w->npages * PAGE_SIZE)
			v = w;
	}
	if (!v)
		return -EFAULT;
	mutex_lock(&m->pt_lock);
	if (v->file)
		r = child_read_file(m, v->file, v->index + ((hva - v->start) >> PAGE_SHIFT), value);
	else if (pte->page)
		*value = *page_word(m, pte->page);
	else
		*value = pte->swapped ? pte->swap_word : 0;
	mutex_unlock(&m->pt_lock);
	return r;
}

void model_child_exit(struct model_child *c)
{
	struct model *m = c->m;

	mutex_lock(&m->pt_lock);
	for (u32 i = 0; i < MODEL_VA_PAGES; i++) {
		struct page *p = c->pte[i].page;

		if (!p)
			continue;
		p->maps--;
		model_page_put(m, p);
	}
	mutex_unlock(&m->pt_lock);
	sched_free(c);
}

/* -- swap */

/* pt_lock held and the invalidation begun: what stage 2 knew has come back. */
static bool swap_page(struct model *m, hva_t hva)
{
	struct pte *pte = model_pte(m, hva);
	struct page *p = pte->page;

	/* Only this page table may hold it. */
	if (!p || p->file || p->poisoned || p->refs != 1)
		return false;
	if (p->dirty || pte->dirty) {
		pte->swap_word = *page_word(m, p);
		pte->swapped = true;
	}
	pte->page = NULL;
	pte->writable = pte->dirty = false;
	p->maps--;
	model_page_put(m, p);
	return true;
}

bool model_swap_out(struct model *m, hva_t hva)
{
	struct mmu_token *t;
	bool out = false;

	rwlock_read_lock(&m->mmap_lock);
	if (model_vma(m, hva)) {
		t = model_begin(m, hva, 1);
		mutex_lock(&m->pt_lock);
		out = swap_page(m, hva);
		mutex_unlock(&m->pt_lock);
		model_end(m, t);
	}
	rwlock_read_unlock(&m->mmap_lock);
	return out;
}

/* -- merging */

/* pt_lock held. */
static bool mergeable(const struct page *p)
{
	return p && !p->file && !p->poisoned && p->refs == 1;
}

/* pt_lock held and both invalidations begun. */
static bool merge_pages(struct model *m, hva_t a, hva_t b)
{
	struct pte *pa = model_pte(m, a), *pb = model_pte(m, b);
	struct page *gone = pb->page;

	if (!mergeable(pa->page) || !mergeable(gone) ||
	    *page_word(m, pa->page) != *page_word(m, gone))
		return false;
	model_pte_clear(m, b);
	model_page_get(pa->page);
	pa->page->maps++;
	pa->page->merged = true;
	pa->writable = false;
	*pb = (struct pte){.page = pa->page};
	model_page_put(m, gone);
	return true;
}

bool model_merge(struct model *m, hva_t a, hva_t b)
{
	struct mmu_token *ta, *tb;
	bool merged = false;

	rwlock_read_lock(&m->mmap_lock);
	if (a != b && model_vma(m, a) && model_vma(m, b)) {
		ta = model_begin(m, a, 1);
		tb = model_begin(m, b, 1);
		mutex_lock(&m->pt_lock);
		merged = merge_pages(m, a, b);
		mutex_unlock(&m->pt_lock);
		model_end(m, tb);
		model_end(m, ta);
	}
	rwlock_read_unlock(&m->mmap_lock);
	return merged;
}

/* -- memory failure */

void model_poison(struct model *m, hva_t hva)
{
	struct mmu_token *t;
	struct page *p;

	rwlock_read_lock(&m->mmap_lock);
	if (model_vma(m, hva)) {
		t = model_begin(m, hva, 1);
		mutex_lock(&m->pt_lock);
		p = model_pte(m, hva)->page;
		/* The PTE stays, as the kernel's hwpoison entry does, and is no longer a way in. */
		if (p)
			p->poisoned = true;
		mutex_unlock(&m->pt_lock);
		model_end(m, t);
	}
	rwlock_read_unlock(&m->mmap_lock);
}
