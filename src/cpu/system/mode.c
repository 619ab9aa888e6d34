/* SPDX-License-Identifier: MIT */
/*
 * system/mode.c: what follows from CR0, CR4, EFER, RFLAGS and the segments, kept ready for the
 * hot paths.
 */
#include "cpu/code/op.h"
#include "cpu/system/internal.h"
#include "cpu/table/vendor.h"

#define XCR0_AVX    0x6ULL  /* SSE and AVX */
#define XCR0_AVX512 0xe6ULL /* and opmask, ZMM_Hi256, Hi16_ZMM */

/* Is a breakpoint enabled, on execution (DR7.RWn 0) or on data and ports? */
static bool dr7_has(u64 dr7, bool data)
{
	if (likely(!(dr7 & 0xff)))
		return false;
	for (unsigned n = 0; n < 4; n++)
		if (((dr7 >> (2 * n)) & 3) && !((dr7 >> (16 + 4 * n)) & 3) != data)
			return true;
	return false;
}

static bool stepping(const struct cpu *c)
{
	if (c->flags & FL_TF)
		return true;
	if (c->guest_debug & KVM_GUESTDBG_ENABLE) {
		if (c->guest_debug & KVM_GUESTDBG_SINGLESTEP)
			return true;
		if (c->guest_debug & KVM_GUESTDBG_USE_HW_BP)
			return dr7_has(c->guest_dr7, false);
	}
	return dr7_has(c->dr7, false);
}

/* Data segment that needs neither base, limit nor type check for any read or write. */
static bool flat_data(const struct seg *s)
{
	return !s->unusable && !s->base && s->limit == 0xffffffff && attr_data(s->attr) &&
	       (s->attr & SEG_ATTR_P) && (s->attr & (TYPE_RW | TYPE_EC)) == TYPE_RW;
}

static bool flat_legacy(const struct cpu *c)
{
	const struct seg *cs = &c->seg[SEG_CS];

	return !cs->base && cs->limit == 0xffffffff && flat_data(&c->seg[SEG_SS]) &&
	       flat_data(&c->seg[SEG_DS]) && flat_data(&c->seg[SEG_ES]);
}

static enum cpu_mode current_mode(const struct cpu *c)
{
	u16 cs = c->seg[SEG_CS].attr;

	if (!(c->cr0 & CR0_PE))
		return MODE_REAL;
	if (c->flags & FL_VM)
		return MODE_V86;
	if (c->efer & EFER_LMA) {
		if (cs & SEG_ATTR_L)
			return MODE_LONG;
		return cs & SEG_ATTR_DB ? MODE_COMPAT32 : MODE_COMPAT16;
	}
	return cs & SEG_ATTR_DB ? MODE_PROT32 : MODE_PROT16;
}

static u32 vector_key(const struct cpu *c)
{
	u32 key = 0;

	if (c->cr0 & CR0_TS)
		key |= BLOCK_KEY_TS;
	if (c->cr0 & CR0_EM)
		key |= BLOCK_KEY_EM;
	if (c->cr4 & CR4_OSFXSR)
		key |= BLOCK_KEY_SSE;
	if (c->cr4 & CR4_OSXSAVE) {
		if ((c->xcr0 & XCR0_AVX) == XCR0_AVX)
			key |= BLOCK_KEY_AVX;
		if ((c->xcr0 & XCR0_AVX512) == XCR0_AVX512)
			key |= BLOCK_KEY_AVX512;
	}
	return key;
}

void cpu_update_mode(struct cpu *c)
{
	u32 key;

	c->mode = current_mode(c);
	/* SS's DPL is the CPL in protected mode (SDM vol. 3, 24.4.1 on the VMCS's field). */
	c->cpl = c->mode == MODE_REAL  ? 0
		 : c->mode == MODE_V86 ? 3
				       : SEG_DPL(c->seg[SEG_SS].attr);
	c->ea_mask = c->mode == MODE_LONG ? ~0ULL : 0xffffffffULL;

	key = c->mode | vector_key(c);
	if (c->vendor == VENDOR_AMD)
		key |= BLOCK_KEY_AMD;
	if (c->mode != MODE_LONG) {
		if (c->seg[SEG_SS].attr & SEG_ATTR_DB)
			key |= BLOCK_KEY_SS32;
		if (flat_legacy(c))
			key |= BLOCK_KEY_FLAT;
	}
	if (stepping(c))
		key |= BLOCK_KEY_STEP;
	if (c->cpl == 3)
		key |= BLOCK_KEY_CPL3;
	c->key = key;
	cpu_update_tlb(c);
}

void cpu_update_tlb(struct cpu *c)
{
	bool align, watch; /* not read back: a wider load would wait for the bytes' stores */
	enum tlb_mode t;

	if (c->cpl == 3)
		t = TLB_USER;
	else if ((c->cr4 & CR4_SMAP) && !(c->flags & FL_AC))
		t = TLB_KERNEL;
	else
		t = TLB_KERNEL_AC;
	c->tlb_mode = (u8)t;
	align = c->cpl == 3 && (c->cr0 & CR0_AM) && (c->flags & FL_AC);
	watch = dr7_has(c->guest_debug & KVM_GUESTDBG_USE_HW_BP ? c->guest_dr7 : c->dr7, true);
	c->check_align = align;
	c->check_watch = watch;
	c->tlb = align || watch ? &tlb_never : &c->mmu.tlb[t];
	c->key &= ~(u32)BLOCK_KEY_TLB;
	c->key |= c->tlb == &tlb_never ? BLOCK_KEY_TLB_NEVER : (u32)t << BLOCK_KEY_TLB_SHIFT;
}

/* The flags that exist; the others read as zero, bit 1 as one. */
#define FL_ALL                                                                                \
	(FL_STATUS | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC |        \
	 FL_VIF | FL_VIP | FL_ID)

void cpu_put_rflags(struct cpu *c, u64 rflags)
{
	c->flags = (rflags & FL_ALL & ~FL_STATUS) | FL_FIXED;
	c->af = af_from_rflags(rflags);
}

void cpu_load_rflags(struct cpu *c, u64 rflags)
{
	u64 old = c->flags;

	cpu_put_rflags(c, rflags);
	if ((old ^ c->flags) & (FL_TF | FL_VM))
		cpu_update_mode(c);
	else
		cpu_update_tlb(c);
}
