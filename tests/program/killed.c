/* SPDX-License-Identifier: MIT */
/*
 * A filter of the program's that userkvm does not see (installed by an instruction of its own) kills threads
 * of userkvm's, one by one. The process ends with the program's last thread, and not before.
 */
#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>
#include "../vmm/minivmm.h"

#define LIMIT_S 30 /* for a process; it takes 6 */
#define STATUS	3

GUEST(says, 16, "1: out %al, $0x10\n jmp 1b");

static struct minivmm v;

static long by_itself(long nr, long a, long b, long c)
{
	long r;

	asm volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return r;
}

static void kill_threads_that_call(unsigned nr)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {sizeof(f) / sizeof(f[0]), f};

	EXPECT(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl: %m");
	EXPECT(!by_itself(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, (long)&p), "seccomp");
}

static int threads(void)
{
	char buf[4096];
	FILE *f = fopen("/proc/self/status", "r");
	int n = 0;

	while (f && fgets(buf, sizeof(buf), f))
		sscanf(buf, "Threads: %d", &n);
	if (f)
		fclose(f);
	return n;
}

/* Every kind of helper that there is: a timer, an irqfd, what looks at mappings, what frees. */
static int use_everything(void)
{
	struct kvm_pit_config pit = {0};
	struct kvm_irqfd irqfd = {.fd = eventfd(0, 0), .gsi = 5};

	minivmm_create_with_irqchip(&v);
	EXPECT(!ioctl(v.vm, KVM_CREATE_PIT2, &pit), "PIT");
	EXPECT(!ioctl(v.vm, KVM_IRQFD, &irqfd), "irqfd");
	minivmm_load(&v, MINIVMM_REAL, says);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	return irqfd.fd;
}

/* The thread that serves irqfds is gone. */
static void one_is_killed(void)
{
	int fd = use_everything(), before = threads();
	uint64_t one = 1;

	kill_threads_that_call(SYS_epoll_wait);
	by_itself(SYS_write, fd, (long)&one, sizeof(one));
	while (threads() == before) /* until the kernel has killed it */
		sched_yield();
}

static void *outlives(void *unused)
{
	usleep(2500000); /* several looks of the keeper's */
	_exit(STATUS);
	return unused;
}

static void another_thread_goes_on(void)
{
	pthread_t t;

	one_is_killed();
	EXPECT(!pthread_create(&t, NULL, outlives, NULL), "thread");
	pthread_exit(NULL);
}

static void no_thread_goes_on(void)
{
	one_is_killed();
	by_itself(SYS_exit, STATUS, 0, 0);
}

/* The keeper first, as it looks for threads, then whoever looks in its place. */
static void all_are_killed(void)
{
	use_everything();
	kill_threads_that_call(SYS_getdents64);
	by_itself(SYS_exit, STATUS, 0, 0);
}

/* `by': or the signal that the kernel ends the process with when its very last thread is killed. */
static void check(const char *what, void (*process)(void), int by)
{
	uint64_t end = minivmm_now() + hang_limit(LIMIT_S) * 1000000000ull;
	int status = 0;
	pid_t pid = fork(), r;

	if (!pid)
		process();
	while (!(r = waitpid(pid, &status, WNOHANG)) && minivmm_now() < end)
		usleep(10000);
	if (!r)
		kill(pid, SIGKILL);
	EXPECT(r == pid, "%s: it goes on for ever", what);
	EXPECT(status == STATUS << 8 || (by && WIFSIGNALED(status) && WTERMSIG(status) == by), "%s: status %x", what, status);
	printf("ok     %s\n", what);
	fflush(stdout);
}

int main(void)
{
	check("a helper is killed, and a thread of the program's goes on", another_thread_goes_on, 0);
	check("a helper is killed, and then the program's last thread ends", no_thread_goes_on, 0);
	check("every helper is killed", all_are_killed, SIGSYS);
	return 0;
}
