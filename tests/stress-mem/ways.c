/* SPDX-License-Identifier: MIT */
/* How calls are made: what this kernel tells of them, and the process that changes our files. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "rawcall.h"
#include "stress.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#define FEATURE_WP_HUGETLBFS_SHMEM (1 << 12) /* Linux 5.19 */
#define FEATURE_WP_ASYNC	   (1 << 15) /* Linux 6.7 */

const char *const way_names[NR_WAYS] = {"libc", "raw", "child", "vfork", "foreign"};
__thread enum way way;
bool untold, weak;
bool told_of_files, told_at_all;

static bool has_features(u64 features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	bool ok = fd >= 0 && !ioctl(fd, UFFDIO_API, &api);

	close(fd);
	return ok;
}

void ways_look_at_kernel(void)
{
	told_at_all = has_features(UFFD_FEATURE_EVENT_UNMAP | FEATURE_WP_HUGETLBFS_SHMEM);
	told_of_files = has_features(UFFD_FEATURE_EVENT_UNMAP | FEATURE_WP_HUGETLBFS_SHMEM |
				     FEATURE_WP_ASYNC);
}

/* ------------------------------------------------------------------ another process */

struct request {
	long nr;
	int fd;
	u64 a[3];
};

static struct {
	pthread_mutex_t lock;
	int socket;
	u8 *page; /* shared with it: what is to be written */
} foreign = {PTHREAD_MUTEX_INITIALIZER, -1, NULL};

static void __attribute__((noreturn)) serve(int socket)
{
	struct request q;
	long r;

	while (rawcall(SYS_read, socket, &q, sizeof(q)) == sizeof(q)) {
		r = rawcall_kernel(q.nr, q.fd, (long)q.a[0], (long)q.a[1], (long)q.a[2], 0, 0);
		rawcall(SYS_write, socket, &r, sizeof(r));
	}
	_exit(0);
}

void foreign_start(void)
{
	int s[2], pid;

	foreign.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(foreign.page != MAP_FAILED, "mmap: %s", strerror(errno));
	MUST(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), "socketpair");
	pid = fork();
	MUST(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		close(s[0]);
		serve(s[1]);
	}
	close(s[1]);
	foreign.socket = s[0];
}

long foreign_call(long nr, int fd, u64 a, u64 b, u64 c)
{
	struct request q = {nr, fd, {a, b, c}};
	long r;

	pthread_mutex_lock(&foreign.lock);
	if (nr == SYS_pwrite64) {
		memcpy(foreign.page, (const void *)a, PAGE);
		q.a[0] = (u64)foreign.page;
	}
	MUST(write(foreign.socket, &q, sizeof(q)) == sizeof(q) &&
		     read(foreign.socket, &r, sizeof(r)) == sizeof(r),
	     "the other process: %s", strerror(errno));
	pthread_mutex_unlock(&foreign.lock);
	return rawcall_errno(r);
}
