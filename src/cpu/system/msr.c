/* SPDX-License-Identifier: MIT */
/*
 * system/msr.c: the model-specific registers a vCPU keeps (SDM vol. 4), with the rules KVM applies
 * to them. What is not here is asked of the owner (APIC, paravirtual MSRs).
 */
#include "cpu/system/internal.h"
#include "base/clock.h"
#include "cpu/system/msr.h"
#include "cpu/table/vendor.h"

/* What a guest may write: LBR and BTF, on AMD the pins' bits too (APM vol. 2, 13.1.1). */
#define DEBUGCTL_INTEL 0x3ULL
#define DEBUGCTL_AMD   0x3fULL
#define SPEC_CTRL_BITS 0x7ULL
#define FEATURE_CONTROL_LOCK BIT(0)
#define MTRR_DEF_BITS 0xcffULL
#define MCG_CTL_P     BIT(8)
#define MCG_CMCI_P    BIT(10)
#define MCE_COUNT(cap) ((cap) & 0xff)
#define MCI_CTL2_BITS 0x40007fffULL /* CMCI_EN and the threshold (SDM vol. 3, 16.3.2.5) */

/* Registers that are a plain u64 of struct cpu. */
struct msr_line {
	u32 msr;
	u32 offset;
	u64 reserved;	/* a guest's write of these bits is #GP */
	bool canonical; /* a write must be a canonical address */
	bool read_only; /* to the guest; the VMM sets it */
	bool strict;	/* the VMM may not set reserved bits either */
};

#define LINE(m, field, ...) {.msr = (m), .offset = offsetof(struct cpu, field), __VA_ARGS__}

static const struct msr_line lines[] = {
	LINE(MSR_SYSENTER_CS, sysenter_cs),
	LINE(MSR_SYSENTER_ESP, sysenter_esp),
	LINE(MSR_SYSENTER_EIP, sysenter_eip),
	LINE(MSR_STAR, star),
	LINE(MSR_LSTAR, lstar, .canonical = true),
	LINE(MSR_CSTAR, cstar, .canonical = true),
	LINE(MSR_SFMASK, sfmask),
	LINE(MSR_KERNEL_GS_BASE, kernel_gs_base, .canonical = true),
	LINE(MSR_FS_BASE, seg[SEG_FS].base, .canonical = true),
	LINE(MSR_GS_BASE, seg[SEG_GS].base, .canonical = true),
	LINE(MSR_TSC_AUX, tsc_aux),
	LINE(MSR_MISC_ENABLE, misc_enable),
	LINE(MSR_FEATURE_CONTROL, feature_control, .reserved = ~FEATURE_CONTROL_LOCK),
	LINE(MSR_SPEC_CTRL, spec_ctrl, .reserved = ~SPEC_CTRL_BITS, .strict = true),
	LINE(MSR_ARCH_CAPABILITIES, arch_capabilities, .read_only = true),
	LINE(MSR_PLATFORM_INFO, platform_info, .read_only = true),
	LINE(MSR_MISC_FEATURES, misc_features, .reserved = ~1ULL),
	LINE(MSR_PERF_CAPABILITIES, perf_capabilities, .reserved = ~0ULL, .read_only = true,
	     .strict = true),
	LINE(MSR_MCG_STATUS, mcg_status, .reserved = ~0x7ULL),
	LINE(MSR_XSS, xss, .reserved = ~0ULL, .strict = true),
	LINE(MSR_HWCR, hwcr),
	LINE(MSR_SMI_COUNT, smi_count, .read_only = true),
	LINE(MSR_POWER_CTL, power_ctl),
};

static const struct msr_line *find_line(u32 msr)
{
	for (unsigned n = 0; n < ARRAY_SIZE(lines); n++)
		if (lines[n].msr == msr)
			return &lines[n];
	return NULL;
}

static u64 *field(struct cpu *c, const struct msr_line *l)
{
	return (u64 *)((char *)c + l->offset);
}

