/* SPDX-License-Identifier: MIT */
/*
 * system/msr.h: addresses of model-specific registers (SDM vol. 4).
 */
#ifndef CPU_SYSTEM_MSR_H
#define CPU_SYSTEM_MSR_H

#include <linux/kvm_para.h>

#define MSR_TSC		      0x10
#define MSR_PLATFORM_ID	      0x17
#define MSR_EBL_CR_POWERON    0x2a
#define MSR_SMI_COUNT	      0x34
#define MSR_FEATURE_CONTROL   0x3a
#define MSR_TSC_ADJUST	      0x3b
#define MSR_SPEC_CTRL	      0x48
#define MSR_PRED_CMD	      0x49
#define MSR_UCODE_REV	      0x8b
#define MSR_SMBASE	      0x9e
#define MSR_PLATFORM_INFO     0xce
#define MSR_MTRR_CAP	      0xfe
#define MSR_ARCH_CAPABILITIES 0x10a
#define MSR_FLUSH_CMD	      0x10b
#define MSR_BBL_CR_CTL3	      0x11e
#define MSR_MISC_FEATURES     0x140
#define MSR_SYSENTER_CS	      0x174
#define MSR_SYSENTER_ESP      0x175
#define MSR_SYSENTER_EIP      0x176
#define MSR_MCG_CAP	      0x179
#define MSR_MCG_STATUS	      0x17a
#define MSR_MCG_CTL	      0x17b
#define MSR_MISC_ENABLE	      0x1a0
#define MSR_DEBUGCTL	      0x1d9
#define MSR_LBR_FROM	      0x1db
#define MSR_LBR_TO	      0x1dc
#define MSR_INT_FROM	      0x1dd
#define MSR_INT_TO	      0x1de
#define MSR_POWER_CTL	      0x1fc
#define MSR_MTRR_BASE0	      0x200
#define MSR_PAT		      0x277
#define MSR_MC0_CTL2	      0x280
#define MSR_MTRR_DEF	      0x2ff
#define MSR_PERF_CAPABILITIES 0x345
#define MSR_MC0_CTL	      0x400
#define MSR_XSS		      0xda0
#define MSR_EFER	      0xc0000080
#define MSR_STAR	      0xc0000081
#define MSR_LSTAR	      0xc0000082
#define MSR_CSTAR	      0xc0000083
#define MSR_SFMASK	      0xc0000084
#define MSR_FS_BASE	      0xc0000100
#define MSR_GS_BASE	      0xc0000101
#define MSR_KERNEL_GS_BASE    0xc0000102
#define MSR_TSC_AUX	      0xc0000103
#define MSR_K8_SYSCFG	      0xc0010010
#define MSR_HWCR	      0xc0010015
#define MSR_VM_HSAVE_PA	      0xc0010117
#define MSR_VIRT_SSBD	      0xc001011f

#define MISC_ENABLE_MWAIT    BIT(18)
#define PLATFORM_CPUID_FAULT 0x80000000ULL /* PLATFORM_INFO: CPUID can be made to fault */
#define UCODE_REV	     0x100000000ULL /* revision 1, in the upper half */

/* Kept by the owner; those of linux/kvm_para.h are listed to the VMM by cpu_msr_list(). */
#define MSR_KVM_FIRST		0x4b564d00
#define MSR_KVM_LAST		0x4b564dff
#define MSR_TSC_DEADLINE	0x6e0

#endif
