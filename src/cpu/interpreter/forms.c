/* SPDX-License-Identifier: MIT */
#include "cpu/interpreter/value.h"

bool decode_rm(struct decoder *d, const ZydisDecodedOperand *o, struct op *op)
{
	if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
		decode_mem(d, o, op);
		return true;
	}
	op->r0 = decode_gpr(o->reg.value);
	return false;
}

enum form decode_form(struct decoder *d, struct op *op)
{
	const ZydisDecodedOperand *a = &d->o[0], *b = &d->o[1];
	bool mem = decode_rm(d, a, op);

	switch (b->type) {
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		op->imm = (s32)b->imm.value.s;
		return mem ? FORM_MI : FORM_RI;
	case ZYDIS_OPERAND_TYPE_REGISTER:
		op->r1 = decode_gpr(b->reg.value);
		return mem ? FORM_MR : FORM_RR;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		decode_mem(d, b, op);
		return mem ? FORM_NONE : FORM_RM;
	default:
		return FORM_NONE;
	}
}
