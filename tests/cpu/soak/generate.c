/* SPDX-License-Identifier: MIT */
/*
 * soak/generate.c: a random state for an instruction, bent so that most cases do what the
 * instruction is for: operands in the data area, jumps that land, stacks that hold frames.
 */
#include "../random.h"
#include "cpu/code/decode.h"
#include "cpu/native/xstate.h"
#include "soak.h"

bool generate_ldt;

void generate_memory(struct soak_case *t)
{
	random_bytes(t->mem, sizeof(t->mem));
}

/* -- vector and x87 state */

static void random_xstate(u8 *area)
{
	u64 bv = host_xmask;
	u32 mxcsr = random_mxcsr();

	memset(area, 0, 160);
	memset(area + 416, 0, 160);
	random_x87(area);
	memcpy(area + 24, &mxcsr, 4);
	random_bytes(area + 160, 256);
	for (enum xcomp x = XC_AVX; x < NR_XCOMP; x++) {
		if (host_xmask & XMASK(x))
			random_bytes(area + xcomp_offset(x), xcomp_size(x));
	}
	if (!(rnd() % 8)) /* some components in their initial state */
		bv &= rnd();
	memcpy(area + 512, &bv, 8);
}

/* Bytes of a vector register that the host has. */
static unsigned vector_size(void)
{
	return host_xmask & XMASK(XC_ZMM_HI256) ? 64 : host_xmask & XMASK(XC_AVX) ? 32 : 16;
}

/* Bytes [part * 16, + 16) of vector register r. */
static u8 *vector_part(struct soak_case *t, unsigned r, unsigned part)
{
	if (r >= 16)
		return t->s.xsave + xcomp_offset(XC_HI16_ZMM) + (r - 16) * 64 + part * 16;
	if (part >= 2)
		return t->s.xsave + xcomp_offset(XC_ZMM_HI256) + r * 32 + (part - 2) * 16;
	return t->s.xsave + (part ? xcomp_offset(XC_AVX) : 160) + r * 16;
}

/* -- operands */

static u64 *reg_of(struct soak_case *t, ZydisRegister r)
{
	return (u64 *)((char *)t->s.reg + (decode_gpr(r) & ~7u));
}

static bool has_reg(ZydisRegister r)
{
	return r != ZYDIS_REGISTER_NONE && decode_gpr(r) < 16 * 8;
}

