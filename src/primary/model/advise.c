/* SPDX-License-Identifier: MIT */
/*
 * What a process says of its memory (madvise), and what it asks: which pages were written since (soft-dirty), and to
 * be asked before they are (userfaultfd's write protection). And another process that has a file mapped.
 */
#include "primary/model/internal.h"

/* ------------------------------------------------------------------ MADV_DONTNEED, MADV_FREE */

/* For model_change_entry(). */
static bool drop_page(struct model *m, hva_t hva, void *unused)
{
	struct page *p = model_pte_clear(m, hva);

	if (p)
		model_page_put(m, p);
	return p;
}

void model_dontneed(struct model *m, hva_t hva)
{
	model_change_entry(m, hva, MODEL_ENTRY_SMALL, drop_page, NULL);
}

/* For model_change_entry(). A file's pages are never in swap and never lazy. */
static bool free_lazily(struct model *m, hva_t hva, void *unused)
{
	struct pte *pte = model_pte(m, hva);
	struct page *p = pte->page;

	pte->swapped = false; /* a copy in swap is not needed either */
	if (!p || p->file || p->maps != 1 || is_huge(m, p))
		return false;
	p->dirty = pte->dirty = false;
	p->lazy = true;
	return true;
}

void model_madv_free(struct model *m, hva_t hva)
{
	model_change_entry(m, hva, MODEL_ENTRY_SMALL, free_lazily, NULL);
}

/* For model_change_entry(). */
static bool take_lazy(struct model *m, hva_t hva, void *unused)
{
	struct pte *pte = model_pte(m, hva);
	struct page *p = pte->page;

	if (!p || !p->lazy)
		return false;
	/* Written since, or about to be by who holds it. */
	if (p->dirty || pte->dirty || p->refs != 1) {
		p->lazy = p->refs != 1 && !p->dirty && !pte->dirty;
		return false;
	}
	model_pte_clear(m, hva);
	model_page_put(m, p);
	return true;
}

bool model_reclaim_lazy(struct model *m, hva_t hva)
{
	return model_change_entry(m, hva, MODEL_ENTRY_THERE, take_lazy, NULL);
}

/* ------------------------------------------------------------------ soft-dirty */

/* mmap_lock held for write. */
static void clear_vma(struct model *m, const struct vma *v)
{
	struct mmu_token *t = model_begin(m, v->start, v->npages);

	mutex_lock(&m->pt_lock);
	for (u64 i = 0; i < v->npages; i += pte_step(m, v->start + i * PAGE_SIZE)) {
		struct pte *pte = model_pte(m, v->start + i * PAGE_SIZE);

		if (pte->page && pte->dirty)
			pte->page->dirty = true;
		pte->writable = pte->soft_dirty = false;
	}
	mutex_unlock(&m->pt_lock);
	model_end(m, t);
}

void model_clear_soft_dirty(struct model *m)
{
	rwlock_write_lock(&m->mmap_lock);
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		if (m->vma[i].used)
			clear_vma(m, &m->vma[i]);
	}
	rwlock_write_unlock(&m->mmap_lock);
}

bool model_soft_dirty(struct model *m, hva_t hva)
{
	const struct pte *pte;
	bool dirty;

	rwlock_read_lock(&m->mmap_lock);
	mutex_lock(&m->pt_lock);
	pte = model_pte(m, hva);
	dirty = pte && pte->soft_dirty;
	mutex_unlock(&m->pt_lock);
	rwlock_read_unlock(&m->mmap_lock);
	return dirty;
}

/* ------------------------------------------------------------------ write protection by userfaultfd */

/* For model_change_entry(). What is not there cannot be protected. */
static bool guard(struct model *m, hva_t hva, void *on)
{
	struct pte *pte = model_pte(m, hva);

	pte->guarded = *(const bool *)on && (pte->page || pte->swapped);
	if (pte->guarded)
		pte->writable = false;
	if (!*(const bool *)on)
		m->guard_hits = false;
	return pte->guarded;
}

static void tell_guard(const struct primary_notifier *n, hva_t hva, bool on)
{
	if (n->begin)
		n->under_uffd(n->mmu, on, &(struct primary_range){hva, hva + PAGE_SIZE});
}

void model_guard(struct model *m, hva_t hva, bool on)
{
	model_change_entry(m, hva, MODEL_ENTRY_SMALL, guard, &on);
	tell_guard(&m->notifier, hva, on);
}

bool model_guarded(struct model *m, hva_t hva)
{
	const struct pte *pte = model_pte(m, hva);

	return pte && pte->guarded;
}

bool model_guard_hit(void *m)
{
	return ((struct model *)m)->guard_hits;
}

/* ------------------------------------------------------------------ another process */

/* Its page table has the page as long as it is in the file, and is told of a truncation as ours is. */
static int other_access(struct model *m, struct model_file *f, u64 index, bool write, u64 *value)
{
	struct page *p;
	int r = -ENXIO;

	sched_point("another process", f);
	mutex_lock(&m->pt_lock);
	p = model_file_page(m, f, index);
	if (p && write) {
		*page_word_of(m, p, index) = *value;
		p->dirty = true;
	} else if (p) {
		*value = *page_word_of(m, p, index);
	}
	if (p)
		r = 0;
	mutex_unlock(&m->pt_lock);
	return r;
}

int model_other_write(struct model *m, struct model_file *f, u64 index, u64 value)
{
	return other_access(m, f, index, true, &value);
}

int model_other_read(struct model *m, struct model_file *f, u64 index, u64 *value)
{
	return other_access(m, f, index, false, value);
}
