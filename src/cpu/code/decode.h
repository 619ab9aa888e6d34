/* SPDX-License-Identifier: MIT */
/*
 * code/decode.h: from Zydis's view of an instruction to an op, through the default-deny
 * table (cpu/table/).
 *
 * Each line of the table names, for a mnemonic, how it is carried out and the function that makes
 * the op. A decode function returns false for a form it does not take: that form is #UD. It runs
 * in guest mode on the vCPU's thread; it must not access guest memory.
 */
#ifndef CPU_CODE_DECODE_H
#define CPU_CODE_DECODE_H

#include <Zydis/Zydis.h>
#include "cpu/code/op.h"
#include "cpu/table/vendor.h"

struct decoder {
	struct cpu *c;
	u64 rip;	 /* of this instruction */
	u32 key;	 /* BLOCK_KEY_* of the block being made */
	u8 bytes[15];
	ZydisDecodedInstruction i;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	u8 serializes;	 /* enum serializes of this instruction; by the table, or its function */
	bool ends_block; /* set by the decode function: nothing may follow in this block. Needed for
			    what changes c->key, the mapping of code or c->shadow, and for
			    control transfers */
	bool shadows; /* set by STI's: the next instruction is in its shadow, and the block's last; where
			 that ends the block by itself, or lies on another page, this is the last */
};

/* Does the guest's processor do it? */
static inline bool decode_vendor(const struct decoder *d, enum vendor_fact f)
{
	return vendor_does(d->key & BLOCK_KEY_AMD ? VENDOR_AMD : VENDOR_INTEL, f);
}

typedef bool decode_fn(struct decoder *d, struct op *op);

/* Byte offset in struct cpu of a general register (any width; AH..BH included). */
u8 decode_gpr(ZydisRegister r);
/* Fill op's memory fields from a memory operand: base, index, scale, seg, disp, flags. */
void decode_mem(struct decoder *d, const ZydisDecodedOperand *o, struct op *op);
/* Make op raise the vector. */
bool decode_raise(struct decoder *d, struct op *op, u8 vector);
/* The last of the F2 and F3 prefixes, or 0: Zydis hides those it thinks meaningless. */
u8 decode_rep(const struct decoder *d);
/* One instruction from d->bytes (all 15), as it would stand in a block. False: no instruction; op
 * raises what is due. */
bool decode_insn(struct decoder *d, struct op *op);
/* log2 of an operand's size in bytes: 0 for 8 bits ... 3 for 64. */
static inline unsigned decode_size(const ZydisDecodedOperand *o)
{
	return o->size <= 8 ? 0 : o->size == 16 ? 1 : o->size == 32 ? 2 : 3;
}

enum table_class {
	CLASS_DENY,
	CLASS_C,      /* carried out by a handler in C */
	CLASS_HOST,   /* so too, and the handler executes the instruction itself on values */
	CLASS_NATIVE, /* unprivileged, host-state-free: the instruction itself, registers and memory
			 operand redirected */
};

/*
 * Does the instruction serialize (SDM vol. 3, 9.3)? Then what was stored into code without this vCPU's
 * being told is seen after it (flow.h). Kernels execute some of them all the time.
 */
enum serializes { SERIALIZES_NOT, SERIALIZES, SERIALIZES_OFTEN };

struct table_line {
	u16 mnemonic;	   /* ZYDIS_MNEMONIC_* */
	u8 cls;
	decode_fn *decode;
	const char *cpuid; /* the CPUID bit that announces its oldest form, "" for the base; what each
			      form needs of the host says table/features.h */
	const char *reason; /* why this class is safe or necessary */
	u8 serializes;	    /* enum serializes; ends the block */
};

/* The tables, one per family; code/table.c indexes them by mnemonic. */
extern const struct table_line table_integer[], table_system[], table_native[];
extern const unsigned table_integer_lines, table_system_lines, table_native_lines;

const struct table_line *table_find(unsigned mnemonic); /* NULL: denied */

#endif
