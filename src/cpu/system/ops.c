/* SPDX-License-Identifier: MIT */
/*
 * system/ops.c: operand forms the system instructions share.
 */
#include "cpu/system/ops.h"

u16 op_read16(struct cpu *c, const struct op *o)
{
	if (o->aux & AUX_REG) {
		op_begin(c, o);
		return R16(c, o->r0);
	}
	return ld16(c, op_ea(c, o, 2, false));
}

void op_write16(struct cpu *c, const struct op *o, u64 v)
{
	if (o->aux & AUX_REG)
		put_reg(c, o->r0, op_size(o), v);
	else
		st16(c, op_ea(c, o, 2, true), (u16)v);
}

void op_rm(struct decoder *d, struct op *op, unsigned n)
{
	op->aux = d->i.operand_width / 8;
	if (d->o[n].type == ZYDIS_OPERAND_TYPE_REGISTER) {
		op->aux |= AUX_REG;
		op->r0 = decode_gpr(d->o[n].reg.value);
	} else {
		decode_mem(d, &d->o[n], op);
	}
}

bool op_plain(struct op *op, op_fn *fn)
{
	op->fn = fn;
	return true;
}
