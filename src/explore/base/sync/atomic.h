/* SPDX-License-Identifier: MIT */
/*
 * sync/atomic.h (explorer's build): as the production header, with a scheduling point before
 * every access.
 */
#ifndef SYNC_ATOMIC_H
#define SYNC_ATOMIC_H

#include "base/types.h"

void sched_point(const char *what, const void *obj);

#define SYNC_STEP(what, p, op) (sched_point(what, (const void *)(p)), op)

#define sync_load(p)             SYNC_STEP("load", p, __atomic_load_n((p), __ATOMIC_SEQ_CST))
#define sync_load_acquire(p)     SYNC_STEP("load", p, __atomic_load_n((p), __ATOMIC_SEQ_CST))
#define sync_store(p, v)         SYNC_STEP("store", p, __atomic_store_n((p), (v), __ATOMIC_SEQ_CST))
#define sync_store_release(p, v) SYNC_STEP("store", p, __atomic_store_n((p), (v), __ATOMIC_SEQ_CST))
#define sync_xchg(p, v)          SYNC_STEP("xchg", p, __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST))
#define sync_add(p, v)           SYNC_STEP("add", p, __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST))
#define sync_sub(p, v)           SYNC_STEP("sub", p, __atomic_fetch_sub((p), (v), __ATOMIC_SEQ_CST))
#define sync_or(p, v)            SYNC_STEP("or", p, __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST))
#define sync_and(p, v)           SYNC_STEP("and", p, __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST))
#define sync_cmpxchg(p, oldp, v)                                                                   \
	SYNC_STEP("cmpxchg", p,                                                                    \
		  __atomic_compare_exchange_n((p), (oldp), (v), 0, __ATOMIC_SEQ_CST,               \
					      __ATOMIC_SEQ_CST))
/* Interleavings are sequentially consistent: a fence orders nothing that is not ordered already. */
#define sync_mb() ((void)0)
#define sync_relax() ((void)0)
#define SYNC_SPINS 1

#endif
