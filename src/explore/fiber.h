/* SPDX-License-Identifier: MIT */
/*
 * explore/fiber.h: a change of stacks, and nothing else. Signal masks and floating point control are
 * the thread's and stay as they are, so a switch makes no system call. x86-64 only, as userkvm is.
 */
#ifndef EXPLORE_FIBER_H
#define EXPLORE_FIBER_H

#include "base/types.h"

/* Where a fiber that does not run will go on: its stack pointer, below which it left its registers. */
struct fiber {
	void *sp;
};

/* f's first switch calls entry() at the top of this stack; entry() does not return. */
void fiber_make(struct fiber *f, void *stack, size_t bytes, void (*entry)(void));
/* Leave `from` here, to go on when somebody switches to it, and go on with `to`. */
void fiber_switch(struct fiber *from, const struct fiber *to);

#endif
