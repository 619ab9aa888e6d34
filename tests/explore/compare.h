/* SPDX-License-Identifier: MIT */
/* compare.h: what the conformance tests share: random numbers by seed, this process's accesses, and the difference that
 * ends a test. */
#ifndef TESTS_EXPLORE_COMPARE_H
#define TESTS_EXPLORE_COMPARE_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "explore/sched.h"
#include "primary/model/internal.h"

static u64 seed, rng;
static unsigned step;
static sigjmp_buf faulted;

static void fail(const char *what, u64 page, s64 ours, s64 theirs)
{
	fprintf(stderr, "seed %llu, step %u: %s of page %llu: the model says %lld, Linux %lld\n",
		(unsigned long long)seed, step, what, (unsigned long long)page, (long long)ours,
		(long long)theirs);
	exit(1);
}

static void begin_random(void)
{
	rng = seed * 0x9e3779b97f4a7c15ULL + 1;
}

static u64 below(u64 n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng % n;
}

static void on_fault(int sig)
{
	siglongjmp(faulted, sig);
}

static void catch_faults(void)
{
	struct sigaction sa = {.sa_handler = on_fault};

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
}

/* The word at an address of this process, as model_read() and model_write() say it. */
static int real_access_at(hva_t hva, bool write, u64 *value)
{
	volatile u64 *p = (volatile u64 *)hva;
	int sig = sigsetjmp(faulted, 1);

	if (sig)
		return sig == SIGBUS ? -ENXIO : -EFAULT;
	if (write)
		*p = *value;
	else
		*value = *p;
	return 0;
}

#endif
