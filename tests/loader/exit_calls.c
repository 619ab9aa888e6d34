/* SPDX-License-Identifier: MIT */
/*
 * Which system calls a vCPU's thread makes for an exit: only those that deliver it. The thread is traced
 * through thousands of MMIO exits, and its calls are counted by number.
 *
 * usage: exit_calls preload|syscalls USERKVM   (or, as what is traced: exit_calls guest)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "mmio.h"

#define EXITS	4000
#define NUMBERS 512
#define FEW	16 /* calls in all, of whatever kind, that have nothing to do with exits */

/* ------------------------------------------------------------------ what is traced */

/* A call that nobody else makes here: between two of them the calls are counted. */
static void mark(void)
{
	syscall(SYS_getppid);
}

static int guest(void)
{
	static struct minivmm v;

	mmio_create(&v);
	EXPECT_EXIT(&v, KVM_EXIT_MMIO);
	mark();
	for (int i = 0; i < EXITS; i++)
		EXPECT_EXIT(&v, KVM_EXIT_MMIO);
	mark();
	return 0;
}

/* ------------------------------------------------------------------ the tracer */

static unsigned long made[NUMBERS];
static uint64_t began, lasted; /* ns */
static int marks;

static void count(long nr)
{
	if (nr == SYS_getppid) {
		if (++marks == 1)
			began = minivmm_now();
		else
			lasted = minivmm_now() - began;
	} else if (marks == 1 && nr >= 0 && nr < NUMBERS) {
		made[nr]++;
	}
}

static void trace(pid_t pid)
{
	struct __ptrace_syscall_info info;
	int status, sig = 0;

	EXPECT(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "no child");
	EXPECT(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC) == 0,
	       "ptrace: %s", strerror(errno));
	while (ptrace(PTRACE_SYSCALL, pid, 0, sig) == 0 && waitpid(pid, &status, __WALL) == pid) {
		if (!WIFSTOPPED(status)) {
			EXPECT(WIFEXITED(status) && !WEXITSTATUS(status), "the guest ended with %x", status);
			return;
		}
		sig = WSTOPSIG(status);
		if (sig == (SIGTRAP | 0x80)) {
			sig = 0;
			if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) > 0 &&
			    info.op == PTRACE_SYSCALL_INFO_ENTRY)
				count((long)info.entry.nr);
		} else if (sig == SIGTRAP) {
			sig = 0; /* an exec */
		}
	}
	EXPECT(0, "lost the guest: %s", strerror(errno));
}

/* As often as a call may be made; the rest is in common. The program's own ioctl is trapped at first only, or always. */
static unsigned long allowed(long nr, bool trapped)
{
	struct timespec tick;

	switch (nr) {
	case SYS_ioctl:
	case SYS_rt_sigreturn:
		return trapped ? EXITS : 0;
	case SYS_rt_sigprocmask: /* a window opens; the trap's handler has a mask of its own */
		return trapped ? 2 * EXITS : EXITS;
	case SYS_fstat: /* whether the number is still the vCPU's: once in a tick, however long that takes */
		clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
		return lasted / (uint64_t)tick.tv_nsec + 2;
	default:
		return 0;
	}
}

/* Without FSGSBASE nothing runs below libc, and says so. */
static int refused(const char *userkvm, const char *how, const char *program)
{
	char command[4096], said[256] = "";
	FILE *f;

	snprintf(command, sizeof(command), "%s run %s -- %s guest 2>&1", userkvm, how, program);
	f = popen(command, "r");
	EXPECT(f && fgets(said, sizeof(said), f) && strstr(said, "has no FSGSBASE"), "it says: %s", said);
	EXPECT(WEXITSTATUS(pclose(f)) == 125, "it does not end with 125");
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long rest = 0;
	bool trapped;
	char how[64];
	pid_t pid;

	if (argc == 2 && !strcmp(argv[1], "guest"))
		return guest();
	EXPECT(argc == 3, "usage: exit_calls preload|syscalls USERKVM");
	snprintf(how, sizeof(how), "--intercept=%s", argv[1]);
	trapped = !strcmp(argv[1], "syscalls") && !comes_directly();
	if (!strcmp(argv[1], "syscalls") && system("grep -qw fsgsbase /proc/cpuinfo"))
		return refused(argv[2], how, argv[0]);
	pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execl(argv[2], argv[2], "run", how, "--", argv[0], "guest", NULL);
		_exit(127);
	}
	trace(pid);
	EXPECT(marks == 2, "%d marks", marks);
	for (long nr = 0; nr < NUMBERS; nr++) {
		unsigned long may = allowed(nr, trapped);

		if (made[nr])
			printf("call %ld: %lu for %d exits\n", nr, made[nr], EXITS);
		rest += made[nr] > may ? made[nr] - may : 0;
	}
	EXPECT(rest <= FEW, "%lu calls that deliver nothing", rest);
	return 0;
}