static const ZydisDecodedOperand *memory_operand(const struct soak_case *t)
{
	for (unsigned n = 0; n < t->i.operand_count_visible; n++) {
		if (t->o[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return &t->o[n];
	}
	return NULL;
}

/* A linear address in the data area: aligned or not, across lines and pages, at its end. */
static u64 somewhere(void)
{
	switch (rnd() % 16) {
	case 15: /* that of the address space, rarely */
		return rnd() % 32 ? SOAK_DATA + 0x1000 + rnd() % 0x2000
				  : (u32)-(s32)(1 + rnd() % 96);
	case 0: /* the end of memory is near */
		return SOAK_DATA + SOAK_DATA_SIZE - 1 - rnd() % 96;
	case 1:
		return SOAK_DATA + PAGE_SIZE * (1 + rnd() % 3) - rnd() % 64;
	case 2:
	case 3:
	case 4:
		return SOAK_DATA + 0x1000 + rnd() % 0x2000;
	default:
		return SOAK_DATA + 0x1000 + rnd() % 0x80 * 64;
	}
}

static void put_mem(struct soak_case *t, u64 la, const void *p, u32 len)
{
	if (la >= SOAK_DATA && la + len <= SOAK_DATA + SOAK_DATA_SIZE)
		memcpy(t->mem + (la - SOAK_DATA), p, len);
}

static void put_mem64(struct soak_case *t, u64 la, u64 v, u32 len)
{
	put_mem(t, la, &v, len);
}

u64 soak_operand_base(const struct soak_case *t, const ZydisDecodedOperand *m)
{
	if (t->mode == SOAK_64) {
		if (m->mem.segment == ZYDIS_REGISTER_FS)
			return t->s.fs_base;
		return m->mem.segment == ZYDIS_REGISTER_GS ? t->s.gs_base : 0;
	}
	switch (m->mem.segment) {
	case ZYDIS_REGISTER_CS:
	case ZYDIS_REGISTER_SS:
		return soak_segment_base(t->mode);
	default:
		return soak_selector_base(t->s.sel[m->mem.segment - ZYDIS_REGISTER_ES]);
	}
}

/* Write the displacement of an operand without a base register. */
static bool aim_displacement(struct soak_case *t, u64 offset)
{
	u32 bits = t->i.raw.disp.size;

	if (bits < 32 && t->mode != SOAK_16)
		return false;
	if (bits == 32 && (s64)(s32)offset != (s64)offset)
		return false;
	memcpy(t->bytes + t->i.raw.disp.offset, &offset, bits / 8);
	return true;
}

/* Bend the state so that the operand lies at `la`; false: cannot. */
static bool aim(struct soak_case *t, const ZydisDecodedOperand *m, u64 la)
{
	u64 offset = la - soak_operand_base(t, m), index = 0;
	s64 disp = m->mem.disp.has_displacement ? m->mem.disp.value : 0;
	bool rel = m->mem.base == ZYDIS_REGISTER_RIP || m->mem.base == ZYDIS_REGISTER_EIP;

	if (has_reg(m->mem.index) && m->mem.type != ZYDIS_MEMOP_TYPE_VSIB) {
		if (m->mem.index == m->mem.base)
			return false;
		index = rnd() % 64;
		*reg_of(t, m->mem.index) = index;
		index *= m->mem.scale;
	}
	if (rel)
		return aim_displacement(t, offset - (SOAK_CODE + t->i.length));
	if (!has_reg(m->mem.base))
		return aim_displacement(t, offset - index);
	if (t->i.address_width == 16 && t->mode != SOAK_16)
		return false;
	*reg_of(t, m->mem.base) = offset - index - (u64)disp;
	if (t->i.address_width < 64)
		*reg_of(t, m->mem.base) &= t->i.address_width == 32 ? 0xffffffff : 0xffff;
	return true;
}

/* Indices of gathers and scatters stay near. */
static void small_indices(struct soak_case *t, const ZydisDecodedOperand *m)
{
	const char *name = ZydisMnemonicGetString(t->i.mnemonic);
	const char *kind = strstr(name, "gather") ? strstr(name, "gather") + 6
						  : strstr(name, "scatter") + 7;
	unsigned r = (unsigned)ZydisRegisterGetId(m->mem.index);
	unsigned width = kind[0] == 'q' ? 8 : 4;

	for (unsigned at = 0; at < vector_size(); at += width) {
		s64 v = (s64)(rnd() % 64) - 32;

		memcpy(vector_part(t, r, at / 16) + at % 16, &v, width);
	}
	memcpy(t->s.xsave + 512, &host_xmask, 8);
}

/* -- selectors and frames */

static u16 rnd_selector(void)
{
	static const u16 some[] = {0,	 3,    0x23, 0x2b, 0x33, 0x2b, 0x23, 0x33, 0x08,
				   0x10, 0x18, 0x20, 0x28, 0x30, 0x07, 0x0f, 0x1b, 0x2a,
				   0x17, 0x1f, 0x27};

	return some[rnd() % ARRAY_SIZE(some)];
}

static u16 rnd_code_selector(const struct soak_case *t)
{
	if (t->mode == SOAK_16 && rnd() % 2)
		return 0x07;
	return rnd() % 8 ? (rnd() % 2 ? 0x33 : 0x23) : rnd_selector();
}

/* To be popped. */
static u64 rnd_flags(void)
{
	u64 rare = FL_TF | FL_NT | FL_AC | FL_RF | FL_VM;

	return (rnd_value() & ~(rnd() % 4 ? rare : 0)) | FL_FIXED;
}

static void put_frame(struct soak_case *t, const u64 *words, unsigned n)
{
	u32 width = t->i.operand_width / 8;

	for (unsigned i = 0; i < n; i++)
		put_mem64(t, t->s.reg[RSP] + soak_segment_base(t->mode) + i * width, words[i],
			  width);
}

static void prepare_stack(struct soak_case *t)
{
	u64 landing = SOAK_LANDING - soak_segment_base(t->mode);
	u64 top = t->s.reg[RSP] + soak_segment_base(t->mode);
	u64 words[5] = {landing, rnd_code_selector(t), rnd_flags(), t->s.reg[RSP] + 64,
			soak_stack_selector(t->mode)};

	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ:
		put_mem64(t, top, rnd_flags(), 8);
		break;
	case ZYDIS_MNEMONIC_POP:
		if (ZydisRegisterGetClass(t->o[0].reg.value) == ZYDIS_REGCLASS_SEGMENT)
			put_mem64(t, top, rnd_selector(), 8);
		break;
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
		t->s.reg[RSP] =
			(SOAK_DATA + 0x1000 + rnd() % 0x2000) - soak_segment_base(t->mode);
		/* KVM takes an #AC for which AC is not set yet for a split lock, for ever. */
		if (words[2] & FL_AC)
			t->s.reg[RSP] &= ~7ULL;
		words[3] = t->s.reg[RSP] + 64;
		put_frame(t, words, 5);
		break;
	case ZYDIS_MNEMONIC_RET:
		if (t->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
			put_frame(t, words, 2);
		else if (rnd() % 4)
			put_mem64(t, top, landing, 8);
		break;
	default:
		break;
	}
}

/* A far pointer in memory or in the instruction. */
static void prepare_far(struct soak_case *t, const ZydisDecodedOperand *m, u64 la)
{
	u64 landing = SOAK_LANDING - soak_segment_base(t->mode);
	u16 sel = rnd_code_selector(t);
	u32 width = t->i.operand_width / 8;

	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_LDS:
	case ZYDIS_MNEMONIC_LES:
	case ZYDIS_MNEMONIC_LSS:
	case ZYDIS_MNEMONIC_LFS:
	case ZYDIS_MNEMONIC_LGS:
		sel = rnd_selector();
		break;
	default:
		if (t->i.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
			return;
	}
	if (m) {
		put_mem64(t, la, landing, width);
		put_mem(t, la + width, &sel, 2);
	} else if (t->o[0].type == ZYDIS_OPERAND_TYPE_POINTER) {
		memcpy(t->bytes + t->i.raw.imm[0].offset, &landing, width);
		memcpy(t->bytes + t->i.raw.imm[0].offset + width, &sel, 2);
	}
}

static void prepare_selector(struct soak_case *t, const ZydisDecodedOperand *m, u64 la)
{
	u16 sel = rnd_selector();
	const ZydisDecodedOperand *o = &t->o[t->i.operand_count_visible - 1];

	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		if (ZydisRegisterGetClass(t->o[0].reg.value) != ZYDIS_REGCLASS_SEGMENT)
			return;
		break;
	case ZYDIS_MNEMONIC_LAR:
	case ZYDIS_MNEMONIC_LSL:
	case ZYDIS_MNEMONIC_VERR:
	case ZYDIS_MNEMONIC_VERW:
		break;
	default:
		return;
	}
	if (m)
		put_mem(t, la, &sel, 2);
	else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && has_reg(o->reg.value))
		*reg_of(t, o->reg.value) = sel;
}

