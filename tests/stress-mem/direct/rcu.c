/* SPDX-License-Identifier: MIT */
/* The one function of sync/rcu.h, for the thread sanitizer's builds. */
#include "base/types.h"
#include "sync/rcu.h"

char sync_rcu_order;

void sync_rcu_ran(struct rcu_head *head)
{
	sync_rcu_head *h = container_of(head, sync_rcu_head, rcu);

	__tsan_acquire(&sync_rcu_order);
	h->fn(h);
}
