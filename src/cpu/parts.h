/* SPDX-License-Identifier: MIT */
/*
 * cpu/parts.h: an operand that no single host pointer serves, as one or two parts of a page each.
 *
 * For access.c, which resolves them. In guest mode, on the vCPU's thread; each of these completes or
 * unwinds.
 */
#ifndef CPU_PARTS_H
#define CPU_PARTS_H

#include "cpu/state.h"

/* One page's part of an operand, resolved for an access. */
struct part {
	u8 *host;  /* NULL: a device */
	gpa_t gpa;
	u32 len;
	bool code; /* writes go through mmu_code_write() */
};

void parts_read(struct cpu *c, u64 la, const struct part *part, unsigned n, u8 *buf);
/* The same of at most 8 bytes, as one load where one pointer reaches them. */
u64 parts_load(struct cpu *c, u64 la, u32 size, const struct part *part, unsigned n);

/*
 * Store all of it or, when this unwinds, nothing that shows: the instruction is going to be run
 * again, and what it reads then must be what it read the first time. That holds for operands of up
 * to PARTS_UNDO bytes, more than any instruction writes that depend on memory. Longer ones are images
 * of registers, which are the same when they are stored again.
 */
#define PARTS_UNDO 256
void parts_write(struct cpu *c, u64 la, const struct part *part, unsigned n, const u8 *buf);

#endif
