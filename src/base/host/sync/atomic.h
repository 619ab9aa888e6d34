/* SPDX-License-Identifier: MIT */
/*
 * sync/atomic.h (production build): the memory operations whose interleaving matters.
 *
 * mmu/ and everything the explorer runs reaches shared memory through these names only. The
 * explorer's build of the same header makes each one a scheduling point. All take pointers to
 * plain integers or pointers of at most 8 bytes. None blocks.
 */
#ifndef SYNC_ATOMIC_H
#define SYNC_ATOMIC_H

#include "base/types.h"

#define sync_load(p)             __atomic_load_n((p), __ATOMIC_RELAXED)
#define sync_load_acquire(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define sync_store(p, v)         __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define sync_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
/* Read-modify-write operations order like a full fence; each returns the value before it. */
#define sync_xchg(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#define sync_add(p, v)  __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define sync_sub(p, v)  __atomic_fetch_sub((p), (v), __ATOMIC_SEQ_CST)
#define sync_or(p, v)   __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
#define sync_and(p, v)  __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST)
/* True when *p was *oldp and is now v; otherwise *oldp holds what was found. */
#define sync_cmpxchg(p, oldp, v)                                                                   \
	__atomic_compare_exchange_n((p), (oldp), (v), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#define sync_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
/* In a loop that looks for another thread's store, SYNC_SPINS times before it sleeps. */
#define sync_relax() __builtin_ia32_pause()
#define SYNC_SPINS   300

#endif
