/* SPDX-License-Identifier: MIT */
/* tests/bare/boot.h: what the images' assembly shares. */

	/* The PVH note: Xen's ELF note 18, the 32-bit physical entry point. */
	.macro PVH_NOTE entry
	.pushsection .note.pvh, "a", @note
	.balign 4
	.long	4, 8, 18
	.asciz	"Xen"
	.balign 4
	.long	\entry, 0
	.popsection
	.endm

	/* The selector in EAX for data, null for FS and GS. */
	.macro LOAD_SEGMENTS
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	.endm

	/* 16 bytes for each vector: error code or 0, the vector, then `common`. */
	.macro STUBS common
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
	jmp	\common
	vector = vector + 1
	.endr
	.endm
