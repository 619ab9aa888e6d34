/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy/boot32.S: the PVH entry, and the interrupt stubs of the 32-bit image. */
#include "../boot.h"

	PVH_NOTE start

	.set	SEL_CODE, 0x08
	.set	SEL_DATA, 0x10

	.text
	.globl	start
start:
	cli
	lgdt	gdt_pointer
	ljmp	$SEL_CODE, $1f
1:	mov	$SEL_DATA, %eax
	LOAD_SEGMENTS
	mov	$stack_top, %esp
	mov	%cr0, %eax
	or	$0x30, %eax		/* NE, ET */
	mov	%eax, %cr0
	call	main
2:	cli
	hlt
	jmp	2b

/* run_guarded(f): call f; false when an exception nobody expected came back through abandon. */
	.globl	run_guarded, abandon
run_guarded:
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	mov	%esp, abandon_sp
	call	*20(%esp)
	mov	$1, %eax
1:	pop	%edi
	pop	%esi
	pop	%ebp
	pop	%ebx
	ret
abandon:
	xor	%eax, %eax
	jmp	1b

	STUBS common

common:
	cld
	push	%ds
	push	%es
	push	%fs
	push	%gs
	pusha
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%esp, %eax
	push	%eax
	call	interrupt
	pop	%eax
	popa
	pop	%gs
	pop	%fs
	pop	%es
	pop	%ds
	add	$8, %esp
	iret

/* escape: to catch_eip with the general registers of `caught`. */
	.globl	escape
escape:
	mov	$SEL_DATA, %eax
	LOAD_SEGMENTS
	mov	$caught, %esp
	popa
	mov	catch_esp, %esp
	push	$2
	popf
	jmp	*catch_eip

/* enter(): to `entry`, by IRET from this stack: the IRET itself may fault. */
	.set	ENTRY_WORDS, 21
	.globl	enter_entry
enter_entry:
	sub	$(ENTRY_WORDS * 4), %esp
	mov	%esp, %edi
	mov	$entry, %esi
	mov	$ENTRY_WORDS, %ecx
	cld
	rep movsl
	popa
	pop	%gs
	pop	%fs
	pop	%es
	pop	%ds
	iret

	.data
	.balign 16
	.globl	gdt
gdt:	.quad	0
	.quad	0x00cf9b000000ffff	/* code */
	.quad	0x00cf93000000ffff	/* data */
	.quad	0x00cffb000000ffff	/* user code */
	.quad	0x00cff3000000ffff	/* user data */
	.quad	0x00009b000000ffff	/* 16-bit code, 64 KiB */
	.quad	0x000093000000ffff	/* 16-bit data */
	.fill	57, 8, 0
gdt_pointer:
	.word	64 * 8 - 1
	.long	gdt

	.bss
	.balign 4096
	.globl	pages
pages:
	.skip	16 * 4096
	.skip	32768
	.globl	stack_top
stack_top:
	.section .note.GNU-stack, "", @progbits
