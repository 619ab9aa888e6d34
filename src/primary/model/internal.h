/* SPDX-License-Identifier: MIT */
/* primary/model/internal.h: the model's insides, shared by its files. */
#ifndef PRIMARY_MODEL_INTERNAL_H
#define PRIMARY_MODEL_INTERNAL_H

#include "primary/model/model.h"
#include "sync/lock.h"
#include "sync/step.h"

/* A frame with a struct page behind it, refcounted unless it is a device's. */
struct page {
	u32 refs;     /* page cache, page tables and users; 0: free */
	u32 pins;     /* long-term ones among them */
	u32 maps;     /* of anonymous memory: page tables that show it, this process's or a child's */
	bool counted; /* false: VM_PFNMAP, nobody but its driver may look at refs or the marks */
	bool dirty, accessed, poisoned;
	/* Whose it is: a file's page, or anonymous memory at an address. */
	struct model_file *file;
	u64 index; /* in the file; or the hva's page number */
};

struct model_file {
	enum model_file_kind kind;
	u64 npages;
	struct page *cache[MODEL_FILE_PAGES]; /* NULL: not in memory */
	u64 disk[MODEL_FILE_PAGES];
};

struct vma {
	bool used, writable;
	hva_t start;
	u64 npages;
	struct model_file *file;
	u64 index;
};

struct pte {
	struct page *page; /* NULL: not present */
	bool writable, dirty;
	bool swapped; /* swap_word is what the page holds or, while that is clean, a copy of it */
	u64 swap_word;
};

struct model {
	/* pt_lock guards page tables, the page cache and reference counts; never held over a call
	 * of the notifier. mmap_lock (write: the mappings change) is outermost. */
	struct rwlock mmap_lock;
	struct mutex pt_lock;
	struct page page[MODEL_PAGES];
	u8 *memory; /* MODEL_PAGES * 4 KiB */
	struct vma vma[MODEL_VMAS];
	struct pte pte[MODEL_VA_PAGES];
	struct model_file file[2];
	u32 nfiles;
	u32 held[SCHED_ACTORS]; /* references of fault_in() not yet released, by actor */
	bool (*hold)(void *arg); /* munmap is held up until this is so, or NULL */
	struct primary_notifier notifier; /* begin NULL: nobody listens */
};

static inline u64 page_number(const struct model *m, const struct page *p)
{
	return (u64)(p - m->page);
}

static inline u64 *page_word(struct model *m, const struct page *p)
{
	return (u64 *)(m->memory + page_number(m, p) * PAGE_SIZE);
}

static inline struct pte *model_pte(struct model *m, hva_t hva)
{
	u64 n = (hva - MODEL_VA) >> PAGE_SHIFT;

	return hva >= MODEL_VA && n < MODEL_VA_PAGES ? &m->pte[n] : NULL;
}

struct vma *model_vma(struct model *m, hva_t hva);
/* The address at which a mapping shows this page of the file, or 0. */
hva_t model_mapped_at(const struct vma *v, const struct model_file *f, u64 index);
/* With pt_lock held. */
struct page *model_page_alloc(struct model *m, struct model_file *f, u64 index);
void model_page_get(struct page *p);
void model_page_put(struct model *m, struct page *p);
/* Clear the PTE of hva; the reference it held is the caller's now. NULL: there was none. */
struct page *model_pte_clear(struct model *m, hva_t hva);

/*
 * Fill the PTE of hva as an access would. mmap_lock held for read; on 0 pt_lock is held as well.
 * As model_read(), and -EHWPOISON.
 */
int model_fault(struct model *m, hva_t hva, bool write);

struct mmu_token *model_begin(struct model *m, hva_t start, u64 npages);
void model_end(struct model *m, struct mmu_token *t);

#endif
