/* SPDX-License-Identifier: MIT */
/*
 * native/fxsave.c: FXSAVE, FXRSTOR, and the 512 bytes they share with XSAVE: the legacy region
 * (SDM vol. 1, 10.5.1 and 13.4.1).
 */
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/native/forms.h"
#include "cpu/native/legacy.h"

#define FX_XMM 160

u32 legacy_xmm_count(const struct cpu *c)
{
	return cpu_long(c) ? 16 : 8;
}

/* Without REX.W pointers are 32 bits with selectors above, which are recorded as 0. */
void legacy_put_x87(const struct cpu *c, u8 *image, bool wide)
{
	xstate_get_x87(c, image);
	if (wide)
		return;
	memset(image + FX_FIP + 4, 0, 4);
	memset(image + FX_FDP + 4, 0, 4);
}

void legacy_take_x87(struct cpu *c, u8 *image, bool wide)
{
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

static u64 image_la(struct cpu *c, const struct op *o, bool write)
{
	u64 la;

	c->op = o;
	if (c->cr0 & (CR0_EM | CR0_TS))
		cpu_raise(c, VEC_NM);
	la = op_ea(c, o, XSAVE_LEGACY, write);
	if (la & 15)
		cpu_raise_error(c, VEC_GP, 0);
	return la;
}

/* aux: REX.W. The bytes after the last XMM register are left as they are. */
static const struct op *fxsave(struct cpu *c, const struct op *o)
{
	u64 la = image_la(c, o, true);
	u32 n = legacy_xmm_count(c);
	u8 image[XSAVE_LEGACY] = {0};

	legacy_put_x87(c, image, o->aux);
	memcpy(image + FX_MXCSR, &c->mxcsr, 4);
	memcpy(image + FX_MXCSR_MASK, &native_host.mxcsr_mask, 4);
	xstate_get_xmm(c, image, n);
	access_write(c, la, image, FX_XMM + 16 * n);
	return o + 1;
}

static const struct op *fxrstor(struct cpu *c, const struct op *o)
{
	u8 image[XSAVE_LEGACY];
	u32 mxcsr;

	access_read(c, image_la(c, o, false), image, sizeof(image));
	mxcsr = legacy_take_mxcsr(c, image);
	legacy_take_x87(c, image, o->aux);
	c->mxcsr = mxcsr;
	xstate_set_xmm(c, image, legacy_xmm_count(c));
	return o + 1;
}

bool native_decode_fxsave(struct decoder *d, struct op *op)
{
	native_memory(d, op);
	op->aux = d->i.mnemonic == ZYDIS_MNEMONIC_FXSAVE64 ||
		  d->i.mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
	op->fn = d->i.mnemonic == ZYDIS_MNEMONIC_FXSAVE ||
				 d->i.mnemonic == ZYDIS_MNEMONIC_FXSAVE64 ?
			 fxsave :
			 fxrstor;
	return true;
}
