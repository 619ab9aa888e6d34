/* SPDX-License-Identifier: MIT */
/*
 * translator/system.c: what kernels execute all the time besides computing: CLI, STI, SWAPGS, RDTSC and
 * their like.
 *
 * Their handlers (system/ops_*.c) say what is right. Here is what they do where nothing is out of the way:
 * at CPL 0, with a TSC at the host's rate; all else is left to them. Where a bit is asked for, PEXT
 * takes it out, and LEA sets it or clears it, so that the guest's status flags stay in the host's.
 */
#include "cpu/translator/internal.h"

#define IF_BIT	 9
#define DF_BIT	 10
#define AC_BIT	 18
#define TSD_BIT	 2
#define SMAP_BIT 21

static u32 one(void)
{
	return FIELD(align_mask[1]); /* a mask of bit 0 */
}

/* To the op's handler unless RCX is zero. */
static void unless_zero_to_handler(struct xlate *x)
{
	u8 *zero = emit_jrcxz(&x->e);

	tr_stub(x, emit_jump(&x->e), tr_what(x, TR_ONE, x->nop), THEN_BEHIND);
	emit_land8(&x->e, zero);
}

/* The key tells CPL 3 from the others only. */
static void need_cpl0(struct xlate *x)
{
	emit_load8(&x->e, RCX, FIELD(cpl));
	unless_zero_to_handler(x);
}

/* RCX: the bit of what register `from` has. */
static void take_bit(struct xlate *x, int from, u8 bit)
{
	emit_rotate(&x->e, RCX, from, bit);
	emit_pext(&x->e, RCX, RCX, one());
}

static void take_bit_of_field(struct xlate *x, u32 field, u8 bit)
{
	emit_load(&x->e, RCX, field);
	take_bit(x, RCX, bit);
}

/* R14 has c->flags, and goes back there with this much more. */
static void store_flags(struct xlate *x, s32 more)
{
	emit_lea(&x->e, R14, R14, NO_INDEX, 0, more, true);
	emit_store(&x->e, FIELD(flags), R14);
}

static void clear_flag(struct xlate *x, u8 bit)
{
	u8 *clear;

	emit_load(&x->e, R14, FIELD(flags));
	take_bit(x, R14, bit);
	clear = emit_jrcxz(&x->e);
	store_flags(x, -(1 << bit));
	emit_land8(&x->e, clear);
}

/* The instruction behind it, on which the block ends, is in its shadow. */
static void sti(struct xlate *x)
{
	struct emitter *e = &x->e;
	u8 *clear, *done;

	emit_load(e, R14, FIELD(flags));
	take_bit(x, R14, IF_BIT);
	clear = emit_jrcxz(e);
	done = emit_jump(e);
	emit_land8(e, clear);
	store_flags(x, 1 << IF_BIT);
	emit_store8_imm(e, FIELD(shadow), SHADOW_STI);
	emit_land(e, done);
}

static void swapgs(struct xlate *x)
{
	u32 base = FIELD(seg[SEG_GS].base);

	emit_load(&x->e, R14, base);
	emit_load(&x->e, RCX, FIELD(kernel_gs_base));
	emit_store(&x->e, FIELD(kernel_gs_base), R14);
	emit_store(&x->e, base, RCX);
}

void tr_emit_tsc(struct emitter *e)
{
	/* LFENCE, RDTSC: as base/clock.h reads it, and for its reasons. */
	emit_bytes(e, "\x0f\xae\xe8\x0f\x31", 5);
	emit_rotate(e, RCX, RDX, 32);
	emit_load(e, R14, FIELD(tsc_offset));
	emit_lea(e, RCX, RCX, RAX, 0, 0, true);
	emit_lea(e, RCX, RCX, R14, 0, 0, true);
	emit_move32(e, RAX, RCX);
	emit_rotate(e, RDX, RCX, 32);
	emit_move32(e, RDX, RDX);
}

static void rdtsc(struct xlate *x, bool p)
{

	take_bit_of_field(x, FIELD(cr4), TSD_BIT);
	unless_zero_to_handler(x);
	emit_load(&x->e, RCX, FIELD(tsc_ratio));
	unless_zero_to_handler(x);
	tr_emit_tsc(&x->e);
	if (p)
		emit_load32(&x->e, tr_host[RCX], FIELD(tsc_aux));
}

