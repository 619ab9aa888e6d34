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

#include "base/types.h"

enum vendor { VENDOR_INTEL, VENDOR_AMD, NR_VENDORS };

enum vendor_fact {
	FACT_FP_POINTERS,
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

#endif
