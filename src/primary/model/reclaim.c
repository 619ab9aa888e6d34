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

/* Unmap a file's page everywhere. */
static void unmap_file_page(struct model *m, struct model_file *f, u64 index)
{
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		hva_t hva = model_mapped_at(&m->vma[i], f, index);
		struct mmu_token *t;
		struct page *p;

		if (!hva)
			continue;
		t = model_begin(m, hva, 1);
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

static void drop_file_page(struct model *m, struct model_file *f, u64 index)
{
	struct page *p;

	for (;;) {
		unmap_file_page(m, f, index);
		p = f->cache[index];
		if (p && f->kind == MODEL_FILE_DAX)
			sched_wait("references to a DAX page", only_cache_holds, p);
		mutex_lock(&m->pt_lock);
		if (!file_page_mapped(m, f, index))
			break;
		/* A fault was faster. */
		mutex_unlock(&m->pt_lock);
	}
	p = f->cache[index];
	f->cache[index] = NULL;
	f->disk[index] = 0;
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
	for (u64 i = npages; i < old; i++)
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
	new_->maps = old->maps;
	new_->merged = old->merged;
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
		young = n->age(n->mmu, hva, hva + PAGE_SIZE);
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
