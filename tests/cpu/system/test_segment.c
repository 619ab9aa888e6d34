/* SPDX-License-Identifier: MIT */
/*
 * Segment loads and far transfers: which descriptor each takes, and what the others raise (SDM
 * vol. 3, 5.5 to 5.8; vol. 2 under MOV, JMP, CALL, RET and IRET).
 */
#include "fake.h"

static void load(enum segreg s, u16 sel)
{
	seg_load(fake.c, s, sel);
}

/* A data descriptor at SEL_GATE made from its type and DPL; what DS may do with it. */
static void data_segments(void **state)
{
	for (unsigned attr = 0; attr < 256; attr++)
		for (unsigned rpl = 0; rpl < 4; rpl++)
			for (unsigned cpl = 0; cpl < 4; cpl += 3) {
				unsigned type = attr & 15, dpl = (attr >> 5) & 3;
				bool system = !(attr & 0x10), code = type & 8;
				bool readable = !code || (type & 2), conforming = code && (type & 4);
				u16 sel = SEL_GATE | rpl;
				int want = -1;

				if (system || !readable)
					want = VEC_GP;
				else if (!conforming && (dpl < cpl || dpl < rpl))
					want = VEC_GP;
				else if (!(attr & 0x80))
					want = VEC_NP;
				fake_protected((u8)cpl);
				put64(GDT_BASE + SEL_GATE, DESC(attr, 0xc));
				if (want >= 0) {
					assert_raises(want, SEL_GATE, load(SEG_DS, sel));
					assert_int_not_equal(fake.c->seg[SEG_DS].sel, sel);
				} else {
					assert_true(RETURNS(load(SEG_DS, sel)));
					assert_int_equal(fake.c->seg[SEG_DS].sel, sel);
					/* The accessed bit is set in memory. */
					assert_true(fake.mem[GDT_BASE + SEL_GATE + 5] & 1);
				}
			}
}

static void stack_segments(void **state)
{
	for (unsigned attr = 0; attr < 256; attr++)
		for (unsigned rpl = 0; rpl < 4; rpl++)
			for (unsigned cpl = 0; cpl < 4; cpl += 3) {
				bool writable = (attr & 0x1a) == 0x12;
				u16 sel = SEL_GATE | rpl;
				int want = -1;

				if (!writable || rpl != cpl || ((attr >> 5) & 3) != cpl)
					want = VEC_GP;
				else if (!(attr & 0x80))
					want = VEC_SS;
				fake_protected((u8)cpl);
				put64(GDT_BASE + SEL_GATE, DESC(attr, 0xc));
				if (want >= 0)
					assert_raises(want, SEL_GATE, load(SEG_SS, sel));
				else
					assert_true(RETURNS(load(SEG_SS, sel)));
			}
}

static void null_selectors(void **state)
{
	fake_protected(0);
	assert_true(RETURNS(load(SEG_DS, 3)));
	assert_true(fake.c->seg[SEG_DS].unusable);
	assert_raises(VEC_GP, 0, load(SEG_SS, 0));
	fake_long(0);
	assert_true(RETURNS(load(SEG_SS, 0)));
	assert_int_equal(fake.c->cpl, 0);
	assert_raises(VEC_GP, 0, load(SEG_SS, 1)); /* its RPL is not the CPL */
	fake_long(3);
	assert_raises(VEC_GP, 0, load(SEG_SS, 3));
}

static void beyond_the_table(void **state)
{
	fake_protected(0);
	assert_raises(VEC_GP, GDT_BYTES, load(SEG_DS, GDT_BYTES | 1));
	assert_raises(VEC_GP, 0xc, load(SEG_DS, 0xc)); /* no LDT */
}

