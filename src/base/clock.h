/* SPDX-License-Identifier: MIT */
/*
 * base/clock.h: the host's clocks in nanoseconds. Any thread, any lock.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <time.h>
#include "base/types.h"

#define NSEC_PER_SEC 1000000000ULL

static inline u64 clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
}

/*
 * The host's TSC, not before what precedes it: RDTSC by itself may be executed early (SDM vol. 2,
 * RDTSC), and what two threads read by turns would seem to run backwards. LFENCE orders it on AMD's
 * processors as well, where Linux has made it serializing (APM vol. 3, LFENCE).
 */
static inline u64 clock_tsc(void)
{
	u32 lo, hi;

	__asm__ volatile("lfence\n\trdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (u64)hi << 32 | lo;
}

#endif
