/* SPDX-License-Identifier: MIT */
/*
 * Cached blocks against what happens to their bytes, their mode and their surroundings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/guard.h"
#include "cpu/code/cache.h"
#include "cpu/interpreter/interpreter.h"
#include "fake.h"

static struct cpu *cpu;

static void put(u64 at, const void *bytes, size_t n)
{
	memset((void *)at, 0xcc, 64);
	memcpy((void *)at, bytes, n);
	fake_code_changed(cpu);
}

static int run_at(u64 rip)
{
	assert_int_equal(guard_install(), 0); /* cmocka takes the handlers back */
	cpu->rip = rip;
	return fake_run(cpu);
}

#define PUT(at, ...)                                                                               \
	do {                                                                                       \
		const u8 code[] = {__VA_ARGS__};                                                   \
		put(at, code, sizeof(code));                                                       \
	} while (0)

static void test_host_store(void **state)
{
	PUT(FAKE_CODE, 0xb8, 1, 0, 0, 0); /* mov $1, %eax */
	run_at(FAKE_CODE);
	assert_int_equal(cpu->reg[RAX], 1);
	PUT(FAKE_CODE, 0xb8, 2, 0, 0, 0);
	run_at(FAKE_CODE);
	assert_int_equal(cpu->reg[RAX], 2);
}

/* A store to the very next instruction is seen by it. */
static void test_next_instruction(void **state)
{
	u64 store = FAKE_CODE + 0x100;

	/* movb $7, 1(%rip) ; mov $1, %eax */
	PUT(store, 0xc6, 0x05, 1, 0, 0, 0, 7, 0xb8, 1, 0, 0, 0);
	run_at(store);
	assert_int_equal(cpu->reg[RAX], 7);
	/* The same through a read-modify-write: addb $1, 1(%rip). */
	PUT(store, 0x80, 0x05, 1, 0, 0, 0, 1, 0xb8, 1, 0, 0, 0);
	run_at(store);
	assert_int_equal(cpu->reg[RAX], 2);
	/* And a string store: stosb; mov $1, %eax, %rdi at its immediate. */
	PUT(store, 0xaa, 0xb8, 1, 0, 0, 0);
	cpu->reg[RDI] = store + 2;
	cpu->reg[RAX] = 9;
	run_at(store);
	assert_int_equal(cpu->reg[RAX], 9);
}

/* A loop that changes its own body each time round: every version is executed. */
static void test_changing_loop(void **state)
{
	u64 at = FAKE_CODE + 0x200;

	/* add $0, %eax ; incl -6(%rip) (the immediate) ; dec %ecx ; jnz */
	PUT(at, 0x05, 0, 0, 0, 0, 0xff, 0x05, 0xf6, 0xff, 0xff, 0xff, 0xff, 0xc9, 0x75, 0xf1);
	cpu->reg[RAX] = 0;
	cpu->reg[RCX] = 10;
	run_at(at);
	assert_int_equal(cpu->reg[RAX], 45); /* 0 + 1 + ... + 9 */
}

/* An instruction across two pages is dropped with either; and its fault is its own. */
static void test_straddle(void **state)
{
	u64 at = FAKE_CODE + PAGE_SIZE - 2;

	PUT(at, 0xb8, 1, 0, 0, 0);
	run_at(at);
	assert_int_equal(cpu->reg[RAX], 1);
	*(u8 *)(FAKE_CODE + PAGE_SIZE) = 3; /* second byte of the immediate */
	fake_code_changed(cpu);
	run_at(at);
	assert_int_equal(cpu->reg[RAX], 0x301);
}

static void test_straddle_fault(void **state)
{
	u64 last = FAKE_BASE + FAKE_SIZE;

	memcpy((void *)(last - 4), "\xff\xc0\xb8\x01", 4); /* inc %eax ; mov $..., */
	fake_code_changed(cpu);
	cpu->reg[RAX] = 0;
	assert_int_equal(run_at(last - 4), VEC_PF);
	assert_int_equal(cpu->rip, last - 2);
	assert_int_equal(cpu->reg[RAX], 1);
}

