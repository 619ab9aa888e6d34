/* SPDX-License-Identifier: MIT */
/*
 * interpreter/value.h: integer operations on values, each the real instruction, and the macros
 * that make handlers of them: one for every operand size and form, so that a handler has no
 * decision left to make.
 */
#ifndef CPU_INTERPRETER_VALUE_H
#define CPU_INTERPRETER_VALUE_H

#include "cpu/access.h"
#include "cpu/code/decode.h"
#include "cpu/interpreter/ea.h"
#include "cpu/interpreter/lock.h"

/* X(bits, suffix, operand modifier) for each operand size. */
#define EACH_SIZE(X)                                                                               \
	X(8, "b", "b")                                                                             \
	X(16, "w", "w")                                                                            \
	X(32, "l", "k")                                                                            \
	X(64, "q", "q")
#define EACH_WORD(X)                                                                               \
	X(16, "w", "w")                                                                            \
	X(32, "l", "k")                                                                            \
	X(64, "q", "q")

/* Status flags between AX (a u16 as in c->af) and the host. AL is 0 or 1: adding 127 overflows
 * when OF is to be set. */
#define FLAGS_IN  "addb $127, %%al\n\tsahf\n\t"
#define FLAGS_OUT "\n\tlahf\n\tseto %%al\n\t"
/* Only CF. */
#define CARRY_IN "btw $8, %%ax\n\t"

/*
 * name##bits(a, b, &af): an instruction on values. `before` gives it the flags that it takes or
 * leaves; `fc` is their constraint, "+&a", or "=&a" where all of them are new. `type` is a's.
 */
#define VALUE(name, insn, before, fc, type, bits, s, m)                                            \
	static inline type name##bits(type a, u##bits b, u16 *af)                                  \
	{                                                                                          \
		u16 f = *af;                                                                       \
		asm(before insn s " %" m "2, %" m "0" FLAGS_OUT                                    \
		    : "+r"(a), fc(f)                                                               \
		    : "r"(b)                                                                       \
		    : "cc");                                                                       \
		*af = f;                                                                           \
		return a;                                                                          \
	}

/* A memory operand that is read, computed with and written: permission to write comes first. */
struct rmw {
	void *p;
	u64 la;
	bool slow, direct;
};

static inline struct rmw rmw_at(struct cpu *c, u64 la, u32 size)
{
	struct rmw m = {.p = tlb_write(c->tlb, la, size), .la = la, .direct = true};

	m.slow = !m.p;
	if (unlikely(m.slow))
		m.p = access_ptr(c, la, size, true, &m.direct);
	return m;
}

