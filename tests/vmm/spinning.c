/* SPDX-License-Identifier: MIT */
/*
 * More vCPUs than cores, each spinning with PAUSE until it is its turn: on one core, whoever has
 * the turn must not wait until the others have used up theirs. And one that spins while there is
 * nobody to wait for: it keeps its turn, which on a busy machine it would be long without.
 */
#include "minivmm.h"
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define NVCPUS 4
#define ROUNDS 500
/* Seconds of processor time. A host's time slice is milliseconds: spun away by each of the others
 * at each of 2000 turns it would be several times as much. */
#define BOUND  1.5
#define LATE   40
/* A delay as a kernel's: by PAUSE. Given away every 50000 cycles, its turns are thousands; every
 * eighth was a sleep, which a thread is counted for. Other sleeps of its are few. */
#define DELAY	1000000
#define SLEEPS	20
#define HALTING 0x6000u

/* edi: whose turn this one waits for; esi: who is next; ecx: turns left. */
GUEST(takes_turns, 64,
      "1: cmp %edi, 0x100000\n je 2f\n pause\n jmp 1b\n"
      "2: mov %esi, 0x100000\n dec %ecx\n jnz 1b\n hlt");

static struct minivmm vcpu[NVCPUS]; /* the first is the VM's */

GUEST(delays, 64, "1: pause\n dec %edi\n jnz 1b\n out %al, $0x10");
GUEST(halts, 64, "movb $1, 0x6000\n cli\n hlt");

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

/* How often this thread slept while its vCPU delayed. */
static long sleeps_of_delay(struct minivmm *v)
{
	struct rusage before, after;

	minivmm_load(v, MINIVMM_LONG, delays);
	minivmm_set_rdi(v, DELAY);
	EXPECT(!getrusage(RUSAGE_THREAD, &before), "getrusage");
	EXPECT_EXIT(v, KVM_EXIT_IO);
	EXPECT(!getrusage(RUSAGE_THREAD, &after), "getrusage");
	return after.ru_nvcsw - before.ru_nvcsw;
}

static void *halt_vcpu(void *arg)
{
	minivmm_run(arg); /* for good */
	return NULL;
}

/* The only vCPU, and one beside another that is halted. */
static void nobody_to_wait_for(void)
{
	static struct minivmm v, halted;
	struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
	pthread_t thread;
	long alone, beside;

	minivmm_create_with_irqchip(&v);
	alone = sleeps_of_delay(&v);
	minivmm_add_vcpu(&v, 1, &halted);
	minivmm_load(&halted, MINIVMM_LONG, halts);
	EXPECT(!ioctl(halted.vcpu, KVM_SET_MP_STATE, &runnable), "KVM_SET_MP_STATE");
	v.mem[HALTING] = 0;
	EXPECT(!pthread_create(&thread, NULL, halt_vcpu, &halted), "thread");
	while (!*(volatile uint8_t *)&v.mem[HALTING])
		sched_yield();
	beside = sleeps_of_delay(&v);
	printf("spinning: a vCPU alone slept %ld times, beside a halted one %ld times\n", alone, beside);
	EXPECT(alone < SLEEPS && beside < SLEEPS, "turns were given away");
}

static void turns(void)
{
	pthread_t thread[NVCPUS];
	double before, spent;

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
}

int main(void)
{
	use_one_core();
	alarm(hang_limit(LATE));
	turns();
	nobody_to_wait_for();
	return 0;
}
