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

#endif
