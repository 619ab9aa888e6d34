/* SPDX-License-Identifier: MIT */
/*
 * interpreter/value.h: integer operations on values, each the real instruction, and the macros
 * that make handlers of them: one for every operand size and form, so that a handler has no
 * decision left to make.
 */
#ifndef CPU_INTERPRETER_VALUE_H
#define CPU_INTERPRETER_VALUE_H

#include "cpu/access.h"
#include "cpu/interpreter/decode.h"
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

/* After the handler has stored through m.p and changed its state. */
static inline const struct op *rmw_done_slow(struct cpu *c, const struct op *o)
{
	return op_after_slow_store(c, o);
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

/* Operand forms. */
enum form { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, NR_FORMS, FORM_NONE = NR_FORMS };

/* The form of operands 0 and 1, and op's r0, r1, imm and memory fields filled in from them. */
enum form decode_form(struct decoder *d, struct op *op);
/* One operand, register or memory; true: memory. Register goes to r0. */
bool decode_rm(struct decoder *d, const ZydisDecodedOperand *o, struct op *op);

#endif
