/* SPDX-License-Identifier: MIT */
/*
 * base/pext.h: does this processor carry PEXT out in hardware? Generated code looks memory up with it,
 * without touching a flag; where it is microcode (AMD before family 19h) or missing, guests are
 * interpreted. And is LOOP quick, by which it checks; and what becomes of flags that the manuals leave undefined?
 * Any thread.
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

/*
 * OF in bit 0 and LAHF's byte in bits 8 to 15, behind an instruction on ECX, EDX and EAX, and before it. EAX has brought the
 * flags there, and then is what it always is.
 */
#define HOST_FLAGS_BEHIND(insn, before)                                                             \
	({                                                                                          \
		unsigned ax_ = (before), cx_ = 0x92345679, dx_ = 3;                                   \
		__asm__("addb $127, %%al\n\t"                                                       \
			"sahf\n\t"                                                                  \
			"movl $0x12345, %%eax\n\t" insn "\n\t"                                      \
			"lahf\n\t"                                                                  \
			"seto %%al"                                                                  \
			: "+a"(ax_), "+c"(cx_), "+d"(dx_)                                            \
			:                                                                            \
			: "cc");                                                                     \
		ax_ & 0xd501;                                                                        \
	})
#define HOST_SETTLES(insn) (HOST_FLAGS_BEHIND(insn, 0x0200) == HOST_FLAGS_BEHIND(insn, 0xd701))

/* The manuals leave AF undefined after AND, OR, XOR and TEST. Processors are known to clear it, whatever it was. */
static inline bool host_clears_af(void)
{
	return !(HOST_FLAGS_BEHIND("testb %%al, %%al", 0xd701) & 0x1000);
}

/*
 * Some of the flags are undefined after a shift by more than nothing, and after a multiplication (SDM vol. 2; APM
 * vol. 3). Are they at least not what they were before? They are, of AMD's multiplications.
 */
static inline bool host_shifts_settle_flags(void)
{
	return HOST_SETTLES("shll $1, %%ecx") && HOST_SETTLES("shll $5, %%ecx") && HOST_SETTLES("shrl $1, %%ecx") &&
	       HOST_SETTLES("shrl $5, %%ecx") && HOST_SETTLES("sarl $1, %%ecx") && HOST_SETTLES("sarl $5, %%ecx") &&
	       HOST_SETTLES("shlb $5, %%cl") && HOST_SETTLES("shrw $5, %%cx");
}

static inline bool host_products_settle_flags(void)
{
	return HOST_SETTLES("imull %%edx, %%ecx") && HOST_SETTLES("imull $77, %%edx, %%ecx") &&
	       HOST_SETTLES("mull %%ecx") && HOST_SETTLES("imull %%ecx") && HOST_SETTLES("mulb %%cl");
}

#endif
