/* SPDX-License-Identifier: MIT */
/*
 * translator/stack.c: PUSH, POP and LEAVE of 64 bits.
 */
#include "cpu/translator/translate.h"

#define SP (tr_host[RSP])

static struct tr_mem below(struct xlate *x)
{
	emit_lea(&x->e, GEN_LA, SP, NO_INDEX, 0, -8, true);
	return tr_lookup(x, GEN_LA, 8, true);
}

/* MOV between a register and [base + index], 64 bits. */
static void move_at(struct xlate *x, u8 opcode, int reg, struct tr_mem m)
{
	tr_access(x);
	emit8(&x->e, 0x48 | tr_rex(reg, m));
	emit8(&x->e, opcode);
	emit_modrm_memory(&x->e, reg, m.base, m.index);
}

static void push(struct xlate *x, int g)
{
	struct tr_mem m = below(x);

	move_at(x, 0x89, tr_get(x, g, RCX), m);
	emit_move(&x->e, SP, GEN_LA);
}

static void push_imm(struct xlate *x, s32 imm)
{
	struct tr_mem m = below(x);

	move_at(x, 0xc7, 0, m);
	emit32(&x->e, (u32)imm);
	emit_move(&x->e, SP, GEN_LA);
}

static void pop(struct xlate *x, int g)
{
	struct tr_mem m = tr_lookup(x, SP, 8, false);
	int host = tr_host[g] == IN_MEMORY ? RCX : tr_host[g];

	move_at(x, 0x8b, host, m);
	tr_put(x, g, host);
	if (g != RSP)
		emit_lea(&x->e, SP, SP, NO_INDEX, 0, 8, true);
}

static void leave(struct xlate *x)
{
	struct tr_mem m = tr_lookup(x, RBP, 8, false);

	move_at(x, 0x8b, RCX, m);
	emit_lea(&x->e, SP, RBP, NO_INDEX, 0, 8, true);
	emit_move(&x->e, RBP, RCX);
}

bool tr_stack(struct xlate *x, const struct insn *in)
{
	switch (in->kind) {
	case INSN_PUSH:
		push(x, in->rm);
		return true;
	case INSN_PUSH_IMM:
		push_imm(x, (s32)insn_imm(in));
		return true;
	case INSN_POP:
		pop(x, in->rm);
		return true;
	case INSN_LEAVE:
		leave(x);
		return true;
	default:
		return false;
	}
}
