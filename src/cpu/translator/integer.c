/* SPDX-License-Identifier: MIT */
/*
 * translator/integer.c: moves and arithmetic. The instruction is the guest's own, with registers and
 * the memory operand replaced.
 */
#include "cpu/translator/translate.h"

#define REX   0x40
#define REX_W 8

/* Prefixes and opcode. `any_rex`: an 8-bit operand is SPL, BPL, SIL or DIL. */
static void emit_opcode(struct emitter *e, const struct insn *in, u8 rex_bits, bool any_rex)
{
	u8 rex = rex_bits | (in->size == 8 ? REX_W : 0);

	if (in->lock)
		emit8(e, 0xf0);
	if (in->size == 2)
		emit8(e, 0x66);
	if (in->rep)
		emit8(e, in->rep);
	if (rex || any_rex)
		emit8(e, REX | rex);
	if (in->map)
		emit8(e, 0x0f);
	if (in->map == 2)
		emit8(e, 0x38);
	emit8(e, in->opcode);
}

static bool byte_needs_rex(int host)
{
	return host >= RSP && host <= RDI;
}

static void emit_registers(struct xlate *x, const struct insn *in, int g, int rm)
{
	bool any = ((in->attr & (BYTES | E_BYTE)) && byte_needs_rex(rm)) ||
		   ((in->attr & BYTES) && !(in->attr & NO_G) && byte_needs_rex(g));

	emit_opcode(&x->e, in, (u8)((g >> 3) << 2 | rm >> 3), any);
	emit8(&x->e, (u8)(0xc0 | (g & 7) << 3 | (rm & 7)));
	emit_bytes(&x->e, in->imm, in->nimm);
}

static void take_cl(struct xlate *x, const struct insn *in)
{
	if (in->attr & BY_CL)
		emit_move32(&x->e, RCX, tr_host[RCX]);
	else if (in->attr & E_PAIR)
		emit_move(&x->e, RCX, tr_host[RCX]);
}

/* The host register for an operand. What is written only, and whole, need not be loaded. */
static int operand(struct xlate *x, const struct insn *in, int g, bool reads, int scratch)
{
	if (reads || in->size < 4 || tr_host[g] != IN_MEMORY)
		return tr_get(x, g, scratch);
	if (scratch == GEN_INDEX)
		x->index_has = NULL;
	return scratch;
}

/* MOV where one of the registers, or both, are in memory. */
static bool moves(struct xlate *x, const struct insn *in)
{
	bool to_rm = in->opcode == 0x89;
	u8 dst = to_rm ? in->rm : in->reg, src = to_rm ? in->reg : in->rm;
	int to = tr_host[dst], from = tr_host[src];

	if (in->map || (in->opcode != 0x89 && in->opcode != 0x8b) || in->size < 4 || (to != IN_MEMORY && from != IN_MEMORY))
		return false;
	if (to == IN_MEMORY && in->size == 8) {
		emit_store(&x->e, GPR_FIELD(dst), tr_get(x, src, R15));
		return true;
	}
	if (to == IN_MEMORY)
		to = R15;
	if (from != IN_MEMORY)
		emit_move32(&x->e, to, from);
	else if (in->size == 8)
		emit_load(&x->e, to, GPR_FIELD(src));
	else
		emit_load32(&x->e, to, GPR_FIELD(src));
	tr_put(x, dst, to);
	return true;
}

static void registers(struct xlate *x, const struct insn *in)
{
	int rm, g;

	if (moves(x, in))
		return;
	rm = operand(x, in, in->rm, (in->attr & E_READ) || in->reg == in->rm, R15);
	g = in->attr & NO_G ? in->reg : in->reg == in->rm ? rm : operand(x, in, in->reg, in->attr & G_READ, R14);

	take_cl(x, in);
	if (in->attr & FAULTS)
		tr_access(x);
	emit_registers(x, in, g, rm);
	if (in->attr & E_WRITE)
		tr_put(x, in->rm, rm);
	if (in->attr & G_WRITE)
		tr_put(x, in->reg, g);
}

