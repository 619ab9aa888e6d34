/* SPDX-License-Identifier: MIT */
/*
 * A read-modify-write in a read-only memslot reads the memory behind it and asks the VMM to write. Where the VMM
 * changes that memory, the instruction still has what it read first, in registers and flags; and it writes once.
 */
#include <string.h>
#include <sys/ioctl.h>
#include "minivmm.h"

#define AT     0x100000UL
#define BEFORE 0x100UL
#define STATUS 0x8d5 /* flags */

GUEST(guest, 64,
      "mov $0x100000, %ebx; mov $5, %ecx; mov $7, %edx; mov $9, %esi\n"
      "xadd %rcx, (%rbx)\n"
      "add %rdx, 8(%rbx)\n"
      "lock xadd %rdx, 16(%rbx)\n"
      "xchg %rsi, 24(%rbx)\n"
      "xor %eax, %eax; cmpxchg %rbx, 32(%rbx); pushf; pop %r9\n"
      "subq $0x100, 40(%rbx); pushf; pop %r10\n"
      "hlt");

static struct minivmm v;
static unsigned writes;

static void slot(unsigned n, uint64_t at, uint64_t size, unsigned flags)
{
	struct kvm_userspace_memory_region m = {n, flags, at, size, (uint64_t)v.mem + at};

	EXPECT(!ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, &m), "slot %u", n);
}

static uint64_t memory(unsigned n)
{
	uint64_t value;

	memcpy(&value, v.mem + AT + 8 * n, sizeof(value));
	return value;
}

static void run(void)
{
	int reason;

	while ((reason = minivmm_run(&v)) == KVM_EXIT_MMIO) {
		EXPECT(v.run->mmio.is_write, "the device was read");
		memcpy(v.mem + v.run->mmio.phys_addr, v.run->mmio.data, v.run->mmio.len);
		writes++;
	}
	EXPECT(reason == KVM_EXIT_HLT, "exit %s", minivmm_exit_name(reason));
}

int main(void)
{
	const uint64_t before[] = {BEFORE, BEFORE, BEFORE, BEFORE, 0, BEFORE};
	struct kvm_regs regs;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, guest);
	memcpy(v.mem + AT, before, sizeof(before));
	slot(0, 0, 0, 0);
	slot(0, 0, AT, 0);
	slot(1, AT, 0x4000, KVM_MEM_READONLY);
	run();
	minivmm_get_regs(&v, &regs);
	EXPECT(writes == 6, "%u writes", writes);
	EXPECT(regs.rcx == BEFORE && memory(0) == BEFORE + 5, "XADD: %llx %lx", regs.rcx, memory(0));
	EXPECT(memory(1) == BEFORE + 7, "ADD: %lx", memory(1));
	EXPECT(regs.rdx == BEFORE && memory(2) == BEFORE + 7, "LOCK XADD: %llx %lx", regs.rdx, memory(2));
	EXPECT(regs.rsi == BEFORE && memory(3) == 9, "XCHG: %llx %lx", regs.rsi, memory(3));
	EXPECT(!regs.rax && (regs.r9 & STATUS) == 0x44 && memory(4) == AT, "CMPXCHG: %llx %llx %lx", regs.rax, regs.r9,
	       memory(4));
	EXPECT((regs.r10 & STATUS) == 0x44 && !memory(5), "SUB: %llx %lx", regs.r10, memory(5));
	return 0;
}
