/* SPDX-License-Identifier: MIT */
#include "loader/site.h"

#include <Zydis/Zydis.h>
#include <string.h>
#include <sys/syscall.h>

static const u8 load_and_call[SITE_LOAD + SITE_CALL] = {0xb8, SYS_ioctl, 0, 0, 0, 0x0f, 0x05};

struct insn {
	ZydisDecodedInstruction i;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
};

static bool writes_rax(const struct insn *x)
{
	for (u8 n = 0; n < x->i.operand_count; n++) {
		const ZydisDecodedOperand *o = &x->o[n];

		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
		    ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, o->reg.value) ==
			    ZYDIS_REGISTER_RAX)
			return true;
	}
	return false;
}

/* Relative to %rax alone, where that is an ioctl's number and nothing is mapped. */
static bool is_nowhere(const ZydisDecodedOperand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.type == ZYDIS_MEMOP_TYPE_MEM &&
	       o->mem.base == ZYDIS_REGISTER_RAX && o->mem.index == ZYDIS_REGISTER_NONE &&
	       o->mem.segment == ZYDIS_REGISTER_DS &&
	       (u64)o->mem.disp.value + SYS_ioctl < SITE_NO_MEMORY / 2;
}

/*
 * It would have faulted: it left %rax alone, so %rax was 16 before, and it needs memory that is not there.
 */
static bool cannot_have_run(const struct insn *x)
{
	bool nowhere = false;

	if (writes_rax(x) || x->i.mnemonic == ZYDIS_MNEMONIC_NOP ||
	    x->i.meta.category == ZYDIS_CATEGORY_PREFETCH ||
	    x->i.meta.category == ZYDIS_CATEGORY_WIDENOP ||
	    (x->i.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPNE)))
		return false;
	for (u8 n = 0; n < x->i.operand_count; n++)
		nowhere |= is_nowhere(&x->o[n]);
	return nowhere;
}

/* May an instruction of exactly n bytes have run that ends where `end' is? */
static bool may_have_run(const ZydisDecoder *z, const u8 *end, u8 n)
{
	struct insn x;

	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(z, end - n, n, &x.i, x.o)) && x.i.length == n &&
	       !cannot_have_run(&x);
}

/*
 * What the processor executed before `syscall' ended there, or was a jump to it, and then the load stands for
 * itself. Were it longer than the load, it would be one of those looked for here, with the load's bytes as its
 * end: a `movl' that stores 16 has them. Were it shorter, it would lie within the number: that is an `add' to
 * the memory at %rax, where there is none.
 */
bool site_has_load(const u8 *code)
{
	const u8 *call = code + SITE_BEFORE;
	ZydisDecoder z;

	if (memcmp(call - SITE_LOAD, load_and_call, sizeof(load_and_call)))
		return false;
	ZydisDecoderInit(&z, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (u8 n = SITE_LOAD + 1; n <= SITE_BEFORE; n++) {
		if (may_have_run(&z, call, n))
			return false;
	}
	return true;
}
