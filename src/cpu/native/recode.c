/* SPDX-License-Identifier: MIT */
/*
 * native/recode.c: the same instruction for the host: rebuilt from its fields, so that nothing
 * of the guest's prefixes, addressing or mode gets through unseen.
 */
#include "cpu/native/stub.h"

static u8 gpr_number(ZydisRegister r)
{
	return (u8)ZydisRegisterGetId(r);
}

static bool is_evex(const struct decoder *d)
{
	return d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
}

static bool add_gpr(struct native_insn *n, const ZydisDecodedOperand *o)
{
	bool in = o->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
	bool out = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	u8 r = gpr_number(o->reg.value);
	enum native_slot s;

	switch (o->encoding) {
	case ZYDIS_OPERAND_ENCODING_MODRM_REG:
		s = SLOT_REG;
		break;
	case ZYDIS_OPERAND_ENCODING_MODRM_RM:
		s = SLOT_RM;
		break;
	case ZYDIS_OPERAND_ENCODING_NDSNDD:
		s = SLOT_VVVV;
		break;
	case ZYDIS_OPERAND_ENCODING_NONE:
		if (r > RDX)
			return false;
		n->implicit_in |= (u8)(in << r);
		n->implicit_out |= (u8)(out << r);
		return true;
	default:
		return false;
	}
	n->slot[s] = r;
	n->slot_in |= (u8)(in << s);
	n->slot_out |= (u8)(out << s);
	return true;
}

/*
 * A legacy instruction keeps the rest of a register it writes, a masked EVEX one the elements
 * masked off: those are loaded too. A VEX one clears the rest.
 */
