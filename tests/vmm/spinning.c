/* SPDX-License-Identifier: MIT */
/*
 * More vCPUs than cores, each spinning with PAUSE until it is its turn: on one core, whoever has
 * the turn must not wait until the others have used up theirs.
 */
#include "minivmm.h"
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#define NVCPUS 4
#define ROUNDS 500
/* Seconds of processor time. A host's time slice is milliseconds: spun away by each of the others
 * at each of 2000 turns it would be several times as much. */
#define BOUND  1.5
#define LATE   40

/* edi: whose turn this one waits for; esi: who is next; ecx: turns left. */
GUEST(takes_turns, 64,
      "1: cmp %edi, 0x100000\n je 2f\n pause\n jmp 1b\n"
      "2: mov %esi, 0x100000\n dec %ecx\n jnz 1b\n hlt");

static struct minivmm vcpu[NVCPUS]; /* the first is the VM's */

static void load(unsigned n)
{
	struct kvm_regs regs;

	minivmm_load(&vcpu[n], MINIVMM_LONG, takes_turns);
	minivmm_get_regs(&vcpu[n], &regs);
	regs.rdi = n;
	regs.rsi = (n + 1) % NVCPUS;
	regs.rcx = ROUNDS;
	minivmm_set_regs(&vcpu[n], &regs);
}

static void *run_vcpu(void *arg)
{
	struct minivmm *v = arg;

	EXPECT_EXIT(v, KVM_EXIT_HLT);
	return NULL;
}

static void use_one_core(void)
{
	cpu_set_t all, one;

	EXPECT(!sched_getaffinity(0, sizeof(all), &all), "sched_getaffinity");
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++) {
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	}
	EXPECT(!sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}

static double processor_seconds(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

int main(void)
{
	pthread_t thread[NVCPUS];
	double before, spent;

	use_one_core();
	alarm(hang_limit(LATE));
	minivmm_create(&vcpu[0]);
	for (unsigned n = 1; n < NVCPUS; n++)
		minivmm_add_vcpu(&vcpu[0], n, &vcpu[n]);
	for (unsigned n = 0; n < NVCPUS; n++)
		load(n);
	before = processor_seconds();
	for (unsigned n = 0; n < NVCPUS; n++)
		EXPECT(!pthread_create(&thread[n], NULL, run_vcpu, &vcpu[n]), "thread");
	for (unsigned n = 0; n < NVCPUS; n++)
		pthread_join(thread[n], NULL);
	spent = processor_seconds() - before;
	printf("spinning: %u turns of %u vCPUs on one core took %.3f s of it\n", NVCPUS * ROUNDS,
	       NVCPUS, spent);
	EXPECT(spent < BOUND, "too long");
	return 0;
}
