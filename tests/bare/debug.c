/* SPDX-License-Identifier: MIT */
/* tests/bare/debug.c: single step and the debug registers (SDM vol. 3, chapter 17). */
#include "bare.h"

enum { DR6_B0 = 1, DR6_BD = 1 << 13, DR6_BS = 1 << 14, DR7_L0 = 1, DR7_GD = 1 << 13 };
enum { ON_EXECUTE = 0, ON_WRITE = 1, ON_IO = 2, ON_ACCESS = 3 };
enum { LEN1 = 0, LEN2 = 1, LEN8 = 2, LEN4 = 3 };

#define SET_TF	 "pushfq\n orl $0x100, (%%rsp)\n popfq\n"
#define CLEAR_TF "pushfq\n andl $~0x100, (%%rsp)\n popfq\n"

static void watch(const volatile void *p, unsigned when, unsigned length)
{
	write_dr6(0xffff0ff0);
	write_dr0((u64)p);
	write_dr7(0x400 | DR7_L0 | when << 16 | length << 18);
}

static void unwatch(void)
{
	write_dr7(0x400);
	write_dr6(0xffff0ff0);
}

#define CHECK_DB(bits, where)                                                                  \
	do {                                                                                   \
		CHECK(caught.vector == DB, "vector %d", (int)caught.vector);                   \
		CHECK((caught.dr6 & 0xe00f) == (bits), "dr6 %lx", caught.dr6);                 \
		CHECK(caught.rip == (where), "rip %lx, not %lx", caught.rip, (u64)(where));    \
	} while (0)

TEST(single_step)
{
	u64 after, ecx = 3;

	unwatch();
	TRY("lea 1f(%%rip), %[l]\n" SET_TF "nop\n 1: nop\n" CLEAR_TF, ([l] "=&r"(after)), ());
	CHECK_DB(DR6_BS, after);
	CHECK(caught.rflags & FLAG_TF);
	unwatch();
	/* Loading SS holds the trap back for one instruction. */
	TRY("lea 1f(%%rip), %[l]\n mov %%ss, %%eax\n" SET_TF
	    "mov %%eax, %%ss\n nop\n 1: nop\n" CLEAR_TF,
	    ([l] "=&r"(after)), (), "rax");
	CHECK_DB(DR6_BS, after);
	unwatch();
	/* A repeated string instruction traps after each iteration, with RIP still at it. */
	TRY("lea 1f(%%rip), %[l]\n" SET_TF "1: rep lodsb\n" CLEAR_TF,
	    ([l] "=&r"(after), "+c"(ecx)), ("S"(page_pool[0])), "rax");
	CHECK_DB(DR6_BS, after);
	CHECK(ecx == 2, "rcx %lx", ecx);
	unwatch();
	/* It ends a HLT (vol. 2, HLT). */
	if (!has.tcg) { /* which stays halted */
		TRY("lea 1f(%%rip), %[l]\n" SET_TF "hlt\n 1: nop\n" CLEAR_TF, ([l] "=&r"(after)),
		    ());
		CHECK_DB(DR6_BS, after);
		unwatch();
	}
	/* INT n clears TF in the handler and traps not before it; here the vector is simply
	 * noted. */
	TRY(SET_TF "int $0x80\n" CLEAR_TF, (), ());
	CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
	unwatch();
}

TEST(icebp)
{
	u64 after;

	unwatch();
	TRY("lea 1f(%%rip), %[l]\n .byte 0xf1\n 1:", ([l] "=&r"(after)), ());
	CHECK_DB(0, after);
	TRY("lea 1f(%%rip), %[l]\n int3\n 1:", ([l] "=&r"(after)), ());
	CHECK(caught.vector == BP && caught.rip == after, "vector %d", (int)caught.vector);
}

TEST(data_breakpoints)
{
	u64 after;
	u8 *p = page_pool[0];

	watch(p + 8, ON_WRITE, LEN4);
	TRY("lea 1f(%%rip), %[l]\n movb $1, (%[p])\n 1: nop", ([l] "=&r"(after)),
	    ([p] "r"(p + 11)));
	CHECK_DB(DR6_B0, after);
	watch(p + 8, ON_WRITE, LEN4);
	TRY("mov (%[p]), %%eax", (), ([p] "r"(p + 8)), "rax");
	CHECK_NONE();
	TRY("movb $1, (%[p])", (), ([p] "r"(p + 12)));
	CHECK_NONE();
	TRY("lea 1f(%%rip), %[l]\n movq $1, (%[p])\n 1: nop", ([l] "=&r"(after)),
	    ([p] "r"(p + 1)));
	CHECK_DB(DR6_B0, after); /* overlaps the first byte */
	watch(p + 8, ON_ACCESS, LEN8);
	TRY("lea 1f(%%rip), %[l]\n mov (%[p]), %%al\n 1: nop", ([l] "=&r"(after)),
	    ([p] "r"(p + 15)), "rax");
	CHECK_DB(DR6_B0, after);
	/* Not enabled: no trap. */
	write_dr7(0x400 | ON_ACCESS << 16);
	TRY("mov (%[p]), %%al", (), ([p] "r"(p + 8)), "rax");
	CHECK_NONE();
	unwatch();
}

