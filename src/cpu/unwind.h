/* SPDX-License-Identifier: MIT */
/*
 * cpu/unwind.h: the points that cpu_unwind() goes to.
 *
 * As setjmp() and longjmp(), by the compiler: a few moves in the function itself, where libc's take a
 * hundred instructions, and an exit to the VMM unwinds once. UNWIND_SET() is 0, and 1 when it is come back
 * to; who sets a point has not returned by then, and does not go to it himself.
 */
#ifndef CPU_UNWIND_H
#define CPU_UNWIND_H

#if defined(__clang__) || defined(__SANITIZE_THREAD__)
/* The thread sanitizer has to see who returns. */
#include <setjmp.h>

struct unwind_point {
	jmp_buf to;
};
#define UNWIND_SET(point) _setjmp((point)->to)
#define UNWIND_GO(point)  _longjmp((point)->to, 1)
#else
struct unwind_point {
	void *to[5];
};
#define UNWIND_SET(point) __builtin_setjmp((point)->to)
#define UNWIND_GO(point)  __builtin_longjmp((point)->to, 1)
#endif

#endif
