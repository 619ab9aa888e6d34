/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy/v86.c: virtual-8086 mode, its monitor's view and VME (SDM vol. 3, 20.2 to
 * 20.3). The program lies at LOW, below 1 MiB, its stack ends at LOW_STACK. */
#include "bare32.h"

enum { LOW = 0x8000, LOW_CS = LOW >> 4, LOW_STACK = 0x9000, REDIRECTION = 32 };

/* Run 16-bit code in virtual-8086 mode. */
static void v86_entry(const u8 *start, const u8 *end, u32 eflags)
{
	memcpy((void *)LOW, start, addr(end) - addr(start));
	entry = (struct entry){.eip = 0,
			       .cs = LOW_CS,
			       .eflags = 2 | FLAG_VM | eflags,
			       .esp = LOW_STACK,
			       .ss = 0,
			       .ves = 0x1111,
			       .vds = 0x2222,
			       .vfs = 0x3333,
			       .vgs = 0x4444};
}

static void v86(const u8 *start, const u8 *end, u32 eflags)
{
	v86_entry(start, end, eflags);
	enter();
}
#define V86(name, eflags) v86(name, name##_end, eflags)

/* INT 0x80 comes through the IDT with IOPL 3; below that it is #GP(0) at 0xcd. */
SNIPPET16(v86_registers, "movw %ds, %ax\n movw %cs, %bx\n movw %sp, %cx");
SNIPPET16(v86_hlt, "hlt");
SNIPPET16(v86_cli, "cli");
SNIPPET16(v86_sti, "sti");
SNIPPET16(v86_pushf, "pushfw\n popw %ax");
SNIPPET16(v86_pushfl, "pushfl\n popl %eax");
SNIPPET16(v86_popf, "pushw $0x7202\n popfw\n pushfw\n popw %ax");
SNIPPET16(v86_iret,
	  "pushw $0x3202\n pushw %cs\n pushw $1f - v86_iret\n iretw\n 1: pushfw\n popw %ax");
SNIPPET16(v86_int60, "int $0x60");
SNIPPET16(v86_int3, "int3");
SNIPPET16(v86_arpl, "arpl %ax, %bx");
SNIPPET16(v86_lar, "lar %ax, %bx");
SNIPPET16(v86_sldt, "sldt %ax");
SNIPPET16(v86_str, "str %ax");
SNIPPET16(v86_lldt, "lldt %ax");
SNIPPET16(v86_verr, "verr %ax");
SNIPPET16(v86_sgdt, "sgdt 0x100");
SNIPPET16(v86_smsw, "smsw %ax");
SNIPPET16(v86_lgdt, "lgdt 0x100");
SNIPPET16(v86_cr0, "movl %cr0, %eax");
SNIPPET16(v86_clts, "clts");
SNIPPET16(v86_in, "inb $0x71, %al");
SNIPPET16(v86_limit, "movl $0x10000, %ebx\n movb (%ebx), %al");
SNIPPET16(v86_limit_word, "movw $0xffff, %bx\n movw (%bx), %ax");
SNIPPET16(v86_ud, "ud2");
SNIPPET16(v86_divide, "xorw %cx, %cx\n divw %cx");
SNIPPET16(v86_far_jump,
	  "ljmp $0x801, $1f - v86_far_jump - 16\n .fill 16, 1, 0xf4\n 1: movw %cs, %bx");
SNIPPET16(v86_segment, "movw $0x900, %ax\n movw %ax, %ds\n movw $0x600d, 2\n movw $0x123, %ax\n"
		       "movw %ax, %es\n movw %es, %dx");

/* Entry by IRET, and what an exception pushes. */
TEST(v86_entry_and_exit)
{
	V86(v86_registers, IOPL(3));
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.eax & 0xffff, 0x2222);
	CHECK_IS(caught.ebx & 0xffff, LOW_CS);
	CHECK_IS(caught.ecx & 0xffff, LOW_STACK);
	CHECK(caught.eflags & FLAG_VM, "%x", caught.eflags);
	CHECK(caught.es == 0x1111 && caught.ds == 0x2222 && caught.fs == 0x3333 &&
		      caught.gs == 0x4444,
	      "%x %x %x %x", caught.es, caught.ds, caught.fs, caught.gs);
	CHECK(caught.cs == LOW_CS && caught.ss == 0 && caught.esp == LOW_STACK, "%x %x:%x",
	      caught.cs, caught.ss, caught.esp);
	CHECK_IS(caught.handler_esp, tss.esp0 - 36);
}

