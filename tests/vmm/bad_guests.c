/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/bad_guests.c: guests that end badly give the VMM KVM's own exit, and the VMM lives:
 * after each, a healthy guest runs in the same process.
 */
#include "minivmm.h"
#include <string.h>
#include <sys/ioctl.h>

GUEST(healthy, 64, "mov $42, %al\n out %al, $0x10\n hlt");
/* With an IDT of limit 0 the first exception becomes a double, then a triple fault. */
GUEST(breakpoint16, 16, "int3");
GUEST(undefined32, 32, "ud2");
GUEST(undefined64, 64, "ud2");
GUEST(divides64, 64, "xor %ecx, %ecx\n div %ecx");
/* A double fault handler that faults in its turn: the stack is not canonical. */
GUEST(no_stack64, 64, "movabs $0x8000000000000000, %rsp\n push %rax");
/* Page tables that map nothing. */
GUEST(no_tables64, 64, "xor %eax, %eax\n mov $0x10000, %eax\n mov %rax, %cr3\n nop");
/* Off into guest-physical addresses that have no memslot. */
GUEST(jumps_away32, 32, "mov $0x300000, %eax\n jmp *%eax");
GUEST(jumps_away64, 64, "mov $0x300000, %eax\n jmp *%rax");
/* What no x86 has, and what this one does not announce. The handler reports and halts. */
GUEST(vmxon64, 64, "vmxon 0x6000\n hlt\n .balign 16\n mov $1, %al\n out %al, $0x10\n hlt");
GUEST(undefined_handled64, 64,
      "ud0 %eax, %eax\n hlt\n .balign 16\n mov $1, %al\n out %al, $0x10\n hlt");
GUEST(bad_msr64, 64,
      "mov $0x12345678, %ecx\n rdmsr\n hlt\n .balign 16\n mov $1, %al\n"
      "out %al, $0x10\n hlt");
/* An AES round with its operand in a device: KVM's emulator gives up on that, userkvm may not. */
GUEST(aes_on_device64, 64,
      "mov %cr4, %rax\n or $0x600, %eax\n mov %rax, %cr4\n"
      "aesenc 0x300000, %xmm0\n hlt");

static void vmm_lives(void)
{
	struct minivmm v;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, healthy);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	EXPECT(((uint8_t *)v.run)[v.run->io.data_offset] == 42, "data of the port");
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	minivmm_destroy(&v);
}

static void ends(const char *name, enum minivmm_mode mode, struct guest_code code, int reason)
{
	struct minivmm v;
	struct kvm_regs r;

	minivmm_create(&v);
	minivmm_load(&v, mode, code);
	EXPECT_EXIT(&v, reason);
	if (reason == KVM_EXIT_INTERNAL_ERROR)
		EXPECT(v.run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION, "suberror %u",
		       v.run->internal.suberror);
	/* The vCPU can still be looked at, as QEMU does to print its registers. */
	minivmm_get_regs(&v, &r);
	minivmm_destroy(&v);
	vmm_lives();
	printf("ok %s: %s\n", name, minivmm_exit_name(reason));
}

static void reads_or_gives_up(const char *name, struct guest_code code)
{
	struct minivmm v;
	int reason;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, code);
	while ((reason = minivmm_run(&v)) == KVM_EXIT_MMIO)
		EXPECT(v.run->mmio.phys_addr - MINIVMM_HOLE < 16 && !v.run->mmio.is_write,
		       "at %llx", v.run->mmio.phys_addr);
	EXPECT(reason == KVM_EXIT_INTERNAL_ERROR || reason == KVM_EXIT_HLT, "exit %s",
	       minivmm_exit_name(reason));
	minivmm_destroy(&v);
	vmm_lives();
	printf("ok %s: %s\n", name, minivmm_exit_name(reason));
}

static void faults(const char *name, struct guest_code code, unsigned vector)
{
	struct minivmm v;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, code);
	minivmm_set_gate(&v, MINIVMM_LONG, vector, 16);
	EXPECT_EXIT(&v, KVM_EXIT_IO);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	minivmm_destroy(&v);
	printf("ok %s: the guest's own handler\n", name);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	vmm_lives();
	ends("int3 in real mode", MINIVMM_REAL, breakpoint16, KVM_EXIT_SHUTDOWN);
	ends("ud2 in protected mode", MINIVMM_PROT, undefined32, KVM_EXIT_SHUTDOWN);
	ends("ud2 in long mode", MINIVMM_LONG, undefined64, KVM_EXIT_SHUTDOWN);
	ends("division by zero", MINIVMM_LONG, divides64, KVM_EXIT_SHUTDOWN);
	ends("a stack that is not canonical", MINIVMM_LONG, no_stack64, KVM_EXIT_SHUTDOWN);
	ends("empty page tables", MINIVMM_LONG, no_tables64, KVM_EXIT_SHUTDOWN);
	ends("a jump to nothing, protected mode", MINIVMM_PROT, jumps_away32,
	     KVM_EXIT_INTERNAL_ERROR);
	ends("a jump to nothing, long mode", MINIVMM_LONG, jumps_away64,
	     KVM_EXIT_INTERNAL_ERROR);
	reads_or_gives_up("aesenc on a device", aes_on_device64);
	faults("vmxon without VMX", vmxon64, 6);
	faults("an undefined instruction", undefined_handled64, 6);
	faults("an MSR that is not there", bad_msr64, 13);
	return 0;
}
