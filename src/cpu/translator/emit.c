/* SPDX-License-Identifier: MIT */
#include "cpu/translator/emit.h"

#define REX_W 8
#define REX   0x40
#define SIB_SP 0x24 /* base RSP, no index */
#define RM_SIB 4

void emit_bytes(struct emitter *e, const void *bytes, u32 n)
{
	if (e->full || (u64)(e->end - e->p) < n) {
		e->full = true;
		return;
	}
	memcpy(e->p, bytes, n);
	e->p += n;
}

void emit8(struct emitter *e, u8 v)
{
	emit_bytes(e, &v, 1);
}

void emit32(struct emitter *e, u32 v)
{
	emit_bytes(e, &v, 4);
}

void emit64(struct emitter *e, u64 v)
{
	emit_bytes(e, &v, 8);
}

static u8 rex(bool w, int reg, int index, int base)
{
	return (u8)(REX | (w ? REX_W : 0) | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 |
		    (base >> 3 & 1));
}

/* ModRM for a field of the vCPU, with an index scaled by 8 or none. */
static void field_operand(struct emitter *e, int reg, int index, u32 field)
{
	s32 disp = (s32)field - GEN_SP;
	bool byte = disp >= -128 && disp <= 127;
	u8 sib = index == NO_INDEX ? SIB_SP : (u8)(3 << 6 | (index & 7) << 3 | RSP);

	emit8(e, (u8)((!disp ? 0 : byte ? 0x40 : 0x80) | (reg & 7) << 3 | RM_SIB));
	emit8(e, sib);
	if (!disp)
		return;
	if (byte)
		emit8(e, (u8)disp);
	else
		emit32(e, (u32)disp);
}

static void field_op(struct emitter *e, bool wide, u8 opcode, int reg, int index, u32 field)
{
	u8 r = rex(wide, reg, MAX(index, 0), 0);

	if (r != REX)
		emit8(e, r);
	emit8(e, opcode);
	field_operand(e, reg, index, field);
}

void emit_load(struct emitter *e, int reg, u32 field)
{
	field_op(e, true, 0x8b, reg, NO_INDEX, field);
}

void emit_load32(struct emitter *e, int reg, u32 field)
{
	field_op(e, false, 0x8b, reg, NO_INDEX, field);
}

void emit_store(struct emitter *e, u32 field, int reg)
{
	field_op(e, true, 0x89, reg, NO_INDEX, field);
}

void emit_store16(struct emitter *e, u32 field, int reg)
{
	emit8(e, 0x66);
	field_op(e, false, 0x89, reg, NO_INDEX, field);
}

void emit_store_imm(struct emitter *e, u32 field, s32 imm)
{
	field_op(e, true, 0xc7, 0, NO_INDEX, field);
	emit32(e, (u32)imm);
}

void emit_jump_field(struct emitter *e, u32 field)
{
	field_op(e, false, 0xff, 4, NO_INDEX, field);
}

void emit_call_field(struct emitter *e, u32 field)
{
	field_op(e, false, 0xff, 2, NO_INDEX, field);
}

void emit_load_indexed(struct emitter *e, int reg, int index, u32 field)
{
	field_op(e, true, 0x8b, reg, index, field);
}

void emit_store_indexed(struct emitter *e, int index, u32 field, int reg)
{
	field_op(e, true, 0x89, reg, index, field);
}

void emit_jump_indexed(struct emitter *e, int index, u32 field)
{
	field_op(e, false, 0xff, 4, index, field);
}

void emit_return_indexed(struct emitter *e, int index, u32 field)
{
	field_op(e, false, 0xff, 6, index, field);
	emit8(e, 0xc3);
}

void emit_add(struct emitter *e, int reg, int index, u32 field)
{
	field_op(e, true, 0x03, reg, index, field);
}

/* Registers as operands of 1, 2, 4 or 8 bytes; the even opcode is that of bytes. */
static void operation(struct emitter *e, u8 opcode, u8 size, int reg, int rm)
{
	u8 r = rex(size == 8, reg, 0, rm);

	if (size == 2)
		emit8(e, 0x66);
	if (r != REX || size == 1) /* SPL to DIL */
		emit8(e, r);
	emit8(e, opcode | (size > 1));
	emit8(e, (u8)(0xc0 | (reg & 7) << 3 | (rm & 7)));
}

static void immediate(struct emitter *e, u8 size, s32 imm)
{
	emit_bytes(e, &imm, MIN(size, 4u));
}

void emit_alu(struct emitter *e, u8 number, u8 size, int a, int b)
{
	operation(e, (u8)(number << 3), size, b, a);
}

