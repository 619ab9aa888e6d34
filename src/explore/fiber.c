/* SPDX-License-Identifier: MIT */
#include "explore/fiber.h"

/* What the System V ABI lets a call not change: six registers, and the stack pointer itself. */
#define SAVED_REGISTERS 6

__asm__(".text\n"
	".globl fiber_switch\n"
	".hidden fiber_switch\n"
	".type fiber_switch, @function\n"
	"fiber_switch:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov (%rsi), %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size fiber_switch, . - fiber_switch\n");

void fiber_make(struct fiber *f, void *stack, size_t bytes, void (*entry)(void))
{
	u64 *top = (u64 *)((u8 *)stack + bytes);

	/* A function is entered with its return address on top of an aligned stack: entry() has none. */
	*--top = 0;
	*--top = (u64)entry;
	for (int i = 0; i < SAVED_REGISTERS; i++)
		*--top = 0;
	f->sp = top;
}
