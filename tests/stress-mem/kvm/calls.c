/* SPDX-License-Identifier: MIT */
/*
 * The calls that change mappings, each in two ways: by libc's function, which a library in between
 * stands in for, and by its number, which none sees.
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

void *call_mmap(void *addr, size_t len, int prot, int flags, int fd, u64 off)
{
	void *p = unseen ? (void *)syscall(SYS_mmap, addr, len, (long)prot, (long)flags,
						   (long)fd, off)
			 : mmap(addr, len, prot, flags, fd, (off_t)off);

	MUST(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

void call_munmap(void *addr, size_t len)
{
	long r = unseen ? syscall(SYS_munmap, addr, len) : munmap(addr, len);

	MUST(!r, "munmap: %s", strerror(errno));
}

long call_mremap(void *addr, size_t old, size_t len, int flags, void *to)
{
	return unseen ? syscall(SYS_mremap, addr, old, len, (long)flags, to)
		      : (long)mremap(addr, old, len, flags, to);
}

void call_mprotect(void *addr, size_t len, int prot)
{
	long r = unseen ? syscall(SYS_mprotect, addr, len, (long)prot)
			: mprotect(addr, len, prot);

	MUST(!r, "mprotect: %s", strerror(errno));
}

int call_madvise(void *addr, size_t len, int advice)
{
	return unseen ? (int)syscall(SYS_madvise, addr, len, advice)
		      : madvise(addr, len, advice);
}

int call_punch(int fd, u64 off, u64 len)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	return unseen ? (int)syscall(SYS_fallocate, fd, mode, off, len)
		      : fallocate(fd, mode, (off_t)off, (off_t)len);
}

void call_truncate(int fd, u64 len)
{
	long r = unseen ? syscall(SYS_ftruncate, fd, len) : ftruncate(fd, (off_t)len);

	MUST(!r, "ftruncate: %s", strerror(errno));
}

int call_ioctl(int fd, unsigned long request, void *arg)
{
	return unseen ? (int)syscall(SYS_ioctl, fd, request, arg) : ioctl(fd, request, arg);
}

int call_fork(void)
{
	return unseen ? (int)syscall(SYS_fork) : fork();
}
