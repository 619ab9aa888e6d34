/* SPDX-License-Identifier: MIT */
/* Locks, wait queues and RCU of the explorer's build, over the scheduler. */
#include <stdlib.h>
#include "explore/internal.h"
#include "sync/lock.h"
#include "sync/rcu.h"

#define SELF (sched_self() + 2)

void mutex_init(struct mutex *l)
{
	l->owner = 0;
}

void mutex_destroy(struct mutex *l)
{
	SCHED_CHECK(!l->owner, "a mutex is destroyed while %s holds it", sched_name(l->owner - 2));
}

static bool mutex_free(void *l)
{
	return !((struct mutex *)l)->owner;
}

void mutex_lock(struct mutex *l)
{
	SCHED_CHECK(l->owner != SELF, "a mutex is taken twice by %s", sched_name(sched_self()));
	sched_wait("mutex", mutex_free, l);
	l->owner = SELF;
}

bool mutex_trylock(struct mutex *l)
{
	sched_point("trylock", l);
	if (l->owner)
		return false;
	l->owner = SELF;
	return true;
}

void mutex_unlock(struct mutex *l)
{
	SCHED_CHECK(l->owner == SELF, "a mutex is dropped by who does not hold it");
	l->owner = 0;
	sched_point("unlock", l);
}

void mutex_assert_held(struct mutex *l)
{
	SCHED_CHECK(l->owner == SELF, "a mutex that must be held is not");
}

void rwlock_init(struct rwlock *l)
{
	memset(l, 0, sizeof(*l));
}

void rwlock_destroy(struct rwlock *l)
{
	SCHED_CHECK(!l->writer && !l->readers, "a rwlock is destroyed while held");
}

static bool readable(void *p)
{
	struct rwlock *l = p;

	return !l->writer && !l->writers_waiting;
}

static bool writable(void *p)
{
	struct rwlock *l = p;

	return !l->writer && !l->readers;
}

void rwlock_read_lock(struct rwlock *l)
{
	SCHED_CHECK(l->writer != SELF, "a rwlock is taken for read by its writer");
	sched_wait("read lock", readable, l);
	l->readers++;
}

void rwlock_read_unlock(struct rwlock *l)
{
	SCHED_CHECK(l->readers, "a rwlock is dropped by who does not hold it");
	l->readers--;
	sched_point("read unlock", l);
}

void rwlock_write_lock(struct rwlock *l)
{
	SCHED_CHECK(l->writer != SELF, "a rwlock is taken twice by %s", sched_name(sched_self()));
	l->writers_waiting++;
	sched_wait("write lock", writable, l);
	l->writers_waiting--;
	l->writer = SELF;
}

void rwlock_write_unlock(struct rwlock *l)
{
	SCHED_CHECK(l->writer == SELF, "a rwlock is dropped by who does not hold it");
	l->writer = 0;
	sched_point("write unlock", l);
}

void waitq_init(struct waitq *q)
{
	q->wakes = 0;
}

void waitq_destroy(struct waitq *q)
{
	(void)q;
}

struct sleep {
	struct waitq *q;
	u64 wakes;
};

static bool woken(void *p)
{
	const struct sleep *s = p;

	return s->q->wakes != s->wakes;
}

void waitq_wait(struct waitq *q, struct mutex *l)
{
	struct sleep s = {q, q->wakes};

	l->owner = 0;
	sched_wait("wake-up", woken, &s);
	mutex_lock(l);
}

bool waitq_wait_until(struct waitq *q, struct mutex *l, u64 ns)
{
	(void)ns;
	if (explore_alone())
		return false;
	waitq_wait(q, l);
	return true;
}

void waitq_wake_all(struct waitq *q)
{
	q->wakes++;
	sched_point("wake", q);
}

/* -- RCU: a callback waits for the read sides open when it was handed over */

static u32 nesting[SCHED_MAX_ACTORS];
static u32 reading; /* one bit an actor */
static struct sched_rcu_head *callbacks;

void sched_rcu_read_lock(void)
{
	int self = sched_self();

	sched_point("rcu lock", NULL);
	if (self >= 0 && !nesting[self]++)
		reading |= 1u << self;
}

void sched_rcu_read_unlock(void)
{
	int self = sched_self();

	if (self >= 0) {
		SCHED_CHECK(nesting[self], "an RCU read side ends that never began");
		if (!--nesting[self]) {
			reading &= ~(1u << self);
			for (struct sched_rcu_head *h = callbacks; h; h = h->next)
				h->readers &= ~(1u << self);
		}
	}
	sched_point("rcu unlock", NULL);
}

void sched_rcu_call(struct sched_rcu_head *head, void (*fn)(struct sched_rcu_head *))
{
	head->fn = fn;
	head->readers = reading;
	head->next = callbacks;
	callbacks = head;
	sched_point("rcu call", head);
}

static void run_ready(bool all)
{
	struct sched_rcu_head **p = &callbacks;

	while (*p) {
		struct sched_rcu_head *h = *p;

		if (h->readers && !all) {
			p = &h->next;
			continue;
		}
		*p = h->next;
		h->fn(h);
		p = &callbacks; /* fn may have added some */
	}
}

void explore_rcu_run(void)
{
	static bool running;

	if (running)
		return;
	running = true;
	run_ready(false);
	running = false;
}

void explore_rcu_drain(void)
{
	run_ready(true);
}

void explore_rcu_reset(void)
{
	memset(nesting, 0, sizeof(nesting));
	reading = 0;
	callbacks = NULL;
}

static bool readers_gone(void *arg)
{
	return !((struct sched_rcu_head *)arg)->readers;
}

static void nothing(struct sched_rcu_head *h)
{
	(void)h;
}

void sched_rcu_wait(void)
{
	struct sched_rcu_head h = {.fn = nothing, .readers = reading};
	struct sched_rcu_head **p;
	int self = sched_self();

	SCHED_CHECK(self < 0 || !nesting[self], "a grace period is awaited inside a read side");
	h.next = callbacks;
	callbacks = &h;
	sched_wait("grace period", readers_gone, &h);
	for (p = &callbacks; *p; p = &(*p)->next) {
		if (*p == &h) {
			*p = h.next;
			break;
		}
	}
}
