/* SPDX-License-Identifier: MIT */
/*
 * Frames, gates and what a fault during delivery becomes (SDM vol. 3, chapter 6).
 */
#include "fake.h"

#define HANDLER 0x00012340u
#define INT32	0xe
#define TRAP32	0xf
#define INT16	0x6

static void deliver(u8 vector, enum event_kind kind, bool has_error, u32 error)
{
	event_deliver(fake.c, vector, kind, has_error, error, 0x1234);
}

static void real_mode_frame(void **state)
{
	struct cpu *c;

	fake_reset();
	c = fake.c;
	seg_load_real(c, SEG_CS, 0x100);
	seg_load_real(c, SEG_SS, 0x200);
	c->reg[RSP] = 0xabcd0100;
	cpu_load_rflags(c, FL_IF | FL_TF | FL_CF | FL_FIXED);
	put32(0x21 * 4, 0x04560789);
	deliver(0x21, EVENT_SOFT_INT, false, 0);
	assert_int_equal(c->reg[RSP], 0xabcd00fa);
	assert_int_equal(get(0x20fa, 2), 0x1234);
	assert_int_equal(get(0x20fc, 2), 0x100);
	assert_int_equal(get(0x20fe, 2), FL_IF | FL_TF | FL_CF | FL_FIXED);
	assert_int_equal(c->seg[SEG_CS].base, 0x4560);
	assert_int_equal(c->rip, 0x789);
	assert_false(c->flags & (FL_IF | FL_TF));
}

static void protected_same_level(void **state)
{
	struct cpu *c;

	fake_protected(0);
	c = fake.c;
	cpu_load_rflags(c, FL_IF | FL_FIXED);
	fake_idt32(VEC_GP, SEL_KCODE, HANDLER, TRAP32, 0);
	deliver(VEC_GP, EVENT_EXCEPTION, true, 0x55);
	assert_int_equal(c->reg[RSP], 0x7000 - 16);
	assert_int_equal(get(0x6ff0, 4), 0x55);
	assert_int_equal(get(0x6ff4, 4), 0x1234);
	assert_int_equal(get(0x6ff8, 4), SEL_KCODE);
	/* A fault's image has RF set. */
	assert_int_equal(get(0x6ffc, 4), FL_IF | FL_FIXED | FL_RF);
	assert_true(c->flags & FL_IF); /* a trap gate leaves it */
	assert_int_equal(c->rip, HANDLER);
}

static void protected_inner_level(void **state)
{
	struct cpu *c;

	fake_protected(3);
	c = fake.c;
	cpu_load_rflags(c, FL_IF | FL_NT | FL_FIXED);
	fake_idt32(0x80, SEL_KCODE, HANDLER, INT32, 3);
	deliver(0x80, EVENT_SOFT_INT, false, 0);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->seg[SEG_SS].sel, SEL_KDATA);
	assert_int_equal(c->reg[RSP], 0x8000 - 20);
	assert_int_equal(get(0x8000 - 4, 4), SEL_UDATA | 3);
	assert_int_equal(get(0x8000 - 8, 4), 0x7000);
	assert_int_equal(get(0x8000 - 12, 4), FL_IF | FL_NT | FL_FIXED);
	assert_int_equal(get(0x8000 - 16, 4), SEL_UCODE | 3);
	assert_int_equal(get(0x8000 - 20, 4), 0x1234);
	assert_false(c->flags & (FL_IF | FL_NT));
	/* And back. */
	assert_true(RETURNS(far_iret(c, 4)));
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->rip, 0x1234);
	assert_int_equal(c->reg[RSP], 0x7000);
	assert_int_equal(c->seg[SEG_SS].sel, SEL_UDATA | 3);
	assert_true(c->flags & FL_IF);
}

static void gate_of_16_bits(void **state)
{
	fake_protected(0);
	fake_idt32(5, SEL_KCODE, 0xffff2340, INT16, 0);
	deliver(5, EVENT_EXCEPTION, false, 0);
	assert_int_equal(fake.c->reg[RSP], 0x7000 - 6);
	assert_int_equal(get(0x7000 - 6, 2), 0x1234);
	assert_int_equal(fake.c->rip, 0x2340);
}