#define RMW_ACCESS(bits)                                                                           \
	static inline u##bits rmw_load##bits(struct cpu *c, const struct rmw *m)                   \
	{                                                                                          \
		u##bits v;                                                                         \
		if (unlikely(!guard_load##bits(m->p, &v)))                                         \
			access_died(c, m->la, true);                                               \
		return v;                                                                          \
	}                                                                                          \
	static inline void rmw_store##bits(struct cpu *c, const struct rmw *m, u##bits v)          \
	{                                                                                          \
		if (unlikely(!guard_store##bits(m->p, v)))                                         \
			access_died(c, m->la, true);                                               \
		if (unlikely(!m->direct))                                                          \
			access_ptr_done(c, false);                                                 \
	}                                                                                          \
	/* A plain store that ends its handler. */                                                 \
	static inline bool store##bits(struct cpu *c, u64 la, u##bits v)                           \
	{                                                                                          \
		void *p = tlb_write(c->tlb, la, bits / 8);                                         \
		if (unlikely(!p)) {                                                                \
			access_store_slow(c, la, bits / 8, v);                                     \
			return false;                                                              \
		}                                                                                  \
		if (unlikely(!guard_store##bits(p, v)))                                            \
			access_died(c, la, true);                                                  \
		return true;                                                                       \
	}
RMW_ACCESS(8)
RMW_ACCESS(16)
RMW_ACCESS(32)
RMW_ACCESS(64)
#undef RMW_ACCESS

/* End of a handler whose last store was `fast` (storeN()) or not. */
#define OP_NEXT_STORED(c, o, fast)                                                                 \
	do {                                                                                       \
		if (unlikely(!(fast)))                                                             \
			return op_after_slow_store(c, o);                                          \
		OP_NEXT(c, o);                                                                     \
	} while (0)

#define HANDLER(name) const struct op *name(struct cpu *c, const struct op *o)

/*
 * A handler of one access in two: the first does what needs no more than a TLB entry, and has no
 * stack frame for want of calls; whatever else there is, the second does from the start. `in` is
 * the operand's value, `out` what is stored; the statements in ... use and change state.
 */
#define FAST_ADDRESS(c, o, bits, find, slow)                                                       \
	u64 la = op_offset(c, o) & (c)->ea_mask;                                                   \
	void *p;                                                                                   \
	if (unlikely((o)->flags & OP_EA_SLOW))                                                     \
		return slow(c, o);                                                                 \
	p = (void *)find((c)->tlb, la, (bits) / 8);                                                     \
	if (unlikely(!p))                                                                          \
		return slow(c, o);                                                                 \
	(c)->op = (o)
#define LOAD_HANDLER(name, bits, ...)                                                              \
	static COLD HANDLER(name##_slow)                                                           \
	{                                                                                          \
		u##bits in = ld##bits(c, op_ea(c, o, bits / 8, false));                            \
		__VA_ARGS__;                                                                       \
		OP_NEXT(c, o);                                                                     \
	}                                                                                          \
	static HANDLER(name)                                                                       \
	{                                                                                          \
		u##bits in;                                                                        \
		FAST_ADDRESS(c, o, bits, tlb_read, name##_slow);                                   \
		if (unlikely(!guard_load##bits(p, &in)))                                           \
			access_died(c, la, false);                                                 \
		__VA_ARGS__;                                                                       \
		OP_NEXT(c, o);                                                                     \
	}
#define STORE_HANDLER(name, bits, out)                                                             \
	static COLD HANDLER(name##_slow)                                                           \
	{                                                                                          \
		u64 la = op_ea(c, o, bits / 8, true);                                              \
		OP_NEXT_STORED(c, o, store##bits(c, la, out));                                     \
	}                                                                                          \
	static HANDLER(name)                                                                       \
	{                                                                                          \
		FAST_ADDRESS(c, o, bits, tlb_write, name##_slow);                                  \
		if (unlikely(!guard_store##bits(p, out)))                                          \
			access_died(c, la, true);                                                  \
		OP_NEXT(c, o);                                                                     \
	}
/* `out` is computed from `in` and the flags `af`, which it may change. */
#define RMW_HANDLER(name, bits, out)                                                               \
	static COLD HANDLER(name##_slow)                                                           \
	{                                                                                          \
		struct rmw w = rmw_at(c, op_ea(c, o, bits / 8, true), bits / 8);                   \
		u16 af = c->af;                                                                    \
		u##bits in = rmw_load##bits(c, &w), v = out;                                       \
		rmw_store##bits(c, &w, v);                                                         \
		c->af = af;                                                                        \
		OP_NEXT_STORED(c, o, !w.slow);                                                     \
	}                                                                                          \
	static HANDLER(name)                                                                       \
	{                                                                                          \
		u16 af = c->af;                                                                    \
		u##bits in, v;                                                                     \
		FAST_ADDRESS(c, o, bits, tlb_write, name##_slow);                                  \
		if (unlikely(!guard_load##bits(p, &in)))                                           \
			access_died(c, la, true);                                                  \
		v = out;                                                                           \
		if (unlikely(!guard_store##bits(p, v)))                                            \
			access_died(c, la, true);                                                  \
		c->af = af;                                                                        \
		OP_NEXT(c, o);                                                                     \
	}

/*
 * A locked form, on the one host pointer `p` to `address`; else `plain` with the world stopped.
 * `text` is the instruction, its inputs follow.
 */
#define LOCK_HANDLER(name, plain, bits, address, before, fc, text, ...)                            \
	static HANDLER(name)                                                                       \
	{                                                                                          \
		u64 la = address;                                                                  \
		void *p = lock_ptr(c, la, bits / 8);                                               \
		u16 f = c->af;                                                                     \
		if (unlikely(!p))                                                                  \
			return lock_stopped(c, o, plain);                                          \
		asm volatile goto(before "1: lock " text FLAGS_OUT GUARD_ENTRY(1b, %l[fault])      \
				  : fc(f)                                                          \
				  : __VA_ARGS__                                                    \
				  : "memory", "cc"                                                 \
				  : fault);                                                        \
		asm("");                                                                           \
		c->af = f;                                                                         \
		OP_NEXT(c, o);                                                                     \
fault:                                                                                             \
		access_died(c, la, true);                                                          \
	}

/* Rows of handlers, by decode_size(). */
#define SIZES(f) {f##8, f##16, f##32, f##64}
#define WORDS(f) {NULL, f##16, f##32, f##64}

/* Operand forms. */
enum form { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, NR_FORMS, FORM_NONE = NR_FORMS };

/* The form of operands 0 and 1, and op's r0, r1, imm and memory fields filled in from them. */
enum form decode_form(struct decoder *d, struct op *op);
/* One operand, register or memory; true: memory. Register goes to r0. */
bool decode_rm(struct decoder *d, const ZydisDecodedOperand *o, struct op *op);

#endif
