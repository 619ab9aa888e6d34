/* SPDX-License-Identifier: MIT */
#include "base/stack.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/pagemem.h"

void *stack_alloc(size_t size)
{
	void *stack = pagemem_alloc(size);

	if (stack)
		syscall(SYS_mprotect, stack, PAGE_SIZE, PROT_NONE);
	return stack;
}

void stack_free(void *stack, size_t size)
{
	pagemem_free(stack, size);
}

/* rdi: top; rsi: fn; rdx: arg. Returns are paired with calls, as shadow stacks want it. */
asm(".pushsection .text\n"
    ".globl stack_call\n"
    ".hidden stack_call\n"
    ".type stack_call, @function\n"
    "stack_call:\n"
    "	.cfi_startproc\n"
    "	endbr64\n"
    "	push %rbp\n"
    "	.cfi_def_cfa_offset 16\n"
    "	.cfi_offset rbp, -16\n"
    "	mov %rsp, %rbp\n"
    "	.cfi_def_cfa_register rbp\n"
    "	mov %rdi, %rsp\n"
    "	mov %rdx, %rdi\n"
    "	call *%rsi\n"
    "	mov %rbp, %rsp\n"
    "	pop %rbp\n"
    "	.cfi_def_cfa rsp, 8\n"
    "	ret\n"
    "	.cfi_endproc\n"
    ".size stack_call, . - stack_call\n"
    ".popsection\n");
