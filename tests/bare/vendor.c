/* SPDX-License-Identifier: MIT */
/* tests/bare/vendor.c: what the vendors do differently, by the one that CPUID names: SYSCALL, SYSRET,
 * SYSENTER and SYSEXIT in long mode (SDM vol. 2 and APM vol. 3 under each), and breakpoints in the
 * shadow of a load of SS. */
#include "bare.h"

enum { MSR_SYSENTER_CS = 0x174 };
enum { MSR_EFER = 0xc0000080, MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK };
#define STAR ((u64)(SEL_DATA16 | 3) << 48 | (u64)SEL_CODE64 << 32)

static u64 enable_syscall(u64 lstar, u64 cstar)
{
	u64 efer = rdmsr(MSR_EFER);

	wrmsr(MSR_EFER, efer | 1);
	wrmsr(MSR_STAR, STAR);
	wrmsr(MSR_LSTAR, lstar);
	wrmsr(MSR_CSTAR, cstar);
	wrmsr(MSR_SFMASK, FLAG_DF);
	return efer;
}

/* From compatibility mode, with the upper half of RCX and R11 set. */
#define TRY_COMPAT(entry)                                                                      \
	TRY("pushq %[cs]\n pushq %[rip]\n mov $-1, %%rcx\n mov $-1, %%r11\n lretq", (),        \
	    ([cs] "i"(SEL_CODE32), [rip] "r"((u64)(entry))), "rax", "rcx", "r11", "rdx")

extern const u8 compat_syscall[], compat_syscall_at[], compat_syscall_next[];
extern const u8 long_target[], long_target_end[];
extern const u8 compat_target[], compat_target_end[], compat_sysenter[], compat_sysexit[];
asm(".pushsection .text\n"
    ".code32\n"
    "compat_syscall: std\ncompat_syscall_at: syscall\n"
    "compat_syscall_next: int $0x80\n"
    "compat_sysenter: sysenter\n int $0x80\n"
    "compat_sysexit: sysexit\n int $0x80\n"
    ".code64\n"
    "long_target: int $0x80\nlong_target_end:\n"
    "compat_target: mov %r11, %rdx\n int $0x80\ncompat_target_end:\n"
    ".popsection");

TEST(syscall_from_compatibility)
{
	u64 efer = enable_syscall((u64)long_target, (u64)compat_target);

	TRY_COMPAT(compat_syscall);
	if (!has.amd) {
		CHECK_FAULT(UD, 0);
		CHECK(caught.rip == (u64)compat_syscall_at, "%lx", caught.rip);
	} else {
		CHECK(caught.vector == VEC_DONE && caught.rip == (u64)compat_target_end,
		      "vector %d at %lx", (int)caught.vector, caught.rip);
		CHECK(caught.rcx == (u64)compat_syscall_next, "rcx %lx", caught.rcx);
		CHECK(caught.cs == SEL_CODE64 && caught.ss == SEL_CODE64 + 8, "%lx:%lx",
		      caught.cs, caught.ss);
		CHECK(caught.rdx == (caught.rflags | FLAG_DF) && !(caught.rflags & FLAG_DF),
		      "r11 %lx, flags %lx", caught.rdx, caught.rflags);
		wrmsr(MSR_EFER, efer & ~1ULL);
		TRY_COMPAT(compat_syscall);
		CHECK_FAULT(UD, 0);
	}
	wrmsr(MSR_EFER, efer);
}

TEST(sysenter_in_long_mode)
{
	wrmsr(MSR_SYSENTER_CS, SEL_CODE64);
	wrmsr(MSR_SYSENTER_CS + 1, (u64)page_pool[15] + PAGE);
	wrmsr(MSR_SYSENTER_CS + 2, (u64)long_target);
	TRY_COMPAT(compat_sysenter);
	if (has.amd)
		CHECK_FAULT(UD, 0);
	else
		CHECK(caught.vector == VEC_DONE && caught.rip == (u64)long_target_end,
		      "vector %d at %lx", (int)caught.vector, caught.rip);
	if (has.amd) {
		TRY("sysenter", (), ());
		CHECK_FAULT(UD, 0);
		TRY("sysexitl", (), ("d"(0), "c"(0)));
		CHECK_FAULT(UD, 0);
		TRY("sysexitq", (), ("d"(0), "c"(0)));
		CHECK_FAULT(UD, 0);
		TRY_COMPAT(compat_sysexit);
		CHECK_FAULT(UD, 0);
	}
	wrmsr(MSR_SYSENTER_CS, 0);
}

