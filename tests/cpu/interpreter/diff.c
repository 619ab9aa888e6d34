/* SPDX-License-Identifier: MIT */
/*
 * Random integer instructions on random states, under the interpreter and on the host: every
 * register, every defined flag, every byte and every exception must be the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cpu/interpreter/decode.h"
#include "fake.h"
#include "native_run.h"

#define CASES	50000
#define TRIES	1500000 /* draws: most bytes are no integer instruction */
#define CODE_AT (FAKE_CODE + 0x800)
#define LANDING (CODE_AT + 0x40) /* where indirect branches may go */

static u64 seed = 0x9e3779b97f4a7c15ULL;
static struct cpu *cpu;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Values at which arithmetic turns are likelier than chance makes them. */
static u64 rnd_value(void)
{
	static const u64 edge[] = {0, 1, ~0ULL, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
				   0x7fffffff, 0x80000000, 0xffffffff, 1ULL << 63, ~0ULL >> 1};

	switch (rnd() % 4) {
	case 0:
		return edge[rnd() % ARRAY_SIZE(edge)];
	case 1:
		return rnd() >> (rnd() % 64);
	default:
		return rnd();
	}
}

struct test_case {
	ZydisDecodedInstruction i;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	u8 bytes[15];
	struct native_state s;
	enum native_mode mode;
	u64 base; /* of the segments */
};

static bool has_relative(const struct test_case *t)
{
	return t->i.raw.imm[0].is_relative;
}

static bool is_string(const struct test_case *t)
{
	return t->i.meta.category == ZYDIS_CATEGORY_STRINGOP;
}

