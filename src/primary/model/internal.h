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
	u32 maps;     /* of anonymous memory: page tables that show it, this process's or a child's; a
		       * huge frame counts once for each, in however many entries it is split */
	bool counted; /* false: VM_PFNMAP, nobody but its driver may look at refs or the marks */
	bool dirty, accessed, poisoned;
	bool stranger; /* another process's */
	bool merged;   /* it was found to hold the same at several addresses: index means nothing */
	bool lazy;     /* its owner does not need it (MADV_FREE): it may go while it is clean */
	/* Whose it is: a file's or a store's page, or anonymous memory at an address. */
	struct model_file *file;
	struct model_store *store;
	u64 index; /* in the file or store; or the hva's page number */
};

struct model_file {
	enum model_file_kind kind;
	u64 npages;
	struct page *cache[MODEL_FILE_PAGES]; /* of file_step() pages each; NULL: not in memory */
	u64 disk[MODEL_FILE_PAGES];
	bool reserved[MODEL_FILE_PAGES]; /* hugetlb: there is a page of the pool for it, or it is there */
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
	bool soft_dirty; /* written since model_clear_soft_dirty() */
	bool guarded;    /* a write waits for a monitor (userfaultfd's write protection) */
	bool swapped; /* swap_word is what the page holds or, while that is clean, a copy of it */
	u64 swap_word;
};

enum place_what {
	PLACE_FREE,
	PLACE_WINDOW,
	PLACE_LEFT, /* nothing, and no window goes there any more */
	PLACE_VMM,
};

/* A page of the arena. */
struct place {
	enum place_what what;
	hva_t hva;	   /* that a window shows */
	struct page *page; /* of which it holds a reference */
	u64 word;	   /* the VMM's */
};

#define MODEL_STORES	   3
#define MODEL_STORE_FRAMES 4 /* of its size of page */

struct model_store {
	struct model *m;
	bool used;
	u64 nframes;
	u64 step; /* 4 KiB pages of each */
	struct page *page[MODEL_STORE_FRAMES]; /* NULL: reads as zeroes */
};

struct model {
	/* pt_lock guards page tables, the page cache, stores and reference counts; never held over
	 * a call of the notifier. mmap_lock (write: the mappings change) is outermost. */
	struct rwlock mmap_lock;
	struct mutex pt_lock;
	struct page page[MODEL_PAGES + MODEL_HUGE_PAGES];
	u8 *memory; /* small frames within the first 2 MiB, then the huge ones */
	struct vma vma[MODEL_VMAS];
	struct pte pte[MODEL_VA_PAGES], huge_pte[MODEL_HUGE_VAS];
	/* A huge page that is mapped in parts: its first pages, and what huge_pte then says is of the rest. */
	bool split[MODEL_HUGE_VAS];
	struct pte part[MODEL_HUGE_VAS][MODEL_PARTS];
	u32 pool; /* huge frames that hugetlb files may have */
	u32 ranges; /* that VMs have registered; their callers' slots_lock, of one VM after the other */
	bool guard_hits; /* a write waits for a monitor */
	struct model_store store[MODEL_STORES];
	struct model_file file[2];
	u32 nfiles;
	u32 held[SCHED_ACTORS]; /* references of fault_in() not yet released, by actor */
	bool (*hold)(void *arg); /* munmap is held up until this is so, or NULL */
	bool windowed;
	struct place place[MODEL_PLACES]; /* pt_lock */
	struct {
		bool pending; /* its caller waits */
		hva_t start, end;
	} event;
	struct primary_notifier notifier; /* begin NULL: nobody listens */
	u32 nvms;
};

/* ops.c: -ENOMEM when an allocation is to fail that Linux's primary would make here. */
int model_need_memory(void);

static inline u64 page_number(const struct model *m, const struct page *p)
{
	return (u64)(p - m->page);
}

/* 4 KiB pages of a frame. */
static inline u64 page_pages(const struct model *m, const struct page *p)
{
	return page_number(m, p) < MODEL_PAGES ? 1 : LEVEL_PAGES(LEVEL_2M);
}

static inline u64 *page_word(struct model *m, const struct page *p)
{
	u64 n = page_number(m, p);

	if (n < MODEL_PAGES)
		return (u64 *)(m->memory + n * PAGE_SIZE);
	return (u64 *)(m->memory + (n - MODEL_PAGES + 1) * LEVEL_SIZE(LEVEL_2M));
}

/* The word of a frame's 4 KiB that holds the n-th page of what the frame is part of. */
static inline u64 *page_word_of(struct model *m, const struct page *p, u64 n)
{
	return page_word(m, p) + (n & (page_pages(m, p) - 1)) * (PAGE_SIZE / sizeof(u64));
}

/* The frame that holds an address of the machine's memory, or NULL. */
static inline struct page *page_at(struct model *m, const void *host)
{
	u64 off = (u64)((const u8 *)host - m->memory);
	u64 block = off >> LEVEL_SHIFT(LEVEL_2M);

	if (block)
		return block <= MODEL_HUGE_PAGES ? &m->page[MODEL_PAGES + block - 1] : NULL;
	return off >> PAGE_SHIFT < MODEL_PAGES ? &m->page[off >> PAGE_SHIFT] : NULL;
}

