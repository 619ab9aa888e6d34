/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/confined.c: `userkvm run --confine`: until a vCPU runs, the VMM may do as it likes; then what
 * a guest that broke out would want first is refused, on every thread, and the VMM's own work goes on.
 */
#include "minivmm.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/sockios.h>

GUEST(counts, 64, "1: inc %rbx\n out %al, $0x10\n jmp 1b\n");

static struct minivmm v, other;
static pthread_barrier_t barrier;
static char file[] = "/tmp/userkvm-confined-XXXXXX";

#define REFUSED(call) EXPECT((call) < 0 && errno == EPERM, "%s", strerror(errno))

static void *refused(void *arg)
{
	char *const args[] = {"/bin/false", NULL};

	pthread_barrier_wait(&barrier); /* before the first run */
	pthread_barrier_wait(&barrier); /* after it */
	REFUSED(socket(AF_INET, SOCK_STREAM, 0));
	REFUSED(socket(AF_UNIX, SOCK_STREAM, 0));
	REFUSED(open("/dev/null", O_WRONLY));
	REFUSED(open(file, O_RDONLY | O_CREAT, 0600));
	REFUSED(unlink(file));
	REFUSED(kill(getppid(), 0));
	REFUSED(kill(-1, 0));
	REFUSED(fcntl(0, F_SETOWN, getppid()));
	REFUSED(fcntl(0, F_SETOWN_EX, &(struct f_owner_ex){F_OWNER_PID, getppid()}));
	REFUSED(ioctl(0, FIOSETOWN, &(int){getppid()}));
	REFUSED(ioctl(0, SIOCSPGRP, &(int){getppid()}));
	REFUSED(prlimit(getppid(), RLIMIT_CPU, NULL, NULL));
	REFUSED(syscall(SYS_ptrace, 0, 0, 0, 0));
	REFUSED(syscall(SYS_unshare, 0x10000000)); /* CLONE_NEWUSER */
	REFUSED(syscall(SYS_pidfd_open, getppid(), 0));
	REFUSED(syscall(SYS_io_uring_setup, 1, NULL));
	REFUSED(syscall(0x40000000 | SYS_getpid)); /* x32 */
	REFUSED(fork());
	REFUSED(execv(args[0], args));
	return NULL;
}

static void *nothing(void *arg)
{
	return arg;
}

static void allowed(void)
{
	pthread_t t;
	int fd = open("/proc/self/maps", O_RDONLY);
	void *p = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT(fd >= 0 && !close(fd), "reading: %s", strerror(errno));
	EXPECT(p != MAP_FAILED && !munmap(p, 0x1000), "mapping: %s", strerror(errno));
	EXPECT(!pthread_create(&t, NULL, nothing, NULL) && !pthread_join(t, NULL), "a thread");
	EXPECT(!kill(getpid(), 0), "itself: %s", strerror(errno));
	EXPECT(!raise(SIGCONT), "itself: %s", strerror(errno));
	EXPECT(!fcntl(0, F_SETOWN, getpid()), "itself: %s", strerror(errno));
	EXPECT(!prlimit(0, RLIMIT_CPU, NULL, NULL), "itself: %s", strerror(errno));
	EXPECT(!prlimit(getpid(), RLIMIT_CPU, NULL, NULL), "itself: %s", strerror(errno));
	/* A vCPU, made late, and the memory of the first one away and back. */
	minivmm_add_vcpu(&v, 1, &other);
	minivmm_load(&other, MINIVMM_LONG, counts);
	EXPECT_EXIT(&other, KVM_EXIT_IO);
	EXPECT(!mprotect(v.mem, v.mem_size, PROT_READ | PROT_WRITE), "%s", strerror(errno));
	EXPECT_EXIT(&v, KVM_EXIT_IO);
}

int main(void)
{
	pthread_t t;
	pid_t pid;
	int fd;

	fd = mkstemp(file);
	EXPECT(fd >= 0, "%s: %s", file, strerror(errno));
	unlink(file);
	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, counts);
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&t, NULL, refused, NULL);
	pthread_barrier_wait(&barrier);
	/* Nothing is refused yet. */
	pid = fork();
	if (!pid)
		_exit(7);
	EXPECT(pid > 0 && waitpid(pid, &fd, 0) == pid && WEXITSTATUS(fd) == 7, "a child before");
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	pthread_barrier_wait(&barrier);
	pthread_join(t, NULL);
	allowed();
	minivmm_destroy(&v);
	printf("ok\n");
	return 0;
}