/* The last instruction of a page needs no byte of the next. */
static void test_no_early_fetch(void **state)
{
	u64 last = FAKE_BASE + FAKE_SIZE;

	memcpy((void *)(last - 4), "\x0f\x0b", 2);
	memcpy((void *)(last - 2), "\xeb\xfc", 2); /* jmp to the ud2 */
	fake_code_changed(cpu);
	assert_int_equal(run_at(last - 2), VEC_UD);
	assert_int_equal(cpu->rip, last - 4);
}

static void test_mode_is_part_of_the_key(void **state)
{
	u64 at = FAKE_CODE + 0x300;

	PUT(at, 0x48, 0xff, 0xc0); /* inc %rax; 32 bits: dec %eax, inc %eax */
	cpu->reg[RAX] = 5;
	run_at(at);
	assert_int_equal(cpu->reg[RAX], 6);
	fake_set_mode(cpu, MODE_COMPAT32);
	run_at(at);
	assert_int_equal(cpu->reg[RAX], 6);
	fake_set_mode(cpu, MODE_LONG);
	run_at(at);
	assert_int_equal(cpu->reg[RAX], 7);
}

static void test_bad_instructions(void **state)
{
	u64 at = FAKE_CODE + 0x400;

	/* lock mov is #UD, after what stands before it. */
	PUT(at, 0xff, 0xc0, 0xf0, 0x89, 0x07);
	cpu->reg[RAX] = 0;
	assert_int_equal(run_at(at), VEC_UD);
	assert_int_equal(cpu->rip, at + 2);
	assert_int_equal(cpu->reg[RAX], 1);
	/* Sixteen bytes of one instruction are #GP. */
	memset((void *)at, 0x66, 20);
	fake_code_changed(cpu);
	assert_int_equal(run_at(at), VEC_GP);
	assert_int_equal(cpu->rip, at);
}

static void test_step(void **state)
{
	u64 at = FAKE_CODE + 0x500;

	/* inc %eax ; jmp +0 ; call *%rbx */
	PUT(at, 0xff, 0xc0, 0xeb, 0x00, 0xff, 0xd3);
	cpu->rip = at;
	cpu->reg[RAX] = 0;
	cpu->reg[RBX] = at;
	cpu->reg[RSP] = FAKE_DATA + 0x100;
	cpu->key |= BLOCK_KEY_STEP;
	for (unsigned round = 0; round < 3; round++) {
		interpreter_run(cpu);
		assert_int_equal(cpu->rip, at + 2);
		interpreter_run(cpu);
		assert_int_equal(cpu->rip, at + 4);
		interpreter_run(cpu);
		assert_int_equal(cpu->rip, at);
	}
	assert_int_equal(cpu->reg[RAX], 3);
	cpu->key &= ~BLOCK_KEY_STEP;
}

/* One instruction runs in a shadow set before, and ends it. */
static void test_shadow(void **state)
{
	u64 at = FAKE_CODE + 0x600;

	PUT(at, 0xff, 0xc0, 0xff, 0xc0, 0xff, 0xc0);
	cpu->rip = at;
	cpu->shadow = SHADOW_STI;
	interpreter_run(cpu);
	assert_int_equal(cpu->rip, at + 2);
	assert_int_equal(cpu->shadow, 0);
	/* One that faults does not. */
	PUT(at, 0x8b, 0x00); /* mov (%rax), %eax */
	cpu->reg[RAX] = 0;
	cpu->shadow = SHADOW_MOV_SS;
	assert_int_equal(run_at(at), VEC_PF);
	assert_int_equal(cpu->shadow, SHADOW_MOV_SS);
	cpu->shadow = 0;
}

