/* SPDX-License-Identifier: MIT */
/*
 * The primary MMU takes memory away by itself or for a file's sake: truncation, writeback,
 * migration, aging; and the two halves of every invalidation.
 */
#include "primary/model/internal.h"

/* Against the VM's teardown: destroy() takes the same lock. */
static bool get_vm(struct model *m)
{
	const struct primary_notifier *n = &m->notifier;
	bool got;

	SCHED_CHECK(m->nvms < 2, "a mapping changes, and one VM of two is told");
	mutex_lock(&m->pt_lock);
	got = n->begin && n->get(n->mmu);
	mutex_unlock(&m->pt_lock);
	return got;
}

struct mmu_token *model_begin(struct model *m, hva_t start, u64 npages)
{
	const struct primary_notifier *n = &m->notifier;
	struct mmu_token *t = NULL;

	sched_point("invalidate begin", (void *)start);
	if (get_vm(m)) {
		t = n->begin(n->mmu, start, start + npages * PAGE_SIZE);
		n->put(n->mmu);
	}
	return t;
}

struct mmu_token *model_hide(struct model *m)
{
	const struct primary_notifier *n = &m->notifier;
	struct mmu_token *t = NULL;

	sched_point("stage 2 is hidden", m);
	if (get_vm(m)) {
		t = n->hide(n->mmu);
		n->put(n->mmu);
	}
	return t;
}

void model_end(struct model *m, struct mmu_token *t)
{
	const struct primary_notifier *n = &m->notifier;

	sched_point("invalidate end", t);
	if (t && m->hold)
		sched_wait("a monitor", m->hold, NULL);
	if (t)
		n->end(t);
}

bool model_change_entry(struct model *m, hva_t hva, enum model_entry which,
			bool (*fn)(struct model *m, hva_t hva, void *arg), void *arg)
{
	const struct vma *v;
	struct mmu_token *t;
	bool done = false;

	rwlock_read_lock(&m->mmap_lock);
	v = model_vma(m, hva);
	if (v) {
		if (which == MODEL_ENTRY_SMALL && !v->file)
			model_split_at(m, hva);
		else if (huge_block(hva) >= 0 && !model_is_split(m, hva))
			hva = huge_start(hva);
		t = model_begin(m, hva, pte_step(m, hva));
		mutex_lock(&m->pt_lock);
		done = fn(m, hva, arg);
		mutex_unlock(&m->pt_lock);
		model_end(m, t);
	}
	rwlock_read_unlock(&m->mmap_lock);
	return done;
}

/* Unmap a file's page everywhere. */
static void unmap_file_page(struct model *m, struct model_file *f, u64 index)
{
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		hva_t hva = model_mapped_at(&m->vma[i], f, index);
		struct mmu_token *t;
		struct page *p;

		if (!hva)
			continue;
		t = model_begin(m, hva, file_step(f));
		mutex_lock(&m->pt_lock);
		p = model_pte_clear(m, hva);
		if (p)
			model_page_put(m, p);
		mutex_unlock(&m->pt_lock);
		model_end(m, t);
	}
}

static bool only_cache_holds(void *arg)
{
	return ((struct page *)arg)->refs <= 1;
}

/* pt_lock held. */
static bool file_page_mapped(struct model *m, const struct model_file *f, u64 index)
{
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		hva_t hva = model_mapped_at(&m->vma[i], f, index);

		if (hva && model_pte(m, hva)->page)
			return true;
	}
	return false;
}

/* index: the page of 4 KiB that it begins with. */
static void drop_file_page(struct model *m, struct model_file *f, u64 index)
{
	u64 i = index / file_step(f);
	struct page *p;

	for (;;) {
		unmap_file_page(m, f, index);
		p = f->cache[i];
		if (p && f->kind == MODEL_FILE_DAX)
			sched_wait("references to a DAX page", only_cache_holds, p);
		mutex_lock(&m->pt_lock);
		if (!file_page_mapped(m, f, index))
			break;
		/* A fault was faster. */
		mutex_unlock(&m->pt_lock);
	}
	p = f->cache[i];
	f->cache[i] = NULL;
	f->disk[i] = 0;
	f->reserved[i] = false;
	/* Its place in the file is gone; whoever still holds it writes into the void. */
	if (p) {
		p->dirty = false;
		p->file = NULL;
		model_page_put(m, p);
	}
	mutex_unlock(&m->pt_lock);
}

