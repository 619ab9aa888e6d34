/* SPDX-License-Identifier: MIT */
/*
 * Actors and their steps. Who goes on is choose.c's, where that matters share.c's; locks, RCU and memory of the
 * explored build are in sync.c and memory.c.
 */
#define SCHED_PLAIN
#include "explore/sched.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "explore/fiber.h"
#include "explore/internal.h"

#define STACK_BYTES (256 * 1024)

enum actor_state { ACTOR_READY, ACTOR_WAITING, ACTOR_DONE };

struct actor {
	const char *name;
	sched_actor_fn *fn;
	void *arg;
	enum actor_state state;
	const char *waits_for;
	bool (*cond)(void *arg);
	void *cond_arg;
	struct fiber fiber;
	void *stack;
};

static struct {
	bool lax;
	sched_watch_fn *watch;
	u64 leave_at; /* steps after which a replay is left */
	/* the execution */
	struct actor actor[SCHED_MAX_ACTORS];
	int nactors;
	bool limits_count; /* sleeps with a limit end when nobody can go on */
	int current; /* -1 outside sched_run() */
	u64 steps, all_steps; /* of this execution; of those before */
	enum sched_verdict verdict;
	char why[512];
	struct fiber main;
	bool finishing; /* final checks are made */
	sigjmp_buf finish;
} S = {.current = -1, .leave_at = ~0ULL};

const char *sched_where;

int sched_self(void)
{
	return S.current;
}

const char *sched_name(int actor)
{
	if (S.finishing)
		return "the end";
	return actor < 0 ? "set-up" : S.actor[actor].name;
}

const char *sched_why(void)
{
	return S.why;
}

void sched_strict(bool on)
{
	S.lax = !on;
}

void sched_watch(sched_watch_fn *fn)
{
	S.watch = fn;
}

char *sched_aside(char *(*fn)(void))
{
	int self = S.current;
	char *r;

	S.current = -1;
	r = fn();
	S.current = self;
	return r;
}

void sched_leave(u64 steps)
{
	S.leave_at = steps;
}

/* -- who can go on */

static bool can_go_on(const struct actor *a)
{
	return a->state == ACTOR_READY || (a->state == ACTOR_WAITING && a->cond(a->cond_arg));
}

static void look_around(struct explore_choice *c)
{
	c->n = 0;
	c->current = S.current;
	c->can_stay = S.current >= 0 && S.actor[S.current].state == ACTOR_READY;
	if (c->can_stay)
		c->list[c->n++] = S.current;
	for (int i = 0; i < S.nactors; i++) {
		if (!(c->can_stay && i == S.current) && can_go_on(&S.actor[i]))
			c->list[c->n++] = i;
	}
}

/* -- fibers */

static void stop(enum sched_verdict v)
{
	int self = S.current;

	S.verdict = v;
	if (self < 0)
		return;
	S.current = -1;
	S.actor[self].state = ACTOR_DONE;
	fiber_switch(&S.actor[self].fiber, &S.main);
	abort();
}

/*
 * The running actor is interrupted. Are its latest stores seen by those who go on now? Where it waits or has
 * ended they are: it would drain its buffer before long.
 */
static bool leave_stores(int self)
{
	bool hold = false;

	if (!explore_buffered(self))
		return false;
	if (S.actor[self].state == ACTOR_READY)
		hold = explore_choose_hold();
	if (hold)
		explore_buffer_hold(self);
	else
		explore_buffer_drain(self);
	return hold;
}

static void switch_to(int next, bool usual)
{
	int self = S.current;
	bool hold;

	if (self >= 0) {
		hold = leave_stores(self);
		if (S.actor[self].state == ACTOR_READY)
			explore_turn_interrupted(hold);
	}
	explore_turn_begin(next, usual);
	S.current = next;
	S.actor[next].state = ACTOR_READY;
	explore_buffer_resume(next);
	if (self < 0)
		fiber_switch(&S.main, &S.actor[next].fiber);
	else
		fiber_switch(&S.actor[self].fiber, &S.actor[next].fiber);
}

static void describe_deadlock(void)
{
	int at = snprintf(S.why, sizeof(S.why), "deadlock:");

	for (int i = 0; i < S.nactors && at < (int)sizeof(S.why); i++) {
		if (S.actor[i].state == ACTOR_WAITING)
			at += snprintf(S.why + at, sizeof(S.why) - (size_t)at, " %s waits for %s;",
				       S.actor[i].name, S.actor[i].waits_for);
	}
}

/* Nobody can go on. */
static void end(void)
{
	for (int i = 0; i < S.nactors; i++) {
		if (S.actor[i].state == ACTOR_WAITING) {
			describe_deadlock();
			stop(SCHED_DEADLOCK);
		}
	}
	stop(SCHED_OK);
}

/* The running actor cannot go on, or nobody has run yet; returns when it is this actor's turn. */
static void hand_over(void)
{
	struct explore_choice c;
	int i;

	look_around(&c);
	if (!c.n && S.limits_count && explore_time_may_pass())
		look_around(&c);
	if (!c.n) {
		end();
		return;
	}
	if (c.n > 1 && explore_replays())
		explore_passed();
	if (c.n > 1)
		explore_state(S.current);
	i = explore_replays() ? explore_turn_next(&c) : explore_choose(&c);
	/* Who waited for what has come about meanwhile goes on at once. */
	if (c.list[i] == S.current)
		S.actor[S.current].state = ACTOR_READY;
	else
		switch_to(c.list[i], !i);
}

