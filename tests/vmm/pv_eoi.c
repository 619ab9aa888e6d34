/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/pv_eoi.c: a guest ends interrupts by a bit in memory (MSR_KVM_PV_EOI_EN). An end
 * made that way counts, and when something else waits the bit is taken back, so that the guest
 * tells the APIC.
 */
#include "minivmm.h"
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ENDS   0x80u  /* handler: ends its interrupt by the bit, if it may */
#define WAITS  0x100u /* handler: waits for the bit to be taken back */
#define HIGH   0x50 /* vectors of three priority classes */
#define MIDDLE 0x40
#define LOW    0x30
#define READY  0x10 /* ports */
#define ENDED  0x11
#define TAKEN  0x12

/*
 * Setting up: the bit's place. Then halt with interrupts let in.
 * Handlers report the bit as it was found and whether it was there to be cleared.
 */
GUEST(guest, 16,
      "mov $0x4b564d04, %ecx\n mov $0x6001, %eax\n xor %edx, %edx\n wrmsr\n"
      "out %al, $0x10\n sti\n 1: hlt\n jmp 1b\n"
      ".balign 128\n"
      "mov 0x6000, %al\n btrw $0, 0x6000\n setc %ah\n test %ah, %ah\n jnz 2f\n"
      "push %ax\n mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n pop %ax\n"
      "2: out %ax, $0x11\n iret\n"
      ".balign 128\n"
      "3: pause\n testb $1, 0x6000\n jnz 3b\n"
      "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"
      "out %al, $0x12\n iret");

static struct minivmm v;

static void create(void)
{
	minivmm_create_with_irqchip(&v);
	minivmm_load(&v, MINIVMM_REAL, guest);
	minivmm_enable_apic(&v);
	minivmm_set_gate(&v, MINIVMM_REAL, HIGH, WAITS);
	minivmm_set_gate(&v, MINIVMM_REAL, MIDDLE, ENDS);
	minivmm_set_gate(&v, MINIVMM_REAL, LOW, ENDS);
}

static void send(unsigned vector)
{
	struct kvm_msi msi = {.address_lo = 0xfee00000, .data = vector};

	EXPECT(ioctl(v.vm, KVM_SIGNAL_MSI, &msi) == 1, "vector %#x is not delivered", vector);
}

/* Run to this port; what was written there. */
static unsigned run_to(unsigned port)
{
	uint16_t data = 0;

	EXPECT_EXIT(&v, KVM_EXIT_IO);
	EXPECT(v.run->io.port == port, "port %#x", v.run->io.port);
	memcpy(&data, (uint8_t *)v.run + v.run->io.data_offset, v.run->io.size);
	return data;
}

static void *send_low_soon(void *arg)
{
	usleep(20000);
	send(LOW);
	return NULL;
}

static int set_place(uint64_t value)
{
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e;
	} m = {.h.nmsrs = 1, .e = {.index = 0x4b564d04, .data = value}};

	return ioctl(v.vcpu, KVM_SET_MSRS, &m);
}

/* The place of the bit is memory, and aligned to 4 bytes. */
static void place(void)
{
	EXPECT(set_place(MINIVMM_MEM - 4 + 1) == 1, "the last word of the memory");
	EXPECT(set_place(MINIVMM_HOLE + 1) == 0, "no memslot there");
	EXPECT(set_place(~0xfffull + 1) == 0, "no memory there ever");
	EXPECT(set_place(0x6000 + 2 + 1) == 0, "not aligned");
	EXPECT(set_place(MINIVMM_HOLE) == 1, "disabled, it may name anything");
	EXPECT(set_place(0) == 1, "nothing");
}

int main(void)
{
	struct kvm_lapic_state l;
	pthread_t sender;

	alarm(hang_limit(40)); /* an end that is lost is a guest that hangs */
	create();
	place();
	run_to(READY);
	for (int i = 0; i < 100; i++) {
		send(MIDDLE);
		EXPECT(run_to(ENDED) == 0x101, "the bit was not offered");
		/* The handler has not returned, but the interrupt has ended: the APIC says so.
		 */
		EXPECT(!ioctl(v.vcpu, KVM_GET_LAPIC, &l), "KVM_GET_LAPIC");
		EXPECT(!l.regs[0x120], "in service still");
		send(LOW); /* a lower priority waits for nothing */
		EXPECT(run_to(ENDED) == 0x101, "the bit was not offered");
	}
	puts("ok an end by the bit");
	pthread_create(&sender, NULL, send_low_soon, NULL);
	send(HIGH);
	run_to(TAKEN);
	pthread_join(sender, NULL);
	run_to(ENDED);
	puts("ok the bit is taken back when another interrupt waits");
	send(HIGH);
	send(LOW);
	run_to(TAKEN); /* never offered */
	run_to(ENDED);
	puts("ok no offer while another interrupt waits");
	return 0;
}
