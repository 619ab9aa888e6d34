/* SPDX-License-Identifier: MIT */
/*
 * preload/raw.h: system calls without libc, so that a hook neither meets another hook nor
 * touches errno before it means to. Each returns what the kernel returns: >= 0, or -errno.
 */
#ifndef PRELOAD_RAW_H
#define PRELOAD_RAW_H

#include <sys/syscall.h>
#include "base/types.h"

/* Calls that are newer than the headers this may be built with. */
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_setxattrat
#define SYS_setxattrat	  463
#define SYS_getxattrat	  464
#define SYS_listxattrat	  465
#define SYS_removexattrat 466
#endif

static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	long ret;

	asm volatile("syscall"
		     : "=a"(ret)
		     : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return ret;
}

#define raw0(nr)	     raw6((nr), 0, 0, 0, 0, 0, 0)
#define raw1(nr, a)	     raw6((nr), (long)(a), 0, 0, 0, 0, 0)
#define raw2(nr, a, b)	     raw6((nr), (long)(a), (long)(b), 0, 0, 0, 0)
#define raw3(nr, a, b, c)    raw6((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define raw4(nr, a, b, c, d) raw6((nr), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define raw5(nr, a, b, c, d, e)                                                                \
	raw6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

/* What a libc function makes of such a result. */
static inline long raw_errno(long r)
{
	if (r >= 0 || r < -4095)
		return r;
	errno = (int)-r;
	return -1;
}

#endif
