/* SPDX-License-Identifier: MIT */
/*
 * What calls cost, in nanoseconds: getppid() by itself, a signal with its handler, then with a VM, KVM_RUN
 * with an MMIO exit, and an ioctl on /dev/kvm. Of each the best of many short batches, which fit between two
 * turns of a busy machine's other work.
 */
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "mmio.h"

#define BATCHES 500
#define CALLS	100

static struct minivmm v;

static void do_getppid(void)
{
	syscall(SYS_getppid);
}

static void handler(int sig, siginfo_t *info, void *uc)
{
}

static void do_signal(void)
{
	raise(SIGUSR1);
}

static void do_run(void)
{
	minivmm_run(&v);
}

static void do_ioctl(void)
{
	ioctl(v.kvm, KVM_GET_API_VERSION, 0);
}

static double best(void (*fn)(void))
{
	uint64_t least = ~0ULL;

	for (int b = 0; b < BATCHES; b++) {
		uint64_t t = minivmm_now();

		for (int i = 0; i < CALLS; i++)
			fn();
		t = minivmm_now() - t;
		least = t < least ? t : least;
	}
	return (double)least / CALLS;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	printf("getppid %.1f\n", best(do_getppid));
	if (argc > 1) { /* without userkvm: nothing of the machine's own device */
		sigaction(SIGUSR1, &sa, NULL);
		printf("signal %.1f\n", best(do_signal));
		return 0;
	}
	mmio_create(&v);
	EXPECT_EXIT(&v, KVM_EXIT_MMIO);
	printf("run %.1f\n", best(do_run));
	printf("ioctl %.1f\n", best(do_ioctl));
	return 0;
}
