/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/spaces.c: a jump leads where its own address space says. Two spaces, each with a PCID, share a
 * page of code that calls into the next page, which is another one in each. The guest takes turns between
 * them with what their PCIDs have kept, and now and then changes a mapping and tells so in one of the ways
 * that there are. Both in the lower half and in the upper one, where a kernel's code lies.
 */
#include <string.h>
#include <sys/ioctl.h>
#include "minivmm.h"

#define ROUNDS	   2000 /* of TURNS each, and a change behind them */
#define TURNS	   40	/* enough for the code to be translated */
#define WAYS	   5	/* to tell of a change */
#define CR4_PCIDE  (1u << 17)
#define NOFLUSH	   (1ull << 63)
#define SHARED_LA  0x40000000ull
#define UPPER_HALF 0xffff800000000000ull

/* Guest-physical, each with its page. */
#define PML4(space) (0x100000u + (space) * 0x4000u)
#define PDPT(space) (0x101000u + (space) * 0x4000u)
#define PD(space)   (0x102000u + (space) * 0x4000u)
#define PT(space)   (0x103000u + (space) * 0x4000u)
#define SHARED	    0x110000u
#define TARGET(n)   (0x111000u + (n) * 0x1000u)
#define DESCRIPTOR  0x120000u /* INVPCID's: PCID, address */

/*
 * R10, R11: CR3 for the one space and the other, R15: the latter without what it kept; R12: the code; R8, R9:
 * what it returns in each, R13: and after the next change; RDI: the entry of the other space's table that is
 * changed to RSI, and RDX then; RBX: rounds, RBP: TURNS, R14: INVPCID's descriptor.
 */
GUEST(turns, 64,
      "1: mov %rbp, %rcx\n"
      "2: mov %r10, %cr3\n call *%r12\n cmp %eax, %r8d\n jne 9f\n"
      "mov %r11, %cr3\n call *%r12\n cmp %eax, %r9d\n jne 9f\n"
      "dec %rcx\n jnz 2b\n"
      "xchg %rsi, %rdx\n xchg %r9, %r13\n mov %rsi, (%rdi)\n"
      "push %rdx\n mov %ebx, %eax\n xor %edx, %edx\n mov $5, %ecx\n div %ecx\n mov %edx, %ecx\n pop %rdx\n"
      "cmp $1, %ecx\n jb 3f\n je 4f\n cmp $3, %ecx\n jb 5f\n je 6f\n"
      /* of all spaces, from the first one */
      "mov %r10, %cr3\n mov $3, %eax\n invpcid (%r14), %rax\n jmp 8f\n"
      /* of the address, from the other space */
      "3: mov %r10, %cr3\n xor %eax, %eax\n invpcid (%r14), %rax\n jmp 8f\n"
      /* of the space */
      "4: mov %r10, %cr3\n mov $1, %eax\n invpcid (%r14), %rax\n jmp 8f\n"
      /* it is entered without what it kept */
      "5: mov %r15, %cr3\n jmp 8f\n"
      /* in the space itself */
      "6: mov %r11, %cr3\n mov 8(%r14), %rax\n invlpg (%rax)\n"
      "8: dec %rbx\n jnz 1b\n xor %eax, %eax\n hlt\n"
      "9: mov $1, %eax\n hlt\n");

static struct minivmm v;

static uint64_t *table(uint32_t gpa)
{
	return (uint64_t *)(v.mem + gpa);
}

/* `mov $what, %eax; ret' */
static void put_target(unsigned n, uint32_t what)
{
	uint8_t code[] = {0xb8, 0, 0, 0, 0, 0xc3};

	memcpy(code + 1, &what, sizeof(what));
	memcpy(v.mem + TARGET(n), code, sizeof(code));
}

static void make_space(unsigned space)
{
	uint64_t *pml4 = table(PML4(space)), *pdpt = table(PDPT(space)), *pt = table(PT(space));

	pml4[0] = pml4[256] = PDPT(space) | 3;
	pdpt[0] = table(MINIVMM_PML4 + 0x1000)[0]; /* the first GiB, as minivmm maps it */
	pdpt[1] = PD(space) | 3;
	table(PD(space))[0] = PT(space) | 3;
	pt[0] = SHARED | 3;
	pt[1] = TARGET(space) | 3;
}

static void take_turns(uint64_t base)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	minivmm_load(&v, MINIVMM_LONG, turns);
	for (unsigned space = 0; space < 2; space++)
		make_space(space);
	table(DESCRIPTOR)[0] = 2;
	table(DESCRIPTOR)[1] = base + SHARED_LA + 0x1000;
	minivmm_get_sregs(&v, &s);
	s.cr3 = PML4(0) | 1;
	s.cr4 |= CR4_PCIDE;
	minivmm_set_sregs(&v, &s);
	minivmm_get_regs(&v, &r);
	r.r10 = PML4(0) | 1 | NOFLUSH;
	r.r11 = PML4(1) | 2 | NOFLUSH;
	r.r15 = PML4(1) | 2;
	r.r12 = base + SHARED_LA;
	r.r8 = 100;
	r.r9 = 101;
	r.r13 = 102;
	r.rdi = PT(1) + 8;
	r.rsi = TARGET(1) | 3;
	r.rdx = TARGET(2) | 3;
	r.rbx = ROUNDS;
	r.rbp = TURNS;
	r.r14 = DESCRIPTOR;
	minivmm_set_regs(&v, &r);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	minivmm_get_regs(&v, &r);
	EXPECT(!r.rax, "from %llx: a call went elsewhere, %llu rounds before the end, told in way %llu",
	       (unsigned long long)base, r.rbx, r.rbx % WAYS);
}

static void set_cpuid(void)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[256];
	} cpuid = {.head.nent = 256};

	EXPECT(!ioctl(v.kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "KVM_GET_SUPPORTED_CPUID");
	EXPECT(!ioctl(v.vcpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
}

int main(void)
{
	static const uint8_t call[] = {0xe8, 0xfb, 0x0f, 0, 0, 0xc3}; /* into the next page; ret */

	minivmm_create(&v);
	set_cpuid();
	memcpy(v.mem + SHARED, call, sizeof(call));
	for (unsigned n = 0; n < 3; n++)
		put_target(n, 100 + n);
	take_turns(0);
	take_turns(UPPER_HALF);
	minivmm_destroy(&v);
	return 0;
}
