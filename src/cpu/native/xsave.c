/* SPDX-License-Identifier: MIT */
/*
 * native/xsave.c: the XSAVE family on the guest's own image (SDM vol. 1, 13.7 to 13.12). The
 * modified optimisation of XSAVEOPT and XSAVES, which a processor may use, is not used.
 */
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/native/forms.h"
#include "cpu/native/legacy.h"
#include "cpu/system/system.h"
#include "cpu/table/vendor.h"

#define MXCSR_INIT 0x1f80
#define HEADER_AT  XSAVE_LEGACY
#define AREA_MIN   (XSAVE_LEGACY + XSAVE_HEADER)

/* op->aux */
#define X_WIDE	     1 /* REX.W */
#define X_INIT_OPT   2 /* components in their initial state are not written */
#define X_COMPACT    4
#define X_SUPERVISOR 8

static void need_xsave(struct cpu *c, const struct op *o)
{
	c->op = o;
	if (!(c->cr4 & CR4_OSXSAVE))
		cpu_raise(c, VEC_UD);
	if (c->cr0 & CR0_TS)
		cpu_raise(c, VEC_NM);
	if ((o->aux & X_SUPERVISOR) && c->cpl)
		cpu_raise_error(c, VEC_GP, 0);
}

static u64 requested(const struct cpu *c, const struct op *o)
{
	u64 mask = (u32)c->reg[RDX] * (1ULL << 32) | (u32)c->reg[RAX];

	return mask & (c->xcr0 | (o->aux & X_SUPERVISOR ? c->xss : 0));
}

/*
 * Outside 64-bit mode the registers that cannot be named are neither saved nor restored: 8 to 15
 * of the sliced components, and all of Hi16_ZMM.
 */
static u32 reachable_size(const struct cpu *c, enum xcomp x)
{
	if (cpu_long(c))
		return xcomp_size(x);
	if (x == XC_HI16_ZMM)
		return 0;
	return x == XC_OPMASK ? xcomp_size(x) : xcomp_size(x) / 2;
}

static u32 component_at(enum xcomp x, u64 bv, bool compact)
{
	return compact ? xcomp_compact_offset(bv, x) : xcomp_offset(x);
}

/* The offset of the first byte that components `rfbm` take of the legacy region or the header. */
static u32 area_begin(const struct cpu *c, u64 rfbm, bool compact)
{
	if ((rfbm & XMASK(XC_X87)) || cpu_vendor_does(c, FACT_IMAGE_WHOLE))
		return 0;
	/* In the standard format MXCSR goes with AVX too (SDM vol. 1, 13.7 and 13.8). */
	return rfbm & (XMASK(XC_SSE) | (compact ? 0 : XMASK(XC_AVX))) ? FX_MXCSR : HEADER_AT;
}

/*
 * Processors look at the whole area that is asked for before they access any of it: at its last
 * byte, then at its first, then at the header. Whether a component is in use, or can be reached
 * in this mode, makes no difference (SDM vol. 1, 13.13, leaves the order open; this is Intel's).
 */
static void probe_area(struct cpu *c, const struct op *o, u64 rfbm, u64 layout, bool write)
{
	bool compact = layout & XCOMP_COMPACT;
	u32 end = AREA_MIN;

	for (u32 x = XC_AVX; x < NR_XCOMP; x++) {
		if (rfbm & XMASK(x))
			end = MAX(end, component_at(x, layout, compact) + xcomp_size(x));
	}
	image_probe(c, o, end - 1, write);
	image_probe(c, o, area_begin(c, rfbm, compact), write);
	image_probe(c, o, HEADER_AT, write);
}

/* A part of the image that is to be written. */
struct piece {
	u32 at, size;
	const u8 *bytes;
};

struct image {
	u8 legacy[XSAVE_LEGACY];
	struct xsave_header header;
	u8 comp[NR_XCOMP][1024];
	struct piece piece[NR_XCOMP + 5];
	u32 npieces;
};

static void add_piece(struct image *im, u32 at, u32 size, const void *bytes)
{
	if (size)
		im->piece[im->npieces++] = (struct piece){at, size, bytes};
}

