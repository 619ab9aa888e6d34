/* SPDX-License-Identifier: MIT */
/*
 * native/x87env.c: x87 control: instructions that show the environment (which on the host would
 * be the stub's), that do not wait for pending exceptions, or that only change words of the image.
 */
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/native/forms.h"

#define FCW_MASKS 0x003f
#define FSW_KEEP  0x7f00 /* what FNCLEX leaves: conditions and TOP */
#define MAX_ENV	  28
#define REG_BYTES 10

/* op->aux */
#define ENV_32	 1 /* 32-bit operand size */
#define ENV_REAL 2 /* real-address and virtual-8086 mode: linear pointers */

struct env {
	u16 fcw, fsw, ftw, fop;
	u64 fip, fdp;
};

static u32 top(const struct cpu *c)
{
	return (c->fx[FX_FSW + 1] >> 3) & 7;
}

/* Register `phys` stands in the image's slot of ST(phys - TOP). */
static u8 *phys_reg(struct cpu *c, u32 phys)
{
	return c->fx + FX_ST + 16 * ((phys - top(c)) & 7);
}

/* A new status word; the registers stay where they are when TOP moves. */
static void set_fsw(struct cpu *c, u16 fsw)
{
	u8 regs[8][16];

	for (u32 i = 0; i < 8; i++)
		memcpy(regs[i], phys_reg(c, i), 16);
	*native_fx16(c, FX_FSW) = fsw;
	for (u32 i = 0; i < 8; i++)
		memcpy(phys_reg(c, i), regs[i], 16);
}

/* The error summary follows from flags and masks (SDM vol. 1, 8.1.3.3). */
static void update_summary(struct cpu *c)
{
	u16 *fsw = native_fx16(c, FX_FSW), fcw = *native_fx16(c, FX_FCW);

	if (*fsw & ~fcw & FCW_MASKS)
		*fsw |= FSW_ES | FSW_B;
	else
		*fsw &= (u16)~(FSW_ES | FSW_B);
}

/* Two bits a register: valid, zero, special, empty (SDM vol. 1, 8.1.7). */
static u16 full_tags(struct cpu *c)
{
	u16 tags = 0;

	for (u32 i = 0; i < 8; i++) {
		const u8 *r = phys_reg(c, i);
		u16 exponent, tag;
		u64 mantissa;

		memcpy(&mantissa, r, 8);
		memcpy(&exponent, r + 8, 2);
		exponent &= 0x7fff;
		if (!(c->fx[FX_FTW] & BIT(i)))
			tag = 3;
		else if (!exponent && !mantissa)
			tag = 1;
		else if (!exponent || exponent == 0x7fff || !(mantissa >> 63))
			tag = 2;
		else
			tag = 0;
		tags |= (u16)(tag << (2 * i));
	}
	return tags;
}

static struct env get_env(struct cpu *c)
{
	struct env e = {
		.fcw = *native_fx16(c, FX_FCW),
		.fsw = *native_fx16(c, FX_FSW),
		.ftw = full_tags(c),
		.fop = *native_fx16(c, FX_FOP) & 0x7ff,
	};

	memcpy(&e.fip, c->fx + FX_FIP, 8);
	memcpy(&e.fdp, c->fx + FX_FDP, 8);
	return e;
}

static void set_env(struct cpu *c, const struct env *e)
{
	set_fsw(c, e->fsw);
	*native_fx16(c, FX_FCW) = (u16)((e->fcw & 0x1f3f) | 0x40);
	c->fx[FX_FTW] = 0;
	for (u32 i = 0; i < 8; i++) {
		if (((e->ftw >> (2 * i)) & 3) != 3)
			c->fx[FX_FTW] |= (u8)BIT(i);
	}
	*native_fx16(c, FX_FOP) = e->fop & 0x7ff;
	memcpy(c->fx + FX_FIP, &e->fip, 8);
	memcpy(c->fx + FX_FDP, &e->fdp, 8);
	update_summary(c);
}

static u32 env_size(u16 aux)
{
	return aux & ENV_32 ? 28 : 14;
}

