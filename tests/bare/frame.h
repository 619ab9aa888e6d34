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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

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
void *memcpy(void *d, const void *s, size_t n);
void *memset(void *d, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
