/* SPDX-License-Identifier: MIT */
/* Processes and threads of a program with a VM: the same as beside the real device. */
#include "../preload/check.h"
#include "../vmm/minivmm.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include "helpers.h"

GUEST(halts, 16, "hlt");
GUEST(writes_port, 16, "1: out %al, $0x10\n jmp 1b");

static struct minivmm v;

static void make(void)
{
	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_REAL, halts);
}

static void use_everything(void)
{
	minivmm_create_with_irqchip(&v);
	minivmm_load(&v, MINIVMM_REAL, writes_port);
	use_timer_and_irqfd(&v);
}

static int wait_for(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

/* A VM of its own in a forked child, while the parent has one and runs it. */
static void *runs_on(void *stop)
{
	while (!*(volatile int *)stop)
		minivmm_run(&v);
	return NULL;
}

static void vm_in_a_forked_child(void)
{
	volatile int stop = 0;
	pthread_t t;

	use_everything();
	CHECK(pthread_create(&t, NULL, runs_on, (void *)&stop) == 0);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			struct minivmm mine;
			struct kvm_userspace_memory_region none = {.slot = 0};
			int irqfd;

			alarm(hang_limit(10));
			CHECK_ERRNO(ioctl(v.vcpu, KVM_RUN, 0), EIO);
			minivmm_create_with_irqchip(&mine);
			minivmm_load(&mine, MINIVMM_REAL, writes_port);
			irqfd = use_timer_and_irqfd(&mine);
			CHECK(minivmm_run(&mine) == KVM_EXIT_IO);
			irqfd_is_served(&mine, irqfd);
			CHECK(ioctl(mine.vm, KVM_SET_USER_MEMORY_REGION, &none) == 0);
			minivmm_destroy(&mine);
			/* and one in its child */
			pid = fork();
			if (pid == 0) {
				make();
				CHECK(minivmm_run(&v) == KVM_EXIT_HLT);
				_exit(0);
			}
			_exit(wait_for(pid) != 0);
		}
		CHECK(wait_for(pid) == 0);
	}
	stop = 1;
	pthread_join(t, NULL);
}

static void no_thread_before_a_run(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWUSER) ? 1 : 0);
	if (wait_for(pid) != 0)
		_exit(0); /* this machine does not let anybody */
	use_everything();
	CHECK(unshare(CLONE_NEWUSER) == 0);
}

static void its_only_thread_ends(void)
{
	for (int ran = 0; ran < 2; ran++) {
		pid_t pid = fork();

		if (pid == 0) {
			alarm(hang_limit(10));
			use_everything();
			if (ran)
				CHECK(minivmm_run(&v) == KVM_EXIT_IO);
			syscall(SYS_exit, 3);
		}
		CHECK(WEXITSTATUS(wait_for(pid)) == 3);
	}
}

static void *outlives(void *unused)
{
	usleep(1500000);
	_exit(6);
}

/* The first thread ends, and another goes on: so does the process. */
static void another_thread_goes_on(void)
{
	pid_t pid = fork();
	pthread_t t;

	if (pid == 0) {
		alarm(hang_limit(10));
		use_everything();
		CHECK(minivmm_run(&v) == KVM_EXIT_IO);
		CHECK(pthread_create(&t, NULL, outlives, NULL) == 0);
		pthread_exit(NULL);
	}
	CHECK(WEXITSTATUS(wait_for(pid)) == 6);
}

/* -- children that were given no environment */

static void shell_after_clearenv(void)
{
	char line[256] = "";
	FILE *f;

	CHECK(access("/dev/kvm", R_OK | W_OK) == 0);
	CHECK(clearenv() == 0);
	CHECK(system("/bin/grep -q userkvm /proc/self/maps") == 0);
	f = popen("/bin/grep -c userkvm /proc/self/maps", "r");
	CHECK(f && fgets(line, sizeof(line), f) && atoi(line) > 0);
	CHECK(pclose(f) == 0);
	CHECK(!environ || !environ[0]);
	CHECK(system(NULL) != 0);
	CHECK(WEXITSTATUS(system("exit 7")) == 7);
	CHECK(WTERMSIG(system("kill -9 $$")) == SIGKILL);
	CHECK(setenv("LD_PRELOAD", "", 1) == 0);
	CHECK(system("/bin/grep -q userkvm /proc/self/maps") == 0);
}

int main(void)
{
	static const struct check_case cases[] = {
		{"a VM in a forked child beside the parent's", vm_in_a_forked_child},
		{"no thread before a guest runs: unshare(CLONE_NEWUSER)", no_thread_before_a_run},
		{"the only thread ends, and so does the process", its_only_thread_ends},
		{"the first thread ends, and another goes on", another_thread_goes_on},
		{"system() and popen() after clearenv()", shell_after_clearenv},
	};

	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
