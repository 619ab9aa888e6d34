/* SPDX-License-Identifier: MIT */
/*
 * bench/cpu/loops.S: what guest and host both run: f(n in %rdi, 64 KiB of memory at %rsi). Each
 * turn of a loop has as many instructions as cpu.h says.
 */
	.text

	/* Registers: hash a counter. 8 instructions. */
	.globl	loop_registers
loop_registers:
	mov	%rdi, %rcx
1:	mov	%rcx, %rax
	shl	$5, %rax
	add	%rax, %rdx
	xor	%rcx, %rdx
	lea	(%rdx, %rcx), %r8
	sub	%r8, %r9
	dec	%rcx
	jnz	1b
	ret

	/* Loads, stores, a call. 11 instructions. */
	.globl	loop_memory
loop_memory:
	mov	%rdi, %rcx
1:	mov	(%rsi), %rax
	add	8(%rsi), %rax
	mov	%rax, 16(%rsi)
	add	%rax, (%rsi)
	cmp	16(%rsi), %rax
	call	2f
	dec	%rcx
	jnz	1b
	ret
2:	push	%rdx
	pop	%rdx
	ret

	/* A branch that depends on a random bit: 7 instructions, 6 where it is taken, as often as
	 * not. */
	.globl	loop_branches
loop_branches:
	mov	%rdi, %rcx
	xor	%r8d, %r8d
1:	imul	$0x41c64e6d, %r8d, %r8d
	inc	%r8d
	bt	$17, %r8d
	jc	2f
	inc	%r9
2:	dec	%rcx
	jnz	1b
	ret

	/* Two doubles at a time. 6 instructions. */
	.globl	loop_sse
loop_sse:
	mov	%rdi, %rcx
	xorpd	%xmm1, %xmm1
1:	movupd	(%rsi), %xmm0
	mulpd	%xmm0, %xmm0
	addpd	%xmm0, %xmm1
	movupd	%xmm1, 64(%rsi)
	dec	%rcx
	jnz	1b
	ret

	/* An indirect call over the page's end. 5 instructions. */
	.globl	loop_calls
loop_calls:
	mov	%rdi, %rcx
	lea	far_away(%rip), %rax
1:	call	*%rax
	inc	%rdx
	dec	%rcx
	jnz	1b
	ret
	.balign 4096
far_away:
	ret

	.section .note.GNU-stack, "", @progbits
