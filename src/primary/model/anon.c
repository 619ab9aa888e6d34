/* SPDX-License-Identifier: MIT */
/* Anonymous memory shared with a child, away in swap, merged with other, or broken. */
#include "primary/model/internal.h"

/* -- fork */

struct model_child {
	struct model *m;
	struct vma vma[MODEL_VMAS];
	struct pte pte[MODEL_VA_PAGES], huge_pte[MODEL_HUGE_VAS], part[MODEL_HUGE_VAS][MODEL_PARTS];
	bool split[MODEL_HUGE_VAS];
};

static struct pte *child_pte(struct model_child *c, hva_t hva)
{
	int block = huge_block(hva);

	if (block < 0)
		return &c->pte[(hva - MODEL_VA) >> PAGE_SHIFT];
	return c->split[block] && huge_offset(hva) < MODEL_PARTS ? &c->part[block][huge_offset(hva)]
								 : &c->huge_pte[block];
}

/* A page that somebody has pinned stays this process's, whoever writes first: the child gets a copy at once. */
static struct page *copy_for_child(struct model *m, hva_t hva, const struct page *old)
{
	bool part = pte_step(m, hva) == 1;
	struct page *p = part ? model_page_alloc(m, NULL, hva >> PAGE_SHIFT) : model_huge_alloc(m, old->index);

	for (u64 i = 0; i < page_pages(m, p); i++)
		*page_word_of(m, p, i) = *page_word_of(m, old, (huge_block(hva) < 0 ? 0 : hva >> PAGE_SHIFT) + i);
	p->maps = 1;
	return p;
}

/* pt_lock held and the invalidation begun. */
static void share_pte(struct model *m, hva_t hva, struct pte *childs)
{
	struct pte *pte = model_pte(m, hva);
	struct page *p = pte->page;

	*childs = *pte;
	childs->writable = false;
	if (p && p->pins) {
		childs->page = copy_for_child(m, hva, p);
		return;
	}
	pte->writable = false;
	if (!p)
		return;
	model_page_get(p);
	p->maps += pte_step(m, hva) > 1 || !is_huge(m, p);
}

static void split_pinned(struct model *m, const struct vma *v)
{
	for (u64 i = 0; i < v->npages; i += pte_step(m, v->start + i * PAGE_SIZE)) {
		hva_t hva = v->start + i * PAGE_SIZE;
		const struct page *p = model_pte(m, hva)->page;

		if (p && p->pins)
			model_split_at(m, hva);
	}
}

/* mmap_lock held for write. */
static void share_vma(struct model *m, const struct vma *v, struct model_child *c)
{
	struct mmu_token *t;

	split_pinned(m, v);
	t = model_begin(m, v->start, v->npages);
	mutex_lock(&m->pt_lock);
	memcpy(c->split, m->split, sizeof(c->split));
	for (u64 i = 0; i < v->npages; i += pte_step(m, v->start + i * PAGE_SIZE))
		share_pte(m, v->start + i * PAGE_SIZE, child_pte(c, v->start + i * PAGE_SIZE));
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
	const struct page *p = index < f->npages ? model_file_page(m, f, index) : NULL;

	if (!p)
		return -ENXIO;
	*value = *page_word_of(m, p, index);
	return 0;
}

int model_child_read(struct model_child *c, hva_t hva, u64 *value)
{
	struct model *m = c->m;
	struct pte *pte;
	const struct vma *v = NULL;
	int r = 0;

	for (u32 i = 0; i < MODEL_VMAS; i++) {
		const struct vma *w = &c->vma[i];

		if (w->used && hva >= w->start && hva < w->start + w->npages * PAGE_SIZE)
			v = w;
	}
	if (!v)
		return -EFAULT;
	pte = child_pte(c, hva);
	mutex_lock(&m->pt_lock);
	if (v->file)
		r = child_read_file(m, v->file, v->index + ((hva - v->start) >> PAGE_SHIFT), value);
	else if (pte->page)
		*value = *page_word_of(m, pte->page, hva >> PAGE_SHIFT);
	else
		*value = pte->swapped ? pte->swap_word : 0;
	mutex_unlock(&m->pt_lock);
	return r;
}

/* Of a huge frame that is split, each entry has a reference and one counts. */
static void put_childs(struct model *m, const struct pte *pte, u32 n, bool parts)
{
	for (u32 i = 0; i < n; i++) {
		struct page *p = pte[i].page;

		if (!p)
			continue;
		p->maps -= !parts || !is_huge(m, p);
		model_page_put(m, p);
	}
}

void model_child_exit(struct model_child *c)
{
	struct model *m = c->m;

	mutex_lock(&m->pt_lock);
	put_childs(m, c->pte, MODEL_VA_PAGES, false);
	put_childs(m, c->huge_pte, MODEL_HUGE_VAS, false);
	put_childs(m, c->part[0], MODEL_HUGE_VAS * MODEL_PARTS, true);
	mutex_unlock(&m->pt_lock);
	sched_free(c);
}

/* -- swap */

/* For model_change_entry(). */
static bool swap_page(struct model *m, hva_t hva, void *unused)
{
	struct pte *pte = model_pte(m, hva);
	struct page *p = pte->page;

	/* Only this page table may hold it. */
	if (!p || p->file || p->poisoned || p->lazy || p->refs != 1 || is_huge(m, p))
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
	return model_change_entry(m, hva, MODEL_ENTRY_THERE, swap_page, NULL);
}

/* -- merging */

/* pt_lock held. */
static bool mergeable(const struct model *m, const struct pte *pte)
{
	const struct page *p = pte->page;

	return p && !pte->guarded && !p->file && !p->poisoned && !p->lazy && p->refs == 1 && !is_huge(m, p);
}

/* pt_lock held and both invalidations begun. */
static bool merge_pages(struct model *m, hva_t a, hva_t b)
{
	struct pte *pa = model_pte(m, a), *pb = model_pte(m, b);
	struct page *gone = pb->page;

	if (!mergeable(m, pa) || !mergeable(m, pb) ||
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

/* Of a private huge page the part that failed becomes a page of its own, and the rest is as it was. pt_lock held. */
static void take_apart(struct model *m, hva_t hva)
{
	struct pte *pte = model_pte(m, hva);
	struct page *old = pte->page;

	if (!old || !is_huge(m, old) || old->file)
		return;
	pte->page = model_page_alloc(m, NULL, hva >> PAGE_SHIFT);
	pte->page->maps = 1;
	model_page_put(m, old);
}

/* For model_change_entry(). The PTE stays, as the kernel's hwpoison entry does, and is no longer a way in. */
static bool poison_page(struct model *m, hva_t hva, void *unused)
{
	struct page *p;

	take_apart(m, hva);
	p = model_pte(m, hva)->page;
	if (p)
		p->poisoned = true;
	return p;
}

void model_poison(struct model *m, hva_t hva)
{
	model_change_entry(m, hva, MODEL_ENTRY_SMALL, poison_page, NULL);
}
