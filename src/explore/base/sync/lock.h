/* SPDX-License-Identifier: MIT */
/*
 * sync/lock.h (explorer's build): the production names over the explorer's fibers. Taking a lock
 * is a scheduling point; waiting for one lets the others go on, and a cycle is a deadlock that is
 * reported with its schedule.
 */
#ifndef SYNC_LOCK_H
#define SYNC_LOCK_H

#include "base/types.h"

struct mutex {
	int owner; /* actor + 2, so that 0 is free and outside sched_run() has a number too */
	bool made; /* the C library's differ from zeroes in whom they prefer */
};
struct rwlock {
	u32 readers; /* how many hold it for read */
	int writer;  /* as mutex.owner */
	u32 writers_waiting;
	bool made;
};
struct waitq {
	u64 wakes;
};

#define MUTEX_INITIALIZER {0, true}

void mutex_init(struct mutex *l);
void mutex_destroy(struct mutex *l);
void mutex_lock(struct mutex *l);
void mutex_unlock(struct mutex *l);
bool mutex_trylock(struct mutex *l);
void mutex_assert_held(struct mutex *l);

void rwlock_init(struct rwlock *l);
void rwlock_destroy(struct rwlock *l);
void rwlock_read_lock(struct rwlock *l);
void rwlock_read_unlock(struct rwlock *l);
void rwlock_write_lock(struct rwlock *l);
void rwlock_write_unlock(struct rwlock *l);

void waitq_init(struct waitq *q);
void waitq_destroy(struct waitq *q);
void waitq_wait(struct waitq *q, struct mutex *l);
/* Time does not pass here. */
static inline u64 sync_now_ns(void)
{
	return 0;
}
/* Returns true on a wake, and false at once when nothing else can run. */
bool waitq_wait_until(struct waitq *q, struct mutex *l, u64 ns);
void waitq_wake_all(struct waitq *q);

/* Each says where it is called. sync.c, which defines them, asks for them plain. */
#ifndef SCHED_PLAIN
#include "explore/sched.h"
#define mutex_lock(l)	       (SCHED_HERE, mutex_lock(l))
#define mutex_unlock(l)	       (SCHED_HERE, mutex_unlock(l))
#define mutex_trylock(l)       (SCHED_HERE, mutex_trylock(l))
#define rwlock_read_lock(l)    (SCHED_HERE, rwlock_read_lock(l))
#define rwlock_read_unlock(l)  (SCHED_HERE, rwlock_read_unlock(l))
#define rwlock_write_lock(l)   (SCHED_HERE, rwlock_write_lock(l))
#define rwlock_write_unlock(l) (SCHED_HERE, rwlock_write_unlock(l))
#define waitq_wake_all(q)      (SCHED_HERE, waitq_wake_all(q))
#endif

#endif
