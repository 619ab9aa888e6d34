/* SPDX-License-Identifier: MIT */
/* tests/bare/modes.S: the ways out of 64-bit mode and back, for modes.c. */

	.set	SEL_CODE64, 0x08
	.set	SEL_DATA, 0x10
	.set	SEL_CODE32, 0x18
	.set	SEL_FREE, 0x50			/* modes.c puts a 16-bit code segment there */
	.set	SEL_FREE_DATA, 0x58
	.set	LOW, 0x8000
	.set	LOW_STACK, 0x7f00
	.set	VECTORS, 0			/* the real-mode interrupt table */

	/* struct mode_results */
	.bss
	.balign 4
	.globl	mode_results
mode_results:
	.skip	44
	.set	compat_inc, mode_results
	.set	compat_wrap, mode_results + 4
	.set	CODE16_SUM, 12
	.set	real_interrupt, mode_results + 20
	.set	real_segment, mode_results + 24
	.set	real_undefined, mode_results + 32
	.set	real_limit, mode_results + 36
	.set	unreal, mode_results + 40
saved_rsp:
	.skip	8
saved_idt:
	.skip	10
	.data
wrap_value:
	.long	0x600d
to_compat:
	.long	compat32
	.word	SEL_CODE32
to_leave:
	.long	leave32
	.word	SEL_CODE32
to_16:
	.long	0
	.word	SEL_FREE
real_idt:
	.word	0x3ff
	.long	VECTORS

	.macro	SAVE
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, saved_rsp(%rip)
	.endm
	.macro	RESTORE
	mov	saved_rsp(%rip), %rsp
	mov	$SEL_DATA, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	%eax, %es
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
	.endm

	.text
	.code64
	.globl	modes_compat
modes_compat:
	SAVE
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %ss
	ljmp	*to_compat(%rip)
	.code32
compat32:
	mov	$7, %eax
	.byte	0x40				/* INC EAX; a REX prefix in 64-bit mode */
	mov	%eax, compat_inc
	mov	$0xfffffff0, %ebx
	mov	wrap_value + 0x10(%ebx), %eax	/* over 4 GiB and round again */
	mov	%eax, compat_wrap
	push	%eax
	pop	%eax
	ljmp	$SEL_CODE64, $compat_back
	.code64
compat_back:
	RESTORE

	/* 16-bit protected mode: a code segment whose base is the code itself. */
	.globl	modes_16
modes_16:
	SAVE
	mov	$SEL_FREE_DATA, %eax
	mov	%eax, %ds
	ljmp	*to_16(%rip)
	.code16
	.globl	code16
code16:
	xor	%ax, %ax
	mov	$100, %cx
1:	add	%cx, %ax
	loop	1b
	mov	%ax, CODE16_SUM
	ljmpl	$SEL_CODE64, $back16
	.code64
back16:
	RESTORE

	/* All the way down to real mode, through low memory, and back. */
	.globl	modes_real
modes_real:
	SAVE
	sidt	saved_idt(%rip)
	mov	%cr3, %rbx
	mov	%rbx, saved_cr3(%rip)
	mov	%cr4, %rbx
	mov	%rbx, saved_cr4(%rip)
	mov	$SEL_DATA, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	%eax, %es
	ljmp	*to_leave(%rip)
	.code32
leave32:
	mov	$LOW_STACK, %esp
	mov	%cr0, %eax
	and	$0x7fffffff, %eax		/* paging off: long mode ends */
	mov	%eax, %cr0
	mov	$0xc0000080, %ecx
	rdmsr
	and	$~0x400, %eax			/* LMA is the processor's own */
	mov	%eax, saved_efer
	and	$~0x100, %eax
	wrmsr
	ljmp	$SEL_FREE, $(low16 - low_start + LOW)

	.data
	.balign 8
saved_cr3:
	.quad	0
saved_cr4:
	.quad	0
saved_efer:
	.long	0

	/* Copied to LOW. Runs as 16-bit protected mode first, then in real mode. */
	.section .rodata
	.globl	low_start, low_end
low_start:
	.code16
low16:
	lidtl	%cs:(real_idt_low - low_start + LOW)
	mov	$SEL_DATA, %ax			/* 4 GiB in FS, kept below */
	mov	%ax, %fs
	mov	$SEL_FREE_DATA, %ax		/* 64 KiB */
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	%cr0, %eax
	and	$~1, %al
	mov	%eax, %cr0
	ljmp	$0, $(real - low_start + LOW)
real:
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$LOW_STACK, %sp
	/* Vectors 6, 13 and 0x60. */
	movw	$(on_undefined - low_start + LOW), 6 * 4
	movw	$0, 6 * 4 + 2
	movw	$(on_limit - low_start + LOW), 13 * 4
	movw	$0, 13 * 4 + 2
	movw	$(on_60 - low_start + LOW), 0x60 * 4
	movw	$0, 0x60 * 4 + 2
	xor	%ebx, %ebx
	int	$0x60
	/* ES:0x10 is the linear address of `probe`. */
	mov	$((LOW >> 4) + 1), %ax
	mov	%ax, %es
	movl	$0x600d, probe - low_start + LOW
	mov	%es:(probe - low_start - 0x10), %edx
	xor	%esi, %esi
	ud2
	xor	%edi, %edi
	mov	$0xffff, %bp
	movw	%ds:(%bp), %cx			/* the second byte is beyond the limit */
	/* FS still has its limit of 4 GiB: above 1 MiB from real mode. */
	mov	$wrap_value, %eax
	mov	%fs:(%eax), %ecx
	/* Back to protected mode. */
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$SEL_CODE32, $enter32
on_60:
	mov	$0x60, %ebx
	iret
on_undefined:
	mov	$6, %esi
	mov	%sp, %bp
	addw	$2, (%bp)			/* past UD2 */
	iret
on_limit:
	mov	$13, %edi
	mov	%sp, %bp
	addw	$4, (%bp)			/* past the MOV: 3e 8b 4e 00 */
	iret
	.balign 4
real_idt_low:
	.word	0x3ff
	.long	VECTORS
	.balign 4
probe:
	.long	0
low_end:

	.text
	.code32
enter32:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	%ebx, real_interrupt
	mov	%edx, real_segment
	mov	%esi, real_undefined
	mov	%edi, real_limit
	mov	%ecx, unreal
	mov	saved_cr4, %eax
	mov	%eax, %cr4
	mov	saved_cr3, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	mov	saved_efer, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	ljmp	$SEL_CODE64, $real_back
	.code64
real_back:
	lidt	saved_idt(%rip)
	RESTORE
	.section .note.GNU-stack, "", @progbits
