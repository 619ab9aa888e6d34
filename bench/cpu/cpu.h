/* SPDX-License-Identifier: MIT */
/* bench/cpu/cpu.h: the loops, for guest and host. */
#ifndef BENCH_CPU_H
#define BENCH_CPU_H

#define LOOP_BYTES 65536
/* X(name, instructions in ten turns, turns) */
#define LOOPS(X)                                                                                   \
	X(registers, 80, 4000000)                                                                  \
	X(memory, 110, 2000000)                                                                    \
	X(branches, 65, 2000000)                                                                   \
	X(sse, 60, 2000000)                                                                        \
	X(calls, 50, 2000000)

#define LOOP_DECLARE(name, insns, turns) void loop_##name(unsigned long n, void *memory);
LOOPS(LOOP_DECLARE)

static inline unsigned long long loop_clock(void)
{
	unsigned lo, hi;

	__asm__ volatile("lfence\n\trdtsc" : "=a"(lo), "=d"(hi));
	return lo | (unsigned long long)hi << 32;
}

#endif
