/* SPDX-License-Identifier: MIT */
/*
 * system/ops_segment.c: descriptor-table registers, segment registers and the instructions that
 * look at descriptors.
 */
#include "cpu/system/ops.h"

/* ---- LGDT, LIDT, SGDT, SIDT: aux bit AUX_N chooses the IDT */

static struct dtable *table_of(struct cpu *c, const struct op *o)
{
	return o->aux >> AUX_N ? &c->idt : &c->gdt;
}

static const struct op *run_load_table(struct cpu *c, const struct op *o)
{
	unsigned size = op_size(o);
	u16 limit;
	u64 la, base;

	op_begin(c, o);
	need_cpl0(c);
	la = op_ea(c, o, size == 8 ? 10 : 6, false);
	limit = ld16(c, la);
	la = (la + 2) & c->ea_mask;
	base = size == 8 ? ld64(c, la) : ld32(c, la);
	if (size == 2)
		base &= 0xffffff;
	if (size == 8 && !la_canonical(c, base))
		raise_gp0(c);
	*table_of(c, o) = (struct dtable){.base = base, .limit = limit};
	return op_continue(o);
}

static const struct op *run_store_table(struct cpu *c, const struct op *o)
{
	const struct dtable *t = table_of(c, o);
	bool wide = op_size(o) == 8;
	u8 image[10];
	u64 la;

	op_begin(c, o);
	need_umip(c);
	la = op_ea(c, o, wide ? 10 : 6, true);
	memcpy(image, &t->limit, 2);
	memcpy(image + 2, &t->base, 8);
	access_write(c, la, image, wide ? 10 : 6);
	return op_after_slow_store(c, o);
}

static bool decode_table(struct decoder *d, struct op *op, op_fn *fn, unsigned idt)
{
	decode_mem(d, &d->o[0], op);
	op->aux = (u16)((cpu_long(d->c) ? 8 : d->i.operand_width / 8) | idt << AUX_N);
	return op_plain(op, fn);
}

bool decode_lgdt(struct decoder *d, struct op *op)
{
	return decode_table(d, op, run_load_table, 0);
}

bool decode_lidt(struct decoder *d, struct op *op)
{
	return decode_table(d, op, run_load_table, 1);
}

bool decode_sgdt(struct decoder *d, struct op *op)
{
	return decode_table(d, op, run_store_table, 0);
}

bool decode_sidt(struct decoder *d, struct op *op)
{
	return decode_table(d, op, run_store_table, 1);
}

/* ---- LLDT, LTR, SLDT, STR */

static const struct op *run_lldt(struct cpu *c, const struct op *o)
{
	struct desc d;
	u16 sel;

	op_begin(c, o);
	need_cpl0(c);
	sel = op_read16(c, o);
	if (SEL_NULL(sel)) {
		seg_commit_null(c, SEG_LDTR, sel, 0);
		return op_continue(o);
	}
	if (sel & SEL_TI)
		raise_sel(c, VEC_GP, sel);
	desc_read_or(c, sel, VEC_GP, &d);
	if ((d.attr & SEG_ATTR_S) || attr_type(d.attr) != TYPE_LDT)
		raise_sel(c, VEC_GP, sel);
	if (!(d.attr & SEG_ATTR_P))
		raise_sel(c, VEC_NP, sel);
	desc_widen(c, sel, &d);
	seg_commit(c, SEG_LDTR, sel, &d);
	return op_continue(o);
}

static const struct op *run_ltr(struct cpu *c, const struct op *o)
{
	struct desc d;
	unsigned type;
	u16 sel;

	op_begin(c, o);
	need_cpl0(c);
	sel = op_read16(c, o);
	if (SEL_NULL(sel))
		raise_gp0(c);
	if (sel & SEL_TI)
		raise_sel(c, VEC_GP, sel);
	desc_read_or(c, sel, VEC_GP, &d);
	type = attr_type(d.attr);
	if ((d.attr & SEG_ATTR_S) ||
	    (type != TYPE_TSS && (type != TYPE_TSS16 || (c->efer & EFER_LMA))))
		raise_sel(c, VEC_GP, sel);
	if (!(d.attr & SEG_ATTR_P))
		raise_sel(c, VEC_NP, sel);
	desc_widen(c, sel, &d);
	/* Of two who load it at once, one finds it busy. */
	if (access_bits_sys(c, d.addr + DESC_TYPE_AT, TYPE_BUSY, 0) & TYPE_BUSY)
		raise_sel(c, VEC_GP, sel);
	d.attr |= TYPE_BUSY;
	seg_commit(c, SEG_TR, sel, &d);
	return op_continue(o);
}

static const struct op *run_store_sel(struct cpu *c, const struct op *o)
{
	op_begin(c, o);
	need_umip(c);
	op_write16(c, o, c->seg[o->aux >> AUX_N].sel);
	return op_after_slow_store(c, o);
}

static bool decode_sel(struct decoder *d, struct op *op, op_fn *fn, unsigned seg)
{
	if (real_or_v86(d->c))
		return false;
	op_rm(d, op, 0);
	op->aux |= seg << AUX_N;
	return op_plain(op, fn);
}

bool decode_lldt(struct decoder *d, struct op *op)
{
	return decode_sel(d, op, run_lldt, SEG_LDTR);
}

bool decode_ltr(struct decoder *d, struct op *op)
{
	return decode_sel(d, op, run_ltr, SEG_TR);
}

bool decode_sldt(struct decoder *d, struct op *op)
{
	return decode_sel(d, op, run_store_sel, SEG_LDTR);
}

bool decode_str(struct decoder *d, struct op *op)
{
	return decode_sel(d, op, run_store_sel, SEG_TR);
}

