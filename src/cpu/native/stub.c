/* SPDX-License-Identifier: MIT */
/*
 * native/stub.c: the code around an instruction: loads, the instruction, stores.
 *
 * Guest vector and mask registers are loaded into the host's of the same number; all of them are
 * the caller's to save in the C calling convention. Writes of VEX and EVEX instructions clear a
 * register to its top, so they are stored whole; legacy ones store 16 bytes.
 */
#include "cpu/native/stub.h"

#define OFF_AF	 ((u32)offsetof(struct cpu, af))
#define OFF_FX	 ((u32)offsetof(struct cpu, fx))
#define OFF_K(n) ((u32)(offsetof(struct cpu, k) + 8 * (n)))
#define OFF_V(n) ((u32)(offsetof(struct cpu, v) + sizeof(struct vreg) * (n)))
/* In an FXSAVE image register n stands in 16 bytes from 32 (SDM vol. 1, 10.5.1). */
#define OFF_MM(n) (OFF_FX + 32 + 16 * (n))

static void emit(struct native_asm *a, const void *bytes, u32 n)
{
	memcpy(a->bytes + a->len, bytes, n);
	a->len += n;
}

#define EMIT(a, ...)                                                                               \
	do {                                                                                       \
		const u8 e_[] = {__VA_ARGS__};                                                     \
		emit(a, e_, sizeof(e_));                                                           \
	} while (0)

/* ModRM for [rdi + disp32] with `reg`. */
static void emit_field(struct native_asm *a, u32 reg, u32 disp)
{
	EMIT(a, (u8)(0x80 | (reg & 7) << 3 | RDI));
	emit(a, &disp, 4);
}

/* vmovups between vector register r and its place in the cpu. */
static void emit_vector(struct native_asm *a, enum native_unit unit, u32 r, u32 width, bool store)
{
	u8 opcode = store ? 0x11 : 0x10;

	if (unit == UNIT_SSE || unit == UNIT_MMX) {
		if (r >= 8)
			EMIT(a, 0x44);
		EMIT(a, 0x0f, opcode);
	} else if (width == 64 || r >= 16) {
		u8 p0 = (u8)(0x61 | (r & 8 ? 0 : 0x80) | (r & 16 ? 0 : 0x10));

		EMIT(a, 0x62, p0, 0x7c, 0x48, opcode);
	} else {
		EMIT(a, 0xc5, (u8)((r >= 8 ? 0 : 0x80) | 0x78 | (width == 32 ? 4 : 0)), opcode);
	}
	emit_field(a, r, OFF_V(r));
}

static void emit_vectors(struct native_asm *a, const struct native_insn *n, bool store)
{
	u32 set = store ? n->vec_out : n->vec_in;
	u32 width = n->width;

	if (store && (n->unit == UNIT_VEX || n->unit == UNIT_EVEX))
		width = native_host.avx512f ? 64 : 32;
	for (; set; set &= set - 1)
		emit_vector(a, n->unit, (u32)__builtin_ctz(set), width, store);
}

static void emit_masks(struct native_asm *a, u32 set, bool store)
{
	for (; set; set &= set - 1) {
		u32 k = (u32)__builtin_ctz(set);

		/* kmovq, kmovw */
		if (native_host.avx512bw)
			EMIT(a, 0xc4, 0xe1, 0xf8, store ? 0x91 : 0x90);
		else
			EMIT(a, 0xc5, 0xf8, store ? 0x91 : 0x90);
		emit_field(a, k, OFF_K(k));
	}
}

static void emit_mmx(struct native_asm *a, u32 set, bool store)
{
	for (; set; set &= set - 1) {
		u32 r = (u32)__builtin_ctz(set);

		EMIT(a, 0x0f, store ? 0x7f : 0x6f); /* movq */
		emit_field(a, r, OFF_MM(r));
	}
}

