/* SPDX-License-Identifier: MIT */
#include "cpu/spin.h"

#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* After this many turns given away in one loop, who is waited for is not on this core: sleep, so
 * that the host's scheduler has a core free to bring it to. */
#define YIELDS	 8
#define SLEEP_NS 50000

void spin_yield(struct cpu *c)
{
	const struct timespec rest = {.tv_nsec = SLEEP_NS};

	if (++c->spin.yields < YIELDS) {
		sched_yield();
	} else {
		/* Not libc's: that is a place where the VMM may cancel the thread. */
		syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &rest, NULL);
		c->spin.yields = 0;
	}
	c->spin.first = c->spin.last = __rdtsc();
}
