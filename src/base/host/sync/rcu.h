/* SPDX-License-Identifier: MIT */
/*
 * sync/rcu.h (production build): read-copy-update, over liburcu's "bulletproof" flavour, which
 * needs no registration of the VMM's threads.
 *
 * A read side never spans guest execution, a host fault, a lock or anything that blocks. The
 * explorer's build of this header poisons what is freed too early.
 *
 * The thread sanitizer does not see into liburcu: it is told that what a read side did, and what was done
 * before a call waited, happens before what the grace period after it lets run.
 */
#ifndef SYNC_RCU_H
#define SYNC_RCU_H

#include <urcu/urcu-bp.h>
#include "base/thread.h"

typedef struct sync_rcu_head {
	struct sync_rcu_head *next;
	void (*fn)(struct sync_rcu_head *head);
} sync_rcu_head;

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
extern char sync_rcu_order HIDDEN; /* what the two sides of a grace period meet at */
#define SYNC_RCU_ENDS()	  __tsan_release(&sync_rcu_order)
#define SYNC_RCU_BEGINS() __tsan_acquire(&sync_rcu_order)
#else
#define SYNC_RCU_ENDS()
#define SYNC_RCU_BEGINS()
#endif

#define sync_rcu_read_lock() urcu_bp_read_lock()
static inline void sync_rcu_read_unlock(void)
{
	SYNC_RCU_ENDS();
	urcu_bp_read_unlock();
}
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
static inline void sync_rcu_wait(void)
{
	urcu_bp_synchronize_rcu();
	SYNC_RCU_BEGINS();
}

#endif
