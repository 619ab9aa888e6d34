/* SPDX-License-Identifier: MIT */
/*
 * MSRs by a table: what each holds after a reset, and what becomes of a write by the guest and by the
 * VMM, for a guest of either vendor (SDM vol. 4, APM vol. 2, and what KVM answers to a guest that
 * probes).
 */
#include "fake.h"
#include "cpu/system/msr.h"

#define NO 0xbadbadbadbadbad0ULL /* refused */

enum { AMD = 1, INTEL = 2, BOTH = AMD | INTEL };

static const struct rule {
	u32 msr;
	unsigned vendors;
	u64 reset;	 /* as the guest reads it */
	u64 write;
	u64 guest, host; /* what is read back after a write by each; NO: the write is refused */
} rules[] = {
	{MSR_P5_MC_ADDR, BOTH, 0, 0, NO, NO},
	{MSR_P5_MC_TYPE, BOTH, 0, 0, NO, NO},
	{MSR_PLATFORM_ID, BOTH, 0, 0, NO, NO},
	{MSR_EBL_CR_POWERON, BOTH, 0, 0, NO, NO},
	{MSR_EBC_FREQUENCY_ID, BOTH, 1 << 24, 0, NO, NO},
	{MSR_SMI_COUNT, BOTH, 0, 5, NO, 5},
	{MSR_FEATURE_CONTROL, INTEL, 0, 1, 1, 1},
	{MSR_FEATURE_CONTROL, INTEL, 0, 5, NO, 5}, /* no VMX in CPUID */
	{MSR_FEATURE_CONTROL, AMD, NO, 1, NO, 1},
	{MSR_TSC_ADJUST, BOTH, 0, 7, 7, 7},
	{MSR_SPEC_CTRL, BOTH, 0, 7, 7, 7},
	{MSR_SPEC_CTRL, BOTH, 0, 8, NO, NO},
	{MSR_PRED_CMD, BOTH, NO, 1, NO - 1, NO - 1},
	{MSR_PRED_CMD, BOTH, NO, 2, NO, NO},
	{MSR_FLUSH_CMD, BOTH, NO, 1, NO - 1, NO - 1},
	{MSR_UCODE_WRITE, BOTH, NO, 0x1000, NO - 1, NO - 1},
	{MSR_P6_PERFCTR0, BOTH, 0, ~0ULL, 0, 0},
	{MSR_P6_PERFCTR0 + 1, BOTH, 0, 1, 0, 0},
	{MSR_P6_EVNTSEL0, BOTH, 0, 0x430076, 0, 0},
	{MSR_P6_EVNTSEL0 + 1, BOTH, 0, ~0ULL, 0, 0},
	{MSR_FSB_FREQ, BOTH, 3, 3, NO, NO},
	{MSR_PLATFORM_INFO, BOTH, PLATFORM_CPUID_FAULT, 0, NO, 0},
	{MSR_MTRR_CAP, BOTH, 0x508, 0x508, NO, NO},
	{MSR_ARCH_CAPABILITIES, BOTH, NO - 1, 1, NO, 1},
	{MSR_BBL_CR_CTL3, BOTH, 0xbe702111, 1 << 19, 0xbe702111, 0xbe702111},
	{MSR_MISC_FEATURES, BOTH, 0, 1, 1, 1},
	{MSR_MISC_FEATURES, BOTH, 0, 2, NO, 2},
	{MSR_SYSENTER_CS, BOTH, 0, 0x10, 0x10, 0x10},
	{MSR_SYSENTER_ESP, BOTH, 0, 0xffffc00000000000, 0xffffc00000000000, 0xffffc00000000000},
	{MSR_SYSENTER_ESP, INTEL, 0, BIT(63) | 8, NO, 8},
	{MSR_SYSENTER_ESP, AMD, 0, BIT(63) | 8, 8, 8},
	{MSR_SYSENTER_EIP, INTEL, 0, 0x800000000000, NO, 0xffff800000000000},
	{MSR_SYSENTER_EIP, AMD, 0, 0x800000000000, 0xffff800000000000, 0xffff800000000000},
	{MSR_MCG_CAP, BOTH, NR_MCE_BANKS, NR_MCE_BANKS, NO, NO},
	{MSR_MCG_STATUS, BOTH, 0, 4, 4, 4},
	{MSR_MCG_CTL, BOTH, NO, 0, NO, 0}, /* not with this MCG_CAP */
	{MSR_MCG_CTL, BOTH, NO, ~0ULL, NO, NO},
	{MSR_PERF_STATUS, BOTH, 4ULL << 40 | 1000, 0, NO, NO},
	{MSR_PERF_CTL, BOTH, 0, 0, NO, NO},
	{MSR_MISC_ENABLE, BOTH, 0x1801, 0x1800, 0x1800, 0x1800},
	{MSR_MISC_ENABLE, BOTH, 0x1801, 0x1001, NO, 0x1001}, /* BTS_UNAVAIL */
	{MSR_MISC_ENABLE, BOTH, 0x1801, 0x801, NO, 0x801},   /* PEBS_UNAVAIL */
	{MSR_MISC_ENABLE, BOTH, 0x1801, 0x1881, 0x1801, 0x1881}, /* EMON */
	{MSR_DEBUGCTL, BOTH, 0, 3, 0, 0},
	{MSR_DEBUGCTL, INTEL, 0, 4, NO, 0},
	{MSR_DEBUGCTL, AMD, 0, 4, 0, 0},
	{MSR_DEBUGCTL, BOTH, 0, 0x40, NO, 0},
	{MSR_LBR_FROM, BOTH, 0, 0, NO, 0},
	{MSR_LBR_TO, BOTH, 0, 1, NO, NO},
	{MSR_INT_FROM, BOTH, 0, 0, NO, 0},
	{MSR_INT_TO, BOTH, 0, 1, NO, NO},
	{MSR_POWER_CTL, BOTH, 0, 2, 2, 2},
	{MSR_PAT, BOTH, 0x0007040600070406, 0x0606060606060606, 0x0606060606060606,
	 0x0606060606060606},
	{MSR_PAT, BOTH, 0x0007040600070406, 2, NO, NO},
	{MSR_MC0_CTL2, BOTH, NO, 1, NO, NO}, /* nor this */
	{MSR_MC0_CTL2, BOTH, NO, 0, NO, 0},
	{MSR_PERF_CAPABILITIES, BOTH, NO, 0, NO, 0},
	{MSR_PERF_CAPABILITIES, BOTH, NO, 1, NO, NO},
	{MSR_MC0_CTL, BOTH, 0, ~0ULL, ~0ULL, ~0ULL},
	{MSR_MC0_CTL, BOTH, 0, 2, NO, NO},
	{MSR_MC0_CTL + 1, BOTH, 0, 1, NO, 1},
	{MSR_RAPL_POWER_UNIT, BOTH, 0, 0, NO, NO},
	{MSR_PKG_ENERGY, BOTH, 0, 0, NO, NO},
	{MSR_DRAM_ENERGY, BOTH, 0, 0, NO, NO},
	{MSR_PP0_ENERGY, BOTH, 0, 0, NO, NO},
	{MSR_PP1_ENERGY, BOTH, 0, 0, NO, NO},
	{MSR_XSS, BOTH, 0, 0, 0, 0},
	{MSR_XSS, BOTH, 0, 1, NO, NO},
	{MSR_XSS, BOTH, 0, 0x100, NO, NO},
	{MSR_EFER, BOTH, 0, EFER_SCE, EFER_SCE, EFER_SCE},
	{MSR_EFER, BOTH, 0, 2, NO, NO},
	{MSR_STAR, BOTH, 0, ~0ULL, ~0ULL, ~0ULL},
	{MSR_LSTAR, BOTH, 0, BIT(63), NO, NO},
	{MSR_LSTAR, BOTH, 0, 0x7fff00000000, 0x7fff00000000, 0x7fff00000000},
	{MSR_CSTAR, BOTH, 0, BIT(63), NO, NO},
	{MSR_CSTAR, BOTH, 0, 5, 5, 5},
	{MSR_SFMASK, BOTH, 0, 0x47700, 0x47700, 0x47700},
	{MSR_FS_BASE, BOTH, 0, BIT(63), NO, NO},
	{MSR_GS_BASE, BOTH, 0, BIT(63), NO, NO},
	{MSR_KERNEL_GS_BASE, BOTH, 0, BIT(63), NO, NO},
	{MSR_KERNEL_GS_BASE, BOTH, 0, 9, 9, 9},
	{MSR_TSC_AUX, BOTH, 0, 0xffffffff, 0xffffffff, 0xffffffff},
	{MSR_TSC_AUX, INTEL, 0, 0x100000005, NO, NO},
	{MSR_TSC_AUX, AMD, 0, 0x100000005, 5, 5},
	{MSR_K7_EVNTSEL0, BOTH, 0, ~0ULL, 0, 0},
	{MSR_K7_EVNTSEL0 + 3, BOTH, 0, 1, 0, 0},
	{MSR_K7_PERFCTR0, BOTH, 0, ~0ULL, 0, 0},
	{MSR_K7_PERFCTR0 + 3, BOTH, 0, 1, 0, 0},
	{MSR_K8_SYSCFG, BOTH, 0, 0, NO, NO},
	{MSR_HWCR, BOTH, 0, 0x148, 0, 0},
	{MSR_HWCR, BOTH, 0, HWCR_MC_STATUS_WRITE | HWCR_TSC_FREQ_SEL | 8,
	 HWCR_MC_STATUS_WRITE | HWCR_TSC_FREQ_SEL, HWCR_MC_STATUS_WRITE | HWCR_TSC_FREQ_SEL},
	{MSR_HWCR, BOTH, 0, 1, NO, NO},
	{MSR_K7_CLK_CTL, BOTH, 0x20000000, 1, 0x20000000, 0x20000000},
	{MSR_NB_CFG, BOTH, 0, BIT(46), 0, 0},
	{MSR_PATCH_LOADER, BOTH, NO, 0x1000, NO - 1, NO - 1},
	{MSR_K8_INT_PENDING, BOTH, 0, 0, NO, NO},
	{MSR_MMIO_CONF_BASE, BOTH, 0, 0, 0, 0},
	{MSR_MMIO_CONF_BASE, BOTH, 0, 1, NO, NO},
	{MSR_K8_TSEG_ADDR, BOTH, 0, 0, NO, NO},
	{MSR_K8_TSEG_MASK, BOTH, 0, 0, NO, NO},
	{MSR_VM_HSAVE_PA, BOTH, 0, 0x1000, 0, 0},
	{MSR_VIRT_SSBD, BOTH, NO, 0, NO, 0},
	{MSR_DC_CFG, BOTH, 0, 1, 0, 0},
	{MSR_TW_CFG, BOTH, 0, 1, 0, 0},
	{MSR_BU_CFG2, BOTH, 0, 1, 0, 0},
	{MSR_EX_CFG, BOTH, 0, 1, 0, 0},
};

