/* SPDX-License-Identifier: MIT */
/* tests/cpu/native/rules_test.c: what no comparison with the host in user mode can show. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "base/guard.h"
#include "cpu/cpu.h"
#include "cpu/native/forms.h"
#include "cpu/native/native.h"
#include "cpu/native/run.h"
#include "cpu/native/xstate.h"
#include "cpu/table/features.h"
#include "fake_cpu.h"

#define RIP 0x1000

static const u8 paddd[15] = {0x66, 0x0f, 0xfe, 0xca};	      /* xmm1, xmm2 */
static const u8 paddd_mm[15] = {0x0f, 0xfe, 0xca};	      /* mm1, mm2 */
static const u8 vpaddd[15] = {0xc5, 0xe9, 0xfe, 0xcb};	      /* xmm1, xmm2, xmm3 */
static const u8 vpaddd_z[15] = {0x62, 0xf1, 0x6d, 0x48, 0xfe, 0xcb};
static const u8 fadd[15] = {0xd8, 0xc1};
static const u8 fwait[15] = {0x9b};
static const u8 fnstsw[15] = {0xdf, 0xe0};
static const u8 divss[15] = {0xf3, 0x0f, 0x5e, 0xca};	      /* xmm1, xmm2 */
static const u8 movaps[15] = {0x0f, 0x28, 0x0b};	      /* xmm1, [rbx] */
static const u8 paddd_load[15] = {0x66, 0x0f, 0xfe, 0x0b};    /* xmm1, [rbx] */
static const u8 xsetbv[15] = {0x0f, 0x01, 0xd1};

static struct cpu *c;

static int new_cpu(void **state)
{
	fake_cpu_destroy(c);
	c = fake_cpu_create();
	fake_bounce = false;
	c->fx[0] = 0x7f;
	c->fx[1] = 3;
	return 0;
}

/* FAKE_DONE, -vector, or -1000 - end. */
static int run(const u8 *bytes)
{
	struct decoder d;
	enum fake_end e;
	struct op op;

	guard_install(); /* cmocka puts its own handlers before each test */
	if (!fake_decode(c, &d, &op, bytes, RIP))
		return -VEC_UD; /* of a feature that the host lacks */
	e = fake_execute(c, &op, RIP);
	if (e == FAKE_RAISED)
		return -fake_vector;
	return e == FAKE_DONE ? 0 : -1000 - (int)e;
}

static void traps_follow_the_key(void **state)
{
	const bool avx = feature_on_host(feature_find("avx"));
	u32 on = c->key;

	assert_int_equal(run(paddd), 0);
	c->key = on & ~(u32)BLOCK_KEY_SSE;
	assert_int_equal(run(paddd), -VEC_UD);
	assert_int_equal(run(paddd_mm), 0);
	c->key = on | BLOCK_KEY_TS;
	assert_int_equal(run(paddd), -VEC_NM);
	assert_int_equal(run(paddd_mm), -VEC_NM);
	assert_int_equal(run(fadd), -VEC_NM);
	assert_int_equal(run(vpaddd), avx ? -VEC_NM : -VEC_UD);
	c->key = on | BLOCK_KEY_EM; /* which VEX does not ask for (vol. 2, table 2-18) */
	assert_int_equal(run(paddd), -VEC_UD);
	assert_int_equal(run(paddd_mm), -VEC_UD);
	assert_int_equal(run(fadd), -VEC_NM);
	assert_int_equal(run(vpaddd), avx ? 0 : -VEC_UD);
	c->key = on & ~(u32)BLOCK_KEY_AVX512;
	assert_int_equal(run(vpaddd), avx ? 0 : -VEC_UD);
	assert_int_equal(run(vpaddd_z), -VEC_UD);
	c->key = on & ~(u32)BLOCK_KEY_AVX;
	assert_int_equal(run(vpaddd), -VEC_UD);
	c->key = (on & ~(u32)BLOCK_KEY_MODE) | MODE_REAL;
	assert_int_equal(run(vpaddd), -VEC_UD);
}

static void fwait_traps_on_mp_and_ts_together(void **state)
{
	c->cr0 |= CR0_TS;
	assert_int_equal(run(fwait), 0);
	c->cr0 |= CR0_MP;
	assert_int_equal(run(fwait), -VEC_NM);
}