/* Registers of features that the VMM has not given are not there for the guest (SDM vol. 4). */
static bool is_absent(const struct cpu *c, u32 msr)
{
	const struct cpuid_leaf *l;

	switch (msr) {
	case MSR_SPEC_CTRL: /* IBRS and IBPB, STIBP, SSBD; AMD's IBRS, STIBP, SSBD */
		return !cpuid_has(c, 7, EDX, 26) && !cpuid_has(c, 7, EDX, 27) &&
		       !cpuid_has(c, 7, EDX, 31) && !cpuid_has(c, 0x80000008, EBX, 14) &&
		       !cpuid_has(c, 0x80000008, EBX, 15) && !cpuid_has(c, 0x80000008, EBX, 24);
	case MSR_PRED_CMD: /* IBRS and IBPB; AMD's IBPB */
		return !cpuid_has(c, 7, EDX, 26) && !cpuid_has(c, 0x80000008, EBX, 12);
	case MSR_FLUSH_CMD:
		return !cpuid_has(c, 7, EDX, 28);
	case MSR_VIRT_SSBD:
		return !cpuid_has(c, 0x80000008, EBX, 25);
	case MSR_FEATURE_CONTROL:
		return cpu_vendor_does(c, FACT_NO_FEATURE_CTL);
	case MSR_ARCH_CAPABILITIES:
		return !cpuid_has(c, 7, EDX, 29);
	case MSR_PERF_CAPABILITIES: /* PDCM */
		return !cpuid_has(c, 1, ECX, 15);
	case MSR_TSC_AUX: /* RDTSCP, RDPID */
		return !cpuid_has(c, 0x80000001, EDX, 27) && !cpuid_has(c, 7, ECX, 22);
	case MSR_XSS: /* XSAVES */
		l = cpuid_find(c, 0xd, 1);
		return !l || !(l->eax & BIT(3));
	}
	return false;
}

/* ---- PAT and MTRRs: memory types have no effect here, but are kept and checked */

static bool pat_valid(u64 v)
{
	/* Types 0, 1, 4 to 7 exist (SDM vol. 3, 12.12.2). */
	for (unsigned n = 0; n < 8; n++) {
		u8 t = (v >> (8 * n)) & 0xff;

		if (t > 7 || t == 2 || t == 3)
			return false;
	}
	return true;
}

static bool mtrr_type_valid(u8 t)
{
	return t < 7 && t != 2 && t != 3;
}

static u64 *mtrr_field(struct cpu *c, u32 msr)
{
	static const u32 fixed[] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
				    0x26b, 0x26c, 0x26d, 0x26e, 0x26f};

	if (msr == MSR_MTRR_DEF)
		return &c->mtrr_def;
	if (msr >= MSR_MTRR_BASE0 && msr < MSR_MTRR_BASE0 + 2 * NR_MTRR_VAR) {
		unsigned n = (msr - MSR_MTRR_BASE0) / 2;

		return msr & 1 ? &c->mtrr_mask[n] : &c->mtrr_base[n];
	}
	for (unsigned n = 0; n < ARRAY_SIZE(fixed); n++)
		if (msr == fixed[n])
			return &c->mtrr_fixed[n];
	return NULL;
}

static bool mtrr_valid(const struct cpu *c, u32 msr, u64 v)
{
	if (msr == MSR_MTRR_DEF)
		return !(v & ~MTRR_DEF_BITS) && mtrr_type_valid(v & 0xff);
	if (msr >= 0x250) {
		for (unsigned n = 0; n < 8; n++)
			if (!mtrr_type_valid((v >> (8 * n)) & 0xff))
				return false;
		return true;
	}
	if (v & (c->reserved_gpa & ~0xfffULL))
		return false;
	return msr & 1 ? !(v & 0x7ff) : !(v & 0xf00) && mtrr_type_valid(v & 0xff);
}

/* ---- machine check */

static u64 *mce_field(struct cpu *c, u32 msr)
{
	u32 n = msr - MSR_MC0_CTL;

	return msr >= MSR_MC0_CTL && n < 4 * MCE_COUNT(c->mcg_cap) && n < ARRAY_SIZE(c->mce)
		       ? &c->mce[n]
		       : NULL;
}

