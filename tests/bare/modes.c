/* SPDX-License-Identifier: MIT */
/* tests/bare/modes.c: from 64-bit mode to every other and back, again and again (SDM vol.
 * 3, 9.8, 9.9, 20.1). The way there is in modes.S. */
#include "bare.h"

enum { LOW = 0x8000 }; /* where the real-mode code is copied; below 64 KiB */
enum { STORM = 200 };

/* What the guest code of modes.S found. */
struct mode_results {
	u32 compat_inc, compat_wrap, compat_esp;
	u32 code16_sum, code16_vector_ok;
	u32 real_interrupt, real_segment, real_wrap, real_undefined, real_limit, unreal;
} __attribute__((packed));
extern volatile struct mode_results mode_results;
extern u8 wrap_target[];

void modes_compat(void);
void modes_16(void);
void modes_real(void);
extern const u8 low_start[], low_end[], code16[];

TEST(compatibility_mode)
{
	u64 rsp, after;

	mode_results.compat_inc = mode_results.compat_wrap = 0;
	asm volatile("mov %%rsp, %0" : "=r"(rsp));
	modes_compat();
	asm volatile("mov %%rsp, %0" : "=r"(after));
	CHECK(rsp == after, "rsp %lx, then %lx", rsp, after);
	CHECK(mode_results.compat_inc == 8, "0x40 is INC there: %u", mode_results.compat_inc);
	CHECK(mode_results.compat_wrap == 0x600d, "addresses wrap at 4 GiB: %x",
	      mode_results.compat_wrap);
}

TEST(code_16_bits)
{
	gdt[SEL_FREE / 8] = descriptor((u64)code16, 0xffff, 0x9b, 0);
	gdt[SEL_FREE / 8 + 1] = descriptor((u64)&mode_results, 0xffff, 0x93, 0);
	mode_results.code16_sum = 0;
	modes_16();
	CHECK(mode_results.code16_sum == 5050, "%u", mode_results.code16_sum);
}

static void real_once(void)
{
	memset((void *)&mode_results, 0, sizeof(mode_results));
	modes_real();
}

TEST(real_mode)
{
	u64 cr4 = read_cr4(), efer = rdmsr(0xc0000080), cr3 = read_cr3();

	memcpy((void *)LOW, low_start, low_end - low_start);
	gdt[SEL_FREE / 8] = descriptor(0, 0xffff, 0x9b, 0);
	gdt[SEL_FREE / 8 + 1] = descriptor(0, 0xffff, 0x93, 0);
	real_once();
	CHECK(read_cr4() == cr4 && rdmsr(0xc0000080) == efer && read_cr3() == cr3, "efer %lx",
	      rdmsr(0xc0000080));
	CHECK(mode_results.real_interrupt == 0x60, "INT through the vector table: %x",
	      mode_results.real_interrupt);
	CHECK(mode_results.real_segment == 0x600d, "segment times 16: %x",
	      mode_results.real_segment);
	CHECK(mode_results.real_undefined == 6, "#UD: %u", mode_results.real_undefined);
	CHECK(mode_results.real_limit == 13, "a word at 0xffff: %u", mode_results.real_limit);
	CHECK(mode_results.unreal == 0x600d, "a limit kept from protected mode: %x",
	      mode_results.unreal);
}

TEST(mode_switch_storm)
{
	for (unsigned i = 0; i < STORM; i++) {
		real_once();
		CHECK(mode_results.real_interrupt == 0x60 && mode_results.real_undefined == 6,
		      "round %u", i);
		mode_results.compat_inc = 0;
		modes_compat();
		CHECK(mode_results.compat_inc == 8, "round %u", i);
	}
}
