/* SPDX-License-Identifier: MIT */
/* tests/bare/boot.S: from the PVH entry to main() in long mode, the first GiB mapped one to one. */
#include "boot.h"

	PVH_NOTE start

	.text
	.code32
	.globl	start
start:
	cli
	mov	$stack_top, %esp
	movl	$boot_pdpt + 3, boot_pml4
	movl	$boot_pd + 3, boot_pdpt
	xor	%ecx, %ecx
1:	mov	%ecx, %eax
	shl	$21, %eax
	or	$0x83, %eax
	mov	%eax, boot_pd(, %ecx, 8)
	inc	%ecx
	cmp	$512, %ecx
	jne	1b

	mov	$boot_pml4, %eax
	mov	%eax, %cr3
	mov	$0x20, %eax		/* PAE */
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx	/* EFER.LME */
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	$0x80000031, %eax	/* PG, NE, ET, PE */
	mov	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$8, $start64

	.code64
start64:
	mov	$0x10, %eax
	LOAD_SEGMENTS
	mov	$stack_top, %rsp
	call	main
1:	cli
	hlt
	jmp	1b

	.data
	.balign 16
	.globl	gdt
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* 64-bit code */
	.quad	0x00cf93000000ffff	/* data */
	.quad	0x00cf9b000000ffff	/* 32-bit code */
	.quad	0x000f9b000000ffff	/* 16-bit code, page granularity off */
	.quad	0x000f93000000ffff	/* 16-bit data */
	.quad	0x00cff3000000ffff	/* user data */
	.quad	0x00affb000000ffff	/* user 64-bit code */
	.fill	24, 8, 0
	.globl	gdt_pointer
gdt_pointer:
	.word	32 * 8 - 1
	.quad	gdt

	.bss
	.balign 4096
	.globl	boot_pml4, boot_pdpt
boot_pml4:
	.skip	4096
boot_pdpt:
	.skip	4096
boot_pd:
	.skip	4096
	.skip	32768
	.globl	stack_top
stack_top:
	.section .note.GNU-stack, "", @progbits
