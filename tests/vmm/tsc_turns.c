/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/tsc_turns.c: the time-stamp counters of a VM's vCPUs never run backwards between them.
 * Each takes a lock, reads its counter so that the read is not done before what precedes it (RDTSCP,
 * LFENCE and RDTSC, a serializing instruction and RDTSC: SDM vol. 3, 18.17 and vol. 2, RDTSC), compares
 * with what the last holder read, and leaves its own. The host may run them where it likes.
 */
#include "minivmm.h"
#include <pthread.h>
#include <string.h>

#define NVCPUS	  3
#define BACKWARDS 0x11 /* ports */
#define DONE	  0x12
#define ROUNDS	  "50000"

/* lock: 0x10000, the last one read: 0x10040 */
#define TURNS(name, read)                                                                      \
	GUEST(name, 64,                                                                        \
	      "mov $" ROUNDS ", %edi\n"                                                        \
	      "1: mov $1, %eax\n xchg %eax, 0x10000\n test %eax, %eax\n jz 2f\n pause\n jmp 1b\n" \
	      "2: " read "\n shl $32, %rdx\n or %rdx, %rax\n"                                  \
	      "cmp %rax, 0x10040\n ja 3f\n mov %rax, 0x10040\n movl $0, 0x10000\n"             \
	      "dec %edi\n jnz 1b\n out %al, $0x12\n3: movl $0, 0x10000\n out %al, $0x11\n")
TURNS(rdtscp, "rdtscp");
TURNS(lfence, "lfence\n rdtsc");
TURNS(cpuid, "xor %eax, %eax\n cpuid\n rdtsc");
/* A processor promises nothing of this one; here it is read after the lock was taken, too. */
TURNS(locked, "rdtsc");

static void *vcpu_thread(void *arg)
{
	struct minivmm *v = arg;

	EXPECT_EXIT(v, KVM_EXIT_IO);
	return NULL;
}

static void take_turns(const char *name, struct guest_code code)
{
	struct minivmm v[NVCPUS];
	pthread_t t[NVCPUS];
	uint64_t last;

	minivmm_create(&v[0]);
	for (unsigned i = 1; i < NVCPUS; i++)
		minivmm_add_vcpu(&v[0], i, &v[i]);
	for (unsigned i = 0; i < NVCPUS; i++)
		minivmm_load(&v[i], MINIVMM_LONG, code);
	for (unsigned i = 0; i < NVCPUS; i++)
		EXPECT(!pthread_create(&t[i], NULL, vcpu_thread, &v[i]), "no thread");
	for (unsigned i = 0; i < NVCPUS; i++)
		pthread_join(t[i], NULL);
	memcpy(&last, v[0].mem + 0x10040, sizeof(last));
	for (unsigned i = 0; i < NVCPUS; i++) {
		struct kvm_regs r;

		minivmm_get_regs(&v[i], &r);
		EXPECT(v[i].run->io.port == DONE, "%s: vCPU %u read %#llx after %#llx", name, i,
		       r.rax, (unsigned long long)last);
	}
	for (unsigned i = 1; i < NVCPUS; i++)
		minivmm_remove_vcpu(&v[i]);
	minivmm_destroy(&v[0]);
}

int main(void)
{
	take_turns("RDTSCP", rdtscp);
	take_turns("LFENCE, RDTSC", lfence);
	take_turns("CPUID, RDTSC", cpuid);
	take_turns("RDTSC", locked);
	return 0;
}
