/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy/gates32.c: call gates, stacks of inner levels and conforming segments (SDM
 * vol. 3, 5.8). */
#include "bare32.h"

enum { FREE0 = SEL_FREE, FREE1 = SEL_FREE + 8, FREE2 = SEL_FREE + 16, GATE = 0x80 };

/* What stands on the stack at a gate's target, from its top. */
static volatile u32 seen[40], seen_esp, seen_cs, seen_ss;

/* Targets: note the stack, then end, or go back. */
extern const u8 gate_notes[], gate_returns[], gate_returns16[];
asm(".pushsection .text\n"
    "gate_notes: movl $0x10, %eax\n movl %eax, %ds\n movl %eax, %es\n call note_stack\n int "
    "$0x80\n"
    "gate_returns: movl $0x10, %eax\n movl %eax, %ds\n movl %eax, %es\n call note_stack\n"
    "lret $12\n"
    "gate_returns16: movl $0x10, %eax\n movl %eax, %ds\n movl %eax, %es\n call note_stack\n"
    "lretw $6\n"
    "note_stack: movw %cs, seen_cs\n movw %ss, seen_ss\n"
    "leal 4(%esp), %esi\n movl %esi, seen_esp\n movl $seen, %edi\n movl $40, %ecx\n cld\n"
    "rep movsl\n ret\n.popsection");

/* The gate is at GATE, DPL 3. */
SNIPPET(user_gate,
	"pushl $0x333\n pushl $0x222\n pushl $0x111\n lcall $0x83, $0\n movl %esp, %ebx");
SNIPPET(user_gate16,
	"pushw $0x333\n pushw $0x222\n pushw $0x111\n lcallw $0x83, $0\n movl %esp, %ebx");
SNIPPET(user_gate_jump, "ljmp $0x83, $0");
SNIPPET(user_end, "");
SNIPPET(user_int_free, "int $0xa0");

static void set_call_gate(const void *target, u16 selector, u8 type, u8 params)
{
	gdt[GATE / 8] = call_gate(target, selector, type, params);
}

TEST(call_gate_to_inner_level)
{
	for (unsigned params = 0; params < 32; params += params == 3 ? 28 : 1) {
		u32 esp;

		set_call_gate(gate_notes, SEL_CODE | 3, GATE_CALL | GATE_DPL3, params);
		user(user_gate);
		CHECK_VECTOR(VEC_DONE);
		CHECK_IS(caught.cs, SEL_CODE);
		CHECK_IS(seen_cs, SEL_CODE);
		CHECK_IS(seen_ss, SEL_DATA);
		esp = addr(user_stack) + sizeof(user_stack) - 64 - 12;
		CHECK_IS(seen_esp, tss.esp0 - 16 - 4 * params);
		CHECK_IS(seen[0], addr(user_gate) + 22);
		CHECK_IS(seen[1] & 0xffff, SEL_UCODE);
		CHECK(!params || seen[2] == 0x111, "%x", seen[2]);
		CHECK(params < 3 || (seen[3] == 0x222 && seen[4] == 0x333), "%x", seen[3]);
		CHECK_IS(seen[2 + params], esp);
		CHECK_IS(seen[3 + params] & 0xffff, SEL_UDATA);
	}
}

/* RET n drops the parameters from both stacks. */
TEST(return_from_inner_level)
{
	set_call_gate(gate_returns, SEL_CODE, GATE_CALL | GATE_DPL3, 3);
	user(user_gate);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.cs, SEL_UCODE);
	CHECK_IS(caught.ss, SEL_UDATA);
	CHECK_IS(caught.ebx, addr(user_stack) + sizeof(user_stack) - 64);
	CHECK_IS(caught.ds, 0); /* DS of level 0 is not for level 3 */
	CHECK_IS(caught.es, 0);
}

TEST(call_gate_16_bits)
{
	/* IP of the target has 16 bits. */
	u8 *low = (u8 *)0x8000;
	u32 esp = addr(user_stack) + sizeof(user_stack) - 64 - 6;
	volatile u16 *w = (volatile u16 *)seen;

	low[0] = 0xe9; /* jmp */
	*(u32 *)(low + 1) = addr(gate_notes) - addr(low + 5);
	set_call_gate(low, SEL_CODE, GATE_CALL16 | GATE_DPL3, 3);
	user(user_gate16);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(seen_esp, tss.esp0 - 2 * 7);
	CHECK(w[2] == 0x111 && w[3] == 0x222 && w[4] == 0x333, "%x %x %x", w[2], w[3], w[4]);
	CHECK_IS(w[1], SEL_UCODE);
	CHECK_IS(w[5], (u16)esp);
	CHECK_IS(w[6], SEL_UDATA);
}

