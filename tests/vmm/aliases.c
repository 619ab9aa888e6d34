/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/aliases.c: the same bytes of code at several linear addresses, as a library is that each program has elsewhere.
 * What an instruction takes from its own address is right at each of them, however often the others were executed.
 */
#include "minivmm.h"

#define ALIASES 4
#define APART	(1ULL << 30) /* from one to the next */
#define TURNS	40	     /* of each: enough for it to be translated */

/*
 * Addresses and data by RIP, an XMM register's too; branches both ways and by RCX; a call;
 * more instructions than a block has. RDI counts what was passed
 * by, and the memory what was run.
 */
GUEST(anywhere, 64,
      "xor %edi, %edi\n lea 9f(%rip), %rbx\n mov 9f(%rip), %rdx\n incq 9f(%rip)\n cmp %rdx, (%rbx)\n je 2f\n"
      "add $1, %rdi\n jmp 3f\n"
      "2: add $100, %rdi\n"
      "3: mov $3, %ecx\n"
      "4: add $10, %rdi\n loop 4b\n jrcxz 5f\n add $1000, %rdi\n"
      "5: call 6f\n lea 7f(%rip), %rsi\n .rept 100\n inc %rdi\n .endr\n"
      "7: hlt\n"
      "6: mov (%rsp), %r10\n movaps 8f(%rip), %xmm0\n movq %xmm0, %r9\n lock incq 9f+8(%rip)\n cmpl $7, 8f+8(%rip)\n"
      "jne 2b\n ret\n"
      ".org guest_anywhere + 0x1000\n"
      "8: .quad 0x1122334455667788, 7\n 9: .quad 5, 0\n");

static struct minivmm v;

/* The identity mapping of the first GiB, again above it. */
static void map_aliases(void)
{
	uint64_t *pdpt = (uint64_t *)(v.mem + MINIVMM_PML4 + 0x1000);

	for (unsigned i = 1; i < ALIASES; i++)
		pdpt[i] = pdpt[0];
}

static struct kvm_regs run_at(uint64_t base)
{
	struct kvm_regs r;

	minivmm_get_regs(&v, &r);
	r.rip = base + MINIVMM_CODE;
	r.rsp = MINIVMM_STACK;
	minivmm_set_regs(&v, &r);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	minivmm_get_regs(&v, &r);
	return r;
}

int main(void)
{
	struct kvm_sregs s;
	struct kvm_regs first;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, anywhere);
	map_aliases();
	minivmm_get_sregs(&v, &s);
	s.cr4 |= 1 << 9; /* OSFXSR */
	minivmm_set_sregs(&v, &s);
	first = run_at(0);
	EXPECT(first.rbx == MINIVMM_CODE + 0x1010 && first.rdx == 5 && first.rdi == 131 && first.r9 == 0x1122334455667788,
	       "at first: rbx %llx, rdx %llx, rdi %lld, r9 %llx", first.rbx, first.rdx, first.rdi, first.r9);
	for (uint64_t n = 1; n < TURNS * ALIASES; n++) {
		uint64_t base = n % ALIASES * APART;
		struct kvm_regs r = run_at(base);

		EXPECT(r.rbx == first.rbx + base && r.r10 == first.r10 + base && r.rsi == first.rsi + base &&
			       r.rip == first.rip + base,
		       "at %lx: rbx %llx, r10 %llx, rsi %llx, rip %llx", base, r.rbx, r.r10, r.rsi, r.rip);
		EXPECT(r.rdi == first.rdi && r.rdx == first.rdx + n && r.r9 == first.r9,
		       "at %lx: rdi %lld, rdx %lld, r9 %llx", base, r.rdi, r.rdx, r.r9);
	}
	minivmm_destroy(&v);
	return 0;
}
