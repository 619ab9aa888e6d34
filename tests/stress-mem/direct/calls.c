/* SPDX-License-Identifier: MIT */
/*
 * The calls that change mappings, with what the preload does around them; raw, without. A child that
 * shares memory would have to share the thread sanitizer's, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "primary/linux/linux.h"
#include <string.h>
#include "stress.h"

const u32 ways_there_are = 1u << WAY_LIBC | 1u << WAY_RAW;

static void *begin(const void *p, size_t len, enum primary_change kind)
{
	int err = 0;
	void *c = way != WAY_LIBC || untold ? NULL : primary_linux_change_begin((hva_t)p, len, kind, &err);

	MUST(!err, "a change could not begin: %d", err);
	return c;
}

static void *begin_file(int fd, u64 off, u64 len)
{
	int err = 0;
	void *c = way != WAY_LIBC || untold ? NULL : primary_linux_file_change_begin(fd, off, len, &err);

	MUST(!err, "a change of a file could not begin: %d", err);
	return c;
}

/* The result, with errno as the call left it. */
static long end(void *cookie, long r)
{
	int e = errno;

	if (cookie)
		primary_linux_change_end(cookie);
	errno = e;
	return r;
}

void *call_mmap(void *addr, size_t len, int prot, int flags, int fd, u64 off)
{
	void *c = flags & MAP_FIXED ? begin(addr, len, CHANGE_UNMAP) : NULL;
	void *p = (void *)end(c, (long)mmap(addr, len, prot, flags, fd, (off_t)off));

	MUST(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

void call_munmap(void *addr, size_t len)
{
	void *c = begin(addr, len, CHANGE_UNMAP);

	MUST(!end(c, munmap(addr, len)), "munmap: %s", strerror(errno));
}

long call_mremap(void *addr, size_t old, size_t len, int flags, void *to)
{
	void *from = begin(addr, old, CHANGE_UNMAP);
	void *over = flags & MREMAP_FIXED ? begin(to, len, CHANGE_UNMAP) : NULL;

	return end(from, end(over, (long)mremap(addr, old, len, flags, to)));
}

void call_mprotect(void *addr, size_t len, int prot)
{
	void *c = begin(addr, len, CHANGE_PROTECT);

	MUST(!end(c, mprotect(addr, len, prot)), "mprotect: %s", strerror(errno));
}

int call_madvise(void *addr, size_t len, int advice)
{
	void *c = begin(addr, len, CHANGE_CONTENT);

	return (int)end(c, madvise(addr, len, advice));
}

int call_punch(int fd, u64 off, u64 len)
{
	void *c = begin_file(fd, off, len);

	return (int)end(c, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
				     (off_t)len));
}

void call_truncate(int fd, u64 len)
{
	void *c = begin_file(fd, len, INT64_MAX - len);

	MUST(!end(c, ftruncate(fd, (off_t)len)), "ftruncate: %s", strerror(errno));
}

void call_pwrite(int fd, const void *page, u64 off)
{
	MUST(pwrite(fd, page, PAGE, (off_t)off) == (ssize_t)PAGE, "pwrite: %s", strerror(errno));
}

/* On a userfaultfd: each of those that change mappings begins with its range. */
int call_ioctl(int fd, unsigned long request, void *arg)
{
	const struct uffdio_range *r = arg;

	void *c = begin((void *)r->start, r->len,
			request == UFFDIO_UNREGISTER ? CHANGE_UFFD_GONE : CHANGE_UFFD);

	return (int)end(c, ioctl(fd, request, arg));
}

int call_fork(void)
{
	int pid;

	primary_linux_fork_begin();
	pid = fork();
	primary_linux_fork_end(!pid);
	return pid;
}