static unsigned hits;

static bool resume(struct frame *f)
{
	if (f->vector != DB)
		return false;
	caught.vector = DB;
	caught.rip = f->rip;
	caught.rflags = f->rflags;
	caught.dr6 = read_dr6();
	f->rflags |= FLAG_RF;
	if (++hits == 3)
		unwatch(); /* RF does nothing here; the count says so */
	return true;
}

TEST(instruction_breakpoint)
{
	u64 at, rax = 0;

	watch((void *)0, ON_EXECUTE, LEN1);
	TRY("lea 1f(%%rip), %[l]\n mov %[l], %%dr0\n nop\n 1: mov $1, %%eax\n nop",
	    ([l] "=&r"(at), "+a"(rax)), ());
	CHECK_DB(DR6_B0, at);
	CHECK(rax == 0, "a fault: before the instruction");
	/* The one fault that is pushed with RF as it was (SDM vol. 3, 17.3.1.1). */
	CHECK(!(caught.rflags & FLAG_RF), "flags %lx", caught.rflags);
	/* With RF the instruction runs, and the next time it breaks again. */
	interrupt_hook = resume;
	hits = 0;
	watch((void *)0, ON_EXECUTE, LEN1);
	asm volatile("lea 1f(%%rip), %%rcx\n mov %%rcx, %%dr0\n nop\n 1: inc %%eax\n nop"
		     : "+a"(rax)
		     :
		     : "rcx");
	interrupt_hook = NULL;
	CHECK(rax == 1 && hits == 1, "rax %lx after %u", rax, hits);
	unwatch();
}

TEST(io_breakpoint)
{
	u64 after, cr4 = read_cr4();

	write_cr4(cr4 | CR4_DE);
	watch((void *)0x80, ON_IO, LEN1);
	TRY("lea 1f(%%rip), %[l]\n out %%al, $0x80\n 1: nop", ([l] "=&r"(after)), ("a"(0)));
	CHECK_DB(DR6_B0, after);
	unwatch();
	write_cr4(cr4);
}

TEST(general_detect)
{
	u64 at;

	write_dr7(0x400 | DR7_GD);
	TRY("lea 1f(%%rip), %[l]\n 1: mov %%dr0, %%rax", ([l] "=&r"(at)), (), "rax");
	CHECK_DB(DR6_BD, at);
	CHECK(caught.rflags & FLAG_RF, "a fault: %lx", caught.rflags);
	CHECK(!(read_dr7() & DR7_GD), "cleared on the way to the handler");
	unwatch();
}

TEST(debug_register_rules)
{
	u64 cr4 = read_cr4(), rax = 0;

	write_cr4(cr4 & ~(u64)CR4_DE);
	TRY("mov %%dr4, %%rax", ("+a"(rax)), ());
	CHECK_NONE();
	CHECK(rax == read_dr6(), "dr4 is dr6: %lx", rax);
	write_cr4(cr4 | CR4_DE);
	TRY("mov %%dr5, %%rax", ("+a"(rax)), ());
	CHECK_FAULT(UD, 0);
	write_cr4(cr4);
	rax = BIT(32);
	TRY("mov %%rax, %%dr7", ("+a"(rax)), ());
	CHECK_FAULT(GP, 0);
	TRY("mov %%rax, %%dr6", ("+a"(rax)), ());
	CHECK_FAULT(GP, 0);
	TRY("mov %%rax, %%dr0", ("+a"(rax)), ());
	CHECK_NONE();
	write_dr7(0x400);
	CHECK((read_dr7() & 0xffffffffffffdc00ULL) == 0x400, "dr7 %lx", read_dr7());
	unwatch();
}

/* The trap of a load of SS waits for the next instruction (6.8.3). */
TEST(breakpoints_after_stack_load)
{
	u64 after;
	u16 *p = (u16 *)page_pool[0];

	*p = SEL_DATA;
	watch(p, ON_ACCESS, LEN2);
	TRY("lea 1f(%%rip), %[l]\n mov (%[p]), %%ss\n nop\n 1: nop", ([l] "=&r"(after)),
	    ([p] "r"(p)));
	CHECK_DB(DR6_B0, after);
	unwatch();
}

