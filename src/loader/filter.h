/* SPDX-License-Identifier: MIT */
/*
 * loader/filter.h: the seccomp filter that traps what concerns us.
 *
 * It is the same in every process, and stays in force across exec. A call's number comes first, so
 * that the kernel knows for most of them without running it. Then the caller: our own libraries and
 * stubs (layout.h) pass. Then, for some, the arguments.
 */
#ifndef LOADER_FILTER_H
#define LOADER_FILTER_H

struct sock_fprog;

#define FILTER_DATA 0x6b76 /* si_errno of a trap that is ours */

/* Put it in force for this thread and what it starts. 0 or -errno. */
int filter_install(void);

#endif