/* Which code segments JMP and CALL reach without a gate. */
static void direct_transfers(void **state)
{
	for (unsigned attr = 0x10; attr < 256; attr += (attr & 0xf) == 0xf ? 0x11 : 1)
		for (unsigned rpl = 0; rpl < 4; rpl++)
			for (unsigned cpl = 0; cpl < 4; cpl += 3) {
				unsigned type = attr & 15, dpl = (attr >> 5) & 3;
				int want = -1;

				if (!(type & 8))
					want = VEC_GP;
				else if (type & 4 ? dpl > cpl : rpl > cpl || dpl != cpl)
					want = VEC_GP;
				else if (!(attr & 0x80))
					want = VEC_NP;
				fake_protected((u8)cpl);
				put64(GDT_BASE + SEL_GATE, DESC(attr, 0xc));
				if (want >= 0) {
					assert_raises(want, SEL_GATE,
						      far_jump(fake.c, SEL_GATE | rpl, 0x100, 4, 0));
					assert_int_equal(fake.c->rip, 0x1234);
					continue;
				}
				assert_true(RETURNS(far_call(fake.c, SEL_GATE | rpl, 0x100, 4, 0x77)));
				assert_int_equal(fake.c->rip, 0x100);
				assert_int_equal(fake.c->cpl, cpl);
				/* The selector's RPL becomes the CPL. */
				assert_int_equal(fake.c->seg[SEG_CS].sel, SEL_GATE | cpl);
				assert_int_equal(get(0x7000 - 8, 4), 0x77);
			}
}

static void limits_and_modes(void **state)
{
	fake_protected(0);
	put64(GDT_BASE + SEL_GATE, 0x00409b000000ffffULL); /* 64 KiB */
	assert_raises(VEC_GP, 0, far_jump(fake.c, SEL_GATE, 0x10000, 4, 0));
	assert_true(RETURNS(far_jump(fake.c, SEL_GATE, 0xffff, 4, 0)));
	assert_int_equal(fake.c->mode, MODE_PROT32);
	fake_long(0);
	assert_true(RETURNS(far_jump(fake.c, SEL_KCODE, 0x100, 4, 0)));
	assert_int_equal(fake.c->mode, MODE_COMPAT32);
	assert_true(RETURNS(far_jump(fake.c, SEL_KCODE64, 0x100, 4, 0)));
	assert_int_equal(fake.c->mode, MODE_LONG);
	assert_raises(VEC_GP, 0, far_jump(fake.c, SEL_KCODE64, BIT(50), 8, 0));
	put64(GDT_BASE + SEL_GATE, DESC(0x9b, 0xe)); /* L and D */
	assert_raises(VEC_GP, SEL_GATE, far_jump(fake.c, SEL_GATE, 0x100, 4, 0));
}

static void call_gate(u16 target, unsigned nparams, u8 dpl)
{
	put64(GDT_BASE + SEL_GATE, 0x2340ULL | (u64)target << 16 | (u64)nparams << 32 |
					   (u64)(0x80 | dpl << 5 | 0xc) << 40 | 0x1ULL << 48);
}

static void call_through_a_gate(void **state)
{
	struct cpu *c;

	fake_protected(3);
	c = fake.c;
	call_gate(SEL_KCODE, 2, 3);
	put32(0x7000, 0x11111111);
	put32(0x7004, 0x22222222);
	assert_true(RETURNS(far_call(c, SEL_GATE | 3, 0xdead, 4, 0x77)));
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->rip, 0x12340);
	assert_int_equal(c->reg[RSP], 0x8000 - 24);
	assert_int_equal(get(0x8000 - 4, 4), SEL_UDATA | 3);
	assert_int_equal(get(0x8000 - 8, 4), 0x7000);
	assert_int_equal(get(0x8000 - 12, 4), 0x22222222);
	assert_int_equal(get(0x8000 - 16, 4), 0x11111111);
	assert_int_equal(get(0x8000 - 20, 4), SEL_UCODE | 3);
	assert_int_equal(get(0x8000 - 24, 4), 0x77);
	/* RET 8 releases the parameters on both stacks; inner data segments are dropped. */
	assert_true(RETURNS(load(SEG_FS, SEL_KDATA)));
	assert_true(RETURNS(far_return(c, 4, 8)));
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->rip, 0x77);
	assert_int_equal(c->reg[RSP], 0x7008);
	assert_true(c->seg[SEG_FS].unusable);
	assert_false(c->seg[SEG_DS].unusable);
	/* A gate below the CPL; JMP does not change the privilege. */
	call_gate(SEL_KCODE, 0, 2);
	assert_raises(VEC_GP, SEL_GATE, far_call(c, SEL_GATE | 3, 0, 4, 0));
	call_gate(SEL_KCODE, 0, 3);
	assert_raises(VEC_GP, SEL_KCODE, far_jump(c, SEL_GATE | 3, 0, 4, 0));
}

