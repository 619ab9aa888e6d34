/* SPDX-License-Identifier: MIT */
/*
 * system/cr.c: what writes to control registers and EFER must satisfy and bring about (SDM vol. 3,
 * 2.5 and 9.8.5).
 */
#include "cpu/code/cache.h"
#include "cpu/system/internal.h"

#define CR0_BITS                                                                              \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW |      \
	 CR0_CD | CR0_PG)
/* Bits whose change means that linear addresses mean something else. */
#define CR0_MMU	    (CR0_PG | CR0_WP | CR0_PE)
#define CR4_MMU                                                                               \
	(CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_LA57)
/* Bits whose change reloads the PDPTEs (4.4.1). */
#define CR0_PDPTE   (CR0_PG | CR0_CD | CR0_NW)
#define CR4_PDPTE   (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)
#define CR3_NOFLUSH BIT(63)
#define CR8_MAX	    15

void mmu_changed(struct cpu *c)
{
	mmu_tlb_flush(&c->mmu);
	code_cache_remap(c);
}

bool cr0_valid(const struct cpu *c, u64 v)
{
	if (v >> 32)
		return false;
	if ((v & CR0_NW) && !(v & CR0_CD))
		return false;
	return !(v & CR0_PG) || (v & CR0_PE);
}

bool cr4_valid(const struct cpu *c, u64 v)
{
	return !(v & ~c->cr4_allowed);
}

bool efer_valid(const struct cpu *c, u64 v)
{
	u64 allowed = EFER_SCE;

	if (cpuid_has(c, 0x80000001, EDX, 29))
		allowed |= EFER_LME | EFER_LMA;
	if (cpuid_has(c, 0x80000001, EDX, 20))
		allowed |= EFER_NX;
	if (cpuid_has(c, 0x80000001, EDX, 25))
		allowed |= EFER_FFXSR;
	return !(v & ~allowed);
}

/* PAE paging is about to be used with this CR3: load the PDPTEs or raise #GP. */
static void reload_pdptrs(struct cpu *c, u64 cr3)
{
	int r = pdptrs_load(c, cr3);

	if (r == -EINTR || r == -EAGAIN)
		cpu_restart(c);
	if (r)
		raise_gp0(c);
}

static bool pae_paging(const struct cpu *c, u64 cr0, u64 cr4)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(c->efer & EFER_LME);
}

static void write_cr0(struct cpu *c, u64 v)
{
	u64 old = c->cr0, efer = c->efer;

	if (!cr0_valid(c, v))
		raise_gp0(c);
	v = (v & CR0_BITS) | CR0_ET;
	if ((v & CR0_PG) && !(old & CR0_PG) && (efer & EFER_LME)) {
		/* SDM vol. 3, 9.8.5: nor with a 16-bit TSS. */
		if (!(c->cr4 & CR4_PAE) || (c->seg[SEG_CS].attr & SEG_ATTR_L) || tss_is_16(c))
			raise_gp0(c);
		efer |= EFER_LMA;
	}
	if (!(v & CR0_PG) && (old & CR0_PG)) {
		if (cpu_long(c) || (c->cr4 & CR4_PCIDE))
			raise_gp0(c);
		efer &= ~EFER_LMA;
	}
	if (((old ^ v) & CR0_PDPTE) && pae_paging(c, v, c->cr4))
		reload_pdptrs(c, c->cr3);
	c->cr0 = v;
	c->efer = efer;
	cpu_update_mode(c);
	if ((old ^ v) & CR0_MMU)
		mmu_changed(c);
}

static void write_cr3(struct cpu *c, u64 v)
{
	bool pcids = c->cr4 & CR4_PCIDE, keep = pcids && (v & CR3_NOFLUSH);

	if (pcids)
		v &= ~CR3_NOFLUSH;
	if (c->efer & EFER_LMA) {
		if (v & (c->reserved_gpa | 0xfff0000000000000ULL))
			raise_gp0(c);
	} else {
		v &= 0xffffffff;
		if (pae_paging(c, c->cr0, c->cr4))
			reload_pdptrs(c, v);
	}
	c->cr3 = v;
	/* Global pages stay (SDM vol. 3, 4.10.4.1). */
	if (mmu_tlb_switch(&c->mmu, pcids ? v & CR3_PCID : 0, keep))
		code_cache_switch(c);
}

static void write_cr4(struct cpu *c, u64 v)
{
	u64 old = c->cr4;

	if (!cr4_valid(c, v))
		raise_gp0(c);
	if (c->efer & EFER_LMA) {
		if (!(v & CR4_PAE) || ((v ^ old) & CR4_LA57))
			raise_gp0(c);
	} else if (v & CR4_PCIDE) {
		raise_gp0(c);
	}
	if ((v & CR4_PCIDE) && !(old & CR4_PCIDE) && (c->cr3 & CR3_PCID))
		raise_gp0(c);
	if (((old ^ v) & CR4_PDPTE) && pae_paging(c, c->cr0, v))
		reload_pdptrs(c, c->cr3);
	c->cr4 = v;
	cpu_update_mode(c);
	if ((old ^ v) & CR4_MMU)
		mmu_changed(c);
}

static void write_cr8(struct cpu *c, u64 v)
{
	if (v > CR8_MAX)
		raise_gp0(c);
	/* The exit follows the instruction, which is done. */
	if (c->env->set_cr8(c->owner, v) == CPU_TO_VMM)
		c->exit.reason = CPU_EXIT_SET_TPR;
}

void cr_write(struct cpu *c, unsigned n, u64 value)
{
	switch (n) {
	case 0:
		write_cr0(c, value);
		return;
	case 2:
		c->cr2 = value;
		return;
	case 3:
		write_cr3(c, value);
		return;
	case 4:
		write_cr4(c, value);
		return;
	case 8:
		write_cr8(c, value);
		return;
	}
	cpu_raise(c, VEC_UD);
}

int efer_write(struct cpu *c, u64 v, bool host)
{
	u64 old = c->efer;

	if (!host) {
		if (!efer_valid(c, v))
			return -EINVAL;
		if ((c->cr0 & CR0_PG) && ((old ^ v) & EFER_LME))
			return -EINVAL;
		v = (v & ~EFER_LMA) | (old & EFER_LMA);
	} else if (v & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NX | EFER_FFXSR)) {
		return -EINVAL;
	}
	c->efer = v;
	cpu_update_mode(c);
	if ((old ^ v) & (EFER_NX | EFER_LMA | EFER_LME))
		mmu_changed(c);
	return 0;
}
