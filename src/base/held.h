/* SPDX-License-Identifier: MIT */
/*
 * base/held.h: numbers of descriptors that the library holds in the VMM's table, out of its way.
 */
#ifndef BASE_HELD_H
#define BASE_HELD_H

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/types.h"

/* Three quarters up what the limit allows: far from what the VMM counts on. */
static inline int held_number(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) || rl.rlim_cur > INT32_MAX)
		return 0;
	return (int)(rl.rlim_cur - rl.rlim_cur / 4);
}

/* Move a descriptor of our own there. The new number; fd itself on failure. */
static inline int held_renumber(int fd)
{
	long high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, held_number());

	if (high < 0)
		return fd;
	syscall(SYS_close, fd);
	return (int)high;
}

/*
 * Give a memfd of our own a size. False: it has not got it. RLIMIT_FSIZE counts for memfds as well, and the
 * kernel kills by SIGXFSZ who goes beyond it: that is the VMM's, so nothing is tried then.
 */
static inline bool held_resize(int fd, u64 size)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_FSIZE, &rl) || rl.rlim_cur < size) {
		errno = EFBIG;
		return false;
	}
	return !syscall(SYS_ftruncate, fd, size);
}

#endif
