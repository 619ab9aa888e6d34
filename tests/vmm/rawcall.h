/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/rawcall.h: a system call that no library sees. libc's syscall() is a function like any other, which
 * one that is loaded before may stand in for.
 */
#ifndef TESTS_VMM_RAWCALL_H
#define TESTS_VMM_RAWCALL_H

#include <errno.h>

/* The kernel's answer; no thread-local variable is touched, so a child that shares memory may call it. */
static inline long rawcall_kernel(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}

static inline long rawcall_errno(long r)
{
	if (r >= 0 || r < -4095)
		return r;
	errno = (int)-r;
	return -1;
}

/* rawcall(number, up to six arguments): as syscall(2), -1 and errno. */
#define rawcall(...) rawcall_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
#define rawcall_(nr, a, b, c, d, e, f, ...)                                                    \
	rawcall_errno(rawcall_kernel((long)(nr), (long)(a), (long)(b), (long)(c), (long)(d),   \
				     (long)(e), (long)(f)))

#endif
