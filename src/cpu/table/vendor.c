/* SPDX-License-Identifier: MIT */
/* table/vendor.c: the facts, and who is who. */
#include "cpu/table/vendor.h"

#include <cpuid.h>

#define INTEL BIT(VENDOR_INTEL)
#define AMD   BIT(VENDOR_AMD)

/* The first four letters of CPUID's vendor string. */
#define LEAF0_AMD   0x68747541u /* AuthenticAMD */
#define LEAF0_HYGON 0x6f677948u /* HygonGenuine */

const struct vendor_info vendor_info[NR_VENDOR_FACTS] = {
	[FACT_FP_POINTERS] = {
		"FXSAVE and XSAVE store FIP, FDP and FOP as 0 unless an x87 exception is pending",
		AMD, "vol. 1, 10.5.1", "vol. 5, FXSAVE; vol. 3, Fn8000_0008_EBX[RstrFpErrPtrs]"},
	[FACT_NEAR_16] = {
		"near branches in 64-bit mode take an operand-size prefix: 16 bits",
		AMD, "vol. 2, JMP, CALL, RET, Jcc", "vol. 1, 3.7.9 and table 3-9"},
	[FACT_FAR_NO_W] = {
		"REX.W does not widen the offset of a far pointer in memory",
		AMD, "vol. 2, JMP, CALL, LDS/LES/LFS/LGS/LSS", "vol. 3, JMP (Far), CALL (Far), LxS"},
	[FACT_F3_XCHG] = {
		"F3 90 with REX.B is XCHG R8, not PAUSE",
		AMD, "vol. 2, PAUSE", "vol. 3, XCHG, NOP and PAUSE"},
	[FACT_PREFETCH_REG] = {
		"0F 0D with a register operand is #UD, not NOP",
		AMD, "vol. 2, PREFETCHW", "vol. 3, PREFETCHlevel and appendix A (group P)"},
	[FACT_PUSH_SEG] = {
		"PUSH of a segment register writes all of a 32-bit slot, not its lower half",
		AMD, "vol. 2, PUSH", "vol. 3, PUSH"},
	[FACT_REP_TRAP] = {
		"a trap between iterations shows the last one's flags, and not RF",
		AMD, "vol. 2, REP; vol. 3, 17.3.1.1", "vol. 3, 1.2.6; vol. 2, 3.1 (RFLAGS.RF)"},
	[FACT_AC_VECTORS] = {
		"#AC looks at vector operands of 16 bytes and more",
		AMD, "vol. 2, exception types 1 to 6", "vol. 2, 8.2.17; vol. 4, exception tables"},
	[FACT_SHA_UNALIGNED] = {
		"SHA instructions take operands that are not aligned",
		AMD, "vol. 2, SHA1MSG1 (type 4)", "vol. 4, SHA1MSG1 (model's own)"},
	[FACT_LANE_W] = {
		"VPINSRD and VPEXTRD outside 64-bit mode with VEX.W set are #UD",
		AMD, "vol. 2, PINSRB and PEXTRB", "vol. 4, VPINSRQ and VPEXTRQ"},
	[FACT_MMX_TOP] = {
		"an MMX store that faults leaves TOP as it was",
		AMD, "vol. 3, 12.2 (model's own)", "vol. 2, 8.5 (model's own)"},
	[FACT_HI16_IN_USE] = {
		"outside 64-bit mode XSAVE counts Hi16_ZMM as in use where it is not initial",
		AMD, "vol. 1, 13.6", "vol. 2, 11.5 (model's own)"},
	[FACT_IMAGE_GP] = {
		"an XSAVE area that is not aligned is #GP with alignment checking too",
		AMD, "vol. 2, XSAVE", "vol. 4, XSAVE"},
	[FACT_IMAGE_WHOLE] = {
		"XSAVE and XRSTOR look at the area from its first byte, whatever is asked for",
		AMD, "vol. 1, 13.13 (model's own)", "vol. 4, XSAVE (model's own)"},
	[FACT_MXCSR_FIRST] = {
		"XRSTOR looks at MXCSR's reserved bits before it changes anything",
		AMD, "vol. 1, 13.8 (model's own)", "vol. 4, XRSTOR"},
	[FACT_GATHER_IN_TURN] = {
		"AVX2: a gather that faults has touched neither later mask elements nor upper parts",
		AMD, "vol. 2, VPGATHERDD", "vol. 4, VPGATHERDD (model's own)"},
	[FACT_BOUND_BOTH] = {
		"BOUND reads both bounds before it compares",
		AMD, "vol. 2, BOUND (model's own)", "vol. 3, BOUND"},
	[FACT_CALL_TARGET] = {
		"a near CALL looks at its target before it stores the return address",
		AMD, "vol. 2, CALL", "vol. 3, CALL (Near)"},
	[FACT_MOVSXD_32] = {
		"MOVSXD with a 16-bit operand reads 32 bits",
		AMD, "vol. 2, MOVSX/MOVSXD", "vol. 3, MOVSXD"},
	[FACT_STORE_FIRST] = {
		"a store's access faults before the floating-point exception of its value",
		AMD, "vol. 1, 8.5 (model's own)", "vol. 2, 8.5 (model's own)"},
	[FACT_SYSCALL_LEGACY] = {
		"SYSCALL and SYSRET are there in every protected mode, not in 64-bit mode only",
		AMD, "vol. 2, SYSCALL and SYSRET", "vol. 3, SYSCALL and SYSRET"},
	[FACT_SYSENTER_LEGACY] = {
		"SYSENTER and SYSEXIT are there in legacy mode only, not in long mode",
		AMD, "vol. 2, SYSENTER and SYSEXIT", "vol. 3, SYSENTER and SYSEXIT"},
	[FACT_SYSRET_SS] = {
		"SYSRET leaves SS but for its selector, and checks no address",
		AMD, "vol. 2, SYSRET", "vol. 3, SYSRET"},
	[FACT_SHADOW_BREAK] = {
		"a code breakpoint hits in the shadow of a load of SS",
		AMD, "vol. 3, 6.8.3", "none (KVM's word)"},
	[FACT_OUTER_NULL] = {
		"a return to an outer level nulls FS and GS with their bases, not the selector alone",
		AMD, "vol. 2, RET and IRET", "vol. 3, RET (Far) and IRET"},
	[FACT_SYSENTER_MSRS] = {
		"SYSENTER_ESP and SYSENTER_EIP take addresses that are not canonical",
		AMD, "vol. 2, WRMSR", "vol. 2, 6.1.2"},
	[FACT_TSC_AUX_32] = {
		"TSC_AUX drops its upper half and does not refuse it",
		AMD, "vol. 4, IA32_TSC_AUX", "vol. 3, RDTSCP (model's own)"},
	[FACT_NO_FEATURE_CTL] = {
		"there is no IA32_FEATURE_CONTROL",
		AMD, "vol. 4, IA32_FEATURE_CONTROL", "vol. 2, appendix A"},
	[FACT_DEBUGCTL_PINS] = {
		"DEBUGCTL has bits for the breakpoint pins",
		AMD, "vol. 4, IA32_DEBUGCTL", "vol. 2, 13.1.1"},
	[FACT_MC_STATUS] = {
		"MCi_STATUS can be set with the leave of HWCR",
		AMD, "vol. 4, IA32_MCi_STATUS", "vol. 2, 9.3.2"},
};

enum vendor vendor_of_leaf0(u32 ebx)
{
	return ebx == LEAF0_AMD || ebx == LEAF0_HYGON ? VENDOR_AMD : VENDOR_INTEL;
}

enum vendor vendor_of_host(void)
{
	static int known; /* plus one; idempotent, so two first callers do no harm */
	u32 a, b, c, d;

	if (!__atomic_load_n(&known, __ATOMIC_RELAXED)) {
		__cpuid(0, a, b, c, d);
		__atomic_store_n(&known, (int)vendor_of_leaf0(b) + 1, __ATOMIC_RELAXED);
	}
	return (enum vendor)(known - 1);
}