/* ---- MOV, PUSH and POP of segment registers: aux >> AUX_N is the register */

/* A segment was loaded: go on unless what decoded code depends on has changed. */
static const struct op *after_load(struct cpu *c, const struct op *o, enum segreg s, u32 key,
				   u8 shadow)
{
	if (s == SEG_SS)
		c->shadow = shadow;
	if (c->key == key)
		return op_continue(o);
	c->rip = op_next_rip(c, o) & c->ea_mask;
	c->op = NULL;
	return NULL;
}

static const struct op *run_mov_to_seg(struct cpu *c, const struct op *o)
{
	enum segreg s = o->aux >> AUX_N;
	u16 sel = op_read16(c, o);
	u32 key = c->key;

	seg_load(c, s, sel);
	return after_load(c, o, s, key, SHADOW_MOV_SS);
}

static const struct op *run_mov_from_seg(struct cpu *c, const struct op *o)
{
	op_write16(c, o, c->seg[o->aux >> AUX_N].sel);
	return op_after_slow_store(c, o);
}

static const struct op *run_push_seg(struct cpu *c, const struct op *o)
{
	unsigned size = op_size(o);
	struct stack st;

	op_begin(c, o);
	stack_current(c, &st);
	if (size == 4 && !cpu_vendor_does(c, FACT_PUSH_SEG)) {
		st.sp = (st.sp & ~st.mask) | ((st.sp - 2) & st.mask);
		size = 2;
	}
	stack_push(c, &st, size, c->seg[o->aux >> AUX_N].sel);
	stack_commit(c, &st);
	return op_after_slow_store(c, o);
}

static const struct op *run_pop_seg(struct cpu *c, const struct op *o)
{
	enum segreg s = o->aux >> AUX_N;
	u32 key = c->key;
	struct stack st;
	u16 sel;

	op_begin(c, o);
	stack_current(c, &st);
	sel = (u16)stack_pop(c, &st, op_size(o));
	seg_load(c, s, sel);
	/* The stack that was popped is the old one, whatever SS is now. */
	stack_commit(c, &st);
	return after_load(c, o, s, key, SHADOW_MOV_SS);
}

static unsigned segreg_of(ZydisRegister r)
{
	return r - ZYDIS_REGISTER_ES;
}

static bool is_segreg(const ZydisDecodedOperand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->reg.value >= ZYDIS_REGISTER_ES &&
	       o->reg.value <= ZYDIS_REGISTER_GS;
}

bool system_decode_mov(struct decoder *d, struct op *op)
{
	unsigned s;

	if (is_segreg(&d->o[0])) {
		s = segreg_of(d->o[0].reg.value);
		if (s == SEG_CS)
			return false;
		op_rm(d, op, 1);
		op->fn = run_mov_to_seg;
		d->ends_block = s == SEG_SS;
	} else if (is_segreg(&d->o[1])) {
		s = segreg_of(d->o[1].reg.value);
		op_rm(d, op, 0);
		op->fn = run_mov_from_seg;
	} else if (d->i.opcode == 0x20 || d->i.opcode == 0x22) {
		return decode_mov_cr(d, op);
	} else {
		return decode_mov_dr(d, op);
	}
	op->aux |= s << AUX_N;
	return true;
}

static bool decode_stack_seg(struct decoder *d, struct op *op, op_fn *fn)
{
	op->aux = (u16)(d->i.operand_width / 8 | segreg_of(d->o[0].reg.value) << AUX_N);
	return op_plain(op, fn);
}

bool system_decode_push_seg(struct decoder *d, struct op *op)
{
	return decode_stack_seg(d, op, run_push_seg);
}

bool system_decode_pop_seg(struct decoder *d, struct op *op)
{
	d->ends_block = segreg_of(d->o[0].reg.value) == SEG_SS;
	return decode_stack_seg(d, op, run_pop_seg);
}

/* ---- LDS, LES, LFS, LGS, LSS */

static u64 read_far_pointer(struct cpu *c, const struct op *o, u16 *sel)
{
	unsigned size = op_size(o);
	u64 la = op_ea(c, o, size + 2, false);
	u64 off = size == 8 ? ld64(c, la) : size == 4 ? ld32(c, la) : ld16(c, la);

	*sel = ld16(c, (la + size) & c->ea_mask);
	return off;
}

static const struct op *run_load_far(struct cpu *c, const struct op *o)
{
	enum segreg s = o->aux >> AUX_N;
	u32 key = c->key;
	u16 sel;
	u64 off = read_far_pointer(c, o, &sel);

	seg_load(c, s, sel);
	put_reg(c, o->r0, op_size(o), off);
	return after_load(c, o, s, key, 0);
}

static bool decode_load_far(struct decoder *d, struct op *op, enum segreg s)
{
	op->r0 = decode_gpr(d->o[0].reg.value);
	decode_mem(d, &d->o[1], op);
	op->aux = (u16)(op_far_size(d) | s << AUX_N);
	return op_plain(op, run_load_far);
}

bool decode_lds(struct decoder *d, struct op *op)
{
	return decode_load_far(d, op, SEG_DS);
}

bool decode_les(struct decoder *d, struct op *op)
{
	return decode_load_far(d, op, SEG_ES);
}

bool decode_lfs(struct decoder *d, struct op *op)
{
	return decode_load_far(d, op, SEG_FS);
}

bool decode_lgs(struct decoder *d, struct op *op)
{
	return decode_load_far(d, op, SEG_GS);
}

bool decode_lss(struct decoder *d, struct op *op)
{
	return decode_load_far(d, op, SEG_SS);
}
