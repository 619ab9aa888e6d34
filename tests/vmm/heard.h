/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/heard.h: how soon a signal ends KVM_RUN, in the CPU time of the vCPU's thread.
 *
 * One thread asks, the vCPU's answers. The handler of the signal sets kvm_run's immediate_exit, or the run
 * ends anyway; the thread calls heard_returned() after each KVM_RUN and says whether the handler ran.
 */
#ifndef TESTS_VMM_HEARD_H
#define TESTS_VMM_HEARD_H

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

#define HEARD_NS 10000000ULL /* more is a failure */

struct heard {
	_Atomic int asked;	/* and not answered yet */
	_Atomic uint64_t since; /* its CPU time just after it was asked; 0: not known */
	uint64_t worst;		/* ns; the vCPU's thread's */
};

static inline uint64_t heard_time(clockid_t clock)
{
	struct timespec t;

	return clock_gettime(clock, &t) ? 0 : (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Any thread but the vCPU's, which lives. Nothing while it has not answered the last one. */
static inline void heard_ask(struct heard *h, pthread_t thread, int sig)
{
	clockid_t clock;

	if (h->asked || pthread_getcpuclockid(thread, &clock))
		return;
	h->since = 0;
	h->asked = 1;
	pthread_kill(thread, sig);
	/* From here on: this thread may have been put aside before. */
	h->since = heard_time(clock);
}

/* On the vCPU's thread, after a run in which, or before which, the handler ran: how long it took, ns. */
static inline uint64_t heard_returned(struct heard *h)
{
	uint64_t since = h->since, now = heard_time(CLOCK_THREAD_CPUTIME_ID);
	uint64_t took = since && now > since ? now - since : 0;

	if (took > h->worst)
		h->worst = took;
	h->asked = 0;
	return took;
}

#endif