static bool segments_were_null;
static bool note_segments(struct frame *f)
{
	segments_were_null = !f->ds && !f->es && !f->fs && !f->gs;
	return false;
}

TEST(v86_handler_segments)
{
	interrupt_hook = note_segments;
	V86(v86_ud, IOPL(3));
	CHECK(segments_were_null);
}

TEST(v86_exceptions)
{
	V86(v86_ud, IOPL(3));
	CHECK_FAULT(UD, 0);
	CHECK(caught.eip == 0 && caught.cs == LOW_CS, "%x:%x", caught.cs, caught.eip);
	V86(v86_divide, IOPL(3));
	CHECK_FAULT(DE, 0);
	V86(v86_limit, IOPL(3));
	CHECK_FAULT(GP, 0);
	V86(v86_limit_word, IOPL(3));
	CHECK_FAULT(GP, 0);
	V86(v86_int3, 0); /* INT3 does not care for IOPL */
	CHECK_VECTOR(BP);
	CHECK_IS(caught.eip, 1);
	V86(v86_far_jump, IOPL(3));
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.ebx & 0xffff, LOW_CS + 1);
	V86(v86_segment, IOPL(3));
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(*(volatile u16 *)0x9002, 0x600d);
	CHECK_IS(caught.edx & 0xffff, 0x123);
}

#define V86_FAULTS(name, eflags, vec)                                                          \
	do {                                                                                   \
		V86(name, eflags);                                                             \
		CHECK(caught.vector == (vec) && !caught.error,                                 \
		      #name ": vector %d error %x at %x", caught.vector, caught.error,         \
		      caught.eip);                                                             \
	} while (0)

TEST(v86_undefined_and_privileged)
{
	V86_FAULTS(v86_arpl, IOPL(3), UD);
	V86_FAULTS(v86_lar, IOPL(3), UD);
	V86_FAULTS(v86_sldt, IOPL(3), UD);
	V86_FAULTS(v86_str, IOPL(3), UD);
	V86_FAULTS(v86_lldt, IOPL(3), UD);
	V86_FAULTS(v86_verr, IOPL(3), UD);
	V86_FAULTS(v86_hlt, IOPL(3), GP);
	V86_FAULTS(v86_lgdt, IOPL(3), GP);
	V86_FAULTS(v86_cr0, IOPL(3), GP);
	V86_FAULTS(v86_clts, IOPL(3), GP);
	V86_FAULTS(v86_sgdt, IOPL(3), VEC_DONE);
	V86_FAULTS(v86_smsw, IOPL(3), VEC_DONE);
}

/* IOPL below 3: CLI, STI, PUSHF, POPF, INT n and IRET are the monitor's. */
TEST(v86_iopl)
{
	for (u32 iopl = 0; iopl < 3; iopl++) {
		V86_FAULTS(v86_cli, IOPL(iopl), GP);
		V86_FAULTS(v86_sti, IOPL(iopl), GP);
		V86_FAULTS(v86_pushf, IOPL(iopl), GP);
		V86_FAULTS(v86_popf, IOPL(iopl), GP);
		V86_FAULTS(v86_iret, IOPL(iopl), GP);
		V86_FAULTS(v86_int60, IOPL(iopl), GP);
		CHECK_IS(caught.eip, 0);
	}
	V86_FAULTS(v86_cli, IOPL(3), VEC_DONE);
	CHECK(!(caught.eflags & FLAG_IF), "%x", caught.eflags);
	V86_FAULTS(v86_sti, IOPL(3), VEC_DONE);
	CHECK(caught.eflags & FLAG_IF, "%x", caught.eflags);
	V86_FAULTS(v86_pushf, IOPL(3), VEC_DONE);
	CHECK_IS(caught.eax & 0xf000, 0x3000);
	V86_FAULTS(v86_pushfl, IOPL(3), VEC_DONE);
	CHECK(!(caught.eax & (FLAG_VM | FLAG_RF)), "PUSHFD stores VM and RF clear: %x",
	      caught.eax);
	V86_FAULTS(v86_popf, IOPL(3), VEC_DONE);
	CHECK_IS(caught.eax & 0xf200, 0x7200);
	V86_FAULTS(v86_iret, IOPL(3), VEC_DONE);
	CHECK_IS(caught.eax & 0x3200, 0x3200);
}

