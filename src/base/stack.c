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
long stack_switch(void *top, long (*fn)(void *arg), void *arg) HIDDEN;
asm(".pushsection .text\n"
    ".globl stack_switch\n"
    ".hidden stack_switch\n"
    ".type stack_switch, @function\n"
    "stack_switch:\n"
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
    ".size stack_switch, . - stack_switch\n"
    ".popsection\n");

/*
 * A VMM with the address sanitizer, or a library: what it keeps of stacks is by address, and it is to know
 * which one this thread is on. Else a longjmp() leaves behind what it knows of the frames that it left.
 */
void __sanitizer_start_switch_fiber(void **fake, const void *bottom, size_t size) __attribute__((weak));
void __sanitizer_finish_switch_fiber(void *fake, const void **bottom, size_t *size) __attribute__((weak));

struct switched {
	long (*fn)(void *arg);
	void *arg;
	const void *bottom; /* of the stack that it came from */
	size_t size;
};

static long on_the_stack(void *arg)
{
	struct switched *s = arg;
	long r;

	if (__sanitizer_finish_switch_fiber)
		__sanitizer_finish_switch_fiber(NULL, &s->bottom, &s->size);
	r = s->fn(s->arg);
	if (__sanitizer_start_switch_fiber)
		__sanitizer_start_switch_fiber(NULL, s->bottom, s->size);
	return r;
}

long stack_call(void *stack, size_t size, long (*fn)(void *arg), void *arg)
{
	struct switched s = {.fn = fn, .arg = arg};
	void *fake = NULL;
	long r;

	if (__sanitizer_start_switch_fiber)
		__sanitizer_start_switch_fiber(&fake, (u8 *)stack + PAGE_SIZE, size - PAGE_SIZE);
	r = stack_switch((u8 *)stack + size, on_the_stack, &s);
	if (__sanitizer_finish_switch_fiber)
		__sanitizer_finish_switch_fiber(fake, NULL, NULL);
	return r;
}