static u64 *mce_ctl2_field(struct cpu *c, u32 msr, bool host)
{
	u32 n = msr - MSR_MC0_CTL2;

	if (msr < MSR_MC0_CTL2 || n >= MCE_COUNT(c->mcg_cap) || n >= NR_MCE_BANKS)
		return NULL;
	return host || (c->mcg_cap & MCG_CMCI_P) ? &c->mce_ctl2[n] : NULL;
}

static bool mce_ctl2_valid(const struct cpu *c, u64 v)
{
	return !(v & ~(c->mcg_cap & MCG_CMCI_P ? MCI_CTL2_BITS : 0));
}

/* MCi_CTL takes all ones, zero, or (for the bank-0 quirks of old kernels) bit 10 clear; a guest
 * clears MCi_STATUS and sets nothing there, unless it is AMD's and HWCR lets it (APM vol. 2, 9.3.2). */
static bool mce_valid(const struct cpu *c, u32 msr, u64 v, bool host)
{
	if ((msr & 3) == 0)
		return v == 0 || (v | BIT(10) | 1) == ~0ULL;
	return host || (msr & 3) != 1 || v == 0 ||
	       (cpu_vendor_does(c, FACT_MC_STATUS) && (c->hwcr & HWCR_MC_STATUS_WRITE));
}

static int mcg_ctl_set(struct cpu *c, u64 v, bool host)
{
	if (!(c->mcg_cap & MCG_CTL_P) && (v || !host))
		return -EINVAL;
	if (v && v != ~0ULL)
		return -EINVAL;
	c->mcg_ctl = v;
	return 0;
}

/* ---- the time-stamp counter */

#define TSC_RATIO_BITS 48 /* as in the VMCS's TSC multiplier (SDM vol. 3, 25.3) */

/*
 * Two rates this near are one: what was measured twice on one machine, or given by two machines of
 * one kind, differs by as much. KVM's module parameter tsc_tolerance_ppm, at its default.
 */
#define TSC_TOLERANCE_PPM 250

static u64 scale(const struct cpu *c, u64 host)
{
	if (likely(!c->tsc_ratio))
		return host;
	return (u64)((unsigned __int128)host * c->tsc_ratio >> TSC_RATIO_BITS);
}

static u64 scaled_tsc(const struct cpu *c)
{
	return scale(c, clock_tsc());
}

u64 cpu_tsc(const struct cpu *c)
{
	return scaled_tsc(c) + c->tsc_offset;
}

u64 cpu_tsc_at(const struct cpu *c, u64 host)
{
	return scale(c, host) + c->tsc_offset;
}

int cpu_set_tsc_khz(struct cpu *c, u32 khz, u32 host_khz)
{
	unsigned __int128 ratio = ((unsigned __int128)khz << TSC_RATIO_BITS) / host_khz;
	u64 apart = khz > host_khz ? khz - host_khz : host_khz - khz;

	if (!ratio || ratio >> 64)
		return -EINVAL;
	c->tsc_ratio = apart * 1000000 <= (u64)host_khz * TSC_TOLERANCE_PPM ? 0 : (u64)ratio;
	c->tsc_khz = khz;
	return 0;
}

static void tsc_move(struct cpu *c, u64 offset, bool host)
{
	c->tsc_offset = offset;
	if (c->env->tsc_changed)
		c->env->tsc_changed(c->owner, host);
}

static void tsc_set(struct cpu *c, u64 v, bool host)
{
	u64 old = c->tsc_offset;

	tsc_move(c, v - scaled_tsc(c), host);
	/* A guest's write shows in IA32_TSC_ADJUST (SDM vol. 3, 17.17.3). */
	if (!host)
		c->tsc_adjust += c->tsc_offset - old;
}

static void tsc_adjust_set(struct cpu *c, u64 v, bool host)
{
	if (!host)
		tsc_move(c, c->tsc_offset + v - c->tsc_adjust, host);
	c->tsc_adjust = v;
}

/* ---- what the owner keeps */

/* VMMs save and restore KVM's own MSRs without looking at CPUID: nothing is there, which zero
 * says. */