static void add_legacy(struct cpu *c, struct image *im, u64 write, bool mxcsr, bool wide)
{
	if (write & XMASK(XC_X87)) {
		legacy_put_x87(c, im->legacy, wide);
		add_piece(im, 0, FX_MXCSR, im->legacy);
		add_piece(im, FX_ST, 128, im->legacy + FX_ST);
	}
	if (mxcsr) {
		memcpy(im->legacy + FX_MXCSR, &c->mxcsr, 4);
		memcpy(im->legacy + FX_MXCSR_MASK, &native_host.mxcsr_mask, 4);
		add_piece(im, FX_MXCSR, 8, im->legacy + FX_MXCSR);
	}
	if (write & XMASK(XC_SSE)) {
		xstate_get_xmm(c, im->legacy, 16);
		add_piece(im, FX_XMM, 16 * legacy_xmm_count(c), im->legacy + FX_XMM);
	}
}

static void add_components(struct cpu *c, struct image *im, u64 write, u64 layout, bool compact)
{
	for (u32 x = XC_AVX; x < NR_XCOMP; x++) {
		if (!(write & XMASK(x)))
			continue;
		xcomp_get(c, x, im->comp[x]);
		add_piece(im, component_at(x, layout, compact), reachable_size(c, x), im->comp[x]);
	}
}

/* Outside 64-bit mode the upper sixteen registers may count as initial. */
static u64 in_use(const struct cpu *c)
{
	u64 bv = xstate_in_use(c);

	return cpu_long(c) || cpu_vendor_does(c, FACT_HI16_IN_USE) ? bv
								    : bv & ~XMASK(XC_HI16_ZMM);
}

static const struct op *xsave(struct cpu *c, const struct op *o)
{
	bool compact = o->aux & X_COMPACT;
	u64 rfbm = requested(c, o), used = in_use(c), write = rfbm;
	bool mxcsr = rfbm & (XMASK(XC_SSE) | XMASK(XC_AVX));
	struct image im;

	need_xsave(c, o);
	image_check(c, o, XSAVE_ALIGN, true);
	probe_area(c, o, rfbm, compact ? rfbm | XCOMP_COMPACT : 0, true);
	im.npieces = 0;
	memset(im.legacy, 0, sizeof(im.legacy));
	if (compact) {
		/* MXCSR counts as part of the SSE component here. */
		if (c->mxcsr != MXCSR_INIT)
			used |= XMASK(XC_SSE);
		im.header.xstate_bv = rfbm & used;
		im.header.xcomp_bv = rfbm | XCOMP_COMPACT;
		mxcsr = rfbm & used & XMASK(XC_SSE);
	} else {
		image_read(c, o, HEADER_AT, &im.header.xstate_bv, 8);
		im.header.xstate_bv = (im.header.xstate_bv & ~rfbm) | (rfbm & used);
	}
	if (o->aux & X_INIT_OPT)
		write &= used;
	add_legacy(c, &im, write, mxcsr, o->aux & X_WIDE);
	add_piece(&im, HEADER_AT, compact ? 16 : 8, &im.header);
	add_components(c, &im, write, rfbm, compact);
	for (u32 i = 0; i < im.npieces; i++)
		image_write(c, o, im.piece[i].at, im.piece[i].bytes, im.piece[i].size);
	return op_after_slow_store(c, o);
}

static bool all_zero(const u64 *p, u32 n)
{
	u64 sum = 0;

	for (u32 i = 0; i < n; i++)
		sum |= p[i];
	return !sum;
}

/* May an image of this format have these components? */
static bool format_valid(const struct cpu *c, const struct op *o, u64 xcomp_bv)
{
	u64 allowed = c->xcr0 | (o->aux & X_SUPERVISOR ? c->xss : 0);

	return !(xcomp_bv & XCOMP_COMPACT) || !(xcomp_bv & ~XCOMP_COMPACT & ~allowed);
}

