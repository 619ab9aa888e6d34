/* SPDX-License-Identifier: MIT */
/*
 * soak/compare.c: both sides of a case, and what the manual leaves open between them.
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

/* Faults that the manual lets come in either order, or at the processor's choice. */
static bool either_fault(const struct soak_case *t, const struct soak_end *h,
			 const struct soak_end *g)
{
	int host = h->vector, guest = g->vector;

	/* Of one instruction's access and its floating-point exception either may be seen. */
	if ((is_fp_fault(host) && is_access_fault(guest)) ||
	    (is_fp_fault(guest) && is_access_fault(host)))
		return true;
	/* Two operands in memory: which is looked at first is the processor's choice; so is, of
	 * CALL, whether the push or the target is. */
	if (is_access_fault(host) && is_access_fault(guest) &&
	    (t->i.meta.category == ZYDIS_CATEGORY_STRINGOP || t->i.mnemonic == ZYDIS_MNEMONIC_CALL))
		return true;
	/* Misaligned, and beyond the stack segment or not canonical. */
	if (host + guest == VEC_SS + VEC_GP &&
	    (t->i.meta.exception_class != ZYDIS_EXCEPTION_CLASS_NONE || named(t, "xsave") ||
	     named(t, "xrstor")))
		return true;
	/* Across the end of a flat segment: a limit violation or a wrap (vol. 3, 5.3). */
	if (t->mode == SOAK_32 && host == VEC_PF && is_access_fault(guest) &&
	    (u32)h->cr2 >= 0xffffffc0)
		return true;
	/* A store of no byte at a bad address may fault or not (vol. 2, MASKMOVDQU). */
	return named(t, "maskmov") && (host == VEC_PF || guest == VEC_PF);
}

/* An x87 store whose exception is not masked may end before it looks at memory. */
static bool store_given_up(const struct soak_case *t, const struct soak_result *r)
{
	return (t->i.opcode & 0xf8) == 0xd8 && (r->host.xsave[2] & 0x80) &&
	       r->host_end.vector == VEC_BP && r->guest_end.vector >= VEC_SS &&
	       r->guest_end.vector <= VEC_PF;
}

static bool uses_mmx(const struct soak_case *t)
{
	for (unsigned n = 0; n < t->i.operand_count; n++) {
		if (t->o[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(t->o[n].reg.value) == ZYDIS_REGCLASS_MMX)
			return true;
	}
	return false;
}

/* Whether TOP and the tags have changed before a fault of an MMX instruction is not defined;
 * seen from a TOP that has changed the registers stand elsewhere. */
static void forget_x87(u8 *xsave)
{
	memset(xsave, 0, 24);
	memset(xsave + 32, 0, 128);
}

/* What a fault leaves of XRSTOR's components is open, and whether VCVTPS2PH's flags are set. */
static bool xstate_is_open(const struct soak_case *t, int vector)
{
	return vector != VEC_BP &&
	       (named(t, "rstor") || t->i.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH);
}

/* POPA leaves in the registers what it had popped before a fault; run again it pops them again.
 */
static void forget_popped(const struct soak_case *t, struct soak_state *s)
{
	u64 rsp = s->reg[RSP];

	if (t->i.mnemonic != ZYDIS_MNEMONIC_POPA && t->i.mnemonic != ZYDIS_MNEMONIC_POPAD)
		return;
	memset(s->reg, 0, sizeof(s->reg));
	s->reg[RSP] = rsp;
}

/* Null selectors are all the same: the host's kernel may hand back another on its way out. */
static void normalize(const struct soak_case *t, struct soak_state *s, int vector)
{
	for (unsigned i = 0; i < ARRAY_SIZE(s->sel); i++) {
		if (s->sel[i] < 4)
			s->sel[i] = 0;
	}
	if (vector != VEC_BP && uses_mmx(t))
		forget_x87(s->xsave);
	if (vector != VEC_BP)
		forget_popped(t, s);
}

/* What was stored before a fault came is the processor's choice: several stores, no order. */
static bool memory_is_open(const struct soak_case *t, int vector)
{
	return vector != VEC_BP;
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

static bool same_registers(const struct soak_case *t, const struct soak_state *h,
			   const struct soak_state *g)
{
	return !memcmp(h->reg, g->reg, sizeof(h->reg)) && h->rip == g->rip &&
	       !memcmp(h->sel, g->sel, sizeof(h->sel)) &&
	       (t->mode != SOAK_64 || (h->fs_base == g->fs_base && h->gs_base == g->gs_base));
}

/* Error codes: all of #GP's and its kin; of #PF what the tables do not decide. */
static bool same_error(const struct soak_end *h, const struct soak_end *g)
{
	if (h->vector == VEC_PF)
		return !((h->error ^ g->error) & 2);
	if (h->vector < VEC_TS || h->vector > VEC_GP)
		return true;
	return h->error == g->error;
}

static void place(const struct soak_case *t, bool whole)
{
	if (whole)
		memset((void *)SOAK_BASE, 0xcc, PAGE_SIZE);
	memcpy((void *)SOAK_CODE, t->bytes, t->i.length);
	memcpy((void *)SOAK_DATA, t->mem, SOAK_DATA_SIZE);
}

void soak_compare(const struct soak_case *t, struct soak_result *r)
{
	static u8 after[SOAK_DATA_SIZE];
	u64 flags = (FL_STATUS | FL_DF | FL_IOPL | FL_NT | FL_AC | FL_ID);

	r->what = DIFF_NONE;
	r->host = r->guest = t->s;
	place(t, true);
	r->host_end = host_run(&r->host, t->mode);
	if (r->host_end.vector == HOST_STUCK)
		return;
	memcpy(after, (void *)SOAK_DATA, sizeof(after));
	place(t, true);
	r->guest_end = guest_run(&r->guest, t->mode);
	if (r->host_end.vector != r->guest_end.vector) {
		if (!either_fault(t, &r->host_end, &r->guest_end) &&
		    !store_given_up(t, r))
			r->what = DIFF_VECTOR;
		return;
	}
	normalize(t, &r->host, r->host_end.vector);
	normalize(t, &r->guest, r->host_end.vector);
	flags &= ~undefined_flags(t);
	if (!same_error(&r->host_end, &r->guest_end))
		r->what = DIFF_VECTOR;
	else if (!same_registers(t, &r->host, &r->guest))
		r->what = DIFF_REG;
	else if ((r->host.rflags ^ r->guest.rflags) & flags)
		r->what = DIFF_FLAGS;
	else if (!xstate_is_open(t, r->host_end.vector) &&
		 !same_xstate(r->host.xsave, r->guest.xsave))
		r->what = DIFF_XSTATE;
	else if (!memory_is_open(t, r->host_end.vector) &&
		 memcmp(after, (void *)SOAK_DATA, sizeof(after)))
		r->what = DIFF_MEMORY;
}