static void pending_x87_exception_is_reported_by_who_waits(void **state)
{
	c->fx[0] = 0x40; /* all unmasked */
	c->fx[2] = 0x81; /* invalid operation, summary */
	assert_int_equal(run(fadd), -VEC_MF);
	assert_int_equal(run(fwait), -VEC_MF);
	assert_int_equal(run(paddd_mm), -VEC_MF);
	assert_int_equal(run(fnstsw), 0);
	assert_int_equal(c->reg[RAX] & 0xffff, 0x81);
}

static void unmasked_simd_exception_keeps_flags_and_registers(void **state)
{
	u32 one = 0x3f800000;

	memcpy(c->v[1].b, &one, 4); /* divided by xmm2, 0 */
	c->mxcsr = 0x1f80 & ~0x200u;
	assert_int_equal(run(divss), -VEC_XM);
	assert_memory_equal(c->v[1].b, &one, 4);
	assert_int_equal(c->mxcsr & 0x3f, 4);
	c->cr4 &= ~CR4_OSXMMEXCPT;
	assert_int_equal(run(divss), -VEC_UD);
}

static void host_fault_leaves_registers(void **state)
{
	u8 *p = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u32 before = c->host_mxcsr, now;

	c->v[1].b[0] = 0x55;
	c->reg[RBX] = (u64)p;
	fake_tlb_fill(c, p, PAGE_SIZE);
	assert_int_equal(run(movaps), -1000 - FAKE_DIED);
	assert_int_equal(fake_last_la, (u64)p);
	assert_int_equal(c->v[1].b[0], 0x55);
	asm volatile("stmxcsr %0" : "=m"(now));
	assert_int_equal(before & 0xffc0, now & 0xffc0);
	munmap(p, PAGE_SIZE);
}

/* MXCSR.MM lets operands of computations lie anywhere, but not of moves that are named for their alignment. */
static void misaligned_sse_is_for_computations(void **state)
{
	static u8 memory[32] __attribute__((aligned(16)));

	fake_tlb_fill(c, memory, sizeof(memory));
	memory[4] = 7;
	R64(c, REG_OFF(RBX)) = (u64)memory + 4;
	for (int mm = 0; mm < 2; mm++) {
		c->mxcsr = 0x1f80 | (mm ? MXCSR_MM : 0);
		memset(&c->v[1], 0, sizeof(c->v[1]));
		assert_int_equal(run(paddd_load), mm ? 0 : -VEC_GP);
		assert_int_equal(c->v[1].b[0], mm ? 7 : 0);
		assert_int_equal(run(movaps), -VEC_GP);
	}
}

/* ---- hostile guests */

/*
 * Another vCPU may change an image while it is loaded. What is read once can be judged and used
 * only as it was read.
 */
static void no_byte_of_an_image_is_read_twice(void **state)
{
	static const u8 insn[][15] = {
		{0x0f, 0xae, 0x2b},	  /* xrstor [rbx] */
		{0x48, 0x0f, 0xae, 0x2b}, /* xrstor64 */
		{0x0f, 0xc7, 0x1b},	  /* xrstors */
		{0x0f, 0xae, 0x23},	  /* xsave */
		{0x0f, 0xae, 0x33},	  /* xsaveopt */
		{0x0f, 0xc7, 0x23},	  /* xsavec */
		{0x0f, 0xae, 0x0b},	  /* fxrstor */
		{0xd9, 0x23},		  /* fldenv */
		{0xdd, 0x23},		  /* frstor */
	};
	static u8 image[XSAVE_MAX] __attribute__((aligned(64)));
	struct xsave_header *h = (void *)(image + XSAVE_LEGACY);
	u32 mxcsr = 0x1f80;

	memcpy(image + FX_MXCSR, &mxcsr, 4);
	fake_tlb_clear(c);
	for (u64 bv = 0; bv < 8; bv++) {
		for (unsigned i = 0; i < 2 * ARRAY_SIZE(insn); i++) {
			*h = (struct xsave_header){.xstate_bv = bv};
			if (i & 1)
				h->xcomp_bv = XCOMP_COMPACT | bv;
			c->reg[RBX] = (u64)image;
			c->reg[RAX] = 7;
			c->reg[RDX] = 0;
			run(insn[i / 2]);
			assert_false(fake_read_twice);
		}
	}
}

