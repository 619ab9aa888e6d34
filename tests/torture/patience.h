/* SPDX-License-Identifier: MIT */
/*
 * tests/torture/patience.h: how long to wait for what must come, on a machine that may give a process no
 * time for minutes.
 *
 * The time that counts is that in which the process ran or wanted nothing: its threads' CPU time, and wall
 * time while all of them but the caller are asleep. One thread a struct.
 */
#ifndef TESTS_TORTURE_PATIENCE_H
#define TESTS_TORTURE_PATIENCE_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct patience {
	pid_t pid;
	clockid_t clock;
	uint64_t cpu, looked; /* ns, at the last look */
	uint64_t spent;	      /* ns */
};

/* Of this process, or of a child of it. */
struct patience patience_with(pid_t pid);
/* Look again, every few ms: ns that have counted since patience_with(). */
uint64_t patience_spent(struct patience *p);

#endif