static void gate_checks(void **state)
{
	struct cpu *c;

	fake_protected(3);
	c = fake.c;
	c->idt.limit = 0x80 * 8 + 6;
	fake_idt32(0x20, SEL_KCODE, HANDLER, INT32, 0);
	/* INT n needs the gate's DPL; an interrupt from outside does not, and sets EXT. */
	assert_raises(VEC_GP, 0x20 * 8 + 2, deliver(0x20, EVENT_SOFT_INT, false, 0));
	assert_true(RETURNS(deliver(0x20, EVENT_EXTERNAL, false, 0)));
	fake_protected(3);
	c = fake.c;
	c->idt.limit = 0x80 * 8 + 6;
	assert_raises(VEC_GP, 0x80 * 8 + 3, deliver(0x80, EVENT_EXTERNAL, false, 0));
	c->event_ext = false;
	fake_idt32(0x30, SEL_KCODE, HANDLER, INT32, 3);
	fake.mem[IDT_BASE + 0x30 * 8 + 5] &= 0x7f; /* absent */
	assert_raises(VEC_NP, 0x30 * 8 + 2, deliver(0x30, EVENT_SOFT_INT, false, 0));
	fake_idt32(0x30, SEL_KDATA, HANDLER, INT32, 3);
	assert_raises(VEC_GP, SEL_KDATA, deliver(0x30, EVENT_SOFT_INT, false, 0));
	fake_idt32(0x30, 0, HANDLER, INT32, 3);
	assert_raises(VEC_GP, 0, deliver(0x30, EVENT_SOFT_INT, false, 0));
	fake_idt32(0x30, SEL_KCODE, HANDLER, INT32, 3);
	put16(TSS_BASE + 8, SEL_UDATA); /* a stack of the wrong level */
	assert_raises(VEC_TS, SEL_UDATA, deliver(0x30, EVENT_SOFT_INT, false, 0));
	assert_int_equal(c->reg[RSP], 0x7000);
	assert_int_equal(c->cpl, 3);
}

static void long_mode_frames(void **state)
{
	struct cpu *c;

	fake_long(3);
	c = fake.c;
	fake_idt64(VEC_PF, SEL_KCODE64, 0xffffffff81000000ULL, INT32, 0, 0);
	deliver(VEC_PF, EVENT_EXCEPTION, true, 7);
	assert_int_equal(c->rip, 0xffffffff81000000ULL);
	assert_int_equal(c->reg[RSP], 0x8000 - 48);
	assert_int_equal(get(0x8000 - 8, 8), SEL_UDATA | 3);
	assert_int_equal(get(0x8000 - 16, 8), 0x7000);
	assert_int_equal(get(0x8000 - 40, 8), 0x1234);
	assert_int_equal(get(0x8000 - 48, 8), 7);
	assert_true(c->seg[SEG_SS].unusable);
	assert_int_equal(c->cpl, 0);
	c->reg[RSP] += 8;
	assert_true(RETURNS(far_iret(c, 8)));
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->mode, MODE_LONG);
	assert_int_equal(c->reg[RSP], 0x7000);

	/* Same level: aligned, and SS:RSP pushed all the same. IST: another stack. */
	fake_long(0);
	c = fake.c;
	c->reg[RSP] = 0x6fff;
	fake_idt64(0x40, SEL_KCODE64, 0x4000, INT32, 0, 0);
	deliver(0x40, EVENT_EXTERNAL, false, 0);
	assert_int_equal(c->reg[RSP], 0x6ff0 - 40);
	assert_int_equal(get(0x6ff0 - 16, 8), 0x6fff);
	put64(TSS_BASE + 36 + 8, 0x9000);
	fake_idt64(0x41, SEL_KCODE64, 0x4000, INT32, 0, 2);
	deliver(0x41, EVENT_EXTERNAL, false, 0);
	assert_int_equal(c->reg[RSP], 0x9000 - 40);
	/* A stack pointer that is no address. */
	put64(TSS_BASE + 36 + 8, BIT(60));
	assert_raises(VEC_SS, 1, deliver(0x41, EVENT_EXTERNAL, false, 0));
	/* The handler must be 64-bit code. */
	fake_idt64(0x42, SEL_KCODE, 0x4000, INT32, 0, 0);
	assert_raises(VEC_GP, SEL_KCODE | 1, deliver(0x42, EVENT_EXTERNAL, false, 0));
	/* There are no 16-bit gates. */
	fake_idt64(0x43, SEL_KCODE64, 0x4000, INT16, 0, 0);
	assert_raises(VEC_GP, 0x43 * 8 + 3, deliver(0x43, EVENT_EXTERNAL, false, 0));
}

