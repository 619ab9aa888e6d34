/* SPDX-License-Identifier: MIT */
#include "heard.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include "rawcall.h"

#define OFTEN_NS	  100000     /* of the timer, which is looked at once a tick */
#define LOOKS		  4	     /* worth it, in the CPU time of a tick */
#define KERNEL_RESTORER	  0x04000000 /* SA_RESTORER, asm/signal.h */
#define KERNEL_SIGSET	  8
#define THREAD_CLOCK(tid) ((clockid_t)(~(unsigned)(tid) << 3 | 6)) /* clock_getres(2): CPUCLOCK_SCHED, per thread */

/* Its handler may interrupt a sanitizer, whose functions are not made for that. */
#define NOT_SANITIZED __attribute__((no_sanitize("thread", "address", "undefined")))

static __thread struct heard *volatile mine;
static uint64_t tick;

/* 0: there is no such thread any more. */
static inline NOT_SANITIZED uint64_t cpu_time(clockid_t clock)
{
	struct timespec t;

	if (rawcall_kernel(SYS_clock_gettime, clock, (long)&t, 0, 0, 0, 0))
		return 0;
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The listening thread has got here, at `now` of its CPU time. */
static inline NOT_SANITIZED void count(struct heard *h, uint64_t now)
{
	uint64_t from = h->since, gap;

	if (h->beats)
		from = h->last;
	else if (from & 1)
		from = now;
	else if (from < h->entered)
		from = h->entered;
	gap = now > from ? now - from : 0;
	h->took += gap;
	h->seen += gap < tick ? gap : tick;
	h->last = now;
}

static inline NOT_SANITIZED void note(struct heard *h, const void *uc)
{
	count(h, cpu_time(CLOCK_THREAD_CPUTIME_ID));
	h->places[h->beats++ % HEARD_PLACES] = uc ? (uint64_t)((const ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP] : 0;
}

static NOT_SANITIZED void on_beat(int sig, siginfo_t *info, void *uc)
{
	struct heard *h = mine;

	if (h && !h->answering && h->since)
		note(h, uc);
}

/* The end of a signal's handler. */
extern const char heard_restorer[] __attribute__((visibility("hidden")));
__asm__(".pushsection .text\n.globl heard_restorer\n.hidden heard_restorer\n.type heard_restorer, @function\n"
	"heard_restorer: mov $15, %eax\n syscall\n" /* rt_sigreturn() */
	".size heard_restorer, . - heard_restorer\n.popsection\n");

static void must(long r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "heard: %s: %s\n", what, strerror((int)-r));
	abort();
}

/*
 * Other signals wait for its end: what they break off is what it came upon. Anew for each question: userkvm puts
 * its own in the place of handlers that are there when /dev/kvm is opened first.
 */
static void install(void)
{
	const struct {
		void (*handler)(int, siginfo_t *, void *);
		unsigned long flags;
		const void *restorer;
		uint64_t mask;
	} sa = {on_beat, SA_SIGINFO | SA_RESTART | KERNEL_RESTORER, heard_restorer, ~0ULL};

	rawcall_kernel(SYS_rt_sigaction, HEARD_SIGNAL, (long)&sa, 0, KERNEL_SIGSET, 0, 0);
}

static void learn_tick(void)
{
	struct timespec t;

	clock_getres(CLOCK_MONOTONIC_COARSE, &t); /* which advances once a tick */
	tick = (uint64_t)t.tv_nsec;
}

/* No more is known of a question, if there is one. */
static void forget(struct heard *h)
{
	h->took = h->seen = 0;
	h->beats = 0;
}

void heard_listen(struct heard *h)
{
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = HEARD_SIGNAL};

	if (mine == h)
		return;
	heard_tick();
	ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	must(rawcall_kernel(SYS_timer_create, CLOCK_THREAD_CPUTIME_ID, (long)&ev, (long)&h->timer, 0, 0, 0),
	     "timer_create");
	h->since = h->entered = 0;
	h->answering = 0;
	forget(h);
	mine = h;
	h->tid = ev._sigev_un._tid;
}

void heard_leave(void)
{
	struct heard *h = mine;

	h->tid = 0;
	mine = NULL;
	rawcall_kernel(SYS_timer_delete, h->timer, 0, 0, 0, 0, 0);
	h->since = 0;
}

struct heard *heard_mine(void)
{
	return mine;
}

