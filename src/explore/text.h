/* SPDX-License-Identifier: MIT */
/*
 * explore/text.h: schedules as text: turns, separated by commas: an actor's number, in the order of their creation, and
 * :N where it is interrupted as it comes to its N-th step of the turn; h after that, where its stores are held.
 */
#ifndef EXPLORE_TEXT_H
#define EXPLORE_TEXT_H

#include <stdio.h>

#include "explore/sched.h"

void text_print(FILE *f, const struct sched_schedule *t);
/* False: it is no schedule, or there is no memory. free() its turns. */
bool text_parse(const char *s, struct sched_schedule *t);

#endif