static const ZydisDecodedOperand *memory_operand(const struct test_case *t)
{
	for (unsigned n = 0; n < t->i.operand_count_visible; n++) {
		if (t->o[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return &t->o[n];
	}
	return NULL;
}

static u64 *reg_of(struct test_case *t, ZydisRegister r)
{
	return (u64 *)((char *)t->s.reg + (decode_gpr(r) & ~7u));
}

static u64 somewhere(const struct test_case *t)
{
	return FAKE_DATA - t->base + 0x1000 + rnd() % 0x3000;
}

/* Bend the state so that the memory operand lies in the data area; false: cannot. */
static bool aim(struct test_case *t, const ZydisDecodedOperand *m)
{
	u64 target = somewhere(t), index = 0;
	s64 disp = m->mem.disp.has_displacement ? m->mem.disp.value : 0;
	bool rel = m->mem.base == ZYDIS_REGISTER_RIP || m->mem.base == ZYDIS_REGISTER_EIP;

	if (m->mem.base == ZYDIS_REGISTER_NONE || rel) {
		u8 *at = t->bytes + t->i.raw.disp.offset;
		u64 v = rel ? target - (CODE_AT + t->i.length) : target;

		if (m->mem.index != ZYDIS_REGISTER_NONE)
			*reg_of(t, m->mem.index) = 0;
		if (t->i.raw.disp.size < 32 && !t->base)
			return false;
		memcpy(at, &v, t->i.raw.disp.size / 8);
		return true;
	}
	/* 16-bit addresses reach the data only through a segment that begins near it. */
	if (t->i.address_width == 16 && !t->base)
		return false;
	if (m->mem.index != ZYDIS_REGISTER_NONE) {
		if (m->mem.index == m->mem.base)
			return false;
		index = rnd() % 64;
		*reg_of(t, m->mem.index) = index;
		index *= m->mem.scale;
	}
	*reg_of(t, m->mem.base) = target - index - (u64)disp;
	if (t->i.address_width < 64)
		*reg_of(t, m->mem.base) &= t->i.address_width == 32 ? 0xffffffff : 0xffff;
	return true;
}

/* Instructions whose operands need more than a random value. */
static bool prepare(struct test_case *t)
{
	const ZydisDecodedOperand *m = memory_operand(t);
	ZydisMnemonic mn = t->i.mnemonic;

	t->s.reg[RSP] = somewhere(t) & ~7ULL;
	if (mn == ZYDIS_MNEMONIC_LEAVE || mn == ZYDIS_MNEMONIC_ENTER)
		t->s.reg[RBP] = somewhere(t);
	if (is_string(t)) {
		t->s.reg[RSI] = somewhere(t);
		t->s.reg[RDI] = rnd() % 2 ? somewhere(t) : t->s.reg[RSI] + rnd() % 32 - 16;
		t->s.reg[RCX] = rnd() % 600;
		t->s.rflags ^= rnd() & FL_DF;
		return t->i.address_width != 16 || t->base;
	}
	if (mn == ZYDIS_MNEMONIC_XLAT) {
		t->s.reg[RBX] = somewhere(t);
		return t->i.address_width != 16 || t->base;
	}
	if (!m && (mn == ZYDIS_MNEMONIC_JMP || mn == ZYDIS_MNEMONIC_CALL) &&
	    t->o[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
		*reg_of(t, t->o[0].reg.value) = LANDING - t->base;
	if (m && m->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
		return true;
	if (m && !aim(t, m))
		return false;
	/* A bit string's offset register must not be far. */
	if (m && t->i.meta.category == ZYDIS_CATEGORY_BITBYTE &&
	    t->o[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
		if ((reg_of(t, t->o[1].reg.value) == reg_of(t, m->mem.base)) ||
		    reg_of(t, t->o[1].reg.value) == reg_of(t, m->mem.index))
			return false;
		*reg_of(t, t->o[1].reg.value) = rnd() % 0x4000 - 0x2000;
		if (t->mode != NATIVE_64)
			*reg_of(t, t->o[1].reg.value) &= 0xffffffff;
	}
	return true;
}

static bool wanted(const struct test_case *t)
{
	const struct table_line *l = table_find(t->i.mnemonic);

	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_RDRAND:
	case ZYDIS_MNEMONIC_RDSEED:
		return false;
	default:
		break;
	}
	if (!l || t->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return false;
	/* The vector instructions of these names. */
	if ((t->i.mnemonic == ZYDIS_MNEMONIC_MOVSD || t->i.mnemonic == ZYDIS_MNEMONIC_CMPSD) &&
	    !is_string(t))
		return false;
	for (unsigned n = 0; n < t->i.operand_count; n++) {
		ZydisRegisterClass k = ZydisRegisterGetClass(t->o[n].reg.value);

		if (t->o[n].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    (t->o[n].mem.segment == ZYDIS_REGISTER_FS || t->o[n].mem.segment == ZYDIS_REGISTER_GS))
			return false;
		if (t->o[n].type == ZYDIS_OPERAND_TYPE_REGISTER && n < t->i.operand_count_visible &&
		    (k == ZYDIS_REGCLASS_SEGMENT || k == ZYDIS_REGCLASS_CONTROL ||
		     k == ZYDIS_REGCLASS_DEBUG))
			return false;
	}
	return t->i.meta.category != ZYDIS_CATEGORY_IOSTRINGOP;
}

static void random_bytes(struct test_case *t)
{
	static const u8 prefixes[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x3e};
	unsigned n = 0;

	while (rnd() % 3 == 0 && n < 3)
		t->bytes[n++] = prefixes[rnd() % ARRAY_SIZE(prefixes)];
	if (t->mode == NATIVE_64 && rnd() % 2)
		t->bytes[n++] = 0x40 | (rnd() & 15);
	switch (rnd() % 8) {
	case 0:
	case 1:
	case 2:
		t->bytes[n++] = 0x0f;
		if (rnd() % 8 == 0)
			t->bytes[n++] = 0x38;
		break;
	case 3: /* VEX, for BMI */
		if (t->mode != NATIVE_64)
			break;
		n = 0;
		t->bytes[n++] = 0xc4;
		t->bytes[n++] = (rnd() & 0xe0) | (2 + rnd() % 2);
		t->bytes[n++] = rnd() & 0xfb;
		t->bytes[n++] = 0xf0 | rnd();
		break;
	}
	while (n < sizeof(t->bytes))
		t->bytes[n++] = (u8)rnd();
}

static bool make_case(struct test_case *t, const ZydisDecoder *dec)
{
	random_bytes(t);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(dec, t->bytes, sizeof(t->bytes), &t->i, t->o)))
		return false;
	for (unsigned i = 0; i < 16; i++)
		t->s.reg[i] = t->mode != NATIVE_64 && i >= 8 ? 0 : rnd_value();
	if (t->mode != NATIVE_64) {
		for (unsigned i = 0; i < 8; i++)
			t->s.reg[i] = (u32)t->s.reg[i];
	}
	t->s.rflags = (rnd() & FL_STATUS) | FL_IF | FL_FIXED;
	t->s.rip = CODE_AT - t->base;
	if (!wanted(t))
		return false;
	/* A relative branch stays in the page, where int3 waits. */
	if (has_relative(t) && t->i.operand_width == 16 && !t->base)
		return false;
	if (has_relative(t) && t->i.raw.imm[0].size > 8) {
		s32 d = (s32)(rnd() % 0x700);

		memcpy(t->bytes + t->i.raw.imm[0].offset, &d, t->i.raw.imm[0].size / 8);
	} else if (has_relative(t)) {
		t->bytes[t->i.raw.imm[0].offset] &= 0x7f; /* backwards it could loop for ever */
	}
	return prepare(t);
}

/* Of a shift or rotate. */
static unsigned count_of(const struct test_case *t)
{
	const ZydisDecodedOperand *o = &t->o[t->i.operand_count_visible == 3 ? 2 : 1];
	u64 n = o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? o->imm.value.u : t->s.reg[RCX];

	return n & (t->i.operand_width == 64 ? 63 : 31);
}

static u64 undefined_flags(const struct test_case *t)
{
	u64 u = t->i.cpu_flags ? t->i.cpu_flags->undefined : 0;

	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_SHL: /* by more than one: OF; AF always */
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD:
		return u | FL_AF | (count_of(t) > 1 ? FL_OF : 0);
	case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR:
		return count_of(t) > 1 ? FL_OF : 0;
	case ZYDIS_MNEMONIC_DIV:
	case ZYDIS_MNEMONIC_IDIV:
	case ZYDIS_MNEMONIC_AAM:
	case ZYDIS_MNEMONIC_AAD:
	case ZYDIS_MNEMONIC_AAA:
	case ZYDIS_MNEMONIC_AAS:
	case ZYDIS_MNEMONIC_DAA:
	case ZYDIS_MNEMONIC_DAS:
		return u;
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_OR:
	case ZYDIS_MNEMONIC_XOR:
	case ZYDIS_MNEMONIC_TEST:
		return FL_AF;
	default:
		return 0; /* the host's own instruction: also what the manual leaves open */
	}
}

static void set_state(const struct native_state *s)
{
	memcpy(cpu->reg, s->reg, sizeof(s->reg));
	cpu->rip = s->rip;
	cpu->af = af_from_rflags(s->rflags);
	cpu->flags = (s->rflags & ~FL_STATUS) | FL_FIXED;
}

static void get_state(struct native_state *s)
{
	memcpy(s->reg, cpu->reg, sizeof(s->reg));
	s->rip = cpu->rip;
	s->rflags = cpu_rflags(cpu);
}

static u8 random_data[FAKE_DATA_SIZE], landings[FAKE_DATA_SIZE], after[FAKE_DATA_SIZE];

static void fill_data(void)
{
	for (unsigned i = 0; i < FAKE_DATA_SIZE / 8; i++) {
		u64 v = rnd() % 4 ? rnd() : LANDING;

		memcpy(random_data + i * 8, &v, 8);
	}
	memset(landings, 0x09, sizeof(landings)); /* 0x0909 is in the code page */
}

/* In 16-bit mode any word is a good target: every one has to be where int3 waits. */
static const u8 *data_for(const struct test_case *t)
{
	bool branch = t->i.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE ||
		      t->i.meta.category == ZYDIS_CATEGORY_RET;

	return branch && t->base ? landings : random_data;
}

static void dump(const struct test_case *t, const struct native_state *want,
		 const struct native_state *got, int want_vec, int got_vec)
{
	printf("%s:", ZydisMnemonicGetString(t->i.mnemonic));
	for (unsigned i = 0; i < t->i.length; i++)
		printf(" %02x", t->bytes[i]);
	printf("\nvector: host %d, interpreter %d\n", want_vec, got_vec);
	for (unsigned i = 0; i < 18; i++) {
		u64 in = ((const u64 *)&t->s)[i], w = ((const u64 *)want)[i], g = ((const u64 *)got)[i];

		printf("%2u: %016lx -> host %016lx interpreter %016lx%s\n", i, in, w, g,
		       w == g ? "" : " <<<");
	}
}

/* Both sides of one case. True: they agree. */
static bool agree(const struct test_case *t)
{
	struct native_state want = t->s, got;
	const u8 *before = data_for(t);
	int want_vec, got_vec;
	u64 flags;

	memset((void *)FAKE_CODE, 0xcc, PAGE_SIZE);
	memcpy((void *)CODE_AT, t->bytes, t->i.length);
	memcpy((void *)FAKE_DATA, before, FAKE_DATA_SIZE);
	want_vec = native_run(&want, t->mode);
	memcpy(after, (void *)FAKE_DATA, sizeof(after));
	memcpy((void *)FAKE_DATA, before, FAKE_DATA_SIZE);
	if (want_vec == VEC_BP) {
		want.rip--; /* the interpreter stops before an int3 it does not have */
		want_vec = VEC_UD;
	}
	/* CALL to a bad target may or may not have stored below the stack pointer. */
	if (want_vec == VEC_GP && t->i.mnemonic == ZYDIS_MNEMONIC_CALL)
		return true;
	/* A write that reaches the code makes the two runs incomparable. */
	if (want_vec > VEC_XM || memcmp((void *)CODE_AT, t->bytes, t->i.length))
		return true;
	fake_code_changed(cpu);
	set_state(&t->s);
	got_vec = fake_run(cpu);
	get_state(&got);
	flags = (FL_STATUS | FL_DF) & ~undefined_flags(t);
	want.rflags &= flags;
	got.rflags &= flags;
	if (want_vec == got_vec && !memcmp(&want, &got, sizeof(want)) &&
	    !memcmp(after, (void *)FAKE_DATA, sizeof(after)))
		return true;
	dump(t, &want, &got, want_vec, got_vec);
	if (memcmp(after, (void *)FAKE_DATA, sizeof(after)))
		printf("memory differs\n");
	return false;
}

static unsigned seen[ZYDIS_MNEMONIC_MAX_VALUE + 1];

static const struct {
	const char *name;
	ZydisMachineMode machine;
	ZydisStackWidth stack;
	enum cpu_mode mode;
	u64 base;
} modes[] = {
	[NATIVE_64] = {"64-bit", ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, MODE_LONG, 0},
	[NATIVE_32] = {"32-bit", ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32,
		       MODE_COMPAT32, 0},
	[NATIVE_16] = {"16-bit", ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16,
		       MODE_COMPAT16, FAKE_BASE},
};

static unsigned compare_many(enum native_mode mode)
{
	unsigned bad = 0, n = 0, tries = 0;
	ZydisDecoder dec;

	assert_int_equal(native_run_init(), 0);
	ZydisDecoderInit(&dec, modes[mode].machine, modes[mode].stack);
	ZydisDecoderEnableMode(&dec, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
	ZydisDecoderEnableMode(&dec, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
	fake_set_mode(cpu, modes[mode].mode);
	fill_data();
	memset(seen, 0, sizeof(seen));
	while (n < CASES && bad < 20 && tries++ < TRIES) {
		struct test_case t = {.mode = mode, .base = modes[mode].base};

		/* The common ones have had their turn: leave room for the rare. */
		if (!make_case(&t, &dec) || seen[t.i.mnemonic] > CASES / 80)
			continue;
		seen[t.i.mnemonic]++;
		n++;
		bad += !agree(&t);
	}
	printf("%u cases in %u tries\n", n, tries);
	return bad;
}

/* Was every line of the table that this mode has exercised? */
static void print_missed(const char *mode)
{
	printf("%s, never drawn:", mode);
	for (unsigned i = 0; i < table_integer_lines; i++) {
		if (!seen[table_integer[i].mnemonic])
			printf(" %s", ZydisMnemonicGetString(table_integer[i].mnemonic));
	}
	printf("\n");
}

static void compare_mode(enum native_mode mode)
{
	unsigned bad = compare_many(mode);

	print_missed(modes[mode].name);
	assert_int_equal(bad, 0);
}

static void test_64bit(void **state)
{
	compare_mode(NATIVE_64);
}

static void test_32bit(void **state)
{
	compare_mode(NATIVE_32);
}

static void test_16bit(void **state)
{
	if (!native_has_16bit())
		skip();
	compare_mode(NATIVE_16);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_64bit),
		cmocka_unit_test(test_32bit),
		cmocka_unit_test(test_16bit),
	};

	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	cpu = fake_create();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
