/* SPDX-License-Identifier: MIT */
/*
 * A vCPU over flat memory: linear addresses are physical ones, and what the run loop, access.c,
 * mmu/ and the interpreter would do is done in a few lines here.
 */
#ifndef TESTS_CPU_SYSTEM_FAKE_H
#define TESTS_CPU_SYSTEM_FAKE_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include "cpu/cpu.h"
#include "cpu/fault.h"
#include "cpu/system/internal.h"

#define FAKE_MEM (1u << 20)

struct fake {
	struct cpu *c;
	u8 *mem;
	u64 bad_page;	  /* supervisor accesses to this page fault; 0: none */
	u64 rom_page;	  /* physical: stores find no memory there; 0: none */
	unsigned flushes; /* mmu_tlb_flush() */
	unsigned nphys;	  /* entries the walker has read */
	struct {
		u64 la;
		u32 size;
	} read[128]; /* what the instruction has read by linear address */
	unsigned nreads;
	bool counting; /* in RETURNS() */
	/* Called before a compare-and-exchange of a page-table entry; may change it. */
	void (*race)(gpa_t gpa);
};
extern struct fake fake;

void fake_reset(void);
static inline void put16(u64 a, u16 v) { memcpy(fake.mem + a, &v, 2); }
static inline void put32(u64 a, u32 v) { memcpy(fake.mem + a, &v, 4); }
static inline void put64(u64 a, u64 v) { memcpy(fake.mem + a, &v, 8); }
static inline u64 get(u64 a, u32 size)
{
	u64 v = 0;

	memcpy(&v, fake.mem + a, size);
	return v;
}

/* Run `call` under an unwind point: true if it came back, false if it raised c->exception. */
#define RETURNS(call)                                                                         \
	({                                                                                    \
		struct unwind_point env_;                                                     \
		volatile bool back_ = false;                                                  \
		fake.c->exception.pending = false;                                            \
		fake.nreads = 0;                                                              \
		fake.counting = true;                                                         \
		fake.c->unwind = &env_;                                                       \
		if (!UNWIND_SET(&env_)) {                                                     \
			call;                                                                 \
			back_ = true;                                                         \
		}                                                                             \
		fake.counting = false;                                                        \
		back_;                                                                        \
	})
#define assert_raises(vec, err, call)                                                         \
	do {                                                                                  \
		assert_false(RETURNS(call));                                                  \
		assert_int_equal(fake.c->exception.vector, vec);                              \
		assert_int_equal(fake.c->exception.error, err);                               \
	} while (0)

/* Descriptors: base 0, limit 4 GiB unless said otherwise. */
#define DESC(type_s_dpl_p, flags) (0x000f00000000ffffULL | (u64)(type_s_dpl_p) << 40 | (u64)(flags) << 52)
#define GDT_BASE 0x1000ULL
#define IDT_BASE 0x2000ULL
#define TSS_BASE 0x4000ULL
enum {
	SEL_KCODE = 0x08, SEL_KDATA = 0x10, SEL_UCODE = 0x18, SEL_UDATA = 0x20, SEL_KCODE64 = 0x28,
	SEL_UCODE64 = 0x30, SEL_CONF = 0x38, SEL_TSS = 0x40, SEL_ABSENT = 0x50, SEL_RODATA = 0x58,
	SEL_XONLY = 0x60, SEL_GATE = 0x68, SEL_TSS2 = 0x78, GDT_BYTES = 0x90,
};
/* Put a GDT with the segments above in memory, and the vCPU at a privilege in a mode. */
void fake_protected(u8 cpl);
void fake_long(u8 cpl);
void fake_idt32(u8 vector, u16 sel, u32 offset, u8 type, u8 dpl);
void fake_idt64(u8 vector, u16 sel, u64 offset, u8 type, u8 dpl, u8 ist);

#endif
