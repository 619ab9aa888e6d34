/* SPDX-License-Identifier: MIT */
/* tests/vmm/guests.c: well-behaved little guests in every mode, as a VMM sees them. */
#include "minivmm.h"
#include <string.h>

/* Sum 1..100 in a loop, leave it in memory, say so on a port, halt. */
GUEST(sum16, 16,
      "xor %ax, %ax\n mov $100, %cx\n 1: add %cx, %ax\n loop 1b\n"
      "mov %ax, 0x6000\n mov $0x10, %dx\n out %al, %dx\n hlt");
GUEST(sum32, 32,
      "xor %eax, %eax\n mov $100, %ecx\n 1: add %ecx, %eax\n loop 1b\n"
      "mov %eax, 0x6000\n mov $0x10, %dx\n out %al, %dx\n hlt");
GUEST(sum64, 64,
      "xor %eax, %eax\n mov $100, %ecx\n 1: add %rcx, %rax\n loop 1b\n"
      "mov %eax, 0x6000\n mov $0x10, %dx\n out %al, %dx\n hlt");
/* Read from a port, write to a device's memory, read it back. */
GUEST(devices, 64,
      "mov $0x20, %edx\n in %dx, %eax\n mov $0x300000, %rbx\n"
      "mov %eax, 8(%rbx)\n movzwl 16(%rbx), %ecx\n hlt");
/* Four bytes out of memory through a string instruction. */
GUEST(outs, 64, "mov $0x6000, %esi\n mov $4, %ecx\n mov $0x30, %edx\n cld\n rep outsb\n hlt");
/* 5000 bytes into memory, across a page. */
GUEST(ins, 64,
      "mov $0x100f01, %edi\n mov $5000, %ecx\n mov $0x31, %edx\n cld\n rep insb\n hlt");
/* An exception taken and returned from: the handler skips the two bytes of UD2. */
GUEST(handled, 64, "ud2\n mov $7, %ebx\n hlt\n .balign 16\n addq $2, (%rsp)\n iretq");
/* Code that rewrites the instruction after the next one. */
GUEST(rewrites, 64, "movb $9, 1f+1(%rip)\n 1: mov $1, %bl\n hlt");

static void runs_in_mode(enum minivmm_mode mode, struct guest_code code)
{
	struct minivmm v;
	struct kvm_regs r;
	uint32_t sum;

	minivmm_create(&v);
	minivmm_load(&v, mode, code);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	EXPECT(v.run->io.port == 0x10 && v.run->io.direction == KVM_EXIT_IO_OUT &&
		       v.run->io.size == 1 && v.run->io.count == 1,
	       "port %#x size %d", v.run->io.port, v.run->io.size);
	EXPECT(((uint8_t *)v.run)[v.run->io.data_offset] == (5050 & 0xff), "data of the port");
	memcpy(&sum, v.mem + 0x6000, 4);
	EXPECT((sum & 0xffff) == 5050, "sum %u", sum);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	minivmm_get_regs(&v, &r);
	EXPECT((r.rax & 0xffff) == 5050 && (r.rcx & 0xffff) == 0, "rax %llx", r.rax);
	EXPECT(r.rip == MINIVMM_CODE + (uint64_t)(code.end - code.start), "rip %llx", r.rip);
	minivmm_destroy(&v);
}

static void reaches_devices(void)
{
	struct minivmm v;
	struct kvm_regs r;
	uint32_t in = 0x12345678;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, devices);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	EXPECT(v.run->io.direction == KVM_EXIT_IO_IN && v.run->io.size == 4, "not in 4");
	memcpy((uint8_t *)v.run + v.run->io.data_offset, &in, 4);
	EXPECT_EXIT(&v, KVM_EXIT_MMIO);
	EXPECT(v.run->mmio.phys_addr == 0x300008 && v.run->mmio.len == 4 &&
		       v.run->mmio.is_write,
	       "write at %llx", v.run->mmio.phys_addr);
	EXPECT(!memcmp(v.run->mmio.data, &in, 4), "written data");
	EXPECT_EXIT(&v, KVM_EXIT_MMIO);
	EXPECT(v.run->mmio.phys_addr == 0x300010 && v.run->mmio.len == 2 &&
		       !v.run->mmio.is_write,
	       "read at %llx", v.run->mmio.phys_addr);
	memcpy(v.run->mmio.data, "\xcd\xab", 2);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	minivmm_get_regs(&v, &r);
	EXPECT(r.rax == in && r.rcx == 0xabcd, "rax %llx rcx %llx", r.rax, r.rcx);
	minivmm_destroy(&v);
}

