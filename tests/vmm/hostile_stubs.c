/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/hostile_stubs.c: a guest that makes up more vector instructions than there is room for has
 * no other effect than to be slow: every one of them is executed, by another vCPU and by any thread
 * too.
 */
#include "minivmm.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#define MADE_UP 0x40000u /* where they are put, 6 bytes each */
#define BATCH	4096u
#define BATCHES (16u * sizeof(opcodes)) /* half as many again as a VM has room for */
#define THREADS 1100
#define COUNT	0x30000u

/* SSE and AVX on, then on to where RBX points. */
GUEST(start, 64,
      "mov %cr4, %rax\n or $0x40600, %eax\n mov %rax, %cr4\n"
      "xor %ecx, %ecx\n xor %edx, %edx\n mov $7, %eax\n xsetbv\n jmp *%rbx\n");
/* Sums that must agree. */
GUEST(computes, 64,
      "vpcmpeqd %xmm1, %xmm1, %xmm1\n vpxor %xmm2, %xmm2, %xmm2\n"
      "1: vpsubd %xmm1, %xmm2, %xmm2\n vpaddd %xmm1, %xmm2, %xmm3\n incq 0x30000\n"
      "vmovd %xmm2, %eax\n vmovd %xmm3, %ecx\n inc %ecx\n cmp %eax, %ecx\n je 1b\n hlt\n");

static const uint8_t opcodes[] = {0x0f, 0x0e, 0x0c, 0x0d, 0x42, 0x40, 0x41, 0x44};
static struct minivmm maker, other;
static volatile int stop;

static void go(struct minivmm *v, uint64_t to)
{
	struct kvm_regs r;

	minivmm_load(v, MINIVMM_LONG, start);
	minivmm_get_regs(v, &r);
	r.rbx = to;
	minivmm_set_regs(v, &r);
}

/* Batch n of vpalignr xmm, xmm, xmm, imm8 and others of that form, HLT behind. */
static void make_up(unsigned n)
{
	uint8_t *p = maker.mem + MADE_UP;

	for (unsigned i = 0; i < BATCH; i++) {
		unsigned reg = i >> 8 & 7, rm = i >> 11 & 1, src = n % 16;

		*p++ = 0xc4;
		*p++ = 0xe3;
		*p++ = (uint8_t)((~src & 15) << 3 | 1);
		*p++ = opcodes[n / 16];
		*p++ = (uint8_t)(0xc0 | reg << 3 | rm);
		*p++ = (uint8_t)i;
	}
	*p = 0xf4;
}

static void *compute(void *arg)
{
	while (!stop)
		EXPECT(minivmm_run(&other) == -EINTR, "the sums do not agree");
	return NULL;
}

static void *once(void *arg)
{
	go(&maker, MADE_UP + 6 * (BATCH - 3));
	EXPECT_EXIT(&maker, KVM_EXIT_HLT);
	return NULL;
}

static void on_signal(int sig) {}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	pthread_t computing, t;
	uint64_t before;

	sigaction(SIGUSR1, &sa, NULL);
	minivmm_create(&maker);
	minivmm_add_vcpu(&maker, 1, &other);
	memcpy(maker.mem + 0x38000, computes.start, computes.end - computes.start);
	go(&other, 0x38000);
	pthread_create(&computing, NULL, compute, NULL);
	for (unsigned n = 0; n < BATCHES; n++) {
		make_up(n);
		go(&maker, MADE_UP);
		EXPECT_EXIT(&maker, KVM_EXIT_HLT);
	}
	for (int i = 0; i < THREADS; i++) {
		EXPECT(!pthread_create(&t, NULL, once, NULL), "thread %d", i);
		pthread_join(t, NULL);
	}
	before = *(volatile uint64_t *)(maker.mem + COUNT);
	while (*(volatile uint64_t *)(maker.mem + COUNT) == before)
		;
	stop = 1;
	other.run->immediate_exit = 1;
	pthread_kill(computing, SIGUSR1);
	pthread_join(computing, NULL);
	printf("%zu instructions, %u threads\n", BATCH * BATCHES, THREADS);
	return 0;
}