static bool unwatch_and_resume(struct frame *f)
{
	unwatch(); /* the handler writes to its frame */
	return resume(f);
}

/* What the pushes of an event's delivery hit traps in front of the handler. */
TEST(breakpoint_in_a_frame)
{
	if (has.tcg)
		return skip("QEMU 7.2 fails an assertion");
	hits = 0;
	interrupt_hook = unwatch_and_resume;
	watch((void *)0, ON_WRITE, LEN8);
	TRY("mov %%rsp, %%rax\n and $-16, %%rax\n sub $8, %%rax\n mov %%rax, %%dr0\n ud2", (), (),
	    "rax");
	interrupt_hook = NULL;
	unwatch();
	CHECK(caught.vector == UD, "vector %d", (int)caught.vector);
	CHECK(hits == 1, "%u traps", hits);
}

/* A string instruction is broken at once, before its first iteration; RF says that it is between
 * two (17.3.1.1). */
TEST(breakpoint_at_a_string)
{
	u64 rcx = 3;

	interrupt_hook = resume;
	hits = 0;
	watch((void *)0, ON_EXECUTE, LEN1);
	asm volatile("lea 1f(%%rip), %%rax\n mov %%rax, %%dr0\n 1: rep stosb"
		     : "+c"(rcx)
		     : "D"(page_pool[0])
		     : "rax", "memory");
	interrupt_hook = NULL;
	CHECK(!rcx && hits == 1, "rcx %lx after %u", rcx, hits);
	watch(page_pool[0] + 1, ON_WRITE, LEN1);
	rcx = 3;
	TRY("rep stosb", ("+c"(rcx)), ("D"(page_pool[0])), "rax");
	CHECK(caught.vector == DB && rcx == 1, "vector %d rcx %lx", (int)caught.vector, rcx);
	/* AMD's processors do not show it to a trap (APM vol. 2, 3.1.6). */
	CHECK(!(caught.rflags & FLAG_RF) == has.amd, "flags %lx", caught.rflags);
	watch(page_pool[0] + 2, ON_WRITE, LEN1);
	rcx = 3;
	TRY("rep stosb", ("+c"(rcx)), ("D"(page_pool[0])), "rax");
	CHECK(caught.vector == DB && rcx == 0, "vector %d rcx %lx", (int)caught.vector, rcx);
	CHECK(!(caught.rflags & FLAG_RF), "flags %lx", caught.rflags);
	unwatch();
}

/* INT1 takes TF away as INT n does: one trap, not two. */
TEST(icebp_single_stepped)
{
	hits = 0;
	interrupt_hook = resume;
	unwatch();
	TRY(SET_TF ".byte 0xf1\n int $0x80\n" CLEAR_TF, (), ());
	interrupt_hook = NULL;
	/* Of INT1; of INT n there is none, and its handler ends this. */
	CHECK(caught.vector == VEC_DONE && hits == 1, "vector %d after %u", (int)caught.vector,
	      hits);
	unwatch();
}

extern const u8 stepped_entry[];
asm("stepped_entry: sysretq");
SNIPPET(user_stepped, "syscall\n nop");
static volatile unsigned steps_outside;
static volatile u64 first_outside;

static bool count_steps(struct frame *f)
{
	if (f->vector != DB)
		return false;
	if (!(f->cs & 3) && !steps_outside++)
		first_outside = f->rip;
	return true;
}

/* Single step over SYSCALL: no trap where the mask takes TF, else at the entry. */
TEST(syscall_single_stepped)
{
	enum { EFER = 0xc0000080, STAR = 0xc0000081, LSTAR, SFMASK = 0xc0000084 };
	u64 rip = user_code(512, 1, user_stepped, user_stepped_end), efer = rdmsr(EFER);

	unwatch();
	wrmsr(EFER, efer | 1);
	wrmsr(STAR, (u64)(SEL_DATA16 | 3) << 48 | (u64)SEL_CODE64 << 32);
	wrmsr(LSTAR, (u64)stepped_entry);
	for (unsigned mask = 0; mask <= FLAG_TF; mask += FLAG_TF) {
		wrmsr(SFMASK, mask);
		steps_outside = 0;
		interrupt_hook = count_steps;
		run_user(rip, 0, 0, FLAG_TF);
		interrupt_hook = NULL;
		CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
		CHECK(!steps_outside == !!mask, "%u steps", steps_outside);
		if (!mask)
			CHECK(first_outside == (u64)stepped_entry, "%lx", first_outside);
	}
	wrmsr(SFMASK, 0);
	wrmsr(EFER, efer);
	unwatch();
}
