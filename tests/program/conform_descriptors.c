/* SPDX-License-Identifier: MIT */
/* conform: descriptors. Three are in use beside the first three. */
#include "conform.h"
#include <dirent.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

static void lowest(long arg)
{
	int a = dup(1), b = open("/", O_RDONLY), c = eventfd(0, 0);

	SAY(" %d %d %d", a, b, c);
	close(a);
	SAY(" %d", memfd_create("conform", 0));
	SAY_CALL(fcntl(1, F_DUPFD, 3));
	SAY_CALL(fcntl(1, F_DUPFD_CLOEXEC, 100));
	SAY_CALL(fcntl(100, F_GETFD));
}

static void duplicates(long arg)
{
	SAY_CALL(dup2(1, 20));
	SAY_CALL(dup2(20, 20));
	SAY_CALL(dup2(99, 20));
	SAY_CALL(dup3(1, 21, O_CLOEXEC));
	SAY_CALL(dup3(1, 1, 0));
	SAY_CALL(dup3(1, 22, 1));
	SAY_CALL(fcntl(21, F_GETFD));
	SAY_CALL(fcntl(20, F_GETFD));
	SAY_CALL(dup2(1, -1));
}

static void closing(long arg)
{
	int fd = dup(1);

	SAY_CALL(close(fd));
	SAY_CALL(close(fd));
	SAY_CALL(close(-1));
	SAY_CALL(fcntl(fd, F_GETFD));
	SAY_CALL(close_range(50, 40, 0));
	SAY_CALL(close_range(50, 60, 0x80));
}

static int open_numbers(int below)
{
	int n = 0;

	for (int i = 0; i < below; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static void numbers(long arg)
{
	SAY(" %d", open_numbers(100000));
	for (int i = 20; i < 30; i++)
		dup2(1, i);
	SAY(" %d", open_numbers(100000));
	SAY_CALL(close_range(25, 27, 0));
	SAY(" %d", open_numbers(100000));
	SAY_CALL(close_range(20, ~0u, 0));
	SAY(" %d", open_numbers(100000));
}

static void limit(long n)
{
	struct rlimit l = {(rlim_t)n, (rlim_t)n};
	int count = 0, fd;

	SAY_CALL(setrlimit(RLIMIT_NOFILE, &l));
	while ((fd = dup(1)) >= 0)
		count++;
	SAY(" %d:%d", count, errno);
	SAY_CALL(dup2(1, (int)n));
	SAY_CALL(eventfd(0, 0));
}

static void event(long flags)
{
	int fd = eventfd(3, (int)flags | EFD_NONBLOCK);
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
	uint64_t v = 5;

	SAY_CALL(write(fd, &v, 8));
	SAY_CALL(write(fd, &v, 4));
	SAY_CALL(eventfd_write(fd, 2));
	SAY_CALL(poll(&p, 1, 0));
	SAY(" %x", p.revents);
	SAY_CALL(read(fd, &v, 8));
	SAY(" %lu", (unsigned long)v);
	SAY_CALL(read(fd, &v, 8));
	SAY_CALL(eventfd_write(-1, 2));
}

static void pass(long arg)
{
	char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'x';
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int pair[2], fd = dup(1), got;

	SAY_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	SAY_CALL(sendmsg(pair[0], &m, 0));
	SAY_CALL(recvmsg(pair[1], &m, MSG_CMSG_CLOEXEC));
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(got));
	SAY(" %d", got);
	SAY_CALL(fcntl(got, F_GETFD));
}

static void files(long arg)
{
	char name[] = "/tmp/userkvm-conform-XXXXXX", text[8] = "abcdefg";
	struct iovec io = {text, 3};
	struct stat st;
	int fd = mkstemp(name);

	SAY_CALL(write(fd, text, 7));
	SAY_CALL(pwrite(fd, text, 2, 10));
	SAY_CALL(pread(fd, text, 3, 9));
	SAY_CALL(lseek(fd, -2, SEEK_END));
	SAY_CALL(readv(fd, &io, 1));
	SAY_CALL(ftruncate(fd, 5));
	SAY_CALL(fstat(fd, &st));
	SAY(" %ld %o", (long)st.st_size, st.st_mode);
	SAY_CALL(fallocate(fd, 0, 0, 100));
	SAY_CALL(posix_fallocate(fd, 0, 200));
	SAY_CALL(truncate(name, 1));
	SAY_CALL(access(name, R_OK));
	SAY_CALL(unlink(name));
	SAY_CALL(access(name, R_OK));
	SAY_CALL(fcntl(fd, F_GETFL));
}

static void bad_pointers(long arg)
{
	void *bad = (void *)8;

	SAY_CALL(open(bad, O_RDONLY));
	SAY_CALL(access(bad, R_OK));
	SAY_CALL(stat(bad, (void *)&arg));
	SAY_CALL(read(open("/dev/zero", O_RDONLY), bad, 8));
	SAY_CALL(write(eventfd(0, 0), bad, 8));
	SAY_CALL(readlink("/proc/self/exe", bad, 8));
}

const struct check descriptor_checks[] = {
	{"lowest number", lowest},
	{"dup", duplicates},
	{"close", closing},
	{"numbers in use", numbers},
	{"RLIMIT_NOFILE", limit, 64},
	{"RLIMIT_NOFILE", limit, 1024},
	{"eventfd", event, 0},
	{"eventfd", event, EFD_SEMAPHORE},
	{"SCM_RIGHTS", pass},
	{"files", files},
	{"bad pointers", bad_pointers},
	{NULL},
};
