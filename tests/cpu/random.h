/* SPDX-License-Identifier: MIT */
/* cpu/random.h: random states for an instruction, where what is interesting is likely. */
#ifndef TESTS_CPU_RANDOM_H
#define TESTS_CPU_RANDOM_H

#include <Zydis/Zydis.h>
#include "base/types.h"

extern u64 random_seed; /* not 0 */

u64 rnd(void);
/* Now and then one at which integers, floating point or packed numbers turn. */
u64 rnd_value(void);
/* Of such values; n is a multiple of 8. */
void random_bytes(void *p, size_t n);
/* The x87 part of an FXSAVE image but for its pointers. */
void random_x87(u8 *fx);
/* Default or random, exceptions mostly masked. */
u32 random_mxcsr(void);

/* Does it store or load an image of the state, and is that XSAVE's? */
bool is_state_image(ZydisMnemonic mn, bool *xsave);
/* One in [p, p + n) that FXRSTOR or XRSTOR likes, mostly; components of xmask. */
void random_image(u8 *p, size_t n, bool xsave, u64 xmask);

#endif
