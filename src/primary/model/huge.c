/* SPDX-License-Identifier: MIT */
/*
 * Huge pages: private ones, which are split and collapse, and hugetlb's, which come from a pool and are reserved
 * when a file is mapped.
 */
#include "primary/model/internal.h"

#define HUGE LEVEL_PAGES(LEVEL_2M)

bool model_is_split(const struct model *m, hva_t hva)
{
	int block = huge_block(hva);

	return block >= 0 && m->split[block];
}

/* ------------------------------------------------------------------ split */

/* The frame stays; each entry has a reference of its own. */
void model_split_block(struct model *m, hva_t hva)
{
	int block = huge_block(hva);
	const struct pte *whole = &m->huge_pte[block];

	if (m->split[block])
		return;
	for (u32 i = 0; i < MODEL_PARTS; i++) {
		m->part[block][i] = *whole;
		if (whole->page)
			model_page_get(whole->page);
	}
	m->split[block] = true;
}

void model_split_at(struct model *m, hva_t hva)
{
	int block = huge_block(hva);
	struct mmu_token *t;

	if (block < 0 || m->split[block])
		return;
	t = model_begin(m, huge_start(hva), HUGE);
	mutex_lock(&m->pt_lock);
	model_split_block(m, hva);
	mutex_unlock(&m->pt_lock);
	model_end(m, t);
}

bool model_split(struct model *m, hva_t hva)
{
	int block = huge_block(hva);
	const struct vma *v;
	bool split = false;

	rwlock_read_lock(&m->mmap_lock);
	v = model_vma(m, hva);
	if (v && !v->file && !m->split[block] && m->huge_pte[block].page) {
		model_split_at(m, hva);
		split = true;
	}
	rwlock_read_unlock(&m->mmap_lock);
	return split;
}

/* ------------------------------------------------------------------ collapse */

/* Is it this process's alone, with nobody's reference but the page table's own? */
static bool collapsible_part(const struct model *m, const struct pte *pte, const struct page *whole)
{
	const struct page *p = pte->page;

	return !pte->guarded && !pte->swapped &&
	       (!p || p == whole || (p->maps == 1 && p->refs == 1 && !p->poisoned && !is_huge(m, p)));
}

static u32 parts_of(const struct pte *part, const struct page *whole)
{
	u32 n = 0;

	for (u32 i = 0; i < MODEL_PARTS; i++)
		n += part[i].page == whole;
	return n;
}

/* pt_lock held. */
static bool collapsible(const struct model *m, int block)
{
	const struct pte *whole = &m->huge_pte[block];
	const struct page *p = whole->page;

	if (!m->split[block] || !p || whole->guarded || p->maps != 1 || p->pins ||
	    p->refs != 1 + parts_of(m->part[block], p))
		return false;
	for (u32 i = 0; i < MODEL_PARTS; i++) {
		if (!collapsible_part(m, &m->part[block][i], p))
			return false;
	}
	return true;
}

/* pt_lock held and the invalidation begun. What no part shows is zero. */
static void collapse_block(struct model *m, int block)
{
	struct pte *whole = &m->huge_pte[block], *part = m->part[block];
	struct page *old = whole->page, *new_ = model_huge_alloc(m, old->index);

	for (u64 i = 0; i < HUGE; i++) {
		const struct page *from = i < MODEL_PARTS ? part[i].page : old;

		*page_word_of(m, new_, i) = from ? *page_word_of(m, from, i) : 0;
	}
	for (u32 i = 0; i < MODEL_PARTS; i++) {
		if (part[i].page && part[i].page != old)
			part[i].page->maps--;
		if (part[i].page)
			model_page_put(m, part[i].page);
		whole->soft_dirty |= part[i].soft_dirty;
	}
	old->maps--;
	model_page_put(m, old);
	new_->maps = 1;
	new_->dirty = true;
	whole->page = new_;
	whole->writable = whole->dirty = true;
	m->split[block] = false;
}

/* All of it is one mapping that can be written. */
static bool one_mapping(struct model *m, hva_t hva)
{
	const struct vma *v = model_vma(m, hva);
	hva_t start = huge_start(hva);

	return v && !v->file && v->writable && v->start <= start &&
	       v->start + v->npages * PAGE_SIZE >= start + LEVEL_SIZE(LEVEL_2M);
}

bool model_collapse(struct model *m, hva_t hva)
{
	int block = huge_block(hva);
	struct mmu_token *t;
	bool done = false;

	rwlock_write_lock(&m->mmap_lock);
	if (one_mapping(m, hva)) {
		t = model_begin(m, huge_start(hva), HUGE);
		mutex_lock(&m->pt_lock);
		done = collapsible(m, block);
		if (done)
			collapse_block(m, block);
		mutex_unlock(&m->pt_lock);
		model_end(m, t);
	}
	rwlock_write_unlock(&m->mmap_lock);
	return done;
}

/* ------------------------------------------------------------------ hugetlb */

u32 model_pool_free(const struct model *m)
{
	u32 used = 0;

	for (u32 n = 0; n < m->nfiles; n++) {
		for (u64 i = 0; i < MODEL_FILE_PAGES; i++)
			used += m->file[n].kind == MODEL_FILE_HUGETLB && m->file[n].reserved[i];
	}
	return m->pool - used;
}

bool model_huge_reserve(struct model *m, struct model_file *f, u64 index, u64 n)
{
	u64 first = index / HUGE, end = (index + n) / HUGE;
	u32 need = 0;

	for (u64 i = first; i < end; i++)
		need += !f->reserved[i];
	if (need > model_pool_free(m))
		return false;
	for (u64 i = first; i < end; i++)
		f->reserved[i] = true;
	f->npages = MAX(f->npages, index + n); /* a file that is mapped for writing grows to what is mapped */
	return true;
}

struct page *model_huge_file_page(struct model *m, struct model_file *f, u64 index)
{
	u64 i = index / HUGE;

	if (f->cache[i])
		return f->cache[i];
	/* A hole was punched after it was mapped: what it had is anybody's. */
	if (!f->reserved[i] && !model_pool_free(m))
		return NULL;
	f->reserved[i] = true;
	f->cache[i] = model_huge_alloc(m, i * HUGE);
	f->cache[i]->file = f;
	return f->cache[i];
}
