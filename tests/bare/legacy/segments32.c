/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy/segments32.c: limits, types and 16-bit stacks (SDM vol. 3, 5.3 to 5.5). */
#include "bare32.h"

enum { FREE0 = SEL_FREE, FREE1 = SEL_FREE + 8 };

/* Access `size` bytes at `offset` of this segment. */
static void touch(u64 segment, u32 offset, unsigned size, bool write)
{
	gdt[FREE0 / 8] = segment;
	asm volatile("mov %0, %%fs" : : "r"(FREE0) : "memory");
	if (size == 1 && write)
		TRY("movb %%cl, %%fs:(%[o])", (), ([o] "a"(offset)), "ecx");
	else if (size == 1)
		TRY("movb %%fs:(%[o]), %%cl", (), ([o] "a"(offset)), "ecx");
	else if (size == 2)
		TRY("movw %%fs:(%[o]), %%cx", (), ([o] "a"(offset)), "ecx");
	else if (size == 4 && write)
		TRY("movl %%ecx, %%fs:(%[o])", (), ([o] "a"(offset)), "ecx");
	else
		TRY("movl %%fs:(%[o]), %%ecx", (), ([o] "a"(offset)), "ecx");
}

#define TOUCH(segment, offset, size, faults)                                                   \
	do {                                                                                   \
		touch(segment, offset, size, false);                                           \
		CHECK(caught.vector == ((faults) ? GP : -1) && (!(faults) || !caught.error),   \
		      "%u bytes at %x: vector %d error %x", size, offset, caught.vector,       \
		      caught.error);                                                           \
	} while (0)

TEST(limit_in_bytes)
{
	u64 s = descriptor(addr(pages[0]), 0x123, 0x93, 0x4);

	for (unsigned size = 1; size <= 4; size *= 2) {
		TOUCH(s, 0x124 - size, size, false);
		TOUCH(s, 0x125 - size, size, true);
		TOUCH(s, 0x124, size, true);
		TOUCH(s, 0xffffffff, size, true);
	}
	TOUCH(descriptor(addr(pages[0]), 0, 0x93, 0x4), 0, 1, false);
	TOUCH(descriptor(addr(pages[0]), 0, 0x93, 0x4), 0, 2, true);
}

TEST(limit_in_pages)
{
	u64 s = descriptor(addr(pages[0]), 1, 0x93, 0xc); /* 8 KiB */

	for (unsigned size = 1; size <= 4; size *= 2) {
		TOUCH(s, 0x2000 - size, size, false);
		TOUCH(s, 0x2001 - size, size, true);
	}
	TOUCH(descriptor(addr(pages[0]), 0, 0x93, 0xc), 0xfff, 1, false);
	TOUCH(descriptor(addr(pages[0]), 0, 0x93, 0xc), 0x1000, 1, true);
}

/* Expand down: valid is what is above the limit, up to 64 KiB or 4 GiB by the B flag. */
TEST(expand_down)
{
	u64 big = descriptor(addr(pages[0]), 0xfff, 0x97, 0x4),
	    small = descriptor(addr(pages[0]), 0xfff, 0x97, 0);

	TOUCH(big, 0xfff, 1, true);
	TOUCH(big, 0, 1, true);
	TOUCH(big, 0x1000, 1, false);
	TOUCH(big, 0xffc, 4, true);
	TOUCH(big, 0x1000, 4, false);
	TOUCH(big, 0x10000, 4, false);
	TOUCH(small, 0x1000, 4, false);
	TOUCH(small, 0xfffc, 4, false);
	TOUCH(small, 0xfffd, 4, true);
	TOUCH(small, 0xffff, 1, false);
	TOUCH(small, 0x10000, 1, true);
	TOUCH(descriptor(addr(pages[0]), 0, 0x97, 0xc), 0xfff, 1, true);
	TOUCH(descriptor(addr(pages[0]), 0, 0x97, 0xc), 0x1000, 1, false);
}

TEST(segment_types)
{
	touch(descriptor(0, 0xfffff, 0x91, 0xc), addr(pages[0]), 4, true); /* read-only */
	CHECK_FAULT(GP, 0);
	touch(descriptor(0, 0xfffff, 0x91, 0xc), addr(pages[0]), 4, false);
	CHECK_NONE();
	touch(descriptor(0, 0xfffff, 0x9b, 0xc), addr(pages[0]), 4, true); /* code */
	CHECK_FAULT(GP, 0);
	touch(descriptor(0, 0xfffff, 0x9b, 0xc), addr(pages[0]), 4, false);
	CHECK_NONE();
	TRY("movl %%eax, %%cs:(%[p])", (), ([p] "r"(pages[0])));
	CHECK_FAULT(GP, 0);
	asm volatile("mov %0, %%fs" : : "r"(0));
	TRY("movl %%fs:(%[p]), %%eax", (), ([p] "r"(pages[0])), "eax"); /* null */
	CHECK_FAULT(GP, 0);
	asm volatile("mov %0, %%fs" : : "r"(3));
	TRY("movl %%fs:(%[p]), %%eax", (), ([p] "r"(pages[0])), "eax");
	CHECK_FAULT(GP, 0);
	TRY("mov %[s], %%ss", (), ([s] "r"(0))); /* null SS: only in 64-bit mode */
	CHECK_FAULT(GP, 0);
	TRY("mov %[s], %%fs", (), ([s] "r"(SEL_DATA | 3)));
	CHECK_FAULT(GP, SEL_DATA);
}

