/* SPDX-License-Identifier: MIT */
/*
 * sync/rcu.h (production build): read-copy-update, over liburcu's "bulletproof" flavour, which
 * needs no registration of the VMM's threads.
 *
 * A read side never spans guest execution, a host fault, a lock or anything that blocks. The
 * explorer's build of this header poisons what is freed too early.
 */
#ifndef SYNC_RCU_H
#define SYNC_RCU_H

#include <urcu/urcu-bp.h>
#include "base/thread.h"

typedef struct sync_rcu_head {
	struct sync_rcu_head *next;
	void (*fn)(struct sync_rcu_head *head);
} sync_rcu_head;

#define sync_rcu_read_lock()   urcu_bp_read_lock()
#define sync_rcu_read_unlock() urcu_bp_read_unlock()
/* Load of a pointer published by sync_rcu_publish(); inside a read side. */
#define sync_rcu_deref(p)      __atomic_load_n((p), __ATOMIC_CONSUME)
/* Store that makes everything written before it visible to who loads the pointer. */
#define sync_rcu_publish(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
/* Call fn(head) after every read side that could see the object has ended. Never blocks. */
void sync_rcu_call(sync_rcu_head *head, void (*fn)(sync_rcu_head *head));
/*
 * Start the thread that makes those calls, if it does not run yet: when a guest is about to run.
 * 0 or -errno.
 */
int sync_rcu_start(void);
/* Make the calls that wait, where the thread was never started. Blocks. */
void sync_rcu_reap(void);
/* Around a fork, on the forking thread, and then in the child. */
void sync_rcu_fork_begin(void);
void sync_rcu_fork_end(bool child);
/* Wait for every read side now running. Blocks; not from a read side, not under mmu_lock. */
#define sync_rcu_wait()         urcu_bp_synchronize_rcu()

#endif
