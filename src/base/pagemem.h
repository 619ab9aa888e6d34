/* SPDX-License-Identifier: MIT */
/*
 * base/pagemem.h: whole pages of our own (own.h), zeroed. For objects that other pages are to be
 * mapped into later (base/statpage.h), and for what is mapped from a file. Any thread; sleeps as
 * mmap does.
 *
 * LeakSanitizer looks for pointers in its own allocator's memory and in what it is told of: a VMM
 * built with it would otherwise be blamed for all that a VM or a vCPU points to.
 */
#ifndef BASE_PAGEMEM_H
#define BASE_PAGEMEM_H

#include "base/types.h"

/* At least `size` bytes on a page boundary, or NULL. */
void *pagemem_alloc(size_t size);
void pagemem_free(void *p, size_t size);
/*
 * Bytes of such memory are zero again, and pages that lie in them whole take no memory: what is large and little
 * used is emptied at the price of what is used.
 */
void pagemem_zero(void *p, size_t size);
/* The same from the start of a file. Not inherited by a child, as mmap() says of `flags`. No pointers to
 * what LeakSanitizer should find are kept there. */
void *pagemem_map(size_t size, int prot, int flags, int fd);
/* Memory that is mapped twice, once to be written and once, at *again, with `prot`. Not inherited by a child.
 * The mapping that is written, or NULL and errno. Each is to be given back. */
void *pagemem_twice(size_t size, int prot, void **again);
/* Give one of these back. */
void pagemem_unmap(void *p, size_t size);

#endif
