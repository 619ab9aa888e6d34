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
#include "cpu/native/stub.h"
#include "cpu/translator/emit.h"
#include "cpu/translator/flags.h"
#include "cpu/translator/insn.h"
#include "cpu/translator/share.h"
#include "cpu/translator/trace.h"

/* What generated code tells tr_helper() (enter.c): a kind, a block by its place in the arena in
 * lines of 64 bytes, and an op of it by its number (the one added by the decoder included). */
enum tr_reason {
	TR_ONE,	 /* run this op, then go on behind it */
	TR_RUN,	 /* the same, and the ops after it up to one that has code */
	TR_LINK, /* the block is done: on to its fall-through successor */
	TR_TAKEN, /* ... or to the target of its branch */
	TR_LOW_VECTORS, TR_HIGH_VECTORS, /* bring vector state in (vector.h), then begin the op anew */
	TR_SHADOW, /* behind the instruction in STI's shadow: on, or to the run loop for an interrupt */
	TR_CHECK, /* check.c: stopped before this op; or behind the block, by the edges below */
};
/* Numbers for ops that TR_CHECK stops "before": the fall-through and the taken successor. */
#define TR_CHECK_FALLS (BLOCK_MAX_OPS + 1)
#define TR_CHECK_TAKEN (BLOCK_MAX_OPS + 2)
#define TR_CHECK_DIED  (BLOCK_MAX_OPS + 3) /* a host fault: nothing is known */
#define TR_OP_BITS     7
#define TR_BLOCK_BITS  22
#define TR_REASON_SHIFT (TR_OP_BITS + TR_BLOCK_BITS)

#define MAX_STUBS 640
#define MAX_SITES 320
#define MAX_SHADOWS (sizeof(((struct cpu *)0)->tried) / sizeof(((struct cpu *)0)->tried[0]))

/* An instruction that accesses guest memory, or may fault otherwise: where, of which op, and where what
 * follows it goes on. */
struct tr_site {
	u32 at, resume; /* offsets from the start of the code area */
	u32 block;	/* by its place in the arena, in lines of 64 bytes */
	u16 op;		/* of the block; of the trace while it is translated */
	u8 flags_at; /* enum flags_at */
	s16 sp_lag;  /* what the guest's RSP is more than its register says */
};

/* Where a stub ends: nowhere; at this op's code again, in the copy it was left from; behind the op. Or
 * there is no stub, and the jump goes to the op's careful copy. */
enum tr_then { THEN_NOTHING, THEN_AGAIN, THEN_BEHIND, THEN_CAREFUL };

/*
 * How the jump to a stub that looks for a successor may be patched: for good, or until what linear
 * addresses mean may have changed; or it goes by a cell in data (struct cpu), which costs no more to change
 * than a store does. The stub has it behind its call, with where the jump or the cell is.
 */
enum tr_edge { NOT_AN_EDGE, NOT_PATCHED, PATCHED, PATCHED_FAR, BY_CELL };
/* Beside where in the area the jump's displacement stands, or the number of its cell; 0: not patched. */
#define TR_EDGE_FAR  BIT(31)
#define TR_EDGE_CELL BIT(30)
#define TR_EDGE_SAVED (1ULL << 32) /* the edge leaves with the flags in cpu->af */

/* What memory.c wants to know of the TLB, and where the op goes on when it has no answer. */
struct tr_look {
	u8 la; /* register with the linear address; or TR_NO_LA */
	u16 size;
	bool write;
	bool near; /* likely in the stack's page */
	u8 then;   /* THEN_BEHIND or THEN_CAREFUL */
	s32 disp;  /* is added to the register; or is the linear address */
};
#define TR_NO_LA 0xff

struct stub {
	u8 *jump;     /* displacement of the jump to it */
	u32 cell;     /* BY_CELL, in the place of that: its number */
	u32 what;     /* for the helper */
	u8 then;      /* enum tr_then */
	bool careful; /* left from the careful copy */
	u8 flags_at;  /* enum flags_at */
	u8 op;
	u8 edge;      /* enum tr_edge */
	u8 *look_at;  /* not NULL: tr_refill() may give the TLB an answer, and then it goes on here */
	struct tr_look look;
};

/* The two copies of an op's code. */
enum { PLAIN, CAREFUL, NR_COPIES };

