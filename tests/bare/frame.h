/* SPDX-License-Identifier: MIT */
/*
 * tests/bare/frame.h: what the 64-bit and the 32-bit image of the bare-metal suite share.
 *
 * The suite is a kernel of its own, booted by `qemu -kernel` through the PVH entry on any
 * accelerator. A test is a function that checks what the processor did; its line on the serial
 * port is `ok NAME`, `not ok NAME` or `skip NAME`. The last line counts them.
 */
#ifndef FRAME_H
#define FRAME_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;
#ifdef __x86_64__
typedef u64 reg_t;
#else
typedef u32 reg_t;
#endif

#define BIT(n)	      (1ULL << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum { DE = 0, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, MC, XM };

#define CHECK(condition, ...)                                                                  \
	do {                                                                                   \
		if (!(condition))                                                              \
			check_failed(__FILE__, __LINE__, #condition, "" __VA_ARGS__);          \
	} while (0)

struct test {
	const char *name;
	void (*run)(void);
};
#define TEST(name)                                                                             \
	static void test_##name(void);                                                         \
	static const struct test entry_##name                                                  \
		__attribute__((section("tests"), used)) = {#name, test_##name};                \
	static void test_##name(void)

void check_failed(const char *file, int line, const char *what, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void skip(const char *why); /* this test cannot be run here; return after it */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void vprint(const char *format, va_list args);

/* ---- what an image gives run.c, which has main() */
void image_start(void);
void image_before_test(void);
extern const u8 stubs[256][16];

/* Called instead of noting the vector in `caught`: true: return to what was interrupted. */
struct frame;
extern bool (*interrupt_hook)(struct frame *f);
/* Where interrupt() lets a test go on that did not expect it: it ends. */
extern const u8 abandon[];
extern reg_t abandon_sp;

struct table_pointer {
	u16 limit;
	reg_t base;
} __attribute__((packed));
/* A flat segment with this access byte (P, DPL, S, type) and these flags (G, D, L, AVL). */
u64 descriptor(u32 base, u32 limit, u8 access, u8 flags);

#define UNWRAP(...) __VA_ARGS__ /* for TRY */

/* Code for another place, privilege level or mode; a snippet ends with the good exception. */
#define CODE_BYTES(name, text)                                                                 \
	extern const u8 name[], name##_end[];                                                  \
	asm(".pushsection .rodata\n" #name ": " text "\n" #name "_end:\n.popsection")
#define SNIPPET(name, text) CODE_BYTES(name, text "\n int $0x80")

/* ---- instructions and what little of libc there is */
static inline void cpuid(u32 leaf, u32 sub, u32 out[4])
{
	asm volatile("cpuid"
		     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
		     : "a"(leaf), "c"(sub));
}
static inline void outb(u16 port, u8 v)
{
	asm volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}
static inline u8 inb(u16 port)
{
	u8 v;
	asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
#define READ_REG(name)                                                                         \
	static inline reg_t read_##name(void)                                                  \
	{                                                                                      \
		reg_t v;                                                                       \
		asm volatile("mov %%" #name ", %0" : "=r"(v));                                 \
		return v;                                                                      \
	}                                                                                      \
	static inline void write_##name(reg_t v)                                               \
	{                                                                                      \
		asm volatile("mov %0, %%" #name : : "r"(v) : "memory");                        \
	}
READ_REG(cr0)
READ_REG(cr2)
READ_REG(cr3)
READ_REG(cr4)
READ_REG(dr0)
READ_REG(dr1)
READ_REG(dr6)
READ_REG(dr7)
static inline u64 rdmsr(u32 n)
{
	u32 lo, hi;
	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(n));
	return ((u64)hi << 32) | lo;
}
static inline void wrmsr(u32 n, u64 v)
{
	asm volatile("wrmsr" : : "c"(n), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}
void *memcpy(void *d, const void *s, size_t n);
void *memset(void *d, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

enum {
	CR0_PE = 1,
	CR0_MP = 2,
	CR0_EM = 4,
	CR0_TS = 8,
	CR0_NE = 32,
	CR0_WP = 1 << 16,
	CR0_AM = 1 << 18
};
#define CR0_PG (1u << 31)
enum {
	CR4_VME = 1,
	CR4_PVI = 2,
	CR4_TSD = 4,
	CR4_DE = 8,
	CR4_PSE = 0x10,
	CR4_PAE = 0x20,
	CR4_OSFXSR = 0x200,
	CR4_OSXMMEXCPT = 0x400,
	CR4_UMIP = 0x800,
	CR4_FSGSBASE = 1 << 16,
	CR4_OSXSAVE = 1 << 18,
	CR4_SMEP = 1 << 20,
	CR4_SMAP = 1 << 21
};
enum {
	FLAG_CF = 1,
	FLAG_PF = 4,
	FLAG_AF = 0x10,
	FLAG_ZF = 0x40,
	FLAG_SF = 0x80,
	FLAG_TF = 0x100,
	FLAG_IF = 0x200,
	FLAG_DF = 0x400,
	FLAG_OF = 0x800,
	FLAG_NT = 0x4000,
	FLAG_RF = 0x10000,
	FLAG_VM = 0x20000,
	FLAG_AC = 0x40000,
	FLAG_VIF = 0x80000,
	FLAG_VIP = 0x100000
};

#endif
