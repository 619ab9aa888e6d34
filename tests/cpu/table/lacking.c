/* SPDX-License-Identifier: MIT */
/*
 * table/lacking.c: on a host that lacks any one of the CPUID bits that a form needs, the form is #UD
 * and never reaches the host's processor. What it needs is derived here from the encoding and
 * the exception class, apart from its instruction set's own bit.
 */
#include <stdio.h>

#include "cpu/code/ends.h"
#include "cpu/table/features.h"
#include "table_test.h"

unsigned long lacking_checked;

static bool refused_without(const struct decoder *d, const char *bit)
{
	struct decoder again = {.c = d->c, .rip = d->rip, .key = d->key};
	struct op op;

	memcpy(again.bytes, d->bytes, sizeof(again.bytes));
	features_hide(bit);
	decode_insn(&again, &op);
	features_hide("");
	return op.fn == op_raise && op.imm == VEC_UD;
}

static void must_need(const struct decoder *d, const char *bit)
{
	char what[64];

	lacking_checked++;
	snprintf(what, sizeof(what), "carried out without %s", bit);
	if (!refused_without(d, bit))
		complain(d, what);
}

static bool uses_vectors(const struct decoder *d)
{
	for (unsigned i = 0; i < d->i.operand_count; i++) {
		switch (ZydisRegisterGetClass(d->o[i].reg.value)) {
		case ZYDIS_REGCLASS_XMM:
		case ZYDIS_REGCLASS_YMM:
		case ZYDIS_REGCLASS_ZMM:
			if (d->o[i].type == ZYDIS_OPERAND_TYPE_REGISTER)
				return true;
			break;
		default:
			break;
		}
	}
	return false;
}

/* EVEX forms on one element have no vector length (SDM vol. 2, tables 2-55 to 2-63). */
static bool is_scalar(const struct decoder *d)
{
	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_VMOVSS:
	case ZYDIS_MNEMONIC_VMOVSD:
	case ZYDIS_MNEMONIC_VMOVSH:
	case ZYDIS_MNEMONIC_VMOVLHPS:
	case ZYDIS_MNEMONIC_VMOVHLPS:
	case ZYDIS_MNEMONIC_VFPCLASSSS:
	case ZYDIS_MNEMONIC_VFPCLASSSD:
	case ZYDIS_MNEMONIC_VFPCLASSSH:
		return true;
	default:
		break;
	}
	switch (d->i.meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_E3:
	case ZYDIS_EXCEPTION_CLASS_E3NF:
	case ZYDIS_EXCEPTION_CLASS_E9NF:
	case ZYDIS_EXCEPTION_CLASS_E10:
	case ZYDIS_EXCEPTION_CLASS_E10NF:
		return true;
	default:
		return false;
	}
}

void check_lacking(const struct decoder *d)
{
	const struct feature *own = feature_of_set(ZydisISASetGetString(d->i.meta.isa_set));
	bool evex = d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;

	if (own)
		must_need(d, own->name);
	else
		complain(d, "executed on the host, and no CPUID bit announces it");
	if (evex)
		must_need(d, "avx512f");
	if (evex && d->i.avx.vector_length < 512 && !is_scalar(d))
		must_need(d, "avx512vl");
	if (d->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && uses_vectors(d))
		must_need(d, "avx");
	if (refused_without(d, own && !strcmp(own->name, "rdrand") ? "rdseed" : "rdrand"))
		complain(d, "refused for want of what it does not need");
}
