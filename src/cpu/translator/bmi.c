/* SPDX-License-Identifier: MIT */
/*
 * translator/bmi.c: instructions of general registers with a VEX prefix: BMI1 and BMI2. They name up to
 * three registers, more than there is scratch for beside a memory operand, so that is loaded first.
 */
#include "cpu/translator/translate.h"

enum { PP_NONE, PP_66, PP_F3, PP_F2 };

/* All of them read E. vvvv is another source but for BLSR and its like and MULX, which write it. */
void insn_classify_vex(struct insn *in, u8 reg)
{
	if (in->map == 3 && in->opcode == 0xf0 && in->pp == PP_F2) { /* RORX */
		in->kind = INSN_VEX;
		in->attr = E_READ | G_WRITE;
		return;
	}
	if (in->map != 2)
		return;
	in->attr = E_READ | G_WRITE | V_READ;
	switch (in->opcode) {
	case 0xf2: /* ANDN */
		if (in->pp == PP_NONE)
			in->kind = INSN_VEX;
		break;
	case 0xf3: /* BLSR, BLSMSK, BLSI */
		in->attr = E_READ | NO_G | V_WRITE;
		if (in->pp == PP_NONE && reg >= 1 && reg <= 3)
			in->kind = INSN_VEX;
		break;
	case 0xf5: /* BZHI, PEXT, PDEP */
		if (in->pp != PP_66)
			in->kind = INSN_VEX;
		break;
	case 0xf6: /* MULX */
		in->attr = E_READ | G_WRITE | V_WRITE;
		if (in->pp == PP_F2)
			in->kind = INSN_VEX;
		break;
	case 0xf7: /* BEXTR, SHLX, SARX, SHRX */
		in->kind = INSN_VEX;
		break;
	}
}

static int load_operand(struct xlate *x, const struct insn *in)
{
	struct tr_mem m = tr_operand(x, in, in->size, false);
	u8 rex = tr_rex(R15, m);

	tr_access(x);
	emit8(&x->e, (u8)(0x40 | (in->size == 8 ? 8 : 0) | rex));
	emit8(&x->e, 0x8b);
	tr_modrm(x, R15, m);
	return R15;
}

static void emit_vex(struct emitter *e, const struct insn *in, int reg, int vvvv, int rm)
{
	const u8 b[] = {0xc4,
			(u8)((reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | in->map),
			(u8)((in->size == 8 ? 0x80 : 0) | (~vvvv & 15) << 3 | in->pp),
			in->opcode,
			(u8)(0xc0 | (reg & 7) << 3 | (rm & 7))};

	emit_bytes(e, b, sizeof(b));
	emit_bytes(e, in->imm, in->nimm);
}

/* Where the result goes that guest register g is to have. */
static int result(int g, int scratch)
{
	return tr_host[g] == IN_MEMORY ? scratch : tr_host[g];
}

bool tr_bmi(struct xlate *x, const struct insn *in)
{
	int rm, reg = in->reg, vvvv = 0;

	if (in->kind != INSN_VEX)
		return false;
	rm = in->mem ? load_operand(x, in) : tr_get(x, in->rm, R15);
	if (in->attr & V_READ)
		vvvv = tr_get(x, in->vvvv, R14);
	else if (in->attr & V_WRITE)
		vvvv = result(in->vvvv, R14);
	if (in->attr & G_WRITE)
		reg = result(in->reg, RCX);
	emit_vex(&x->e, in, reg, vvvv, rm);
	if (in->attr & V_WRITE)
		tr_put(x, in->vvvv, vvvv);
	/* Last, as MULX's upper half has it where both are one register. */
	if (in->attr & G_WRITE)
		tr_put(x, in->reg, reg);
	return true;
}