static bool is_kvm_msr(u32 msr)
{
	return msr == MSR_KVM_WALL_CLOCK || msr == MSR_KVM_SYSTEM_TIME ||
	       (msr >= MSR_KVM_FIRST && msr <= MSR_KVM_LAST);
}

static int owner_get(struct cpu *c, u32 msr, bool host, u64 *value)
{
	int r = c->env->msr_read(c->owner, msr, host, value);

	if (r != -ENOENT || !host || !is_kvm_msr(msr))
		return r;
	*value = 0;
	return 0;
}

static int owner_set(struct cpu *c, u32 msr, bool host, u64 value)
{
	int r = c->env->msr_write(c->owner, msr, host, value);

	return r == -ENOENT && host && is_kvm_msr(msr) && !value ? 0 : r;
}

int cpu_msr_get(struct cpu *c, u32 msr, bool host, u64 *value)
{
	const struct msr_line *l = find_line(msr);
	u64 *p;

	if (!host && is_absent(c, msr))
		return -EINVAL;
	if (l) {
		*value = *field(c, l);
		return 0;
	}
	p = mtrr_field(c, msr);
	if (!p)
		p = mce_field(c, msr);
	if (!p)
		p = mce_ctl2_field(c, msr, host);
	if (p) {
		*value = *p;
		return 0;
	}
	if (!msr_fixed_get(msr, value))
		return 0;
	switch (msr) {
	case MSR_EFER:
		*value = c->efer;
		return 0;
	case MSR_TSC:
		*value = cpu_tsc(c);
		return 0;
	case MSR_TSC_ADJUST:
		*value = c->tsc_adjust;
		return 0;
	case MSR_PAT:
		*value = c->pat;
		return 0;
	case MSR_MTRR_CAP:
		*value = 0x500 | NR_MTRR_VAR; /* fixed ranges and write combining */
		return 0;
	case MSR_MCG_CTL:
		if (!(c->mcg_cap & MCG_CTL_P) && !host)
			return -EINVAL;
		*value = c->mcg_ctl;
		return 0;
	case MSR_MCG_CAP:
		*value = c->mcg_cap;
		return 0;
	case MSR_UCODE_REV:
		*value = c->ucode_rev;
		return 0;
	case MSR_DEBUGCTL: /* its features are not there, so their bits stay clear */
		*value = 0;
		return 0;
	}
	return owner_get(c, msr, host, value);
}

static bool quirk_off(struct cpu *c, u64 quirk)
{
	return c->env->quirk_off && c->env->quirk_off(c->owner, quirk);
}

/* BTS and PEBS are not there, and a guest cannot say otherwise; EMON it writes in vain. */
static int misc_enable_set(struct cpu *c, u64 *v, bool host)
{
	u64 changed = *v ^ c->misc_enable;

	if (!host) {
		if (changed & (MISC_ENABLE_NO_BTS | MISC_ENABLE_NO_PEBS))
			return -EINVAL;
		*v ^= changed & MISC_ENABLE_EMON;
	}
	/* Where the bit is what CPUID shows, it comes with SSE3 (SDM vol. 4, IA32_MISC_ENABLE). */
	if ((changed & MISC_ENABLE_MWAIT) && quirk_off(c, KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT) &&
	    !cpuid_has(c, 1, ECX, 0))
		return -EINVAL;
	return 0;
}

/* Of HWCR three bits are taken and dropped (their features make no difference here), two are kept. */
static int hwcr_set(u64 *v)
{
	*v &= ~(HWCR_TLB_CACHE_DISABLE | HWCR_FLUSH_FILTER_DISABLE | HWCR_IGNNE_EMULATION);
	return *v & ~(HWCR_MC_STATUS_WRITE | HWCR_TSC_FREQ_SEL) ? -EINVAL : 0;
}

/* AMD's SYSENTER has 32 bits of these: no address is wrong. From the VMM one is made canonical, so
 * that what it has read elsewhere can be restored. */
static int sysenter_set(struct cpu *c, u64 *v, bool host)
{
	if (!la_canonical(c, *v) && !host && !cpu_vendor_does(c, FACT_SYSENTER_MSRS))
		return -EINVAL;
	*v = la_make_canonical(c, *v);
	return 0;
}

