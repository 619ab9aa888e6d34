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

typedef struct rcu_head sync_rcu_head;

#define sync_rcu_read_lock()   urcu_bp_read_lock()
#define sync_rcu_read_unlock() urcu_bp_read_unlock()
/* Load of a pointer published by sync_rcu_publish(); inside a read side. */
#define sync_rcu_deref(p)      __atomic_load_n((p), __ATOMIC_CONSUME)
/* Store that makes everything written before it visible to who loads the pointer. */
#define sync_rcu_publish(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
/* Call fn(head) after every read side that could see the object has ended. Never blocks. */
#define sync_rcu_call(head, fn) urcu_bp_call_rcu((head), (fn))
/*
 * Start the thread that makes those calls, if it does not run yet. It is started with every signal
 * blocked, as a helper must be; and starting it allocates, which the first sync_rcu_call() had
 * better not have to. 0 or -ENOMEM.
 */
static inline int sync_rcu_start(void)
{
	u64 old = thread_block_signals();
	struct call_rcu_data *d = urcu_bp_get_default_call_rcu_data();

	thread_restore_signals(old);
	return d ? 0 : -ENOMEM;
}
/* Wait for every read side now running. Blocks; not from a read side, not under mmu_lock. */
#define sync_rcu_wait()         urcu_bp_synchronize_rcu()

#endif