/* KVM may give the string in one exit or in several. */
static void writes_a_string_to_a_port(void)
{
	struct minivmm v;
	char got[8] = "";
	size_t n = 0;
	int reason;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, outs);
	memcpy(v.mem + 0x6000, "KVM!", 4);
	while ((reason = minivmm_run(&v)) == KVM_EXIT_IO) {
		EXPECT(v.run->io.port == 0x30 && n + v.run->io.count <= 4, "too much");
		memcpy(got + n, (uint8_t *)v.run + v.run->io.data_offset, v.run->io.count);
		n += v.run->io.count;
	}
	EXPECT(reason == KVM_EXIT_HLT, "exit %s", minivmm_exit_name(reason));
	EXPECT(!strcmp(got, "KVM!"), "got %s", got);
	minivmm_destroy(&v);
}

/* One exit for all that goes into a page; a VMM that cuts rCX short is believed. */
static void reads_a_string_from_a_port(void)
{
	struct minivmm v;
	struct kvm_regs r;
	unsigned n = 0, exits = 0;
	int reason;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, ins);
	while ((reason = minivmm_run(&v)) == KVM_EXIT_IO) {
		uint8_t *data = (uint8_t *)v.run + v.run->io.data_offset;

		EXPECT(v.run->io.port == 0x31 && v.run->io.direction == KVM_EXIT_IO_IN, "port");
		for (unsigned i = 0; i < v.run->io.count; i++)
			data[i] = (uint8_t)(n++ * 7);
		if (++exits == 2) {
			minivmm_get_regs(&v, &r);
			EXPECT(r.rcx == 5000 - n + v.run->io.count, "rcx %llx", r.rcx);
			r.rcx = 100;
			minivmm_set_regs(&v, &r);
		}
	}
	EXPECT(reason == KVM_EXIT_HLT, "exit %s", minivmm_exit_name(reason));
	minivmm_get_regs(&v, &r);
	EXPECT(r.rcx == 0 && r.rdi < 0x100f01 + 5000, "rcx %llx rdi %llx", r.rcx, r.rdi);
	for (unsigned i = 0; i < r.rdi - 0x100f01; i++)
		EXPECT(v.mem[0x100f01 + i] == (uint8_t)(i * 7), "byte %u", i);
	EXPECT(exits < 20, "%u exits", exits);
	minivmm_destroy(&v);
}

static void halts_with_rbx(struct guest_code code, unsigned gate, uint32_t offset, uint64_t rbx)
{
	struct minivmm v;
	struct kvm_regs r;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, code);
	if (gate)
		minivmm_set_gate(&v, MINIVMM_LONG, gate, offset);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	minivmm_get_regs(&v, &r);
	EXPECT((r.rbx & 0xff) == rbx, "rbx %llx", r.rbx);
	minivmm_destroy(&v);
}

int main(void)
{
	runs_in_mode(MINIVMM_REAL, sum16);
	runs_in_mode(MINIVMM_PROT, sum32);
	runs_in_mode(MINIVMM_LONG, sum64);
	reaches_devices();
	writes_a_string_to_a_port();
	reads_a_string_from_a_port();
	halts_with_rbx(handled, 6, 16, 7);
	halts_with_rbx(rewrites, 0, 0, 9);
	puts("guests: all as expected");
	return 0;
}
