/* SPDX-License-Identifier: MIT */
/*
 * system/reset.c: the state after power-up, RESET and INIT (SDM vol. 3, table 10-1).
 */
#include "cpu/code/cache.h"
#include "cpu/system/internal.h"
#include "cpu/system/msr.h"

#define RESET_CS       0xf000
#define RESET_CS_BASE  0xffff0000ULL
#define RESET_RIP      0xfff0
#define RESET_DR6      0xffff0ff0ULL
#define RESET_DR7      0x400ULL
#define RESET_PAT      0x0007040600070406ULL
#define RESET_MXCSR    0x1f80u
#define RESET_FCW      0x037f
#define MISC_ENABLE	  (BIT(0) | MISC_ENABLE_NO_BTS | MISC_ENABLE_NO_PEBS) /* fast strings */
#define DEFAULT_SIGNATURE 0x600u /* family 6, until CPUID says otherwise */

static void reset_segments(struct cpu *c)
{
	for (unsigned n = SEG_ES; n <= SEG_GS; n++)
		c->seg[n] = (struct seg){.limit = 0xffff, .attr = SEG_ATTR_P | SEG_ATTR_S | 3};
	c->seg[SEG_CS].sel = RESET_CS;
	c->seg[SEG_CS].base = RESET_CS_BASE;
	c->seg[SEG_CS].attr |= TYPE_CODE;
	c->seg[SEG_LDTR] = (struct seg){.limit = 0xffff, .attr = SEG_ATTR_P | TYPE_LDT};
	c->seg[SEG_TR] = (struct seg){.limit = 0xffff, .attr = SEG_ATTR_P | TYPE_TSS_BUSY};
	c->gdt = c->idt = (struct dtable){.limit = 0xffff};
}

static void reset_events(struct cpu *c)
{
	memset(&c->exception, 0, sizeof(c->exception));
	memset(&c->interrupt, 0, sizeof(c->interrupt));
	c->nmi_pending = 0;
	c->nmi_injected = c->nmi_masked = false;
	c->shadow = 0;
	c->triple_fault = c->halted = c->event_ext = c->repeating = false;
	memset(&c->replay, 0, sizeof(c->replay));
}

/* What INIT leaves alone: vector and x87 state, MSRs, the TSC. */
static void reset_power_up(struct cpu *c)
{
	memset(c->v, 0, sizeof(c->v));
	memset(c->k, 0, sizeof(c->k));
	memset(c->fx, 0, sizeof(c->fx));
	c->fx[0] = RESET_FCW & 0xff;
	c->fx[1] = RESET_FCW >> 8;
	c->mxcsr = RESET_MXCSR;
	c->xcr0 = 1;
	c->pat = RESET_PAT;
	c->misc_enable = MISC_ENABLE;
	c->star = c->lstar = c->cstar = c->sfmask = c->kernel_gs_base = c->tsc_aux = 0;
	c->sysenter_cs = c->sysenter_esp = c->sysenter_eip = 0;
	c->feature_control = c->spec_ctrl = c->xss = 0;
	c->mtrr_def = 0;
	c->misc_features = 0;
	if (!c->mcg_cap)
		c->mcg_cap = NR_MCE_BANKS; /* until KVM_X86_SETUP_MCE */
	c->platform_info = PLATFORM_CPUID_FAULT;
	cpu_msr_feature(MSR_UCODE_REV, &c->ucode_rev);
	c->hwcr = c->smi_count = c->power_ctl = 0;
	cpu_msr_feature(MSR_ARCH_CAPABILITIES, &c->arch_capabilities);
	cpuid_derive(c);
}

void cpu_reset(struct cpu *c, bool init)
{
	const struct cpuid_leaf *sig = cpuid_find(c, 1, 0);

	if (!init)
		reset_power_up(c);
	memset(c->reg, 0, sizeof(c->reg));
	c->reg[RDX] = sig ? sig->eax : DEFAULT_SIGNATURE;
	c->rip = RESET_RIP;
	c->op = NULL;
	c->flags = FL_FIXED;
	c->af = 0;
	/* INIT keeps CD and NW. */
	c->cr0 = CR0_ET | (init ? c->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
	c->cr2 = c->cr3 = c->cr4 = c->efer = 0;
	memset(c->pdptr, 0, sizeof(c->pdptr));
	memset(c->dr, 0, sizeof(c->dr));
	c->dr6 = RESET_DR6;
	c->dr7 = RESET_DR7;
	reset_segments(c);
	reset_events(c);
	cpu_update_mode(c);
	mmu_changed(c);
}
