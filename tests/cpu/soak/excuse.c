/* SPDX-License-Identifier: MIT */
/*
 * soak/excuse.c: what the manuals leave open between two processors, or the host's kernel and
 * hypervisor hide. Where a vendor's manual decides, nothing is excused: that is a fact of
 * table/vendor.h, and userkvm does as the vendor that it announces.
 */
#include <cpuid.h>
#include <stdio.h>

#include "cpu/native/xstate.h"
#include "cpu/table/vendor.h"
#include "soak.h"

#define FEW	0.002 /* of all pairs, by one excuse */
#define FEW_INT 0.01  /* of integer instructions alone */
#define MANY	1.0   /* as many as there are such instructions */

const struct soak_excuse soak_excuse[NR_EXCUSES] = {
	[EXCUSE_FLAGS] = {"a flag that is left undefined", "vol. 2, Flags Affected",
			  "vol. 3, rFLAGS Affected", FEW, FEW_INT},
	[EXCUSE_ORDER] = {"which of two faults of one instruction", "vol. 3, table 6-2",
			  "vol. 2, 8.5", FEW, FEW},
	[EXCUSE_MASKMOV] = {"a fault of a store of no byte", "vol. 2, MASKMOVDQU",
			    "vol. 4, MASKMOVDQU", FEW, FEW},
	[EXCUSE_CR2] = {"which byte of an operand that faults", "vol. 3, 4.7", "vol. 2, 8.2.15",
			FEW, FEW},
	[EXCUSE_WRAP] = {"across the end of 4 GiB, or of 64 KiB of 16-bit addressing", "vol. 3, 5.3", "vol. 2, 4.12",
			 FEW, FEW},
	[EXCUSE_PARTS] = {"parts stored before a fault", "vol. 3, 9.1.1", "vol. 2, 7.3.2", FEW, FEW},
	[EXCUSE_KERNEL] = {"#PF's P bit beyond user addresses", "4.7; Linux hides it", "8.4.2; Linux hides it",
			   FEW, FEW},
	[EXCUSE_NULL] = {"which null selector", "Linux may hand back another",
			 "Linux may hand back another", FEW, FEW},
	[EXCUSE_UPPER] = {"upper halves of registers outside 64-bit mode", "vol. 1, 3.4.1.1",
			  "vol. 1, 3.4.5", MANY, MANY},
	[EXCUSE_POINTERS] = {"FIP, FDP, FOP that the host does not store", "none",
			     "vol. 5, FXSAVE", MANY, MANY},
	[EXCUSE_CANON] = {"what a pointer that is not canonical is loaded as", "vol. 1, 10.5.1.1",
			  "vol. 5, FXRSTOR (model's own)", FEW, FEW},
	[EXCUSE_REP_LOOP] = {"LOOPE or LOOPNE with a repeat prefix", "vol. 2, 2.1.1",
			     "vol. 3, 1.2.6", FEW, FEW_INT},
	[EXCUSE_RESERVED] = {"bits that are reserved, and ignored (VEX, EVEX, VERW's LOCK)", "vol. 2, 2.7.11",
			     "vol. 4, encodings (model's own)", FEW, FEW},
	[EXCUSE_OFFSET] = {"an x87 image at an offset that is canonical only with its base",
			   "vol. 1, 3.3.7.1", "vol. 2, 5.3.1 (model's own)", FEW, FEW},
	[EXCUSE_IN_USE] = {"XSAVE: a component in its initial state that counts as in use",
			   "vol. 1, 13.6", "vol. 2, 11.5 (XINUSE)", FEW, FEW},
	[EXCUSE_INT1] = {"INT1's return address under a hypervisor", "none", "vol. 2, 15.12.2", FEW,
			 FEW_INT},
};

