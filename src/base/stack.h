/* SPDX-License-Identifier: MIT */
/*
 * base/stack.h: call a function on another stack.
 *
 * The VMM gives a thread as much stack as its own calls need, and may show it to a guest; what our
 * code needs it has elsewhere. Debuggers see through: the frame of stack_call() leads back.
 */
#ifndef BASE_STACK_H
#define BASE_STACK_H

#include "base/types.h"

#define STACK_SIZE (256UL << 10) /* bytes: what our calls need, and signals' frames */

/* One of our own memory (own.h), with a page below that nobody reaches: its lowest address, or NULL. */
void *stack_alloc(size_t size);
void stack_free(void *stack, size_t size);

/* fn(arg)'s result. `stack` is stack_alloc(size)'s; nobody else is on it. */
long stack_call(void *stack, size_t size, long (*fn)(void *arg), void *arg);

#endif