/* The four formats of SDM vol. 1, 8.1.10; selectors as 0, reserved halves as ones. */
static void put_env(const struct env *e, u16 aux, u8 *out)
{
	u32 w[7] = {e->fcw, e->fsw, e->ftw, (u32)e->fip, 0, (u32)e->fdp, 0};

	if (aux & ENV_REAL) {
		u32 shift = 12;

		w[3] &= 0xffff;
		w[5] &= 0xffff;
		w[4] = (u32)(e->fip >> 16) << shift | e->fop;
		w[6] = (u32)(e->fdp >> 16) << shift;
		if (aux & ENV_32) {
			w[3] |= 0xffff0000;
			w[5] |= 0xffff0000;
			w[4] &= 0x0fffffff;
			w[6] &= 0x0fffffff;
		}
	} else if (aux & ENV_32) {
		w[4] = (u32)e->fop << 16;
		w[6] = 0xffff0000;
	}
	if (aux & ENV_32) {
		for (u32 i = 0; i < 3; i++)
			w[i] |= 0xffff0000;
		memcpy(out, w, sizeof(w));
		return;
	}
	for (u32 i = 0; i < 7; i++)
		memcpy(out + 2 * i, &w[i], 2);
}

static struct env parse_env(const u8 *in, u16 aux)
{
	struct env e = {0};
	u32 w[7] = {0};

	for (u32 i = 0; i < 7; i++)
		memcpy(&w[i], in + i * (aux & ENV_32 ? 4 : 2), aux & ENV_32 ? 4 : 2);
	e.fcw = (u16)w[0];
	e.fsw = (u16)w[1];
	e.ftw = (u16)w[2];
	e.fip = w[3];
	e.fdp = w[5];
	if (aux & ENV_REAL) {
		u32 mask = aux & ENV_32 ? 0xffff : 0xf;

		e.fip = (w[3] & 0xffff) | ((w[4] >> 12) & mask) << 16;
		e.fdp = (w[5] & 0xffff) | ((w[6] >> 12) & mask) << 16;
		e.fop = (u16)w[4];
	} else if (aux & ENV_32) {
		e.fop = (u16)(w[4] >> 16);
	}
	return e;
}

/* An image is looked at whole before any of it is accessed: its first word, then its end. */
static u64 image_la(struct cpu *c, const struct op *o, u32 size, bool write)
{
	u32 word = o->aux & ENV_32 ? 4 : 2;
	u64 la = op_ea(c, o, word, write);

	access_probe(c, la, word, write);
	op_ea(c, o, size, write);
	access_probe(c, (la + size - 1) & c->ea_mask, 1, write);
	return la;
}

static const struct op *fnstenv(struct cpu *c, const struct op *o)
{
	u64 la = image_la(c, o, env_size(o->aux), true);
	struct env e = get_env(c);
	u8 buf[MAX_ENV];

	put_env(&e, o->aux, buf);
	access_write(c, la, buf, env_size(o->aux));
	*native_fx16(c, FX_FCW) |= FCW_MASKS;
	update_summary(c);
	return op_after_slow_store(c, o);
}

static const struct op *fldenv(struct cpu *c, const struct op *o)
{
	u8 buf[MAX_ENV];
	struct env e;

	native_check_mf(c, o);
	access_read(c, image_la(c, o, env_size(o->aux), false), buf, env_size(o->aux));
	e = parse_env(buf, o->aux);
	set_env(c, &e);
	return o + 1;
}

static void init(struct cpu *c)
{
	set_fsw(c, 0);
	memset(c->fx, 0, FX_MXCSR);
	*native_fx16(c, FX_FCW) = FCW_INIT;
}

static const struct op *fnsave(struct cpu *c, const struct op *o)
{
	u32 size = env_size(o->aux);
	u64 la = image_la(c, o, size + 8 * REG_BYTES, true);
	u8 buf[MAX_ENV + 8 * REG_BYTES];
	struct env e = get_env(c);

	put_env(&e, o->aux, buf);
	for (u32 i = 0; i < 8; i++)
		memcpy(buf + size + REG_BYTES * i, c->fx + FX_ST + 16 * i, REG_BYTES);
	access_write(c, la, buf, size + 8 * REG_BYTES);
	init(c);
	return op_after_slow_store(c, o);
}

