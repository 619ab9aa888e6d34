/* SPDX-License-Identifier: MIT */
/*
 * base/space.h: address space of our own (own.h), by blocks.
 *
 * What a block leaves becomes inaccessible in the same call that unmaps it, and stays ours, so that
 * nobody else's mapping comes to lie where one was. A block is taken again when all of it was given
 * back, the rest of its area first.
 *
 * Any thread; the lock inside has pool.h's and own.h's within it, and is held over one system call
 * that maps or unmaps.
 */
#ifndef BASE_SPACE_H
#define BASE_SPACE_H

#include "base/own.h"

/* `len` bytes at an address that is `off` modulo align (a power of two), or 0: there is none. */
u64 space_take(enum own_kind kind, u64 len, u64 align, u64 off);
/* The same, accessible for reading and writing, zeroed. Or NULL. */
void *space_alloc(u64 len, u64 align);
/*
 * Map something into [to, to + len), a block just taken, by fn(to, arg): 0 or -errno, which may have
 * unmapped what is there. -EAGAIN, and fn not called: the VMM has taken the place. After an error
 * the block is given back.
 */
int space_fill(u64 to, u64 len, int (*fn)(u64 to, void *arg), void *arg);
/* Unmap [start, end), of blocks that lie side by side, and keep it from others. */
void space_give(u64 start, u64 end);
/* Of windows in [start, end), let go of the pages: most of what giving it takes, which remains to be done. */
void space_empty(u64 start, u64 end);

/*
 * A part of [start, end) that was for windows becomes the VMM's: nothing will be put there any more.
 * What is mapped there stays, for the caller to unmap once nobody uses it. 1; 0: no part is left; -ENOMEM:
 * the VMM has taken so many parts that no more can be told apart.
 */
int space_leave(u64 start, u64 end, struct own_range *part);

/* In a forked child: start anew. own.h and pool.h do, too. */
void space_forked_child(void);

#endif
