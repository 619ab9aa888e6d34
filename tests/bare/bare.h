/* SPDX-License-Identifier: MIT */
/*
 * tests/bare/bare.h: the frame of the 64-bit image.
 *
 * The kernel runs in long mode at CPL 0, interrupts off, the first GiB mapped one to one for
 * the supervisor; the second GiB is the window, whose page tables are the tests' own.
 */
#ifndef BARE_H
#define BARE_H

#include "frame.h"

/* ---- selectors of the GDT in boot.S; from SEL_FREE on the entries are the tests' */
enum {
	SEL_CODE64 = 0x08,
	SEL_DATA = 0x10,
	SEL_CODE32 = 0x18,
	SEL_CODE16 = 0x20,
	SEL_DATA16 = 0x28,
	SEL_UDATA = 0x30 | 3,
	SEL_UCODE64 = 0x38 | 3,
	SEL_TSS = 0x40, /* two entries */
	SEL_FREE = 0x50,
	SEL_LAST = 0xf8,
};

enum { VEC_DONE = 0x80, VEC_IPI = 0x90, VEC_FREE = 0xa0 };

/* What the last TRY came to. vector -1: nothing happened. */
struct caught {
	s64 vector;
	u64 error, cr2, rip, rsp, rflags, cs, ss, rax, rbx, rcx, rdx, rsi, rdi, dr6;
};
extern struct caught caught;
extern volatile u64 catch_rip, catch_rsp;

/*
 * Run `text`; an exception or interrupt within it is noted in `caught` and ends it. Registers
 * then are as they were at the exception, so operands show how far the instruction came.
 */
#define TRY(text, outs, ins, ...)                                                              \
	asm volatile("movq $77f, catch_rip(%%rip)\n\tmovq %%rsp, catch_rsp(%%rip)\n\t"         \
		     "movq $-1, caught(%%rip)\n\t" text "\n77:\tmovq $0, catch_rip(%%rip)\n\t" \
		     : UNWRAP outs                                                             \
		     : UNWRAP ins                                                              \
		     : "memory", "cc", ##__VA_ARGS__)

#define CHECK_FAULT(vec, err)                                                                  \
	CHECK(caught.vector == (vec) && caught.error == (u64)(err),                            \
	      "vector %d error %x, not %d %x", (int)caught.vector, (u32)caught.error,          \
	      (int)(vec), (u32)(err))
#define CHECK_NONE()                                                                           \
	CHECK(caught.vector == -1, "vector %d error %x", (int)caught.vector, (u32)caught.error)

/* ---- tables */
extern u64 gdt[32];
struct gate {
	u16 offset0, selector, flags, offset1; /* flags: IST, type, DPL, P */
	u32 offset2, zero;
} __attribute__((packed));
extern struct gate idt[256];
struct tss {
	u32 reserved0;
	u64 rsp[3], reserved1, ist[7], reserved2;
	u16 reserved3, iomap;
	u8 io[64 + 1];
} __attribute__((packed));
extern struct tss tss;
enum { GATE_INT = 0x8e00, GATE_TRAP = 0x8f00, GATE_CALL = 0x8c00, GATE_DPL3 = 0x6000 };
void set_gate(struct gate *g, const void *target, u16 selector, u16 flags);

struct frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error, rip, cs, rflags, rsp, ss;
};

/* ---- the window */
#define WINDOW 0x40000000ULL
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80 };
#define PTE_NX BIT(63)
#define PAGE   4096
extern volatile u64 window_pd[512], window_pt[4][512];
extern u8 page_pool[16][PAGE]; /* physical pages for tests */
/* The n'th page of the window. */
static inline u8 *window(unsigned n)
{
	return (u8 *)(WINDOW + (u64)n * PAGE);
}
void window_map(unsigned n, const void *pa, u64 flags); /* and flush it */
/* Copy a code sequence to a page and map it for the user; the address to run it at. */
u64 user_code(unsigned n, unsigned pool, const void *start, const void *end);
/* At CPL 3 with these in rax, rcx; ends by any exception, `int $VEC_DONE` being the good one.
 */
void run_user(u64 rip, u64 rax, u64 rcx, u64 rflags);
#define USER_STACK_PAGE 1000 /* of the window; mapped by run_user from the pool's last page */

/* ---- instructions */
READ_REG(cr8)
static inline void invlpg(const void *p)
{
	asm volatile("invlpg %0" : : "m"(*(const u8 *)p) : "memory");
}

struct features {
	bool smep, smap, nx, umip, fsgsbase, pcid, page1g, rdtscp, xsave, intel, amd, tcg;
	unsigned maxphyaddr;
};
extern struct features has;

#endif
