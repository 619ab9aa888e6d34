/* SPDX-License-Identifier: MIT */
/* loader/trap.S: onto a thread's lent FS base and stack, and back. See trap.h, lend.h. */
#include "loader/lend.h"

#define RT_SIGPROCMASK 14
#define SIG_SETMASK    2

/* A handler may have written a mask into its frame: SIGSYS stays open, and the program believes. Changes %rax. */
	.macro	open_sys context
	btrq	$30, UC_SIGMASK(\context)
	jnc	9f
	rdgsbase %rax
	test	%rax, %rax
	jz	9f
	movb	$1, LENT_BLOCKS_SYS(%rax)
9:
	.endm

	.text

/*
 * SIGSYS's handler, on the program's stack: (sig, info, uc). trap_handle() may name a handler of
 * the program's own, for a trap that is not ours.
 */
	.globl	trap_entry
	.hidden	trap_entry
	.type	trap_entry, @function
trap_entry:
	rdgsbase %rax
	test	%rax, %rax
	jz	2f
	rdfsbase %rcx
	cmp	LENT_FS(%rax), %rcx
	je	2f			/* a call of our own, which somebody else's filter trapped */
	push	%rbx
	push	%r12
	push	%r13
	mov	%rsp, %rbx
	mov	%rsi, %r12
	mov	%rdx, %r13
	mov	%rcx, LENT_PROGRAM_FS(%rax)
	mov	LENT_FS(%rax), %rcx
	wrfsbase %rcx
	mov	LENT_STACK(%rax), %rsp
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rax, %rdx
	call	trap_handle
	mov	%rbx, %rsp
	rdgsbase %rcx
	mov	LENT_PROGRAM_FS(%rcx), %rcx
	wrfsbase %rcx
	mov	%r12, %rsi
	mov	%r13, %rdx
	pop	%r13
	pop	%r12
	pop	%rbx
	test	%rax, %rax
	jz	1f
	/* the program's handler begins with the program's mask, on its own FS base */
	push	%rax
	push	%rsi
	push	%rdx
	rdgsbase %rsi
	add	$LENT_HANDLER_MASK, %rsi
	mov	$SIG_SETMASK, %edi
	xor	%edx, %edx
	mov	$8, %r10d
	mov	$RT_SIGPROCMASK, %eax
	syscall
	pop	%rdx
	pop	%rsi
	pop	%rax
	push	%rdx
	mov	$31, %edi		/* SIGSYS */
	call	*%rax
	pop	%rdx			/* a handler need preserve no register */
	open_sys %rdx
1:	ret
2:	mov	%rsi, %rdi
	jmp	trap_lost
	.size	trap_entry, . - trap_entry

/*
 * Every other handler that the kernel knows of: (sig, info, uc). On a thread that is in a call of
 * ours already it is called as it is, else on the lent FS base. The stack is the signal's.
 */
	.globl	signal_entry
	.hidden	signal_entry
	.type	signal_entry, @function
signal_entry:
	rdgsbase %rax
	test	%rax, %rax
	jz	dispositions_handle
	rdfsbase %rcx
	cmp	LENT_FS(%rax), %rcx
	je	dispositions_handle
	push	%rbx
	mov	%rcx, %rbx
	mov	%rcx, LENT_PROGRAM_FS(%rax)
	mov	LENT_FS(%rax), %rcx
	wrfsbase %rcx
	call	dispositions_handle
	wrfsbase %rbx
	pop	%rbx
	ret
	.size	signal_entry, . - signal_entry

/* signal_call(handler, sig, info, uc): a handler of the program's, on the FS base that it knows. */
	.globl	signal_call
	.hidden	signal_call
	.type	signal_call, @function
signal_call:
	.irp	reg, rbx, rbp, r12, r13, r14, r15
	push	%\reg			/* which a handler need not preserve */
	.endr
	rdfsbase %rbx
	push	%rbx
	push	%rcx
	push	%rcx			/* for its alignment */
	mov	%rdi, %rax
	mov	%esi, %edi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	rdgsbase %rcx
	test	%rcx, %rcx
	jz	1f
	mov	LENT_PROGRAM_FS(%rcx), %rcx
	wrfsbase %rcx