struct xlate {
	struct cpu *c;
	struct block *b; /* the trace's first */
	struct trace trace;
	struct emitter e, cold; /* the one at hand, and the other */
	u32 nop; /* the op at hand, of the trace's */
	bool falls_through; /* struct block, of the last */
	u8 straddler[INSN_MAX]; /* bytes of an instruction on two pages */
	u32 nstubs, nsites;
	u32 vectors; /* enum vector_part: what is in registers from here to the trace's end */
	/* For a comparison with the interpreter: leave behind the block; stores go to c->tried. */
	bool check;
	u32 nshadows;
	u8 shadow_size[MAX_SHADOWS];
	u8 shadows_before[BLOCK_MAX_OPS + 1]; /* each op */
	bool careful; /* the copy at hand */
	struct share share;
	bool tests; /* looks may use the flags where they are dead */
	struct flags_plan flags;
	u8 flags_at; /* of the op at hand, from its start to its end: enum flags_at */
	const struct share_class *index_has; /* GEN_INDEX has what its slot has; NULL: of none */
	s32 sp_lag; /* pushes and pops that share a look move RSP once, behind the last of them: by so much so far */
	u32 host, host_saved; /* struct block */
	struct insn insn[BLOCK_MAX_OPS];	  /* the ops, taken apart */
	struct native_insn native[BLOCK_MAX_OPS]; /* of INSN_VECTOR */
	u32 vectors_before[BLOCK_MAX_OPS];
	u8 *op_at[NR_COPIES][BLOCK_MAX_OPS + 2];
	u8 *begun_at[BLOCK_MAX_OPS]; /* in the careful copy, behind what saves the flags */
	u32 ncells; /* that are given away, with this block's */
	struct stub stub[MAX_STUBS];
	struct tr_site site[MAX_SITES];
};

/* Code whose addresses have 32 bits? Bytes of a word on the stack; and a rip, cut to the mode. */
static inline bool tr_code32(const struct block *b)
{
	return (b->key & BLOCK_KEY_MODE) != MODE_LONG;
}
static inline s32 tr_word(const struct xlate *x)
{
	return tr_code32(x->b) ? 4 : 8;
}
static inline u64 tr_rip(const struct block *b, u64 rip)
{
	return tr_code32(b) ? (u32)rip : rip;
}

/* A guest register's host register, or IN_MEMORY. */
extern const s8 tr_host[16];

/* The register that has guest register `g`'s value now: its own, or `scratch`, loaded. */
int tr_get(struct xlate *x, int g, int scratch);
/* Write back where tr_get() gave scratch. */
void tr_put(struct xlate *x, int g, int host);

u32 tr_what(const struct xlate *x, enum tr_reason reason, u32 op);
/* stubs.c. Call the helper, with the flags where they are (enum flags_at). Registers that are scratch are lost. */
void tr_call_helper(struct xlate *x, u32 what, u8 flags_at);
/* A jump to code that leaves to the helper, and what then. In code that is only tried it ends the trial. */
void tr_stub(struct xlate *x, u8 *jump, u32 what, enum tr_then then);
/* The same, of what changes no guest state: in code that is only tried, too. */
void tr_stub_aside(struct xlate *x, u8 *jump, u32 what, enum tr_then then);
/* The same for an edge of the block. */
void tr_edge_stub(struct xlate *x, u8 *jump, u32 what, enum tr_edge edge);
/* The edge itself: a jump by a cell, whose stub it first leads to. False: there is none left. */
bool tr_edge_by_cell(struct xlate *x, u32 what);
/* The end of a check (emit.h) that is good where RCX is zero. */
u8 *tr_check_zero(struct xlate *x, struct emit_check *k);
/*
 * From a look that the TLB did not answer: tr_refill() is asked first, and where that has an answer it goes on at
 * `look_at`, which looks again; or behind the look, if that was at the stack's page.
 */
void tr_miss_stub(struct xlate *x, u8 *jump, u8 *look_at, const struct tr_look *look);
/* What tr_refill() is told of a look. */
#define TR_REFILL_WRITE	     4u /* above enum tlb_mode */
#define TR_REFILL_NEAR	     8u /* the page becomes the stack's */
#define TR_REFILL_TRIAL	     16u /* tables are not walked: code is only tried */
#define TR_REFILL_SIZE_SHIFT 5
u32 tr_refill_what(const struct xlate *x, const struct tr_look *look);
/* All of the block's, where the code at hand stands. */
void tr_emit_stubs(struct xlate *x);
/* translate.c. The instruction that follows accesses guest memory, or may fault otherwise. */
void tr_access(struct xlate *x);

