/* SPDX-License-Identifier: MIT */
/*
 * soak/compare.c: both sides of a case, and what the manual leaves open between them. userkvm does
 * what the processor does that it was written on (Intel's, with AVX-512), so there most excuses
 * excuse nothing; each one that does is counted.
 */
#include "cpu/native/xstate.h"
#include "soak.h"

/* Of a shift or rotate. */
static unsigned count_of(const struct soak_case *t)
{
	const ZydisDecodedOperand *o = &t->o[t->i.operand_count_visible == 3 ? 2 : 1];
	u64 n = o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? o->imm.value.u : t->s.reg[RCX];

	return n & (t->i.operand_width == 64 ? 63 : 31);
}

/* SDM vol. 2, each instruction's "Flags Affected". */
static u64 undefined_flags(const struct soak_case *t)
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

const struct soak_excuse soak_excuse[NR_EXCUSES] = {
	[EXCUSE_FLAGS] = {"a flag that is left undefined", "vol. 2, Flags Affected"},
	[EXCUSE_ORDER] = {"which of two faults of one instruction", "vol. 3, table 6-2"},
	[EXCUSE_MASKMOV] = {"a fault of a store of no byte", "vol. 2, MASKMOVDQU"},
	[EXCUSE_CR2] = {"which byte of an operand that faults", "vol. 3, 4.7"},
	[EXCUSE_WRAP] = {"across the end of a 4 GiB segment", "vol. 3, 5.3"},
	[EXCUSE_PARTS] = {"parts stored before a fault", "vol. 3, 9.1.1"},
	[EXCUSE_KERNEL] = {"#PF's P bit beyond user addresses", "Linux hides it"},
	[EXCUSE_NULL] = {"which null selector", "Linux may hand back another"},
};

static bool named(const struct soak_case *t, const char *part)
{
	return strstr(ZydisMnemonicGetString(t->i.mnemonic), part);
}

static bool is_access_fault(int vector)
{
	return vector >= VEC_SS && vector <= VEC_PF;
}

static bool is_fp_fault(int vector)
{
	return vector == VEC_XM || vector == VEC_MF;
}

static bool compares_strings(const struct soak_case *t)
{
	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_CMPSB:
	case ZYDIS_MNEMONIC_CMPSW:
	case ZYDIS_MNEMONIC_CMPSD:
	case ZYDIS_MNEMONIC_CMPSQ:
		return true;
	default:
		return false;
	}
}

/* Two different ends. */
static enum excuse excuse_vector(const struct soak_case *t, const struct soak_result *r)
{
	int h = r->host_end.vector, g = r->guest_end.vector;

	/* More than 15 bytes, and none of them an instruction. */
	if (h == VEC_GP && g == VEC_UD && t->i.mnemonic == ZYDIS_MNEMONIC_INVALID)
		return EXCUSE_ORDER;
	/* The access and the floating-point exception of an instruction. */
	if ((is_fp_fault(h) && is_access_fault(g)) || (is_fp_fault(g) && is_access_fault(h)))
		return EXCUSE_ORDER;
	/* Two operands in memory. */
	if (is_access_fault(h) && is_access_fault(g) && compares_strings(t))
		return EXCUSE_ORDER;
	/* Misaligned, and beyond the stack segment or not canonical. */
	if (h + g == VEC_SS + VEC_GP &&
	    (t->i.meta.exception_class != ZYDIS_EXCEPTION_CLASS_NONE || named(t, "xsave") ||
	     named(t, "xrstor")))
		return EXCUSE_ORDER;
	if (t->mode == SOAK_32 && h == VEC_PF && is_access_fault(g) &&
	    (u32)r->host_end.cr2 >= 0xffffffc0)
		return EXCUSE_WRAP;
	if (named(t, "maskmov") && h + g == VEC_PF + VEC_BP)
		return EXCUSE_MASKMOV;
	return EXCUSE_NONE;
}

/* Two page faults. */
static enum excuse excuse_page_fault(const struct soak_end *h, const struct soak_end *g)
{
	if (h->cr2 == g->cr2)
		return (h->error ^ g->error) == 1 && h->cr2 >> 63 ? EXCUSE_KERNEL : EXCUSE_NONE;
	return h->error == g->error && (u64)((s64)(h->cr2 - g->cr2) + 0xfff) <= 0x1ffe
		       ? EXCUSE_CR2
		       : EXCUSE_NONE;
}

/* x87 and vector operands of more than 8 bytes may be stored in parts; so may XSAVE's areas. */
static bool stores_in_parts(const struct soak_case *t)
{
	for (unsigned n = 0; n < t->i.operand_count_visible; n++) {
		if (t->o[n].type == ZYDIS_OPERAND_TYPE_MEMORY && t->o[n].size > 64)
			return t->i.meta.category == ZYDIS_CATEGORY_X87_ALU ||
			       t->i.meta.exception_class != ZYDIS_EXCEPTION_CLASS_NONE ||
			       named(t, "xsave");
	}
	return false;
}

