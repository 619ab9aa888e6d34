/* SPDX-License-Identifier: MIT */
/* loader/boot/start.S: the loader's first and last instruction, and what a handler returns to. */
	.text
	.globl	_start
_start:
	xor	%ebp, %ebp
	mov	%rsp, %rdi
	and	$-16, %rsp
	call	boot
	hlt

/* boot_enter(stack, entry): as the kernel starts a program. */
	.globl	boot_enter
boot_enter:
	mov	%rdi, %rsp
	xor	%edx, %edx
	xor	%ebp, %ebp
	jmp	*%rsi

	.globl	boot_restorer
boot_restorer:
	mov	$15, %eax	/* rt_sigreturn */
	syscall

	.section .note.GNU-stack, "", @progbits