static void from_cr(struct xlate *x, const struct insn *in)
{
	static const u32 field[] = {[0] = FIELD(cr0), [2] = FIELD(cr2), [3] = FIELD(cr3), [4] = FIELD(cr4)};
	int to = tr_host[in->rm] == IN_MEMORY ? R14 : tr_host[in->rm];

	emit_load(&x->e, to, field[in->reg]);
	tr_put(x, in->rm, to);
}

/* -- STAC and CLAC: another TLB, and so another key */

/* To the handler, and what it finds at the block's end, unless RCX is zero or, with `zero`, if it is. */
static void leave_by_rcx(struct xlate *x, bool zero)
{
	u8 *is_zero = emit_jrcxz(&x->e), *over = zero ? emit_jump(&x->e) : NULL;

	if (zero)
		emit_land8(&x->e, is_zero);
	tr_stub(x, emit_jump(&x->e), tr_what(x, TR_RUN, x->nop), THEN_NOTHING);
	if (zero)
		emit_land(&x->e, over);
	else
		emit_land8(&x->e, is_zero);
}

/*
 * In the mode TLB_KERNEL SMAP is in force and AC is clear. TLB_KERNEL_AC means that AC is set or SMAP is
 * not in force; CLAC has to ask.
 */
static void change_ac(struct xlate *x, bool on)
{
	struct emitter *e = &x->e;
	u32 mode = on ? TLB_KERNEL_AC : TLB_KERNEL;
	u32 tlb = (u32)(FIELD(mmu.tlb) + mode * sizeof(struct tlb));
	u32 key = (x->b->key & ~(u32)BLOCK_KEY_TLB) | mode << BLOCK_KEY_TLB_SHIFT;

	emit_load8(e, RCX, FIELD(cpl));
	leave_by_rcx(x, false);
	if (!on) {
		take_bit_of_field(x, FIELD(cr4), SMAP_BIT);
		leave_by_rcx(x, true);
	}
	emit_load(e, R14, FIELD(flags));
	store_flags(x, on ? 1 << AC_BIT : -(1 << AC_BIT));
	emit_lea(e, R14, RSP, NO_INDEX, 0, (s32)tlb - GEN_SP, true);
	emit_store(e, FIELD(tlb), R14);
	emit_store8_imm(e, FIELD(tlb_mode), (u8)mode);
	emit_store32_imm(e, FIELD(key), key);
	tr_edge_to_key(x, key);
}

/* False: the handler's, where it cannot be known what AC is. */
static bool set_ac(struct xlate *x, bool on)
{
	u32 mode = block_key_tlb(x->b->key);

	if (x->b->page2 || mode == TLB_USER)
		return false;
	if (mode == (on ? TLB_KERNEL : TLB_KERNEL_AC)) {
		change_ac(x, on);
		return true;
	}
	if (!on)
		need_cpl0(x); /* AC is clear */
	return !on;
}

/* CLAC where AC is clear changes nothing that the next block depends on. */
bool tr_system_falls(const struct xlate *x, const struct insn *in)
{
	return in->kind == INSN_SYSTEM && in->sys == SYS_CLAC && block_key_tlb(x->b->key) == TLB_KERNEL;
}

/* Does it change what a comparison with the interpreter does not put back, or the time? */
static bool is_pure(const struct insn *in)
{
	return in->sys == SYS_FROM_CR;
}

bool tr_system(struct xlate *x, const struct insn *in)
{
	bool user = x->b->key & BLOCK_KEY_CPL3;

	if (in->kind != INSN_SYSTEM || (x->check && !is_pure(in)))
		return false;
	switch ((enum insn_system)in->sys) {
	case SYS_CLD:
		clear_flag(x, DF_BIT);
		return true;
	case SYS_RDTSC:
	case SYS_RDTSCP:
		rdtsc(x, in->sys == SYS_RDTSCP);
		return true;
	case SYS_STAC:
	case SYS_CLAC:
		return set_ac(x, in->sys == SYS_STAC);
	default:
		break;
	}
	if (user || x->b->page2)
		return false;
	need_cpl0(x);
	switch ((enum insn_system)in->sys) {
	case SYS_CLI:
		clear_flag(x, IF_BIT);
		return true;
	case SYS_STI:
		sti(x);
		return true;
	case SYS_SWAPGS:
		swapgs(x);
		return true;
	default:
		from_cr(x, in);
		return true;
	}
}
