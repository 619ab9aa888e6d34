/* SPDX-License-Identifier: MIT */
/* tests/bare/exceptions.c: which exception, with which error code, and which one first (SDM
 * vol. 3, 6.9, 6.15; vol. 2 for each instruction). */
#include "bare.h"

#define NON_CANONICAL 0x8000000000000000ULL

TEST(divide_errors)
{
	u64 rax = 1, rdx = 0;

	TRY("div %[d]", ("+a"(rax), "+d"(rdx)), ([d] "r"(0UL)));
	CHECK_FAULT(DE, 0);
	CHECK(rax == 1 && rdx == 0);
	rdx = 5; /* the quotient does not fit */
	TRY("div %[d]", ("+a"(rax), "+d"(rdx)), ([d] "r"(5UL)));
	CHECK_FAULT(DE, 0);
	rax = BIT(63), rdx = ~0ULL; /* the smallest number by -1 */
	TRY("idiv %[d]", ("+a"(rax), "+d"(rdx)), ([d] "r"(-1L)));
	CHECK_FAULT(DE, 0);
}

TEST(undefined_opcodes)
{
	u64 rax = 0;

	TRY("ud2", (), ());
	CHECK_FAULT(UD, 0);
	TRY(".byte 0x06", (), ()); /* push es */
	CHECK_FAULT(UD, 0);
	TRY(".byte 0x27", (), ()); /* daa */
	CHECK_FAULT(UD, 0);
	TRY(".byte 0xce", (), ()); /* into */
	CHECK_FAULT(UD, 0);
	TRY(".byte 0xd5, 0x0a", (), ()); /* aad */
	CHECK_FAULT(UD, 0);
	TRY(".byte 0x9a, 0, 0, 0, 0, 0, 0", (), ()); /* far call, direct */
	CHECK_FAULT(UD, 0);
	TRY(".byte 0x0f, 0x0b", (), ());
	CHECK_FAULT(UD, 0);
	TRY(".byte 0x0f, 0xff, 0xc0", (), ()); /* ud0 */
	CHECK_FAULT(UD, 0);
	TRY(".byte 0xf0; add %%rax, %%rax", ("+a"(rax)), ()); /* lock on a register */
	CHECK_FAULT(UD, 0);
	TRY(".byte 0x8e, 0xc8", ("+a"(rax)), ()); /* mov cs, eax */
	CHECK_FAULT(UD, 0);
	TRY(".byte 0x0f, 0x20, 0xc8", ("+a"(rax)), ()); /* mov rax, cr1 */
	CHECK_FAULT(UD, 0);
	TRY(".byte 0x8d, 0xc0", ("+a"(rax)), ()); /* lea of a register */
	CHECK_FAULT(UD, 0);
}

/* LOCK is for certain instructions with a memory destination only (vol. 2, LOCK). */
TEST(undefined_locks)
{
	u8 *p = page_pool[0];

	TRY(".byte 0xf0; mov %%eax, (%[p])", (), ([p] "r"(p)));
	CHECK_FAULT(UD, 0);
	TRY(".byte 0xf0; cmpl $0, (%[p])", (), ([p] "r"(p)));
	CHECK_FAULT(UD, 0);
	TRY(".byte 0xf0; add (%[p]), %%eax", (), ([p] "r"(p)), "rax");
	CHECK_FAULT(UD, 0);
	TRY(".byte 0xf0; shll $1, (%[p])", (), ([p] "r"(p)));
	CHECK_FAULT(UD, 0);
	TRY(".byte 0xf0; nop", (), ());
	CHECK_FAULT(UD, 0);
	TRY(".byte 0xf0; addl $0, (%[p])", (), ([p] "r"(p)));
	CHECK_NONE();
}

/* More than 15 bytes: #GP(0), whatever the instruction. */
TEST(instruction_too_long)
{
	TRY(".fill 14, 1, 0x66\n nop", (), ());
	CHECK_NONE();
	TRY(".fill 15, 1, 0x66\n nop", (), ());
	CHECK_FAULT(GP, 0);
}

