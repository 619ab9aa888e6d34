/* SPDX-License-Identifier: MIT */
/*
 * What a port gives reaches rAX, and a device's register another one, once the VMM has answered, and the
 * guest goes on behind the instruction: at each size; when the run ends before anything else is executed;
 * when the VMM has moved the guest meanwhile, or steps it; when the guest steps itself.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include "minivmm.h"

#define RAX_BEFORE 0x1122334455667788ULL
#define ANSWER	   0xffeeddccU
#define IN_BYTES   2 /* of "in $port, %al" */

GUEST(sizes, 64,
      "mov $0x1122334455667788, %rax; mov %rax, %r8\n"
      "in $0x10, %al; mov %rax, %rbx\n"
      "mov %r8, %rax; in $0x10, %ax; mov %rax, %rcx\n"
      "mov %r8, %rax; mov $0x10, %edx; in %dx, %eax\n"
      "hlt");
GUEST(one, 64, "in $0x10, %al; hlt; hlt");
GUEST(traps, 64,
      "pushfq; orq $0x100, (%rsp); popfq\n"
      "in $0x10, %al\n"
      "1: hlt\n"
      ".balign 64\n"
      "pop %rbx; lea 1b(%rip), %rcx; hlt");
#define HANDLER 64
GUEST(loads, 64,
      "mov $0x300000, %esi; mov $0x1122334455667788, %rax; mov %rax, %rbx; mov %rax, %rcx; mov %rax, %rdx\n"
      "mov (%rsi), %al; mov 1(%rsi), %bh; mov 2(%rsi), %cx; mov 4(%rsi), %edx; mov 8(%rsi), %rdi\n"
      "movl $5, 16(%rsi); mov %rdx, 24(%rsi); addl $1, (%rsi); movzwl (%rsi), %ebp\n"
      "hlt");
GUEST(one_load, 64, "mov 0x300000, %al; hlt; hlt");
#define LOAD_BYTES 7

static struct minivmm v;

static void answer_input(unsigned size)
{
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	EXPECT(v.run->io.direction == KVM_EXIT_IO_IN && v.run->io.size == size && v.run->io.port == 0x10,
	       "another exit");
	memcpy((uint8_t *)v.run + v.run->io.data_offset, &(uint32_t){ANSWER}, size);
}

static struct kvm_regs regs(void)
{
	struct kvm_regs r;

	minivmm_get_regs(&v, &r);
	return r;
}

static void start_one(void)
{
	struct kvm_regs r;

	minivmm_load(&v, MINIVMM_LONG, one);
	r = regs();
	r.rax = RAX_BEFORE;
	minivmm_set_regs(&v, &r);
	answer_input(1);
}

static void test_sizes(void)
{
	struct kvm_regs r;

	minivmm_load(&v, MINIVMM_LONG, sizes);
	for (unsigned size = 1; size <= 4; size *= 2)
		answer_input(size);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	r = regs();
	EXPECT(r.rbx == 0x11223344556677ccULL, "a byte: %llx", r.rbx);
	EXPECT(r.rcx == 0x112233445566ddccULL, "two: %llx", r.rcx);
	EXPECT(r.rax == ANSWER, "four: %llx", r.rax);
}

static void device(uint64_t addr, unsigned len, int write)
{
	EXPECT_EXIT(&v, KVM_EXIT_MMIO);
	EXPECT(v.run->mmio.phys_addr == addr && v.run->mmio.len == len && v.run->mmio.is_write == write,
	       "%llx, %u bytes, %s", v.run->mmio.phys_addr, v.run->mmio.len, v.run->mmio.is_write ? "write" : "read");
}

static void answer_load(unsigned at, unsigned len)
{
	device(MINIVMM_HOLE + at, len, 0);
	memcpy(v.run->mmio.data, &(uint64_t){0x0123456700000000ULL | ANSWER}, len);
}

static void test_loads(void)
{
	struct kvm_regs r;

	minivmm_load(&v, MINIVMM_LONG, loads);
	answer_load(0, 1);
	answer_load(1, 1);
	answer_load(2, 2);
	answer_load(4, 4);
	answer_load(8, 8);
	device(MINIVMM_HOLE + 16, 4, 1);
	EXPECT(!memcmp(v.run->mmio.data, "\5\0\0\0", 4), "a constant");
	device(MINIVMM_HOLE + 24, 8, 1);
	EXPECT(!memcmp(v.run->mmio.data, &(uint64_t){ANSWER}, 8), "a register");
	answer_load(0, 4);
	device(MINIVMM_HOLE, 4, 1);
	EXPECT(!memcmp(v.run->mmio.data, &(uint32_t){ANSWER + 1}, 4), "a sum");
	answer_load(0, 2);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	r = regs();
	EXPECT(r.rax == 0x11223344556677ccULL, "AL: %llx", r.rax);
	EXPECT(r.rbx == 0x112233445566cc88ULL, "BH: %llx", r.rbx);
	EXPECT(r.rcx == 0x112233445566ddccULL, "CX: %llx", r.rcx);
	EXPECT(r.rdx == ANSWER, "EDX: %llx", r.rdx);
	EXPECT(r.rdi == (0x0123456700000000ULL | ANSWER), "RDI: %llx", r.rdi);
	EXPECT(r.rbp == (ANSWER & 0xffff), "MOVZX: %llx", r.rbp);
}

