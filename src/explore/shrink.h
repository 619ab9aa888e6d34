/* SPDX-License-Identifier: MIT */
/* explore/shrink.h: a schedule that finds something, made as short as it can be. */
#ifndef EXPLORE_SHRINK_H
#define EXPLORE_SHRINK_H

#include "explore/scenario.h"

/* Of the execution just run; free() its turns. */
void shrink_begin(struct sched_schedule *s);
/* Replace it with one that finds something too, with fewer choices, then with fewer turns. */
void shrink(const struct scenario *s, struct sched_schedule *t);

#endif
