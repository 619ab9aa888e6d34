/* SPDX-License-Identifier: MIT */
/*
 * How fast the interpreter is: a loop on registers and one on memory, in guest instructions per
 * microsecond.
 */
#include <stdio.h>
#include <time.h>

#include "fake.h"

/* Registers: hash a counter. */
static const u8 reg_loop[] = {
	0x48, 0x89, 0xc8,		/* mov %rcx, %rax */
	0x48, 0xc1, 0xe0, 0x05,		/* shl $5, %rax */
	0x48, 0x01, 0xc3,		/* add %rax, %rbx */
	0x48, 0x31, 0xcb,		/* xor %rcx, %rbx */
	0x48, 0x8d, 0x14, 0x0b,		/* lea (%rbx,%rcx), %rdx */
	0x48, 0x29, 0xd6,		/* sub %rdx, %rsi */
	0x48, 0xff, 0xc9,		/* dec %rcx */
	0x75, 0xe7,			/* jnz */
	0x0f, 0x0b,			/* ud2 */
};

/* Memory: load, add, store, compare, call and return. */
static const u8 mem_loop[] = {
	0x48, 0x8b, 0x07,		/* mov (%rdi), %rax */
	0x48, 0x03, 0x47, 0x08,		/* add 8(%rdi), %rax */
	0x48, 0x89, 0x47, 0x10,		/* mov %rax, 16(%rdi) */
	0x48, 0x01, 0x07,		/* add %rax, (%rdi) */
	0x48, 0x3b, 0x47, 0x10,		/* cmp 16(%rdi), %rax */
	0xe8, 0x07, 0x00, 0x00, 0x00,	/* call f */
	0x48, 0xff, 0xc9,		/* dec %rcx */
	0x75, 0xe4,			/* jnz */
	0x0f, 0x0b,			/* ud2 */
	0x53,				/* f: push %rbx */
	0x5b,				/* pop %rbx */
	0xc3,				/* ret */
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void measure(struct cpu *c, const char *name, const u8 *code, size_t len, unsigned insns)
{
	u64 loops = 100000000 / insns;
	double start, took;

	memcpy((void *)FAKE_CODE, code, len);
	fake_code_changed(c);
	c->rip = FAKE_CODE;
	c->reg[RCX] = loops;
	c->reg[RDI] = FAKE_DATA;
	c->reg[RSP] = FAKE_DATA + 0x2000;
	start = seconds();
	if (fake_run(c) != VEC_UD)
		printf("%s: stopped early\n", name);
	took = seconds() - start;
	printf("%s: %.0f MIPS\n", name, (double)(loops * insns) / took / 1e6);
}

int main(void)
{
	struct cpu *c = fake_create();

	measure(c, "registers", reg_loop, sizeof(reg_loop), 8);
	measure(c, "memory", mem_loop, sizeof(mem_loop), 11);
	return 0;
}