static void fresh(unsigned vendor)
{
	struct cpuid_leaf cpuid[] = {
		{.eax = 0xd, .ebx = vendor == AMD ? 0x68747541 : 0x756e6547},
		{.function = 1, .eax = 0x60fb1, .ecx = 1, .edx = 0x078bfbff},
		/* TSC_ADJUST; IBRS, FLUSH_L1D, ARCH_CAPABILITIES */
		{.function = 7, .flags = 1, .ebx = BIT(1), .edx = BIT(26) | BIT(28) | BIT(29)},
		{.function = 0xd, .flags = 1, .eax = 7},
		{.function = 0xd, .index = 1, .flags = 1, .eax = 0xf}, /* XSAVES */
		{.function = 0x80000000, .eax = 0x80000008},
		{.function = 0x80000001, .edx = BIT(11) | BIT(20) | BIT(27) | BIT(29)},
		{.function = 0x80000008, .eax = 40 | 48 << 8},
	};

	fake_reset();
	assert_int_equal(cpu_set_cpuid(fake.c, cpuid, ARRAY_SIZE(cpuid)), 0);
}

static u64 read_msr(u32 msr, bool host)
{
	u64 v = 0;

	return cpu_msr_get(fake.c, msr, host, &v) ? NO : v;
}

/* What is read back; a register that cannot be read says only that the write was taken. */
static u64 written(const struct rule *r, unsigned vendor, bool host)
{
	u64 v;

	fresh(vendor);
	if (cpu_msr_set(fake.c, r->msr, host, r->write))
		return NO;
	v = read_msr(r->msr, true);
	return v == NO ? NO - 1 : v;
}