/* What compare-and-exchange finds is what it was to find, every other time. */
static void prepare_exchange(struct soak_case *t, u64 la)
{
	u32 width = t->i.operand_width / 8;

	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_CMPXCHG8B:
	case ZYDIS_MNEMONIC_CMPXCHG16B:
		width = t->i.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B ? 4 : 8;
		break;
	case ZYDIS_MNEMONIC_CMPXCHG:
		break;
	default:
		return;
	}
	if (rnd() % 2)
		return;
	put_mem64(t, la, t->s.reg[RAX], width);
	if (t->i.mnemonic != ZYDIS_MNEMONIC_CMPXCHG)
		put_mem64(t, la + width, t->s.reg[RDX], width);
}

/* -- images of state */

/* Somewhere whole, or with a part before or behind the data. */
static u64 state_image_la(enum soak_mode mode)
{
	u64 la = SOAK_DATA + rnd() % 0x1000;

	if (rnd() % 8 == 0)
		la = SOAK_DATA - rnd() % SOAK_XSAVE_SIZE;
	else if (rnd() % 4 == 0)
		la = SOAK_DATA + SOAK_DATA_SIZE - rnd() % SOAK_XSAVE_SIZE;
	else if (rnd() % 16 == 0 && mode == SOAK_16)
		la = SOAK_BASE - rnd() % 512; /* offsets wrap, to before the code */
	return rnd() % 8 ? la & ~63ULL : la;
}

