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
		"FXSAVE and XSAVE store FIP, FDP and FOP as 0 unless an x87 exception is pending", AMD,
		"vol. 1, 8.1.8 and 10.5.1", "vol. 5, FXSAVE; vol. 3, Fn8000_0008_EBX[RstrFpErrPtrs]"},
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