/* Bases count, and addresses wrap at 4 GiB. */
TEST(segment_bases)
{
	u32 v = 0;

	*(volatile u32 *)pages[3] = 0x600d;
	gdt[FREE0 / 8] = descriptor(addr(pages[3]) + 0x1000, 0xfffff, 0x93, 0xc);
	asm volatile("mov %1, %%fs\n movl %%fs:-0x1000, %0" : "=r"(v) : "r"(FREE0));
	CHECK_IS(v, 0x600d);
}

SNIPPET(user_push, "movl %esp, %ecx\n pushl %eax\n movl %esp, %ebx");
SNIPPET(user_pop, "movl %esp, %ecx\n popl %eax\n movl %esp, %ebx");
SNIPPET(user_stack_read, "movl (%ebp), %eax");
SNIPPET(user_push_ax, "movl %esp, %ecx\n pushw %ax\n movl %esp, %ebx");
SNIPPET(user_call_near, "call 1f\n 1: movl %esp, %ebx");
SNIPPET(user_enter, "enter $16, $0\n movl %esp, %ebx");
SNIPPET(user_leave, "leave\n movl %esp, %ebx");

/* At CPL 3, so that the handlers have a stack of their own. */
static void on_stack(u64 segment, u32 esp, const u8 *code)
{
	gdt[FREE0 / 8] = segment;
	user_entry(code);
	entry.ss = FREE0 | 3;
	entry.esp = esp;
	entry.ebp = esp;
	entry.eax = 0x600dbeef;
	enter();
}

TEST(stack_limits)
{
	u64 s = descriptor(addr(pages[0]), 0xfff, 0xf3, 0x4);

	on_stack(s, 0x1000, user_push);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.ebx, 0xffc);
	on_stack(s, 0x1001, user_push);
	CHECK_FAULT(SS, 0);
	CHECK_IS(caught.esp, 0x1001);
	on_stack(s, 3, user_push);
	CHECK_FAULT(SS, 0);
	on_stack(s, 0, user_push);
	CHECK_FAULT(SS, 0);
	on_stack(s, 0xffd, user_pop);
	CHECK_FAULT(SS, 0);
	on_stack(s, 0xffc, user_pop);
	CHECK_VECTOR(VEC_DONE);
	on_stack(s, 0xffd, user_stack_read); /* EBP: the stack's segment */
	CHECK_FAULT(SS, 0);
	on_stack(s, 2, user_call_near);
	CHECK_FAULT(SS, 0);
	CHECK_IS(caught.eip, addr(user_call_near));
	on_stack(s, 2, user_enter);
	CHECK_FAULT(SS, 0);
	CHECK_IS(caught.esp, 2);
}

/* B clear: SP counts. ESP's upper half stays, at the IRET to this stack as well. */
static void check_sp(u16 sp)
{
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS((u16)caught.ebx, sp);
	CHECK_IS(caught.ebx >> 16, caught.ecx >> 16);
}

TEST(stack_of_16_bits)
{
	u64 s = descriptor(0x10000, 0xffff, 0xf3, 0);

	on_stack(s, 0, user_push);
	check_sp(0xfffc);
	CHECK_IS(*(volatile u32 *)0x1fffc, 0x600dbeef);
	on_stack(s, 0xfffc, user_pop);
	check_sp(0);
	CHECK_IS(caught.eax, 0x600dbeef);
	on_stack(s, 2, user_push_ax);
	check_sp(0);
	on_stack(s, 1, user_push_ax); /* wraps within the word */
	CHECK_FAULT(SS, 0);
	on_stack(s, 0x100, user_enter);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS((u16)caught.ebx, 0x100 - 4 - 16);
	on_stack(s, 0x100, user_leave);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS((u16)caught.ebx, 0x104);
}

TEST(stack_expand_down)
{
	u64 s = descriptor(0x10000, 0x7fff, 0xf7, 0); /* 0x8000 to 0xffff */

	on_stack(s, 0x8004, user_push);
	CHECK_VECTOR(VEC_DONE);
	on_stack(s, 0x8003, user_push);
	CHECK_FAULT(SS, 0);
	on_stack(s, 0, user_push);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS((u16)caught.ebx, 0xfffc);
}

