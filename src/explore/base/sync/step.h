/* SPDX-License-Identifier: MIT */
/* sync/step.h: what the model asks of the explorer's scheduler, which stands above it: steps,
 * waits, checks and checked memory. There is no production build of the model, nor of this. */
#ifndef SYNC_STEP_H
#define SYNC_STEP_H

#include "explore/sched.h"

/* Index of the running actor is below SCHED_ACTORS - 1. */
#define SCHED_ACTORS (SCHED_MAX_ACTORS + 1)

#endif
