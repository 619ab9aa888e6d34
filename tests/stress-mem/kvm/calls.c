/* SPDX-License-Identifier: MIT */
/*
 * The calls that change mappings, each in two ways: through libc, where a library in between
 * sees it, and as a system call of our own, where none can.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "stress.h"

bool unseen, weak;

static long system_call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	long r;

	asm volatile("syscall"
		     : "=a"(r)
		     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	if (r < 0 && r >= -4095) {
		errno = (int)-r;
		r = -1;
	}
	return r;
}

#define UNSEEN(nr, a, b, c, d, e, f)                                                           \
	system_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

void *call_mmap(void *addr, size_t len, int prot, int flags, int fd, u64 off)
{
	void *p = unseen ? (void *)UNSEEN(SYS_mmap, addr, len, prot, flags, fd, off)
			 : mmap(addr, len, prot, flags, fd, (off_t)off);

	MUST(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

void call_munmap(void *addr, size_t len)
{
	long r = unseen ? UNSEEN(SYS_munmap, addr, len, 0, 0, 0, 0) : munmap(addr, len);

	MUST(!r, "munmap: %s", strerror(errno));
}

long call_mremap(void *addr, size_t old, size_t len, int flags, void *to)
{
	return unseen ? UNSEEN(SYS_mremap, addr, old, len, flags, to, 0)
		      : (long)mremap(addr, old, len, flags, to);
}

void call_mprotect(void *addr, size_t len, int prot)
{
	long r = unseen ? UNSEEN(SYS_mprotect, addr, len, prot, 0, 0, 0)
			: mprotect(addr, len, prot);

	MUST(!r, "mprotect: %s", strerror(errno));
}

int call_madvise(void *addr, size_t len, int advice)
{
	return unseen ? (int)UNSEEN(SYS_madvise, addr, len, advice, 0, 0, 0)
		      : madvise(addr, len, advice);
}

int call_punch(int fd, u64 off, u64 len)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	return unseen ? (int)UNSEEN(SYS_fallocate, fd, mode, off, len, 0, 0)
		      : fallocate(fd, mode, (off_t)off, (off_t)len);
}

void call_truncate(int fd, u64 len)
{
	long r =
		unseen ? UNSEEN(SYS_ftruncate, fd, len, 0, 0, 0, 0) : ftruncate(fd, (off_t)len);

	MUST(!r, "ftruncate: %s", strerror(errno));
}

int call_ioctl(int fd, unsigned long request, void *arg)
{
	return unseen ? (int)UNSEEN(SYS_ioctl, fd, request, arg, 0, 0, 0)
		      : ioctl(fd, request, arg);
}

int call_fork(void)
{
	return unseen ? (int)UNSEEN(SYS_fork, 0, 0, 0, 0, 0, 0) : fork();
}
