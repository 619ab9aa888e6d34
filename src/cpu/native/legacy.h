/* SPDX-License-Identifier: MIT */
/*
 * native/legacy.h: images of x87 and vector state in guest memory, and the 512-byte legacy region
 * of FXSAVE's and XSAVE's.
 */
#ifndef CPU_NATIVE_LEGACY_H
#define CPU_NATIVE_LEGACY_H

#include "cpu/native/xstate.h"

/* Bytes [at, at + size) of the image that is o's memory operand; multiples of 8. An offset wraps
 * as the address size does, in the middle of an image too. */
void image_read(struct cpu *c, const struct op *o, u32 at, void *bytes, u32 size);
void image_write(struct cpu *c, const struct op *o, u32 at, const void *bytes, u32 size);
/* Fault now if an access to that byte would. */
void image_probe(struct cpu *c, const struct op *o, u32 at, bool write);
/* #GP or #SS where the image is not aligned to `align` bytes. */
void image_check(struct cpu *c, const struct op *o, u32 align, bool write);

/* XMM registers the mode can name. */
u32 legacy_xmm_count(const struct cpu *c);
/* x87 part to and from an image; `wide`: REX.W. */
void legacy_put_x87(const struct cpu *c, u8 *image, bool wide);
void legacy_take_x87(struct cpu *c, u8 *image, bool wide);
/* MXCSR of an image; raises #GP when bits are reserved. */
u32 legacy_take_mxcsr(struct cpu *c, const u8 *image);

#endif
