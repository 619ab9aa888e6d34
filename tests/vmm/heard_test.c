/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/heard_test.c: what the measure of heard.h tells apart: a thread that is deaf to a signal is seen,
 * and one whose CPU time passes while it executes nothing is not, nor one that sleeps.
 *
 * A processor that a hypervisor takes away cannot be had here. To the measure it is what a thread with
 * HEARD_SIGNAL blocked is: CPU time passes, and one signal comes when it is over.
 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "heard.h"

#define ASK    SIGUSR1
#define TIMES  20
#define TWENTY 20000000ULL /* ns: of a stall that was seen */

#define CHECK(condition, ...)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);            \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			heard_print(stderr, &heard);                                               \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static struct heard heard;
static volatile sig_atomic_t came;
static _Atomic int stopping;

static void on_signal(int sig)
{
	came = 1;
}

static uint64_t read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void work(uint64_t ns)
{
	uint64_t end = read_clock(CLOCK_THREAD_CPUTIME_ID) + ns;

	while (read_clock(CLOCK_THREAD_CPUTIME_ID) < end)
		;
}

static void *ask(void *arg)
{
	while (!stopping) {
		heard_ask(&heard, ASK);
		usleep(100);
	}
	return NULL;
}

/* Until the next question. */
static void be_asked(void)
{
	while (!came)
		work(1000);
	came = 0;
}

/* And who asks, whom others may keep from its processor, has noted when that was. */
static void be_asked_and_noted(void)
{
	be_asked();
	while (heard.since & 1)
		work(1000);
}

static void block_all(int how)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(how, &all, NULL);
}

static void stalls(uint64_t ns)
{
	uint64_t seen;

	be_asked_and_noted();
	block_all(SIG_BLOCK);
	work(ns);
	block_all(SIG_UNBLOCK);
	seen = heard_returned(&heard);
	CHECK(heard.answer.took >= ns, "it took %lu ns of CPU time", heard.answer.took);
	CHECK(seen <= heard_limit(), "a stall of %lu ns counts for %lu", ns, seen);
}

static void is_deaf(uint64_t ns)
{
	uint64_t seen;

	be_asked_and_noted();
	work(ns);
	seen = heard_returned(&heard);
	CHECK(seen > heard_limit(), "it was deaf for %lu ns, and seen for %lu", ns, seen);
	CHECK(heard.answer.beats, "and nobody knows where");
}

static void answers_at_once(void)
{
	be_asked();
	heard_returned(&heard);
}

/* What the VMM does between the question and KVM_RUN is not the run's. */
static void enters_late(uint64_t ns)
{
	uint64_t seen;

	be_asked();
	work(ns);
	heard_enters(&heard);
	seen = heard_returned(&heard);
	CHECK(seen <= heard_limit(), "%lu ns before KVM_RUN count for %lu", ns, seen);
}

/* The measure's signal does not end a wait that the one in question has failed to end. */
static void sleeps(void)
{
	uint64_t end;
	unsigned beats;

	be_asked();
	beats = heard.beats;
	end = read_clock(CLOCK_MONOTONIC) + TIMES * heard_tick();
	while (read_clock(CLOCK_MONOTONIC) < end)
		usleep((useconds_t)(2 * TIMES * heard_tick() / 1000));
	beats = heard.beats - beats;
	heard_returned(&heard);
	CHECK(beats <= 2, "%u signals came to a thread that slept", beats);
}

static uint64_t next; /* question's time */

static void answer(int sig)
{
	heard_returned(&heard);
}

static void answer_and_be_asked(int sig)
{
	heard_returned(&heard);
	heard_asked(&heard, NULL);
	next = heard.since;
}

/* Who asks, and is put aside before it has noted when, notes nothing once there is an answer. */
static void answers_before_it_is_noted(void)
{
	signal(ASK, answer);
	heard_ask(&heard, ASK);
	CHECK(!heard.since, "an answered question is open");
	signal(ASK, answer_and_be_asked);
	heard_ask(&heard, ASK);
	CHECK(heard.since == next, "the next question has another's time");
	heard_returned(&heard);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	uint64_t longer = heard_limit() > TWENTY ? heard_limit() : TWENTY;
	pthread_t asker;

	sigaction(ASK, &sa, NULL);
	heard_listen(&heard);
	CHECK(!pthread_create(&asker, NULL, ask, NULL), "no thread");
	for (int i = 0; i < TIMES; i++) {
		answers_at_once();
		stalls(longer);
	}
	is_deaf(10 * longer);
	enters_late(10 * longer);
	sleeps();
	stopping = 1;
	pthread_join(asker, NULL);
	heard_returned(&heard); /* it may have asked once more */
	answers_before_it_is_noted();
	heard_leave();
	heard_ask(&heard, ASK);
	CHECK(!heard.since, "a question to nobody");
	printf("a tick is %lu us, the limit %lu us, the longest answer %lu us\n", heard_tick() / 1000, heard_limit() / 1000,
	       heard.worst / 1000);
	return 0;
}
