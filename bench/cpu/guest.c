/* SPDX-License-Identifier: MIT */
/* bench/cpu/guest.c: each loop once to warm up and once by the clock; "name cycles" on COM1. */
#include "cpu.h"
#include "frame.h"

enum { EXIT = 0xf4 };

static u8 memory[LOOP_BYTES] __attribute__((aligned(4096)));

static void measure(const char *name, void (*loop)(unsigned long, void *), unsigned long turns)
{
	u64 t;

	loop(turns / 16, memory);
	t = loop_clock();
	loop(turns, memory);
	t = loop_clock() - t;
	print("%s %lu\n", name, t);
}

int main(void)
{
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
#define LOOP_MEASURE(name, insns, turns) measure(#name, loop_##name, turns);
	LOOPS(LOOP_MEASURE)
	outb(EXIT, 0);
	return 0;
}