void model_punch(struct model *m, struct model_file *f, u64 index)
{
	drop_file_page(m, f, index);
}

void model_truncate(struct model *m, struct model_file *f, u64 npages)
{
	u64 old = f->npages;

	/* The size first: a fault after this finds the end of the file. */
	mutex_lock(&m->pt_lock);
	f->npages = npages;
	mutex_unlock(&m->pt_lock);
	for (u64 i = npages; i < old; i += file_step(f))
		drop_file_page(m, f, i);
}

void model_extend(struct model *m, struct model_file *f, u64 npages)
{
	mutex_lock(&m->pt_lock);
	f->npages = npages;
	mutex_unlock(&m->pt_lock);
}

/* Write-protect a page in every mapping, so that the next write is a fault again. */
static void protect_file_page(struct model *m, struct model_file *f, u64 index, struct page *p)
{
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		hva_t hva = model_mapped_at(&m->vma[i], f, index);
		struct mmu_token *t;
		struct pte *pte;

		if (!hva)
			continue;
		t = model_begin(m, hva, 1);
		mutex_lock(&m->pt_lock);
		pte = model_pte(m, hva);
		if (pte->page == p)
			pte->writable = pte->dirty = false;
		mutex_unlock(&m->pt_lock);
		model_end(m, t);
	}
}

void model_writeback(struct model *m, struct model_file *f, u64 index)
{
	struct page *p;

	if (f->kind == MODEL_FILE_HUGETLB)
		return; /* it has no medium */
	mutex_lock(&m->pt_lock);
	p = f->cache[index];
	if (!p || !p->dirty) {
		mutex_unlock(&m->pt_lock);
		return;
	}
	model_page_get(p);
	p->dirty = false;
	mutex_unlock(&m->pt_lock);
	protect_file_page(m, f, index, p);
	mutex_lock(&m->pt_lock);
	if (f->cache[index] == p)
		f->disk[index] = *page_word(m, p);
	model_page_put(m, p);
	mutex_unlock(&m->pt_lock);
}

/* References that the page table itself has: of a huge frame, one for each of its entries. */
static u32 own_references(struct model *m, hva_t hva, const struct page *p)
{
	int block = huge_block(hva);
	u32 n = 1;

	if (block < 0 || !m->split[block] || !is_huge(m, p))
		return n;
	for (u32 i = 0; i < MODEL_PARTS; i++)
		n += m->part[block][i].page == p;
	return n;
}

/* For model_change_entry(). A part of a huge page goes to a frame of its own. */
static bool replace_frame(struct model *m, hva_t hva, void *unused)
{
	bool part = pte_step(m, hva) == 1;
	struct pte *pte = model_pte(m, hva);
	struct page *old = pte->page, *new_;
	bool of_huge = old && is_huge(m, old);

	/* Only the page table may hold it; any other user keeps it where it is. */
	if (!old || !old->counted || old->file || old->pins || old->refs != own_references(m, hva, old) ||
	    (of_huge && model_is_split(m, hva) && (!part || old->maps != 1)))
		return false;
	new_ = part ? model_page_alloc(m, NULL, old->merged ? old->index : hva >> PAGE_SHIFT)
		    : model_huge_alloc(m, old->index);
	for (u64 i = 0; i < page_pages(m, new_); i++)
		*page_word_of(m, new_, i) = *page_word_of(m, old, (hva >> PAGE_SHIFT) + i);
	new_->dirty = old->dirty;
	new_->lazy = old->lazy;
	new_->maps = 1;
	new_->merged = old->merged;
	pte->page = new_;
	model_page_put(m, old);
	return true;
}

bool model_migrate(struct model *m, hva_t hva)
{
	return model_change_entry(m, hva, MODEL_ENTRY_THERE, replace_frame, NULL);
}

bool model_age(struct model *m, hva_t hva)
{
	const struct primary_notifier *n = &m->notifier;
	bool young = false;
	struct page *p;

	rwlock_read_lock(&m->mmap_lock);
	if (n->begin && model_vma(m, hva)) {
		young = n->age(n->mmu, hva, hva + PAGE_SIZE);
		mutex_lock(&m->pt_lock);
		/* What stage 2 said was handed back before age() returned; what the host used itself, no stage 2 says. */
		p = model_pte(m, hva)->page;
		if (p) {
			young |= p->accessed;
			p->accessed = false;
		}
		mutex_unlock(&m->pt_lock);
	}
	rwlock_read_unlock(&m->mmap_lock);
	return young;
}
