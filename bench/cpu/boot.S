/* SPDX-License-Identifier: MIT */
/* bench/cpu/boot.S: from the PVH entry to guest() in long mode, SSE on. */
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
	movl	$pdpt + 3, pml4
	movl	$pd + 3, pdpt
	xor	%ecx, %ecx
1:	mov	%ecx, %eax
	shl	$21, %eax
	or	$0x83, %eax
	mov	%eax, pd(, %ecx, 8)
	inc	%ecx
	cmp	$512, %ecx
	jne	1b
	mov	$pml4, %eax
	mov	%eax, %cr3
	mov	$0x620, %eax		/* OSXMMEXCPT, OSFXSR, PAE */
	mov	%eax, %cr4
	mov	$0xc0000080, %ecx	/* EFER.LME */
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	$0x80000033, %eax	/* PG, NE, ET, MP, PE */
	mov	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$8, $start64
	.code64
start64:
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	$stack_top, %rsp
	call	guest
1:	cli
	hlt
	jmp	1b

	.data
	.balign 16
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word	23
	.long	gdt
	.bss
	.balign 4096
pml4:	.skip	4096
pdpt:	.skip	4096
pd:	.skip	4096
	.skip	16384
stack_top:
	.section .note.GNU-stack, "", @progbits