TEST(non_canonical_addresses)
{
	u64 rax = NON_CANONICAL;

	TRY("mov (%%rax), %%rcx", ("+a"(rax)), (), "rcx");
	CHECK_FAULT(GP, 0);
	TRY("mov %%rcx, (%%rax)", ("+a"(rax)), (), "rcx");
	CHECK_FAULT(GP, 0);
	/* RSP or RBP as the base: the stack segment's fault, taken on a stack of its own. */
	idt[SS].flags |= 1;
	idt[GP].flags |= 1;
	TRY("mov %%rax, %%rsp\n mov (%%rsp), %%rdx", ("+a"(rax)), (), "rdx");
	CHECK_FAULT(SS, 0);
	TRY("mov %%rax, %%rsp\n push %%rcx", ("+a"(rax)), ());
	CHECK_FAULT(SS, 0);
	/* Whatever a TLB keeps of linear addresses it must not take one of these for another. */
	for (u64 page = 0; page < 1024; page++) {
		u64 high = 3ULL << 62 | page << 12;

		TRY("mov (%[p]), %%rcx", (), ([p] "r"(high)), "rcx");
		CHECK_FAULT(GP, 0);
		TRY("addl $1, (%[p])", (), ([p] "r"(high)));
		CHECK_FAULT(GP, 0);
	}
	idt[SS].flags &= ~7;
	idt[GP].flags &= ~7;
	TRY("jmp *%%rax", ("+a"(rax)), ());
	CHECK_FAULT(GP, 0);
	CHECK(caught.rip != rax, "a jump's target is checked at the jump");
}

TEST(device_not_available)
{
	u64 cr0 = read_cr0();

	write_cr0((cr0 & ~(u64)(CR0_EM | CR0_MP)) | CR0_TS);
	TRY("fld1", (), ());
	CHECK_FAULT(NM, 0);
	TRY("fwait", (), ()); /* only with MP */
	CHECK_NONE();
	write_cr0(read_cr0() | CR0_MP);
	TRY("fwait", (), ());
	CHECK_FAULT(NM, 0);
	write_cr4(read_cr4() | CR4_OSFXSR);
	TRY("xorps %%xmm0, %%xmm0", (), ());
	CHECK_FAULT(NM, 0);
	write_cr0((cr0 & ~(u64)CR0_TS) | CR0_EM);
	TRY("fld1", (), ());
	CHECK_FAULT(NM, 0);
	TRY("xorps %%xmm0, %%xmm0", (), ());
	CHECK_FAULT(UD, 0);
	TRY("movq %%mm0, %%mm1", (), ());
	CHECK_FAULT(UD, 0);
	TRY("clts", (), ());
	CHECK_NONE();
	write_cr0(cr0);
}

TEST(sse_without_osfxsr)
{
	u64 cr4 = read_cr4();

	write_cr0(read_cr0() & ~(u64)(CR0_EM | CR0_TS));
	write_cr4(cr4 & ~(u64)CR4_OSFXSR);
	TRY("xorps %%xmm0, %%xmm0", (), ());
	CHECK_FAULT(UD, 0);
	write_cr4(cr4 | CR4_OSFXSR);
	TRY("xorps %%xmm0, %%xmm0", (), ());
	CHECK_NONE();
	TRY(".byte 0xc5, 0xfc, 0x57, 0xc0", (), ()); /* vxorps ymm without OSXSAVE */
	CHECK_FAULT(UD, 0);
	TRY("xor %%ecx, %%ecx\n xgetbv", (), (), "rax", "rcx", "rdx");
	CHECK_FAULT(UD, 0);
}

TEST(sse_alignment)
{
	write_cr0(read_cr0() & ~(u64)(CR0_EM | CR0_TS));
	write_cr4(read_cr4() | CR4_OSFXSR);
	TRY("movaps (%[p]), %%xmm0", (), ([p] "r"(page_pool[0] + 8)));
	CHECK_FAULT(GP, 0);
	TRY("movups (%[p]), %%xmm0", (), ([p] "r"(page_pool[0] + 8)));
	CHECK_NONE();
	TRY("fxsave (%[p])", (), ([p] "r"(page_pool[0] + 8)));
	CHECK_FAULT(GP, 0);
}