/* Of a shift or rotate. */
static unsigned count_of(const struct soak_case *t)
{
	const ZydisDecodedOperand *o = &t->o[t->i.operand_count_visible == 3 ? 2 : 1];
	u64 n = o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? o->imm.value.u : t->s.reg[RCX];

	return n & (t->i.operand_width == 64 ? 63 : 31);
}

/* SDM vol. 2, each instruction's "Flags Affected". */
u64 excuse_undefined_flags(const struct soak_case *t)
{
	u64 u = t->i.cpu_flags ? t->i.cpu_flags->undefined : 0;

	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_SHL: /* by more than one: OF; AF always */
	case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR:
	case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD:
		return u | FL_AF | (count_of(t) > 1 ? FL_OF : 0);
	case ZYDIS_MNEMONIC_ROL: /* a register's is what the host leaves: interpreter/shift.c */
	case ZYDIS_MNEMONIC_ROR:
		return count_of(t) > 1 && t->o[0].type == ZYDIS_OPERAND_TYPE_MEMORY ? FL_OF : 0;
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

static bool named(const struct soak_case *t, const char *part)
{
	return strstr(ZydisMnemonicGetString(t->i.mnemonic), part);
}

static bool is_access_fault(int vector)
{
	return (vector >= VEC_SS && vector <= VEC_PF) || vector == VEC_AC;
}

static bool is_fp_fault(int vector)
{
	return vector == VEC_XM || vector == VEC_MF;
}

/* Two operands in memory, or an image that is looked at in parts. */
static bool accesses_more(const struct soak_case *t)
{
	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_CMPSB:
	case ZYDIS_MNEMONIC_CMPSW:
	case ZYDIS_MNEMONIC_CMPSD:
	case ZYDIS_MNEMONIC_CMPSQ:
		return true;
	default:
		return named(t, "xsave") || named(t, "xrstor") ||
		       t->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
	}
}

static bool decodes(const struct soak_case *t, unsigned at, u8 clear, u8 set)
{
	struct soak_case fixed = *t;

	fixed.bytes[at] = (u8)((fixed.bytes[at] & ~clear) | set);
	return forms_decode(&fixed);
}

static bool vex_decodes(const struct soak_case *t, unsigned at, u8 clear, u8 set)
{
	struct soak_case fixed = *t;

	if (decodes(t, at + 2, clear, set))
		return true;
	fixed.bytes[at + 1] |= 0xe0;
	return decodes(&fixed, at + 2, clear, set);
}

/* Of more than one LOCK each means the same (SDM vol. 2, 2.1.1). */
static ZydisMnemonic without_lock(const struct soak_case *t)
{
	struct soak_case fixed = *t;

	for (unsigned at = 0; at < 4; at++) {
		if (t->bytes[at] != 0xf0)
			continue;
		fixed.bytes[at] = 0x3e;
		if (forms_decode(&fixed))
			return fixed.i.mnemonic;
	}
	return ZYDIS_MNEMONIC_INVALID;
}

/* Would the bytes be an instruction without bits that mean nothing: of register numbers outside
 * 64-bit mode or of mask registers, EVEX.b with registers, EVEX.z without a mask? */
static bool reserved_bits(const struct soak_case *t)
{
	const u8 p0 = 0xf0, v2 = 0x08, b = 0x10, z = 0x80;
	struct soak_case fixed = *t;
	unsigned at = 0;

	while (at < sizeof(t->bytes) - 6 && t->bytes[at] != 0x62 && (t->bytes[at] | 1) != 0xc5)
		at++;
	/* VEX: bits of register numbers that mask registers do not have; W. */
	if (t->bytes[at] == 0xc5)
		return decodes(t, at + 1, 0, 0xc0);
	if (t->bytes[at] == 0xc4)
		return vex_decodes(t, at, 0, 0x40) || vex_decodes(t, at, 0x80, 0) ||
		       vex_decodes(t, at, 0, 0x80);
	if (t->bytes[at] != 0x62)
		return false;
	if (t->mode != SOAK_64) {
		fixed.bytes[at + 1] |= p0;
		fixed.bytes[at + 3] |= v2;
	}
	return decodes(&fixed, at + 3, 0, 0) || decodes(&fixed, at + 3, b, 0) ||
	       decodes(&fixed, at + 3, z, 0) || decodes(&fixed, at + 3, b | z, 0);
}