static void set_timer(struct heard *h, long ns)
{
	const struct itimerspec t = {.it_value.tv_nsec = ns, .it_interval.tv_nsec = ns};

	rawcall_kernel(SYS_timer_settime, h->timer, 0, (long)&t, 0, 0, 0);
}

/* The first time at the next tick in which the thread runs. One that is gone hears nothing. */
static void beat(struct heard *h)
{
	install();
	set_timer(h, OFTEN_NS);
}

static bool replace(struct heard *h, uint64_t was, uint64_t since)
{
	return atomic_compare_exchange_strong(&h->since, &was, since);
}

/* A thread that has hardly run since it was seen last is left alone. */
void heard_look(struct heard *h)
{
	uint64_t since = h->since, last = h->last, now;
	int tid = h->tid;

	if (!tid || !since)
		return;
	now = cpu_time(THREAD_CLOCK(tid));
	if (now > since && now - since > tick / LOOKS && now > last && now - last > tick / LOOKS)
		syscall(SYS_tgkill, getpid(), tid, HEARD_SIGNAL);
}

void heard_ask(struct heard *h, int sig)
{
	static _Atomic uint64_t questions;
	uint64_t mark = 2 * ++questions + 1, since = 0;
	int tid = h->tid;

	if (!tid)
		return;
	if (!replace(h, 0, mark)) {
		heard_look(h);
		return;
	}
	beat(h);
	/*
	 * From then on: this thread may have been put aside before. And the question may have been answered
	 * already, and another thread have asked the next one.
	 */
	if (!syscall(SYS_tgkill, getpid(), tid, sig))
		since = cpu_time(THREAD_CLOCK(tid)) & ~1ULL;
	replace(h, mark, since);
}

void heard_asked(struct heard *h, const void *uc)
{
	if (h->answering)
		return;
	h->answering = 1;
	if (h->since) {
		note(h, uc);
	} else {
		beat(h);
		h->since = cpu_time(CLOCK_THREAD_CPUTIME_ID) & ~1ULL;
	}
	h->answering = 0;
}

void heard_enters(struct heard *h)
{
	h->answering = 1;
	forget(h);
	h->entered = cpu_time(CLOCK_THREAD_CPUTIME_ID);
	h->answering = 0;
}

uint64_t heard_returned(struct heard *h)
{
	if (!h->since)
		return 0;
	/* In this order: the next question may come as soon as this one is closed. */
	h->answering = 1;
	count(h, cpu_time(CLOCK_THREAD_CPUTIME_ID));
	h->answer.took = h->took;
	h->answer.seen = h->seen;
	h->answer.beats = h->beats;
	forget(h);
	set_timer(h, 0);
	h->since = 0;
	h->answering = 0;
	if (h->answer.seen > h->worst)
		h->worst = h->answer.seen;
	return h->answer.seen;
}

uint64_t heard_so_far(struct heard *h)
{
	return h->since ? h->seen : 0;
}

uint64_t heard_tick(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, learn_tick);
	return tick;
}

uint64_t heard_limit(void)
{
	uint64_t ticks = 3 * heard_tick();

	return ticks > HEARD_NS ? ticks : HEARD_NS;
}

/* An address as addr2line has it, and of which file; generated code is in none. */
static void print_place(FILE *to, uint64_t at)
{
	char line[512], path[400] = "", first[400] = "";
	unsigned long from, end, offset, base = 0;
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps && fgets(line, sizeof(line), maps)) {
		path[0] = 0;
		if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %399s", &from, &end, &offset, path) < 3)
			continue;
		if (!offset) {
			base = from;
			strcpy(first, path);
		}
		if (at >= from && at < end)
			break;
		path[0] = 0;
	}
	if (maps)
		fclose(maps);
	if (path[0] && !strcmp(path, first))
		fprintf(to, "  at %s+%#lx\n", path, at - base);
	else
		fprintf(to, "  at %#lx\n", at);
}

void heard_print(FILE *to, const struct heard *h)
{
	bool open = h->since;
	uint32_t beats = open ? h->beats : h->answer.beats;

	fprintf(to, "%s after %lu us of CPU time, at work in %lu us of them, seen %u times\n", open ? "not heard" : "heard",
		(open ? h->took : h->answer.took) / 1000, (open ? h->seen : h->answer.seen) / 1000, beats);
	for (uint32_t i = 0; i < beats && i < HEARD_PLACES; i++)
		print_place(to, h->places[i]);
}

bool heard_late(struct heard *h)
{
	if (heard_returned(h) <= heard_limit())
		return false;
	heard_print(stderr, h);
	return true;
}
