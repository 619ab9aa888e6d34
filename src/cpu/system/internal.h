/* SPDX-License-Identifier: MIT */
/*
 * system/internal.h: what the files of system/ share and nobody else sees.
 */
#ifndef CPU_SYSTEM_INTERNAL_H
#define CPU_SYSTEM_INTERNAL_H

#include <linux/kvm.h>
#include "cpu/access.h"
#include "cpu/cpu.h"
#include "cpu/fault.h"
#include "cpu/system/system.h"

/* Descriptor types of system segments (SDM vol. 3, table 3-2). */
enum sys_type {
	TYPE_TSS16 = 1,
	TYPE_LDT = 2,
	TYPE_TSS16_BUSY = 3,
	TYPE_CALL16 = 4,
	TYPE_TASK_GATE = 5,
	TYPE_INT16 = 6,
	TYPE_TRAP16 = 7,
	TYPE_TSS = 9,
	TYPE_TSS_BUSY = 11,
	TYPE_CALL = 12,
	TYPE_INT = 14,
	TYPE_TRAP = 15,
};

/* Bits of the type field of code and data segments. */
#define TYPE_ACCESSED 1
#define TYPE_RW	      2 /* data: writable; code: readable */
#define TYPE_EC	      4 /* data: expand down; code: conforming */
#define TYPE_CODE     8

#define SEL_RPL(s)  ((s)&3)
#define SEL_NULL(s) (!((s) & ~3u))
#define SEL_TI	    4

#define DESC_TYPE_AT 5 /* byte with a descriptor's type */
#define TYPE_BUSY    2 /* of a TSS */

/* A descriptor taken apart. Gates use `raw` through the gate_* accessors. */
struct desc {
	u64 raw;
	u64 high; /* second half of a 16-byte one */
	u64 addr; /* linear address it was read from */
	u64 base;
	u32 limit;
	u16 attr; /* as struct seg's */
};

static inline unsigned attr_type(u16 attr)
{
	return attr & SEG_ATTR_TYPE;
}

static inline bool attr_code(u16 attr)
{
	return (attr & (SEG_ATTR_S | TYPE_CODE)) == (SEG_ATTR_S | TYPE_CODE);
}

static inline bool attr_data(u16 attr)
{
	return (attr & (SEG_ATTR_S | TYPE_CODE)) == SEG_ATTR_S;
}

static inline bool attr_conforming(u16 attr)
{
	return attr_code(attr) && (attr & TYPE_EC);
}

static inline u16 gate_selector(u64 raw)
{
	return (u16)(raw >> 16);
}

static inline u32 gate_offset32(u64 raw)
{
	return (u32)((raw & 0xffff) | ((raw >> 32) & 0xffff0000));
}

static inline bool real_or_v86(const struct cpu *c)
{
	return c->mode <= MODE_V86;
}

/* Error code of a fault that names a selector or, with bit 1, an IDT entry. */
static inline u32 sel_error(const struct cpu *c, u16 sel)
{
	return (sel & 0xfffcu) | c->event_ext;
}

static inline NORETURN void raise_sel(struct cpu *c, u8 vector, u16 sel)
{
	cpu_raise_error(c, vector, sel_error(c, sel));
}

static inline NORETURN void raise_gp0(struct cpu *c)
{
	cpu_raise_error(c, VEC_GP, c->event_ext);
}

/* walk.c: as walk_load_pdptrs(): 0, -EINVAL for #GP, or why they cannot be read */
int pdptrs_load(struct cpu *c, u64 cr3);
int pdptrs_read(struct cpu *c, u64 cr3, u64 pdptr[4]);

/* seg.c: descriptors */
/* Split an 8-byte code, data or system descriptor. */
void desc_split(u64 raw, struct desc *d);
/* Read sel's descriptor; false: beyond its table. It is judged as it was read: another vCPU may
 * change it meanwhile, so nothing of it is read a second time. */
bool desc_read(struct cpu *c, u16 sel, struct desc *d);
/* The same; raises vector(sel) when beyond the table. */
void desc_read_or(struct cpu *c, u16 sel, u8 vector, struct desc *d);
/* Read the upper half, too, when long mode is active and the descriptor is a system one. */
void desc_widen(struct cpu *c, u16 sel, struct desc *d);
/* Set the accessed bit in memory and in d. */
void desc_mark_accessed(struct cpu *c, struct desc *d);
/* Commit: hidden part from d. */
void seg_commit(struct cpu *c, enum segreg s, u16 sel, const struct desc *d);
void seg_commit_null(struct cpu *c, enum segreg s, u16 sel, u8 dpl);
void seg_commit_v86(struct cpu *c, enum segreg s, u16 sel);
/* Load DS, ES, FS or GS in protected mode; what would be #GP is `vector`. */
void seg_load_data(struct cpu *c, enum segreg s, u16 sel, u8 vector);
/* Check that sel may be SS at privilege cpl; raises vector(sel) (#GP or #TS) or #SS. */
void seg_check_ss(struct cpu *c, u16 sel, u8 cpl, u8 vector, struct desc *d);

