/* SPDX-License-Identifier: MIT */
/*
 * primary/model/model.h: a host memory manager in miniature, for the explorer: what the kernel
 * side has and user space cannot show. Pages with reference counts, anonymous and file mappings,
 * a page cache, truncation, writeback, munmap, migration, non-refcounted memory, DAX.
 *
 * One address space, one VM (the primary_ops at the end). Page contents are real memory, one
 * 4 KiB page each, so that mmu/ and a vCPU reach them by pointer as on Linux. Every operation
 * makes its steps visible to the scheduler; its locks are the explorer's.
 *
 * All operations may be called by any actor, with no lock of mmu/'s held.
 */
#ifndef PRIMARY_MODEL_MODEL_H
#define PRIMARY_MODEL_MODEL_H

#include "primary/primary.h"

#define MODEL_PAGES	 32 /* frames of the machine */
#define MODEL_FILE_PAGES 4
#define MODEL_VMAS	 8
#define MODEL_VA_PAGES	 16 /* the address space: from MODEL_VA on */
#define MODEL_VA	 0x10000000ULL

struct model;

enum model_file_kind {
	MODEL_FILE_CACHED, /* pages in a page cache, written back */
	MODEL_FILE_DAX,	   /* the pages are the medium: a truncate waits for references */
	MODEL_FILE_PFNMAP, /* a device's memory: no reference counts at all */
};

struct model_file; /* owned by the model */

struct model *model_create(void);
/* Checks that references and pins balance; then frees. */
void model_destroy(struct model *m);

struct model_file *model_file_create(struct model *m, enum model_file_kind kind, u64 npages);
/* The medium's word for a page: what a reader sees after a crash. */
u64 model_file_disk(const struct model_file *f, u64 index);
u64 model_file_pages(const struct model_file *f);

/* Map n pages at hva, private zero memory (f NULL) or a file's from index on. */
void model_mmap(struct model *m, hva_t hva, u64 n, bool writable, struct model_file *f, u64 index);
void model_munmap(struct model *m, hva_t hva, u64 n);
/* Truncate to npages: later pages are gone from every mapping and from the cache. */
void model_truncate(struct model *m, struct model_file *f, u64 npages);
void model_extend(struct model *m, struct model_file *f, u64 npages);
/* Clean one page: write-protect it everywhere, then copy it to the medium if it was dirty. */
void model_writeback(struct model *m, struct model_file *f, u64 index);
/* Move the page behind hva to another frame; false when a reference held it in place. */
bool model_migrate(struct model *m, hva_t hva);

/* Reclaim asks: was the page behind hva accessed since it asked last? */
bool model_age(struct model *m, hva_t hva);

/* The VMM's own access to a word of the page at hva. -EFAULT without a mapping. */
int model_read(struct model *m, hva_t hva, u64 *value);
int model_write(struct model *m, hva_t hva, u64 value);

/*
 * A vCPU reached the page at `host` believing that it backs hva: invariants 1 and 7. Fails the
 * execution when the frame is free or somebody else's, or a write is not allowed to it.
 */
void model_check_access(struct model *m, const void *host, hva_t hva, bool write);

extern const struct primary_ops primary_model_ops;
/* The same model as primary_ops' argument. destroy() leaves the model alone: model_destroy(). */

#endif