TEST(simd_exceptions)
{
	u32 unmasked = 0x1f80 & ~(1u << 9), normal = 0x1f80; /* ZM: division by zero */

	write_cr0(read_cr0() & ~(u64)(CR0_EM | CR0_TS));
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	asm volatile("ldmxcsr %0" : : "m"(unmasked));
	TRY("xorps %%xmm0, %%xmm0\n mov $1, %%eax\n cvtsi2ss %%eax, %%xmm1\n divss %%xmm0, "
	    "%%xmm1",
	    (), (), "rax");
	CHECK_FAULT(XM, 0);
	asm volatile("ldmxcsr %0" : : "m"(unmasked));
	write_cr4(read_cr4() & ~(u64)CR4_OSXMMEXCPT);
	TRY("xorps %%xmm0, %%xmm0\n mov $1, %%eax\n cvtsi2ss %%eax, %%xmm1\n divss %%xmm0, "
	    "%%xmm1",
	    (), (), "rax");
	CHECK_FAULT(UD, 0);
	asm volatile("ldmxcsr %0" : : "m"(normal));
	unmasked = 0x10000; /* a reserved bit */
	TRY("ldmxcsr %[m]", (), ([m] "m"(unmasked)));
	CHECK_FAULT(GP, 0);
}

/* An unmasked x87 exception is taken at the next waiting instruction. */
TEST(x87_exceptions)
{
	u16 control = 0x37f & ~4; /* ZM */

	write_cr0((read_cr0() & ~(u64)(CR0_EM | CR0_TS)) | CR0_NE);
	TRY("fninit\n fldcw %[c]\n fld1\n fldz\n fdivrp\n nop\n fnstsw %%ax\n fwait", (),
	    ([c] "m"(control)), "rax");
	CHECK_FAULT(MF, 0);
	CHECK((caught.rax & 0x84) == 0x84, "status %lx", caught.rax & 0xffff);
	asm volatile("fninit");
}

SNIPPET(user_unaligned, "mov 1(%rsp), %eax");

/* #AC only at CPL 3, with both AM and AC. */
TEST(alignment_check)
{
	u64 rip = user_code(512, 1, user_unaligned, user_unaligned_end);
	u64 cr0 = read_cr0();

	write_cr0(cr0 | CR0_AM);
	run_user(rip, 0, 0, FLAG_AC);
	CHECK_FAULT(AC, 0);
	run_user(rip, 0, 0, 0);
	CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
	write_cr0(cr0 & ~(u64)CR0_AM);
	run_user(rip, 0, 0, FLAG_AC);
	CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
	write_cr0(cr0 | CR0_AM);
	TRY("pushfq\n orl $0x40000, (%%rsp)\n popfq\n mov 1(%%rsp), %%eax\n pushfq\n"
	    "andl $~0x40000, (%%rsp)\n popfq",
	    (), (), "rax");
	CHECK_NONE();
}

SNIPPET(user_hlt, "hlt");
SNIPPET(user_cli, "cli");
SNIPPET(user_in, "in $0x71, %al");
SNIPPET(user_cr0, "mov %cr0, %rax");
SNIPPET(user_wrmsr, "xor %ecx, %ecx\n wrmsr");
SNIPPET(user_lgdt, "lgdt (%rsp)");
SNIPPET(user_sgdt, "sgdt -32(%rsp)");
SNIPPET(user_smsw, "smsw %eax");
SNIPPET(user_rdtsc, "rdtsc");
SNIPPET(user_rdpmc, "xor %ecx, %ecx\n rdpmc");
SNIPPET(user_invlpg, "invlpg (%rsp)");
SNIPPET(user_clts, "clts");
SNIPPET(user_dr, "mov %dr7, %rax");
SNIPPET(user_popf, "pushq $0x3202\n popfq\n pushfq\n pop %rax");
SNIPPET(user_swapgs, "swapgs");
SNIPPET(user_sysret, "sysretq");
SNIPPET(user_int13, "int $13");
SNIPPET(user_int3, "int3");

