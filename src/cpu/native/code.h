/* SPDX-License-Identifier: MIT */
/*
 * native/code.h: memory for stubs, for stubs.c, which holds its lock in every call.
 */
#ifndef CPU_NATIVE_CODE_H
#define CPU_NATIVE_CODE_H

#include "cpu/native/stub.h"

#define SEGMENT_SIZE (256UL << 10) /* bytes */
#define SEGMENTS     240UL

/* A segment's number, or -1. Segment n begins at n * SEGMENT_SIZE. */
s32 native_segment_take(void);
void native_segment_give(u32 segment);
/* A slot's number, or -1. */
s32 native_slot_take(void);
void native_slot_give(u32 slot);
/* Code at `at`, an offset from native_code; nobody runs what was there. */
void native_code_put(u32 at, const struct native_asm *a);
/* The same in a slot; its offset. */
u32 native_slot_put(u32 slot, const struct native_asm *a);

#endif
