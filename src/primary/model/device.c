/* SPDX-License-Identifier: MIT */
/*
 * What only drivers do to memory that is mapped: move it, or go away with it. Neither asks for
 * anybody's reference; the notifier is all that others get.
 */
#include "primary/model/internal.h"

/* pt_lock held and the invalidations begun. */
static void move_page(struct model *m, struct model_file *f, u64 index)
{
	struct page *old = f->cache[index], *new_ = model_page_alloc(m, f, index);

	*page_word(m, new_) = *page_word(m, old);
	f->cache[index] = new_;
	for (u32 i = 0; i < MODEL_VMAS; i++) {
		hva_t hva = model_mapped_at(&m->vma[i], f, index);
		struct page *p = hva ? model_pte_clear(m, hva) : NULL;

		if (p)
			model_page_put(m, p);
	}
	model_page_put(m, old);
}

void model_driver_move(struct model *m, struct model_file *f)
{
	struct mmu_token *t[MODEL_VMAS];

	for (u32 i = 0; i < MODEL_VMAS; i++) {
		const struct vma *v = &m->vma[i];

		t[i] = v->used && v->file == f ? model_begin(m, v->start, v->npages) : NULL;
	}
	mutex_lock(&m->pt_lock);
	for (u64 i = 0; i < f->npages; i++) {
		if (f->cache[i])
			move_page(m, f, i);
	}
	mutex_unlock(&m->pt_lock);
	for (u32 i = 0; i < MODEL_VMAS; i++)
		model_end(m, t[i]);
}

void model_unbind(struct model *m, struct model_file *f)
{
	/* As a truncation: no new faults, unmap, wait for references; then nothing is left. */
	model_truncate(m, f, 0);
}