static bool same_xstate(const u8 *a, const u8 *b)
{
	if (memcmp(a, b, 28) || memcmp(a + 32, b + 32, 384))
		return false;
	for (enum xcomp x = XC_AVX; x < NR_XCOMP; x++) {
		if ((host_xmask & XMASK(x)) &&
		    memcmp(a + xcomp_offset(x), b + xcomp_offset(x), xcomp_size(x)))
			return false;
	}
	return true;
}

static bool same_selectors(const u16 *h, const u16 *g, bool null_is_null)
{
	for (unsigned i = 0; i < 6; i++) {
		if (h[i] != g[i] && !(null_is_null && h[i] < 4 && g[i] < 4))
			return false;
	}
	return true;
}

static bool same_registers(const struct soak_case *t, const struct soak_state *h,
			   const struct soak_state *g)
{
	return !memcmp(h->reg, g->reg, sizeof(h->reg)) && h->rip == g->rip &&
	       (t->mode != SOAK_64 || (h->fs_base == g->fs_base && h->gs_base == g->gs_base));
}

static bool has_error_code(int vector)
{
	return vector == VEC_PF || (vector >= VEC_TS && vector <= VEC_GP);
}

/* A difference, if nothing excuses it. */
static void found(struct soak_result *r, int what, enum excuse excuse)
{
	if (excuse)
		r->excused |= 1u << excuse;
	else if (r->what == DIFF_NONE)
		r->what = what;
}

static void compare_ends(const struct soak_end *h, const struct soak_end *g,
			 struct soak_result *r)
{
	if (h->vector == VEC_PF && (h->error != g->error || h->cr2 != g->cr2))
		found(r, DIFF_VECTOR, excuse_page_fault(h, g));
	else if (has_error_code(h->vector) && h->error != g->error)
		found(r, DIFF_VECTOR, EXCUSE_NONE);
}

static void compare_states(const struct soak_case *t, struct soak_result *r)
{
	const struct soak_state *h = &r->host, *g = &r->guest;
	u64 flags = (h->rflags ^ g->rflags) &
		    (FL_STATUS | FL_TF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_AC | FL_ID);

	if (!same_registers(t, h, g))
		found(r, DIFF_REG, EXCUSE_NONE);
	if (!same_selectors(h->sel, g->sel, false))
		found(r, DIFF_REG, same_selectors(h->sel, g->sel, true) ? EXCUSE_NULL : 0);
	if (flags)
		found(r, DIFF_FLAGS, flags & ~undefined_flags(t) ? 0 : EXCUSE_FLAGS);
	if (!same_xstate(h->xsave, g->xsave))
		found(r, DIFF_XSTATE, EXCUSE_NONE);
}

static void compare_memory(const struct soak_case *t, const u8 *host, struct soak_result *r)
{
	u64 h = 0, g = 0;
	u32 at = 0;

	for (; at < SOAK_DATA_SIZE && h == g; at += 8) {
		memcpy(&h, host + at, 8);
		memcpy(&g, (u8 *)SOAK_DATA + at, 8);
	}
	if (h == g)
		return;
	r->mem_at = at - 8;
	r->mem_host = h;
	r->mem_guest = g;
	found(r, DIFF_MEMORY,
	      r->host_end.vector != VEC_BP && stores_in_parts(t) ? EXCUSE_PARTS : EXCUSE_NONE);
}

static void place(const struct soak_case *t)
{
	memset((void *)SOAK_BASE, 0xcc, PAGE_SIZE);
	memcpy((void *)SOAK_CODE, t->bytes, t->i.length);
	memcpy((void *)SOAK_DATA, t->mem, SOAK_DATA_SIZE);
}

void soak_compare(const struct soak_case *t, struct soak_result *r)
{
	static u8 after[SOAK_DATA_SIZE];
	int vector;

	r->what = DIFF_NONE;
	r->excused = 0;
	r->host = r->guest = t->s;
	place(t);
	r->host_end = host_run(&r->host, t->mode);
	vector = r->host_end.vector;
	if (vector == HOST_STUCK)
		return;
	memcpy(after, (void *)SOAK_DATA, sizeof(after));
	place(t);
	r->guest_end = guest_run(&r->guest, t->mode);
	if (vector != r->guest_end.vector) {
		found(r, DIFF_VECTOR, excuse_vector(t, r));
		return;
	}
	compare_ends(&r->host_end, &r->guest_end, r);
	compare_states(t, r);
	compare_memory(t, after, r);
}
