/* SPDX-License-Identifier: MIT */
/*
 * The primary MMU takes memory away: munmap, truncation, writeback, migration. Each is
 * begin, change the page tables, end, and only then do frames go to somebody else, in the order
 * the kernel keeps: notifier, page table, flush, put.
 */
#include "primary/model/internal.h"

struct mmu_token *model_begin(struct model *m, hva_t start, u64 npages)
{
	const struct primary_notifier *n = &m->notifier;
	struct mmu_token *t = NULL;

	sched_point("invalidate begin", (void *)start);
	if (n->begin && n->get(n->ctx)) {
		t = n->begin(n->ctx, start, start + npages * PAGE_SIZE);
		n->put(n->ctx);
	}
	return t;
}

void model_end(struct model *m, struct mmu_token *t)
{
	const struct primary_notifier *n = &m->notifier;

	sched_point("invalidate end", t);
	if (t)
		n->end(n->ctx, t);
}

/* Clear the PTE of hva; the reference it held is the caller's now. */
static struct page *pte_clear(struct model *m, hva_t hva)
{
	struct pte *pte = model_pte(m, hva);
	struct page *p = pte->page;

	if (p && pte->dirty)
		p->dirty = true;
	pte->page = NULL;
	return p;
}

void model_munmap(struct model *m, hva_t hva, u64 n)
{
	struct page *gone[MODEL_VA_PAGES] = {NULL};
	struct mmu_token *t;
	struct vma *v;

	rwlock_write_lock(&m->mmap_lock);
	v = model_vma(m, hva);
	if (!v) {
		rwlock_write_unlock(&m->mmap_lock);
		return;
	}
	t = model_begin(m, hva, n);
	mutex_lock(&m->pt_lock);
	for (u64 i = 0; i < n; i++)
		gone[i] = pte_clear(m, hva + i * PAGE_SIZE);
	mutex_unlock(&m->pt_lock);
	v->used = false;
	model_end(m, t);
	mutex_lock(&m->pt_lock);
	for (u64 i = 0; i < n; i++) {
		if (gone[i])
			model_page_put(m, gone[i]);
	}
	mutex_unlock(&m->pt_lock);
	rwlock_write_unlock(&m->mmap_lock);
}

/* Address at which a mapping shows this page of the file, or 0. */
static hva_t mapped_at(const struct vma *v, const struct model_file *f, u64 index)
{
	if (!v->used || v->file != f || index < v->index || index >= v->index + v->npages)
		return 0;
	return v->start + (index - v->index) * PAGE_SIZE;
}

/* Unmap a file's page everywhere. */
static void unmap_file_page(struct model *m, struct model_file *f, u64 index)
{
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		hva_t hva = mapped_at(&m->vma[i], f, index);
		struct mmu_token *t;
		struct page *p;

		if (!hva)
			continue;
		t = model_begin(m, hva, 1);
		mutex_lock(&m->pt_lock);
		p = pte_clear(m, hva);
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

void model_truncate(struct model *m, struct model_file *f, u64 npages)
{
	u64 old = f->npages;

	/* The size first: a fault after this finds the end of the file. */
	mutex_lock(&m->pt_lock);
	f->npages = npages;
	mutex_unlock(&m->pt_lock);
	for (u64 i = npages; i < old; i++) {
		struct page *p = f->cache[i];

		unmap_file_page(m, f, i);
		if (!p)
			continue;
		if (f->kind == MODEL_FILE_DAX)
			sched_wait("references to a DAX page", only_cache_holds, p);
		mutex_lock(&m->pt_lock);
		f->cache[i] = NULL;
		/* Its place in the file is gone; whoever still holds it writes into the void. */
		p->dirty = false;
		model_page_put(m, p);
		f->disk[i] = 0;
		mutex_unlock(&m->pt_lock);
	}
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
		hva_t hva = mapped_at(&m->vma[i], f, index);
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

/* With pt_lock held and the invalidation begun. */
static bool replace_frame(struct model *m, struct pte *pte)
{
	struct page *old = pte->page, *new_;

	/* Only the page table may hold it; any other user keeps it where it is. */
	if (!old || !old->counted || old->file || old->refs != 1)
		return false;
	new_ = model_page_alloc(m, NULL, old->index);
	*page_word(m, new_) = *page_word(m, old);
	new_->dirty = old->dirty;
	pte->page = new_;
	model_page_put(m, old);
	return true;
}

bool model_migrate(struct model *m, hva_t hva)
{
	struct mmu_token *t;
	bool moved = false;

	rwlock_read_lock(&m->mmap_lock);
	if (model_vma(m, hva)) {
		t = model_begin(m, hva, 1);
		mutex_lock(&m->pt_lock);
		moved = replace_frame(m, model_pte(m, hva));
		mutex_unlock(&m->pt_lock);
		model_end(m, t);
	}
	rwlock_read_unlock(&m->mmap_lock);
	return moved;
}

bool model_age(struct model *m, hva_t hva)
{
	const struct primary_notifier *n = &m->notifier;
	bool young = false;
	struct page *p;

	rwlock_read_lock(&m->mmap_lock);
	if (n->begin && model_vma(m, hva)) {
		young = n->age(n->ctx, hva, hva + PAGE_SIZE);
		mutex_lock(&m->pt_lock);
		/* What stage 2 said was handed back before age() returned. */
		p = model_pte(m, hva)->page;
		if (p)
			p->accessed = false;
		mutex_unlock(&m->pt_lock);
	}
	rwlock_read_unlock(&m->mmap_lock);
	return young;
}
