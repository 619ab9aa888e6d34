/* SPDX-License-Identifier: MIT */
/*
 * loader/boot/calls.S: the stubs from which a program's own system calls are made once more.
 *
 * A trapped call that is not for us is the program's own: it must happen on the program's stack and
 * FS base, with its signals open, broken off and restarted as ever. So the trap's handler returns
 * not behind the program's `syscall` but to a stub here, with the program's registers, and the stub
 * goes on behind it. A stub belongs to one place in the program for good: nothing is kept per
 * thread, and a signal's handler may come in and leave as it likes. The slots are data, so a fork
 * has its own; the code is the same for all.
 */
#include "loader/lend.h"

	.section .stubs, "ax", @progbits
	.balign	LOADER_RETURN_STUB
slot = 0
	.rept	LOADER_RETURNS
	syscall
	jmp	*returns + 8 * slot(%rip)
slot = slot + 1
	.endr

/*
 * clone() of a thread. Two threads on one lent block would crash, and a new one inherits its maker's
 * GS base, so the child takes its own from below its stack, where trap.c has put it. The maker
 * leaves the result for the next trap to look at. The flags are not kept, as no compiler expects.
 */
	.balign	LOADER_BIRTH_STUB
slot = 0
	.rept	LOADER_BIRTHS
	syscall
	test	%rax, %rax
	jnz	1f
	mov	-16(%rsp), %rcx
	wrgsbase %rcx
	jmp	*births + 8 * slot(%rip)
1:	mov	%rax, %gs:LENT_BORN
	jmp	*births + 8 * slot(%rip)
	.balign	LOADER_BIRTH_STUB
slot = slot + 1
	.endr

/* LOADER_GATE: a call of the program's, made for it here: arguments where the kernel has them. */
	syscall
	ret

	.section .slots, "aw", @nobits
returns:
	.skip	8 * LOADER_RETURNS
births:
	.skip	8 * LOADER_BIRTHS

	.section .handover, "aw", @nobits
	.skip	4096

	.section .note.GNU-stack, "", @progbits