1:	call	*%rax
	pop	%rcx
	pop	%rcx
	open_sys %rcx
	pop	%rbx
	wrfsbase %rbx
	.irp	reg, r15, r14, r13, r12, rbp, rbx
	pop	%\reg
	.endr
	ret
	.size	signal_call, . - signal_call

	.globl	signal_restorer
	.hidden	signal_restorer
signal_restorer:
	mov	$15, %eax		/* rt_sigreturn */
	syscall

/* What is left of a `pushfq' but TF: the debugger's, or not there. Changes %rax; %r11 has it. */
	.macro	put_flags
	mov	%r11d, %eax
	shl	$8, %eax		/* AH: SF, ZF, AF, PF, CF */
	bt	$11, %r11d		/* OF */
	setc	%al
	add	$0x7f, %al
	sahf
	.endm

#define RED_ZONE	128
#define DIRECTION	0x400	/* of the flags */
#define ALIGNMENT_CHECK 0x40000
#define HEADER_REST	(512 + 16) /* of a compact XSAVE area: six words that are to be zero */
#define SAVED_FLAGS	16	   /* from %rbp */
#define SAVED_WORDS	56	   /* below it */

/*
 * A KVM_RUN that comes by a gate (direct.h), whose address is in %rcx: what is not for us goes on there. All
 * other registers and the stack are the program's; %rax, %rcx and %r11 are what a system call changes. A
 * handler of the program's may run between any two instructions outside of direct_call()'s window, and
 * may leave by a jump: on the lent FS base it is called as signal_entry says, on the program's.
 */
	.globl	trap_direct
	.hidden	trap_direct
	.type	trap_direct, @function
trap_direct:
	lea	-RED_ZONE(%rsp), %rsp
	pushfq
	push	%rsi
	rdgsbase %rax
	test	%rax, %rax
	jz	3f
	cmp	%rcx, LENT_DIRECT_GATE(%rax)
	jne	3f
	cmp	%rdi, LENT_DIRECT_FD(%rax)
	jne	3f
	cmp	%rdx, LENT_DIRECT_ARG(%rax)
	jne	3f
	mov	direct_epoch(%rip), %rsi
	cmp	%rsi, LENT_DIRECT_EPOCH(%rax)
	jne	3f
	testl	$ALIGNMENT_CHECK, 8(%rsp)
	jnz	3f
	cld
	push	%rbp
	mov	%rsp, %rbp
	push	%rdx
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	LENT_DIRECT_BACK(%rax)
	rdfsbase %rsi
	push	%rsi
	mov	%rsi, LENT_PROGRAM_FS(%rax)
	mov	LENT_FS(%rax), %r8
	mov	%rdx, %rsi
	sub	direct_states_size(%rip), %rsp
	and	$-64, %rsp
	xor	%eax, %eax
	.irp	word, 0, 1, 2, 3, 4, 5
	mov	%rax, HEADER_REST + 8 * \word(%rsp)
	.endr
	mov	direct_states(%rip), %rax
	xor	%edx, %edx
	xsavec	(%rsp)
	wrfsbase %r8
	call	direct_call		/* (fd, arg) */
	mov	%rax, %rcx
	mov	direct_states(%rip), %rax
	xor	%edx, %edx
	xrstor	(%rsp)
	lea	-SAVED_WORDS(%rbp), %rsp
	mov	SAVED_FLAGS(%rbp), %r11
	mov	%rcx, SAVED_FLAGS(%rbp)	/* the result */
	pop	%rcx
	wrfsbase %rcx
	pop	%rcx			/* where a system call leaves it, too */
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rdx
	pop	%rbp
	pop	%rsi
	test	$DIRECTION, %r11d
	jz	1f
	std
1:	put_flags
	pop	%rax
2:	lea	RED_ZONE(%rsp), %rsp
	jmp	*%rcx
3:	pop	%rsi
	pop	%r11
	put_flags
	jmp	2b
	.size	trap_direct, . - trap_direct

/* trap_start(stack, entry): the program's first instruction, with registers as the kernel has them. */
	.globl	trap_start
	.hidden	trap_start
trap_start:
	mov	%rdi, %rsp
	mov	%rsi, %r11
	xor	%eax, %eax
	xor	%ebx, %ebx
	xor	%ecx, %ecx
	wrfsbase %rcx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%ebp, %ebp
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	jmp	*%r11

	.section .note.GNU-stack, "", @progbits
