/* SPDX-License-Identifier: MIT */
/*
 * tests/cpu/native/stubs_test.c: what a VM has room for is bounded, its oldest stubs make room for new
 * ones when no vCPU can be in them, and no VM takes another's.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "cpu/native/code.h"
#include "cpu/native/native.h"
#include "cpu/native/run.h"
#include "fake_cpu.h"
#include "sync/atomic.h"

/* Names of VMs. */
static struct mmu *const vm1 = (struct mmu *)0x1000, *const vm2 = (struct mmu *)0x2000;

/* The n-th made-up instruction: pshufd xmm, xmm, imm8, and its kin of SSE2, which every host has. */
static s64 stub(struct cpu *c, u32 n)
{
	struct decoder d;
	struct op op;
	static const u8 prefix[] = {0x66, 0xf2, 0xf3};
	u8 bytes[15] = {prefix[n >> 14], 0x0f, 0x70, (u8)(0xc0 | (n >> 8 & 0x3f)), (u8)n};

	assert_true(n >> 14 < ARRAY_SIZE(prefix));

	assert_true(fake_decode(c, &d, &op, bytes, 0x1000));
	return op.fn == native_run_uncached ? -1 : op.imm;
}

static u32 fill(struct cpu *c, u32 from, u32 n)
{
	u32 got = 0;

	for (u32 i = from; i < from + n; i++)
		got += stub(c, i) >= 0;
	return got;
}

static void a_vm_has_so_much(void **state)
{
	struct cpu *c = fake_cpu_create_in(vm1);
	s64 lowest = INT64_MAX, highest = 0;

	native_code_limit = 2 * SEGMENT_SIZE;
	for (u32 i = 0; i < 20000; i++) {
		s64 at = stub(c, i);

		assert_true(at >= 0); /* it is not in cpu_run() */
		lowest = MIN(lowest, at);
		highest = MAX(highest, at);
	}
	assert_true(highest - lowest < (s64)(3 * SEGMENT_SIZE)); /* the third is the one that is given back */
	fake_cpu_destroy(c);
}

static void nothing_is_freed_under_a_vcpu(void **state)
{
	struct cpu *c = fake_cpu_create_in(vm1), *other = fake_cpu_create_in(vm1);
	s64 first;
	u32 got;

	native_code_limit = SEGMENT_SIZE;
	native_run_begin(other);
	first = stub(other, 0);
	assert_true(first >= 0);
	got = fill(c, 0, 20000);
	assert_true(got >= 100 && got < 20000); /* two segments: the retired one is not free */
	assert_int_equal(stub(c, 20001), -1);
	assert_true(sync_load(&other->mmu.requests) & CPU_REQ_STUBS);
	fake_clears = 0;
	native_catch_up(other);
	native_catch_up(other); /* nothing new */
	assert_int_equal(fake_clears, 1);
	assert_true(stub(c, 20001) >= 0);
	/* One that is outside is not waited for, and forgets when it comes back. */
	native_run_end(other);
	assert_int_equal(fill(c, 0, 20000), 20000);
	native_run_begin(other);
	assert_int_equal(fake_clears, 2);
	native_run_end(other);
	fake_cpu_destroy(other);
	fake_cpu_destroy(c);
}

static void no_vm_takes_anothers(void **state)
{
	struct cpu *c = fake_cpu_create_in(vm1), *victim = fake_cpu_create_in(vm2);
	s64 mine;

	native_code_limit = 4 * SEGMENT_SIZE;
	native_run_begin(victim);
	mine = stub(victim, 5);
	assert_true(mine >= 0);
	assert_int_not_equal(stub(c, 5), mine); /* not shared either */
	assert_int_equal(fill(c, 0, 32000), 32000);
	assert_int_equal(stub(victim, 5), mine);
	assert_false(sync_load(&victim->mmu.requests) & CPU_REQ_STUBS);
	native_run_end(victim);
	fake_cpu_destroy(victim);
	fake_cpu_destroy(c);
}

/* More VMs than segments: whoever has more than its share gives up what is more. */
static void a_new_vm_gets_its_share(void **state)
{
	struct cpu *c = fake_cpu_create_in(vm1), *late;

	native_code_limit = SEGMENTS * SEGMENT_SIZE;
	for (u32 i = 0; i < 32768; i++)
		stub(c, i);
	late = fake_cpu_create_in(vm2);
	assert_true(stub(late, 1) >= 0);
	fake_cpu_destroy(late);
	fake_cpu_destroy(c);
}

/* More often than there are slots; the vCPU is the same, as zeroing another takes most of the time. */
static void slots_are_given_back(void **state)
{
	struct cpu *c = fake_cpu_create_in(vm1);

	native_code_limit = 0;
	for (u32 i = 0; i < 10000; i++) {
		assert_int_equal(stub(c, i), -1);
		native_detach(c);
		assert_int_equal(native_attach(c), 0);
	}
	fake_cpu_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vm_has_so_much),
		cmocka_unit_test(nothing_is_freed_under_a_vcpu),
		cmocka_unit_test(no_vm_takes_anothers),
		cmocka_unit_test(a_new_vm_gets_its_share),
		cmocka_unit_test(slots_are_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
