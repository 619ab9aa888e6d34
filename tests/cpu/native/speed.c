/* SPDX-License-Identifier: MIT */
/* tests/cpu/native/speed.c: nanoseconds an op of native/ takes, by kind. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "cpu/native/native.h"
#include "fake_cpu.h"

#define BATCHES 500
#define BATCH	4000 /* short: the best of many is what an idle machine does */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void measure(struct cpu *c, const char *what, const u8 *bytes)
{
	struct {
		struct block b;
		struct op op[2];
	} block = {0};
	struct decoder d;
	double t, best = 1e18;

	if (!fake_decode(c, &d, &block.op[0], ZYDIS_MACHINE_MODE_LONG_64, bytes, 0)) {
		printf("%-28s denied\n", what);
		return;
	}
	c->block = &block.b;
	for (unsigned b = 0; b < BATCHES; b++) {
		t = now();
		for (unsigned i = 0; i < BATCH; i++)
			block.op[0].fn(c, &block.op[0]);
		t = now() - t;
		best = t < best ? t : best;
	}
	printf("%-28s %6.1f ns\n", what, best / BATCH);
}

int main(void)
{
	static u8 data[64] __attribute__((aligned(64)));
	struct cpu *c = fake_cpu_create();
	static const struct {
		const char *what;
		u8 bytes[15];
	} insn[] = {
		{"paddd xmm, xmm", {0x66, 0x0f, 0xfe, 0xca}},
		{"movaps xmm, [mem]", {0x0f, 0x28, 0x0b}},
		{"movups [mem], xmm", {0x0f, 0x11, 0x0b}},
		{"addsd xmm, xmm", {0xf2, 0x0f, 0x58, 0xca}},
		{"mulps xmm, [mem]", {0x0f, 0x59, 0x0b}},
		{"pmovmskb r, xmm", {0x66, 0x0f, 0xd7, 0xc1}},
		{"ptest xmm, xmm", {0x66, 0x0f, 0x38, 0x17, 0xca}},
		{"vpaddd ymm, ymm, ymm", {0xc5, 0xed, 0xfe, 0xcb}},
		{"vmovdqu ymm, [mem]", {0xc5, 0xfe, 0x6f, 0x0b}},
		{"vpaddd zmm{k}, zmm, zmm", {0x62, 0xf1, 0x6d, 0x49, 0xfe, 0xcb}},
		{"paddd mm, mm", {0x0f, 0xfe, 0xca}},
		{"fadd st, st(1)", {0xd8, 0xc1}},
		{"fst [mem]", {0xdd, 0x13}},
	};

	if (native_init())
		return 1;
	fake_tlb_fill(c, data, sizeof(data));
	c->reg[RBX] = (u64)data;
	c->fx[0] = 0x7f;
	c->fx[1] = 3;
	c->fx[4] = 0xff;
	for (unsigned i = 0; i < ARRAY_SIZE(insn); i++)
		measure(c, insn[i].what, insn[i].bytes);
	return 0;
}
