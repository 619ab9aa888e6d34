/* SPDX-License-Identifier: MIT */
/*
 * sync/rcu.h (explorer's build): a model of RCU that runs a callback at the first moment it may
 * run, and whose memory is poisoned when freed: a grace period that is missing is found, not
 * slept through.
 */
#ifndef SYNC_RCU_H
#define SYNC_RCU_H

#include "explore/sched.h"

typedef struct sched_rcu_head sync_rcu_head;

#define sync_rcu_read_lock()   (SCHED_HERE, sched_rcu_read_lock())
#define sync_rcu_read_unlock() (SCHED_HERE, sched_rcu_read_unlock())
/* A point after the load too: what it points to is used later, and may be gone by then. */
#define sync_rcu_deref(p)                                                                          \
	({                                                                                         \
		typeof(*(p)) v_ = (SCHED_HERE, sched_step("deref", (const void *)(p), SCHED_READ),             \
				   __atomic_load_n((p), __ATOMIC_SEQ_CST));                        \
		sched_step("use", (const void *)(p), SCHED_READ);                                  \
		v_;                                                                                \
	})
#define sync_rcu_publish(p, v)                                                                     \
	(SCHED_HERE, sched_step("publish", (const void *)(p), SCHED_WRITE), __atomic_store_n((p), (v), __ATOMIC_SEQ_CST))
#define sync_rcu_call(head, fn) (SCHED_HERE, sched_rcu_call((head), (fn)))
#define sync_rcu_start()       0
#define sync_rcu_wait()         (SCHED_HERE, sched_rcu_wait())

#endif