/* The x87 unit of the host records where the instruction and its operand were: there. */
static void no_guess_at_a_host_pointer_is_confirmed(void **state)
{
	static const u8 fld[15] = {0xd9, 0x03}; /* dword [rbx] */
	static const u32 snan = 0x7f800001;
	struct decoder d;
	struct op op;

	fake_bounce = true;
	for (u32 guess = 0; guess < 256; guess++) {
		u64 stub, fdp = (u64)c->bounce.buf, rbx = (u64)&snan, fip;

		assert_true(fake_decode(c, &d, &op, fld, RIP));
		stub = (u64)native_stub(op.imm);
		*native_fx16(c, FX_FCW) = 0x37e; /* invalid operation is not masked */
		*native_fx16(c, FX_FSW) = 0;
		*native_fx16(c, FX_FOP) = (u16)(0x100 | guess % 8); /* of D9 /0, any address */
		fip = stub + guess;
		memcpy(c->fx + FX_FIP, &fip, 8);
		memcpy(c->fx + FX_FDP, &fdp, 8);
		c->reg[RBX] = rbx;
		assert_int_equal(run(fld), 0);
		memcpy(&fip, c->fx + FX_FIP, 8);
		memcpy(&fdp, c->fx + FX_FDP, 8);
		assert_int_equal(fip, RIP);
		assert_int_equal(fdp, rbx);
		assert_int_equal(*native_fx16(c, FX_FOP), 0x103);
	}
}

/* ---- kicks: broken off at the instruction or not at all */

/* Instructions of the stub that began, and the one before which the kick comes. */
static volatile sig_atomic_t began, kick_before, kicks;

static void on_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	u64 at = (u64)uc->uc_mcontext.gregs[REG_RIP] - (u64)native_code;

	if (at >= native_code_limit || began++ != kick_before)
		return;
	kicks += guard_break_off(uc);
	uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)FL_TF;
}

static void set_single_step(bool on)
{
	asm volatile("pushfq\n\tandl %0, (%%rsp)\n\torl %1, (%%rsp)\n\tpopfq"
		     :
		     : "i"(~FL_TF), "r"(on ? (u32)FL_TF : 0)
		     : "cc", "memory");
}

/* A kick before each instruction of the stub in turn. */
static void kick_never_runs_an_instruction_twice(void **state)
{
	struct sigaction sa = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO}, old;
	u32 done = 0, restarted = 0, one = 1, sum;
	struct decoder d;
	struct op op;

	assert_true(fake_decode(c, &d, &op, paddd, RIP));
	memcpy(c->v[2].b, &one, 4);
	sigaction(SIGTRAP, &sa, &old);
	kicks = kick_before = 0;
	do {
		enum fake_end e;

		began = 0;
		set_single_step(true);
		e = fake_execute(c, &op, RIP);
		set_single_step(false);
		assert_true(e == FAKE_DONE || e == FAKE_RESTART);
		done += e == FAKE_DONE;
		restarted += e == FAKE_RESTART;
	} while (began > kick_before++);
	sigaction(SIGTRAP, &old, NULL);
	assert_int_equal(restarted, 1);
	assert_int_equal(kicks, kick_before - 1);
	assert_true(kicks >= 5); /* loads, the instruction, a store, the return */
	memcpy(&sum, c->v[1].b, 4);
	assert_int_equal(sum, done);
}

/* ---- the VMM's calls */

static void fpu_comes_back_as_it_was_set(void **state)
{
	struct kvm_fpu f, g;

	for (size_t i = 0; i < sizeof(f); i++)
		((u8 *)&f)[i] = (u8)(i * 7);
	for (unsigned i = 0; i < 8; i++)
		memset(f.fpr[i] + 10, 0, 6);
	f.fcw = 0x27f;
	f.fsw = 0x3800;
	f.pad1 = 0;
	f.last_opcode = 0x123;
	f.mxcsr = 0x1fa0;
	f.pad2 = 0;
	assert_int_equal(cpu_set_fpu(c, &f), 0);
	cpu_get_fpu(c, &g);
	assert_memory_equal(&f, &g, sizeof(f));
}

static void xsave_refuses_what_is_not_there(void **state)
{
	u8 area[XSAVE_MAX] __attribute__((aligned(64)));
	u64 bv;

	cpu_get_xsave(c, area, sizeof(area));
	assert_int_equal(cpu_set_xsave(c, area, sizeof(area)), 0);
	bv = 1ULL << 60;
	memcpy(area + XSAVE_LEGACY, &bv, 8);
	assert_int_equal(cpu_set_xsave(c, area, sizeof(area)), -EINVAL);
	bv = 3;
	memcpy(area + XSAVE_LEGACY, &bv, 8);
	bv = XCOMP_COMPACT;
	memcpy(area + XSAVE_LEGACY + 8, &bv, 8);
	assert_int_equal(cpu_set_xsave(c, area, sizeof(area)), -EINVAL);
	memset(area + XSAVE_LEGACY + 8, 0, 8);
	memset(area + 24, 0xff, 4);
	assert_int_equal(cpu_set_xsave(c, area, sizeof(area)), -EINVAL);
}

