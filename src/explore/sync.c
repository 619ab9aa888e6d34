/* SPDX-License-Identifier: MIT */
/* Locks, wait queues and RCU of the explorer's build, over the scheduler. */
#define SCHED_PLAIN
#include <stdlib.h>
#include "explore/defects.h"
#include "explore/internal.h"
#include "sync/lock.h"
#include "sync/rcu.h"

/* The mistake that is switched on. */
enum defect defect_on;

#define SELF (sched_self() + 2)

void mutex_init(struct mutex *l)
{
	*l = (struct mutex)MUTEX_INITIALIZER;
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
	SCHED_CHECK(l->made, "a mutex is taken that was never made");
	SCHED_CHECK(l->owner != SELF, "a mutex is taken twice by %s", sched_name(sched_self()));
	sched_step("mutex", l, SCHED_WRITE);
	explore_wait("mutex", mutex_free, l);
	sched_fence();
	l->owner = SELF;
	explore_lock_taken(l, true);
}

bool mutex_trylock(struct mutex *l)
{
	/* Who fails sees that it is held: dropping it is a choice, too. */
	explore_lock_tried(l);
	sched_step("trylock", l, SCHED_WRITE);
	sched_fence();
	if (l->owner)
		return false;
	l->owner = SELF;
	explore_lock_taken(l, true);
	return true;
}

void mutex_unlock(struct mutex *l)
{
	SCHED_CHECK(l->owner == SELF, "a mutex is dropped by who does not hold it");
	sched_fence();
	l->owner = 0;
	explore_lock_dropped(l);
	explore_step("unlock", l, explore_lock_is_tried(l));
}

void mutex_assert_held(struct mutex *l)
{
	SCHED_CHECK(l->owner == SELF, "a mutex that must be held is not");
}

void rwlock_init(struct rwlock *l)
{
	*l = (struct rwlock){.made = true};
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
	SCHED_CHECK(l->made, "a rwlock is taken that was never made");
	SCHED_CHECK(l->writer != SELF, "a rwlock is taken for read by its writer");
	sched_step("read lock", l, SCHED_READ);
	explore_wait("read lock", readable, l);
	sched_fence();
	l->readers++;
	explore_lock_taken(l, false);
}

void rwlock_read_unlock(struct rwlock *l)
{
	SCHED_CHECK(l->readers, "a rwlock is dropped by who does not hold it");
	sched_fence();
	l->readers--;
	explore_lock_dropped(l);
	explore_step("read unlock", l, false);
}

void rwlock_write_lock(struct rwlock *l)
{
	SCHED_CHECK(l->made, "a rwlock is taken that was never made");
	SCHED_CHECK(l->writer != SELF, "a rwlock is taken twice by %s", sched_name(sched_self()));
	sched_step("write lock", l, SCHED_WRITE);
	l->writers_waiting++;
	explore_wait("write lock", writable, l);
	sched_fence();
	l->writers_waiting--;
	l->writer = SELF;
	explore_lock_taken(l, true);
}

void rwlock_write_unlock(struct rwlock *l)
{
	SCHED_CHECK(l->writer == SELF, "a rwlock is dropped by who does not hold it");
	sched_fence();
	l->writer = 0;
	explore_lock_dropped(l);
	explore_step("write unlock", l, false);
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
	u64 wakes, moment;
};

/* Moments that have passed: at each, all sleeps with a limit end. */
static u64 moments;
static u32 sleepers; /* with a limit */

void sched_time_passes(void)
{
	moments++;
}

static bool woken(void *p)
{
	const struct sleep *s = p;

	return s->q->wakes != s->wakes;
}

static bool woken_or_late(void *p)
{
	return woken(p) || ((const struct sleep *)p)->moment != moments;
}

static bool wait_for(struct waitq *q, struct mutex *l, bool (*over)(void *p))
{
	struct sleep s;

	sched_step("sleep", q, SCHED_READ);
	s = (struct sleep){q, q->wakes, moments};
	sched_fence();
	l->owner = 0;
	explore_lock_dropped(l);
	explore_wait("wake-up", over, &s);
	mutex_lock(l);
	return woken(&s);
}

void waitq_wait(struct waitq *q, struct mutex *l)
{
	wait_for(q, l, woken);
}

bool waitq_wait_until(struct waitq *q, struct mutex *l, u64 ns)
{
	bool alone, was_woken;

	(void)ns;
	l->owner = 0; /* who waits for it could go on while this one sleeps */
	alone = explore_alone();
	l->owner = SELF;
	if (alone) {
		sched_time_passes(); /* for whoever else sleeps for a while, too */
		return false;
	}
	sleepers++;
	was_woken = wait_for(q, l, woken_or_late);
	sleepers--;
	return was_woken;
}

bool explore_time_may_pass(void)
{
	if (!sleepers)
		return false;
	sched_time_passes();
	return true;
}

void waitq_wake_all(struct waitq *q)
{
	sched_step("wake", q, SCHED_WRITE);
	sched_fence();
	q->wakes++;
}

/* -- RCU: a callback waits for the read sides open when it was handed over */

static u32 nesting[SCHED_MAX_ACTORS];
static u32 reading; /* one bit an actor */
static struct sched_rcu_head *callbacks;

void sched_rcu_read_lock(void)
{
	int self = sched_self();

	sched_step("rcu lock", &reading, SCHED_READ);
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
	explore_step("rcu unlock", &reading, false);
}

void sched_rcu_call(struct sched_rcu_head *head, void (*fn)(struct sched_rcu_head *))
{
	sched_step("rcu call", &reading, SCHED_WRITE);
	head->fn = fn;
	head->readers = reading;
	head->next = callbacks;
	callbacks = head;
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
	sleepers = 0;
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
	struct sched_rcu_head h = {.fn = nothing};
	struct sched_rcu_head **p;
	int self = sched_self();

	SCHED_CHECK(self < 0 || !nesting[self], "a grace period is awaited inside a read side");
	sched_step("grace period", &reading, SCHED_WRITE);
	h.readers = reading;
	h.next = callbacks;
	callbacks = &h;
	explore_wait("grace period", readers_gone, &h);
	for (p = &callbacks; *p; p = &(*p)->next) {
		if (*p == &h) {
			*p = h.next;
			break;
		}
	}
}
