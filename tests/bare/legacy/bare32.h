/* SPDX-License-Identifier: MIT */
/*
 * tests/bare/legacy/bare32.h: the frame of the 32-bit image.
 *
 * The kernel runs in flat 32-bit protected mode at CPL 0, interrupts and paging off, so that
 * linear addresses are physical. What a test maps, loads or switches to is its own; the frame
 * puts the GDT, TR, LDTR, the control registers and DR7 back after each test.
 */
#ifndef BARE32_H
#define BARE32_H

#include "../frame.h"

/* ---- selectors of the GDT; in the order SYSENTER and SYSEXIT take theirs */
enum {
	SEL_CODE = 0x08,
	SEL_DATA = 0x10,
	SEL_UCODE = 0x18 | 3,
	SEL_UDATA = 0x20 | 3,
	SEL_CODE16 = 0x28, /* base 0, 64 KiB */
	SEL_DATA16 = 0x30,
	SEL_TSS = 0x38,
	SEL_TSS2 = 0x40,
	SEL_LDT = 0x48,
	SEL_FREE = 0x50, /* from here on the tests' */
	SEL_LAST = 0x1f8,
};
enum { VEC_DONE = 0x80, VEC_FREE = 0xa0 };

/* What the last TRY came to. vector -1: nothing happened. */
struct caught {
	u32 edi, esi, ebp, esp, ebx, edx, ecx, eax;
	int vector;
	u32 error, cr2, eip, eflags, cs, ss, es, ds, fs, gs, dr6, tr;
	u32 handler_esp; /* of the frame */
};
extern struct caught caught;
extern volatile u32 catch_eip, catch_esp;

/*
 * Run `text`; an exception or interrupt within it is noted in `caught` and ends it. Registers
 * then are as they were at the exception, but for EBP. ESP may not be in an operand.
 */
#define TRY(text, outs, ins, ...)                                                              \
	asm volatile("pushl %%ebp\n\tmovl $77f, catch_eip\n\tmovl %%esp, catch_esp\n\t"        \
		     "movl $-1, caught+32\n\t" text                                            \
		     "\n77:\tmovl $0, catch_eip\n\tmovl catch_esp, %%esp\n\tpopl %%ebp\n\t"    \
		     : UNWRAP outs                                                             \
		     : UNWRAP ins                                                              \
		     : "memory", "cc", ##__VA_ARGS__)

/* For a TRY that may end in another task or mode. */
#define ALL_REGISTERS "eax", "ebx", "ecx", "edx", "esi", "edi"

#define CHECK_FAULT(vec, err)                                                                  \
	CHECK(caught.vector == (vec) && caught.error == (u32)(err),                            \
	      "vector %d error %x at %x, not %d %x", caught.vector, caught.error, caught.eip,  \
	      (int)(vec), (u32)(err))
#define CHECK_VECTOR(vec)                                                                      \
	CHECK(caught.vector == (vec), "vector %d error %x at %x, not %d", caught.vector,       \
	      caught.error, caught.eip, (int)(vec))
#define CHECK_NONE() CHECK_VECTOR(-1)
#define CHECK_IS(what, value)                                                                  \
	CHECK((u32)(what) == (u32)(value), "%x, not %x", (u32)(what), (u32)(value))

/* ---- tables */
extern u64 gdt[64];
extern u64 ldt[8];
struct gate {
	u16 offset0, selector;
	u8 params, type; /* type, DPL, P */
	u16 offset1;
} __attribute__((packed));
extern struct gate idt[256];
struct tss {
	u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	u32 eax, ecx, edx, ebx, esp, ebp, esi, edi;
	u32 es, cs, ss, ds, fs, gs, ldt;
	u16 trap, iomap;
	u8 io[64 + 1 + 32]; /* a redirection map may precede the ports */
} __attribute__((packed));
struct tss16 {
	u16 link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags;
	u16 ax, cx, dx, bx, sp, bp, si, di;
	u16 es, cs, ss, ds, ldt;
} __attribute__((packed));
extern struct tss tss, tss2; /* SEL_TSS is the running one, SEL_TSS2 free for tests */
enum { GATE_CALL16 = 0x84, GATE_TASK, GATE_INT16, GATE_TRAP16 };
enum { GATE_CALL = 0x8c, GATE_INT = 0x8e, GATE_TRAP = 0x8f, GATE_DPL3 = 0x60 };
enum { DESC_TSS16 = 0x81, DESC_LDT = 0x82, DESC_TSS = 0x89, DESC_BUSY = 2 };
void set_gate(struct gate *g, const void *target, u16 selector, u8 type);
/* A gate as an entry of the GDT or LDT. */
u64 call_gate(const void *target, u16 selector, u8 type, u8 params);
static inline u8 access_of(u16 selector) /* the access byte of a GDT entry */
{
	return gdt[selector / 8] >> 40;
}
static inline u32 addr(const volatile void *p)
{
	return (u32)p;
}

struct frame {
	u32 edi, esi, ebp, skipped, ebx, edx, ecx, eax;
	/* PUSH of a segment register writes 16 bits of its slot (SDM vol. 2, PUSH). */
	u16 gs, above_gs, fs, above_fs, es, above_es, ds, above_ds;
	u32 vector, error, eip, cs, eflags;
	u32 esp, ss;		/* from an outer level */
	u32 ves, vds, vfs, vgs; /* from virtual-8086 mode */
};

/* ---- entering other modes by IRET */
struct entry {
	u32 edi, esi, ebp, skipped, ebx, edx, ecx, eax, gs, fs, es, ds;
	u32 eip, cs, eflags, esp, ss, ves, vds, vfs, vgs;
};
extern struct entry entry; /* user_entry() and v86_entry() fill it, enter() goes there */
extern u8 user_stack[4096], kernel_stack[8192], pages[16][4096];
void user_entry(const void *eip);
void enter(void);	    /* ends by any exception, `int $VEC_DONE` being the good one */
void user(const void *eip); /* user_entry() and enter() */

#define SNIPPET16(name, text) CODE_BYTES(name, ".code16\n" text "\n int $0x80\n.code32")

/* ---- instructions */
static inline u16 read_tr(void)
{
	u16 v;
	asm volatile("str %0" : "=r"(v));
	return v;
}
static inline void load_ldtr(u16 v)
{
	asm volatile("lldt %0" : : "r"(v) : "memory");
}
#define IOPL(n) ((n) << 12)

struct features {
	bool vme, pse, pae, nx, sep, amd, tcg;
	unsigned maxphyaddr;
};
extern struct features has;

#endif
