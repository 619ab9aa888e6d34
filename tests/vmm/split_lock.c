/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/split_lock.c: a locked operation that crosses a cache line is one piece to another vCPU,
 * whatever that one does: stores that its program makes, stores that the processor makes when it
 * delivers an interrupt, and stores whose memory has to be faulted in anew each time.
 *
 * One vCPU ORs nothing into four bytes across a line. The other stores in the last two of them and
 * looks whether it stays: had the store come between the halves of the OR, it would be lost.
 *
 * usage: vmm_split_lock [SECONDS]
 */
#include "minivmm.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define LOST	   0x12 /* port: a store was; on any other, a round is over */
#define VECTOR	   0x20
#define LOCKED	   0x100 /* entries of the code */
#define STORES	   0x200
#define INTERRUPTS 0x300
#define HANDLER	   0x400
#define PAGE_GPA   0x12000u /* where STORES stores */

GUEST(split, 64,
      ".org guest_split + 0x100\n"
      "1: lock orl $0, 0x1103e\n lock orl $0, 0x1203e\n jmp 1b\n"
      ".org guest_split + 0x200\n"
      "1: mov $5000, %ecx\n"
      "2: inc %rbx\n mov %rbx, 0x12040\n cmp %rbx, 0x12040\n jne lost\n dec %ecx\n jnz 2b\n"
      "out %al, $0x11\n jmp 1b\n"
      /* The stack pointer is stored at 0x11040, aligned down to 16 before (SDM vol. 3, 6.14.2). */
      ".org guest_split + 0x300\n"
      "1: mov $0x11050, %rsp\n mov %rsp, %r15\n out %al, $0x11\n"
      "mov $0x11058, %rsp\n mov %rsp, %r15\n out %al, $0x11\n jmp 1b\n"
      ".org guest_split + 0x400\n"
      "cmp %r15, 0x11040\n jne lost\n iretq\n"
      "lost: out %al, $0x12\n");

static struct minivmm locker, other;
static volatile int stop;

static void start_at(struct minivmm *v, uint32_t entry)
{
	struct kvm_regs r;

	minivmm_load(v, MINIVMM_LONG, split);
	minivmm_set_gate(v, MINIVMM_LONG, VECTOR, HANDLER);
	minivmm_get_regs(v, &r);
	r.rip = MINIVMM_CODE + entry;
	minivmm_set_regs(v, &r);
}

static void *lock_thread(void *arg)
{
	while (!stop)
		EXPECT(minivmm_run(&locker) == -EINTR, "the locking vCPU left the guest");
	return NULL;
}

/* The page's translation is taken away again and again; its contents stay. */
static void *protect_thread(void *arg)
{
	while (!stop)
		EXPECT(!mprotect(other.mem + PAGE_GPA, 0x1000, PROT_READ | PROT_WRITE), "%s",
		       strerror(errno));
	return NULL;
}

/* For so long, and so many at least, however busy the machine is. */
static unsigned long rounds(uint64_t ns, unsigned long least, int interrupt)
{
	struct kvm_interrupt irq = {.irq = VECTOR};
	uint64_t end = minivmm_now() + ns;
	unsigned long n = 0;

	for (; n < least || minivmm_now() < end; n++) {
		if (interrupt && n)
			EXPECT(!ioctl(other.vcpu, KVM_INTERRUPT, &irq), "%s", strerror(errno));
		EXPECT_EXIT(&other, KVM_EXIT_IO);
		EXPECT(other.run->io.port != LOST, "a store was lost after %lu rounds", n);
	}
	return n;
}

static void on_signal(int sig) {}

int main(int argc, char **argv)
{
	uint64_t ns = (argc > 1 ? strtoull(argv[1], NULL, 0) : 2) * 1000000000;
	struct sigaction sa = {.sa_handler = on_signal};
	pthread_t locking, protecting;
	unsigned long stores, interrupts;

	sigaction(SIGUSR1, &sa, NULL);
	minivmm_create(&locker);
	minivmm_add_vcpu(&locker, 1, &other);
	start_at(&locker, LOCKED);
	start_at(&other, INTERRUPTS);
	pthread_create(&locking, NULL, lock_thread, NULL);
	interrupts = rounds(ns, 100, 1);
	start_at(&other, STORES);
	pthread_create(&protecting, NULL, protect_thread, NULL);
	stores = rounds(ns, 2, 0);
	stop = 1;
	locker.run->immediate_exit = 1;
	pthread_kill(locking, SIGUSR1);
	pthread_join(locking, NULL);
	pthread_join(protecting, NULL);
	printf("%lu interrupts, %lu rounds of stores\n", interrupts, stores);
	return 0;
}