/* The rest of SDM vol. 1, 13.8.1, 13.8.2 and 13.12. */
static bool header_valid(const struct cpu *c, const struct op *o, const struct xsave_header *h)
{
	u64 allowed = c->xcr0 | (o->aux & X_SUPERVISOR ? c->xss : 0);

	if (h->xcomp_bv & XCOMP_COMPACT)
		return !(h->xstate_bv & ~h->xcomp_bv) && all_zero(h->reserved, 6);
	return !(o->aux & X_SUPERVISOR) && !(h->xstate_bv & ~allowed) && !h->xcomp_bv &&
	       !h->reserved[0];
}

static void read_components(struct cpu *c, const struct op *o, struct image *im, u64 load)
{
	u64 layout = im->header.xcomp_bv;
	u32 at;

	for (u32 x = XC_AVX; x < NR_XCOMP; x++) {
		if (!(load & XMASK(x)))
			continue;
		xcomp_get(c, x, im->comp[x]); /* what the mode cannot reach stays */
		at = component_at(x, layout, layout & XCOMP_COMPACT);
		image_read(c, o, at, im->comp[x], reachable_size(c, x));
	}
}

static void init_component(struct cpu *c, enum xcomp x)
{
	static const u8 zero[1024];
	u8 bytes[1024];

	if (x == XC_X87 || cpu_long(c)) {
		xcomp_init(c, x);
	} else if (x == XC_SSE) {
		xstate_set_xmm(c, zero, 8);
	} else {
		xcomp_get(c, x, bytes);
		memset(bytes, 0, reachable_size(c, x));
		xcomp_set(c, x, bytes);
	}
}

/*
 * What XRSTOR reads before it changes anything: the format, which says where the rest is, the rest
 * of the header, and of the legacy region as much as is asked for. Each field is read once: another
 * vCPU may change the image meanwhile. What was not read is zero.
 */
static void read_image(struct cpu *c, const struct op *o, struct image *im, u64 rfbm)
{
	struct xsave_header *h = &im->header;
	u32 begin;

	image_read(c, o, HEADER_AT + offsetof(struct xsave_header, xcomp_bv), &h->xcomp_bv, 8);
	if (!format_valid(c, o, h->xcomp_bv))
		cpu_raise_error(c, VEC_GP, 0);
	if (h->xcomp_bv & XCOMP_COMPACT)
		rfbm &= h->xcomp_bv;
	probe_area(c, o, rfbm, h->xcomp_bv, false);
	image_read(c, o, HEADER_AT, &h->xstate_bv, 8);
	image_read(c, o, HEADER_AT + offsetof(struct xsave_header, reserved), h->reserved,
		   sizeof(h->reserved));
	if (!header_valid(c, o, h))
		cpu_raise_error(c, VEC_GP, 0);
	memset(im->legacy, 0, sizeof(im->legacy));
	begin = area_begin(c, rfbm, h->xcomp_bv & XCOMP_COMPACT);
	image_read(c, o, begin, im->legacy + begin, XSAVE_LEGACY - begin);
}

/* In the compacted format MXCSR is part of the SSE component. */
static u32 compact_mxcsr(struct cpu *c, const struct image *im, u64 load)
{
	return load & XMASK(XC_SSE) ? legacy_take_mxcsr(c, im->legacy) : MXCSR_INIT;
}

/*
 * MXCSR's reserved bits are looked at first in the standard format; in the compacted one, by vendor,
 * after components have been initialized and the legacy region's registers loaded.
 */
static const struct op *xrstor(struct cpu *c, const struct op *o)
{
	u64 rfbm = requested(c, o), load, init;
	struct image im;
	bool compact, last;

	need_xsave(c, o);
	image_check(c, o, XSAVE_ALIGN, false);
	read_image(c, o, &im, rfbm);
	compact = im.header.xcomp_bv & XCOMP_COMPACT;
	load = rfbm & im.header.xstate_bv;
	init = rfbm & ~im.header.xstate_bv;
	read_components(c, o, &im, load);
	if (!compact && (rfbm & (XMASK(XC_SSE) | XMASK(XC_AVX))))
		c->mxcsr = legacy_take_mxcsr(c, im.legacy);
	last = compact && (rfbm & XMASK(XC_SSE)) && !cpu_vendor_does(c, FACT_MXCSR_FIRST);
	if (compact && (rfbm & XMASK(XC_SSE)) && !last)
		c->mxcsr = compact_mxcsr(c, &im, load);
	for (u32 x = XC_X87; x < NR_XCOMP; x++) {
		if (init & XMASK(x))
			init_component(c, x);
	}
	if (load & XMASK(XC_X87))
		legacy_take_x87(c, im.legacy, o->aux & X_WIDE);
	if (load & XMASK(XC_SSE))
		xstate_set_xmm(c, im.legacy, legacy_xmm_count(c));
	if (last)
		c->mxcsr = compact_mxcsr(c, &im, load);
	for (u32 x = XC_AVX; x < NR_XCOMP; x++) {
		if (load & XMASK(x))
			xcomp_set(c, x, im.comp[x]);
	}
	return o + 1;
}