static const struct op *frstor(struct cpu *c, const struct op *o)
{
	u8 buf[MAX_ENV + 8 * REG_BYTES];
	u32 size = env_size(o->aux);
	struct env e;

	native_check_mf(c, o);
	access_read(c, image_la(c, o, size + 8 * REG_BYTES, false), buf, size + 8 * REG_BYTES);
	e = parse_env(buf, o->aux);
	set_env(c, &e);
	for (u32 i = 0; i < 8; i++)
		memcpy(c->fx + FX_ST + 16 * i, buf + size + REG_BYTES * i, REG_BYTES);
	return o + 1;
}

static const struct op *fnstcw(struct cpu *c, const struct op *o)
{
	st16(c, op_ea(c, o, 2, true), *native_fx16(c, FX_FCW));
	return op_after_slow_store(c, o);
}

static const struct op *fnstsw(struct cpu *c, const struct op *o)
{
	st16(c, op_ea(c, o, 2, true), *native_fx16(c, FX_FSW));
	return op_after_slow_store(c, o);
}

static const struct op *fnstsw_ax(struct cpu *c, const struct op *o)
{
	*(u16 *)&c->reg[RAX] = *native_fx16(c, FX_FSW);
	return o + 1;
}

static const struct op *fnclex(struct cpu *c, const struct op *o)
{
	*native_fx16(c, FX_FSW) &= FSW_KEEP;
	return o + 1;
}

static const struct op *fninit(struct cpu *c, const struct op *o)
{
	init(c);
	return o + 1;
}

/* WAIT traps on TS only where MP asks for it (SDM vol. 3, table 9-2). */
static const struct op *fwait(struct cpu *c, const struct op *o)
{
	c->op = o;
	if ((c->cr0 & CR0_MP) && (c->cr0 & CR0_TS))
		cpu_raise(c, VEC_NM);
	native_check_mf(c, o);
	return o + 1;
}

/* What the 8087 and 80287 needed. */
static const struct op *nothing(struct cpu *c, const struct op *o)
{
	return o + 1;
}

static op_fn *handler(const struct decoder *d)
{
	bool mem = d->o[0].type == ZYDIS_OPERAND_TYPE_MEMORY;

	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_FNSTENV:
		return fnstenv;
	case ZYDIS_MNEMONIC_FLDENV:
		return fldenv;
	case ZYDIS_MNEMONIC_FNSAVE:
		return fnsave;
	case ZYDIS_MNEMONIC_FRSTOR:
		return frstor;
	case ZYDIS_MNEMONIC_FNSTCW:
		return fnstcw;
	case ZYDIS_MNEMONIC_FNSTSW:
		return mem ? fnstsw : fnstsw_ax;
	case ZYDIS_MNEMONIC_FNCLEX:
		return fnclex;
	case ZYDIS_MNEMONIC_FNINIT:
		return fninit;
	case ZYDIS_MNEMONIC_FENI8087_NOP:
	case ZYDIS_MNEMONIC_FDISI8087_NOP:
	case ZYDIS_MNEMONIC_FSETPM287_NOP:
		return nothing;
	default:
		return NULL;
	}
}

bool native_decode_x87_c(struct decoder *d, struct op *op)
{
	u32 mode = d->key & BLOCK_KEY_MODE;

	if (d->i.mnemonic == ZYDIS_MNEMONIC_FWAIT) {
		op->fn = fwait;
		return true;
	}
	op->fn = native_trap(d, UNIT_X87, false);
	if (op->fn)
		return true;
	native_memory(d, op);
	op->aux = d->i.operand_width == 16 ? 0 : ENV_32;
	if (mode == MODE_REAL || mode == MODE_V86)
		op->aux |= ENV_REAL;
	op->fn = handler(d);
	return op->fn;
}