static bool has_rep(const struct soak_case *t)
{
	for (unsigned i = 0; i < t->i.raw.prefix_count; i++) {
		if (t->i.raw.prefixes[i].value == 0xf2 || t->i.raw.prefixes[i].value == 0xf3)
			return true;
	}
	return false;
}

static bool is_rep_loop(const struct soak_case *t)
{
	return (t->i.mnemonic == ZYDIS_MNEMONIC_LOOPE || t->i.mnemonic == ZYDIS_MNEMONIC_LOOPNE) &&
	       has_rep(t);
}

/* Outside 64-bit mode: does the operand reach beyond the addresses there are, where some wrap and
 * some fault? */
static bool beyond_addresses(const struct soak_case *t)
{
	u64 end = 1ULL << t->i.address_width;
	ZydisRegisterContext regs = {{0}};

	if (t->i.address_width == 64)
		return false;
	for (unsigned r = 0; r < 8; r++) {
		regs.values[ZYDIS_REGISTER_AX + r] = (u16)t->s.reg[r];
		regs.values[ZYDIS_REGISTER_EAX + r] = (u32)t->s.reg[r];
	}
	for (unsigned n = 0; n < t->i.operand_count; n++) {
		const ZydisDecodedOperand *o = &t->o[n];
		u32 size = named(t, "xsave") || named(t, "xrstor") ? XSAVE_MAX : o->size / 8u;
		u64 at;

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && size >= 2 &&
		    ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(&t->i, o, 0, &regs, &at)) &&
		    at % end + size > end)
			return true;
	}
	return false;
}

/* FLDENV and its kind, with FS or GS. */
static bool odd_offset(const struct soak_case *t)
{
	ZydisRegisterContext regs = {{0}};
	u64 at;

	if (t->mode != SOAK_64 || t->i.meta.category != ZYDIS_CATEGORY_X87_ALU ||
	    t->o[0].type != ZYDIS_OPERAND_TYPE_MEMORY || t->o[0].mem.segment < ZYDIS_REGISTER_FS)
		return false;
	for (unsigned r = 0; r < 16; r++)
		regs.values[ZYDIS_REGISTER_RAX + r] = t->s.reg[r];
	return ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(&t->i, &t->o[0], t->s.rip, &regs, &at)) &&
	       (u64)((s64)(at << 16) >> 16) != at;
}

/* Of these #AC looks at elements, or at the whole. */
static bool by_elements(const struct soak_case *t)
{
	return named(t, "vpcompress") || named(t, "vpexpand") || named(t, "vcompress") ||
	       named(t, "vexpand");
}

/* Two different ends. */
enum excuse excuse_vector(const struct soak_case *t, const struct soak_result *r)
{
	int h = r->host_end.vector, g = r->guest_end.vector;