static void privileged(const u8 *start, const u8 *end, const char *name)
{
	run_user(user_code(512, 1, start, end), 0, 0, 0);
	CHECK(caught.vector == GP && caught.error == 0, "%s: vector %d error %x", name,
	      (int)caught.vector, (u32)caught.error);
}
#define PRIVILEGED(name) privileged(name, name##_end, #name)

TEST(privileged_instructions)
{
	PRIVILEGED(user_hlt);
	PRIVILEGED(user_cli);
	PRIVILEGED(user_in);
	PRIVILEGED(user_cr0);
	PRIVILEGED(user_wrmsr);
	PRIVILEGED(user_lgdt);
	PRIVILEGED(user_invlpg);
	PRIVILEGED(user_clts);
	PRIVILEGED(user_dr);
	PRIVILEGED(user_swapgs);
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1); /* SCE, without which SYSRET is undefined */
	PRIVILEGED(user_sysret);
	PRIVILEGED(user_rdpmc);
	write_cr4(read_cr4() | CR4_TSD);
	PRIVILEGED(user_rdtsc);
	write_cr4(read_cr4() & ~(u64)CR4_TSD);
	run_user(user_code(512, 1, user_rdtsc, user_rdtsc_end), 0, 0, 0);
	CHECK(caught.vector == VEC_DONE, "rdtsc: vector %d", (int)caught.vector);
}

TEST(umip)
{
	if (!has.umip)
		return skip("no UMIP");
	write_cr4(read_cr4() | CR4_UMIP);
	PRIVILEGED(user_sgdt);
	PRIVILEGED(user_smsw);
	write_cr4(read_cr4() & ~(u64)CR4_UMIP);
	run_user(user_code(512, 1, user_sgdt, user_sgdt_end), 0, 0, 0);
	CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
}

/* POPF at CPL 3 changes neither IF nor IOPL, and does not fault. */
TEST(user_popf)
{
	run_user(user_code(512, 1, user_popf, user_popf_end), 0, 0, 0);
	CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
	CHECK(!(caught.rax & 0x3200), "flags %lx", caught.rax);
}

/* The ports of the TSS's bitmap. */
TEST(io_bitmap)
{
	u64 rip = user_code(512, 1, user_in, user_in_end);

	tss.iomap = offsetof(struct tss, io);
	memset(tss.io, 0xff, sizeof(tss.io));
	run_user(rip, 0, 0, 0);
	CHECK_FAULT(GP, 0);
	tss.io[0x71 / 8] &= ~(1 << (0x71 % 8));
	run_user(rip, 0, 0, 0);
	CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
	tss.iomap = sizeof(tss);
	run_user(rip, 0, 0, 0x3000); /* IOPL 3 needs no bitmap */
	CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
}

/* ---- gates (SDM vol. 3, 6.12) */

static void with_gate(unsigned vector, struct gate gate, const u8 *start, const u8 *end)
{
	struct gate old = idt[vector];

	idt[vector] = gate;
	if (start)
		run_user(user_code(512, 1, start, end), 0, 0, 0);
	else
		TRY("ud2", (), ());
	idt[vector] = old;
}

TEST(gate_privilege)
{
	/* INT n through a gate of DPL 0: the selector error code with the IDT bit. */
	with_gate(GP, idt[GP], user_int13, user_int13_end);
	CHECK_FAULT(GP, 13 * 8 + 2);
	with_gate(BP, idt[BP], user_int3, user_int3_end);
	CHECK(caught.vector == BP, "vector %d", (int)caught.vector);
	TRY("int $13", (), ());
	CHECK(caught.vector == GP, "vector %d", (int)caught.vector);
}

TEST(gate_faults)
{
	struct gate gate = idt[UD];

	gate.flags &= 0x7fff; /* not present; the exception is the processor's own: EXT */
	with_gate(UD, gate, NULL, NULL);
	CHECK_FAULT(NP, UD * 8 + 3);
	gate = idt[UD];
	gate.flags = 0x8200; /* an LDT is no gate */
	with_gate(UD, gate, NULL, NULL);
	CHECK_FAULT(GP, UD * 8 + 3);
	gate = idt[UD];
	gate.selector = 0;
	with_gate(UD, gate, NULL, NULL);
	CHECK_FAULT(GP, 1);
	gate.selector = SEL_DATA;
	with_gate(UD, gate, NULL, NULL);
	CHECK_FAULT(GP, SEL_DATA | 1);
	gate.selector = SEL_CODE32; /* not a 64-bit segment */
	with_gate(UD, gate, NULL, NULL);
	CHECK_FAULT(GP, SEL_CODE32 | 1);
	gate.selector = 0x200; /* beyond the GDT */
	with_gate(UD, gate, NULL, NULL);
	CHECK_FAULT(GP, 0x201);
}