TEST(call_gate_same_level)
{
	set_call_gate(gate_notes, SEL_UCODE, GATE_CALL | GATE_DPL3, 3);
	user_entry(user_gate);
	/* At level 3 nothing is copied, whatever the gate says. */
	set_call_gate(user_end, SEL_UCODE, GATE_CALL | GATE_DPL3, 3);
	enter();
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.cs, SEL_UCODE);
	CHECK_IS(caught.esp, addr(user_stack) + sizeof(user_stack) - 64 - 12 - 8);
	set_call_gate(user_end, SEL_UCODE, GATE_CALL | GATE_DPL3, 0);
	user(user_gate_jump);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.esp, addr(user_stack) + sizeof(user_stack) - 64);
}

TEST(call_gate_refused)
{
	set_call_gate(gate_notes, SEL_CODE, GATE_CALL, 0);
	user(user_gate);
	CHECK_FAULT(GP, GATE); /* the gate's DPL */
	set_call_gate(gate_notes, SEL_CODE, (GATE_CALL | GATE_DPL3) & 0x7f, 0);
	user(user_gate);
	CHECK_FAULT(NP, GATE);
	set_call_gate(gate_notes, 0, GATE_CALL | GATE_DPL3, 0);
	user(user_gate);
	CHECK_FAULT(GP, 0);
	set_call_gate(gate_notes, SEL_DATA, GATE_CALL | GATE_DPL3, 0);
	user(user_gate);
	CHECK_FAULT(GP, SEL_DATA);
	set_call_gate(gate_notes, SEL_LAST + 8, GATE_CALL | GATE_DPL3, 0);
	user(user_gate);
	CHECK_FAULT(GP, SEL_LAST + 8);
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x1b, 0xc);
	set_call_gate(gate_notes, FREE0, GATE_CALL | GATE_DPL3, 0);
	user(user_gate);
	CHECK_FAULT(NP, FREE0);
	/* JMP changes no level. */
	set_call_gate(gate_notes, SEL_CODE, GATE_CALL | GATE_DPL3, 0);
	user(user_gate_jump);
	CHECK_FAULT(GP, SEL_CODE);
	/* To an outer level no gate leads. */
	set_call_gate(gate_notes, SEL_UCODE, GATE_CALL, 0);
	TRY("lcall $0x80, $0", (), (), ALL_REGISTERS);
	CHECK_FAULT(GP, SEL_UCODE & ~3);
	/* The target's limit. */
	gdt[FREE0 / 8] = descriptor(0, 0xfff, 0x9b, 0x4);
	set_call_gate(gate_notes, FREE0, GATE_CALL | GATE_DPL3, 0);
	user(user_gate);
	CHECK_FAULT(GP, 0);
}

/* The inner stack: a bad selector is #TS, no room is #SS, and what it says was not pushed. The
 * handlers run at level 0, on the same bad stack: so in a task of their own. */
static struct tss fault_tss;
extern const u8 stack_fault_task[];
static volatile u32 fault_error;
asm(".pushsection .text\nstack_fault_task: popl fault_error\n int $0x80\n.popsection");
extern const u8 gate_entered[]; /* not to be reached: on a stack that can be used */
asm(".pushsection .text\ngate_entered: movl $0x10, %eax\n movl %eax, %ss\n"
    "movl $kernel_stack+4096, %esp\n int $0x80\n.popsection");

static void bad_stack(u16 ss, u32 esp, int vector, u32 error)
{
	set_call_gate(gate_entered, SEL_CODE, GATE_CALL | GATE_DPL3, 0);
	fault_tss = (struct tss){.eip = addr(stack_fault_task),
				 .eflags = 2,
				 .esp = addr(pages[0]) + 4096,
				 .cs = SEL_CODE,
				 .ss = SEL_DATA,
				 .ds = SEL_DATA,
				 .es = SEL_DATA,
				 .iomap = sizeof(fault_tss)};
	gdt[FREE2 / 8] = descriptor(addr(&fault_tss), sizeof(fault_tss) - 1, DESC_TSS, 0);
	set_gate(&idt[vector], NULL, FREE2, GATE_TASK);
	tss.ss0 = ss;
	tss.esp0 = esp;
	fault_error = 0xffff;
	user(user_gate);
	tss.ss0 = SEL_DATA;
	tss.esp0 = addr(kernel_stack) + sizeof(kernel_stack);
	CHECK(caught.vector == VEC_DONE && fault_error == error, "%d: vector %d error %x",
	      vector, caught.vector, fault_error);
	CHECK_IS(tss.cs & 0xffff, SEL_UCODE); /* the call has not begun */
	CHECK_IS(tss.esp, addr(user_stack) + sizeof(user_stack) - 64 - 12);
}

