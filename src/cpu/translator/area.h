/* SPDX-License-Identifier: MIT */
/*
 * translator/area.h: memory for generated code: one file without a name for the process, mapped
 * twice, and cut into slices, one a vCPU. Only what is used takes memory.
 */
#ifndef CPU_TRANSLATOR_AREA_H
#define CPU_TRANSLATOR_AREA_H

#include "base/types.h"

#define AREA_SLICE (32UL << 20) /* bytes of code a vCPU may have */

struct area {
	u8 *run;   /* where it is executed */
	u8 *write; /* where it is written */
};

/* A slice. A fault in any slice continues at `fixup`, which is the same each time. 0 or -errno;
 * -ENOSPC: all are taken. Any thread. */
int area_get(struct area *a, void *fixup);
/* Give it back, and its memory. */
void area_put(struct area *a);

#endif
