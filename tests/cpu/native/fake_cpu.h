/* SPDX-License-Identifier: MIT */
/*
 * tests/cpu/native/fake_cpu.h: the least of a vCPU that native/ needs: guest memory is the
 * process's own, at the same addresses; exceptions come back as a return value.
 */
#ifndef TESTS_CPU_NATIVE_FAKE_CPU_H
#define TESTS_CPU_NATIVE_FAKE_CPU_H

#include "cpu/code/decode.h"

enum fake_end {
	FAKE_DONE = 0,
	FAKE_RAISED = 1, /* fake_vector, fake_error */
	FAKE_DIED,	 /* access_died() */
	FAKE_RESTART,
	FAKE_CANNOT,
};

extern u8 fake_vector;
extern u32 fake_error;
extern bool fake_bounce; /* access_ptr() gives a copy */
extern u64 fake_last_la;
extern unsigned fake_clears;	 /* of the code cache */
extern bool fake_read_twice; /* some byte was, since the instruction began */

struct cpu *fake_cpu_create(void);
struct cpu *fake_cpu_create_in(struct mmu *mmu); /* of that VM: a name only */
void fake_cpu_destroy(struct cpu *c); /* NULL: nothing */
/* The TLB knows [p, p + len), or nothing. */
void fake_tlb_fill(struct cpu *c, const void *p, size_t len);
void fake_tlb_clear(struct cpu *c);

/* Decode `bytes` at rip; false: denied. */
bool fake_decode(struct cpu *c, struct decoder *d, struct op *op, const u8 *bytes, u64 rip);
enum fake_end fake_execute(struct cpu *c, struct op *op, u64 rip);
const struct table_line *fake_table(unsigned mnemonic);

#endif