/* An address that is not canonical: #GP still at CPL 0 (Intel), or the fetch's at CPL 3 (AMD). */
TEST(sysret_not_canonical)
{
	u64 efer = enable_syscall(0, 0);

	TRY("mov $2, %%r11d\n sysretq", (), ("c"(BIT(63))), "r11");
	CHECK_FAULT(GP, 0);
	if (has.amd)
		CHECK(caught.cs == SEL_UCODE64 && caught.rip == BIT(63), "%lx:%lx", caught.cs,
		      caught.rip);
	else
		CHECK(caught.cs == SEL_CODE64, "cs %lx", caught.cs);
	wrmsr(MSR_EFER, efer);
}

/* pushl %eax; int $0x80: the same in 32-bit code */
CODE_BYTES(user_push, ".byte 0x50, 0xcd, 0x80");

/* Returning with a null SS: AMD's SYSRET leaves it unusable, and 32-bit code finds no stack. */
TEST(sysret_stack_segment)
{
	u64 rip = user_code(512, 1, user_push, user_push_end), efer = enable_syscall(0, 0);
	u64 rsp = (u64)window(USER_STACK_PAGE + 1) - 64;

	window_map(USER_STACK_PAGE, page_pool[15], PTE_P | PTE_W | PTE_U);
	TRY("mov %[rsp], %%rsp\n mov %[null], %%ss\n mov $2, %%r11d\n sysretl", (),
	    ([rsp] "r"(rsp), [null] "r"(0), "c"(rip)), "r11");
	if (has.amd)
		CHECK_FAULT(SS, 0);
	else
		CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
	CHECK(caught.ss == SEL_UDATA, "ss %lx", caught.ss);
	wrmsr(MSR_EFER, efer);
}

SNIPPET(user_nop, "nop");

/* TF that SYSRET loads traps at once, before the program's first instruction; TF that it clears
 * takes its trap along. */
TEST(sysret_loads_trap_flag)
{
	u64 rip = user_code(512, 1, user_nop, user_nop_end), efer = enable_syscall(0, 0);

	write_dr6(0xffff0ff0);
	TRY("mov $0x102, %%r11d\n sysretq", (), ("c"(rip)), "r11");
	CHECK_FAULT(DB, 0);
	CHECK(caught.rip == rip && caught.cs == SEL_UCODE64, "%lx:%lx", caught.cs, caught.rip);
	CHECK((caught.dr6 & 0xe00f) == 0x4000, "dr6 %lx", caught.dr6);
	wrmsr(MSR_EFER, efer);
}

/* ---- the shadow of a load of SS */

static volatile u16 stack_selector = SEL_DATA;
static volatile unsigned traps;
static volatile u64 trap_rip, trap_dr6;

static bool count_traps(struct frame *f)
{
	if (f->vector != DB)
		return false;
	if (!traps++) {
		trap_rip = f->rip;
		trap_dr6 = read_dr6();
	}
	f->rflags |= FLAG_RF;
	return true;
}

extern const u8 after_int1[], shadowed[];

/* The #DB of INT1 is the only one: that of the watchpoint does not follow. */
TEST(watchpoint_before_int1)
{
	traps = 0;
	interrupt_hook = count_traps;
	write_dr6(0xffff0ff0);
	write_dr0((u64)&stack_selector);
	write_dr7(0x400 | 2 | 7 << 16);
	TRY("mov %[ss], %%ss\n .byte 0xf1\nafter_int1: nop", (), ([ss] "m"(stack_selector)));
	write_dr7(0x400);
	interrupt_hook = NULL;
	CHECK_NONE();
	CHECK(traps == 1 && trap_rip == (u64)after_int1, "%u, at %lx", traps, trap_rip);
}

/* Intel's processors do not stop at the instruction after a load of SS; AMD's do. */
TEST(code_breakpoint_after_stack_load)
{
	traps = 0;
	interrupt_hook = count_traps;
	write_dr6(0xffff0ff0);
	write_dr0((u64)shadowed);
	write_dr7(0x400 | 2);
	TRY("mov %[ss], %%ss\nshadowed: nop", (), ([ss] "m"(stack_selector)));
	write_dr7(0x400);
	interrupt_hook = NULL;
	CHECK_NONE();
	CHECK(traps == has.amd, "%u traps", traps);
	if (has.amd)
		CHECK(trap_rip == (u64)shadowed && (trap_dr6 & 0xe00f) == 1, "%lx dr6 %lx",
		      trap_rip, trap_dr6);
}