/* AMD's processors drop the upper half, Intel's refuse it. */
static int tsc_aux_set(struct cpu *c, u64 *v)
{
	if (*v >> 32 && !cpu_vendor_does(c, FACT_TSC_AUX_32))
		return -EINVAL;
	*v = (u32)*v;
	return 0;
}

/* Rules of single registers; *v becomes what is kept. */
static int line_rule(struct cpu *c, u32 msr, u64 *v, bool host)
{
	switch (msr) {
	case MSR_FEATURE_CONTROL: /* until the next reset (SDM vol. 3, 23.7) */
		return !host && (c->feature_control & FEATURE_CONTROL_LOCK) ? -EINVAL : 0;
	case MSR_MISC_FEATURES:
		return (*v & 1) && !(c->platform_info & PLATFORM_CPUID_FAULT) ? -EINVAL : 0;
	case MSR_MISC_ENABLE:
		return misc_enable_set(c, v, host);
	case MSR_HWCR:
		return hwcr_set(v);
	case MSR_SYSENTER_ESP:
	case MSR_SYSENTER_EIP:
		return sysenter_set(c, v, host);
	case MSR_TSC_AUX:
		return tsc_aux_set(c, v);
	}
	return 0;
}

static int line_set(struct cpu *c, const struct msr_line *l, u64 v, bool host)
{
	int r;

	if (!host && l->read_only)
		return -EINVAL;
	if ((!host || l->strict) && (v & l->reserved))
		return -EINVAL;
	if (l->canonical && !la_canonical(c, v))
		return -EINVAL;
	r = line_rule(c, l->msr, &v, host);
	if (r)
		return r;
	*field(c, l) = v;
	return 0;
}

static int special_set(struct cpu *c, u32 msr, u64 v, bool host)
{
	switch (msr) {
	case MSR_EFER:
		return efer_write(c, v, host);
	case MSR_TSC:
		tsc_set(c, v, host);
		return 0;
	case MSR_TSC_ADJUST:
		/* Without its CPUID bit KVM keeps nothing. */
		if (cpuid_has(c, 7, EBX, 1))
			tsc_adjust_set(c, v, host);
		return 0;
	case MSR_PAT:
		if (!pat_valid(v))
			return -EINVAL;
		c->pat = v;
		return 0;
	case MSR_MTRR_CAP:
	case MSR_MCG_CAP: /* KVM_X86_SETUP_MCE sets it */
		return -EINVAL;
	case MSR_MCG_CTL:
		return mcg_ctl_set(c, v, host);
	case MSR_PRED_CMD: /* commands: there are no such buffers here */
	case MSR_FLUSH_CMD:
		return v & ~1ULL ? -EINVAL : 0;
	case MSR_DEBUGCTL:
		return !host && (v & ~(cpu_vendor_does(c, FACT_DEBUGCTL_PINS) ? DEBUGCTL_AMD
									 : DEBUGCTL_INTEL))
			       ? -EINVAL
			       : 0;
	case MSR_UCODE_REV:
		if (host)
			c->ucode_rev = v;
		return 0; /* a guest's write is the request to read it, and ignored */
	}
	return owner_set(c, msr, host, v);
}

int cpu_msr_set(struct cpu *c, u32 msr, bool host, u64 value)
{
	const struct msr_line *l = find_line(msr);
	u64 *p;
	int r;

	if (!host && is_absent(c, msr))
		return -EINVAL;
	if (l)
		return line_set(c, l, value, host);
	p = mtrr_field(c, msr);
	if (p) {
		if (!mtrr_valid(c, msr, value))
			return -EINVAL;
		*p = value;
		return 0;
	}
	p = mce_field(c, msr);
	if (p) {
		if (!mce_valid(c, msr, value, host))
			return -EINVAL;
		*p = value;
		return 0;
	}
	p = mce_ctl2_field(c, msr, host);
	if (p) {
		if (!mce_ctl2_valid(c, value))
			return -EINVAL;
		*p = value;
		return 0;
	}
	r = msr_fixed_set(msr, host, value);
	return r == -ENOENT ? special_set(c, msr, value, host) : r;
}
