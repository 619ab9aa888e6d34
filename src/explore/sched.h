/* SPDX-License-Identifier: MIT */
/*
 * explore/sched.h: a deterministic scheduler. Actors are fibers of one thread; every lock, atomic
 * and RCU step (explore/base/sync) and every step of the model is a scheduling point, where the
 * strategy decides who goes on. One execution is one schedule; the same schedule runs the same
 * way again.
 *
 * What is explored is every sequentially consistent interleaving of those steps. Reorderings by
 * the processor or the compiler are not: data races are the thread sanitizer's to find.
 *
 * An execution: sched_begin(), sched_spawn() for each actor, sched_run(), sched_end(). Steps made
 * outside sched_run() (set-up, final checks) do not schedule. Nothing here is thread-safe.
 */
#ifndef EXPLORE_SCHED_H
#define EXPLORE_SCHED_H

#include "base/types.h"

#define SCHED_MAX_ACTORS 16 /* sync/step.h counts on it */
#define SCHED_MAX_STEPS	 20000 /* an execution that takes more is reported as a livelock */

enum sched_strategy {
	SCHED_EXHAUSTIVE, /* all schedules of at most `preemptions` preemptions, one after another */
	SCHED_RANDOM,	  /* random priorities with a few change points (PCT), by seed */
	SCHED_REPLAY,	  /* the given choices, then no more preemptions */
};

/* A schedule: at the n-th point where more than one actor could go on, which of them did. */
struct sched_trace {
	u8 *choice; /* index among the runnable, 0: the one that was running, where it can */
	u8 *width;  /* how many were runnable there */
	u32 n, room;
};

enum sched_verdict {
	SCHED_OK,
	SCHED_VIOLATION, /* sched_fail() was called; sched_why() says what */
	SCHED_DEADLOCK,
	SCHED_LIVELOCK,
	SCHED_CRASH,	 /* a fault in an actor, as from memory that was freed */
};

typedef void sched_actor_fn(void *arg);

/* Strategy for the executions that follow. seed for RANDOM; preemptions bounds EXHAUSTIVE and is
 * the number of change points for RANDOM. */
void sched_configure(enum sched_strategy s, u64 seed, unsigned preemptions,
		     const struct sched_trace *replay);
/* EXHAUSTIVE: make the next execution another schedule; false when there is none left. */
bool sched_advance(void);

void sched_begin(void);
void sched_spawn(const char *name, sched_actor_fn *fn, void *arg);
enum sched_verdict sched_run(void);
void sched_end(void);
/* Of the execution so far: final checks and sched_end() may make an OK one a violation. */
enum sched_verdict sched_verdict(void);

/* The schedule of the execution just run; owned by the scheduler until the next sched_begin(). */
const struct sched_trace *sched_trace(void);
/* One sentence about a verdict that is not SCHED_OK. */
const char *sched_why(void);
/* Print who did what, step by step, to stderr while running. */
void sched_verbose(bool on);

/* -- for the instrumented primitives, the model and scenarios */

/* A scheduling point; `what` names the step, `obj` what it touches. */
void sched_point(const char *what, const void *obj);
/* Let others go until cond(arg) holds; deadlock when nobody can make it so. */
void sched_wait(const char *what, bool (*cond)(void *arg), void *arg);
/* A rule was broken: ends the execution. Does not return inside an actor. */
void sched_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#define SCHED_CHECK(cond, ...)                                                                     \
	do {                                                                                       \
		if (!(cond))                                                                       \
			sched_fail(__VA_ARGS__);                                                   \
	} while (0)
/* Index of the running actor, or -1 outside sched_run(). */
int sched_self(void);
const char *sched_name(int actor);

/* -- RCU and memory of the explored build */
void sched_rcu_read_lock(void);
void sched_rcu_read_unlock(void);
struct sched_rcu_head {
	struct sched_rcu_head *next;
	void (*fn)(struct sched_rcu_head *);
	u32 readers; /* actors whose read side must end first, one bit each */
};
void sched_rcu_call(struct sched_rcu_head *head, void (*fn)(struct sched_rcu_head *));
void sched_rcu_wait(void);
/* malloc family of explored code: what is freed is inaccessible until the execution ends, and
 * sched_end() reports what was never freed. */
void *sched_malloc(size_t n);
void *sched_calloc(size_t n, size_t size);
void *sched_aligned_alloc(size_t align, size_t n);
void sched_free(void *p);
/* The n-th allocation from now on fails; 0: none does. */
void sched_fail_allocation(unsigned n);

#endif
