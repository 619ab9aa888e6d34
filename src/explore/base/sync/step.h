/* SPDX-License-Identifier: MIT */
/* sync/step.h: what the model asks of the explorer's scheduler, which stands above it: steps,
 * waits, checks and checked memory. There is no production build of the model, nor of this. */
#ifndef SYNC_STEP_H
#define SYNC_STEP_H

#include "base/types.h"

void sched_point(const char *what, const void *obj);
void sched_wait(const char *what, bool (*cond)(void *arg), void *arg);
void sched_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Index of the running actor, below SCHED_ACTORS - 1; -1 outside an execution. */
#define SCHED_ACTORS 17
int sched_self(void);
void *sched_calloc(size_t n, size_t size);
void sched_free(void *p);

#define SCHED_CHECK(cond, ...)                                                                     \
	do {                                                                                       \
		if (!(cond))                                                                       \
			sched_fail(__VA_ARGS__);                                                   \
	} while (0)

#endif