void emit_alu_imm(struct emitter *e, u8 number, u8 size, int a, s32 imm)
{
	operation(e, 0x80, size, number, a);
	immediate(e, size, imm);
}

void emit_test_registers(struct emitter *e, u8 size, int a, int b)
{
	operation(e, 0x84, size, b, a);
}

void emit_test_imm(struct emitter *e, u8 size, int a, s32 imm)
{
	operation(e, 0xf6, size, 0, a);
	immediate(e, size, imm);
}

void emit_compare_field(struct emitter *e, u32 field, s32 imm)
{
	field_op(e, true, 0x81, 7, NO_INDEX, field);
	emit32(e, (u32)imm);
}

void emit_compare_zero32(struct emitter *e, u32 field)
{
	field_op(e, false, 0x83, 7, NO_INDEX, field);
	emit8(e, 0);
}

static void load_zero_extended(struct emitter *e, u8 opcode, int reg, u32 field)
{
	if (reg & 8)
		emit8(e, REX | 4);
	emit8(e, 0x0f);
	emit8(e, opcode);
	field_operand(e, reg, NO_INDEX, field);
}

void emit_load8(struct emitter *e, int reg, u32 field)
{
	load_zero_extended(e, 0xb6, reg, field);
}

void emit_load16(struct emitter *e, int reg, u32 field)
{
	load_zero_extended(e, 0xb7, reg, field);
}

void emit_store32_imm(struct emitter *e, u32 field, u32 imm)
{
	field_op(e, false, 0xc7, 0, NO_INDEX, field);
	emit32(e, imm);
}

void emit_store8_imm(struct emitter *e, u32 field, u8 imm)
{
	field_op(e, false, 0xc6, 0, NO_INDEX, field);
	emit8(e, imm);
}

/* VEX.0F38.W1 F5 with the prefix F3 (2) or F2 (3). */
static void bits_by_mask(struct emitter *e, u8 pp, int dst, int src, u32 mask_field)
{
	const u8 vex[] = {0xc4, (u8)((dst & 8 ? 0 : 0x80) | 0x62), (u8)(0x80 | pp | (~src & 15) << 3), 0xf5};

	emit_bytes(e, vex, sizeof(vex));
	field_operand(e, dst, NO_INDEX, mask_field);
}

void emit_pext(struct emitter *e, int dst, int src, u32 mask_field)
{
	bits_by_mask(e, 2, dst, src, mask_field);
}

void emit_pdep(struct emitter *e, int dst, int src, u32 mask_field)
{
	bits_by_mask(e, 3, dst, src, mask_field);
}

static void move(struct emitter *e, bool wide, int dst, int src)
{
	const u8 b[] = {rex(wide, src, 0, dst), 0x89, (u8)(0xc0 | (src & 7) << 3 | (dst & 7))};

	emit_bytes(e, b, sizeof(b));
}

void emit_move(struct emitter *e, int dst, int src)
{
	move(e, true, dst, src);
}

void emit_move32(struct emitter *e, int dst, int src)
{
	move(e, false, dst, src);
}

void emit_constant(struct emitter *e, int dst, u64 v)
{
	if (v == (u32)v) {
		if (dst & 8)
			emit8(e, REX | 1);
		emit8(e, (u8)(0xb8 | (dst & 7)));
		emit32(e, (u32)v);
	} else if ((s64)v == (s32)v) {
		emit8(e, rex(true, 0, 0, dst));
		emit8(e, 0xc7);
		emit8(e, (u8)(0xc0 | (dst & 7)));
		emit32(e, (u32)v);
	} else {
		emit8(e, rex(true, 0, 0, dst));
		emit8(e, (u8)(0xb8 | (dst & 7)));
		emit64(e, v);
	}
}

/* VEX.F2.0F3A.W1 F0: RORX */
void emit_rotate(struct emitter *e, int dst, int src, u8 right)
{
	const u8 b[] = {0xc4,
			(u8)((dst & 8 ? 0 : 0x80) | 0x40 | (src & 8 ? 0 : 0x20) | 3),
			0xfb,
			0xf0,
			(u8)(0xc0 | (dst & 7) << 3 | (src & 7)),
			right};

	emit_bytes(e, b, sizeof(b));
}

