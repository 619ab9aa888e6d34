/* SPDX-License-Identifier: MIT */
/*
 * translator/area.h: memory for a vCPU's generated code, mapped twice into address space of our own. Only
 * what is used takes memory. A child of fork() has neither mapping: it runs no vCPU, and what it gave
 * back would be missing here.
 */
#ifndef CPU_TRANSLATOR_AREA_H
#define CPU_TRANSLATOR_AREA_H

#include "base/types.h"

struct area {
	u8 *run;   /* where it is executed */
	u8 *write; /* where it is written */
	u32 size;  /* bytes */
};

/* `size` bytes, whole pages; a fault in it continues at `fixup`, and a kick where the stack pointer has no bit of `sp_zero`. 0 or -errno: what the host
 * refused. Any thread. */
int area_create(struct area *a, u32 size, void *fixup, u64 sp_zero);
/* Nothing runs in it any more. */
void area_destroy(struct area *a);

#endif