static void emit_gprs(struct native_asm *a, const struct native_insn *n, bool store)
{
	u32 slots = store ? n->slot_out : n->slot_in;
	u32 implicit = store ? n->implicit_out : n->implicit_in;
	u8 opcode = store ? 0x89 : 0x8b;

	for (; slots; slots &= slots - 1) {
		u32 s = (u32)__builtin_ctz(slots);

		EMIT(a, 0x4c, opcode, (u8)(0x40 | s << 3 | RDI), (u8)(n->slot[s] * 8));
	}
	for (; implicit; implicit &= implicit - 1) {
		u32 r = (u32)__builtin_ctz(implicit);

		EMIT(a, 0x48, opcode, (u8)(0x40 | r << 3 | RDI), (u8)(r * 8));
	}
}

/* movzx eax, af; and al, 1; add al, 0x7f (OF); sahf */
static void emit_load_flags(struct native_asm *a)
{
	EMIT(a, 0x0f, 0xb7);
	emit_field(a, 0, OFF_AF);
	EMIT(a, 0x24, 1, 0x04, 0x7f, 0x9e);
}

/* lahf; seto al; mov af, ax */
static void emit_store_flags(struct native_asm *a)
{
	EMIT(a, 0x9f, 0x0f, 0x90, 0xc0, 0x66, 0x89);
	emit_field(a, 0, OFF_AF);
}

bool native_fill_scratch;
u64 native_scratch;

/* Whatever the stub may leave unloaded holds native_scratch. */
static void emit_scratch(struct native_asm *a)
{
	EMIT(a, 0x48, 0xb8); /* mov rax, imm64 */
	emit(a, &native_scratch, 8);
	for (u32 r = 0; r < (native_host.avx512f ? 32 : 16); r++) {
		u8 p0 = (u8)(0x62 | (r & 8 ? 0 : 0x80) | (r & 16 ? 0 : 0x10));

		if (native_host.avx512f) /* vpbroadcastq zmm, rax */
			EMIT(a, 0x62, p0, 0xfd, 0x48, 0x7c, (u8)(0xc0 | (r & 7) << 3));
		else /* movq xmm, rax */
			EMIT(a, 0x66, r & 8 ? 0x4c : 0x48, 0x0f, 0x6e, (u8)(0xc0 | (r & 7) << 3));
	}
	for (u32 k = 0; native_host.avx512bw && k < 8; k++) /* kmovq k, rax */
		EMIT(a, 0xc4, 0xe1, 0xfb, 0x92, (u8)(0xc0 | k << 3));
	EMIT(a, 0x48, 0x89, 0xc1, 0x48, 0x89, 0xc2); /* rcx, rdx */
	for (u32 r = 0; r < 4; r++)		     /* r8 to r11 */
		EMIT(a, 0x49, 0x89, (u8)(0xc0 | r));
}

static void emit_before(struct native_asm *a, const struct native_insn *n)
{
	if (unlikely(native_fill_scratch))
		emit_scratch(a);
	if (n->unit == UNIT_X87) {
		EMIT(a, 0x48, 0x0f, 0xae); /* fxrstor64 */
		emit_field(a, 1, OFF_FX);
	}
	emit_mmx(a, n->mm_in, false);
	emit_masks(a, n->k_in, false);
	emit_vectors(a, n, false);
	if (n->flags_in)
		emit_load_flags(a);
	emit_gprs(a, n, false);
}

static void emit_after(struct native_asm *a, const struct native_insn *n)
{
	emit_gprs(a, n, true);
	if (n->flags_out)
		emit_store_flags(a);
	emit_vectors(a, n, true);
	emit_masks(a, n->k_out, true);
	emit_mmx(a, n->mm_out, true);
	if (n->unit == UNIT_X87) {
		EMIT(a, 0x48, 0x0f, 0xae); /* fxsave64 */
		emit_field(a, 0, OFF_FX);
	}
	if (native_host.avx && n->width > 16)
		EMIT(a, 0xc5, 0xf8, 0x77); /* vzeroupper */
	EMIT(a, 0x31, 0xc0, 0xc3);	   /* xor eax, eax; ret */
}

void native_assemble(const struct native_insn *n, struct native_asm *a)
{
	a->len = 0;
	emit_before(a, n);
	a->insn = a->len;
	emit(a, n->bytes, n->len);
	emit_after(a, n);
}