static void add_vector(struct native_insn *n, const ZydisDecodedOperand *o, u32 id, u8 width)
{
	if (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		n->vec_out |= 1u << id;
	if (n->unit != UNIT_VEX || o->actions != ZYDIS_OPERAND_ACTION_WRITE)
		n->vec_in |= 1u << id;
	n->width = MAX(n->width, width);
}

static bool add_register(const struct decoder *d, struct native_insn *n,
			 const ZydisDecodedOperand *o)
{
	bool in = o->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
	bool out = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	ZydisRegister r = o->reg.value;
	u32 id = (u8)ZydisRegisterGetId(r);

	switch (ZydisRegisterGetClass(r)) {
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return add_gpr(n, o);
	case ZYDIS_REGCLASS_XMM:
		add_vector(n, o, id, 16);
		return true;
	case ZYDIS_REGCLASS_YMM:
		add_vector(n, o, id, 32);
		return true;
	case ZYDIS_REGCLASS_ZMM:
		add_vector(n, o, id, 64);
		return true;
	case ZYDIS_REGCLASS_MASK:
		if (o->encoding == ZYDIS_OPERAND_ENCODING_MASK && !id)
			return true; /* EVEX.aaa of 0: no mask */
		n->k_in |= (u8)(in << id);
		n->k_out |= (u8)(out << id);
		return true;
	case ZYDIS_REGCLASS_MMX:
		n->mm_in |= (u8)(1 << id);
		n->mm_out |= (u8)(out << id);
		return true;
	case ZYDIS_REGCLASS_FLAGS:
		/* What the instruction leaves alone must come out as it was. */
		n->flags_in = true;
		n->flags_out |= out;
		return true;
	case ZYDIS_REGCLASS_X87:
		return n->unit == UNIT_X87;
	default:
		break;
	}
	if (r == ZYDIS_REGISTER_X87STATUS || r == ZYDIS_REGISTER_X87CONTROL)
		return n->unit == UNIT_X87;
	if (r == ZYDIS_REGISTER_MXCSR)
		return d->i.mnemonic != ZYDIS_MNEMONIC_LDMXCSR;
	return false;
}

static bool add_operands(const struct decoder *d, struct native_insn *n)
{
	for (unsigned i = 0; i < d->i.operand_count; i++) {
		const ZydisDecodedOperand *o = &d->o[i];

		switch (o->type) {
		case ZYDIS_OPERAND_TYPE_REGISTER:
			if (!add_register(d, n, o))
				return false;
			break;
		case ZYDIS_OPERAND_TYPE_MEMORY:
			if (o->mem.type != ZYDIS_MEMOP_TYPE_MEM ||
			    o->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM)
				return false;
			n->mem = true;
			break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE:
			break;
		default:
			return false;
		}
	}
	return true;
}

static void put(struct native_insn *n, u8 b)
{
	n->bytes[n->len++] = b;
}

/* In VEX and EVEX bytes R, X, B, R' and vvvv are stored inverted. */
#define P0_R  0x80
#define P0_X  0x40
#define P0_B  0x20
#define P0_R2 0x10

/*
 * The register fields of P0 and of the byte holding vvvv: as the guest has them in 64-bit mode,
 * for registers 0 to 7 in the others (SDM vol. 2, 2.3.5 and 2.7.1), scratch ones for GPRs.
 */
static void fix_fields(const struct decoder *d, const struct native_insn *n, u8 *p0, u8 *p1)
{
	bool evex = is_evex(d);

	if (d->i.machine_mode != ZYDIS_MACHINE_MODE_LONG_64) {
		*p0 |= P0_R | P0_X | P0_B | (evex ? P0_R2 : 0);
		*p1 |= 0x40;
	}
	if (n->mem)
		*p0 |= P0_X | P0_B;
	if (n->slot[SLOT_REG] != NO_GPR)
		*p0 = (u8)((*p0 & ~P0_R) | (evex ? P0_R2 : 0));
	if (n->slot[SLOT_RM] != NO_GPR)
		*p0 = (u8)((*p0 & ~P0_B) | P0_X);
	if (n->slot[SLOT_VVVV] != NO_GPR)
		*p1 = (u8)((*p1 & ~0x78) | ((~(8 + SLOT_VVVV) & 15) << 3));
}

static void put_vex(const struct decoder *d, struct native_insn *n, bool clear_w)
{
	const u8 *b = d->bytes + d->i.raw.vex.offset;
	u8 p0, p1;

	if (b[0] == 0xc5) {
		p0 = (b[1] & P0_R) | P0_X | P0_B | 1; /* map 0F */
		p1 = b[1] & 0x7f;
	} else {
		p0 = b[1];
		p1 = b[2];
	}
	fix_fields(d, n, &p0, &p1);
	if (clear_w)
		p1 &= 0x7f;
	put(n, 0xc4);
	put(n, p0);
	put(n, p1);
	put(n, d->i.opcode);
}

static void put_evex(const struct decoder *d, struct native_insn *n, bool clear_w)
{
	const u8 *b = d->bytes + d->i.raw.evex.offset;
	u8 p0 = b[1], p1 = b[2], p2 = b[3];

	fix_fields(d, n, &p0, &p1);
	if (d->i.machine_mode != ZYDIS_MACHINE_MODE_LONG_64 || n->slot[SLOT_VVVV] != NO_GPR)
		p2 |= 0x08; /* V' */
	if (clear_w)
		p1 &= 0x7f;
	put(n, 0x62);
	put(n, p0);
	put(n, p1);
	put(n, p2);
	put(n, d->i.opcode);
}

static bool put_legacy(const struct decoder *d, struct native_insn *n)
{
	u8 rex = 0;

	for (unsigned i = 0; i < d->i.raw.prefix_count; i++) {
		if (d->i.raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY)
			put(n, d->i.raw.prefixes[i].value);
	}
	if (d->i.attributes & ZYDIS_ATTRIB_HAS_REX)
		rex = (u8)(d->i.raw.rex.W << 3 | d->i.raw.rex.R << 2 | d->i.raw.rex.B);
	if (n->mem)
		rex &= ~1;
	if (n->slot[SLOT_REG] != NO_GPR)
		rex |= 4;
	if (n->slot[SLOT_RM] != NO_GPR)
		rex |= 1;
	if (rex)
		put(n, 0x40 | rex);
	switch (d->i.opcode_map) {
	case ZYDIS_OPCODE_MAP_DEFAULT:
		break;
	case ZYDIS_OPCODE_MAP_0F:
		put(n, 0x0f);
		break;
	case ZYDIS_OPCODE_MAP_0F38:
		put(n, 0x0f);
		put(n, 0x38);
		break;
	case ZYDIS_OPCODE_MAP_0F3A:
		put(n, 0x0f);
		put(n, 0x3a);
		break;
	default:
		return false;
	}
	put(n, d->i.opcode);
	return true;
}

/* [rsi], or registers with scratch numbers (their fourth bit is in the prefix). */
static void put_modrm(const struct decoder *d, struct native_insn *n)
{
	u8 reg = d->i.raw.modrm.reg & 7, rm = d->i.raw.modrm.rm & 7;

	if (n->slot[SLOT_REG] != NO_GPR)
		reg = SLOT_REG;
	if (n->slot[SLOT_RM] != NO_GPR)
		rm = SLOT_RM;
	put(n, (u8)(n->mem ? reg << 3 | RSI : 0xc0 | reg << 3 | rm));
}

static bool put_immediates(const struct decoder *d, struct native_insn *n)
{
	bool is4 = false;

	for (unsigned i = 0; i < d->i.operand_count; i++)
		is4 |= d->o[i].encoding == ZYDIS_OPERAND_ENCODING_IS4;
	if (d->i.raw.imm[1].size)
		return false;
	if (!d->i.raw.imm[0].size && !is4)
		return true;
	if (d->i.raw.imm[0].size > 8)
		return false;
	/* Always the last byte, and only one. */
	put(n, d->bytes[d->i.length - 1]);
	if (is4 && d->i.machine_mode != ZYDIS_MACHINE_MODE_LONG_64)
		n->bytes[n->len - 1] &= 0x7f;
	return true;
}

static bool same_class(const struct decoder *d, const ZydisDecodedOperand *a,
		       const ZydisDecodedOperand *b)
{
	ZydisRegisterClass x = ZydisRegisterGetClass(a->reg.value);
	ZydisRegisterClass y = ZydisRegisterGetClass(b->reg.value);

	/* EFLAGS is RFLAGS; an ignored W makes Zydis name EAX RAX outside 64-bit mode too. */
	if (x == ZYDIS_REGCLASS_FLAGS)
		return y == x;
	if (a->encoding == ZYDIS_OPERAND_ENCODING_NONE && x == ZYDIS_REGCLASS_GPR32 &&
	    d->i.machine_mode != ZYDIS_MACHINE_MODE_LONG_64)
		return y == x || y == ZYDIS_REGCLASS_GPR64;
	return x == y;
}

/* `a` of the code made, `b` of the guest's. */
static bool verify_register(const struct decoder *d, const ZydisDecodedOperand *a,
			    const ZydisDecodedOperand *b)
{
	u32 id = (u32)ZydisRegisterGetId(a->reg.value);

	if (!same_class(d, a, b))
		return false;
	switch (ZydisRegisterGetClass(a->reg.value)) {
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		if (a->encoding == ZYDIS_OPERAND_ENCODING_NONE)
			return id == (u32)ZydisRegisterGetId(b->reg.value);
		return id >= 8 && id < 8 + NR_SLOTS;
	case ZYDIS_REGCLASS_FLAGS:
		return true;
	default:
		return a->reg.value == b->reg.value;
	}
}

static bool verify_operand(const struct decoder *d, const ZydisDecodedOperand *a,
			   const ZydisDecodedOperand *b)
{
	if (a->type != b->type || a->actions != b->actions)
		return false;
	if (a->type == ZYDIS_OPERAND_TYPE_MEMORY)
		return a->size == b->size && a->mem.base == ZYDIS_REGISTER_RSI &&
		       a->mem.index == ZYDIS_REGISTER_NONE && !a->mem.disp.value;
	return a->type != ZYDIS_OPERAND_TYPE_REGISTER || verify_register(d, a, b);
}

/* What comes out must be what went in: the last word before something is executed. */
static bool verify(const struct decoder *d, const struct native_insn *n)
{
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction i;
	ZydisDecoder z;

	if (!ZYAN_SUCCESS(ZydisDecoderInit(&z, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
	    !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&z, n->bytes, n->len, &i, o)))
		return false;
	if (i.mnemonic != d->i.mnemonic || i.length != n->len ||
	    i.operand_count != d->i.operand_count)
		return false;
	for (unsigned k = 0; k < i.operand_count; k++) {
		if (!verify_operand(d, &o[k], &d->o[k]))
			return false;
	}
	return true;
}

static enum native_unit unit_of(const struct decoder *d)
{
	switch (d->i.encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		return UNIT_VEX;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
		return UNIT_EVEX;
	default:
		break;
	}
	if (d->i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (d->i.opcode & 0xf8) == 0xd8)
		return UNIT_X87;
	for (unsigned i = 0; i < d->i.operand_count; i++) {
		if (d->o[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(d->o[i].reg.value) == ZYDIS_REGCLASS_MMX)
			return UNIT_MMX;
	}
	return UNIT_SSE;
}

static bool put_bytes(const struct decoder *d, struct native_insn *n, bool clear_w)
{
	memset(n->bytes, 0, sizeof(n->bytes));
	n->len = 0;
	switch (d->i.encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		put_vex(d, n, clear_w);
		break;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
		put_evex(d, n, clear_w);
		break;
	case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
		if (!put_legacy(d, n))
			return false;
		break;
	default:
		return false;
	}
	if (d->i.attributes & ZYDIS_ATTRIB_HAS_MODRM)
		put_modrm(d, n);
	return put_immediates(d, n) && verify(d, n);
}

bool native_recode(const struct decoder *d, struct native_insn *n)
{
	memset(n, 0, sizeof(*n));
	memset(n->slot, NO_GPR, sizeof(n->slot));
	n->unit = (u8)unit_of(d);
	if (!add_operands(d, n))
		return false;
	/* Where W picks 64-bit general registers or integers, other modes ignore it. */
	if (d->i.machine_mode != ZYDIS_MACHINE_MODE_LONG_64 && put_bytes(d, n, true))
		return true;
	return put_bytes(d, n, false);
}
