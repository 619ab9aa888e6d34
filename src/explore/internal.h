/* SPDX-License-Identifier: MIT */
/* explore/internal.h: what the scheduler's files share. */
#ifndef EXPLORE_INTERNAL_H
#define EXPLORE_INTERNAL_H

#include "explore/sched.h"

/* struct sched_trace.width: how many were runnable, and whether the runner was not among them. */
#define TRACE_WIDTH  0x7f
#define TRACE_FORCED 0x80

/* Can nobody but (at most) the running actor go on? */
bool explore_alone(void);

/* Run the callbacks whose grace period is over; forget all; run all that are left. */
void explore_rcu_run(void);
void explore_rcu_reset(void);
void explore_rcu_drain(void);

void explore_memory_reset(void);
/* A crash at addr: was it memory of this execution, which can only have been freed? */
bool explore_memory_freed(const void *addr);
/* If `leaks`, look for what was not freed. Fails the execution. */
void explore_memory_check(bool leaks);

#endif