/* A load that ends with the run, that the VMM moves the guest away from, that it steps. */
static void test_one_load(void)
{
	struct kvm_guest_debug d = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
	struct kvm_regs r;
	int got;

	for (int how = 0; how < 3; how++) {
		minivmm_load(&v, MINIVMM_LONG, one_load);
		r = regs();
		r.rax = RAX_BEFORE;
		minivmm_set_regs(&v, &r);
		answer_load(0, 1);
		if (how == 0) {
			v.run->immediate_exit = 1;
			got = minivmm_run(&v);
			v.run->immediate_exit = 0;
			EXPECT(got == -EINTR, "exit %d", got);
		} else if (how == 1) {
			r = regs();
			r.rip += LOAD_BYTES + 1;
			minivmm_set_regs(&v, &r);
			EXPECT_EXIT(&v, KVM_EXIT_HLT);
		} else {
			EXPECT(!ioctl(v.vcpu, KVM_SET_GUEST_DEBUG, &d), "guest debug: %m");
			EXPECT_EXIT(&v, KVM_EXIT_DEBUG);
			d.control = 0;
			EXPECT(!ioctl(v.vcpu, KVM_SET_GUEST_DEBUG, &d), "guest debug: %m");
		}
		r = regs();
		EXPECT(r.rip == MINIVMM_CODE + LOAD_BYTES + (how == 1 ? 2 : 0), "%d: rip %llx", how, r.rip);
		EXPECT((r.rax & 0xff) == (how == 1 ? RAX_BEFORE & 0xff : ANSWER & 0xff), "%d: rax %llx", how, r.rax);
	}
}

/* What the VMM answered is done before the run ends. */
static void test_end_of_run(void)
{
	struct kvm_regs r;
	int got;

	start_one();
	v.run->immediate_exit = 1;
	got = minivmm_run(&v);
	v.run->immediate_exit = 0;
	EXPECT(got == -EINTR, "exit %d", got);
	r = regs();
	EXPECT(r.rip == MINIVMM_CODE + IN_BYTES && (r.rax & 0xff) == (ANSWER & 0xff), "rip %llx, rax %llx", r.rip,
	       r.rax);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
}

/* The instruction is another one: the answer is nobody's. */
static void test_moved(void)
{
	struct kvm_regs r;

	start_one();
	r = regs();
	r.rip += IN_BYTES + 1;
	minivmm_set_regs(&v, &r);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	r = regs();
	EXPECT(r.rip == MINIVMM_CODE + IN_BYTES + 2 && r.rax == RAX_BEFORE, "rip %llx, rax %llx", r.rip, r.rax);
}

static void test_stepped(void)
{
	struct kvm_guest_debug d = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP};
	struct kvm_regs r;

	start_one();
	EXPECT(!ioctl(v.vcpu, KVM_SET_GUEST_DEBUG, &d), "guest debug: %m");
	EXPECT_EXIT(&v, KVM_EXIT_DEBUG);
	r = regs();
	EXPECT(v.run->debug.arch.pc == MINIVMM_CODE + IN_BYTES && (r.rax & 0xff) == (ANSWER & 0xff),
	       "pc %llx, rax %llx", v.run->debug.arch.pc, r.rax);
	d.control = 0;
	EXPECT(!ioctl(v.vcpu, KVM_SET_GUEST_DEBUG, &d), "guest debug: %m");
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
}

static void test_traps(void)
{
	struct kvm_regs r;

	minivmm_load(&v, MINIVMM_LONG, traps);
	minivmm_set_gate(&v, MINIVMM_LONG, 1, HANDLER);
	answer_input(1);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	r = regs();
	EXPECT(r.rbx == r.rcx && (r.rax & 0xff) == (ANSWER & 0xff), "trapped at %llx, not %llx; rax %llx", r.rbx,
	       r.rcx, r.rax);
}

int main(void)
{
	minivmm_create(&v);
	test_sizes();
	test_loads();
	test_one_load();
	test_end_of_run();
	test_moved();
	test_stepped();
	test_traps();
	minivmm_destroy(&v);
	return 0;
}
