/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/pv_eoi.c: a guest ends interrupts by a bit in memory (MSR_KVM_PV_EOI_EN). An end
 * made that way counts, and when something else waits the bit is taken back, so that the guest
 * tells the APIC.
 */
#include "minivmm.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM    0x10000u
#define CODE   0x8000u
#define ENDS   0x80u  /* handler: ends its interrupt by the bit, if it may */
#define WAITS  0x100u /* handler: waits for the bit to be taken back */
#define BIT_AT 0x6000u
#define HIGH   0x50 /* vectors of three priority classes */
#define MIDDLE 0x40
#define LOW    0x30
#define READY  0x10 /* ports */
#define ENDED  0x11
#define TAKEN  0x12

/*
 * Setting up: the APIC on, in x2APIC mode; the bit's place. Then halt with interrupts let in.
 * Handlers report the bit as it was found and whether it was there to be cleared.
 */
GUEST(guest, 16,
      "mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"
      "mov $0x4b564d04, %ecx\n mov $0x6001, %eax\n wrmsr\n"
      "out %al, $0x10\n sti\n 1: hlt\n jmp 1b\n"
      ".balign 128\n"
      "mov 0x6000, %al\n btrw $0, 0x6000\n setc %ah\n test %ah, %ah\n jnz 2f\n"
      "push %ax\n mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n pop %ax\n"
      "2: out %ax, $0x11\n iret\n"
      ".balign 128\n"
      "3: pause\n testb $1, 0x6000\n jnz 3b\n"
      "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"
      "out %al, $0x12\n iret");

static struct {
	int vm, vcpu;
	struct kvm_run *run;
	uint8_t *ram;
} m;

static int must(int r, const char *what)
{
	EXPECT(r >= 0, "%s: %s", what, strerror(errno));
	return r;
}

static void set_vector(unsigned vector, unsigned handler)
{
	uint16_t entry[2] = {(uint16_t)handler, CODE >> 4};

	memcpy(m.ram + vector * 4, entry, sizeof(entry));
}

static void create(void)
{
	int kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	int size = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "mmap size");
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));
	struct kvm_userspace_memory_region slot = {.memory_size = RAM};
	struct kvm_regs r = {.rflags = 2, .rsp = 0x7000};
	struct kvm_sregs s;

	m.vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	must(ioctl(m.vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
	must(ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	m.ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	slot.userspace_addr = (uintptr_t)m.ram;
	must(ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, &slot), "slot");
	m.vcpu = must(ioctl(m.vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	m.run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, m.vcpu, 0);
	EXPECT(m.run != MAP_FAILED, "mmap");
	c->nent = 256;
	must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c), "KVM_GET_SUPPORTED_CPUID");
	must(ioctl(m.vcpu, KVM_SET_CPUID2, c), "KVM_SET_CPUID2");
	free(c);
	must(ioctl(m.vcpu, KVM_GET_SREGS, &s), "KVM_GET_SREGS");
	s.cs.base = CODE;
	s.cs.selector = CODE >> 4;
	s.apic_base |= 0xc00;
	must(ioctl(m.vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
	must(ioctl(m.vcpu, KVM_SET_REGS, &r), "KVM_SET_REGS");
	memcpy(m.ram + CODE, guest.start, (size_t)(guest.end - guest.start));
	set_vector(HIGH, WAITS);
	set_vector(MIDDLE, ENDS);
	set_vector(LOW, ENDS);
}

static void send(unsigned vector)
{
	struct kvm_msi msi = {.address_lo = 0xfee00000, .data = vector};

	EXPECT(ioctl(m.vm, KVM_SIGNAL_MSI, &msi) == 1, "vector %#x is not delivered", vector);
}

/* Run to this port; what was written there. */
static unsigned run_to(unsigned port)
{
	uint16_t data = 0;

	must(ioctl(m.vcpu, KVM_RUN, 0), "KVM_RUN");
	EXPECT(m.run->exit_reason == KVM_EXIT_IO && m.run->io.port == port, "exit %s, port %#x",
	       minivmm_exit_name((int)m.run->exit_reason), m.run->io.port);
	memcpy(&data, (uint8_t *)m.run + m.run->io.data_offset, m.run->io.size);
	return data;
}

static void *send_low_soon(void *arg)
{
	usleep(20000);
	send(LOW);
	return NULL;
}

int main(void)
{
	struct kvm_lapic_state l;
	pthread_t sender;

	alarm(10); /* an end that is lost is a guest that hangs */
	create();
	run_to(READY);
	for (int i = 0; i < 100; i++) {
		send(MIDDLE);
		EXPECT(run_to(ENDED) == 0x101, "the bit was not offered");
		/* The handler has not returned, but the interrupt has ended: the APIC says so.
		 */
		must(ioctl(m.vcpu, KVM_GET_LAPIC, &l), "KVM_GET_LAPIC");
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