static void memory(struct xlate *x, const struct insn *in)
{
	u32 size = insn_memory_size(in);
	struct tr_mem m = in->locked ? tr_locked_operand(x, in, size)
				     : tr_operand(x, in, size, in->attr & E_WRITE);
	int g = in->attr & NO_G ? in->reg : operand(x, in, in->reg, in->attr & G_READ, RCX);
	bool any = (in->attr & BYTES) && !(in->attr & NO_G) && byte_needs_rex(g);

	take_cl(x, in);
	tr_access(x);
	emit_opcode(&x->e, in, tr_rex(g, m), any);
	tr_modrm(x, g, m);
	emit_bytes(&x->e, in->imm, in->nimm);
	if (in->attr & G_WRITE)
		tr_put(x, in->reg, g);
}

/*
 * AH, CH, DH and BH cannot be named beside a REX prefix, so the bytes stay as they are, with the
 * guest's RCX in the host's for as long.
 */
static void high_bytes(struct xlate *x, const struct insn *in, const u8 *bytes, u8 len)
{
	emit_move(&x->e, RCX, tr_host[RCX]);
	if (in->attr & FAULTS)
		tr_access(x);
	emit_bytes(&x->e, bytes, len);
	emit_move(&x->e, tr_host[RCX], RCX);
}

static void opcode_register(struct xlate *x, const struct insn *in)
{
	bool immediate = !(in->attr & E_READ) && !(in->attr & BYTES) && in->size != 2;
	int rm;

	if (immediate) { /* MOV of 32 or 64 bits */
		u64 v = (u64)insn_imm(in);

		if (in->size == 4)
			v = (u32)v;
		rm = tr_host[in->rm] == IN_MEMORY ? R15 : tr_host[in->rm];
		emit_constant(&x->e, rm, v);
	} else {
		rm = tr_get(x, in->rm, R15);
		if (in->size == 2)
			emit8(&x->e, 0x66);
		if (in->size == 8 || rm >= 8 || (in->size == 1 && byte_needs_rex(rm)))
			emit8(&x->e, (u8)(REX | (in->size == 8 ? REX_W : 0) | rm >> 3));
		if (in->map)
			emit8(&x->e, 0x0f);
		emit8(&x->e, (u8)((in->opcode & 0xf8) | (rm & 7)));
		emit_bytes(&x->e, in->imm, in->nimm);
	}
	tr_put(x, in->rm, rm);
}

static void lea(struct xlate *x, const struct insn *in)
{
	int dst = tr_host[in->reg] == IN_MEMORY ? R15 : tr_host[in->reg];
	int base = NO_INDEX, index = NO_INDEX;

	if (in->base >= 0)
		base = tr_get(x, in->base, R15);
	if (in->index >= 0)
		index = tr_get(x, in->index, R14);
	if (base == NO_INDEX && index == NO_INDEX)
		emit_constant(&x->e, dst, in->size == 4 ? (u32)in->disp : (u64)in->disp);
	else
		emit_lea(&x->e, dst, base, index, in->scale, (s32)in->disp, in->size == 8);
	tr_put(x, in->reg, dst);
}

bool tr_integer(struct xlate *x, const struct insn *in, const u8 *bytes, u8 len)
{
	switch (in->kind) {
	case INSN_NOP:
		return true;
	case INSN_COPY:
		emit_bytes(&x->e, bytes, len);
		return true;
	case INSN_LEA:
		lea(x, in);
		return true;
	case INSN_RM:
		if (insn_has_high_byte(in))
			high_bytes(x, in, bytes, len);
		else if (in->mem)
			memory(x, in);
		else
			registers(x, in);
		return true;
	case INSN_REG:
		if (insn_has_high_byte(in))
			high_bytes(x, in, bytes, len);
		else
			opcode_register(x, in);
		return true;
	default:
		return false;
	}
}
