/* SPDX-License-Identifier: MIT */
/*
 * sync/atomic.h (explorer's build): as the production header, with a scheduling point before
 * every access. A store may stay in its actor's store buffer, as x86's processors have one each
 * (explore/buffer.c): others see it when a fence, an atomic read-modify-write or a lock drains that.
 */
#ifndef SYNC_ATOMIC_H
#define SYNC_ATOMIC_H

#include "explore/sched.h"

#define SYNC_STEP(what, p, op) (SCHED_HERE, sched_step(what, (const void *)(p), SCHED_READ), op)
/* An operation that is a full fence, too. */
#define SYNC_FENCED(what, p, op) (SCHED_HERE, sched_step(what, (const void *)(p), SCHED_WRITE), sched_fence(), op)
#define SYNC_ADDED(what, p, op) (SCHED_HERE, sched_step(what, (const void *)(p), SCHED_ADD), sched_fence(), op)
#define SYNC_STORE(p, v)                                                                           \
	({                                                                                         \
		typeof(*(p)) v_ = (v);                                                             \
		SCHED_HERE;                                                                        \
		sched_step("store", (const void *)(p), SCHED_WRITE);                                           \
		sched_store((void *)(p), &v_, sizeof(v_));                                         \
	})

#define sync_load(p)             SYNC_STEP("load", p, __atomic_load_n((p), __ATOMIC_SEQ_CST))
#define sync_load_acquire(p)     SYNC_STEP("load", p, __atomic_load_n((p), __ATOMIC_SEQ_CST))
#define sync_store(p, v)         SYNC_STORE(p, v)
#define sync_store_release(p, v) SYNC_STORE(p, v)
#define sync_xchg(p, v)          SYNC_FENCED("xchg", p, __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST))
#define sync_add(p, v)           SYNC_ADDED("add", p, __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST))
#define sync_sub(p, v)           SYNC_ADDED("sub", p, __atomic_fetch_sub((p), (v), __ATOMIC_SEQ_CST))
#define sync_or(p, v)            SYNC_FENCED("or", p, __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST))
#define sync_and(p, v)           SYNC_FENCED("and", p, __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST))
#define sync_cmpxchg(p, oldp, v)                                                                   \
	SYNC_FENCED("cmpxchg", p,                                                                    \
		  __atomic_compare_exchange_n((p), (oldp), (v), 0, __ATOMIC_SEQ_CST,               \
					      __ATOMIC_SEQ_CST))
#define sync_mb() sched_fence()
#define sync_relax() ((void)0)
#define SYNC_SPINS 1

#endif
