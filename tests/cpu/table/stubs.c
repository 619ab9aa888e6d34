/* SPDX-License-Identifier: MIT */
/*
 * table/stubs.c: generated code, taken apart. Before and after the instruction there may be
 * moves between the registers it names and struct cpu at RDI, and nothing else; its own memory
 * operand is [RSI].
 */
#include "cpu/native/stub.h"
#include "table_test.h"

unsigned long stubs_checked;

struct stub_insn {
	ZydisDecodedInstruction i;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
};

static bool decode_at(const struct native_asm *a, u32 at, struct stub_insn *s)
{
	static ZydisDecoder z;
	static bool made;

	if (!made) {
		ZydisDecoderInit(&z, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
		made = true;
	}
	return ZYAN_SUCCESS(
		ZydisDecoderDecodeFull(&z, a->bytes + at, a->len - at, &s->i, s->o));
}

/* Every memory operand is one of struct cpu's bytes. */
static bool only_the_cpu(const struct stub_insn *s)
{
	for (unsigned n = 0; n < s->i.operand_count; n++) {
		const ZydisDecodedOperand *o = &s->o[n];

		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (o->mem.base != ZYDIS_REGISTER_RDI || o->mem.index != ZYDIS_REGISTER_NONE ||
		    o->mem.segment != ZYDIS_REGISTER_DS || o->mem.disp.value < 0 ||
		    (u64)o->mem.disp.value + MAX(64u, o->size / 8u) > sizeof(struct cpu))
			return false;
	}
	return true;
}

static bool is_move(const struct stub_insn *s, bool before)
{
	bool store = s->o[0].type == ZYDIS_OPERAND_TYPE_MEMORY;

	switch (s->i.mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_VMOVUPS:
	case ZYDIS_MNEMONIC_KMOVQ:
	case ZYDIS_MNEMONIC_KMOVW:
	case ZYDIS_MNEMONIC_MOVQ:
	case ZYDIS_MNEMONIC_MOV:
		return store != before;
	case ZYDIS_MNEMONIC_FXRSTOR64:
		return before;
	case ZYDIS_MNEMONIC_FXSAVE64:
		return !before;
	default:
		return false;
	}
}

static bool may_stand_before(const struct stub_insn *s)
{
	switch (s->i.mnemonic) {
	case ZYDIS_MNEMONIC_MOVZX: /* flags */
	case ZYDIS_MNEMONIC_SAHF:
		return true;
	case ZYDIS_MNEMONIC_AND:
	case ZYDIS_MNEMONIC_ADD:
		return s->o[0].reg.value == ZYDIS_REGISTER_AL;
	default:
		return is_move(s, true);
	}
}

static bool may_stand_after(const struct stub_insn *s)
{
	switch (s->i.mnemonic) {
	case ZYDIS_MNEMONIC_LAHF:
	case ZYDIS_MNEMONIC_VZEROUPPER:
		return true;
	case ZYDIS_MNEMONIC_SETO:
		return s->o[0].reg.value == ZYDIS_REGISTER_AL;
	case ZYDIS_MNEMONIC_XOR:
		return s->o[0].reg.value == ZYDIS_REGISTER_EAX &&
		       s->o[1].reg.value == ZYDIS_REGISTER_EAX;
	default:
		return is_move(s, false);
	}
}

/* Registers and operand of the instruction itself: nothing of the host's but scratch. */
static bool harmless(const struct stub_insn *s)
{
	if (s->i.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
		return false;
	for (unsigned n = 0; n < s->i.operand_count; n++) {
		const ZydisDecodedOperand *o = &s->o[n];
		u32 id = (u8)ZydisRegisterGetId(o->reg.value);

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			if (o->mem.base != ZYDIS_REGISTER_RSI ||
			    o->mem.index != ZYDIS_REGISTER_NONE || o->mem.disp.value ||
			    o->mem.segment != ZYDIS_REGISTER_DS)
				return false;
			continue;
		}
		if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(o->reg.value)) {
		case ZYDIS_REGCLASS_GPR32:
		case ZYDIS_REGCLASS_GPR64:
			if (id > RDX && (id < R8 || id > R10))
				return false;
			break;
		case ZYDIS_REGCLASS_X87:
		case ZYDIS_REGCLASS_MMX:
		case ZYDIS_REGCLASS_XMM:
		case ZYDIS_REGCLASS_YMM:
		case ZYDIS_REGCLASS_ZMM:
		case ZYDIS_REGCLASS_MASK:
		case ZYDIS_REGCLASS_FLAGS:
			break;
		default:
			if (o->reg.value != ZYDIS_REGISTER_MXCSR &&
			    o->reg.value != ZYDIS_REGISTER_X87CONTROL &&
			    o->reg.value != ZYDIS_REGISTER_X87STATUS &&
			    o->reg.value != ZYDIS_REGISTER_X87TAG)
				return false;
		}
	}
	return true;
}

static const char *fault_of(const struct decoder *d, const struct native_asm *a)
{
	struct stub_insn s;
	u32 at = 0;

	for (; at < a->insn; at += s.i.length) {
		if (!decode_at(a, at, &s) || !may_stand_before(&s) || !only_the_cpu(&s))
			return "a stub begins with what it should not";
	}
	if (at != a->insn || !decode_at(a, at, &s))
		return "a stub without its instruction";
	if (s.i.mnemonic != d->i.mnemonic)
		return "a stub of another instruction";
	if (!harmless(&s))
		return "a stub that touches more than its operands";
	for (at += s.i.length; at < a->len; at += s.i.length) {
		if (!decode_at(a, at, &s))
			return "a stub that cannot be decoded";
		if (s.i.mnemonic == ZYDIS_MNEMONIC_RET)
			return at + s.i.length == a->len ? NULL : "a stub that goes on";
		if (!may_stand_after(&s) || !only_the_cpu(&s))
			return "a stub ends with what it should not";
	}
	return "a stub that does not return";
}

void check_stub(const struct decoder *d)
{
	struct native_insn n;
	struct native_asm a;
	const char *what;

	if (!native_recode(d, &n))
		return;
	native_assemble(&n, &a);
	stubs_checked++;
	what = fault_of(d, &a);
	if (what)
		complain(d, what);
}
