/* SPDX-License-Identifier: MIT */
/* vm/eventfd.c: see eventfd.h. */
#include "vm/eventfd.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDINFO_SIZE 1024 /* an eventfd's is about 150 bytes */

/* The kernel tells eventfds apart in fdinfo (Documentation/filesystems/proc.rst). */
int eventfd_id(int fd, u64 *id)
{
	static const char key[] = "eventfd-id:";
	char path[64], text[FDINFO_SIZE], *p;
	long info, n;

	if (syscall(SYS_fcntl, fd, F_GETFD) < 0)
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/thread-self/fdinfo/%d", fd);
	info = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return -errno;
	n = syscall(SYS_read, info, text, sizeof(text) - 1);
	syscall(SYS_close, info);
	text[n > 0 ? n : 0] = 0;
	p = strstr(text, key);
	if (!p)
		return -EINVAL;
	*id = strtoull(p + sizeof(key) - 1, NULL, 10);
	return 0;
}

/* Three quarters up what the limit allows: far from what the VMM counts on. */
static int high_number(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) || rl.rlim_cur > INT32_MAX)
		return 0;
	return (int)(rl.rlim_cur - rl.rlim_cur / 4);
}

int eventfd_hold(int fd, u64 *id)
{
	int r = eventfd_id(fd, id);
	long held;

	if (r)
		return r;
	held = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, high_number());
	if (held < 0)
		held = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
	return held < 0 ? -errno : (int)held;
}

int eventfd_renumber(int fd)
{
	long high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, high_number());

	if (high < 0)
		return fd;
	syscall(SYS_close, fd);
	return (int)high;
}

void eventfd_release(int held)
{
	syscall(SYS_close, held);
}

/* A counter that is full is a signal already; writing to it might block. */
void eventfd_signal(int held)
{
	struct pollfd p = {.fd = held, .events = POLLOUT};
	struct timespec now = {0};
	u64 one = 1;

	if (syscall(SYS_ppoll, &p, 1L, &now, NULL, 0L) == 1)
		syscall(SYS_write, held, &one, sizeof(one));
}

/* The descriptor may be a blocking one, and others may read it: ask without waiting. */
bool eventfd_take(int held)
{
	u64 count;
	struct iovec iov = {&count, sizeof(count)};

	return syscall(SYS_preadv2, held, &iov, 1, -1L, -1L, RWF_NOWAIT) == sizeof(count);
}
