/* SPDX-License-Identifier: MIT */
/*
 * preload/mapping.c: changes the VMM makes to its own address space, told to primary/linux before
 * and after.
 */
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/uio.h>
#include "abi/abi.h"
#include "base/guard.h"
#include "preload/preload.h"
#include "preload/real.h"
#include "primary/linux/linux.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define MADV_GUARD_INSTALL_ 102 /* since Linux 6.13 */

static u64 page_up(u64 len)
{
	return len > -PAGE_SIZE ? len : ALIGN_UP(len, PAGE_SIZE);
}

/* False: it could not be begun and errno says why. */
static bool begin(void **cookie, const void *start, u64 len, enum primary_change kind)
{
	int err = 0;

	*cookie = NULL;
	if (!armed() || !len)
		return true;
	*cookie = primary_linux_change_begin((u64)start, page_up(len), kind, &err);
	if (err)
		errno = err < 0 ? -err : err;
	return !err;
}

static long finish(void *cookie, long r)
{
	primary_linux_change_end(cookie);
	return raw_errno(r);
}

/* end(NULL) is allowed, but nothing is called in a process that never armed. */
static long end(void *cookie, long r)
{
	return cookie ? finish(cookie, r) : raw_errno(r);
}

/* ------------------------------------------------------------------ mmap, munmap, mremap */

static void *map(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	bool file = !(flags & MAP_ANONYMOUS) && fd >= 0 && armed();
	void *cookie = NULL;
	long r = file ? abi_mmap_check(fd, len, prot, flags, off) : 0;

	if (r < 0)
		return (void *)raw_errno(r);
	if ((flags & MAP_FIXED) && !begin(&cookie, addr, len, CHANGE_UNMAP))
		return MAP_FAILED;
	r = raw6(SYS_mmap, (long)addr, (long)len, prot, flags, fd, off);
	if (file && (r >= 0 || r < -4095))
		abi_mapped(fd, (void *)r, len, prot, off);
	return (void *)end(cookie, r);
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return map(addr, len, prot, flags, fd, off);
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return map(addr, len, prot, flags, fd, off);
}

EXPORT int munmap(void *addr, size_t len)
{
	void *cookie;

	if (!begin(&cookie, addr, len, CHANGE_UNMAP))
		return -1;
	return (int)end(cookie, raw2(SYS_munmap, addr, len));
}

EXPORT void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	void *from, *to = NULL, *target = NULL;
	va_list ap;
	long r;

	va_start(ap, flags);
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
		target = va_arg(ap, void *);
	va_end(ap);
	if (!begin(&from, old, old_len, CHANGE_UNMAP))
		return MAP_FAILED;
	if ((flags & MREMAP_FIXED) && !begin(&to, target, new_len, CHANGE_UNMAP)) {
		primary_linux_change_end(from);
		return MAP_FAILED;
	}
	r = raw5(SYS_mremap, old, old_len, new_len, flags, target);
	if (to)
		primary_linux_change_end(to);
	return (void *)end(from, r);
}

/* ------------------------------------------------------------------ protection and contents */

EXPORT int mprotect(void *addr, size_t len, int prot)
{
	void *cookie;

	if (!begin(&cookie, addr, len, CHANGE_PROTECT))
		return -1;
	return (int)end(cookie, raw3(SYS_mprotect, addr, len, prot));
}

EXPORT int pkey_mprotect(void *addr, size_t len, int prot, int pkey)
{
	void *cookie;

	if (!begin(&cookie, addr, len, CHANGE_PROTECT))
		return -1;
	return (int)end(cookie, raw4(SYS_pkey_mprotect, addr, len, prot, pkey));
}

static bool takes_pages(int advice)
{
	switch (advice) {
	case MADV_DONTNEED:
	case MADV_DONTNEED_LOCKED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_COLLAPSE:
	case MADV_HWPOISON:
	case MADV_GUARD_INSTALL_:
		return true;
	default:
		return false;
	}
}

EXPORT int madvise(void *addr, size_t len, int advice)
{
	void *cookie = NULL;

	if (takes_pages(advice) && !begin(&cookie, addr, len, CHANGE_CONTENT))
		return -1;
	return (int)end(cookie, raw3(SYS_madvise, addr, len, advice));
}

EXPORT int posix_madvise(void *addr, size_t len, int advice)
{
	/* POSIX_MADV_DONTNEED may not lose data: Linux's libc makes nothing of it */
	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	return (int)-raw3(SYS_madvise, addr, len, advice);
}

/*
 * Whose memory pidfd means does not matter: an invalidation too many is harmless. The ranges are
 * covered by one.
 */
EXPORT ssize_t process_madvise(int pidfd, const struct iovec *iov, size_t n, int advice,
			       unsigned int flags)
{
	void *cookie = NULL;

	if (armed() && takes_pages(advice) && n && n <= UIO_MAXIOV) {
		u64 lo = ~0ULL, hi = 0;

		for (size_t i = 0; i < n; i++) {
			struct iovec v;

			if (guard_copy_from(&v, &iov[i], sizeof(v)))
				return raw_errno(-EFAULT);
			lo = MIN(lo, (u64)v.iov_base);
			hi = MAX(hi, (u64)v.iov_base + v.iov_len);
		}
		if (hi > lo && !begin(&cookie, (void *)lo, hi - lo, CHANGE_CONTENT))
			return -1;
	}
	return end(cookie, raw5(SYS_process_madvise, pidfd, iov, n, advice, flags));
}

/* ------------------------------------------------------------------ the heap */

/* False: errno is set. The break's new place takes [lower, old) away. */
static bool begin_break(void **cookie, u64 lower)
{
	u64 now = armed() ? (u64)raw1(SYS_brk, 0) : 0;

	*cookie = NULL;
	return lower >= now || begin(cookie, (void *)ALIGN_DOWN(lower, PAGE_SIZE), now - lower,
				     CHANGE_UNMAP);
}

EXPORT int brk(void *addr)
{
	void *cookie;
	int r;

	if (!begin_break(&cookie, (u64)addr))
		return -1;
	r = REAL(brk)(addr);
	if (cookie)
		primary_linux_change_end(cookie);
	return r;
}

EXPORT void *sbrk(intptr_t delta)
{
	void *cookie = NULL, *r;

	if (delta < 0 && armed() && !begin_break(&cookie, (u64)raw1(SYS_brk, 0) + (u64)delta))
		return (void *)-1;
	r = REAL(sbrk)(delta);
	if (cookie)
		primary_linux_change_end(cookie);
	return r;
}