/* memory.c */
struct tr_mem {
	int base, index; /* host registers; the access is to [base + index + disp]; index may be NO_INDEX */
	s32 disp;
};
/* REX's R, X and B for it; and ModRM and what belongs to it. */
static inline u8 tr_rex(int reg, struct tr_mem m)
{
	return (u8)((reg >> 3) << 2 | (m.index == NO_INDEX ? 0 : (m.index >> 3) << 1) | m.base >> 3);
}
static inline void tr_modrm(struct xlate *x, int reg, struct tr_mem m)
{
	emit_modrm_memory(&x->e, reg, m.base, m.index, m.disp, false);
}
/*
 * Where the memory operand of the op at hand is in the host; scratch registers are used up but for
 * those in the answer and, with the stack's, RCX. What the TLB cannot answer goes to the op's handler.
 * A locked access that is not aligned is its handler's, too (a split lock).
 */
struct tr_mem tr_operand(struct xlate *x, const struct insn *in, u32 size, bool write);
struct tr_mem tr_locked_operand(struct xlate *x, const struct insn *in, u32 size);
/* Does the access of the op at hand go through a slot that is filled already? */
bool tr_shares_ready(struct xlate *x, enum share_which which);
/* stack.c. RSP moves; it moves, or will with others' moves; all that has not been done yet; may that wait until behind this op? */
void tr_add_sp(struct xlate *x, s32 by);
void tr_move_sp(struct xlate *x, s32 by);
void tr_settle_sp(struct xlate *x);
bool tr_sp_may_lag(struct xlate *x);
/* The same for a word at a distance from guest register `g`, RSP or RBP: a push's or pop's. */
struct tr_mem tr_stack_operand(struct xlate *x, int g, s32 disp, bool write);

/* integer.c, bmi.c, stack.c, system.c, branch.c: false, the op is the interpreter's. */
bool tr_integer(struct xlate *x, const struct insn *in, const u8 *bytes, u8 len);
bool tr_bmi(struct xlate *x, const struct insn *in);
bool tr_stack(struct xlate *x, const struct insn *in);
bool tr_system(struct xlate *x, const struct insn *in);
/* A block's last: it has done nothing that the block behind it could not know of. */
bool tr_system_falls(const struct xlate *x, const struct insn *in);
bool tr_branch(struct xlate *x, const struct insn *in);
bool tr_has_target(const struct op *o, const struct insn *in);
/* Leave for tr_helper(), for good: before this op, or by an edge. With x->check only. */
void tr_stop(struct xlate *x, u32 op);
/* The block falls through to the next; to one of another key, which is the vCPU's now. */
void tr_fall_through(struct xlate *x);
void tr_edge_to_key(struct xlate *x, u32 key);

/*
 * returns.c. A CALL has stored its return address and moved RSP: leave its return site's address. A RET has its target in
 * R15 and the flags in cpu->af: go there.
 */
void tr_leave_site(struct xlate *x);
void tr_return(struct xlate *x);

/* Op `op` of the trace: its block; and itself. The one behind the last, which the decoder has added, is one, too. */
static inline struct block *tr_block(const struct xlate *x, u32 op)
{
	return x->trace.part[x->trace.of[op]].b;
}
static inline const struct op *tr_op(const struct xlate *x, u32 op)
{
	const struct trace_part *p = &x->trace.part[x->trace.of[op]];

	return &p->b->op[op - p->first];
}
/* Its bytes; good until the next call. */
const u8 *tr_op_bytes(struct xlate *x, u32 op);
/* Does the trace go on behind the op at hand? */
static inline bool tr_goes_on(const struct xlate *x)
{
	return x->nop + 1 < x->trace.nops;
}

static inline bool tr_has_bit(u64 ops, u32 op)
{
	return op < BLOCK_MAX_OPS && ops >> op & 1;
}

static inline u64 tr_ops_between(u32 first, u32 last)
{
	return first > last ? 0 : ~0ULL << first & ~0ULL >> (63 - last);
}

/* The code of `op` for one that comes from C, where slots are not to be relied on any more. */
static inline u8 *tr_after_c(const struct xlate *x, u32 op)
{
	return x->op_at[tr_has_bit(x->share.inside, op) ? CAREFUL : PLAIN][op];
}

#define FIELD(f)   ((u32)offsetof(struct cpu, f))
#define GPR_FIELD(g) ((u32)(g) * 8)

#endif