	/* More than 15 bytes, and none of them an instruction. */
	if (h == VEC_GP && g == VEC_UD && t->i.mnemonic == ZYDIS_MNEMONIC_INVALID)
		return EXCUSE_ORDER;
	/* The access and the floating-point exception of an instruction. */
	if ((is_fp_fault(h) && is_access_fault(g)) || (is_fp_fault(g) && is_access_fault(h)))
		return EXCUSE_ORDER;
	if (is_access_fault(h) && is_access_fault(g) && accesses_more(t))
		return EXCUSE_ORDER;
	/* Misaligned, and beyond the stack segment or not canonical. */
	if (h + g == VEC_SS + VEC_GP && t->i.meta.exception_class != ZYDIS_EXCEPTION_CLASS_NONE)
		return EXCUSE_ORDER;
	if (t->mode != SOAK_64 && is_access_fault(h) && is_access_fault(g) &&
	    ((u32)r->host_end.cr2 >= 0xffffffc0 || (u32)r->guest_end.cr2 >= 0xffffffc0))
		return EXCUSE_WRAP;
	/* LOCK where it may not be, and an operand that is not there. */
	if (is_access_fault(h) && g == VEC_UD && without_lock(t))
		return EXCUSE_ORDER;
	if (beyond_addresses(t))
		return EXCUSE_WRAP;
	if (h == VEC_GP && odd_offset(t))
		return EXCUSE_OFFSET;
	if ((h == VEC_AC || g == VEC_AC) && by_elements(t))
		return EXCUSE_ORDER;
	if (is_rep_loop(t))
		return EXCUSE_REP_LOOP;
	if (named(t, "maskmov") && h + g == VEC_PF + VEC_BP)
		return EXCUSE_MASKMOV;
	return EXCUSE_NONE;
}

/* Two page faults. */
enum excuse excuse_page_fault(const struct soak_case *t, const struct soak_end *h,
			      const struct soak_end *g)
{
	bool hidden = (h->error ^ g->error) == 1 && h->cr2 >> 63;

	if (h->cr2 == g->cr2)
		return hidden ? EXCUSE_KERNEL : EXCUSE_NONE;
	if ((h->error == g->error || hidden) && (u64)((s64)(h->cr2 - g->cr2) + 0xfff) <= 0x1ffe)
		return EXCUSE_CR2;
	if (t->mode != SOAK_64 && (beyond_addresses(t) || (u32)h->cr2 >= 0xfffff000))
		return EXCUSE_WRAP;
	if (t->i.address_width == 32 && (u64)((s64)(h->cr2 - g->cr2) - 0xfffff000LL) <= 0x1ffe)
		return EXCUSE_WRAP;
	return t->i.meta.category == ZYDIS_CATEGORY_STRINGOP && accesses_more(t) ? EXCUSE_ORDER
										  : EXCUSE_NONE;
}

/* x87 and vector operands of more than 8 bytes may be stored in parts; so may XSAVE's areas. */
bool excuse_stores_in_parts(const struct soak_case *t)
{
	for (unsigned n = 0; n < t->i.operand_count_visible; n++) {
		if (t->o[n].type == ZYDIS_OPERAND_TYPE_MEMORY && t->o[n].size > 64)
			return t->i.meta.category == ZYDIS_CATEGORY_X87_ALU ||
			       t->i.meta.exception_class != ZYDIS_EXCEPTION_CLASS_NONE ||
			       named(t, "xsave");
	}
	return false;
}

static bool under_hypervisor(void)
{
	const u32 hypervisor = 1u << 31;
	u32 a, b, c, d;

	__cpuid(1, a, b, c, d);
	return c & hypervisor;
}

bool excuse_reserved(const struct soak_case *t, const struct soak_result *r)
{
	return t->i.mnemonic == ZYDIS_MNEMONIC_INVALID && r->guest_end.vector == VEC_UD &&
	       (r->host_end.vector != VEC_UD || r->host.rip != t->s.rip) &&
	       (reserved_bits(t) || without_lock(t) == ZYDIS_MNEMONIC_VERW);
}

/* Both ended the same way, at different places. */
enum excuse excuse_rip(const struct soak_case *t, const struct soak_result *r)
{
	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_LOOPE:
	case ZYDIS_MNEMONIC_LOOPNE:
		return is_rep_loop(t) ? EXCUSE_REP_LOOP : EXCUSE_NONE;
	case ZYDIS_MNEMONIC_INT1:
		/* One that intercepts #DB gives it back as the fault it looks like. */
		return under_hypervisor() && r->host.rip == t->s.rip ? EXCUSE_INT1 : EXCUSE_NONE;
	default:
		return EXCUSE_NONE;
	}
}
