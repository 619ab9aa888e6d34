/* SPDX-License-Identifier: MIT */
/*
 * preload/bynumber.c: libc's syscall(). What it asks of the kernel by number goes the way of the
 * function of that name, where that is one that descriptors or memory of ours may be about.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/types.h>
#include "preload/preload.h"

/* The hooks themselves: the plain names are the kernel's in here (inside.c). */
int __real_ioctl(int fd, unsigned long request, ...);
int __real_openat(int dirfd, const char *path, int flags, ...);
int __real_close(int fd);
int __real_close_range(unsigned first, unsigned last, int flags);
int __real_dup(int fd);
int __real_dup2(int fd, int to);
int __real_dup3(int fd, int to, int flags);
int __real_fcntl(int fd, int cmd, ...);
ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __real_write(int fd, const void *buf, size_t n);
void *__real_mmap(void *p, size_t n, int prot, int flags, int fd, off_t off);
int __real_munmap(void *p, size_t n);
int __real_mprotect(void *p, size_t n, int prot);
int __real_madvise(void *p, size_t n, int advice);
int __real_ftruncate(int fd, off_t len);
int __real_fallocate(int fd, int mode, off_t off, off_t len);

static bool has_function(long nr, const long *a, long *r)
{
	switch (nr) {
	case SYS_ioctl:
		*r = __real_ioctl((int)a[0], (unsigned long)a[1], a[2]);
		return true;
	case SYS_open:
		*r = __real_openat(AT_FDCWD, (const char *)a[0], (int)a[1], (mode_t)a[2]);
		return true;
	case SYS_openat:
		*r = __real_openat((int)a[0], (const char *)a[1], (int)a[2], (mode_t)a[3]);
		return true;
	case SYS_close:
		*r = __real_close((int)a[0]);
		return true;
	case SYS_close_range:
		*r = __real_close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
		return true;
	case SYS_dup:
		*r = __real_dup((int)a[0]);
		return true;
	case SYS_dup2:
		*r = __real_dup2((int)a[0], (int)a[1]);
		return true;
	case SYS_dup3:
		*r = __real_dup3((int)a[0], (int)a[1], (int)a[2]);
		return true;
	case SYS_fcntl:
		*r = __real_fcntl((int)a[0], (int)a[1], a[2]);
		return true;
	case SYS_read:
		*r = __real_read((int)a[0], (void *)a[1], (size_t)a[2]);
		return true;
	case SYS_write:
		*r = __real_write((int)a[0], (const void *)a[1], (size_t)a[2]);
		return true;
	case SYS_mmap:
		*r = (long)__real_mmap((void *)a[0], (size_t)a[1], (int)a[2], (int)a[3],
				       (int)a[4], a[5]);
		return true;
	case SYS_munmap:
		*r = __real_munmap((void *)a[0], (size_t)a[1]);
		return true;
	case SYS_mprotect:
		*r = __real_mprotect((void *)a[0], (size_t)a[1], (int)a[2]);
		return true;
	case SYS_madvise:
		*r = __real_madvise((void *)a[0], (size_t)a[1], (int)a[2]);
		return true;
	case SYS_ftruncate:
		*r = __real_ftruncate((int)a[0], a[1]);
		return true;
	case SYS_fallocate:
		*r = __real_fallocate((int)a[0], (int)a[1], a[2], a[3]);
		return true;
	default:
		return false;
	}
}

EXPORT long syscall(long nr, ...)
{
	long a[6], r;
	va_list ap;

	/* as libc's own, whatever the call takes */
	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (has_function(nr, a, &r))
		return r;
	return raw_errno(raw6(nr, a[0], a[1], a[2], a[3], a[4], a[5]));
}
