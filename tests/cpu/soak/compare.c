/* SPDX-License-Identifier: MIT */
/*
 * soak/compare.c: both sides of a case: how they ended, and every register, flag and byte. What
 * may differ stands in excuse.c; each excuse that was needed is counted.
 */
#include "cpu/native/xstate.h"
#include "cpu/table/vendor.h"
#include "soak.h"

/* The legacy region: x87 control and status, pointers, MXCSR, registers. */
#define AT_FSW	    2
#define AT_POINTERS 6 /* FOP, FIP, FDP */
#define AT_FDP	    16
#define AT_MXCSR    24
#define AT_MASK	    28
#define AT_ST	    32
#define FSW_ES	    0x80

/* All but the pointers, which the host may not have stored. */
static bool same_xstate(const u8 *a, const u8 *b)
{
	if (memcmp(a, b, AT_POINTERS) || memcmp(a + AT_MXCSR, b + AT_MXCSR, AT_MASK - AT_MXCSR) ||
	    memcmp(a + AT_ST, b + AT_ST, 384))
		return false;
	for (enum xcomp x = XC_AVX; x < NR_XCOMP; x++) {
		if ((host_xmask & XMASK(x)) &&
		    memcmp(a + xcomp_offset(x), b + xcomp_offset(x), xcomp_size(x)))
			return false;
	}
	return true;
}

static bool same_pointers(const u8 *a, const u8 *b)
{
	return !memcmp(a + AT_POINTERS, b + AT_POINTERS, AT_MXCSR - AT_POINTERS);
}

/* FIP and FDP of 48 bits, of which XRSTOR and FXRSTOR have made canonical ones. */
static bool same_but_canonical(const struct soak_case *t, const u8 *a, const u8 *b)
{
	const char *name = ZydisMnemonicGetString(t->i.mnemonic);

	return strstr(name, "xrstor") && !memcmp(a + AT_POINTERS, b + AT_POINTERS, 2 + 6) &&
	       !memcmp(a + AT_FDP, b + AT_FDP, 6);
}

static bool stores_pointers(const u8 *host)
{
	u16 fsw;

	memcpy(&fsw, host + AT_FSW, 2);
	return !vendor_does(vendor_of_host(), FACT_FP_POINTERS) || (fsw & FSW_ES);
}

static bool same_selectors(const u16 *h, const u16 *g, bool null_is_null)
{
	for (unsigned i = 0; i < 6; i++) {
		if (h[i] != g[i] && !(null_is_null && h[i] < 4 && g[i] < 4))
			return false;
	}
	return true;
}

/* A difference, if nothing excuses it. */
static void found(struct soak_result *r, int what, enum excuse excuse)
{
	if (excuse)
		r->excused |= 1u << excuse;
	else if (r->what == DIFF_NONE)
		r->what = what;
}

static bool same_registers(const struct soak_state *h, const struct soak_state *g, u64 mask)
{
	for (unsigned i = 0; i < ARRAY_SIZE(h->reg); i++) {
		if ((h->reg[i] ^ g->reg[i]) & mask)
			return false;
	}
	return true;
}

static void compare_registers(const struct soak_case *t, struct soak_result *r)
{
	const struct soak_state *h = &r->host, *g = &r->guest;

	if (!same_registers(h, g, t->mode == SOAK_64 ? ~0ULL : 0xffffffff))
		found(r, DIFF_REG, EXCUSE_NONE);
	else if (!same_registers(h, g, ~0ULL))
		found(r, DIFF_REG, EXCUSE_UPPER);
	if (h->rip != g->rip)
		found(r, DIFF_REG, excuse_rip(t, r));
	if (t->mode == SOAK_64 && (h->fs_base != g->fs_base || h->gs_base != g->gs_base))
		found(r, DIFF_REG, EXCUSE_NONE);
	if (!same_selectors(h->sel, g->sel, false))
		found(r, DIFF_REG, same_selectors(h->sel, g->sel, true) ? EXCUSE_NULL : 0);
}

