/* SPDX-License-Identifier: MIT */
/*
 * system/msr.h: addresses of model-specific registers (SDM vol. 4), and what some bits of theirs are.
 */
#ifndef CPU_SYSTEM_MSR_H
#define CPU_SYSTEM_MSR_H

#include <linux/kvm_para.h>

#define MSR_P5_MC_ADDR        0x0
#define MSR_P5_MC_TYPE        0x1
#define MSR_TSC               0x10
#define MSR_PLATFORM_ID       0x17
#define MSR_EBL_CR_POWERON    0x2a
#define MSR_EBC_FREQUENCY_ID  0x2c
#define MSR_SMI_COUNT         0x34
#define MSR_FEATURE_CONTROL   0x3a
#define MSR_TSC_ADJUST        0x3b
#define MSR_SPEC_CTRL         0x48
#define MSR_PRED_CMD          0x49
#define MSR_UCODE_WRITE       0x79
#define MSR_UCODE_REV         0x8b
#define MSR_P6_PERFCTR0       0xc1
#define MSR_FSB_FREQ          0xcd
#define MSR_PLATFORM_INFO     0xce
#define MSR_MTRR_CAP          0xfe
#define MSR_ARCH_CAPABILITIES 0x10a
#define MSR_FLUSH_CMD         0x10b
#define MSR_BBL_CR_CTL3       0x11e
#define MSR_MISC_FEATURES     0x140
#define MSR_SYSENTER_CS       0x174
#define MSR_SYSENTER_ESP      0x175
#define MSR_SYSENTER_EIP      0x176
#define MSR_MCG_CAP           0x179
#define MSR_MCG_STATUS        0x17a
#define MSR_MCG_CTL           0x17b
#define MSR_P6_EVNTSEL0       0x186
#define MSR_PERF_STATUS       0x198
#define MSR_PERF_CTL          0x199
#define MSR_MISC_ENABLE       0x1a0
#define MSR_DEBUGCTL          0x1d9
#define MSR_LBR_FROM          0x1db
#define MSR_LBR_TO            0x1dc
#define MSR_INT_FROM          0x1dd
#define MSR_INT_TO            0x1de
#define MSR_POWER_CTL         0x1fc
#define MSR_MTRR_BASE0        0x200
#define MSR_PAT               0x277
#define MSR_MC0_CTL2          0x280
#define MSR_MTRR_DEF          0x2ff
#define MSR_PERF_CAPABILITIES 0x345
#define MSR_MC0_CTL           0x400
#define MSR_RAPL_POWER_UNIT   0x606
#define MSR_PKG_ENERGY        0x611
#define MSR_DRAM_ENERGY       0x619
#define MSR_PP0_ENERGY        0x639
#define MSR_PP1_ENERGY        0x641
#define MSR_XSS               0xda0
#define MSR_EFER              0xc0000080
#define MSR_STAR              0xc0000081
#define MSR_LSTAR             0xc0000082
#define MSR_CSTAR             0xc0000083
#define MSR_SFMASK            0xc0000084
#define MSR_FS_BASE           0xc0000100
#define MSR_GS_BASE           0xc0000101
#define MSR_KERNEL_GS_BASE    0xc0000102
#define MSR_TSC_AUX           0xc0000103

/* AMD's (APM vol. 2, appendix A; the processors' BKDGs and PPRs). */
#define MSR_K7_EVNTSEL0       0xc0010000
#define MSR_K7_PERFCTR0       0xc0010004
#define MSR_K8_SYSCFG         0xc0010010
#define MSR_HWCR              0xc0010015
#define MSR_K7_CLK_CTL        0xc001001b
#define MSR_NB_CFG            0xc001001f
#define MSR_PATCH_LOADER      0xc0010020
#define MSR_K8_INT_PENDING    0xc0010055
#define MSR_MMIO_CONF_BASE    0xc0010058
#define MSR_K8_TSEG_ADDR      0xc0010112
#define MSR_K8_TSEG_MASK      0xc0010113
#define MSR_VM_HSAVE_PA       0xc0010117
#define MSR_VIRT_SSBD         0xc001011f
#define MSR_DC_CFG            0xc0011022
#define MSR_TW_CFG            0xc0011023
#define MSR_BU_CFG2           0xc001102a
#define MSR_EX_CFG            0xc001102c

#define MISC_ENABLE_EMON	  BIT(7)
#define MISC_ENABLE_NO_BTS	  BIT(11)
#define MISC_ENABLE_NO_PEBS	  BIT(12)
#define MISC_ENABLE_MWAIT	  BIT(18)
#define HWCR_TLB_CACHE_DISABLE	  BIT(3)
#define HWCR_FLUSH_FILTER_DISABLE BIT(6)
#define HWCR_IGNNE_EMULATION	  BIT(8)
#define HWCR_MC_STATUS_WRITE	  BIT(18)
#define HWCR_TSC_FREQ_SEL	  BIT(24)
#define PLATFORM_CPUID_FAULT	  0x80000000ULL /* PLATFORM_INFO: CPUID can be made to fault */
/* The revisions that KVM starts with on either vendor's processors. Intel's is the upper half. */
#define UCODE_REV_INTEL		  0x100000000ULL
#define UCODE_REV_AMD		  0x1000065ULL

/* Kept by the owner; those of linux/kvm_para.h are listed to the VMM by cpu_msr_list(). */
#define MSR_KVM_FIRST		0x4b564d00
#define MSR_KVM_LAST		MSR_KVM_MIGRATION_CONTROL
#define MSR_APIC_BASE		0x1b
#define APIC_BASE_ENABLE	BIT(11)
#define MSR_TSC_DEADLINE	0x6e0

#endif