static void enter_v86(u64 iopl)
{
	struct cpu *c;

	fake_protected(3);
	c = fake.c;
	cpu_load_rflags(c, FL_VM | FL_IF | FL_FIXED | iopl);
	for (unsigned n = SEG_ES; n <= SEG_GS; n++)
		seg_commit_v86(c, n, (u16)(0x100 + n));
	cpu_update_mode(c);
	assert_int_equal(c->mode, MODE_V86);
	c->reg[RSP] = 0x50;
}

static void v86_frame_and_return(void **state)
{
	struct cpu *c;

	enter_v86(0);
	c = fake.c;
	fake_idt32(0x20, SEL_KCODE, HANDLER, INT32, 0);
	deliver(0x20, EVENT_EXTERNAL, false, 0);
	assert_int_equal(c->mode, MODE_PROT32);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->reg[RSP], 0x8000 - 36);
	assert_int_equal(get(0x8000 - 4, 4), 0x100 + SEG_GS);
	assert_int_equal(get(0x8000 - 8, 4), 0x100 + SEG_FS);
	assert_int_equal(get(0x8000 - 12, 4), 0x100 + SEG_DS);
	assert_int_equal(get(0x8000 - 16, 4), 0x100 + SEG_ES);
	assert_int_equal(get(0x8000 - 20, 4), 0x100 + SEG_SS);
	assert_int_equal(get(0x8000 - 24, 4), 0x50);
	assert_true(get(0x8000 - 28, 4) & FL_VM);
	assert_true(c->seg[SEG_DS].unusable);
	assert_true(RETURNS(far_iret(c, 4)));
	assert_int_equal(c->mode, MODE_V86);
	assert_int_equal(c->seg[SEG_GS].base, (0x100 + SEG_GS) << 4);
	assert_int_equal(c->reg[RSP], 0x50);
}

static void v86_int_n(void **state)
{
	/* IOPL below 3 and no VME: #GP(0). */
	enter_v86(0);
	assert_raises(VEC_GP, 0, deliver(0x21, EVENT_SOFT_INT, false, 0));
	/* VME and a clear bit of the redirection map: the program's own vector. */
	enter_v86(0);
	fake.c->cr4 |= CR4_VME;
	fake.c->seg[SEG_TR].limit = 0x100;
	put16(TSS_BASE + 102, 0x88);
	put32(0x21 * 4, 0x03000010);
	assert_true(RETURNS(deliver(0x21, EVENT_SOFT_INT, false, 0)));
	assert_int_equal(fake.c->mode, MODE_V86);
	assert_int_equal(fake.c->seg[SEG_CS].sel, 0x300);
	assert_int_equal(fake.c->rip, 0x10);
	/* The image says IOPL 3 and VIF for IF. */
	assert_int_equal(get(((0x100 + SEG_SS) << 4) + 0x4e, 2), FL_IOPL | FL_FIXED);
}