/* I/O is the bitmap's alone, whatever IOPL. */
TEST(v86_io_bitmap)
{
	V86_FAULTS(v86_in, IOPL(3), GP);
	tss.iomap = offsetof(struct tss, io) + REDIRECTION;
	memset(tss.io, 0xff, sizeof(tss.io));
	V86_FAULTS(v86_in, IOPL(3), GP);
	tss.io[REDIRECTION + 0x71 / 8] &= ~(1 << (0x71 % 8));
	V86_FAULTS(v86_in, IOPL(3), VEC_DONE);
}

/* A gate out of V86 mode leads to level 0 or nowhere. */
TEST(v86_gate_target)
{
	set_gate(&idt[UD], (void *)LOW, SEL_UCODE, GATE_INT);
	V86(v86_ud, IOPL(3));
	CHECK_FAULT(GP, (SEL_UCODE & ~3) | 1);
	gdt[SEL_FREE / 8] = descriptor(0, 0xfffff, 0x9e, 0xc); /* conforming */
	set_gate(&idt[UD], (void *)LOW, SEL_FREE, GATE_INT);
	V86(v86_ud, IOPL(3));
	CHECK_FAULT(GP, SEL_FREE | 1);
}

/* A task whose EFLAGS has VM. */
TEST(v86_task)
{
	v86_entry(v86_registers, v86_registers_end, 0);
	tss2 = (struct tss){.eflags = 2 | FLAG_VM | IOPL(3),
			    .cs = LOW_CS,
			    .ds = 0x2222,
			    .es = 0x1111,
			    .esp = LOW_STACK,
			    .ss0 = SEL_DATA,
			    .esp0 = addr(kernel_stack) + sizeof(kernel_stack),
			    .iomap = sizeof(tss2)};
	TRY("ljmp $0x40, $0", (), (), ALL_REGISTERS);
	CHECK_VECTOR(VEC_DONE);
	CHECK(caught.eflags & FLAG_VM, "%x", caught.eflags);
	CHECK_IS(caught.tr, SEL_TSS2);
	CHECK(caught.cs == LOW_CS && caught.ds == 0x2222 && caught.es == 0x1111, "%x %x %x",
	      caught.cs, caught.ds, caught.es);
}

/* Single step goes on in V86 mode. */
TEST(v86_single_step)
{
	write_dr6(0xffff0ff0);
	V86(v86_registers, IOPL(3) | FLAG_TF);
	CHECK_VECTOR(DB);
	CHECK_IS(caught.eip, 2);
	CHECK_IS(caught.dr6 & 0xe00f, 1 << 14);
}

/* ---- CR4.VME (SDM vol. 3, 20.3) */

/* The redirection map lies before the I/O map; a clear bit: the program's own vector table. */
static bool with_vme(void)
{
	if (!has.vme) {
		skip("no VME");
		return false;
	}
	write_cr4(read_cr4() | CR4_VME);
	tss.iomap = offsetof(struct tss, io) + REDIRECTION;
	memset(tss.io, 0xff, sizeof(tss.io));
	return true;
}

/* The vector's handler is at LOW:0x40 and ends with HLT, which is #GP. */
static void with_vector(unsigned vector)
{
	volatile u32 *table;

	asm("" : "=r"(table) : "0"(0)); /* at 0, which C has no objects at */
	table[vector] = LOW_CS << 16 | 0x40;
	*(volatile u8 *)(LOW + 0x40) = 0xf4;
	tss.io[vector / 8] &= ~(1 << (vector % 8));
}

