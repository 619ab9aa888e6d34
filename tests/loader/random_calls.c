/* SPDX-License-Identifier: MIT */
/*
 * System calls at random, of every number that the filter traps and many that it does not, with arguments that
 * are good, nearly good or nonsense: descriptors of VMs, pointers to nowhere, to read-only pages and across
 * an edge. Each round is a forked child of a process with a VM, as another user where it can; the child may
 * end as it likes, but not by a call of ours that was lost, and it does end. Its parent's VM goes on.
 *
 * usage: random_calls SECONDS [SEED]   (with a seed: that one round)
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "mmio.h"

#define CALLS	   300 /* of a child */
#define SECONDS	   20  /* many times what a child takes (hang.h) */
#define KVM_NUMBER 0xae00

/* Linux 5.16 and 6.7 */
#define NR_FUTEX_WAITV 449
#define NR_FUTEX_WAIT  455

static struct minivmm v;
static uint64_t state;

static uint64_t next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t below(uint64_t n)
{
	return next() % n;
}

/* What must not be made at random: it ends or stops the test, not the process that makes it. */
static int is_left_alone(long nr)
{
	static const short alone[] = {
		SYS_exit, SYS_exit_group, SYS_kill, SYS_tkill, SYS_tgkill, SYS_rt_sigqueueinfo,
		SYS_rt_tgsigqueueinfo, SYS_reboot, SYS_pause, SYS_rt_sigsuspend, SYS_rt_sigreturn, SYS_vfork,
		SYS_fork, SYS_clone, SYS_clone3, SYS_alarm, SYS_setitimer, SYS_ptrace, SYS_execve, SYS_execveat,
		SYS_rt_sigtimedwait, SYS_select, SYS_poll, SYS_ppoll, SYS_pselect6, SYS_epoll_wait,
		SYS_epoll_pwait, SYS_nanosleep, SYS_clock_nanosleep, SYS_futex, SYS_read, SYS_wait4, SYS_waitid,
		SYS_pidfd_send_signal, SYS_process_madvise, SYS_vhangup, SYS_mount, SYS_umount2, SYS_setsid,
		SYS_unlink, SYS_unlinkat, SYS_rename, SYS_renameat, SYS_renameat2, SYS_rmdir, SYS_flock, SYS_fcntl,
		SYS_semtimedop, SYS_semop, SYS_msgrcv, SYS_msgsnd, SYS_mq_timedreceive, SYS_accept, SYS_recvfrom,
		SYS_recvmsg, SYS_recvmmsg, SYS_connect, SYS_sync, SYS_syncfs, SYS_sched_setscheduler,
		SYS_sched_setattr, SYS_setpriority, SYS_ioprio_set, SYS_timer_create, SYS_modify_ldt,
		SYS_arch_prctl, SYS_seccomp, SYS_prctl, SYS_io_uring_enter, SYS_io_uring_setup,
		SYS_epoll_pwait2, NR_FUTEX_WAITV, NR_FUTEX_WAIT, SYS_set_robust_list, SYS_rseq, SYS_swapoff, SYS_swapon,
	};

	for (size_t i = 0; i < sizeof(alone) / sizeof(*alone); i++) {
		if (alone[i] == nr)
			return 1;
	}
	return 0;
}

/* ------------------------------------------------------------------ arguments */

static int null;	/* /dev/null */
static char *edge;	/* a page that is there, and one behind that is not */
static char *read_only; /* a page */

static long any_pointer(void)
{
	static const char *const paths[] = {"/dev/kvm", "/dev/../dev/kvm", "/proc/self/exe", "/proc/cpuinfo",
					    "kvm", "", "/dev", "/proc/self/fd/3", "/no/such/file"};

	switch (below(8)) {
	case 0: return 0;
	case 1: return (long)next();
	case 2: return (long)(edge + 4096 - below(64));
	case 3: return (long)(edge + below(4096));
	case 4: return (long)read_only;
	case 5: return (long)paths[below(sizeof(paths) / sizeof(*paths))];
	case 6: return (long)v.mem;
	default: return (long)(edge + 8 * below(64));
	}
}

static long any_descriptor(void)
{
	switch (below(6)) {
	case 0: return v.kvm;
	case 1: return v.vm;
	case 2: return v.vcpu;
	case 3: return AT_FDCWD;
	case 4: return (long)next();
	default: return (long)below(12);
	}
}

static long any(void)
{
	switch (below(5)) {
	case 0: return any_descriptor();
	case 1: return (long)below(16);
	case 2: return (long)(1ULL << below(64));
	case 3: return (long)below(4096);
	default: return any_pointer();
	}
}

/* ------------------------------------------------------------------ a child */

static void call(void)
{
	long nr = below(4) ? (long)below(470) : SYS_ioctl, a[6];

	if (is_left_alone(nr))
		return;
	for (int i = 0; i < 6; i++)
		a[i] = any();
	if (below(2))
		a[0] = any_descriptor();
	if (nr == SYS_ioctl && below(4))
		a[1] = (long)(KVM_NUMBER + below(256) + ((below(4) << 30) | (below(512) << 16)));
	syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void child(void)
{
	struct rlimit none = {0, 0}, files = {256, 256};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_FSIZE, &none);
	setrlimit(RLIMIT_NOFILE, &files);
	if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
		_exit(3);
	/* what is written there is nobody's to read */
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	alarm(hang_limit(SECONDS));
	for (int i = 0; i < CALLS; i++)
		call();
	_exit(0);
}

static void one_round(uint64_t seed)
{
	int status = 0;
	pid_t pid;

	state = seed;
	pid = fork();
	EXPECT(pid >= 0, "fork: %s", strerror(errno));
	if (!pid)
		child();
	EXPECT(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	EXPECT(!WIFSIGNALED(status) || (WTERMSIG(status) != SIGSYS && WTERMSIG(status) != SIGABRT &&
					WTERMSIG(status) != SIGALRM),
	       "seed %llu: ended by signal %d", (unsigned long long)seed, WTERMSIG(status));
	EXPECT(!WIFEXITED(status) || WEXITSTATUS(status) != 3, "seed %llu", (unsigned long long)seed);
}

int main(int argc, char **argv)
{
	uint64_t end = minivmm_now() + 1000000000ULL * (uint64_t)(argc > 1 ? atoi(argv[1]) : 5);
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : minivmm_now() | 1, rounds = 0;

	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	EXPECT(null >= 0, "/dev/null: %s", strerror(errno));
	edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(edge + 4096, 4096);
	read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mmio_create(&v);
	while (minivmm_now() < end || !rounds) {
		one_round(seed);
		EXPECT_EXIT(&v, KVM_EXIT_MMIO);
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		rounds++;
		if (argc > 2)
			break;
	}
	printf("%llu rounds of %d calls\n", (unsigned long long)rounds, CALLS);
	return 0;
}
