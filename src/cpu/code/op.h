/* SPDX-License-Identifier: MIT */
/*
 * code/op.h: a decoded instruction, a block of them, and the contract between the decoder
 * and the handlers.
 *
 * A handler gets the op and returns the next one to execute, or NULL to leave to the run loop
 * with cpu->rip set. It does all its guest memory accesses before it changes any state, since an
 * access may not return: a fault unwinds to the run loop, which delivers it with the rip of this
 * op and every register as it was.
 *
 * An op can be run again from its start until its last store is done, and then does what it would
 * have done at first. It has to be, because not only faults unwind: a device access that the VMM
 * answers, a kick, memory that the VMM has to see to. So
 * - it reads all it needs before its first store, or its stores do not depend on what they may
 *   overwrite (pushes of registers);
 * - a store of up to 256 bytes is done or leaves nothing (cpu/parts.h), on two pages, too: it may be
 *   the last step of a read-modify-write;
 * - a device is read once. Answers of the VMM's are kept by themselves (cpu/replay.h), what a device
 *   of the VM's answered by replay_keep_port();
 * - what cannot be so is taken back by an unwind point of the handler's own (a task switch), or goes
 *   on from where it was: a string instruction, a gather or a scatter commits each element.
 */
#ifndef CPU_CODE_OP_H
#define CPU_CODE_OP_H

#include "cpu/state.h"

#define INSN_MAX 15 /* bytes of an instruction (SDM vol. 3, 6.15, #GP) */

typedef const struct op *op_fn(struct cpu *c, const struct op *o);

enum op_flags {
	OP_EA_SLOW = 1 << 0, /* segment base, limit or address wrap to be applied: op_ea_slow() */
	OP_LOCK = 1 << 1,
	OP_REP = 1 << 2,     /* F3 */
	OP_REPNE = 1 << 3,   /* F2 */
	OP_ADDR16 = 1 << 4,  /* effective address size; neither: 64 */
	OP_ADDR32 = 1 << 5,
	OP_RIPREL = 1 << 6,  /* disp already holds the absolute target */
	OP_NO_AC = 1 << 7,   /* its accesses may be misaligned whatever EFLAGS.AC says */
};

/* 32 bytes. Register operands are byte offsets from the cpu (AH is 1). */
struct op {
	op_fn *fn;
	s64 disp;   /* displacement; RIP-relative ones are absolute already; moffs; imm64; the rip a
		       relative branch goes to (a block's key has its rip) */
	s32 imm;    /* immediate, sign-extended */
	u8 len;	    /* bytes of this instruction */
	u8 r0, r1;  /* register operands: destination first */
	u8 base, index; /* REG_ZERO's offset when absent */
	u8 scale;   /* shift count 0..3 */
	u8 seg;	    /* enum segreg that the memory operand goes through */
	u8 flags;   /* enum op_flags */
	u16 off;    /* this instruction's offset from the block's rip */
	u16 aux;    /* the handler's own */
};
_Static_assert(sizeof(struct op) == 32, "two ops a cache line");

/* What a block depends on besides its address; part of its key. */
#define BLOCK_KEY_MODE	  0x07 /* enum cpu_mode */
#define BLOCK_KEY_SS32	  0x08 /* stack width in legacy modes */
#define BLOCK_KEY_FLAT	  0x10 /* legacy modes: CS, SS, DS, ES all base 0, limit 4 GiB */
#define BLOCK_KEY_TS	  0x20 /* CR0.TS: x87, MMX and vector instructions are #NM */
#define BLOCK_KEY_SSE	  0x40 /* CR4.OSFXSR */
#define BLOCK_KEY_AVX	  0x80 /* CR4.OSXSAVE and XCR0 has SSE and AVX */
#define BLOCK_KEY_AVX512 0x100 /* and opmask, ZMM */
#define BLOCK_KEY_STEP	 0x200 /* TF, single step or breakpoints: one instruction a block */
#define BLOCK_KEY_CPL3	 0x400
#define BLOCK_KEY_TLB	0x3000 /* enum tlb_mode shifted by BLOCK_KEY_TLB_SHIFT, or the one below */
#define BLOCK_KEY_TLB_NEVER 0x3000 /* every access is looked at: tlb_never */
#define BLOCK_KEY_TLB_SHIFT 12
#define BLOCK_KEY_AMD	0x4000 /* the guest's processor is AMD's: cpu->vendor */
#define BLOCK_KEY_EM	 0x800 /* CR0.EM: x87 is #NM, MMX and SSE #UD; VEX and EVEX go on */

/* Which TLB it is, of one that is not BLOCK_KEY_TLB_NEVER: enum tlb_mode. */
static inline u32 block_key_tlb(u32 key)
{
	return (key & BLOCK_KEY_TLB) >> BLOCK_KEY_TLB_SHIFT;
}

