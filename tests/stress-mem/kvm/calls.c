/* SPDX-License-Identifier: MIT */
/* The calls that change mappings, in each way there is. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "rawcall.h"
#include "stress.h"

#define CHILD_STACK 16384

const u32 ways_there_are = (1u << NR_WAYS) - 1;

struct call {
	long nr, a[6], r;
};

static void make(struct call *c)
{
	c->r = rawcall_kernel(c->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
}

/* Its thread-local variables are its parent's, which may be running. */
static int child(void *arg)
{
	make(arg);
	rawcall_kernel(SYS_exit, 0, 0, 0, 0, 0, 0);
	return 0;
}

static void make_in_child(struct call *c, int flags)
{
	static __thread u8 stack[CHILD_STACK] __attribute__((aligned(16)));
	int status, pid = clone(child, stack + sizeof(stack), CLONE_VM | SIGCHLD | flags, c);

	MUST(pid > 0, "clone: %s", strerror(errno));
	while (waitpid(pid, &status, 0) < 0)
		MUST(errno == EINTR, "waitpid: %s", strerror(errno));
}

/* Not by libc: -1 and errno, as if it were. */
static long call6(long nr, long a, long b, long c, long d, long e, long f)
{
	struct call call = {nr, {a, b, c, d, e, f}, 0};

	if (way == WAY_CHILD)
		make_in_child(&call, 0);
	else if (way == WAY_VFORK)
		make_in_child(&call, CLONE_VFORK);
	else
		make(&call);
	return rawcall_errno(call.r);
}

#define CALL(...) CALL_(__VA_ARGS__, 0, 0, 0, 0, 0)
#define CALL_(nr, a, b, c, d, e, f, ...)                                                       \
	call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

void *call_mmap(void *addr, size_t len, int prot, int flags, int fd, u64 off)
{
	void *p = way == WAY_LIBC ? mmap(addr, len, prot, flags, fd, (off_t)off)
				  : (void *)CALL(SYS_mmap, addr, len, prot, flags, fd, off);

	MUST(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}

void call_munmap(void *addr, size_t len)
{
	long r = way == WAY_LIBC ? munmap(addr, len) : CALL(SYS_munmap, addr, len, 0, 0);

	MUST(!r, "munmap: %s", strerror(errno));
}

long call_mremap(void *addr, size_t old, size_t len, int flags, void *to)
{
	return way == WAY_LIBC ? (long)mremap(addr, old, len, flags, to)
			       : CALL(SYS_mremap, addr, old, len, flags, to);
}

void call_mprotect(void *addr, size_t len, int prot)
{
	long r = way == WAY_LIBC ? mprotect(addr, len, prot)
				 : CALL(SYS_mprotect, addr, len, prot, 0);

	MUST(!r, "mprotect: %s", strerror(errno));
}

int call_madvise(void *addr, size_t len, int advice)
{
	return way == WAY_LIBC ? madvise(addr, len, advice)
			       : (int)CALL(SYS_madvise, addr, len, advice, 0);
}

/* ------------------------------------------------------------------ files */

static long file_call(long nr, int fd, u64 a, u64 b, u64 c)
{
	return way == WAY_FOREIGN ? foreign_call(nr, fd, a, b, c) : CALL(nr, fd, a, b, c);
}

int call_punch(int fd, u64 off, u64 len)
{
	const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	return way == WAY_LIBC ? fallocate(fd, mode, (off_t)off, (off_t)len)
			       : (int)file_call(SYS_fallocate, fd, (u64)mode, off, len);
}

void call_truncate(int fd, u64 len)
{
	long r = way == WAY_LIBC ? ftruncate(fd, (off_t)len)
				 : file_call(SYS_ftruncate, fd, len, 0, 0);

	MUST(!r, "ftruncate: %s", strerror(errno));
}

void call_pwrite(int fd, const void *page, u64 off)
{
	long r = way == WAY_LIBC ? pwrite(fd, page, PAGE, (off_t)off)
				 : file_call(SYS_pwrite64, fd, (u64)page, PAGE, off);

	MUST(r == (long)PAGE, "pwrite: %s", strerror(errno));
}

/* ------------------------------------------------------------------ others */

int call_ioctl(int fd, unsigned long request, void *arg)
{
	return way == WAY_LIBC ? ioctl(fd, request, arg)
			       : (int)CALL(SYS_ioctl, fd, request, arg, 0);
}

int call_fork(void)
{
	return way == WAY_LIBC ? fork() : (int)rawcall(SYS_fork);
}