static bool has_error_code(int vector)
{
	return vector == VEC_PF || (vector >= VEC_TS && vector <= VEC_GP);
}

static void compare_ends(const struct soak_case *t, const struct soak_end *h,
			 const struct soak_end *g, struct soak_result *r)
{
	if (h->vector == VEC_PF && (h->error != g->error || h->cr2 != g->cr2))
		found(r, DIFF_VECTOR, excuse_page_fault(t, h, g));
	else if (has_error_code(h->vector) && h->error != g->error)
		found(r, DIFF_VECTOR, EXCUSE_NONE);
}

static void compare_states(const struct soak_case *t, struct soak_result *r)
{
	const struct soak_state *h = &r->host, *g = &r->guest;
	u64 flags = (h->rflags ^ g->rflags) &
		    (FL_STATUS | FL_TF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_AC | FL_ID);

	compare_registers(t, r);
	if (flags)
		found(r, DIFF_FLAGS, flags & ~excuse_undefined_flags(t) ? 0 : EXCUSE_FLAGS);
	if (!same_xstate(h->xsave, g->xsave))
		found(r, DIFF_XSTATE, EXCUSE_NONE);
	if (!same_pointers(h->xsave, g->xsave))
		found(r, DIFF_XSTATE,
		      !stores_pointers(h->xsave)			   ? EXCUSE_POINTERS
		      : same_but_canonical(t, h->xsave, g->xsave) ? EXCUSE_CANON
									   : EXCUSE_NONE);
}

static void compare_memory(const struct soak_case *t, const u8 *host, struct soak_result *r)
{
	static u8 guest[SOAK_DATA_SIZE];
	u64 h = 0, g = 0;
	u32 at = 0;

	memcpy(guest, (void *)SOAK_DATA, sizeof(guest));
	if (memcmp(host, guest, sizeof(guest)) && in_use_take(t, host, guest))
		found(r, DIFF_MEMORY, EXCUSE_IN_USE);
	for (; at < SOAK_DATA_SIZE && h == g; at += 8) {
		memcpy(&h, host + at, 8);
		memcpy(&g, guest + at, 8);
	}
	if (h == g)
		return;
	r->mem_at = at - 8;
	r->mem_host = h;
	r->mem_guest = g;
	found(r, DIFF_MEMORY,
	      r->host_end.vector != VEC_BP && excuse_stores_in_parts(t) ? EXCUSE_PARTS : EXCUSE_NONE);
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
	/* A kernel may not have that gate: it goes on behind the call. */
	if (forms_calls_kernel(t))
		r->host_end.vector = HOST_CALLED;
	vector = r->host_end.vector;
	if (vector == HOST_STUCK || vector == HOST_CALLED)
		return;
	memcpy(after, (void *)SOAK_DATA, sizeof(after));
	place(t);
	r->guest_end = guest_run(&r->guest, t->mode);
	if (excuse_reserved(t, r)) { /* the host went on */
		found(r, DIFF_VECTOR, EXCUSE_RESERVED);
		return;
	}
	if (vector != r->guest_end.vector) {
		found(r, DIFF_VECTOR, excuse_vector(t, r));
		return;
	}
	compare_ends(t, &r->host_end, &r->guest_end, r);
	compare_states(t, r);
	compare_memory(t, after, r);
}

bool soak_vendor_differs(const struct soak_case *t, const struct soak_result *r, enum vendor v)
{
	static u8 after[SOAK_DATA_SIZE];
	struct soak_state s = t->s;
	struct soak_end end;

	memcpy(after, (void *)SOAK_DATA, sizeof(after));
	place(t);
	if (guest_set_vendor(v))
		return false;
	end = guest_run(&s, t->mode);
	guest_set_vendor(vendor_of_host());
	return memcmp(&s, &r->guest, sizeof(s)) || end.vector != r->guest_end.vector ||
	       (end.vector == VEC_PF && end.cr2 != r->guest_end.cr2) ||
	       memcmp(after, (void *)SOAK_DATA, sizeof(after));
}
