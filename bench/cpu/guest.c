/* SPDX-License-Identifier: MIT */
/* bench/cpu/guest.c: each loop once to warm up and once by the clock; "name cycles" on COM1. */
#include "cpu.h"

enum { COM1 = 0x3f8, EXIT = 0xf4 };

static unsigned char memory[LOOP_BYTES] __attribute__((aligned(4096)));

static void out(unsigned short port, unsigned char v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static void put_string(const char *s)
{
	while (*s)
		out(COM1, (unsigned char)*s++);
}

static void put_number(unsigned long long n)
{
	char digits[24];
	unsigned i = sizeof(digits);

	digits[--i] = 0;
	do
		digits[--i] = (char)('0' + n % 10);
	while (n /= 10);
	put_string(digits + i);
}

static void measure(const char *name, void (*loop)(unsigned long, void *), unsigned long turns)
{
	unsigned long long t;

	loop(turns / 16, memory);
	t = loop_clock();
	loop(turns, memory);
	t = loop_clock() - t;
	put_string(name);
	put_string(" ");
	put_number(t);
	put_string("\n");
}

void guest(void)
{
#define LOOP_MEASURE(name, insns, turns) measure(#name, loop_##name, turns);
	LOOPS(LOOP_MEASURE)
	out(EXIT, 0);
}