struct code_page;

struct block {
	u64 rip;	 /* linear address less CS base, i.e. the guest's own rip */
	gpa_t gpa;	 /* of the first byte */
	u32 key;
	u16 nops;
	u16 bytes;
	u8 serializes;	 /* enum serializes of the last instruction */
	struct block *hash_next;
	struct code_page *page;	   /* pages it was decoded from; the second for a straddler */
	struct code_page *page2;
	u64 drops, drops2; /* theirs when it was: it is dead when they have more */
	struct block *link[2];	   /* direct successors on the same page: fall through, taken */
	const struct op *entry;	   /* what executes the block: op, or head where an engine has put
				      itself in front of it */
	/* The translator's. */
	u32 heat;	    /* times it was entered and interpreted */
	u32 host;	    /* where in the area its code is; 0: nowhere */
	u32 host_saved;	    /* the same, for who comes with the flags in cpu->af, and not in the host's */
	u64 inlined;	    /* bit per op: has code of its own */
	bool falls_through; /* the end has */
	u32 checks, differs; /* comparisons with the interpreter, and those that failed */
	bool locked;	     /* they have met a locked instruction in it */
	struct op head;
	struct op op[];
};

/* Precise rip of the op being executed, and of the one after it. */
static inline u64 op_rip(const struct cpu *c, const struct op *o)
{
	return c->block->rip + o->off;
}

static inline u64 op_next_rip(const struct cpu *c, const struct op *o)
{
	return c->block->rip + o->off + o->len;
}

/* Leaving at an op of c->block that was not executed, nor were those after it: not counted. */
static inline void op_uncount(struct cpu *c, const struct op *o)
{
	const struct block *b = c->block;
	u64 i = (u64)(o - b->op);

	/* A copy of an op (lock.c) is found by its place. */
	if (i > b->nops)
		for (i = 0; i < b->nops && b->op[i].off != o->off; i++)
			;
	c->stat.instructions -= b->nops - i;
}

#define R8(c, o)  (*(u8 *)((char *)(c) + (o)))
#define R16(c, o) (*(u16 *)((char *)(c) + (o)))
#define R32(c, o) (*(u32 *)((char *)(c) + (o)))
#define R64(c, o) (*(u64 *)((char *)(c) + (o)))
#define REG_OFF(r) ((u8)((r) * 8)) /* byte offset of reg[r] */

/* Write a register operand: 32 bits clear the upper half (SDM vol. 1, 3.4.1.1). */
static inline void set_r8(struct cpu *c, u8 off, u8 v)
{
	R8(c, off) = v;
}

static inline void set_r16(struct cpu *c, u8 off, u16 v)
{
	R16(c, off) = v;
}

static inline void set_r32(struct cpu *c, u8 off, u32 v)
{
	R64(c, off) = v;
}

static inline void set_r64(struct cpu *c, u8 off, u64 v)
{
	R64(c, off) = v;
}

/* Rip of the instruction at hand, in or out of a block: what an exception saves. */
static inline u64 cpu_rip(const struct cpu *c)
{
	return c->op ? op_rip(c, c->op) : c->rip;
}

/*
 * End of a handler: on to the next op. A tail call, so a block runs without coming back to the
 * loop of interpreter_run(); returning `o + 1` means the same.
 */
#define OP_NEXT(c, o) return (o)[1].fn((c), (o) + 1)

/*
 * What a store that missed the TLB returns instead of OP_NEXT: it may have hit code, this very
 * block's included, and then the bytes after it must be looked at again (SDM vol. 3, 12.6).
 */
const struct op *op_after_slow_store(struct cpu *c, const struct op *o);

/* Leave to the run loop with the next instruction (or any rip) to be executed. */
const struct op *op_leave_next(struct cpu *c, const struct op *o);
const struct op *op_leave(struct cpu *c, u64 rip);

/* Linear address of the memory operand for an access of `size` bytes; legacy segmentation may
 * raise #GP or #SS. Sets c->op. */
u64 op_ea_slow(struct cpu *c, const struct op *o, u64 ea, u32 size, bool write);

static inline u64 op_offset(const struct cpu *c, const struct op *o)
{
	return R64(c, o->base) + (R64(c, o->index) << o->scale) + (u64)o->disp;
}

static inline u64 op_ea(struct cpu *c, const struct op *o, u32 size, bool write)
{
	u64 ea = op_offset(c, o) & c->ea_mask;

	c->op = o;
	if (unlikely(o->flags & OP_EA_SLOW))
		ea = op_ea_slow(c, o, ea, size, write);
	return ea;
}

#endif
