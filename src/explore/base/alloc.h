/* SPDX-License-Identifier: MIT */
/* explore/base/alloc.h: put before every explored file (-include): its memory is the explorer's,
 * poisoned when freed and checked at the end. The C library's own declarations come first. */
#ifndef EXPLORE_BASE_ALLOC_H
#define EXPLORE_BASE_ALLOC_H

#include <stdlib.h>

void *sched_malloc(size_t n);
void *sched_calloc(size_t n, size_t size);
void *sched_aligned_alloc(size_t align, size_t n);
void sched_free(void *p);

#define malloc(n)	    sched_malloc(n)
#define calloc(n, size)	    sched_calloc(n, size)
#define aligned_alloc(a, n) sched_aligned_alloc(a, n)
#define free(p)		    sched_free(p)

#endif
