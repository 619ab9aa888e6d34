/* SPDX-License-Identifier: MIT */
/*
 * translator/emit.h: host instructions, one function each, into a buffer. Registers are numbered as
 * enum gpr, which is the encoding's order. None of these changes status flags but emit_bytes() and those
 * that say so.
 *
 * An emitter that runs out of room stops writing and says so at the end (`full`).
 */
#ifndef CPU_TRANSLATOR_EMIT_H
#define CPU_TRANSLATOR_EMIT_H

#include "cpu/state.h"
#include "cpu/translator/layout.h"

struct emitter {
	u8 *start; /* of the area, in the mapping that is written */
	u8 *p;
	u8 *end;
	bool full;
	bool loops, borrows; /* how checks are made: see emit_check() */
};

#define NO_INDEX (-1)

void emit_bytes(struct emitter *e, const void *bytes, u32 n);
void emit8(struct emitter *e, u8 v);
void emit32(struct emitter *e, u32 v);
void emit64(struct emitter *e, u64 v);

/* A field of the vCPU, by its offset in struct cpu. */
void emit_load(struct emitter *e, int reg, u32 field);		/* 64 bits */
void emit_load32(struct emitter *e, int reg, u32 field);
void emit_store(struct emitter *e, u32 field, int reg);
void emit_store_imm(struct emitter *e, u32 field, s32 imm);
void emit_store16(struct emitter *e, u32 field, int reg);
void emit_jump_field(struct emitter *e, u32 field);
void emit_call_field(struct emitter *e, u32 field);
/* The same, `index` * 8 bytes further on; or NO_INDEX. */
void emit_load_indexed(struct emitter *e, int reg, int index, u32 field);
void emit_jump_indexed(struct emitter *e, int index, u32 field);
void emit_store_indexed(struct emitter *e, int index, u32 field, int reg);
/* PUSH of it, and RET. */
void emit_return_indexed(struct emitter *e, int index, u32 field);
void emit_load16(struct emitter *e, int reg, u32 field);
void emit_load8(struct emitter *e, int reg, u32 field);
void emit_store32_imm(struct emitter *e, u32 field, u32 imm);
void emit_store8_imm(struct emitter *e, u32 field, u8 imm);
void emit_pdep(struct emitter *e, int dst, int src, u32 mask_field);
void emit_pext(struct emitter *e, int dst, int src, u32 mask_field);

void emit_move(struct emitter *e, int dst, int src); /* 64 bits */
void emit_move32(struct emitter *e, int dst, int src);
void emit_constant(struct emitter *e, int dst, u64 v);
void emit_rotate(struct emitter *e, int dst, int src, u8 right);
/* dst = base + (index << scale) + disp; base or index may be NO_INDEX. */
void emit_lea(struct emitter *e, int dst, int base, int index, u8 scale, s32 disp, bool wide);
/* ModRM, SIB and displacement of reg and [base + index + disp]. `disp32`: never in 8 bits, which EVEX
 * instructions scale. */
void emit_modrm_memory(struct emitter *e, int reg, int base, int index, s32 disp, bool disp32);

/* These change the flags: to add a field, `index` * 8 bytes further on or NO_INDEX; CMP of a field and a constant, or
 * zero. */
#define CC_NOT_ZERO 5
#define CC_ABOVE    7
void emit_add(struct emitter *e, int reg, int index, u32 field);
void emit_compare_field(struct emitter *e, u32 field, s32 imm); /* 64 bits */
void emit_compare_zero32(struct emitter *e, u32 field);
/* An operation of arithmetic by its number in the opcode, and TEST; of `size` bytes. */
enum { ALU_ADD = 0, ALU_OR = 1, ALU_AND = 4, ALU_SUB = 5, ALU_XOR = 6, ALU_CMP = 7 };
void emit_alu(struct emitter *e, u8 number, u8 size, int a, int b);
void emit_alu_imm(struct emitter *e, u8 number, u8 size, int a, s32 imm);
void emit_test_registers(struct emitter *e, u8 size, int a, int b);
void emit_test_imm(struct emitter *e, u8 size, int a, s32 imm);

/* Jumps with a displacement to be filled in: where it stands. */
u8 *emit_jump(struct emitter *e);
u8 *emit_jcc(struct emitter *e, u8 cc);
u8 *emit_call(struct emitter *e);
/* The same, of those that are patched: the displacement lies within a quadword. */
u8 *emit_edge(struct emitter *e);
u8 *emit_edge_jcc(struct emitter *e, u8 cc);
u8 *emit_jrcxz(struct emitter *e);
u8 *emit_loop(struct emitter *e);
void emit_land(struct emitter *e, u8 *disp);   /* of emit_jump() or emit_jcc(): to here */
void emit_land8(struct emitter *e, u8 *disp);  /* of emit_jrcxz() or emit_loop() */
void emit_aim(struct emitter *e, u8 *disp, const u8 *target); /* the same, elsewhere */
void emit_jump_to(struct emitter *e, const u8 *target);

/*
 * A check: code goes on where RCX has emit_good(), else by a jump that is to be filled in. Between the
 * two calls RCX is computed; before the first it is free.
 *
 * A processor remembers where some thousands of taken jumps lead, and guesses that the others are not
 * taken. JRCXZ is taken where all is well: a guest with much code then pays for a wrong guess at each
 * check. LOOP is not: it falls through where RCX is one, and goes back otherwise, to a jump that stands in
 * a NOP's address. It is as quick as another jump on AMD's processors, and slow on Intel's. There a
 * JRCXZ goes back and is not taken where all is well: it looks at the highest byte of what is one less. For that
 * RCX must be known to be below 2^56 (emit_check_below()), and else JRCXZ stays as it is.
 */
struct emit_check {
	u8 *jump;   /* its displacement */
	u8 *hidden; /* NULL: none, the jump is behind a JRCXZ */
};
struct emit_check emit_check(struct emitter *e);
struct emit_check emit_check_below(struct emitter *e);
u8 *emit_check_end(struct emitter *e, struct emit_check *k);
static inline s32 emit_good(const struct emitter *e)
{
	return e->loops;
}

/* From the start of the area. */
static inline u32 emit_offset(const struct emitter *e)
{
	return (u32)(e->p - e->start);
}

#endif
