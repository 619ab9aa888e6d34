/* SPDX-License-Identifier: MIT */
/*
 * More vCPUs than cores, each spinning with PAUSE until it is its turn: on one core, whoever has
 * the turn must not wait until the others have used up theirs.
 */
#include "minivmm.h"
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define NVCPUS 4
#define ROUNDS 500
/* Seconds of processor time. A host's time slice is milliseconds: spun away by each of the others
 * at each of 2000 turns it would be several times as much. */
#define BOUND  1.5
#define LATE   50

/* edi: whose turn this one waits for; esi: who is next; ecx: turns left. */
GUEST(takes_turns, 64,
      "1: cmp %edi, 0x100000\n je 2f\n pause\n jmp 1b\n"
      "2: mov %esi, 0x100000\n dec %ecx\n jnz 1b\n hlt");

static struct minivmm v;
static struct kvm_run *run[NVCPUS];
static int vcpu[NVCPUS];

static void add_vcpu(unsigned n)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	vcpu[n] = n ? ioctl(v.vm, KVM_CREATE_VCPU, n) : v.vcpu;
	EXPECT(vcpu[n] >= 0, "KVM_CREATE_VCPU");
	run[n] = mmap(NULL, v.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu[n], 0);
	EXPECT(run[n] != MAP_FAILED, "mmap");
	minivmm_get_sregs(&v, &sregs);
	minivmm_get_regs(&v, &regs);
	regs.rdi = n;
	regs.rsi = (n + 1) % NVCPUS;
	regs.rcx = ROUNDS;
	EXPECT(!ioctl(vcpu[n], KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	EXPECT(!ioctl(vcpu[n], KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void *run_vcpu(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg;

	EXPECT(!ioctl(vcpu[n], KVM_RUN, 0), "KVM_RUN");
	EXPECT(run[n]->exit_reason == KVM_EXIT_HLT, "vCPU %u: exit %u", n, run[n]->exit_reason);
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
	alarm(LATE);
	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, takes_turns);
	for (unsigned n = 0; n < NVCPUS; n++)
		add_vcpu(n);
	before = processor_seconds();
	for (unsigned n = 0; n < NVCPUS; n++)
		EXPECT(!pthread_create(&thread[n], NULL, run_vcpu, (void *)(uintptr_t)n), "thread");
	for (unsigned n = 0; n < NVCPUS; n++)
		pthread_join(thread[n], NULL);
	spent = processor_seconds() - before;
	printf("spinning: %u turns of %u vCPUs on one core took %.3f s of it\n", NVCPUS * ROUNDS,
	       NVCPUS, spent);
	EXPECT(spent < BOUND, "too long");
	return 0;
}
