/* SPDX-License-Identifier: MIT */
/*
 * system/seg.c: descriptors, and loading segment registers from them (SDM vol. 3, 3.4 and 5.5 to
 * 5.8).
 */
#include "cpu/system/internal.h"

#define DESC_ACCESSED BIT(40)
#define DESC_SIZE     8u
#define REAL_LIMIT    0xffffu
#define REAL_ATTR     (SEG_ATTR_P | SEG_ATTR_S | TYPE_RW | TYPE_ACCESSED)
#define V86_ATTR      (REAL_ATTR | SEG_ATTR_DPL)

void desc_split(u64 raw, struct desc *d)
{
	u32 limit = (u32)((raw & 0xffff) | ((raw >> 32) & 0xf0000));

	d->raw = raw;
	d->base = ((raw >> 16) & 0xffffff) | ((raw >> 32) & 0xff000000);
	d->attr = (raw >> 40) & 0xf0ff;
	d->limit = d->attr & SEG_ATTR_G ? limit << 12 | 0xfff : limit;
}

/* Where sel's descriptor of so many bytes lies; false: beyond its table. */
static bool desc_addr(const struct cpu *c, u16 sel, u32 bytes, u64 *addr)
{
	const struct seg *ldt = &c->seg[SEG_LDTR];
	u32 first = sel & ~7u, limit = c->gdt.limit;
	u64 base = c->gdt.base;

	if (sel & SEL_TI) {
		if (ldt->unusable)
			return false;
		base = ldt->base;
		limit = ldt->limit;
	}
	if (first + bytes - 1 > limit)
		return false;
	*addr = base + first;
	if (!(c->efer & EFER_LMA))
		*addr &= 0xffffffff;
	return true;
}

bool desc_read(struct cpu *c, u16 sel, struct desc *d)
{
	if (!desc_addr(c, sel, DESC_SIZE, &d->addr))
		return false;
	d->high = 0;
	desc_split(access_load_sys(c, d->addr, DESC_SIZE), d);
	return true;
}

void desc_read_or(struct cpu *c, u16 sel, u8 vector, struct desc *d)
{
	if (!desc_read(c, sel, d))
		raise_sel(c, vector, sel);
}

static bool segment_has_base(u16 attr)
{
	unsigned type = attr_type(attr);

	return type == TYPE_LDT || type == TYPE_TSS || type == TYPE_TSS_BUSY;
}

void desc_widen(struct cpu *c, u16 sel, struct desc *d)
{
	if (!(c->efer & EFER_LMA) || (d->attr & SEG_ATTR_S))
		return;
	if (!desc_addr(c, sel, 2 * DESC_SIZE, &d->addr))
		raise_sel(c, VEC_GP, sel);
	d->high = access_load_sys(c, d->addr + DESC_SIZE, DESC_SIZE);
	d->base |= d->high << 32;
	/* The upper half's type field must be zero (SDM vol. 3, 3.5.2). */
	if (d->high & 0x1f0000000000ULL)
		raise_sel(c, VEC_GP, sel);
	if (segment_has_base(d->attr) && !la_canonical(c, d->base))
		raise_sel(c, VEC_GP, sel);
}

void desc_mark_accessed(struct cpu *c, struct desc *d)
{
	if (d->raw & DESC_ACCESSED)
		return;
	d->raw |= DESC_ACCESSED;
	d->attr |= TYPE_ACCESSED;
	access_bits_sys(c, d->addr + DESC_TYPE_AT, TYPE_ACCESSED, 0);
}

void seg_commit(struct cpu *c, enum segreg s, u16 sel, const struct desc *d)
{
	c->seg[s] = (struct seg){
		.base = d->base, .limit = d->limit, .sel = sel, .attr = d->attr};
}

void seg_commit_null(struct cpu *c, enum segreg s, u16 sel, u8 dpl)
{
	c->seg[s] = (struct seg){.sel = sel, .attr = (u16)(dpl << 5), .unusable = true};
}

void seg_commit_v86(struct cpu *c, enum segreg s, u16 sel)
{
	c->seg[s] = (struct seg){
		.base = (u32)sel << 4, .limit = REAL_LIMIT, .sel = sel, .attr = V86_ATTR};
}

void seg_check_ss(struct cpu *c, u16 sel, u8 cpl, u8 vector, struct desc *d)
{
	if (SEL_NULL(sel))
		raise_sel(c, vector, 0);
	desc_read_or(c, sel, vector, d);
	if (SEL_RPL(sel) != cpl || !attr_data(d->attr) || !(d->attr & TYPE_RW) ||
	    SEG_DPL(d->attr) != cpl)
		raise_sel(c, vector, sel);
	if (!(d->attr & SEG_ATTR_P))
		raise_sel(c, VEC_SS, sel);
}

static void load_ss(struct cpu *c, u16 sel)
{
	struct desc d;

	/* SDM vol. 2, MOV: 64-bit mode takes a null SS outside ring 3. */
	if (SEL_NULL(sel) && cpu_long(c) && c->cpl < 3 && SEL_RPL(sel) == c->cpl) {
		seg_commit_null(c, SEG_SS, sel, c->cpl);
		return;
	}
	seg_check_ss(c, sel, c->cpl, VEC_GP, &d);
	desc_mark_accessed(c, &d);
	seg_commit(c, SEG_SS, sel, &d);
}

void seg_load_data(struct cpu *c, enum segreg s, u16 sel, u8 vector)
{
	struct desc d;
	u8 dpl;

	if (SEL_NULL(sel)) {
		seg_commit_null(c, s, sel, 0);
		return;
	}
	desc_read_or(c, sel, vector, &d);
	if (!attr_data(d.attr) && !(attr_code(d.attr) && (d.attr & TYPE_RW)))
		raise_sel(c, vector, sel);
	dpl = SEG_DPL(d.attr);
	if (!attr_conforming(d.attr) && (SEL_RPL(sel) > dpl || c->cpl > dpl))
		raise_sel(c, vector, sel);
	if (!(d.attr & SEG_ATTR_P))
		raise_sel(c, VEC_NP, sel);
	desc_mark_accessed(c, &d);
	seg_commit(c, s, sel, &d);
}

void seg_load(struct cpu *c, enum segreg s, u16 sel)
{
	if (real_or_v86(c))
		seg_load_real(c, s, sel);
	else if (s == SEG_SS)
		load_ss(c, sel);
	else
		seg_load_data(c, s, sel, VEC_GP);
	/* Stack width and flatness are part of the block key outside 64-bit mode. */
	if (!cpu_long(c))
		cpu_update_mode(c);
}

void seg_load_real(struct cpu *c, enum segreg s, u16 sel)
{
	struct seg *seg = &c->seg[s];

	if (c->mode == MODE_V86) {
		seg_commit_v86(c, s, sel);
		return;
	}
	/* Limit and type stay: "unreal" mode relies on it. */
	if (seg->unusable) {
		seg->unusable = false;
		seg->limit = REAL_LIMIT;
		seg->attr = REAL_ATTR;
	}
	seg->sel = sel;
	seg->base = (u32)sel << 4;
}