static void prepare_image(struct soak_case *t, u64 la)
{
	u8 image[3072];
	bool xsave;

	if (!is_state_image(t->i.mnemonic, &xsave))
		return;
	random_image(image, sizeof(image), xsave, host_xmask);
	put_mem(t, la, image, sizeof(image));
}

/* -- all of it */

static void prepare_string(struct soak_case *t)
{
	u64 from = SOAK_DATA + 0x1000 + rnd() % 0x2000;
	u64 to = rnd() % 2 ? SOAK_DATA + 0x1000 + rnd() % 0x2000 : from + rnd() % 32 - 16;

	t->s.reg[RSI] = from - soak_selector_base(t->s.sel[SEG_DS]);
	t->s.reg[RDI] = to - soak_selector_base(t->s.sel[SEG_ES]);
	t->s.reg[RCX] = rnd() % 8 ? rnd() % 40 : rnd() % 600;
	t->s.rflags ^= rnd() & FL_DF;
}

static bool prepare_branch(struct soak_case *t)
{
	u64 base = soak_segment_base(t->mode);

	if (!t->i.raw.imm[0].is_relative)
		return true;
	/* It stays in the page, where INT3 waits; backwards it could loop for ever. */
	if (t->i.operand_width == 16 && !base)
		return false;
	if (t->i.raw.imm[0].size > 8) {
		s32 d = (s32)(rnd() % 0x700);

		memcpy(t->bytes + t->i.raw.imm[0].offset, &d, t->i.raw.imm[0].size / 8);
	} else {
		t->bytes[t->i.raw.imm[0].offset] &= 0x7f;
	}
	return true;
}

/* A bit string's offset register must not be far, nor part of the address. */
static bool prepare_bit_string(struct soak_case *t, const ZydisDecodedOperand *m)
{
	u64 *r;

	if (t->i.meta.category != ZYDIS_CATEGORY_BITBYTE ||
	    t->o[1].type != ZYDIS_OPERAND_TYPE_REGISTER)
		return true;
	r = reg_of(t, t->o[1].reg.value);
	if ((has_reg(m->mem.base) && r == reg_of(t, m->mem.base)) ||
	    (has_reg(m->mem.index) && r == reg_of(t, m->mem.index)))
		return false;
	*r = rnd() % 0x4000 - 0x2000;
	if (t->mode != SOAK_64)
		*r = (u32)*r;
	return true;
}

