/* SPDX-License-Identifier: MIT */
/*
 * native/xstate.h: XSAVE components (SDM vol. 1, chapter 13) of the guest's state, moved between
 * struct cpu and images in memory, for the XSAVE instructions and for the VMM's calls.
 */
#ifndef CPU_NATIVE_XSTATE_H
#define CPU_NATIVE_XSTATE_H

#include "cpu/state.h"

enum xcomp { XC_X87, XC_SSE, XC_AVX, XC_OPMASK = 5, XC_ZMM_HI256, XC_HI16_ZMM, NR_XCOMP };

#define XMASK(c)      (1ULL << (c))
#define XMASK_AVX512  (XMASK(XC_OPMASK) | XMASK(XC_ZMM_HI256) | XMASK(XC_HI16_ZMM))
#define XMASK_KNOWN   (XMASK(XC_X87) | XMASK(XC_SSE) | XMASK(XC_AVX) | XMASK_AVX512)
#define XSAVE_LEGACY  512
#define XSAVE_HEADER  64
#define XSAVE_ALIGN   64
#define XSAVE_MAX     4096
#define XCOMP_COMPACT (1ULL << 63)

/* The 64 bytes after the legacy region. */
struct xsave_header {
	u64 xstate_bv;
	u64 xcomp_bv;
	u64 reserved[6];
};

/* Size and offset in the standard format, from the host's CPUID leaf 0xd; 0: not there. */
u32 xcomp_size(enum xcomp x);
u32 xcomp_offset(enum xcomp x);
/* Offset of x in the compacted format with components `bv`. */
u32 xcomp_compact_offset(u64 bv, enum xcomp x);
/* Bytes of an image with components `bv`. */
u32 xstate_image_size(u64 bv, bool compact);
/* Components this host has and we know. */
u64 xstate_host_components(void);

/* Components not in their initial state. */
u64 xstate_in_use(const struct cpu *c);
/* The bytes of component x (AVX and up; the legacy region's are below); set: NULL for zeroes. */
void xcomp_get(const struct cpu *c, enum xcomp x, void *bytes);
void xcomp_set(struct cpu *c, enum xcomp x, const void *bytes);
void xcomp_init(struct cpu *c, enum xcomp x);

/* May XCR0 have this value (SDM vol. 1, 13.3)? */
bool xcr0_valid(const struct cpu *c, u64 value);

/* x87 fields of a legacy region, 64-bit pointers; and the 16 XMM registers. */
void xstate_get_x87(const struct cpu *c, u8 *legacy);
void xstate_set_x87(struct cpu *c, const u8 *legacy);
void xstate_get_xmm(const struct cpu *c, u8 *legacy, u32 n);
void xstate_set_xmm(struct cpu *c, const u8 *legacy, u32 n);

#endif
