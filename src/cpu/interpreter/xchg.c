/* SPDX-License-Identifier: MIT */
/*
 * XCHG, XADD, CMPXCHG, CMPXCHG8B and CMPXCHG16B. XCHG with memory is locked with or without the
 * prefix (SDM vol. 3, 8.1.2.1).
 */
#include "cpu/interpreter/value.h"

#include "cpu/fault.h"
#include "cpu/interpreter/families.h"

#define XCHG(bits, s, m)                                                                           \
	static HANDLER(xchg_rr##bits)                                                              \
	{                                                                                          \
		u##bits a = R##bits(c, o->r0), b = R##bits(c, o->r1);                              \
		set_r##bits(c, o->r0, b);                                                          \
		set_r##bits(c, o->r1, a);                                                          \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(xchg_mr##bits)                                                              \
	{                                                                                          \
		struct rmw w = rmw_at(c, op_ea(c, o, bits / 8, true), bits / 8);                   \
		u##bits v = rmw_load##bits(c, &w);                                                 \
		rmw_store##bits(c, &w, R##bits(c, o->r1));                                         \
		set_r##bits(c, o->r1, v);                                                          \
		OP_NEXT_STORED(c, o, !w.slow);                                                     \
	}                                                                                          \
	static HANDLER(xchg_lock_mr##bits)                                                         \
	{                                                                                          \
		u64 la = op_ea(c, o, bits / 8, true);                                              \
		void *p = lock_ptr(c, la, bits / 8);                                               \
		u##bits v = R##bits(c, o->r1);                                                     \
		if (unlikely(!p))                                                                  \
			return lock_stopped(c, o, xchg_mr##bits);                                  \
		asm volatile goto("1: xchg" s " %" m "0, (%1)\n" GUARD_ENTRY(1b, %l[fault])        \
				  : "+r"(v)                                                        \
				  : "r"(p)                                                         \
				  : "memory"                                                       \
				  : fault);                                                        \
		asm("");                                                                           \
		set_r##bits(c, o->r1, v);                                                          \
		OP_NEXT(c, o);                                                                     \
fault:                                                                                             \
		access_died(c, la, true);                                                          \
	}
EACH_SIZE(XCHG)

#define XADD(bits, s, m)                                                                           \
	static inline u##bits xadd##bits(u##bits a, u##bits *b, u16 *af)                           \
	{                                                                                          \
		u16 f;                                                                             \
		asm("xadd" s " %" m "1, %" m "0" FLAGS_OUT                                         \
		    : "+r"(a), "+r"(*b), "=&a"(f)                                                  \
		    :                                                                              \
		    : "cc");                                                                       \
		*af = f;                                                                           \
		return a;                                                                          \
	}                                                                                          \
	static HANDLER(xadd_rr##bits)                                                              \
	{                                                                                          \
		u##bits b = R##bits(c, o->r1), a = xadd##bits(R##bits(c, o->r0), &b, &c->af);      \
		set_r##bits(c, o->r1, b);                                                          \
		set_r##bits(c, o->r0, a); /* last: it wins when both are one register */           \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(xadd_mr##bits)                                                              \
	{                                                                                          \
		struct rmw w = rmw_at(c, op_ea(c, o, bits / 8, true), bits / 8);                   \
		u##bits b = R##bits(c, o->r1);                                                     \
		u16 af;                                                                            \
		u##bits v = xadd##bits(rmw_load##bits(c, &w), &b, &af);                            \
		rmw_store##bits(c, &w, v);                                                         \
		set_r##bits(c, o->r1, b);                                                          \
		c->af = af;                                                                        \
		OP_NEXT_STORED(c, o, !w.slow);                                                     \
	}                                                                                          \
	static HANDLER(xadd_lock_mr##bits)                                                         \
	{                                                                                          \
		u64 la = op_ea(c, o, bits / 8, true);                                              \
		void *p = lock_ptr(c, la, bits / 8);                                               \
		u##bits b = R##bits(c, o->r1);                                                     \
		u16 f;                                                                             \
		if (unlikely(!p))                                                                  \
			return lock_stopped(c, o, xadd_mr##bits);                                  \
		asm volatile goto("1: lock xadd" s " %" m "0, (%2)" FLAGS_OUT                      \
				  GUARD_ENTRY(1b, %l[fault])                                       \
				  : "+&r"(b), "=&a"(f)                                             \
				  : "r"(p)                                                         \
				  : "memory", "cc"                                                 \
				  : fault);                                                        \
		asm("");                                                                           \
		set_r##bits(c, o->r1, b);                                                          \
		c->af = f;                                                                         \
		OP_NEXT(c, o);                                                                     \
fault:                                                                                             \
		access_died(c, la, true);                                                          \
	}
EACH_SIZE(XADD)

/* The accumulator is only written when the comparison fails (so EAX's upper half then). */
#define CMPXCHG(bits, s, m)                                                                        \
	static inline u16 cmpxchg_flags##bits(u##bits a, u##bits b)                                \
	{                                                                                          \
		u16 f;                                                                             \
		asm("cmp" s " %" m "2, %" m "1" FLAGS_OUT : "=&a"(f) : "r"(a), "r"(b) : "cc");     \
		return f;                                                                          \
	}                                                                                          \
	static HANDLER(cmpxchg_rr##bits)                                                           \
	{                                                                                          \
		u##bits acc = R##bits(c, REG_OFF(RAX)), old = R##bits(c, o->r0);                   \
		u##bits new_ = R##bits(c, o->r1);                                                  \
		c->af = cmpxchg_flags##bits(acc, old);                                             \
		if (acc == old)                                                                    \
			set_r##bits(c, o->r0, new_);                                               \
		else                                                                               \
			set_r##bits(c, REG_OFF(RAX), old);                                         \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(cmpxchg_mr##bits)                                                           \
	{                                                                                          \
		struct rmw w = rmw_at(c, op_ea(c, o, bits / 8, true), bits / 8);                   \
		u##bits acc = R##bits(c, REG_OFF(RAX)), old = rmw_load##bits(c, &w);               \
		/* It is written either way (SDM vol. 2, CMPXCHG). */                              \
		rmw_store##bits(c, &w, acc == old ? R##bits(c, o->r1) : old);                      \
		c->af = cmpxchg_flags##bits(acc, old);                                             \
		if (acc != old)                                                                    \
			set_r##bits(c, REG_OFF(RAX), old);                                         \
		OP_NEXT_STORED(c, o, !w.slow);                                                     \
	}                                                                                          \
	static HANDLER(cmpxchg_lock_mr##bits)                                                      \
	{                                                                                          \
		u64 la = op_ea(c, o, bits / 8, true);                                              \
		void *p = lock_ptr(c, la, bits / 8);                                               \
		u##bits acc = R##bits(c, REG_OFF(RAX)), old = acc;                                 \
		if (unlikely(!p))                                                                  \
			return lock_stopped(c, o, cmpxchg_mr##bits);                               \
		asm volatile goto("1: lock cmpxchg" s " %" m "1, (%2)\n"                           \
				  GUARD_ENTRY(1b, %l[fault])                                       \
				  : "+&a"(old)                                                     \
				  : "r"(R##bits(c, o->r1)), "r"(p)                                 \
				  : "memory", "cc"                                                 \
				  : fault);                                                        \
		asm("");                                                                           \
		c->af = cmpxchg_flags##bits(acc, old);                                             \
		if (acc != old)                                                                    \
			set_r##bits(c, REG_OFF(RAX), old);                                         \
		OP_NEXT(c, o);                                                                     \
fault:                                                                                             \
		access_died(c, la, true);                                                          \
	}
EACH_SIZE(CMPXCHG)

static bool decode_pair(struct decoder *d, struct op *op, op_fn *const fn[3][4], bool always_locked)
{
	enum form f = decode_form(d, op);
	unsigned size = decode_size(&d->o[0]);

	if (f == FORM_RM) { /* XCHG is symmetrical */
		op->r1 = op->r0;
		f = FORM_MR;
	}
	if (f == FORM_RR && !(op->flags & OP_LOCK))
		op->fn = fn[0][size];
	else if (f == FORM_MR)
		op->fn = fn[always_locked || (op->flags & OP_LOCK) ? 2 : 1][size];
	else
		return false;
	return true;
}

bool decode_xchg(struct decoder *d, struct op *op)
{
	static op_fn *const fn[3][4] = {SIZES(xchg_rr), SIZES(xchg_mr), SIZES(xchg_lock_mr)};

	return decode_pair(d, op, fn, true);
}

/* 90 with REX.B, whatever the decoder makes of its prefixes. */
bool decode_xchg_r8(struct decoder *d, struct op *op)
{
	static op_fn *const fn[] = WORDS(xchg_rr);
	unsigned size = d->i.raw.rex.W ? 3 : d->i.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE ? 1 : 2;

	op->r0 = REG_OFF(RAX);
	op->r1 = REG_OFF(R8);
	op->fn = fn[size];
	return true;
}

bool decode_xadd(struct decoder *d, struct op *op)
{
	static op_fn *const fn[3][4] = {SIZES(xadd_rr), SIZES(xadd_mr), SIZES(xadd_lock_mr)};

	return decode_pair(d, op, fn, false);
}

bool decode_cmpxchg(struct decoder *d, struct op *op)
{
	static op_fn *const fn[3][4] = {SIZES(cmpxchg_rr), SIZES(cmpxchg_mr),
					SIZES(cmpxchg_lock_mr)};

	return decode_pair(d, op, fn, false);
}

static void set_zf(struct cpu *c, bool zf)
{
	c->af = (u16)((c->af & ~AF_ZF) | (zf ? AF_ZF : 0));
}

static HANDLER(cmpxchg8b)
{
	struct rmw w = rmw_at(c, op_ea(c, o, 8, true), 8);
	u64 acc = (u64)R32(c, REG_OFF(RDX)) << 32 | R32(c, REG_OFF(RAX));
	u64 new_ = (u64)R32(c, REG_OFF(RCX)) << 32 | R32(c, REG_OFF(RBX));
	u64 old = rmw_load64(c, &w);

	rmw_store64(c, &w, old == acc ? new_ : old);
	set_zf(c, old == acc);
	if (old != acc) {
		set_r32(c, REG_OFF(RAX), (u32)old);
		set_r32(c, REG_OFF(RDX), (u32)(old >> 32));
	}
	OP_NEXT_STORED(c, o, !w.slow);
}

static HANDLER(cmpxchg8b_lock)
{
	u64 la = op_ea(c, o, 8, true);
	u64 *p = lock_ptr(c, la, 8);
	u64 old = (u64)R32(c, REG_OFF(RDX)) << 32 | R32(c, REG_OFF(RAX));
	u64 new_ = (u64)R32(c, REG_OFF(RCX)) << 32 | R32(c, REG_OFF(RBX));
	bool done;

	if (unlikely(!p))
		return lock_stopped(c, o, cmpxchg8b);
	if (unlikely(!guard_cmpxchg64(p, &old, new_, &done)))
		access_died(c, la, true);
	set_zf(c, done);
	if (!done) {
		set_r32(c, REG_OFF(RAX), (u32)old);
		set_r32(c, REG_OFF(RDX), (u32)(old >> 32));
	}
	OP_NEXT(c, o);
}

/*
 * Sixteen bytes, aligned or #GP(0), so they never cross a line. Only a page of cached code or a
 * device has no pointer; an unlocked form serves the first.
 */
static HANDLER(cmpxchg16b_plain)
{
	u64 la = op_ea(c, o, 16, true), old[2], v[2];
	bool same;

	access_probe(c, la, 16, true);
	access_read(c, la, old, 16);
	same = old[0] == c->reg[RAX] && old[1] == c->reg[RDX];
	v[0] = same ? c->reg[RBX] : old[0];
	v[1] = same ? c->reg[RCX] : old[1];
	access_write(c, la, v, 16);
	set_zf(c, same);
	c->reg[RAX] = old[0];
	c->reg[RDX] = old[1];
	return op_after_slow_store(c, o);
}

static HANDLER(cmpxchg16b)
{
	u64 la = op_ea(c, o, 16, true), lo = c->reg[RAX], hi = c->reg[RDX];
	u8 same;
	void *p;

	if (la & 15)
		cpu_raise_error(c, VEC_GP, 0);
	p = lock_ptr(c, la, 16);
	if (unlikely(!p))
		return lock_stopped(c, o, cmpxchg16b_plain);
	asm volatile goto("1: lock cmpxchg16b (%5)\n\tsete %2\n" GUARD_ENTRY(1b, %l[fault])
			  : "+&a"(lo), "+&d"(hi), "=&r"(same)
			  : "b"(c->reg[RBX]), "c"(c->reg[RCX]), "r"(p)
			  : "memory", "cc"
			  : fault);
	asm("");
	set_zf(c, same);
	c->reg[RAX] = lo;
	c->reg[RDX] = hi;
	OP_NEXT(c, o);
fault:
	access_died(c, la, true);
}

bool decode_cmpxchg_wide(struct decoder *d, struct op *op)
{
	if (d->o[0].type != ZYDIS_OPERAND_TYPE_MEMORY)
		return false;
	decode_mem(d, &d->o[0], op);
	if (d->i.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B)
		op->fn = cmpxchg16b;
	else
		op->fn = op->flags & OP_LOCK ? cmpxchg8b_lock : cmpxchg8b;
	return true;
}
