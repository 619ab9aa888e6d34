/* SPDX-License-Identifier: MIT */
/*
 * base/heap.h: the rooms' malloc() in the library that VMMs load.
 *
 * libc's would serve what a guest could use: its large blocks and its arenas lie wherever the kernel
 * finds room, which may be in a slot over memory that the VMM has unmapped. So the library is linked
 * with --wrap for malloc() and its kin, and what the rooms allocate comes from space of our own.
 * What is handed to the VMM to free(), and what the VMM handed to us, is libc's and stays it.
 *
 * Any thread, not from a signal handler. One lock, with space.h's and own.h's inside.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include "base/types.h"

#define HEAP_ALIGN 16 /* malloc()'s */

void *heap_alloc(size_t size, size_t align); /* not zeroed; align: a power of two up to 4096 */
void *heap_zalloc(size_t size);
void *heap_resize(void *p, size_t size);
void heap_free(void *p);

/* In a forked child: start anew. space.h does, too. */
void heap_forked_child(void);

#endif