/* 16 bytes, of which none is read twice: what was judged is what is used (SDM vol. 3, 5.8.3.1). */
static void call_through_a_gate_in_long_mode(void **state)
{
	struct cpu *c;

	fake_long(3);
	c = fake.c;
	call_gate(SEL_KCODE64, 0, 3);
	put64(GDT_BASE + SEL_GATE + 8, 0xffffffff);
	assert_true(RETURNS(far_call(c, SEL_GATE | 3, 0xdead, 8, 0x77)));
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->rip, 0xffffffff00012340ULL);
	assert_int_equal(c->reg[RSP], 0x8000 - 32);
	/* The upper half's type field is zero, and all of it is in the table. */
	fake_long(3);
	call_gate(SEL_KCODE64, 0, 3);
	put64(GDT_BASE + SEL_GATE + 8, 1ULL << 40);
	assert_raises(VEC_GP, SEL_GATE, far_call(fake.c, SEL_GATE | 3, 0, 8, 0));
	put64(GDT_BASE + SEL_GATE + 8, 0);
	fake.c->gdt.limit = SEL_GATE + 7;
	assert_raises(VEC_GP, SEL_GATE, far_call(fake.c, SEL_GATE | 3, 0, 8, 0));
}

static void take_vendor(u32 ebx)
{
	const struct cpuid_leaf leaf = {.ebx = ebx};

	assert_int_equal(cpu_set_cpuid(fake.c, &leaf, 1), 0);
}

/* A return to an outer level: FS of DPL 0 loses its selector, on AMD's processors its base too; a null
 * selector loses its RPL and keeps its base. */
static void outer_return_nulls_fs_and_gs(void **state)
{
	static const u32 vendors[] = {0x756e6547, 0x68747541}; /* Genu, Auth */

	for (unsigned n = 0; n < ARRAY_SIZE(vendors); n++) {
		struct cpu *c;

		fake_long(0);
		c = fake.c;
		take_vendor(vendors[n]);
		seg_load(c, SEG_FS, SEL_KDATA);
		c->seg[SEG_FS].base = 0x12345678;
		seg_load(c, SEG_GS, 3);
		c->seg[SEG_GS].base = 0x9abc;
		put64(0x7000, 0x2000);
		put64(0x7008, SEL_UCODE64 | 3);
		put64(0x7010, 0x8000);
		put64(0x7018, SEL_UDATA | 3);
		assert_true(RETURNS(far_return(c, 8, 0)));
		assert_int_equal(c->cpl, 3);
		assert_int_equal(c->seg[SEG_FS].sel, 0);
		assert_true(c->seg[SEG_FS].unusable);
		assert_int_equal(c->seg[SEG_FS].base, n ? 0 : 0x12345678);
		assert_int_equal(c->seg[SEG_GS].sel, 0);
		assert_int_equal(c->seg[SEG_GS].base, 0x9abc);
	}
}

static void returns_never_go_inwards(void **state)
{
	struct cpu *c;

	fake_protected(3);
	c = fake.c;
	put32(0x7000, 0x100);
	put32(0x7004, SEL_KCODE);
	assert_raises(VEC_GP, SEL_KCODE, far_return(c, 4, 0));
	put32(0x7004, 0);
	assert_raises(VEC_GP, 0, far_return(c, 4, 0));
	assert_int_equal(c->reg[RSP], 0x7000);
}