static unsigned check(const struct rule *r, const char *what, u64 got, u64 want)
{
	if (got == want)
		return 0;
	print_error("MSR %x, %llx: %s %llx, not %llx\n", r->msr, (unsigned long long)r->write, what,
		    (unsigned long long)got, (unsigned long long)want);
	return 1;
}

static void writes_and_what_is_read_back(void **state)
{
	unsigned bad = 0;

	for (unsigned n = 0; n < ARRAY_SIZE(rules); n++) {
		const struct rule *r = &rules[n];

		for (unsigned vendor = AMD; vendor <= INTEL; vendor <<= 1) {
			if (!(r->vendors & vendor))
				continue;
			fresh(vendor);
			if (r->reset != NO - 1)
				bad += check(r, "after reset", read_msr(r->msr, false), r->reset);
			bad += check(r, "after the guest's write", written(r, vendor, false),
				     r->guest);
			bad += check(r, "after the VMM's write", written(r, vendor, true), r->host);
		}
	}
	assert_int_equal(bad, 0);
}

/* Nothing is listed for the VMM to save that has no line above; some have rules of their own. */
static void every_listed_msr_has_a_rule(void **state)
{
	const u32 *list;
	u32 count = cpu_msr_list(&list);

	for (u32 i = 0; i < count; i++) {
		unsigned n = 0;

		if ((list[i] >= MSR_KVM_FIRST && list[i] <= MSR_KVM_LAST) || list[i] == MSR_TSC ||
		    list[i] == MSR_KVM_WALL_CLOCK || list[i] == MSR_KVM_SYSTEM_TIME ||
		    list[i] == MSR_TSC_DEADLINE || list[i] == MSR_UCODE_REV)
			continue;
		while (n < ARRAY_SIZE(rules) && rules[n].msr != list[i])
			n++;
		if (n == ARRAY_SIZE(rules))
			fail_msg("MSR %x has no rule", list[i]);
	}
}

