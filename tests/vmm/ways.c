/* SPDX-License-Identifier: MIT */
#include "ways.h"
#include "minivmm.h"
#include "rawcall.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_STK 65536

const char *const way_names[WAYS] = {"by libc", "by number", "raw", "by a child"};
enum way way;

struct call {
	long nr, a[6], r;
};

static long by_libc(const long nr, const long *a)
{
	switch (nr) {
	case SYS_munmap:
		return munmap((void *)a[0], (size_t)a[1]);
	case SYS_mmap:
		return (long)mmap((void *)a[0], (size_t)a[1], (int)a[2], (int)a[3], (int)a[4], a[5]);
	case SYS_mremap:
		return (long)mremap((void *)a[0], (size_t)a[1], (size_t)a[2], (int)a[3],
				    (void *)a[4]);
	case SYS_mprotect:
		return mprotect((void *)a[0], (size_t)a[1], (int)a[2]);
	case SYS_pkey_mprotect:
		return pkey_mprotect((void *)a[0], (size_t)a[1], (int)a[2], (int)a[3]);
	case SYS_remap_file_pages:
		return remap_file_pages((void *)a[0], (size_t)a[1], (int)a[2], (size_t)a[3],
					(int)a[4]);
	case SYS_shmat:
		return (long)shmat((int)a[0], (void *)a[1], (int)a[2]);
	case SYS_shmdt:
		return shmdt((void *)a[0]);
	case SYS_brk:
		return brk((void *)a[0]);
	case SYS_madvise:
		return madvise((void *)a[0], (size_t)a[1], (int)a[2]);
	case SYS_process_madvise:
		return process_madvise((int)a[0], (const struct iovec *)a[1], (size_t)a[2],
				       (int)a[3], (unsigned)a[4]);
	case SYS_ftruncate:
		return ftruncate((int)a[0], a[1]);
	case SYS_truncate:
		return truncate((const char *)a[0], a[1]);
	case SYS_open:
		return open((const char *)a[0], (int)a[1], (mode_t)a[2]);
	case SYS_creat:
		return creat((const char *)a[0], (mode_t)a[1]);
	case SYS_fallocate:
		return fallocate((int)a[0], (int)a[1], a[2], a[3]);
	case SYS_pwrite64:
		return pwrite((int)a[0], (const void *)a[1], (size_t)a[2], a[3]);
	case SYS_write:
		return write((int)a[0], (const void *)a[1], (size_t)a[2]);
	case SYS_writev:
		return writev((int)a[0], (const struct iovec *)a[1], (int)a[2]);
	case SYS_pwritev:
		return pwritev((int)a[0], (const struct iovec *)a[1], (int)a[2], a[3]);
	case SYS_sendfile:
		return sendfile((int)a[0], (int)a[1], (off_t *)a[2], (size_t)a[3]);
	case SYS_splice:
		return splice((int)a[0], (off_t *)a[1], (int)a[2], (off_t *)a[3], (size_t)a[4],
			      (unsigned)a[5]);
	case SYS_copy_file_range:
		return copy_file_range((int)a[0], (off_t *)a[1], (int)a[2], (off_t *)a[3],
				       (size_t)a[4], (unsigned)a[5]);
	case SYS_ioctl:
		return ioctl((int)a[0], (unsigned long)a[1], a[2]);
	case SYS_pread64:
		return pread((int)a[0], (void *)a[1], (size_t)a[2], a[3]);
	case SYS_process_vm_writev:
		return process_vm_writev((int)a[0], (const struct iovec *)a[1],
					 (unsigned long)a[2], (const struct iovec *)a[3],
					 (unsigned long)a[4], (unsigned long)a[5]);
	default:
		EXPECT(0, "a call without a function of libc's: %ld", nr);
	}
}

static int child(void *arg)
{
	struct call *c = arg;

	c->r = rawcall_kernel(c->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
	rawcall_kernel(SYS_exit, 0, 0, 0, 0, 0, 0);
	return 0;
}

static long by_child(struct call *c)
{
	static char stack[CHILD_STK] __attribute__((aligned(16)));
	int pid = clone(child, stack + sizeof(stack), CLONE_VM | SIGCHLD, c);

	EXPECT(pid > 0 && waitpid(pid, NULL, 0) == pid, "clone: %s", strerror(errno));
	return rawcall_errno(c->r);
}

long call6(long nr, long a, long b, long c, long d, long e, long f)
{
	struct call call = {nr, {a, b, c, d, e, f}, 0};

	switch (way) {
	case BY_LIBC:
		return by_libc(nr, call.a);
	case BY_NUMBER:
		return syscall(nr, a, b, c, d, e, f);
	case RAW:
		return rawcall_errno(rawcall_kernel(nr, a, b, c, d, e, f));
	default:
		return by_child(&call);
	}
}
