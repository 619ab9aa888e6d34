/* SPDX-License-Identifier: MIT */
/*
 * native/fxsave.c: FXSAVE, FXRSTOR, and the 512 bytes they share with XSAVE: the legacy region
 * (SDM vol. 1, 10.5.1 and 13.4.1).
 */
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/interpreter/ea.h"
#include "cpu/native/forms.h"
#include "cpu/native/legacy.h"
#include "cpu/table/vendor.h"

u32 legacy_xmm_count(const struct cpu *c)
{
	return cpu_long(c) ? 16 : 8;
}

/* Without REX.W pointers are 32 bits with selectors above, which are recorded as 0. */
void legacy_put_x87(const struct cpu *c, u8 *image, bool wide)
{
	xstate_get_x87(c, image);
	if (cpu_vendor_does(c, FACT_FP_POINTERS) && !(image[FX_FSW] & FSW_ES))
		memset(image + FX_FOP, 0, FX_MXCSR - FX_FOP);
	if (wide)
		return;
	memset(image + FX_FIP + 4, 0, 4);
	memset(image + FX_FDP + 4, 0, 4);
}

/* An instruction pointer that is not canonical is made so when it is loaded. */
static void make_canonical(u8 *p)
{
	u32 shift = 64u - native_host.linear_bits;
	s64 v;

	memcpy(&v, p, 8);
	v = (s64)((u64)v << shift) >> shift;
	memcpy(p, &v, 8);
}

void legacy_take_x87(struct cpu *c, u8 *image, bool wide)
{
	make_canonical(image + FX_FIP);
	if (!wide) {
		memset(image + FX_FIP + 4, 0, 4);
		memset(image + FX_FDP + 4, 0, 4);
	}
	xstate_set_x87(c, image);
}

u32 legacy_take_mxcsr(struct cpu *c, const u8 *image)
{
	u32 v;

	memcpy(&v, image + FX_MXCSR, 4);
	if (v & ~native_host.mxcsr_mask)
		cpu_raise_error(c, VEC_GP, 0);
	return v;
}

/* Bytes from `at` on that surely do not wrap: all of them, or as many as are aligned together. */
static u32 unbroken(const struct op *o, u32 at, u32 size)
{
	return o->flags & OP_EA_SLOW ? MIN(size, 16 - at % 16) : size;
}

void image_read(struct cpu *c, const struct op *o, u32 at, void *bytes, u32 size)
{
	for (u32 n; size; size -= n, at += n, bytes = (u8 *)bytes + n) {
		n = unbroken(o, at, size);
		access_read(c, op_ea_at(c, o, at, n, false), bytes, n);
	}
}

void image_write(struct cpu *c, const struct op *o, u32 at, const void *bytes, u32 size)
{
	for (u32 n; size; size -= n, at += n, bytes = (const u8 *)bytes + n) {
		n = unbroken(o, at, size);
		access_write(c, op_ea_at(c, o, at, n, true), bytes, n);
	}
}

void image_probe(struct cpu *c, const struct op *o, u32 at, bool write)
{
	access_probe(c, op_ea_at(c, o, at, 1, write), 1, write);
}

void image_check(struct cpu *c, const struct op *o, u32 align, bool write)
{
	u64 la = op_ea(c, o, 4, false);

	access_check_canonical(c, la);
	/* Which of the two, the manual leaves open: both vendors' look at two bits first. */
	if ((la & 3) && c->check_align &&
	    !(align == XSAVE_ALIGN && cpu_vendor_does(c, FACT_IMAGE_GP)))
		cpu_raise_error(c, VEC_AC, 0);
	if (la & (align - 1))
		cpu_raise_error(c, VEC_GP, 0);
	if (write)
		op_ea(c, o, 4, true); /* a segment that is not writable comes last */
}

/* All of it is looked at, the end first, written or not. */
static void begin(struct cpu *c, const struct op *o, bool write)
{
	c->op = o;
	if (c->cr0 & (CR0_EM | CR0_TS))
		cpu_raise(c, VEC_NM);
	image_check(c, o, 16, write);
	image_probe(c, o, XSAVE_LEGACY - 1, write);
	image_probe(c, o, 0, write);
}

/* aux: REX.W. The bytes after the last XMM register are left as they are. */
static const struct op *fxsave(struct cpu *c, const struct op *o)
{
	u32 n = legacy_xmm_count(c);
	u8 image[XSAVE_LEGACY] = {0};

	begin(c, o, true);
	legacy_put_x87(c, image, o->aux);
	memcpy(image + FX_MXCSR, &c->mxcsr, 4);
	memcpy(image + FX_MXCSR_MASK, &native_host.mxcsr_mask, 4);
	xstate_get_xmm(c, image, n);
	image_write(c, o, 0, image, FX_XMM + 16 * n);
	return op_after_slow_store(c, o);
}

static const struct op *fxrstor(struct cpu *c, const struct op *o)
{
	u8 image[XSAVE_LEGACY];
	u32 mxcsr;

	begin(c, o, false);
	image_read(c, o, 0, image, sizeof(image));
	mxcsr = legacy_take_mxcsr(c, image);
	legacy_take_x87(c, image, o->aux);
	c->mxcsr = mxcsr;
	xstate_set_xmm(c, image, legacy_xmm_count(c));
	return o + 1;
}

bool native_decode_fxsave(struct decoder *d, struct op *op)
{
	native_memory(d, op);
	op->flags |= OP_NO_AC; /* image_check() looks */
	op->aux = d->i.mnemonic == ZYDIS_MNEMONIC_FXSAVE64 ||
		  d->i.mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
	op->fn = d->i.mnemonic == ZYDIS_MNEMONIC_FXSAVE ||
				 d->i.mnemonic == ZYDIS_MNEMONIC_FXSAVE64 ?
			 fxsave :
			 fxrstor;
	return true;
}
