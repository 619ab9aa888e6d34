/* SPDX-License-Identifier: MIT */
/*
 * preload/inside.c: the hooked names as the rooms below see them.
 *
 * The library is linked with --wrap for every hooked name, so that a call from abi/ or mmu/
 * arrives here and not at the hook above it: it is no change the VMM makes. A room that starts
 * to call another hooked name fails to link until the name stands here.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "base/heap.h"
#include "preload/preload.h"
#include "preload/real.h"

#define INSIDE(ret, name, params, ...)                                                         \
	ret __wrap_##name params;                                                              \
	ret __wrap_##name params                                                               \
	{                                                                                      \
		return (ret)(__VA_ARGS__);                                                     \
	}

/* 64-bit file offsets have names of their own, which mean the same here */
#define INSIDE64(ret, name, params, ...)                                                       \
	INSIDE(ret, name, params, __VA_ARGS__)                                                 \
	INSIDE(ret, name##64, params, __VA_ARGS__)

#define SYS(nr, a, b, c, d, e, f)                                                              \
	raw_errno(raw6(SYS_##nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e),        \
		       (long)(f)))

INSIDE(long, syscall, (long nr, long a, long b, long c, long d, long e, long f),
       raw_errno(raw6(nr, a, b, c, d, e, f)))
/* Variable arguments are one word at most in each of these calls. */
INSIDE(int, ioctl, (int fd, unsigned long rq, void *arg), SYS(ioctl, fd, rq, arg, 0, 0, 0))
INSIDE64(int, fcntl, (int fd, int cmd, long arg), SYS(fcntl, fd, cmd, arg, 0, 0, 0))
INSIDE64(int, open, (const char *p, int flags, mode_t m),
	 SYS(openat, AT_FDCWD, p, flags, m, 0, 0))
INSIDE64(int, openat, (int at, const char *p, int flags, mode_t m),
	 SYS(openat, at, p, flags, m, 0, 0))
INSIDE(int, __open_2, (const char *p, int flags), SYS(openat, AT_FDCWD, p, flags, 0, 0, 0))
INSIDE(int, __open64_2, (const char *p, int flags), SYS(openat, AT_FDCWD, p, flags, 0, 0, 0))
INSIDE(int, close, (int fd), SYS(close, fd, 0, 0, 0, 0, 0))
INSIDE(int, dup, (int fd), SYS(dup, fd, 0, 0, 0, 0, 0))
INSIDE(int, dup2, (int fd, int to), SYS(dup2, fd, to, 0, 0, 0, 0))
INSIDE(int, dup3, (int fd, int to, int flags), SYS(dup3, fd, to, flags, 0, 0, 0))
INSIDE64(FILE *, fopen, (const char *p, const char *mode), REAL(fopen)(p, mode))
INSIDE(int, fclose, (FILE * f), REAL(fclose)(f))

INSIDE64(int, stat, (const char *p, void *st), SYS(newfstatat, AT_FDCWD, p, st, 0, 0, 0))
INSIDE64(int, lstat, (const char *p, void *st),
	 SYS(newfstatat, AT_FDCWD, p, st, AT_SYMLINK_NOFOLLOW, 0, 0))
INSIDE64(int, fstat, (int fd, void *st), SYS(fstat, fd, st, 0, 0, 0, 0))
INSIDE64(int, fstatat, (int at, const char *p, void *st, int flags),
	 SYS(newfstatat, at, p, st, flags, 0, 0))
INSIDE(int, access, (const char *p, int mode), SYS(access, p, mode, 0, 0, 0, 0))
INSIDE(ssize_t, readlink, (const char *p, char *buf, size_t n),
       SYS(readlink, p, buf, n, 0, 0, 0))

INSIDE(ssize_t, read, (int fd, void *buf, size_t n), SYS(read, fd, buf, n, 0, 0, 0))
INSIDE(ssize_t, write, (int fd, const void *buf, size_t n), SYS(write, fd, buf, n, 0, 0, 0))
INSIDE64(ssize_t, pread, (int fd, void *buf, size_t n, off_t off),
	 SYS(pread64, fd, buf, n, off, 0, 0))
INSIDE64(ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t off),
	 SYS(pwrite64, fd, buf, n, off, 0, 0))
INSIDE64(off_t, lseek, (int fd, off_t off, int whence), SYS(lseek, fd, off, whence, 0, 0, 0))
INSIDE64(int, ftruncate, (int fd, off_t len), SYS(ftruncate, fd, len, 0, 0, 0, 0))
INSIDE64(int, fallocate, (int fd, int mode, off_t off, off_t len),
	 SYS(fallocate, fd, mode, off, len, 0, 0))

INSIDE64(void *, mmap, (void *p, size_t n, int prot, int flags, int fd, off_t off),
	 SYS(mmap, p, n, prot, flags, fd, off))
INSIDE(int, munmap, (void *p, size_t n), SYS(munmap, p, n, 0, 0, 0, 0))
INSIDE(void *, mremap, (void *p, size_t n, size_t to, int flags, void *at),
       SYS(mremap, p, n, to, flags, at, 0))
INSIDE(int, mprotect, (void *p, size_t n, int prot), SYS(mprotect, p, n, prot, 0, 0, 0))
INSIDE(int, prctl, (int option, long b, long c, long d, long e), SYS(prctl, option, b, c, d, e, 0))
INSIDE(int, madvise, (void *p, size_t n, int advice), SYS(madvise, p, n, advice, 0, 0, 0))

/* base/heap.h: for what the VMM never frees, and never allocated. */
INSIDE(void *, malloc, (size_t n), heap_alloc(n, HEAP_ALIGN))
INSIDE(void *, calloc, (size_t n, size_t size),
       n && size > SIZE_MAX / n ? NULL : heap_zalloc(n * size))
INSIDE(void *, realloc, (void *p, size_t n), heap_resize(p, n))
INSIDE(void *, aligned_alloc, (size_t align, size_t n), heap_alloc(n, align))
void __wrap_free(void *p);
void __wrap_free(void *p)
{
	heap_free(p);
}

INSIDE(int, sigaction, (int sig, const struct sigaction *act, struct sigaction *old),
       REAL(sigaction)(sig, act, old))
INSIDE(sighandler_t, signal, (int sig, sighandler_t handler), REAL(signal)(sig, handler))
INSIDE(int, pthread_create,
       (pthread_t * t, const pthread_attr_t *a, void *(*fn)(void *), void *arg),
       thread_create_helper(t, a, fn, arg))
INSIDE(int, __libc_current_sigrtmax, (void), REAL(__libc_current_sigrtmax)())
