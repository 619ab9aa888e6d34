/* SPDX-License-Identifier: MIT */
/*
 * table/vendor.h: where processors of the two vendors differ, each with the sections that say so.
 * This is the one place that knows it: code asks by fact, never by name.
 *
 * A guest gets the behaviour of the vendor that its CPUID leaf 0 announces (leaf 0 of the host as long
 * as it has none). What no vendor promises (flags left undefined, which of two faults comes first)
 * is no fact: there the host's own instruction decides, and the comparison with the
 * processor (tests/cpu/soak) lists what it excuses.
 */
#ifndef CPU_TABLE_VENDOR_H
#define CPU_TABLE_VENDOR_H

#include "cpu/state.h"

enum vendor { VENDOR_INTEL, VENDOR_AMD, NR_VENDORS };

/* Named after what AMD's processors do, or leave out. */
enum vendor_fact {
	FACT_FP_POINTERS,
	FACT_NEAR_16,
	FACT_FAR_NO_W,
	FACT_F3_XCHG,
	FACT_PREFETCH_REG,
	FACT_PUSH_SEG,
	FACT_REP_TRAP,
	FACT_AC_VECTORS,
	FACT_SHA_UNALIGNED,
	FACT_LANE_W,
	FACT_MMX_TOP,
	FACT_HI16_IN_USE,
	FACT_IMAGE_GP,
	FACT_IMAGE_WHOLE,
	FACT_MXCSR_FIRST,
	FACT_GATHER_IN_TURN,
	FACT_BOUND_BOTH,
	FACT_CALL_TARGET,
	FACT_MOVSXD_32,
	FACT_STORE_FIRST,
	FACT_SYSCALL_LEGACY,
	FACT_SYSENTER_LEGACY,
	FACT_SYSRET_SS,
	FACT_SHADOW_BREAK,
	FACT_OUTER_NULL,
	FACT_SYSENTER_MSRS,
	FACT_TSC_AUX_32,
	FACT_NO_FEATURE_CTL,
	FACT_DEBUGCTL_PINS,
	FACT_MC_STATUS,
	NR_VENDOR_FACTS
};

struct vendor_info {
	const char *what;
	u8 holds; /* bit per vendor */
	const char *intel, *amd; /* sections: SDM and APM */
};
extern const struct vendor_info vendor_info[NR_VENDOR_FACTS];

/* From CPUID leaf 0; who is neither is taken for Intel. */
enum vendor vendor_of_leaf0(u32 ebx);
enum vendor vendor_of_host(void);

static inline bool vendor_does(enum vendor v, enum vendor_fact f)
{
	return vendor_info[f].holds & BIT(v);
}

/* Does the processor that the guest is told it has? */
static inline bool cpu_vendor_does(const struct cpu *c, enum vendor_fact f)
{
	return vendor_does((enum vendor)c->vendor, f);
}

#endif
