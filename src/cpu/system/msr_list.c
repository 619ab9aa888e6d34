/* SPDX-License-Identifier: MIT */
/*
 * system/msr_list.c: what KVM_GET_MSR_INDEX_LIST and ..._FEATURE_INDEX_LIST say: the MSRs that
 * hold state a VMM saves, and those that say what the processor is.
 */
#include "cpu/system/internal.h"
#include "cpu/system/msr.h"
#include "cpu/table/vendor.h"

static const u32 saved[] = {
	MSR_SYSENTER_CS,   MSR_SYSENTER_ESP,	MSR_SYSENTER_EIP, MSR_STAR,
	MSR_CSTAR,	   MSR_KERNEL_GS_BASE,	MSR_SFMASK,	  MSR_LSTAR,
	MSR_TSC,	   MSR_PAT,		MSR_TSC_AUX,	  MSR_FEATURE_CONTROL,
	MSR_DEBUGCTL,	   MSR_TSC_ADJUST,	MSR_TSC_DEADLINE, MSR_ARCH_CAPABILITIES,
	MSR_PERF_CAPABILITIES, MSR_MISC_ENABLE, MSR_MCG_STATUS,	  MSR_MCG_CTL,
	MSR_PLATFORM_INFO, MSR_MISC_FEATURES,	MSR_UCODE_REV,	  MSR_SPEC_CTRL,
	MSR_HWCR,	   MSR_SMI_COUNT,	MSR_POWER_CTL,
	MSR_KVM_WALL_CLOCK, MSR_KVM_SYSTEM_TIME, MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW,
	MSR_KVM_STEAL_TIME, MSR_KVM_PV_EOI_EN,
};

static const u32 features[] = {
	MSR_UCODE_REV, MSR_ARCH_CAPABILITIES, MSR_PERF_CAPABILITIES, MSR_PLATFORM_INFO,
};

/*
 * IA32_ARCH_CAPABILITIES: RDCL_NO, SKIP_L1DFL_VMENTRY, MDS_NO, PSCHANGE_MC_NO, TAA_NO,
 * SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, GDS_NO, RFDS_NO. A guest's program reaches memory through
 * translations already checked for its privilege, never by a load the processor would let run
 * ahead of the check: what these defects leak it has no instruction to ask for. And ITS_NO: a guest's
 * indirect jump or return is not executed where the guest has it in a cache line, so a kernel that moves
 * them to the line's upper half pays for nothing (Intel, "Indirect Target Selection").
 */
#define ARCH_CAPABILITIES                                                                     \
	(BIT(0) | BIT(3) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | BIT(15) | BIT(26) |  \
	 BIT(27) | BIT(62))

u32 cpu_msr_list(const u32 **list)
{
	*list = saved;
	return ARRAY_SIZE(saved);
}

u32 cpu_msr_feature_list(const u32 **list)
{
	*list = features;
	return ARRAY_SIZE(features);
}

int cpu_msr_feature(u32 msr, u64 *value)
{
	switch (msr) {
	case MSR_UCODE_REV:
		/* KVM goes by the processor it runs on: it does not know the guest's yet. */
		*value = vendor_of_host() == VENDOR_AMD ? UCODE_REV_AMD : UCODE_REV_INTEL;
		return 0;
	case MSR_ARCH_CAPABILITIES:
		*value = ARCH_CAPABILITIES;
		return 0;
	case MSR_PERF_CAPABILITIES:
		*value = 0;
		return 0;
	case MSR_PLATFORM_INFO:
		*value = PLATFORM_CPUID_FAULT;
		return 0;
	}
	return -ENOENT;
}