/* The running actor comes to a step. */
static void come_to_step(bool choice)
{
	bool over = explore_turn_over();
	struct explore_choice c;
	int i = 0;

	if (!choice && !over)
		return;
	look_around(&c);
	if (!explore_replays()) {
		if (c.n > 1)
			explore_state(S.current);
		i = explore_choose(&c);
	} else {
		if (c.n > 1)
			explore_passed();
		if (over)
			i = explore_turn_next(&c);
	}
	if (c.list[i] != S.current)
		switch_to(c.list[i], false);
}

static void actor_main(void)
{
	struct actor *a = &S.actor[S.current];

	a->fn(a->arg);
	a->state = ACTOR_DONE;
	hand_over();
	abort(); /* a finished actor is never chosen */
}

void explore_step(const char *what, const void *obj, bool choice)
{
	const char *where = sched_where;

	sched_where = NULL;
	if (S.current < 0)
		return;
	if (S.steps == S.leave_at && explore_replays())
		explore_choose_leave();
	if (++S.steps > SCHED_MAX_STEPS) {
		snprintf(S.why, sizeof(S.why), "livelock: %d steps and no end; %s at %s",
			 SCHED_MAX_STEPS, sched_name(S.current), what);
		stop(SCHED_LIVELOCK);
	}
	explore_rcu_run();
	come_to_step(choice || explore_surveys());
	if (S.watch)
		S.watch(what, where, choice);
}

void sched_step(const char *what, const void *obj, enum sched_access access)
{
	struct explore_object *o;
	bool choice;

	if (S.current < 0)
		return;
	o = explore_touch(obj, access, &choice);
	explore_step(what, obj, choice);
	explore_happened(o, access);
}

void sched_point(const char *what, const void *obj)
{
	static u64 model; /* all that the model and scenarios do is taken for one thing */
	struct explore_object *o;
	bool choice;

	if (S.current < 0)
		return;
	o = explore_touch(&model, SCHED_WRITE, &choice);
	explore_step(what, obj, true);
	explore_happened(o, SCHED_WRITE);
}

void explore_wait(const char *what, bool (*cond)(void *arg), void *arg)
{
	struct actor *a = &S.actor[S.current];

	if (S.current < 0) {
		/* Set-up and final checks have nobody to wait for. */
		if (!cond(arg))
			sched_fail("at the end, %s would be awaited forever", what);
		return;
	}
	while (!cond(arg)) {
		a->state = ACTOR_WAITING;
		a->waits_for = what;
		a->cond = cond;
		a->cond_arg = arg;
		hand_over();
	}
}

void sched_wait(const char *what, bool (*cond)(void *arg), void *arg)
{
	sched_point(what, arg);
	explore_wait(what, cond, arg);
}

bool explore_strict(void)
{
	return explore_replays() && !S.lax;
}

bool explore_alone(void)
{
	struct explore_choice c;

	look_around(&c);
	return c.n <= 1;
}

void sched_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (S.verdict == SCHED_OK)
		vsnprintf(S.why, sizeof(S.why), fmt, ap);
	va_end(ap);
	stop(SCHED_VIOLATION);
}

/* -- an execution */

static void crashed(int sig, siginfo_t *info, void *uc)
{
	(void)uc;
	if (S.current < 0 && !S.finishing) {
		signal(sig, SIG_DFL);
		return;
	}
	if (explore_memory_freed(info->si_addr))
		snprintf(S.why, sizeof(S.why), "%s uses memory that was freed",
			 sched_name(S.current));
	else
		snprintf(S.why, sizeof(S.why), "%s crashes at address %p", sched_name(S.current),
			 info->si_addr);
	if (S.current < 0) {
		S.verdict = SCHED_CRASH;
		siglongjmp(S.finish, 1);
	}
	stop(SCHED_CRASH);
}

void sched_finish(void (*check)(void), void (*teardown)(void))
{
	S.finishing = true;
	if (!sigsetjmp(S.finish, 0)) {
		check();
		teardown();
	}
	S.finishing = false;
}

void sched_begin(void)
{
	struct sigaction sa = {.sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	S.nactors = 0;
	S.limits_count = false;
	S.current = -1;
	S.all_steps += S.steps;
	S.steps = 0;
	S.verdict = SCHED_OK;
	S.why[0] = 0;
	explore_choose_begin();
	explore_share_reset();
	explore_buffer_reset();
	explore_rcu_reset();
	explore_memory_reset();
}

void sched_limits_count(void)
{
	S.limits_count = true;
}

bool sched_alone(void)
{
	return S.nactors < 2;
}

void sched_spawn(const char *name, sched_actor_fn *fn, void *arg)
{
	struct actor *a = &S.actor[S.nactors];

	if (S.nactors == SCHED_MAX_ACTORS)
		abort();
	if (!a->stack) {
		a->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
		if (a->stack == MAP_FAILED)
			abort();
	}
	a->name = name;
	a->fn = fn;
	a->arg = arg;
	a->state = ACTOR_READY;
	explore_choose_spawned(S.nactors);
	fiber_make(&a->fiber, a->stack, STACK_BYTES, actor_main);
	S.nactors++;
}

enum sched_verdict sched_run(void)
{
	explore_choose_run();
	hand_over();
	S.current = -1;
	explore_rcu_drain();
	return S.verdict;
}

u64 sched_steps(void)
{
	return S.all_steps + S.steps;
}

enum sched_verdict sched_verdict(void)
{
	return S.verdict;
}

void sched_end(void)
{
	/* Teardown hands memory over too. */
	explore_rcu_drain();
	explore_memory_check(S.verdict == SCHED_OK);
}