/* A code segment's limit: the instruction that runs over it, and a jump that goes beyond. */
extern const u8 user_edge[], user_edge_end[], user_beyond[];
asm(".pushsection .rodata\n.balign 16\nuser_edge: nop\n nop\n movl $5, %eax\n"
    "user_edge_end:\nuser_beyond: jmp user_beyond+4096\n.popsection");

TEST(code_limit)
{
	u32 last = addr(user_edge_end) - 1; /* of the MOV, inclusive */

	gdt[FREE0 / 8] = descriptor(0, last, 0xfb, 0x4);
	if (last >> 20)
		gdt[FREE0 / 8] = descriptor(
			addr(user_edge), addr(user_edge_end) - addr(user_edge) - 1, 0xfb, 0x4);
	user_entry(NULL);
	entry.cs = FREE0 | 3;
	enter();
	CHECK_FAULT(GP, 0); /* after the MOV, at the limit's end */
	CHECK_IS(caught.eax, 5);
	CHECK_IS(caught.eip, 7);
	gdt[FREE0 / 8] = descriptor(addr(user_edge), 5, 0xfb, 0x4);
	user_entry(NULL);
	entry.cs = FREE0 | 3;
	enter();
	CHECK_FAULT(GP, 0); /* the MOV does not fit */
	CHECK_IS(caught.eax, 0);
	CHECK_IS(caught.eip, 2);
	gdt[FREE0 / 8] = descriptor(addr(user_beyond), 0xff, 0xfb, 0x4);
	user_entry(NULL);
	entry.cs = FREE0 | 3;
	enter();
	CHECK_FAULT(GP, 0);
	CHECK_IS(caught.eip, 0); /* the jump itself */
}

/* 16-bit code: IP wraps, operands have 16 bits. */
SNIPPET16(code16, "movw $0xfff0, %ax\n addw $0x20, %ax\n movw %sp, %bx\n movw $0x10, %si\n"
		  "leal 0x12345(%esi), %ecx\n pushfl\n popl %edx");

TEST(code_of_16_bits)
{
	gdt[FREE0 / 8] = descriptor(addr(code16), 0xffff, 0xfb, 0);
	user_entry(NULL);
	entry.cs = FREE0 | 3;
	entry.eax = 0xaaaa0000;
	enter();
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.eax, 0xaaaa0010);
	CHECK_IS(caught.ecx, 0x12355);
	CHECK(caught.edx & FLAG_CF, "%x", caught.edx);
}

TEST(accessed_bit)
{
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x92, 0xc);
	asm volatile("mov %0, %%fs" : : "r"(FREE0) : "memory");
	CHECK_IS(access_of(FREE0), 0x93);
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x9a, 0xc);
	TRY("ljmp $0x50, $1f\n 1: ljmp $8, $2f\n 2:", (), ());
	CHECK_NONE();
	CHECK_IS(access_of(FREE0), 0x9b);
}

/* LAR, LSL, VERR, VERW by type and level (vol. 2 for each). */
TEST(looking_at_descriptors)
{
	u32 v = 0;
	bool zf;

	gdt[FREE0 / 8] = descriptor(0, 0x12345, 0x91, 0xc);
	asm volatile("lsl %2, %0" : "+r"(v), "=@ccz"(zf) : "r"(FREE0));
	CHECK(zf && v == 0x12345fff, "%x", v);
	asm volatile("lar %2, %0" : "+r"(v), "=@ccz"(zf) : "r"(FREE0));
	CHECK(zf && (v & 0xf0ff00) == 0xc09100, "%x", v);
	asm volatile("verw %w1" : "=@ccz"(zf) : "r"(FREE0));
	CHECK(!zf, "read-only");
	asm volatile("verr %w1" : "=@ccz"(zf) : "r"(FREE0));
	CHECK(zf, "read-only");
	/* 16-bit system types are there outside long mode. */
	gdt[FREE0 / 8] = descriptor(0, 0x2b, DESC_TSS16, 0);
	asm volatile("lsl %2, %0" : "+r"(v), "=@ccz"(zf) : "r"(FREE0));
	CHECK(zf && v == 0x2b, "%x", v);
	gdt[FREE0 / 8] = call_gate(NULL, SEL_CODE, GATE_CALL, 0);
	asm volatile("lsl %2, %0" : "+r"(v), "=@ccz"(zf) : "r"(FREE0));
	CHECK(!zf, "a gate has no limit");
	asm volatile("lar %2, %0" : "+r"(v), "=@ccz"(zf) : "r"(FREE0));
	CHECK(zf, "but access rights");
	gdt[FREE0 / 8] = call_gate(NULL, SEL_CODE, GATE_INT, 0);
	asm volatile("lar %2, %0" : "+r"(v), "=@ccz"(zf) : "r"(FREE0));
	CHECK(!zf, "no interrupt gate in the GDT");
}
