/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy/real32.S: to real mode and back, for real32.c. */
#include "../boot.h"

	.set	SEL_CODE, 0x08
	.set	SEL_DATA, 0x10
	.set	SEL_CODE16, 0x28
	.set	SEL_DATA16, 0x30
	.set	RESULT, 0x7000			/* struct real_result */
	.set	STACK, 0x7f00
	.set	LOW, 0x8000			/* where what is between low_start and low_end goes */
	.set	PROGRAM, 0x8800

	.bss
	.balign 4
saved_esp:
	.skip	4
saved_idt:
	.skip	8

	/* real_enter(): run what is at PROGRAM until its first interrupt of any kind. */
	.text
	.code32
	.globl	real_enter
real_enter:
	pusha
	mov	%esp, saved_esp
	sidt	saved_idt
	ljmp	$SEL_CODE16, $LOW
real_leave:
	mov	$SEL_DATA, %eax
	LOAD_SEGMENTS
	lidt	saved_idt
	mov	saved_esp, %esp
	popa
	ret

	.section .rodata
	.globl	low_start, low_end, real_idt, real_vectors
low_start:
	.code16
	lidtl	%cs:(real_idt - low_start + LOW)
	mov	$SEL_DATA16, %ax		/* 64 KiB */
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %gs
	mov	%ax, %ss
	mov	$SEL_DATA, %ax			/* 4 GiB in FS, kept below */
	mov	%ax, %fs
	mov	%cr0, %eax
	and	$~1, %al
	mov	%eax, %cr0
	ljmp	$0, $(1f - low_start + LOW)
1:	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	%ax, %fs
	mov	%ax, %gs
	mov	$STACK, %sp
	ljmp	$0, $PROGRAM

real_common:					/* vector, IP, CS, FLAGS on the stack */
	movl	%eax, %cs:RESULT + 12
	movl	%ebx, %cs:RESULT + 16
	movl	%ecx, %cs:RESULT + 20
	movl	%edx, %cs:RESULT + 24
	pushf
	popw	%cs:RESULT + 10
	popw	%cs:RESULT
	mov	%sp, %cs:RESULT + 8
	popw	%cs:RESULT + 2
	popw	%cs:RESULT + 4
	popw	%cs:RESULT + 6
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$SEL_CODE, $real_leave

	.balign 4
real_idt:
	.word	0x3ff
	.long	0
	.balign 8
real_vectors:
	vector = 0
	.rept	128
	.byte	0x68				/* pushw: 3 bytes, as is the jump */
	.word	vector
	.byte	0xe9
	.word	real_common - (. + 2)
	vector = vector + 1
	.endr
low_end:
	.section .note.GNU-stack, "", @progbits
