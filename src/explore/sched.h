/* SPDX-License-Identifier: MIT */
/*
 * explore/sched.h: a deterministic scheduler. Actors are fibers of one thread; every lock, atomic
 * and RCU step (explore/base/sync) and every step of the model is a scheduling point, where the
 * strategy decides who goes on. One execution is one schedule; the same schedule runs the same
 * way again.
 *
 * What is explored is every interleaving of those steps, and what x86's store buffers may do to it: an
 * interrupted actor's latest stores are seen by others at once, or only after its next fence, atomic
 * read-modify-write or lock. Reorderings by the compiler are not: data races are the thread sanitizer's.
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
	SCHED_REPLAY,	  /* the given schedule, then no more preemptions */
};

/*
 * A schedule: turns. An actor has its turn until it has come to so many more steps, and is interrupted
 * before the last of them. Whose turn it is but cannot go on is passed over; after the last turn an actor
 * goes on as long as it can, then the first that can.
 */
struct sched_turn {
	u8 actor;
	bool hold;  /* others do not see its latest stores yet, as it is interrupted */
	bool usual; /* it would have been this one's turn without being said */
	u32 steps;  /* 0: as long as it can */
	u32 at;	    /* choices made before */
};
struct sched_schedule {
	struct sched_turn *turn;
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
		     const struct sched_schedule *replay);
/* EXHAUSTIVE again, at the place of the next execution: random ones came in between. */
void sched_go_on(unsigned preemptions);
/* EXHAUSTIVE: make the next execution another schedule; false when there is none left. */
bool sched_advance(void);
/* The place of the next execution as text, to be free()d; and back to it, after sched_configure(). False: it is none. */
char *sched_place(void);
bool sched_return(const char *place);

void sched_begin(void);
void sched_spawn(const char *name, sched_actor_fn *fn, void *arg);
enum sched_verdict sched_run(void);
void sched_end(void);
/* What is looked at when actors have ended; a crash there is a finding, too. */
void sched_finish(void (*check)(void), void (*teardown)(void));
/* Of the execution so far: final checks and sched_end() may make an OK one a violation. */
enum sched_verdict sched_verdict(void);

/* Steps made since the program began. */
u64 sched_steps(void);
/* States seen since sched_forget(): as many as differ in what has happened before what. */
u64 sched_states(void);
/* Has the last execution shown that an object is shared which was not known to be (share.c)? Asked once. */
bool sched_grew(void);
/* Had the last execution one actor only, and so the only schedule there is? */
bool sched_alone(void);
/* While on, every step is a choice. */
void sched_survey(bool on);
/* Another scenario: nothing is known of who touches what. */
void sched_forget(void);

/* The schedule of the execution just run, without turns that are usual at its end; owned by the
 * scheduler until the next sched_begin(). */
const struct sched_schedule *sched_schedule(void);
/* Choices made up to its last turn: what a reader has to follow before the rest is without an alternative. */
u32 sched_choices(void);
/* One sentence about a verdict that is not SCHED_OK. */
const char *sched_why(void);
/* In replays: is all that is freed inaccessible (explore/memory.c)? They begin with yes. */
void sched_strict(bool on);
/* Call this as a step is about to be made, by its actor; NULL: nothing. where: "src/mmu/fault.c:123", or NULL. */
typedef void sched_watch_fn(const char *what, const char *where, bool choice);
void sched_watch(sched_watch_fn *fn);
/* What fn looks at in there makes no step. */
char *sched_aside(char *(*fn)(void));
/* A replay, from so many steps on: random choices, by the seed configured. */
void sched_leave(u64 steps);

/* -- for the instrumented primitives, the model and scenarios */

enum sched_access {
	SCHED_READ,
	SCHED_WRITE,
	SCHED_ADD, /* whose result matters, but for sched_counters() */
};

/* Where in the source the step is that comes next. */
extern const char *sched_where;
#define SCHED_TEXT_(x)	#x
#define SCHED_TEXT(x)	SCHED_TEXT_(x)
#define SCHED_HERE	((void)(sched_where = __FILE__ ":" SCHED_TEXT(__LINE__)))
/* A step at which any other may go on; `what` names it, `obj` what it touches. */
void sched_point(const char *what, const void *obj);
/* A step that does to obj, of eight bytes, what `access` says: others go on only where that could matter. */
void sched_step(const char *what, const void *obj, enum sched_access access);
/* The same where it comes with the step before. */
void sched_note(const void *obj, enum sched_access access);
/* Nobody looks at what an addition in here results in, as long as all that happens to it is additions. */
void sched_counters(const void *start, size_t size);
/* A variable of a scenario that another actor sets: a step, and its value. */
#define SCHED_SEE(x)                                                                               \
	({                                                                                         \
		SCHED_HERE;                                                                        \
		sched_step("sees " #x, &(x), SCHED_READ);                                          \
		(x);                                                                               \
	})
/* It is set, with what was done before: sooner than that nobody may rely on it, and later proves less. */
#define SCHED_SET(x, v)                                                                            \
	({                                                                                         \
		sched_note(&(x), SCHED_WRITE);                                                     \
		(x) = (v);                                                                         \
	})
/* Let others go until cond(arg) holds; deadlock when nobody can make it so. */
void sched_wait(const char *what, bool (*cond)(void *arg), void *arg);
/* Time passes, so that every sleep that has a limit is over. Otherwise it passes only where nobody else can go on as a
 * sleep begins: who relies on the limit of one that began before has missed a wake-up, which is a finding. */
void sched_time_passes(void);
/* In set-up: in this execution that is none. */
void sched_limits_count(void);
/* A rule was broken: ends the execution. Does not return inside an actor. */
void sched_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#ifndef SCHED_PLAIN
#define sched_point(what, obj) (SCHED_HERE, sched_point(what, obj))
#endif
#define SCHED_CHECK(cond, ...)                                                                     \
	do {                                                                                       \
		if (!(cond))                                                                       \
			sched_fail(__VA_ARGS__);                                                   \
	} while (0)
/* Index of the running actor, or -1 outside sched_run(). */
int sched_self(void);
const char *sched_name(int actor);

/* -- store buffers of the explored build (buffer.c): a store, and what drains the running actor's */
void sched_store(void *p, const void *value, size_t size);
void sched_fence(void);

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