/* The VMM can restore what it has saved. */
static void what_is_read_can_be_written(void **state)
{
	const u32 *list;
	u32 count = cpu_msr_list(&list);

	fresh(AMD);
	for (u32 i = 0; i < count; i++) {
		u64 v = read_msr(list[i], true);

		if (v != NO && cpu_msr_set(fake.c, list[i], true, v))
			fail_msg("MSR %x gives %llx and does not take it", list[i],
				 (unsigned long long)v);
	}
}

/* A guest's write to the revision is the request to read it; the VMM's sets it. */
static void microcode_revision(void **state)
{
	u64 first;

	fresh(AMD);
	first = read_msr(MSR_UCODE_REV, false);
	assert_true(first == UCODE_REV_AMD || first == UCODE_REV_INTEL);
	assert_int_equal(cpu_msr_set(fake.c, MSR_UCODE_REV, false, 5), 0);
	assert_int_equal(read_msr(MSR_UCODE_REV, false), first);
	assert_int_equal(cpu_msr_set(fake.c, MSR_UCODE_REV, true, 5), 0);
	assert_int_equal(read_msr(MSR_UCODE_REV, false), 5);
}

/* With HWCR.McStatusWrEn AMD's guests may set MCi_STATUS (APM vol. 2, 9.3.2.2). */
static void machine_check_status(void **state)
{
	for (unsigned vendor = AMD; vendor <= INTEL; vendor <<= 1) {
		fresh(vendor);
		assert_int_equal(cpu_msr_set(fake.c, MSR_HWCR, false, HWCR_MC_STATUS_WRITE), 0);
		assert_int_equal(cpu_msr_set(fake.c, MSR_MC0_CTL + 1, false, 1),
				 vendor == AMD ? 0 : -EINVAL);
	}
}

/* Without its CPUID bit TSC_ADJUST stays as it is. */
static void tsc_adjust_not_announced(void **state)
{
	static const struct cpuid_leaf none = {.eax = 0};

	fake_reset();
	assert_int_equal(cpu_set_cpuid(fake.c, &none, 1), 0);
	assert_int_equal(cpu_msr_set(fake.c, MSR_TSC_ADJUST, false, 1000), 0);
	assert_int_equal(read_msr(MSR_TSC_ADJUST, true), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_and_what_is_read_back),
		cmocka_unit_test(every_listed_msr_has_a_rule),
		cmocka_unit_test(what_is_read_can_be_written),
		cmocka_unit_test(microcode_revision),
		cmocka_unit_test(machine_check_status),
		cmocka_unit_test(tsc_adjust_not_announced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
