/* SPDX-License-Identifier: MIT */
/*
 * A guest for uhyve, as Hermit's kernels are: three notes say what it is, it begins in long mode with its memory
 * mapped one to one, and it asks for something by a write to a port, with the parameters' address in %rdi.
 */
#define ENTRY_VERSION	  4
#define INTERFACE_VERSION 2
#define EXIT		  0x1010
#define WRITE_BUFFER	  0x1030

	.macro	note name, kind, size
	.balign	4
	.long	1f - 0f, \size, \kind
0:	.asciz	"\name"
1:	.balign	4
	.endm

	.section .note.hermit, "a", @note
	note	HERMIT, 0x5a00, 1
	.byte	ENTRY_VERSION
	note	UHYVEIF, 0x5b00, 4
	.byte	0, 0, 0, INTERFACE_VERSION
	note	GNU, 1, 16
	.long	6, 0, 11, 0		/* Hermit's, of version 0.11.0 */

	.text
	.globl	_start
_start:
	lea	parameters(%rip), %rdi
	lea	said(%rip), %rax
	mov	%rax, 8(%rdi)
	mov	$WRITE_BUFFER, %dx
	out	%eax, %dx
	xor	%edi, %edi
	mov	$EXIT, %dx
	out	%eax, %dx
2:	hlt
	jmp	2b

	.data
	.balign	8
parameters:
	.quad	end - said, 0
said:	.ascii	"six times seven is 42\n"
end:
