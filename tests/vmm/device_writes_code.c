/* SPDX-License-Identifier: MIT */
/*
 * A device of the VMM's writes over code that a guest is running, and says so by an interrupt, as
 * a disk does. The guest never leaves for the VMM meanwhile; after the interrupt it must run what
 * is in memory then.
 */
#include "minivmm.h"
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define VECTOR	 0x40
#define GSI	 16
#define ROUNDS	 40
#define LATE	 40 /* seconds until the guest is given up */

/*
 * rbx counts interrupts. In each round the function's constant must be the round's number, ecx,
 * once the interrupt has come and rbx is the same; until then it is called again and again, so that it
 * is cached. On a busy machine the interrupt may have come before the round's first instruction.
 * rsi: wait in HLT.
 */
GUEST(looks, 64,
      "mov $1, %ecx\n"
      "1:\n"
      "2: call 5f\n cli\n cmp %rcx, %rbx\n je 3f\n test %esi, %esi\n jz 7f\n"
      "sti\n hlt\n jmp 2b\n"
      "7: sti\n nop\n jmp 2b\n"
      "3: sti\n call 5f\n cmp %ecx, %eax\n jne 4f\n"
      "inc %ecx\n out %eax, $0x10\n jmp 1b\n"
      "4: out %eax, $0x11\n"
      ".org guest_looks + 64\n 5: mov $0, %eax\n ret\n"
      ".org guest_looks + 128\n 6: inc %rbx\n push %rax\n push %rcx\n push %rdx\n"
      "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n" /* x2APIC's EOI */
      "pop %rdx\n pop %rcx\n pop %rax\n iretq");

/* Where the constant of the guest's function is, and the handler. */
#define AT_CODE	   64
#define AT_HANDLER 128

static struct minivmm v;
static sem_t ready; /* the guest's next round begins */
static int irqfd;

static void route_irqfd(void)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} r = {
		.head.nr = 1,
		.entry = {
			.gsi = GSI,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = {.address_lo = 0xfee00000, .data = VECTOR},
		},
	};
	struct kvm_irqfd f = {.gsi = GSI};

	irqfd = eventfd(0, EFD_CLOEXEC);
	f.fd = (uint32_t)irqfd;
	EXPECT(!ioctl(v.vm, KVM_SET_GSI_ROUTING, &r), "KVM_SET_GSI_ROUTING");
	EXPECT(!ioctl(v.vm, KVM_IRQFD, &f), "KVM_IRQFD");
}

static void interrupt(unsigned round)
{
	struct kvm_msi msi = {.address_lo = 0xfee00000, .data = VECTOR};
	uint64_t one = 1;

	if (round & 1)
		EXPECT(ioctl(v.vm, KVM_SIGNAL_MSI, &msi) == 1, "KVM_SIGNAL_MSI");
	else
		EXPECT(write(irqfd, &one, sizeof(one)) == sizeof(one), "irqfd");
}

/* The device: time for the guest to run what is there, new code, an interrupt. */
static void *device(void *arg)
{
	for (unsigned round = 1; round <= ROUNDS; round++) {
		uint32_t constant = round;

		sem_wait(&ready);
		usleep(3000);
		memcpy(v.mem + MINIVMM_CODE + AT_CODE + 1, &constant, sizeof(constant));
		interrupt(round);
	}
	return NULL;
}

static void sees_every_change(int halts)
{
	struct kvm_regs r;
	pthread_t thread;

	minivmm_create_with_irqchip(&v);
	minivmm_load(&v, MINIVMM_LONG, looks);
	minivmm_set_gate(&v, MINIVMM_LONG, VECTOR, AT_HANDLER);
	minivmm_enable_apic(&v);
	route_irqfd();
	minivmm_get_regs(&v, &r);
	r.rbx = 0;
	r.rsi = (uint64_t)halts;
	minivmm_set_regs(&v, &r);
	alarm(hang_limit(LATE));
	EXPECT(!pthread_create(&thread, NULL, device, NULL), "pthread_create");
	for (unsigned round = 1; round <= ROUNDS; round++) {
		sem_post(&ready);
		EXPECT_EXIT(&v, KVM_EXIT_IO);
		EXPECT(v.run->io.port == 0x10, "round %u: the guest ran what was there before", round);
	}
	alarm(0);
	pthread_join(thread, NULL);
	close(irqfd);
	minivmm_destroy(&v);
}

int main(void)
{
	sees_every_change(0);
	sees_every_change(1);
	puts("device_writes_code: all as expected");
	return 0;
}