/* A stack that is written or read before anything is committed. */
struct stack {
	u64 base, sp;
	u64 mask; /* stack width: what of sp counts */
	u32 limit;
	u16 attr;
	u16 error; /* selector part of #SS's error code */
	bool own; /* accessed at the current privilege; else as supervisor */
	bool flat; /* 64-bit: no limit, canonical check is the access's own */
	bool unusable;
};
/* The current stack. */
void stack_current(struct cpu *c, struct stack *s);
/* A stack about to be current in segment d. */
void stack_of_desc(struct cpu *c, u16 sel, const struct desc *d, u64 sp, u8 cpl, struct stack *s);
void stack_flat(struct cpu *c, u64 sp, u8 cpl, struct stack *s);
void stack_push(struct cpu *c, struct stack *s, u32 size, u64 value);
u64 stack_pop(struct cpu *c, struct stack *s, u32 size);
/* Read `size` bytes `off` above the top without popping. */
u64 stack_peek(struct cpu *c, struct stack *s, u32 off, u32 size);
/* Store sp into RSP, as wide as the stack is. */
void stack_commit(struct cpu *c, const struct stack *s);

/* far.c */
/* Check rip against a code segment about to be loaded; raises #GP(0). */
void far_check_rip(struct cpu *c, const struct desc *cs, u64 rip);
void far_commit_cs(struct cpu *c, u16 sel, const struct desc *d, u8 cpl);

/* What RET and IRET have popped and checked. */
struct far_frame {
	u64 rip, rsp;
	u16 cs, ss;
	bool has_ss, ss_null;
	struct desc cs_desc, ss_desc;
};
void return_check_cs(struct cpu *c, u16 sel, struct desc *d);
void return_check_ss(struct cpu *c, u16 ss, u16 cs_sel, const struct desc *cs, struct desc *d,
		     bool *null);
void return_drop_segments(struct cpu *c, u8 cpl);
/* The last check, RIP's; then CS, SS, RSP (st's, if SS stays) and RIP; inner data segments dropped. */
void return_commit(struct cpu *c, struct far_frame *f, const struct stack *st);

/* gate.c */
bool tss_is_16(const struct cpu *c);
/* TSS: stack for a privilege level; raises #TS. */
void tss_inner_stack(struct cpu *c, u8 cpl, u16 *ss, u64 *sp);
u64 tss_rsp(struct cpu *c, unsigned index); /* 1..7: IST, 8..10: RSP0..2 */

/* Call gates */
void gate_call(struct cpu *c, u16 sel, struct desc *gate, bool call, u32 op_size, u64 return_rip);

/* task.c */
enum task_reason { TASK_JUMP, TASK_CALL, TASK_IRET, TASK_GATE };
/* `flags`: the image for the old task's TSS. */
void task_switch(struct cpu *c, u16 sel, enum task_reason reason, u64 return_rip, u64 flags,
		 bool has_error, u32 error);

/* cpuid.c */
const struct cpuid_leaf *cpuid_find(const struct cpu *c, u32 function, u32 index);
enum cpuid_reg { EAX, EBX, ECX, EDX };
/* A bit of a leaf (index 0) the guest has been given. */
bool cpuid_has(const struct cpu *c, u32 function, enum cpuid_reg reg, unsigned bit);

bool cpuid_vendor_is_amd(const struct cpu *c);
/* What follows from the table: maxphyaddr, allowed CR4 and XCR0. */
void cpuid_derive(struct cpu *c);

/* msr_fixed.c: 0; -ENOENT: none of these, or not to be read or written; -EINVAL: not this value */
int msr_fixed_get(u32 msr, u64 *value);
int msr_fixed_set(u32 msr, bool host, u64 value);

/* cr.c */
#define CR3_PCID 0xfffULL
bool cr0_valid(const struct cpu *c, u64 v);
bool cr4_valid(const struct cpu *c, u64 v);
bool efer_valid(const struct cpu *c, u64 v);
/* Everything that caches the meaning of linear addresses. */
void mmu_changed(struct cpu *c);
/* Guest's write of EFER: 0 or -EINVAL. */
int efer_write(struct cpu *c, u64 v, bool host);

#endif