static bool prepare(struct soak_case *t)
{
	const ZydisDecodedOperand *m = memory_operand(t);
	u64 base = soak_segment_base(t->mode), la = somewhere();
	bool xsave, aimed = false;

	t->s.reg[RSP] = (somewhere() & ~7ULL) - base;
	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_INT:
		if (t->bytes[t->i.raw.imm[0].offset] == 0x80)
			return false; /* the host's system call */
		break;
	case ZYDIS_MNEMONIC_LEAVE:
	case ZYDIS_MNEMONIC_ENTER:
		t->s.reg[RBP] = la - base;
		break;
	case ZYDIS_MNEMONIC_XLAT:
		t->s.reg[RBX] = la - soak_selector_base(t->s.sel[SEG_DS]);
		break;
	case ZYDIS_MNEMONIC_MASKMOVQ:
	case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU:
		t->s.reg[RDI] = la - soak_selector_base(t->s.sel[SEG_DS]);
		break;
	case ZYDIS_MNEMONIC_JMP:
	case ZYDIS_MNEMONIC_CALL:
		if (t->o[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
			*reg_of(t, t->o[0].reg.value) = SOAK_LANDING - base;
		break;
	default:
		break;
	}
	if (t->i.meta.category == ZYDIS_CATEGORY_STRINGOP ||
	    t->i.meta.category == ZYDIS_CATEGORY_IOSTRINGOP)
		prepare_string(t);
	if (is_state_image(t->i.mnemonic, &xsave))
		la = state_image_la(t->mode);
	/* Now and then an address that chance makes. */
	if (m && m->mem.type != ZYDIS_MEMOP_TYPE_AGEN && rnd() % 64) {
		if (!aim(t, m, la))
			return false;
		aimed = true;
	}
	/* The host may manage components that a guest has not: ask for what both have. */
	if (is_state_image(t->i.mnemonic, &xsave) && xsave) {
		t->s.reg[RAX] &= la < SOAK_BASE ? 3 : host_xmask;
		t->s.reg[RDX] = 0;
	}
	if (m && m->mem.type == ZYDIS_MEMOP_TYPE_VSIB)
		small_indices(t, m);
	if (m && !prepare_bit_string(t, m))
		return false;
	if (aimed &&
	    (t->i.mnemonic == ZYDIS_MNEMONIC_JMP || t->i.mnemonic == ZYDIS_MNEMONIC_CALL) &&
	    rnd() % 4)
		put_mem64(t, la, SOAK_LANDING - base, 8);
	prepare_selector(t, m, la);
	prepare_far(t, m, la);
	prepare_stack(t);
	if (aimed) {
		prepare_exchange(t, la);
		prepare_image(t, la);
	}
	return prepare_branch(t);
}

static void random_segments(struct soak_state *s, enum soak_mode mode)
{
	static const u16 some[] = {0, SEL_USER_DS, SEL_LDT_DS, SEL_LDT_SHORT, SEL_LDT_DOWN};

	s->fs_base = s->gs_base = 0;
	memset(s->sel, 0, sizeof(s->sel));
	s->sel[SEG_ES] = s->sel[SEG_DS] = soak_data_selector(mode);
	if (mode == SOAK_64) {
		s->fs_base = (u64)((s64)rnd_value() >> 17);
		s->gs_base = (u64)((s64)rnd_value() >> 17);
	} else if (generate_ldt) {
		s->sel[SEG_FS] = some[rnd() % ARRAY_SIZE(some)];
		s->sel[SEG_GS] = some[rnd() % ARRAY_SIZE(some)];
		if (rnd() % 8 == 0)
			s->sel[SEG_ES] = some[rnd() % ARRAY_SIZE(some)];
		if (rnd() % 8 == 0)
			s->sel[SEG_DS] = some[rnd() % ARRAY_SIZE(some)];
	}
}

static u64 random_state_flags(enum soak_mode mode)
{
	u64 f = (rnd() & FL_STATUS) | FL_IF | FL_FIXED;

	if (rnd() % 16 == 0)
		f |= FL_AC;
	/* In 16-bit mode it would trap before the instruction (host.c). */
	if (rnd() % 32 == 0 && mode != SOAK_16)
		f |= FL_TF;
	return f;
}

bool generate_state(struct soak_case *t)
{
	struct soak_state *s = &t->s;

	for (unsigned i = 0; i < 16; i++)
		s->reg[i] = t->mode == SOAK_64 ? rnd_value() : i < 8 ? (u32)rnd_value() : 0;
	s->rflags = random_state_flags(t->mode);
	s->rip = SOAK_CODE - soak_segment_base(t->mode);
	random_segments(s, t->mode);
	random_xstate(s->xsave);
	if (t->i.mnemonic == ZYDIS_MNEMONIC_INVALID)
		return true;
	return prepare(t) && forms_decode(t);
}
