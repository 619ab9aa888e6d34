/* SPDX-License-Identifier: MIT */
/*
 * translator/translate.h: a block being translated, as the files that emit parts of it share it.
 *
 * An op becomes code that changes no state before its last access to memory. Where it cannot go on
 * (no TLB entry, a host fault), the interpreter's handler for the op begins anew and generated code
 * goes on behind it; where it is of a kind that is not known here, it is the handler's from the
 * start. Status flags are the host's throughout: glue between the guest's instructions uses none
 * that change them.
 */
#ifndef CPU_TRANSLATOR_TRANSLATE_H
#define CPU_TRANSLATOR_TRANSLATE_H

#include "cpu/code/flow.h"
#include "cpu/translator/emit.h"
#include "cpu/translator/insn.h"

/* What generated code tells tr_helper() (enter.c): a kind, a block by its place in the arena in
 * lines of 64 bytes, and an op of it by its number (the one added by the decoder included). */
enum tr_reason {
	TR_ONE,	 /* run this op, then go on behind it */
	TR_RUN,	 /* the same, and the ops after it up to one that has code */
	TR_LINK, /* the block is done: on to its fall-through successor */
	TR_TAKEN, /* ... or to the target of its branch */
	TR_LOW_VECTORS, TR_HIGH_VECTORS, /* bring vector state in (vector.h), then begin the op anew */
	TR_CHECK, /* check.c: stopped before this op; or behind the block, by the edges below */
};
/* Numbers for ops that TR_CHECK stops "before": the fall-through and the taken successor. */
#define TR_CHECK_FALLS (BLOCK_MAX_OPS + 1)
#define TR_CHECK_TAKEN (BLOCK_MAX_OPS + 2)
#define TR_CHECK_DIED  (BLOCK_MAX_OPS + 3) /* a host fault: nothing is known */
#define TR_OP_BITS     7
#define TR_BLOCK_BITS  20
#define TR_REASON_SHIFT (TR_OP_BITS + TR_BLOCK_BITS)

#define MAX_STUBS 320
#define MAX_SITES 160
#define MAX_SHADOWS (sizeof(((struct cpu *)0)->tried) / sizeof(((struct cpu *)0)->tried[0]))

/* An instruction that accesses guest memory: where, of which op, and where the op's code ends. */
struct tr_site {
	u32 at, resume; /* offsets from the start of the code area */
	u32 op;
};

struct stub {
	u8 *jump;    /* displacement of the jump to it */
	u32 what;    /* for the helper */
	s16 resume;  /* op whose code it comes back to, or -1: never */
};

struct xlate {
	struct cpu *c;
	struct block *b;
	struct emitter e;
	u32 nop; /* the op at hand */
	u32 nstubs, nsites;
	u32 vectors; /* enum vector_part: what is in registers from here to the block's end */
	/* For a comparison with the interpreter: leave behind the block; stores go to c->tried. */
	bool check;
	u32 nshadows;
	u8 shadow_size[MAX_SHADOWS];
	u8 shadows_before[BLOCK_MAX_OPS + 1]; /* each op */
	u32 edge[2]; /* offset of the displacement of a jump that may be patched; 0: none */
	u8 *op_at[BLOCK_MAX_OPS + 2];
	struct stub stub[MAX_STUBS];
	struct tr_site site[MAX_SITES];
};

/* A guest register's host register, or IN_MEMORY. */
extern const s8 tr_host[16];

/* The register that has guest register `g`'s value now: its own, or `scratch`, loaded. */
int tr_get(struct xlate *x, int g, int scratch);
/* Write back where tr_get() gave scratch. */
void tr_put(struct xlate *x, int g, int host);

u32 tr_what(const struct xlate *x, enum tr_reason reason, u32 op);
/* A jump to code that leaves to the helper and comes back to op `resume`'s code, or never. */
void tr_stub(struct xlate *x, u8 *jump, u32 what, int resume);
/* The instruction that follows accesses guest memory. */
void tr_access(struct xlate *x);

/* memory.c */
struct tr_mem {
	int base, index; /* host registers; the access is to [base + index]; index may be NO_INDEX */
};
/* REX's R, X and B for it. */
static inline u8 tr_rex(int reg, struct tr_mem m)
{
	return (u8)((reg >> 3) << 2 | (m.index == NO_INDEX ? 0 : (m.index >> 3) << 1) | m.base >> 3);
}
/*
 * The linear address of the instruction's memory operand: in the returned register, GEN_LA or a
 * guest register's own. May use GEN_INDEX.
 */
int tr_address(struct xlate *x, const struct insn *in);
/*
 * The one place that finds out where a linear address is in the host. `la` is a register that is
 * neither GEN_INDEX nor GEN_CHECK; both of those are used. What the lookup cannot answer goes to the
 * op's handler.
 */
struct tr_mem tr_lookup(struct xlate *x, int la, u32 size, bool write);
static inline struct tr_mem tr_operand(struct xlate *x, const struct insn *in, u32 size, bool write)
{
	return tr_lookup(x, tr_address(x, in), size, write);
}

/* The same, of a locked access: one that is not aligned is its handler's (a split lock). */
struct tr_mem tr_locked_operand(struct xlate *x, const struct insn *in, u32 size);

/* integer.c, stack.c, branch.c: false, the op is the interpreter's. */
bool tr_integer(struct xlate *x, const struct insn *in, const u8 *bytes, u8 len);
bool tr_stack(struct xlate *x, const struct insn *in);
bool tr_branch(struct xlate *x, const struct insn *in);
/* Leave for tr_helper(), for good: before this op, or by an edge. With x->check only. */
void tr_stop(struct xlate *x, u32 op);
/* The block falls through to the next. */
void tr_fall_through(struct xlate *x);

#define FIELD(f)   ((u32)offsetof(struct cpu, f))
#define GPR_FIELD(g) ((u32)(g) * 8)

#endif
