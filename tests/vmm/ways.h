/* SPDX-License-Identifier: MIT */
/* tests/vmm/ways.h: one system call, made in one of the ways a program has. */
#ifndef TESTS_VMM_WAYS_H
#define TESTS_VMM_WAYS_H

enum way {
	BY_LIBC,   /* the function of that name */
	BY_NUMBER, /* libc's syscall() */
	RAW,	   /* an instruction that no library sees */
	BY_CHILD,  /* the same by a child that shares memory */
	WAYS,
};
extern const char *const way_names[WAYS];
extern enum way way; /* of call() */

/* call(number, up to six arguments): -1 and errno. */
long call6(long nr, long a, long b, long c, long d, long e, long f);
#define call(...) call_(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define call_(nr, a, b, c, d, e, f, ...)                                                       \
	call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
