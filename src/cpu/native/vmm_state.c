/* SPDX-License-Identifier: MIT */
/* native/vmm_state.c: vector and x87 state for the VMM, in KVM's structures. */
#include <stdlib.h>
#include "cpu/cpu.h"
#include "cpu/native/forms.h"
#include "cpu/native/xstate.h"
#include "cpu/system/system.h"

_Static_assert(sizeof(((struct kvm_fpu *)0)->fpr) == 128 &&
	       sizeof(((struct kvm_fpu *)0)->xmm) == 256, "kvm_fpu is an FXSAVE image in parts");

void cpu_get_fpu(struct cpu *c, struct kvm_fpu *f)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->fpr, c->fx + FX_ST, sizeof(f->fpr));
	f->fcw = *native_fx16(c, FX_FCW);
	f->fsw = *native_fx16(c, FX_FSW);
	f->ftwx = c->fx[FX_FTW];
	f->last_opcode = *native_fx16(c, FX_FOP);
	memcpy(&f->last_ip, c->fx + FX_FIP, 8);
	memcpy(&f->last_dp, c->fx + FX_FDP, 8);
	for (u32 i = 0; i < 16; i++)
		memcpy(f->xmm[i], c->v[i].b, 16);
	f->mxcsr = c->mxcsr;
}

/* KVM writes the fields into its FXSAVE image; MXCSR bits that would fault are dropped. */
int cpu_set_fpu(struct cpu *c, const struct kvm_fpu *f)
{
	u8 legacy[XSAVE_LEGACY] = {0};

	memcpy(legacy + FX_FCW, &f->fcw, 2);
	memcpy(legacy + FX_FSW, &f->fsw, 2);
	legacy[FX_FTW] = f->ftwx;
	memcpy(legacy + FX_FOP, &f->last_opcode, 2);
	memcpy(legacy + FX_FIP, &f->last_ip, 8);
	memcpy(legacy + FX_FDP, &f->last_dp, 8);
	memcpy(legacy + FX_ST, f->fpr, sizeof(f->fpr));
	memcpy(legacy + FX_XMM, f->xmm, sizeof(f->xmm));
	xstate_set_x87(c, legacy);
	xstate_set_xmm(c, legacy, 16);
	c->mxcsr = f->mxcsr & native_host.mxcsr_mask;
	return 0;
}

u32 cpu_xsave_size(void)
{
	return xstate_image_size(xstate_host_components(), false);
}

void cpu_get_xsave(struct cpu *c, void *area, u32 size)
{
	struct xsave_header h = {0};
	u64 have = xstate_host_components();
	u8 *p = area;

	memset(p, 0, size);
	xstate_get_x87(c, p);
	xstate_get_xmm(c, p, 16);
	memcpy(p + FX_MXCSR, &c->mxcsr, 4);
	memcpy(p + FX_MXCSR_MASK, &native_host.mxcsr_mask, 4);
	h.xstate_bv = xstate_in_use(c) & have;
	memcpy(p + XSAVE_LEGACY, &h, sizeof(h));
	for (u32 x = XC_AVX; x < NR_XCOMP; x++) {
		if ((have & XMASK(x)) && xcomp_offset(x) + xcomp_size(x) <= size)
			xcomp_get(c, x, p + xcomp_offset(x));
	}
}

/*
 * api.rst 4.43: refused when the header names components that are not there or the compacted
 * format, or when MXCSR has reserved bits.
 */
int cpu_set_xsave(struct cpu *c, const void *area, u32 size)
{
	struct xsave_header h;
	u64 have = xstate_host_components();
	const u8 *p = area;
	u32 mxcsr;

	memcpy(&h, p + XSAVE_LEGACY, sizeof(h));
	memcpy(&mxcsr, p + FX_MXCSR, 4);
	if ((h.xstate_bv & ~have) || h.xcomp_bv || (mxcsr & ~native_host.mxcsr_mask))
		return -EINVAL;
	for (u32 x = XC_AVX; x < NR_XCOMP; x++) {
		if ((h.xstate_bv & XMASK(x)) && xcomp_offset(x) + xcomp_size(x) > size)
			return -EINVAL;
	}
	if (h.xstate_bv & XMASK(XC_X87))
		xstate_set_x87(c, p);
	else
		xcomp_init(c, XC_X87);
	if (h.xstate_bv & XMASK(XC_SSE))
		xstate_set_xmm(c, p, 16);
	else
		xcomp_init(c, XC_SSE);
	c->mxcsr = mxcsr;
	for (u32 x = XC_AVX; x < NR_XCOMP; x++) {
		if (!(have & XMASK(x)))
			continue;
		if (h.xstate_bv & XMASK(x))
			xcomp_set(c, x, p + xcomp_offset(x));
		else
			xcomp_init(c, x);
	}
	return 0;
}

void cpu_get_xcrs(struct cpu *c, struct kvm_xcrs *x)
{
	memset(x, 0, sizeof(*x));
	x->nr_xcrs = 1;
	x->xcrs[0].xcr = 0;
	x->xcrs[0].value = c->xcr0;
}

/* Only XCR0 exists; others are ignored, as KVM does. */
int cpu_set_xcrs(struct cpu *c, const struct kvm_xcrs *x)
{
	if (x->nr_xcrs > KVM_MAX_XCRS || x->flags)
		return -EINVAL;
	for (u32 i = 0; i < x->nr_xcrs; i++) {
		if (x->xcrs[i].xcr)
			continue;
		if (!xcr0_valid(c, x->xcrs[i].value))
			return -EINVAL;
		c->xcr0 = x->xcrs[i].value;
		cpu_update_mode(c);
		break;
	}
	return 0;
}
