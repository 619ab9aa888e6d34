/* SPDX-License-Identifier: MIT */
/*
 * native/x87.c: x87 instructions on the host's own unit. The stub loads the whole state with
 * FXRSTOR and saves it with FXSAVE, neither of which reports a pending exception; before, the
 * guest's status says whether a waiting instruction must report one; after, the host's unit is
 * empty. So the host never meets a deferred exception of the guest.
 */
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/native/forms.h"
#include "cpu/native/run.h"
#include "cpu/table/vendor.h"

/* op->aux: FOP, the low 11 bits of the opcode (SDM vol. 1, 8.1.9). */
#define FOP_MASK 0x7ff
#define FOP_REG	 0x738 /* of a memory form: all but the addressing */

/* op->r1 of what records no pointers: FLDCW; the others of its kind need no stub. */
#define CONTROL 1

#define FSW_BEFORE_STORE 0x1f /* IE, DE, ZE, OE, UE */

struct pointers {
	u64 fip, fdp;
	u16 fop;
};

static struct pointers get_pointers(struct cpu *c)
{
	struct pointers p;

	memcpy(&p.fip, c->fx + FX_FIP, 8);
	memcpy(&p.fdp, c->fx + FX_FDP, 8);
	p.fop = *native_fx16(c, FX_FOP);
	return p;
}

static void set_pointers(struct cpu *c, struct pointers p)
{
	memcpy(c->fx + FX_FIP, &p.fip, 8);
	memcpy(c->fx + FX_FDP, &p.fdp, 8);
	*native_fx16(c, FX_FOP) = p.fop;
}

/* What the host records of an instruction as opcode: its memory operand is [rsi]. */
static u16 host_fop(const struct op *o, bool mem)
{
	return mem ? (u16)((o->aux & FOP_REG) | RSI) : o->aux;
}

/*
 * Not the guest's own pointers are loaded for the stub, but values the host's unit cannot record
 * for it: no code and no operand lies at address 0, and the opcode is another one. So whether the
 * host recorded something shows without a look at what, and no value of the guest's can confirm a
 * host address by being equal to it.
 */
static void hide_pointers(struct cpu *c, const struct op *o, bool mem)
{
	set_pointers(c, (struct pointers){.fop = host_fop(o, mem) ^ FOP_MASK});
}

/*
 * Where the host recorded its own addresses, record the guest's; the others are as before. A host
 * that does not store what it recorded has done as processors do: all instructions but those of
 * control record where they stand, and their operand's address if they have one (SDM vol. 1,
 * 8.1.8; APM vol. 1, 6.2.6). Selectors are recorded as 0, as processors do that announce it in
 * CPUID.(7,0):EBX[13].
 */
static void show_pointers(struct cpu *c, const struct op *o, struct pointers old, bool mem)
{
	struct pointers now = get_pointers(c);
	u64 rip = op_rip(c, o), ea = op_offset(c, o);

	if (native_host.hides_pointers && o->r1 != CONTROL)
		now = (struct pointers){.fip = 1, .fdp = 1, .fop = host_fop(o, mem)};

	if (!cpu_long(c))
		rip = (u32)rip;
	if (o->flags & OP_ADDR16)
		ea = (u16)ea;
	else if (o->flags & OP_ADDR32)
		ea = (u32)ea;
	set_pointers(c, (struct pointers){
		.fip = now.fip ? rip : old.fip,
		.fdp = now.fdp && mem ? ea : old.fdp,
		.fop = now.fop == host_fop(o, mem) ? o->aux : old.fop,
	});
}

static void run_stub(struct cpu *c, const struct op *o, void *p, u64 la, bool mem, bool write)
{
	struct pointers old = get_pointers(c);
	u64 died;

	/* FXRSTOR loads MXCSR too: with what it is already. */
	memcpy(c->fx + FX_MXCSR, &c->live_mxcsr, 4);
	hide_pointers(c, o, mem);
	died = native_stub(o->imm)(c, p);
	asm volatile("fninit");
	if (unlikely(c->host_fcw != FCW_INIT))
		asm volatile("fldcw %0" : : "m"(c->host_fcw));
	if (unlikely(died)) {
		set_pointers(c, old);
		native_died(c, o, la, write);
	}
	show_pointers(c, o, old, mem);
}

static const struct op *run_reg(struct cpu *c, const struct op *o)
{
	native_check_mf(c, o);
	run_stub(c, o, NULL, 0, false, false);
	return o + 1;
}

static const struct op *run_load(struct cpu *c, const struct op *o)
{
	bool direct;
	u64 la;
	void *p;

	native_check_mf(c, o);
	la = op_ea(c, o, o->r0, false);
	p = access_ptr(c, la, o->r0, false, &direct);
	run_stub(c, o, p, la, true, false);
	access_ptr_done(c, direct);
	return o + 1;
}

/* An exception that is not masked ends a store before it looks at memory; but not #P, which
 * comes when the value is rounded and stored (SDM vol. 1, 8.5). */
static bool given_up(struct cpu *c)
{
	return *native_fx16(c, FX_FSW) & ~*native_fx16(c, FX_FCW) & FSW_BEFORE_STORE;
}

/*
 * The operand may fault, or the store may leave and be run again: so the value first, and the
 * new state only when it is stored.
 */
static COLD const struct op *store_slow(struct cpu *c, const struct op *o)
{
	u8 old[FX_ST + 128], new_[FX_ST + 128], value[16];

	memcpy(old, c->fx, sizeof(old));
	run_stub(c, o, value, 0, true, true);
	if (given_up(c) && !cpu_vendor_does(c, FACT_STORE_FIRST))
		return o + 1;
	if (given_up(c)) {
		memcpy(new_, c->fx, sizeof(new_));
		memcpy(c->fx, old, sizeof(old));
		access_probe(c, op_ea(c, o, o->r0, true), o->r0, true);
		memcpy(c->fx, new_, sizeof(new_));
		return o + 1;
	}
	memcpy(new_, c->fx, sizeof(new_));
	memcpy(c->fx, old, sizeof(old));
	access_write(c, op_ea(c, o, o->r0, true), value, o->r0);
	memcpy(c->fx, new_, sizeof(new_));
	return op_after_slow_store(c, o);
}

static const struct op *run_store(struct cpu *c, const struct op *o)
{
	u64 la;
	void *p;

	native_check_mf(c, o);
	if (unlikely(o->flags & OP_EA_SLOW))
		return store_slow(c, o);
	la = op_ea(c, o, o->r0, true);
	p = tlb_write(c->tlb, la, o->r0);
	if (unlikely(!p))
		return store_slow(c, o);
	run_stub(c, o, p, la, true, true);
	return o + 1;
}

bool native_decode_x87(struct decoder *d, struct op *op)
{
	const ZydisDecodedOperand *mem;
	struct native_insn n;

	if (!native_recode(d, &n) || n.unit != UNIT_X87)
		return false;
	op->fn = native_trap(d, UNIT_X87, false);
	if (op->fn)
		return true;
	if (!native_stub_assign(d->c, op, &n))
		return true;
	mem = native_memory(d, op);
	op->aux = (u16)((d->i.opcode & 7) << 8 | d->i.raw.modrm.mod << 6 | d->i.raw.modrm.reg << 3 |
			d->i.raw.modrm.rm);
	op->r1 = d->i.mnemonic == ZYDIS_MNEMONIC_FLDCW ? CONTROL : 0;
	if (!mem)
		op->fn = run_reg;
	else if (mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		op->fn = run_store;
	else
		op->fn = run_load;
	return true;
}
