/* SPDX-License-Identifier: MIT */
/*
 * What an exit to the VMM costs, in instructions of the VMM's process from one KVM_RUN to the next: no
 * more than so many. A child makes the call between two breakpoints, and is stepped from one to the
 * other, which counts the same on a busy machine. docs/performance.md has what they are.
 */
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include "minivmm.h"

#define WARM	 3000 /* exits until all that is made on the way has been made */
#define SKIPPED	 77
#define NO_LIMIT 1000000

GUEST(port_out, 64, "1: out %al, $0x99\n jmp 1b");
GUEST(port_in, 64, "1: in $0x99, %al\n jmp 1b");
GUEST(device_read, 64, "mov $0x300000, %ebx\n1: mov (%rbx), %eax\n jmp 1b");
GUEST(device_write, 64, "mov $0x300000, %ebx\n1: mov %eax, (%rbx)\n jmp 1b");

/* A tenth or so more than counted, for other compilers and libcs. */
static const struct {
	const char *name;
	const struct guest_code *code;
	int reason, limit;
} cases[] = {
	{"OUT", &port_out, KVM_EXIT_IO, 2800},
	{"IN", &port_in, KVM_EXIT_IO, 2700},
	{"a device's register read", &device_read, KVM_EXIT_MMIO, 3550},
	{"a device's register written", &device_write, KVM_EXIT_MMIO, 3700},
};

#define MARK() asm volatile("int3" ::: "memory")

static void child(unsigned n)
{
	struct minivmm v;

	minivmm_create_with_irqchip(&v);
	minivmm_load(&v, MINIVMM_LONG, *cases[n].code);
	for (int i = 0; i < WARM; i++)
		EXPECT_EXIT(&v, cases[n].reason);
	if (ptrace(PTRACE_TRACEME, 0, 0, 0))
		_exit(SKIPPED);
	raise(SIGSTOP);
	/* which is outside of what is counted */
	ioctl(v.vcpu, KVM_RUN, 0);
	MARK();
	ioctl(v.vcpu, KVM_RUN, 0);
	MARK();
	_exit(1);
}

/* Go on in the child until it stops with SIGTRAP. Is that a breakpoint, rather than a step? */
static int next_stop(pid_t pid, int how)
{
	siginfo_t info;
	int status;

	EXPECT(!ptrace(how, pid, 0, 0), "ptrace: %m");
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "status %#x",
	       status);
	EXPECT(!ptrace(PTRACE_GETSIGINFO, pid, 0, &info), "signal: %m");
	return info.si_code == SI_KERNEL;
}

static int count(pid_t pid)
{
	int steps = 0;

	EXPECT(next_stop(pid, PTRACE_CONT), "no breakpoint");
	while (!next_stop(pid, PTRACE_SINGLESTEP) && steps < NO_LIMIT)
		steps++;
	return steps;
}

int main(void)
{
	int bad = 0;

	for (unsigned n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		pid_t pid = fork();
		int status, steps;

		if (!pid)
			child(n);
		EXPECT(waitpid(pid, &status, WUNTRACED) == pid, "wait: %m");
		if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
			printf("no process may be traced here\n");
			return SKIPPED;
		}
		EXPECT(WIFSTOPPED(status), "%s: status %#x", cases[n].name, status);
		steps = count(pid);
		printf("%s: %d instructions, at most %d\n", cases[n].name, steps, cases[n].limit);
		bad |= steps > cases[n].limit;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	return bad;
}
