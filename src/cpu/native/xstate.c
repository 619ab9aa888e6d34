/* SPDX-License-Identifier: MIT */
/*
 * native/xstate.c: vector and x87 state as XSAVE components, and the VMM's calls on it
 * (api.rst 4.22 to 4.45: KVM_GET_FPU, KVM_GET_XSAVE, KVM_GET_XCRS and their SET halves).
 */
#include "cpu/cpu.h"
#include "cpu/native/forms.h"
#include "cpu/native/xstate.h"
#include "cpu/system/system.h"
#include "cpu/table/features.h"

#define MXCSR_INIT 0x1f80

static struct {
	u32 size, offset;
	bool align64; /* in the compacted format */
} layout[NR_XCOMP];
static u64 host_components;

/* Idempotent, so that two first callers do no harm. */
static void learn_layout(void)
{
	u32 r[4];
	u64 there;

	if (__atomic_load_n(&host_components, __ATOMIC_ACQUIRE))
		return;
	for (u32 x = XC_AVX; x < NR_XCOMP; x++) {
		if (!(XMASK_KNOWN & XMASK(x)))
			continue;
		host_cpuid(0xd, x, r);
		layout[x].size = r[0];
		layout[x].offset = r[1];
		layout[x].align64 = r[2] & 2;
	}
	there = XMASK(XC_X87) | XMASK(XC_SSE);
	if (feature_on_host(feature_find("avx")))
		there |= XMASK(XC_AVX);
	if (feature_on_host(feature_find("avx512f")))
		there |= XMASK_AVX512;
	__atomic_store_n(&host_components, there, __ATOMIC_RELEASE);
}

u64 xstate_host_components(void)
{
	learn_layout();
	return host_components;
}

u32 xcomp_size(enum xcomp x)
{
	learn_layout();
	return layout[x].size;
}

u32 xcomp_offset(enum xcomp x)
{
	learn_layout();
	return layout[x].offset;
}

u32 xcomp_compact_offset(u64 bv, enum xcomp x)
{
	u32 at = XSAVE_LEGACY + XSAVE_HEADER;

	learn_layout();
	for (u32 i = XC_AVX; i <= x; i++) {
		if (!(bv & XMASK(i)))
			continue;
		if (layout[i].align64)
			at = (u32)ALIGN_UP(at, 64);
		if (i == x)
			break;
		at += layout[i].size;
	}
	return at;
}

u32 xstate_image_size(u64 bv, bool compact)
{
	u32 end = XSAVE_LEGACY + XSAVE_HEADER;

	for (u32 x = XC_AVX; x < NR_XCOMP; x++) {
		if (!(bv & XMASK(x)))
			continue;
		end = MAX(end, (compact ? xcomp_compact_offset(bv, x) : xcomp_offset(x)) +
				       xcomp_size(x));
	}
	return end;
}

bool xcr0_valid(const struct cpu *c, u64 v)
{
	if (!(v & XMASK(XC_X87)) || (v & ~(c->xcr0_allowed & xstate_host_components())))
		return false;
	if ((v & XMASK(XC_AVX)) && !(v & XMASK(XC_SSE)))
		return false;
	/* The three AVX-512 components go together and need AVX. */
	if (v & XMASK_AVX512)
		return (v & XMASK_AVX512) == XMASK_AVX512 && (v & XMASK(XC_AVX));
	return true;
}

/* Bytes `from` to `to` of registers first to first + 15, register by register. */
static void get_slices(const struct cpu *c, u32 first, u32 from, u32 to, u8 *out)
{
	for (u32 i = first; i < first + 16; i++, out += to - from)
		memcpy(out, c->v[i].b + from, to - from);
}

static void set_slices(struct cpu *c, u32 first, u32 from, u32 to, const u8 *in)
{
	for (u32 i = first; i < first + 16; i++) {
		if (in) {
			memcpy(c->v[i].b + from, in, to - from);
			in += to - from;
		} else {
			memset(c->v[i].b + from, 0, to - from);
		}
	}
}

