/* SPDX-License-Identifier: MIT */
/*
 * base/pext.h: does this processor carry PEXT out in hardware? Generated code looks memory up with it,
 * without touching a flag; where it is microcode (AMD before family 19h) or missing, guests are
 * interpreted. And is LOOP quick, by which it checks; and what do logical instructions leave in AF? Any thread.
 */
#ifndef BASE_PEXT_H
#define BASE_PEXT_H

#include <cpuid.h>
#include <stdbool.h>

/* 0: another vendor's. */
static inline unsigned host_amd_family(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx)
		return 0;
	__get_cpuid(1, &a, &b, &c, &d);
	return (a >> 8 & 15) == 15 ? 15 + (a >> 20 & 255) : a >> 8 & 15;
}

static inline bool host_has_fast_pext(void)
{
	unsigned a, b, c, d, amd = host_amd_family();

	return !(amd && amd < 0x19) && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_BMI2);
}

/* LOOP is one operation on AMD's processors since family 17h, and many on Intel's. */
static inline bool host_has_fast_loop(void)
{
	return host_amd_family() >= 0x17;
}

/* The manuals leave AF undefined after AND, OR, XOR and TEST. Processors are known to clear it, whatever it was. */
static inline bool host_clears_af(void)
{
	unsigned ax;

	__asm__("movl $0x0f, %0\n\t"
		"addb $1, %b0\n\t" /* AF is set */
		"testb %b0, %b0\n\t"
		"lahf"
		: "=a"(ax)
		:
		: "cc");
	return !(ax >> 8 & 0x10);
}

#endif
