/* SPDX-License-Identifier: MIT */
/* tests/bare/boot.S: from the PVH entry to main() in long mode, and the interrupt stubs. */

/* The PVH note: Xen's ELF note 18, the 32-bit physical entry point. */
	.pushsection .note.pvh, "a", @note
	.balign 4
	.long	4, 8, 18
	.asciz	"Xen"
	.balign 4
	.quad	start
	.popsection

	.text
	.code32
	.globl	start
start:
	cli
	mov	$stack_top, %esp
	movl	$boot_pdpt + 3, boot_pml4
	movl	$boot_pd + 3, boot_pdpt
	movl	$window_pd + 7, boot_pdpt + 8
	orl	$7, boot_pml4
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
	mov	$0xc0000080, %ecx	/* EFER: LME, and NXE and SCE where they exist */
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
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	mov	$stack_top, %rsp
	call	main
1:	cli
	hlt
	jmp	1b

/* run_guarded(f): call f; false when an exception nobody expected came back through abandon. */
	.globl	run_guarded, abandon
run_guarded:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	sub	$8, %rsp
	mov	%rsp, abandon_rsp(%rip)
	call	*%rdi
	mov	$1, %eax
1:	add	$8, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
abandon:
	xor	%eax, %eax
	jmp	1b

/* A stub for each vector: error code or 0, the vector, then the common part. */
	.balign 16
	.globl	stubs
stubs:
	vector = 0
	.rept	256
	.balign 16
	.if	(vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21)
	.else
	push	$0
	.endif
	push	$vector
	jmp	common
	vector = vector + 1
	.endr

common:
	cld
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	mov	%rsp, %rbp
	and	$-16, %rsp
	call	interrupt
	mov	%rbp, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

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
boot_pml4:
	.skip	4096
boot_pdpt:
	.skip	4096
boot_pd:
	.skip	4096
	.globl	window_pd, window_pt, page_pool
window_pd:
	.skip	4096
window_pt:
	.skip	4 * 4096
page_pool:
	.skip	16 * 4096
	.skip	32768
	.globl	stack_top
stack_top:
	.section .note.GNU-stack, "", @progbits
