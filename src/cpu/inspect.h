/* SPDX-License-Identifier: MIT */
/*
 * cpu/inspect.h: a vCPU's state as text, for a report: registers, code, and how an address is
 * translated. Any thread; while the vCPU runs each register is one that it had, not all of them of the
 * same moment. Nothing is changed, and no memory is read but by the caller's function.
 */
#ifndef CPU_INSPECT_H
#define CPU_INSPECT_H

#include "base/text.h"
#include "cpu/cpu.h"

struct cpu_memory {
	/* Guest-physical memory: 0 or -errno. May be called for up to 16 bytes in one page. */
	int (*read)(void *arg, gpa_t gpa, void *buf, u32 len);
	void *arg;
};

void cpu_inspect_registers(struct cpu *c, struct text *t);
/* The instructions at RIP and after it. */
void cpu_inspect_code(struct cpu *c, const struct cpu_memory *m, struct text *t);
/* Level by level. True: *gpa is where the byte is. */
bool cpu_inspect_walk(struct cpu *c, u64 la, const struct cpu_memory *m, struct text *t, gpa_t *gpa);
/* CS:RIP as a linear address. */
u64 cpu_inspect_rip(const struct cpu *c);

#endif
