/* SPDX-License-Identifier: MIT */
/* native/legacy.h: the 512-byte legacy region of FXSAVE and XSAVE images in guest memory. */
#ifndef CPU_NATIVE_LEGACY_H
#define CPU_NATIVE_LEGACY_H

#include "cpu/native/xstate.h"

/* XMM registers the mode can name. */
u32 legacy_xmm_count(const struct cpu *c);
/* x87 part to and from an image; `wide`: REX.W. */
void legacy_put_x87(const struct cpu *c, u8 *image, bool wide);
void legacy_take_x87(struct cpu *c, u8 *image, bool wide);
/* MXCSR of an image; raises #GP when bits are reserved. */
u32 legacy_take_mxcsr(struct cpu *c, const u8 *image);

#endif
