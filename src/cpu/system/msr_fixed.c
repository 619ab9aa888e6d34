/* SPDX-License-Identifier: MIT */
/*
 * system/msr_fixed.c: MSRs without state. Kernels probe them, on processors of either vendor and by
 * model rather than by CPUID; KVM answers them for every guest, with values that tell of nothing.
 */
#include "cpu/system/msr.h"
#include "cpu/system/internal.h"

#define FSB_100_MHZ 3ULL		/* (SDM vol. 4, MSR_FSB_FREQ) */
#define EBC_RATIO_1 (1ULL << 24)	/* core clock by bus clock */
#define L2_PRESENT  0xbe702111ULL	/* 256 KiB, enabled */
#define K7_CLK_RAMP 0x20000000ULL	/* the ramp-up count that K7's workaround expects */
#define PERF_STATE  (4ULL << 40 | 1000) /* multiplier, and a counter's increment by a tick */

enum writes {
	REFUSED,
	ZERO,	   /* only zero */
	HOST_ZERO, /* only zero, and from the VMM, which restores what it has read */
	IGNORED,
};

static const struct fixed {
	u32 msr, count;
	u64 value;
	enum writes writes;
	bool write_only;
} fixed[] = {
	{MSR_P5_MC_ADDR, 2, 0, REFUSED},
	{MSR_PLATFORM_ID, 1, 0, REFUSED},
	{MSR_EBL_CR_POWERON, 1, 0, REFUSED},
	{MSR_EBC_FREQUENCY_ID, 1, EBC_RATIO_1, REFUSED},
	{MSR_UCODE_WRITE, 1, 0, IGNORED, .write_only = true},
	/* Counters and their event selects: there is no virtual PMU. */
	{MSR_P6_PERFCTR0, 2, 0, IGNORED},
	{MSR_P6_EVNTSEL0, 2, 0, IGNORED},
	{MSR_K7_EVNTSEL0, 4, 0, IGNORED},
	{MSR_K7_PERFCTR0, 4, 0, IGNORED},
	{MSR_FSB_FREQ, 1, FSB_100_MHZ, REFUSED},
	{MSR_BBL_CR_CTL3, 1, L2_PRESENT, IGNORED},
	{MSR_PERF_STATUS, 1, PERF_STATE, REFUSED},
	{MSR_PERF_CTL, 1, 0, REFUSED},
	{MSR_LBR_FROM, 4, 0, HOST_ZERO},
	{MSR_RAPL_POWER_UNIT, 1, 0, REFUSED},
	{MSR_PKG_ENERGY, 1, 0, REFUSED},
	{MSR_DRAM_ENERGY, 1, 0, REFUSED},
	{MSR_PP0_ENERGY, 1, 0, REFUSED},
	{MSR_PP1_ENERGY, 1, 0, REFUSED},
	{MSR_K8_SYSCFG, 1, 0, REFUSED},
	{MSR_K7_CLK_CTL, 1, K7_CLK_RAMP, IGNORED},
	{MSR_NB_CFG, 1, 0, IGNORED},
	{MSR_PATCH_LOADER, 1, 0, IGNORED, .write_only = true},
	{MSR_K8_INT_PENDING, 1, 0, REFUSED},
	{MSR_MMIO_CONF_BASE, 1, 0, ZERO},
	{MSR_K8_TSEG_ADDR, 2, 0, REFUSED},
	{MSR_VM_HSAVE_PA, 1, 0, IGNORED},
	{MSR_VIRT_SSBD, 1, 0, IGNORED},
	{MSR_DC_CFG, 1, 0, IGNORED},
	{MSR_TW_CFG, 1, 0, IGNORED},
	{MSR_BU_CFG2, 1, 0, IGNORED},
	{MSR_EX_CFG, 1, 0, IGNORED},
};

static const struct fixed *find(u32 msr)
{
	for (unsigned n = 0; n < ARRAY_SIZE(fixed); n++)
		if (msr - fixed[n].msr < fixed[n].count)
			return &fixed[n];
	return NULL;
}

int msr_fixed_get(u32 msr, u64 *value)
{
	const struct fixed *f = find(msr);

	if (!f || f->write_only)
		return -ENOENT;
	*value = f->value;
	return 0;
}

int msr_fixed_set(u32 msr, bool host, u64 value)
{
	const struct fixed *f = find(msr);

	if (!f || f->writes == REFUSED || (f->writes == HOST_ZERO && !host))
		return -ENOENT;
	return f->writes == IGNORED || !value ? 0 : -EINVAL;
}
