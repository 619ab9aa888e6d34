/* SPDX-License-Identifier: MIT */
/*
 * sync/lock.h (production build): mutex, reader-writer lock and wait queue.
 *
 * The explorer's build gives the same names over its fibers. Locks are not recursive. A lock is
 * never taken in a signal handler. *_assert_held() cost nothing in a release build.
 */
#ifndef SYNC_LOCK_H
#define SYNC_LOCK_H

#include <assert.h>
#include <pthread.h>
#include <time.h>
#include "base/types.h"

struct mutex {
	pthread_mutex_t m;
#ifndef NDEBUG
	pthread_t owner; /* meaningful only while held */
	bool held;
#endif
};

#define MUTEX_INITIALIZER {.m = PTHREAD_MUTEX_INITIALIZER}

static inline void mutex_init(struct mutex *l)
{
	memset(l, 0, sizeof(*l));
	pthread_mutex_init(&l->m, NULL);
}

static inline void mutex_destroy(struct mutex *l)
{
	pthread_mutex_destroy(&l->m);
}

static inline void mutex_note_held(struct mutex *l, bool held)
{
#ifndef NDEBUG
	l->owner = pthread_self();
	l->held = held;
#else
	(void)l;
	(void)held;
#endif
}

static inline void mutex_lock(struct mutex *l)
{
	pthread_mutex_lock(&l->m);
	mutex_note_held(l, true);
}

static inline void mutex_unlock(struct mutex *l)
{
	mutex_note_held(l, false);
	pthread_mutex_unlock(&l->m);
}

static inline bool mutex_trylock(struct mutex *l)
{
	if (pthread_mutex_trylock(&l->m))
		return false;
	mutex_note_held(l, true);
	return true;
}

static inline void mutex_assert_held(struct mutex *l)
{
#ifndef NDEBUG
	assert(l->held && pthread_equal(l->owner, pthread_self()));
#else
	(void)l;
#endif
}

/* Many readers or one writer; a waiting writer holds back new readers. */
struct rwlock {
	pthread_rwlock_t l;
};

static inline void rwlock_init(struct rwlock *l)
{
	pthread_rwlockattr_t a;

	pthread_rwlockattr_init(&a);
	pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&l->l, &a);
	pthread_rwlockattr_destroy(&a);
}

static inline void rwlock_destroy(struct rwlock *l)
{
	pthread_rwlock_destroy(&l->l);
}

static inline void rwlock_read_lock(struct rwlock *l)
{
	pthread_rwlock_rdlock(&l->l);
}

static inline void rwlock_read_unlock(struct rwlock *l)
{
	pthread_rwlock_unlock(&l->l);
}

static inline void rwlock_write_lock(struct rwlock *l)
{
	pthread_rwlock_wrlock(&l->l);
}

static inline void rwlock_write_unlock(struct rwlock *l)
{
	pthread_rwlock_unlock(&l->l);
}

/* Threads asleep until a condition guarded by a mutex may have changed. */
struct waitq {
	pthread_cond_t c;
};

static inline void waitq_init(struct waitq *q)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&q->c, &a);
	pthread_condattr_destroy(&a);
}

static inline void waitq_destroy(struct waitq *q)
{
	pthread_cond_destroy(&q->c);
}

/* Caller holds l; it is dropped while asleep and held again on return. Wakes may be spurious. */
static inline void waitq_wait(struct waitq *q, struct mutex *l)
{
	mutex_note_held(l, false);
	pthread_cond_wait(&q->c, &l->m);
	mutex_note_held(l, true);
}

/* The clock of waitq_wait_until(): CLOCK_MONOTONIC, in nanoseconds. */
static inline u64 sync_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

/* As waitq_wait() until a CLOCK_MONOTONIC time in nanoseconds; false when that time came first. */
static inline bool waitq_wait_until(struct waitq *q, struct mutex *l, u64 ns)
{
	struct timespec ts = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	int r;

	mutex_note_held(l, false);
	r = pthread_cond_timedwait(&q->c, &l->m, &ts);
	mutex_note_held(l, true);
	return r == 0;
}

static inline void waitq_wake_all(struct waitq *q)
{
	pthread_cond_broadcast(&q->c);
}

#endif
