/* SPDX-License-Identifier: MIT */
/* conform: see conform.h. A program with a VM, where there is userkvm; with a stand-in otherwise. */
#include "conform.h"
#include "../vmm/minivmm.h"
#include <dlfcn.h>
#include <sys/ioctl.h>

GUEST(halts, 16, "hlt");

volatile int counted, last_signal;

void sleep_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

void send_after(int sig, long ms)
{
	pid_t parent = getpid();

	fflush(stdout);
	if (fork() == 0) {
		sleep_ms(ms);
		_exit(kill(parent, sig));
	}
}

void count_signal(int sig)
{
	counted++;
	last_signal = sig;
}

void set_handler(int sig, void (*handler)(int), int flags)
{
	struct sigaction a = {.sa_handler = handler, .sa_flags = flags};

	sigemptyset(&a.sa_mask);
	if (sigaction(sig, &a, NULL))
		SAY(" sigaction:%d", errno);
}

long ended(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1000 - errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void say_mask(void)
{
	sigset_t now;

	sigprocmask(SIG_BLOCK, NULL, &now);
	SAY(" mask");
	for (int sig = 1; sig <= SIGRTMAX; sig++) {
		if (sigismember(&now, sig) == 1)
			SAY(" %d", sig);
	}
}

/* Three descriptors either way, under the same numbers. */
static void have_a_vm(void)
{
	struct minivmm v;

	if (!dlsym(RTLD_DEFAULT, "userkvm_version")) {
		for (int i = 0; i < 3; i++) {
			if (open("/dev/null", O_RDWR | O_CLOEXEC) < 0)
				exit(2);
		}
		return;
	}
	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_REAL, halts);
	if (minivmm_run(&v) != KVM_EXIT_HLT)
		exit(2);
}

static void run_check(const struct check *c)
{
	pid_t pid;

	printf("%s %ld:", c->name, c->arg);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(hang_limit(20));
		have_a_vm();
		c->run(c->arg);
		fflush(stdout);
		_exit(0);
	}
	printf(" ends %ld\n", ended(pid));
}

int main(void)
{
	const struct check *all[] = {signal_checks, descriptor_checks, process_checks};
	int n = 0;

	for (int i = 0; i < 3; i++) {
		for (const struct check *c = all[i]; c->name; c++, n++)
			run_check(c);
	}
	printf("%d checks\n", n);
	return 0;
}