static inline bool is_huge(const struct model *m, const struct page *p)
{
	return page_number(m, p) >= MODEL_PAGES;
}

/* The huge page of address space that hva is of, or -1; and the page in it. */
static inline int huge_block(hva_t hva)
{
	u64 n = (hva - MODEL_HUGE_VA) >> LEVEL_SHIFT(LEVEL_2M);

	return hva >= MODEL_HUGE_VA && n < MODEL_HUGE_VAS ? (int)n : -1;
}

static inline u64 huge_offset(hva_t hva)
{
	return (hva >> PAGE_SHIFT) & (LEVEL_PAGES(LEVEL_2M) - 1);
}

static inline hva_t huge_start(hva_t hva)
{
	return ALIGN_DOWN(hva, LEVEL_SIZE(LEVEL_2M));
}

static inline struct pte *model_pte(struct model *m, hva_t hva)
{
	u64 n = (hva - MODEL_VA) >> PAGE_SHIFT;
	int block = huge_block(hva);

	if (block >= 0)
		return m->split[block] && huge_offset(hva) < MODEL_PARTS ? &m->part[block][huge_offset(hva)]
									 : &m->huge_pte[block];
	return hva >= MODEL_VA && n < MODEL_VA_PAGES ? &m->pte[n] : NULL;
}

/* 4 KiB pages from hva on that its PTE is of. */
static inline u64 pte_step(const struct model *m, hva_t hva)
{
	int block = huge_block(hva);

	if (block < 0 || (m->split[block] && huge_offset(hva) < MODEL_PARTS))
		return 1;
	return LEVEL_PAGES(LEVEL_2M) - huge_offset(hva);
}

/* 4 KiB pages of a page of the file. */
static inline u64 file_step(const struct model_file *f)
{
	return f->kind == MODEL_FILE_HUGETLB ? LEVEL_PAGES(LEVEL_2M) : 1;
}

struct vma *model_vma(struct model *m, hva_t hva);
/* The page of a file, brought in; NULL: beyond its end, or hugetlb's pool is empty. pt_lock held. */
struct page *model_file_page(struct model *m, struct model_file *f, u64 index);
/* The address at which a mapping shows this page of the file, or 0. */
hva_t model_mapped_at(const struct vma *v, const struct model_file *f, u64 index);
/* With pt_lock held. A frame of 4 KiB, or a huge one. */
struct page *model_page_alloc(struct model *m, struct model_file *f, u64 index);
struct page *model_huge_alloc(struct model *m, u64 index);
void model_page_get(struct page *p);
void model_page_put(struct model *m, struct page *p);
/* A frame goes to another process, if it is free. */
void model_page_to_stranger(struct model *m, struct page *p);
/* Entries of their own for the first pages of the huge page at hva, whose invalidation has begun; pt_lock held. */
void model_split_block(struct model *m, hva_t hva);
/* The same with its invalidation, where the huge page is mapped as one; mmap_lock held. */
void model_split_at(struct model *m, hva_t hva);
/* hugetlb: pages of [index, index + n) that there are no pages of the pool for are reserved. False: there are too few. */
bool model_huge_reserve(struct model *m, struct model_file *f, u64 index, u64 n);
/* A page of the file for a fault, or NULL: there is none in the pool. pt_lock held. */
struct page *model_huge_file_page(struct model *m, struct model_file *f, u64 index);

/* Clear the PTE of hva; the reference it held is the caller's now. NULL: there was none. */
struct page *model_pte_clear(struct model *m, hva_t hva);

/*
 * Fill the PTE of hva as an access would. mmap_lock held for read; on 0 pt_lock is held as well.
 * As model_read(), and -EHWPOISON.
 */
int model_fault(struct model *m, hva_t hva, bool write);

/* The word through the window of hva, whose page is p; pt_lock held. */
u64 *model_window(struct model *m, hva_t hva, struct page *p);
void model_windows_destroy(struct model *m);
/* mmap_lock held for write. Mappings go, and nobody is told. */
void model_take_out(struct model *m, hva_t hva, u64 n);

struct mmu_token *model_begin(struct model *m, hva_t start, u64 npages);
/* The same of everything, and nothing is zapped yet but hidden. */
struct mmu_token *model_hide(struct model *m);
void model_end(struct model *m, struct mmu_token *t);

/* A private huge page is changed as one, or the page of 4 KiB at the address gets an entry of its own first. */
enum model_entry { MODEL_ENTRY_THERE, MODEL_ENTRY_SMALL };

/*
 * The kernel changes one entry of the page table: with mmap_lock held for read and the invalidation of what the entry
 * maps begun, fn with pt_lock held, and what stage 2 knew has come back. hva is where the entry begins. What fn says; false
 * where nothing is mapped.
 */
bool model_change_entry(struct model *m, hva_t hva, enum model_entry which,
			bool (*fn)(struct model *m, hva_t hva, void *arg), void *arg);

extern const struct primary_store_ops model_store_ops;

#endif