TEST(call_gate_bad_stack)
{
	u32 top = addr(kernel_stack) + sizeof(kernel_stack);

	bad_stack(0, top, TS, 0);
	bad_stack(SEL_CODE, top, TS, SEL_CODE);
	bad_stack(SEL_UDATA, top, TS, SEL_UDATA & ~3);
	bad_stack(SEL_DATA | 3, top, TS, SEL_DATA);
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x13, 0xc);
	bad_stack(FREE0, top, SS, FREE0);
}

TEST(call_gate_no_room)
{
	gdt[FREE0 / 8] = descriptor(addr(pages[1]), 0xfff, 0x93, 0x4);
	bad_stack(FREE0, 8, SS, FREE0);
	bad_stack(FREE0, 0x2000, SS, FREE0);
}

/* ---- conforming segments: the caller's level stays */

SNIPPET(user_conforming_jump, "ljmp $0x50, $user_conforming_target\n"
			      "user_conforming_target: movl %cs, %eax");
SNIPPET(user_conforming_call,
	"lcall $0x50, $user_conforming_called\n movl %cs, %ecx\n jmp 1f\n"
	"user_conforming_called: movl %cs, %eax\n movl 4(%esp), %edx\n lret\n 1:");

TEST(conforming_segments)
{
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x9e, 0xc); /* DPL 0 */
	user(user_conforming_jump);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.eax, FREE0 | 3);
	CHECK_IS(caught.cs, FREE0 | 3);
	user(user_conforming_call);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.eax, FREE0 | 3);
	CHECK_IS(caught.ecx, SEL_UCODE);
	CHECK_IS(caught.edx & 0xffff, SEL_UCODE);
	/* Through a gate as well: level and stack stay. */
	set_call_gate(user_end, FREE0, GATE_CALL | GATE_DPL3, 3);
	user(user_gate);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.cs, FREE0 | 3);
	CHECK_IS(caught.esp, addr(user_stack) + sizeof(user_stack) - 64 - 12 - 8);
	/* Not from a more privileged level. */
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0xfe, 0xc);
	TRY("ljmp $0x50, $1f\n 1:", (), ());
	CHECK_FAULT(GP, FREE0);
	/* A conforming handler of an interrupt runs at the interrupted level. */
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x9e, 0xc);
	set_gate(&idt[VEC_FREE], user_end, FREE0, GATE_INT | GATE_DPL3);
	user(user_int_free);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.cs, FREE0 | 3);
}

/* A 16-bit interrupt gate pushes words. */
TEST(interrupt_gate_16_bits)
{
	u8 *low = (u8 *)0x8000;
	volatile u16 *w = (volatile u16 *)seen;

	low[0] = 0xe9;
	*(u32 *)(low + 1) = addr(gate_notes) - addr(low + 5);
	set_gate(&idt[VEC_FREE], low, SEL_CODE, GATE_INT16 | GATE_DPL3);
	user(user_int_free);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.cs, SEL_CODE);
	CHECK_IS(seen_esp, tss.esp0 - 10);
	CHECK_IS(w[0], (u16)(addr(user_int_free) + 2));
	CHECK_IS(w[1], SEL_UCODE);
	CHECK_IS(w[3], (u16)(addr(user_stack) + sizeof(user_stack) - 64));
	CHECK_IS(w[4], SEL_UDATA);
}

/* IRET and RET to an outer level: what they refuse (vol. 2, IRET, RET). */
TEST(return_refused)
{
	user_entry(user_int_free);
	entry.cs = SEL_UCODE & ~3; /* RPL 0, DPL 3 */
	enter();
	CHECK_FAULT(GP, SEL_UCODE & ~3);
	user_entry(user_int_free);
	entry.ss = SEL_DATA;
	enter();
	CHECK_FAULT(GP, SEL_DATA);
	user_entry(user_int_free);
	entry.ss = 0;
	enter();
	CHECK_FAULT(GP, 0);
	user_entry(user_int_free);
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x73, 0xc);
	entry.ss = FREE0 | 3;
	enter();
	CHECK_FAULT(SS, FREE0);
	user_entry(user_int_free);
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x7b, 0xc);
	entry.cs = FREE0 | 3;
	enter();
	CHECK_FAULT(NP, FREE0);
}