static op_fn *handler(ZydisMnemonic m, u16 *aux)
{
	switch (m) {
	case ZYDIS_MNEMONIC_XSAVE64:
		*aux |= X_WIDE; /* fall through */
	case ZYDIS_MNEMONIC_XSAVE:
		return xsave;
	case ZYDIS_MNEMONIC_XSAVEOPT64:
		*aux |= X_WIDE; /* fall through */
	case ZYDIS_MNEMONIC_XSAVEOPT:
		*aux |= X_INIT_OPT;
		return xsave;
	case ZYDIS_MNEMONIC_XSAVEC64:
		*aux |= X_WIDE; /* fall through */
	case ZYDIS_MNEMONIC_XSAVEC:
		*aux |= X_INIT_OPT | X_COMPACT;
		return xsave;
	case ZYDIS_MNEMONIC_XSAVES64:
		*aux |= X_WIDE; /* fall through */
	case ZYDIS_MNEMONIC_XSAVES:
		*aux |= X_INIT_OPT | X_COMPACT | X_SUPERVISOR;
		return xsave;
	case ZYDIS_MNEMONIC_XRSTORS64:
		*aux |= X_WIDE; /* fall through */
	case ZYDIS_MNEMONIC_XRSTORS:
		*aux |= X_SUPERVISOR;
		return xrstor;
	case ZYDIS_MNEMONIC_XRSTOR64:
		*aux |= X_WIDE; /* fall through */
	case ZYDIS_MNEMONIC_XRSTOR:
		return xrstor;
	default:
		return NULL;
	}
}

bool native_decode_xsave(struct decoder *d, struct op *op)
{
	native_memory(d, op);
	op->flags |= OP_NO_AC; /* image_check() looks */
	op->aux = 0;
	op->fn = handler(d->i.mnemonic, &op->aux);
	return op->fn;
}

static const struct op *xgetbv(struct cpu *c, const struct op *o)
{
	u64 v = c->xcr0;

	c->op = o;
	if (!(c->cr4 & CR4_OSXSAVE))
		cpu_raise(c, VEC_UD);
	if ((u32)c->reg[RCX] == 1)
		v &= in_use(c) | (c->mxcsr != MXCSR_INIT ? XMASK(XC_SSE) : 0);
	else if ((u32)c->reg[RCX])
		cpu_raise_error(c, VEC_GP, 0);
	c->reg[RAX] = (u32)v;
	c->reg[RDX] = v >> 32;
	return o + 1;
}

/* What is decoded depends on XCR0: back to the run loop. */
static const struct op *xsetbv(struct cpu *c, const struct op *o)
{
	u64 v = (u32)c->reg[RDX] * (1ULL << 32) | (u32)c->reg[RAX];

	c->op = o;
	if (!(c->cr4 & CR4_OSXSAVE))
		cpu_raise(c, VEC_UD);
	if (c->cpl || (u32)c->reg[RCX] || !xcr0_valid(c, v))
		cpu_raise_error(c, VEC_GP, 0);
	c->rip = op_next_rip(c, o) & c->ea_mask;
	c->xcr0 = v;
	c->op = NULL;
	c->shadow = 0;
	cpu_update_mode(c);
	return NULL;
}

bool native_decode_xcr(struct decoder *d, struct op *op)
{
	bool set = d->i.mnemonic == ZYDIS_MNEMONIC_XSETBV;

	op->fn = set ? xsetbv : xgetbv;
	d->ends_block = set;
	return true;
}