/* ModRM and SIB; without a base there is a displacement of 32 bits (SDM vol. 2, table 2-3). */
static void address(struct emitter *e, int reg, int base, int index, u8 scale, s32 disp, bool disp32)
{
	bool none = base == NO_INDEX;
	bool byte = disp >= -128 && disp <= 127 && !(disp32 && disp);
	u8 mod = none || (!disp && (base & 7) != RBP) ? 0 : byte ? 0x40 : 0x80;

	if (index == NO_INDEX && !none && (base & 7) != RSP) {
		emit8(e, (u8)(mod | (reg & 7) << 3 | (base & 7)));
	} else {
		u8 i = index == NO_INDEX ? RSP : (u8)(index & 7);

		emit8(e, (u8)(mod | (reg & 7) << 3 | RM_SIB));
		emit8(e, (u8)(scale << 6 | i << 3 | (none ? RBP : (base & 7))));
	}
	if (none || mod == 0x80)
		emit32(e, (u32)disp);
	else if (mod == 0x40)
		emit8(e, (u8)disp);
}

void emit_lea(struct emitter *e, int dst, int base, int index, u8 scale, s32 disp, bool wide)
{
	if (base != NO_INDEX && index == NO_INDEX && !disp) {
		move(e, wide, dst, base);
		return;
	}
	emit8(e, rex(wide, dst, MAX(index, 0), MAX(base, 0)));
	emit8(e, 0x8d);
	address(e, dst, base, index, scale, disp, false);
}

void emit_modrm_memory(struct emitter *e, int reg, int base, int index, s32 disp, bool disp32)
{
	address(e, reg, base, index, 0, disp, disp32);
}

static u8 *hole32(struct emitter *e)
{
	u8 *at = e->p;

	emit32(e, 0);
	return at;
}

u8 *emit_call(struct emitter *e)
{
	emit8(e, 0xe8);
	return hole32(e);
}

u8 *emit_jump(struct emitter *e)
{
	emit8(e, 0xe9);
	return hole32(e);
}

/* So that the displacement behind an opcode of so many bytes lies within a quadword. CS prefixes say nothing to
 * a jump. */
static void pad_edge(struct emitter *e, u32 opcode)
{
	while (!e->full && ((u64)(e->p + opcode) & 7) > 8 - sizeof(s32))
		emit8(e, 0x2e);
}

u8 *emit_edge(struct emitter *e)
{
	pad_edge(e, 1);
	return emit_jump(e);
}

u8 *emit_edge_jcc(struct emitter *e, u8 cc)
{
	pad_edge(e, 2);
	return emit_jcc(e, cc);
}

u8 *emit_jcc(struct emitter *e, u8 cc)
{
	emit8(e, 0x0f);
	emit8(e, 0x80 | cc);
	return hole32(e);
}

static u8 *jump8(struct emitter *e, u8 opcode)
{
	u8 *at;

	emit8(e, opcode);
	at = e->p;
	emit8(e, 0);
	return at;
}

u8 *emit_jrcxz(struct emitter *e)
{
	return jump8(e, 0xe3);
}

u8 *emit_loop(struct emitter *e)
{
	return jump8(e, 0xe2);
}

void emit_aim(struct emitter *e, u8 *disp, const u8 *target)
{
	s32 v = (s32)(target - (disp + 4));

	if (!e->full)
		memcpy(disp, &v, 4);
}

void emit_land(struct emitter *e, u8 *disp)
{
	emit_aim(e, disp, e->p);
}

void emit_land8(struct emitter *e, u8 *disp)
{
	if (!e->full)
		*disp = (u8)(e->p - (disp + 1));
}

/*
 * With a jump that stands before it, in a NOP of eight bytes: its SIB byte is the jump's opcode, its displacement
 * the jump's.
 */
static struct emit_check hidden_jump(struct emitter *e)
{
	struct emit_check k;

	emit_bytes(e, "\x0f\x1f\x84", 3);
	k.hidden = e->p;
	k.jump = emit_jump(e);
	return k;
}

struct emit_check emit_check(struct emitter *e)
{
	return e->loops ? hidden_jump(e) : (struct emit_check){NULL, NULL};
}

struct emit_check emit_check_below(struct emitter *e)
{
	return e->borrows ? hidden_jump(e) : emit_check(e);
}

u8 *emit_check_end(struct emitter *e, struct emit_check *k)
{
	u8 *disp;

	if (k->hidden) {
		if (!e->loops) {
			emit_lea(e, RCX, RCX, NO_INDEX, 0, -1, true);
			emit_rotate(e, RCX, RCX, 56);
			emit_bytes(e, "\x0f\xb6\xc9", 3); /* MOVZX ECX, CL */
		}
		disp = e->loops ? emit_loop(e) : emit_jrcxz(e);
		if (!e->full)
			*disp = (u8)(k->hidden - (disp + 1));
		return k->jump;
	}
	disp = emit_jrcxz(e);
	k->jump = emit_jump(e);
	emit_land8(e, disp);
	return k->jump;
}

void emit_jump_to(struct emitter *e, const u8 *target)
{
	u8 *disp = emit_jump(e);

	emit_aim(e, disp, target);
}