TEST(gate_beyond_the_limit)
{
	struct table_pointer normal = {sizeof(idt) - 1, (u64)idt},
			     small = {0x80 * 16 - 1, (u64)idt};

	asm volatile("lidt %0" : : "m"(small));
	TRY("int $0x80", (), ());
	asm volatile("lidt %0" : : "m"(normal));
	CHECK_FAULT(GP, 0x80 * 8 + 2);
}

/* An interrupt gate clears IF, a trap gate leaves it; both clear TF, NT and RF. */
TEST(gate_interrupt_flag)
{
	static volatile u64 flags;
	struct gate old = idt[VEC_FREE];
	void *handler;

	asm volatile("lea 1f(%%rip), %0\n jmp 2f\n 1: pushfq\n popq %1\n iretq\n 2:"
		     : "=r"(handler), "=m"(flags));
	for (unsigned trap = 0; trap < 2; trap++) {
		set_gate(&idt[VEC_FREE], handler, SEL_CODE64, trap ? GATE_TRAP : GATE_INT);
		asm volatile("pushfq\n orl $0x4200, (%%rsp)\n popfq\n int $0xa0\n pushfq\n"
			     "andl $~0x4200, (%%rsp)\n popfq"
			     :
			     :
			     : "memory", "cc");
		CHECK(!!(flags & FLAG_IF) == trap, "flags %lx", flags);
		CHECK(!(flags & (FLAG_TF | FLAG_NT)), "flags %lx", flags);
	}
	idt[VEC_FREE] = old;
}

/* ---- double faults (SDM vol. 3, table 6-5) */

TEST(double_fault)
{
	struct gate ud = idt[UD], gp = idt[GP], pf = idt[PF], np = idt[NP];
	u64 rax = NON_CANONICAL;

	/* Contributory on contributory. */
	idt[GP].flags &= 0x7fff;
	TRY("mov (%%rax), %%rcx", ("+a"(rax)), (), "rcx");
	CHECK_FAULT(DF, 0);
	/* Page fault, then contributory. */
	idt[PF].flags &= 0x7fff;
	TRY("mov (%[p]), %%rcx", (), ([p] "r"(window(3))), "rcx");
	CHECK_FAULT(DF, 0);
	idt[GP] = gp;
	idt[PF] = pf;
	/* Benign, then contributory: the second is simply taken. */
	idt[UD].flags &= 0x7fff;
	TRY("ud2", (), ());
	CHECK_FAULT(NP, UD * 8 + 3);
	/* Benign, then two contributory. */
	idt[NP].flags &= 0x7fff;
	TRY("ud2", (), ());
	CHECK_FAULT(DF, 0);
	idt[UD] = ud;
	idt[NP] = np;
	/* A page fault on a stack that faults. */
	TRY("mov %[bad], %%rsp\n mov (%[p]), %%rcx", (),
	    ([p] "r"(window(3)), [bad] "r"(window(2))), "rcx");
	CHECK_FAULT(DF, 0);
	CHECK(caught.cr2 == (u64)window(2) - 8, "cr2 %lx", caught.cr2);
}

/* The stack of a gate with an IST is aligned down to 16 bytes. */
TEST(interrupt_stack_table)
{
	idt[UD].flags |= 1;
	tss.ist[0] -= 8;
	TRY("ud2", (), ());
	tss.ist[0] += 8;
	idt[UD].flags &= ~7;
	CHECK(caught.vector == UD, "vector %d", (int)caught.vector);
	CHECK(caught.rsp == catch_rsp, "rsp %lx", caught.rsp);
}