/* A repeated string instruction stops where it faults, registers exact. */
static void test_string_fault(void **state)
{
	u64 at = FAKE_CODE + 0x700, last = FAKE_BASE + FAKE_SIZE;

	PUT(at, 0xf3, 0xa5); /* rep movsd */
	cpu->reg[RSI] = FAKE_DATA;
	cpu->reg[RDI] = last - 4098;
	cpu->reg[RCX] = 2000;
	assert_int_equal(run_at(at), VEC_PF);
	assert_int_equal(cpu->rip, at);
	assert_int_equal(cpu->reg[RDI], last - 2);
	assert_int_equal(cpu->reg[RSI], FAKE_DATA + 4096);
	assert_int_equal(cpu->reg[RCX], 2000 - 1024);
}

/* A locked access across a line, and across a page: done, by the slow path. */
static void test_split_lock(void **state)
{
	u64 at = FAKE_CODE + 0x800;
	u64 where[] = {FAKE_DATA + 60, FAKE_DATA + PAGE_SIZE - 3};

	for (unsigned i = 0; i < 2; i++) {
		u64 v = 41;

		PUT(at, 0xf0, 0x48, 0xff, 0x03, 0xff, 0xc0); /* lock incq (%rbx); inc %eax */
		memcpy((void *)where[i], &v, 8);
		cpu->reg[RBX] = where[i];
		cpu->reg[RAX] = 0;
		cpu->mmu.mode = MMU_IN_GUEST;
		run_at(at);
		memcpy(&v, (void *)where[i], 8);
		assert_int_equal(v, 42);
		assert_int_equal(cpu->reg[RAX], 1);
	}
	/* One that faults lets the world go on. */
	cpu->reg[RBX] = FAKE_BASE + FAKE_SIZE - 4;
	assert_int_equal(run_at(at), VEC_PF);
	assert_int_equal(cpu->rip, at);
	cpu->reg[RBX] = where[0];
	run_at(at);
	assert_int_equal(*(u8 *)where[0], 43);
}

/* More code than the arena holds: everything is forgotten and goes on. */
static void test_many_blocks(void **state)
{
	u64 at = FAKE_CODE + 0x900;

	for (u32 i = 0; i < 60000; i++) {
		u8 code[57] = {0xb8};

		memcpy(code + 1, &i, 4);
		memset(code + 5, 0x90, 50); /* 52 ops: 1.7 KiB */
		memcpy(code + 55, "\x0f\x0b", 2);
		put(at, code, sizeof(code));
		run_at(at);
		assert_int_equal(cpu->reg[RAX], i);
	}
}

/*
 * A memslot goes while the vCPU is in guest mode: stage 2 says so at once, the TLB when it was flushed, and
 * that waits for this vCPU. It does not look for the code's page until then, for ever.
 */
static void test_zapped_before_the_flush(void **state)
{
	u64 fresh = FAKE_CODE + 0x9000; /* a page of which nothing has been marked yet */

	PUT(fresh, 0xb8, 1, 0, 0, 0);
	fake_zapped = 1;
	assert_int_equal(run_at(fresh), FAKE_RESTART);
	fake_zapped = 0;
	cpu->mmu.requests = 0;
	run_at(fresh);
	assert_int_equal(cpu->reg[RAX], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host_store),
		cmocka_unit_test(test_next_instruction),
		cmocka_unit_test(test_changing_loop),
		cmocka_unit_test(test_straddle),
		cmocka_unit_test(test_straddle_fault),
		cmocka_unit_test(test_no_early_fetch),
		cmocka_unit_test(test_mode_is_part_of_the_key),
		cmocka_unit_test(test_bad_instructions),
		cmocka_unit_test(test_step),
		cmocka_unit_test(test_shadow),
		cmocka_unit_test(test_string_fault),
		cmocka_unit_test(test_split_lock),
		cmocka_unit_test(test_many_blocks),
		cmocka_unit_test(test_zapped_before_the_flush),
	};

	cpu = fake_create();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
