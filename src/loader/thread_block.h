/* SPDX-License-Identifier: MIT */
/*
 * loader/thread_block.h: where a libc keeps a thread's id in the thread's block, which its locks look at and
 * which the kernel clears when the thread ends. Any thread, no lock.
 */
#ifndef LOADER_THREAD_BLOCK_H
#define LOADER_THREAD_BLOCK_H

#include "base/types.h"

#define THREAD_BLOCK 0x1000 /* bytes in which it is */

/*
 * Of the words of the block at `fs` one has the thread's id, `tid`. It follows pointers, so it stands at a
 * multiple of eight; a word between two of these is the upper half of a pointer, and may be the same number.
 * NULL: there is none.
 */
static inline u32 *thread_block_tid(u64 fs, u32 tid)
{
	for (u32 *p = (u32 *)fs; p < (u32 *)(fs + THREAD_BLOCK); p += 2) {
		if (*p == tid)
			return p;
	}
	return NULL;
}

#endif