/* Deliver `first` while its handler's stack or gate is such that `second` is met. */
static void combination(u8 first, u8 second, u8 want, bool triple)
{
	struct cpu *c;

	fake_long(0);
	c = fake.c;
	c->idt.limit = 0xfff;
	fake_idt64(first, SEL_KCODE64, 0x4000, INT32, 0, 0);
	if (second == VEC_PF)
		fake.bad_page = 0x6000; /* the stack */
	else if (second == VEC_GP)
		fake_idt64(first, SEL_KCODE, 0x4000, INT32, 0, 0);
	else
		fake.mem[IDT_BASE + first * 16 + 5] &= 0x7f; /* #NP */
	c->exception.pending = true;
	c->exception.vector = first;
	assert_false(event_exception(c));
	assert_int_equal(c->triple_fault, triple);
	if (!triple) {
		assert_true(c->exception.pending);
		assert_int_equal(c->exception.vector, want);
		if (want == VEC_DF)
			assert_int_equal(c->exception.error, 0);
	}
	/* Nothing of the failed delivery shows. */
	assert_int_equal(c->reg[RSP], 0x7000);
	assert_int_equal(c->rip, 0x1234);
	assert_false(c->event_ext);
}

/* SDM vol. 3, table 6-5, row by row. */
static void double_faults(void **state)
{
	static const u8 contributory[] = {VEC_DE, VEC_TS, VEC_NP, VEC_SS, VEC_GP};
	static const u8 benign[] = {VEC_DB, VEC_NMI, VEC_BP, VEC_OF, VEC_BR, VEC_UD,
				    VEC_NM, VEC_MF, VEC_AC, VEC_MC, VEC_XM};
	static const u8 second[] = {VEC_GP, VEC_NP, VEC_PF};

	for (unsigned s = 0; s < ARRAY_SIZE(second); s++) {
		for (unsigned n = 0; n < ARRAY_SIZE(benign); n++)
			combination(benign[n], second[s], second[s], false);
		for (unsigned n = 0; n < ARRAY_SIZE(contributory); n++)
			combination(contributory[n], second[s],
				    second[s] == VEC_PF ? VEC_PF : VEC_DF, false);
		combination(VEC_PF, second[s], VEC_DF, false);
		combination(VEC_DF, second[s], 0, true);
	}
}

static void payloads(void **state)
{
	struct cpu *c;

	fake_long(0);
	c = fake.c;
	c->cr2 = 1;
	fake_idt64(VEC_PF, SEL_KCODE64, 0x4000, INT32, 0, 0);
	fake_idt64(VEC_DB, SEL_KCODE64, 0x4000, INT32, 0, 0);
	c->exception.vector = VEC_PF;
	c->exception.has_payload = true;
	c->exception.payload = 0xdead000;
	assert_true(event_exception(c));
	assert_int_equal(c->cr2, 0xdead000);
	c->exception.vector = VEC_DB;
	c->exception.has_payload = true;
	c->exception.payload = BIT(14);
	c->dr6 = 0xffff0ff0 | 3;
	c->dr7 = 0x2400;
	assert_true(event_exception(c));
	assert_int_equal(c->dr6, 0xffff0ff0 | BIT(14));
	assert_int_equal(c->dr7, 0x400); /* GD is cleared for the handler */
	assert_false(c->exception.injected);
}

static void interrupt_that_faults_is_gone(void **state)
{
	struct cpu *c;

	fake_long(0);
	c = fake.c;
	c->interrupt.injected = true;
	c->interrupt.vector = 0x90;
	c->exception.pending = false;
	assert_false(event_interrupt(c)); /* an empty gate */
	assert_true(c->exception.pending);
	assert_int_equal(c->exception.vector, VEC_GP);
	assert_int_equal(c->exception.error, 0x90 * 8 + 3);
	assert_false(c->interrupt.injected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_mode_frame),
		cmocka_unit_test(protected_same_level),
		cmocka_unit_test(protected_inner_level),
		cmocka_unit_test(gate_of_16_bits),
		cmocka_unit_test(gate_checks),
		cmocka_unit_test(long_mode_frames),
		cmocka_unit_test(v86_frame_and_return),
		cmocka_unit_test(v86_int_n),
		cmocka_unit_test(double_faults),
		cmocka_unit_test(payloads),
		cmocka_unit_test(interrupt_that_faults_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
