/* SPDX-License-Identifier: MIT */
/*
 * Fibers and the choice of who goes on. The strategies are here because each is a few lines over
 * the same list of runnable actors; locks, RCU and memory of the explored build are in sync.c and
 * memory.c.
 */
#include "explore/sched.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

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
	u64 priority; /* RANDOM: higher goes first */
	ucontext_t ctx;
	void *stack;
};

static struct {
	/* configuration */
	enum sched_strategy strategy;
	u64 seed;
	unsigned bound;
	struct sched_trace replay; /* choices to follow first */
	bool verbose;
	/* the execution */
	struct actor actor[SCHED_MAX_ACTORS];
	int nactors;
	int current; /* -1 outside sched_run() */
	u64 steps;
	unsigned preemptions;
	u64 rng;
	u64 change_at[8]; /* RANDOM: steps at which the running actor loses its priority */
	struct sched_trace trace;
	enum sched_verdict verdict;
	char why[512];
	ucontext_t main;
	u64 expected_steps; /* length of the last execution: where change points may fall */
} S = {.current = -1, .expected_steps = 200};

static u64 next_random(void)
{
	/* splitmix64 */
	u64 z = S.rng += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

int sched_self(void)
{
	return S.current;
}

const char *sched_name(int actor)
{
	return actor < 0 ? "set-up" : S.actor[actor].name;
}

const char *sched_why(void)
{
	return S.why;
}

const struct sched_trace *sched_trace(void)
{
	return &S.trace;
}

void sched_verbose(bool on)
{
	S.verbose = on;
}

/* -- the trace */

static void trace_add(u8 choice, u8 width)
{
	if (S.trace.n == S.trace.room) {
		u32 room = S.trace.room ? 2 * S.trace.room : 256;

		S.trace.choice = realloc(S.trace.choice, room);
		S.trace.width = realloc(S.trace.width, room);
		if (!S.trace.choice || !S.trace.width)
			abort();
		S.trace.room = room;
	}
	S.trace.choice[S.trace.n] = choice;
	S.trace.width[S.trace.n++] = width;
}

static void set_replay(const struct sched_trace *t, u32 n)
{
	u8 *c = n ? malloc(n) : NULL;

	if (n && !c)
		abort();
	if (n)
		memcpy(c, t->choice, n);
	free(S.replay.choice);
	S.replay.choice = c;
	S.replay.n = n;
}

void sched_configure(enum sched_strategy s, u64 seed, unsigned preemptions,
		     const struct sched_trace *replay)
{
	S.strategy = s;
	S.seed = seed;
	S.bound = preemptions;
	set_replay(replay, replay ? replay->n : 0);
}

/* Preemptions in the first n choices of the last execution: choosing another than the runner. */
static unsigned preemptions_in(u32 n)
{
	unsigned p = 0;

	for (u32 i = 0; i < n; i++)
		p += S.trace.choice[i] != 0 && !(S.trace.width[i] & TRACE_FORCED);
	return p;
}

/* Depth first: the last choice that can still be another one, within the bound. */
bool sched_advance(void)
{
	for (u32 i = S.trace.n; i-- > 0;) {
		u8 width = S.trace.width[i] & TRACE_WIDTH;
		bool forced = S.trace.width[i] & TRACE_FORCED;

		if (S.trace.choice[i] + 1 >= width)
			continue;
		if (!forced && S.trace.choice[i] == 0 && preemptions_in(i) >= S.bound)
			continue;
		S.trace.choice[i]++;
		set_replay(&S.trace, i + 1);
		return true;
	}
	return false;
}

/* -- choosing */

/* Runnable actors, the running one first if it is among them; the rest in order of creation. */
static int runnable(int list[])
{
	int n = 0;

	if (S.current >= 0 && S.actor[S.current].state == ACTOR_READY)
		list[n++] = S.current;
	for (int i = 0; i < S.nactors; i++) {
		struct actor *a = &S.actor[i];

		if (i == S.current && n)
			continue;
		if (a->state == ACTOR_WAITING && a->cond(a->cond_arg))
			a->state = ACTOR_READY;
		if (a->state == ACTOR_READY && !(n && list[0] == i))
			list[n++] = i;
	}
	return n;
}

static int pick_random(const int list[], int n)
{
	int best = 0;

	for (unsigned i = 0; i < MIN(S.bound, (unsigned)ARRAY_SIZE(S.change_at)); i++) {
		if (S.change_at[i] == S.steps && S.current >= 0)
			S.actor[S.current].priority = i; /* below every initial priority */
	}
	for (int i = 1; i < n; i++) {
		if (S.actor[list[i]].priority > S.actor[list[best]].priority)
			best = i;
	}
	return best;
}

/* Which of the runnable goes on; records the choice where there was one. */
static int choose(const int list[], int n)
{
	bool forced = list[0] != S.current;
	int c = 0;

	if (n == 1)
		return list[0];
	if (S.trace.n < S.replay.n)
		c = S.replay.choice[S.trace.n] < n ? S.replay.choice[S.trace.n] : 0;
	else if (S.strategy == SCHED_RANDOM)
		c = pick_random(list, n);
	trace_add((u8)c, (u8)(n | (forced ? TRACE_FORCED : 0)));
	return list[c];
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
	setcontext(&S.main);
	abort();
}

static void switch_to(int next)
{
	int self = S.current;

	if (next == self)
		return;
	S.current = next;
	if (self < 0)
		swapcontext(&S.main, &S.actor[next].ctx);
	else
		swapcontext(&S.actor[self].ctx, &S.actor[next].ctx);
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

/* Hand over to whoever is next; returns when this actor is. */
static void reschedule(void)
{
	int list[SCHED_MAX_ACTORS];
	int n = runnable(list);

	if (n) {
		switch_to(choose(list, n));
		return;
	}
	for (int i = 0; i < S.nactors; i++) {
		if (S.actor[i].state == ACTOR_WAITING) {
			describe_deadlock();
			stop(SCHED_DEADLOCK);
		}
	}
	stop(SCHED_OK);
}

static void actor_main(void)
{
	struct actor *a = &S.actor[S.current];

	a->fn(a->arg);
	a->state = ACTOR_DONE;
	reschedule();
	abort(); /* a finished actor is never chosen */
}

void sched_point(const char *what, const void *obj)
{
	if (S.current < 0)
		return;
	if (++S.steps > SCHED_MAX_STEPS) {
		snprintf(S.why, sizeof(S.why), "livelock: %d steps and no end; %s at %s",
			 SCHED_MAX_STEPS, sched_name(S.current), what);
		stop(SCHED_LIVELOCK);
	}
	explore_rcu_run();
	reschedule();
	if (S.verbose)
		fprintf(stderr, "  %5llu %-12s %-10s %p\n", (unsigned long long)S.steps,
			sched_name(S.current), what, obj);
}

void sched_wait(const char *what, bool (*cond)(void *arg), void *arg)
{
	struct actor *a = &S.actor[S.current];

	if (S.current < 0) {
		/* Set-up and final checks have nobody to wait for. */
		if (!cond(arg))
			sched_fail("at the end, %s would be awaited forever", what);
		return;
	}
	sched_point(what, arg);
	while (!cond(arg)) {
		a->state = ACTOR_WAITING;
		a->waits_for = what;
		a->cond = cond;
		a->cond_arg = arg;
		reschedule();
	}
}

bool explore_alone(void)
{
	int list[SCHED_MAX_ACTORS];

	return runnable(list) <= 1;
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
	if (S.current < 0) {
		signal(sig, SIG_DFL);
		return;
	}
	if (explore_memory_freed(info->si_addr))
		snprintf(S.why, sizeof(S.why), "%s uses memory that was freed",
			 sched_name(S.current));
	else
		snprintf(S.why, sizeof(S.why), "%s crashes at address %p", sched_name(S.current),
			 info->si_addr);
	stop(SCHED_CRASH);
}

void sched_begin(void)
{
	struct sigaction sa = {.sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	S.nactors = 0;
	S.current = -1;
	S.steps = 0;
	S.trace.n = 0;
	S.verdict = SCHED_OK;
	S.why[0] = 0;
	S.rng = S.seed;
	explore_rcu_reset();
	explore_memory_reset();
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
	a->priority = (next_random() | BIT(63)) >> 1;
	getcontext(&a->ctx);
	a->ctx.uc_stack.ss_sp = a->stack;
	a->ctx.uc_stack.ss_size = STACK_BYTES;
	a->ctx.uc_link = NULL;
	makecontext(&a->ctx, actor_main, 0);
	S.nactors++;
}

enum sched_verdict sched_run(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(S.change_at); i++)
		S.change_at[i] = 1 + next_random() % S.expected_steps;
	reschedule();
	S.current = -1;
	S.expected_steps = S.steps + 1;
	explore_rcu_drain();
	return S.verdict;
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