static void iret_changes_what_the_privilege_lets_it(void **state)
{
	struct cpu *c;

	fake_protected(3);
	c = fake.c;
	cpu_load_rflags(c, FL_FIXED);
	put32(0x7000, 0x100);
	put32(0x7004, SEL_UCODE | 3);
	put32(0x7008, FL_IF | FL_IOPL | FL_CF | FL_ID | FL_FIXED);
	c->nmi_masked = true;
	assert_true(RETURNS(far_iret(c, 4)));
	assert_int_equal(cpu_rflags(c), FL_CF | FL_ID | FL_FIXED);
	assert_false(c->nmi_masked);
	fake_long(0);
	c = fake.c;
	cpu_load_rflags(c, FL_NT | FL_FIXED);
	assert_raises(VEC_GP, 0, far_iret(c, 8));
}

static void task_by_jump(void **state)
{
	const u64 tss2 = 0x5000;
	struct cpu *c;

	fake_protected(0);
	c = fake.c;
	put64(GDT_BASE + SEL_TSS2, 0x0000890000000067ULL | tss2 << 16);
	put32(tss2 + 32, 0x4321);     /* EIP */
	put32(tss2 + 36, FL_FIXED);
	put32(tss2 + 56, 0x6000);     /* ESP */
	put32(tss2 + 72, SEL_RODATA | 3);
	put32(tss2 + 76, SEL_UCODE | 3);
	put32(tss2 + 80, SEL_UDATA | 3);
	/* One register a descriptor, since two loads of one read it twice. */
	seg_commit_null(c, SEG_DS, 0, 0);
	seg_commit_null(c, SEG_ES, 0, 0);
	c->reg[RBX] = 0x1357;
	assert_true(RETURNS(task_switch(c, SEL_TSS2, TASK_CALL, 0x99, cpu_rflags(c), false, 0)));
	assert_int_equal(c->rip, 0x4321);
	assert_int_equal(c->cpl, 3);
	assert_int_equal(c->reg[RSP], 0x6000);
	assert_true(c->cr0 & CR0_TS);
	assert_true(c->flags & FL_NT);
	assert_int_equal(get(tss2, 2), SEL_TSS); /* back link */
	assert_int_equal(get(TSS_BASE + 32, 4), 0x99);
	assert_int_equal(get(TSS_BASE + 52, 4), 0x1357);
	assert_int_equal(fake.mem[GDT_BASE + SEL_TSS2 + 5], 0x8b); /* both busy */
	assert_int_equal(fake.mem[GDT_BASE + SEL_TSS + 5], 0x8b);
	/* And back by IRET: what was left is found again. */
	assert_true(RETURNS(task_switch(c, 0, TASK_IRET, 0x4444, cpu_rflags(c), false, 0)));
	assert_int_equal(c->rip, 0x99);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->reg[RBX], 0x1357);
	assert_int_equal(fake.mem[GDT_BASE + SEL_TSS2 + 5], 0x89);
	/* A busy TSS is not entered again. */
	assert_raises(VEC_GP, SEL_TSS, task_switch(c, SEL_TSS, TASK_JUMP, 0, cpu_rflags(c), false, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_segments),
		cmocka_unit_test(stack_segments),
		cmocka_unit_test(null_selectors),
		cmocka_unit_test(beyond_the_table),
		cmocka_unit_test(direct_transfers),
		cmocka_unit_test(limits_and_modes),
		cmocka_unit_test(call_through_a_gate),
		cmocka_unit_test(call_through_a_gate_in_long_mode),
		cmocka_unit_test(outer_return_nulls_fs_and_gs),
		cmocka_unit_test(returns_never_go_inwards),
		cmocka_unit_test(iret_changes_what_the_privilege_lets_it),
		cmocka_unit_test(task_by_jump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