static void xcr0_takes_only_what_the_manual_allows(void **state)
{
	static const struct {
		u64 value;
		int vector;
	} t[] = {
		{1, 0}, {3, 0}, {7, 0}, {0xe7, 0}, {0, -VEC_GP}, {2, -VEC_GP}, {5, -VEC_GP},
		{0x27, -VEC_GP}, {0xe3, -VEC_GP}, {0x101, -VEC_GP},
	};

	c->mode = MODE_LONG;
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		if (t[i].value & ~xstate_host_components() && !t[i].vector)
			continue;
		c->reg[RCX] = 0;
		c->reg[RAX] = t[i].value;
		c->reg[RDX] = 0;
		assert_int_equal(run(xsetbv), t[i].vector);
	}
	c->cpl = 3;
	c->reg[RAX] = 1;
	assert_int_equal(run(xsetbv), -VEC_GP);
	c->cpl = 0;
	c->cr4 &= ~CR4_OSXSAVE;
	assert_int_equal(run(xsetbv), -VEC_UD);
}

/* ---- default deny */

static void table_has_no_line_twice(void **state)
{
	for (unsigned i = 0; i < table_native_lines; i++)
		assert_ptr_equal(fake_table(table_native[i].mnemonic), &table_native[i]);
}

static void sensitive_instructions_are_not_recoded(void **state)
{
	static const u8 sensitive[][15] = {
		{0x0f, 0xa2},		    /* cpuid */
		{0x0f, 0x31},		    /* rdtsc */
		{0x0f, 0x05},		    /* syscall */
		{0xf3, 0x0f, 0xae, 0xc0},   /* rdfsbase eax */
		{0xf3, 0x0f, 0xc7, 0xf8},   /* rdpid rax */
		{0x0f, 0x20, 0xc0},	    /* mov rax, cr0 */
		{0x0f, 0x01, 0xd0},	    /* xgetbv */
		{0x0f, 0xae, 0x23},	    /* xsave [rbx] */
		{0x8e, 0xd8},		    /* mov ds, eax */
		{0xc4, 0xe2, 0x7b, 0x4b, 0x04, 0x0b}, /* tileloadd */
		{0xd9, 0x33},		    /* fnstenv [rbx] */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(sensitive); i++) {
		struct native_insn n;
		struct decoder d;
		struct op op;

		fake_decode(c, &d, &op, sensitive[i], RIP);
		assert_true(!fake_table(d.i.mnemonic) ||
			    fake_table(d.i.mnemonic)->cls != CLASS_NATIVE);
		if (d.i.mnemonic == ZYDIS_MNEMONIC_MOV)
			assert_false(native_recode(&d, &n));
	}
}

static int start(void **state)
{
	return native_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(traps_follow_the_key, new_cpu),
		cmocka_unit_test_setup(fwait_traps_on_mp_and_ts_together, new_cpu),
		cmocka_unit_test_setup(pending_x87_exception_is_reported_by_who_waits, new_cpu),
		cmocka_unit_test_setup(unmasked_simd_exception_keeps_flags_and_registers, new_cpu),
		cmocka_unit_test_setup(host_fault_leaves_registers, new_cpu),
		cmocka_unit_test_setup(no_byte_of_an_image_is_read_twice, new_cpu),
		cmocka_unit_test_setup(no_guess_at_a_host_pointer_is_confirmed, new_cpu),
		cmocka_unit_test_setup(kick_never_runs_an_instruction_twice, new_cpu),
		cmocka_unit_test_setup(misaligned_sse_is_for_computations, new_cpu),
		cmocka_unit_test_setup(fpu_comes_back_as_it_was_set, new_cpu),
		cmocka_unit_test_setup(xsave_refuses_what_is_not_there, new_cpu),
		cmocka_unit_test_setup(xcr0_takes_only_what_the_manual_allows, new_cpu),
		cmocka_unit_test_setup(table_has_no_line_twice, new_cpu),
		cmocka_unit_test_setup(sensitive_instructions_are_not_recoded, new_cpu),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