void xcomp_get(const struct cpu *c, enum xcomp x, void *bytes)
{
	switch (x) {
	case XC_AVX:
		get_slices(c, 0, 16, 32, bytes);
		break;
	case XC_OPMASK:
		memcpy(bytes, c->k, sizeof(c->k));
		break;
	case XC_ZMM_HI256:
		get_slices(c, 0, 32, 64, bytes);
		break;
	case XC_HI16_ZMM:
		get_slices(c, 16, 0, 64, bytes);
		break;
	default:
		break;
	}
}

void xcomp_set(struct cpu *c, enum xcomp x, const void *bytes)
{
	switch (x) {
	case XC_AVX:
		set_slices(c, 0, 16, 32, bytes);
		break;
	case XC_OPMASK:
		if (bytes)
			memcpy(c->k, bytes, sizeof(c->k));
		else
			memset(c->k, 0, sizeof(c->k));
		break;
	case XC_ZMM_HI256:
		set_slices(c, 0, 32, 64, bytes);
		break;
	case XC_HI16_ZMM:
		set_slices(c, 16, 0, 64, bytes);
		break;
	default:
		break;
	}
}

static const u8 *initial_x87(void)
{
	static const u8 image[XSAVE_LEGACY] = {FCW_INIT & 0xff, FCW_INIT >> 8};

	return image;
}

void xcomp_init(struct cpu *c, enum xcomp x)
{
	if (x == XC_X87)
		xstate_set_x87(c, initial_x87());
	else if (x == XC_SSE)
		set_slices(c, 0, 0, 16, NULL);
	else
		xcomp_set(c, x, NULL);
}

static bool all_zero(const void *p, size_t n)
{
	const u8 *b = p;

	while (n--) {
		if (*b++)
			return false;
	}
	return true;
}

static bool slices_in_use(const struct cpu *c, u32 first, u32 from, u32 to)
{
	for (u32 i = first; i < first + 16; i++) {
		if (!all_zero(c->v[i].b + from, to - from))
			return true;
	}
	return false;
}

u64 xstate_in_use(const struct cpu *c)
{
	u64 bv = 0;

	if (memcmp(c->fx, initial_x87(), FX_MXCSR) ||
	    !all_zero(c->fx + FX_ST, 128))
		bv |= XMASK(XC_X87);
	if (slices_in_use(c, 0, 0, 16))
		bv |= XMASK(XC_SSE);
	if (slices_in_use(c, 0, 16, 32))
		bv |= XMASK(XC_AVX);
	if (!all_zero(c->k, sizeof(c->k)))
		bv |= XMASK(XC_OPMASK);
	if (slices_in_use(c, 0, 32, 64))
		bv |= XMASK(XC_ZMM_HI256);
	if (slices_in_use(c, 16, 0, 64))
		bv |= XMASK(XC_HI16_ZMM);
	return bv;
}

void xstate_get_x87(const struct cpu *c, u8 *legacy)
{
	memcpy(legacy, c->fx, FX_MXCSR);
	memcpy(legacy + FX_ST, c->fx + FX_ST, 128);
}

/* The error summary and its shadow, busy, follow from the flags and the masks. */
void xstate_set_x87(struct cpu *c, const u8 *legacy)
{
	u16 *fcw = native_fx16(c, FX_FCW), *fsw = native_fx16(c, FX_FSW);

	memcpy(c->fx, legacy, FX_MXCSR);
	memcpy(c->fx + FX_ST, legacy + FX_ST, 128);
	for (u32 i = 0; i < 8; i++) /* 80 bits each; the rest is reserved and loaded as nothing */
		memset(c->fx + FX_ST + 16 * i + 10, 0, 6);
	c->fx[5] = 0;
	*native_fx16(c, FX_FOP) &= 0x7ff;
	*fcw = (u16)((*fcw & 0x1f3f) | 0x40);
	*fsw &= (u16)~(FSW_ES | FSW_B);
	if (*fsw & ~*fcw & 0x3f)
		*fsw |= FSW_ES | FSW_B;
}

void xstate_get_xmm(const struct cpu *c, u8 *legacy, u32 n)
{
	for (u32 i = 0; i < n; i++)
		memcpy(legacy + FX_XMM + 16 * i, c->v[i].b, 16);
}

void xstate_set_xmm(struct cpu *c, const u8 *legacy, u32 n)
{
	for (u32 i = 0; i < n; i++)
		memcpy(c->v[i].b, legacy + FX_XMM + 16 * i, 16);
}