TEST(vme_redirection)
{
	volatile u16 *stack = (volatile u16 *)(LOW_STACK - 6);

	if (!with_vme())
		return;
	with_vector(0x60);
	V86(v86_int60, IOPL(3) | FLAG_IF);
	CHECK_FAULT(GP, 0);
	CHECK_IS(caught.eip, 0x40);
	CHECK(!(caught.eflags & FLAG_IF), "%x", caught.eflags);
	CHECK(stack[0] == 2 && stack[1] == LOW_CS && (stack[2] & FLAG_IF), "%x:%x %x", stack[1],
	      stack[0], stack[2]);
	/* IOPL below 3: VIF stands for IF, and IOPL reads as 3. */
	V86(v86_int60, FLAG_VIF);
	CHECK_FAULT(GP, 0);
	CHECK_IS(caught.eip, 0x40);
	CHECK(!(caught.eflags & FLAG_VIF), "%x", caught.eflags);
	CHECK_IS(stack[2] & 0x3200, 0x3200);
	V86(v86_int60, FLAG_IF);
	CHECK_IS(stack[2] & 0x3200, 0x3000);
	CHECK(caught.eflags & FLAG_IF, "%x", caught.eflags);
	/* A set bit: as without VME. */
	tss.io[0x60 / 8] = 0xff;
	V86(v86_int60, 0);
	CHECK_FAULT(GP, 0);
	CHECK_IS(caught.eip, 0);
	idt[0x60].type |= GATE_DPL3;
	V86(v86_int60, IOPL(3));
	CHECK_VECTOR(0x60);
	/* INT3 and exceptions are never redirected. */
	with_vector(BP);
	V86(v86_int3, 0);
	CHECK_VECTOR(BP);
}

TEST(vme_virtual_interrupt_flag)
{
	if (!with_vme())
		return;
	V86(v86_cli, FLAG_VIF | FLAG_IF); /* INT 0x80 is #GP(0), after the instruction */
	CHECK_FAULT(GP, 0);
	CHECK_IS(caught.eip, 1);
	CHECK_IS(caught.eflags & (FLAG_VIF | FLAG_IF), FLAG_IF);
	V86(v86_sti, 0);
	CHECK_IS(caught.eip, 1);
	CHECK_IS(caught.eflags & (FLAG_VIF | FLAG_IF), FLAG_VIF);
	V86(v86_sti, FLAG_VIP);
	CHECK_FAULT(GP, 0);
	CHECK_IS(caught.eip, 0);
	V86(v86_pushf, FLAG_VIF);
	CHECK_IS(caught.eip, 2);
	CHECK_IS(caught.eax & 0x3200, 0x3200);
	V86(v86_pushf, FLAG_IF);
	CHECK_IS(caught.eax & 0x3200, 0x3000);
	V86(v86_pushfl, 0);
	CHECK_FAULT(GP, 0);
	CHECK_IS(caught.eip, 0);
	V86(v86_popf, 0);
	CHECK_IS(caught.eflags & (FLAG_VIF | FLAG_IF | IOPL(3)), FLAG_VIF);
	V86(v86_popf, FLAG_VIP);
	CHECK_FAULT(GP, 0);
	CHECK_IS(caught.eip, 3); /* the POPF */
	V86(v86_iret, 0);
	CHECK_IS(caught.eflags & (FLAG_VIF | FLAG_IF | IOPL(3)), FLAG_VIF);
	V86(v86_iret, FLAG_VIP);
	CHECK_FAULT(GP, 0);
	CHECK_IS(caught.esp, LOW_STACK - 6);
}

/* CR4.PVI: the same flags for CLI and STI at CPL 3 of protected mode. */
SNIPPET(user_cli32, "cli");
SNIPPET(user_sti32, "sti");

TEST(pvi)
{
	if (!has.vme)
		return skip("no VME");
	user(user_cli32);
	CHECK_FAULT(GP, 0);
	write_cr4(read_cr4() | CR4_PVI);
	user_entry(user_cli32);
	entry.eflags = 2 | FLAG_VIF | FLAG_IF;
	enter();
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.eflags & (FLAG_VIF | FLAG_IF), FLAG_IF);
	user(user_sti32);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.eflags & (FLAG_VIF | FLAG_IF), FLAG_VIF);
	user_entry(user_sti32);
	entry.eflags = 2 | FLAG_VIP;
	enter();
	CHECK_FAULT(GP, 0);
}
