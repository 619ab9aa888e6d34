/* SPDX-License-Identifier: MIT */
/*
 * sync/rcu.h of the build with the thread sanitizer: production's, told to the sanitizer, which
 * does not see into liburcu. What a read side did happens before what the grace period after it
 * lets run.
 */
#ifndef SYNC_RCU_H
#define SYNC_RCU_H

#include <sanitizer/tsan_interface.h>
#include <urcu/urcu-bp.h>
#include "base/thread.h"
#include "base/types.h"

typedef struct sync_rcu_head {
	struct rcu_head rcu;
	void (*fn)(struct sync_rcu_head *head);
} sync_rcu_head;

extern char sync_rcu_order; /* what the two sides of a grace period meet at */

static inline void sync_rcu_read_lock(void)
{
	urcu_bp_read_lock();
}

static inline void sync_rcu_read_unlock(void)
{
	__tsan_release(&sync_rcu_order);
	urcu_bp_read_unlock();
}

#define sync_rcu_deref(p)      __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define sync_rcu_publish(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

void sync_rcu_ran(struct rcu_head *head);

static inline void sync_rcu_call(sync_rcu_head *head, void (*fn)(sync_rcu_head *head))
{
	head->fn = fn;
	__tsan_release(&sync_rcu_order);
	urcu_bp_call_rcu(&head->rcu, sync_rcu_ran);
}

static inline int sync_rcu_start(void)
{
	u64 old = thread_block_signals();
	struct call_rcu_data *d = urcu_bp_get_default_call_rcu_data();

	thread_restore_signals(old);
	return d ? 0 : -ENOMEM;
}

static inline void sync_rcu_wait(void)
{
	urcu_bp_synchronize_rcu();
	__tsan_acquire(&sync_rcu_order);
}

#endif
