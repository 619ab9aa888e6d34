/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy/misc32.c: I/O permissions, SYSENTER and SYSEXIT, and single step over what
 * changes level (SDM vol. 1, 18.5; vol. 2, SYSENTER, SYSEXIT; vol. 3, 17.3.1.4). */
#include "bare32.h"

enum { MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP };
enum { PORT = 0x70, DR6_BS = 1 << 14 };

SNIPPET(user_inb, "inb (%dx), %al");
SNIPPET(user_inw, "inw (%dx), %ax");
SNIPPET(user_inl, "inl (%dx), %eax");
SNIPPET(user_insb, "movl $user_stack, %edi\n cld\n insb");
SNIPPET(user_cli, "cli");
SNIPPET(user_popf, "pushl $0x3202\n popfl\n pushfl\n popl %eax");

static void in(const u8 *code, u32 port, u32 flags)
{
	user_entry(code);
	entry.edx = port;
	entry.eflags = 2 | flags;
	enter();
}

TEST(io_permissions)
{
	in(user_inb, PORT, 0);
	CHECK_FAULT(GP, 0); /* the bitmap begins beyond the TSS */
	in(user_inb, PORT, IOPL(2));
	CHECK_FAULT(GP, 0);
	in(user_inb, PORT, IOPL(3));
	CHECK_VECTOR(VEC_DONE);
	tss.iomap = offsetof(struct tss, io);
	memset(tss.io, 0xff, sizeof(tss.io));
	tss.io[PORT / 8] = 0xfc; /* 0x70 and 0x71 */
	in(user_inb, PORT, 0);
	CHECK_VECTOR(VEC_DONE);
	in(user_insb, PORT, 0);
	CHECK_VECTOR(VEC_DONE);
	in(user_inw, PORT, 0);
	CHECK_VECTOR(VEC_DONE);
	in(user_inl, PORT, 0); /* every byte's bit has to be clear */
	CHECK_FAULT(GP, 0);
	in(user_inw, PORT + 1, 0);
	CHECK_FAULT(GP, 0);
	in(user_inb, PORT + 2, 0);
	CHECK_FAULT(GP, 0);
	/* A word across two bytes of the map. */
	tss.io[PORT / 8] = 0x7f;
	tss.io[PORT / 8 + 1] = 0xfe;
	in(user_inw, PORT + 7, 0);
	CHECK_VECTOR(VEC_DONE);
	tss.io[PORT / 8 + 1] = 0xff;
	in(user_inw, PORT + 7, 0);
	CHECK_FAULT(GP, 0);
}

/* Two bytes of the map are read: both have to be within the TSS. */
TEST(io_bitmap_end)
{
	tss.iomap = offsetof(struct tss, io);
	memset(tss.io, 0, sizeof(tss.io));
	gdt[SEL_TSS / 8] =
		descriptor(addr(&tss), offsetof(struct tss, io) + PORT / 8, DESC_TSS, 0);
	asm volatile("ltr %w0" : : "r"(SEL_TSS) : "memory");
	in(user_inb, PORT - 8, 0);
	CHECK_VECTOR(VEC_DONE);
	in(user_inb, PORT, 0); /* the byte is the last one */
	CHECK_FAULT(GP, 0);
	in(user_inb, PORT + 8, 0);
	CHECK_FAULT(GP, 0);
}

/* POPF at CPL 3: IOPL stays silently, IF stays below IOPL's level. */
TEST(popf_at_level_3)
{
	user(user_popf);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.eax & 0x3200, 0);
	in(user_popf, 0, IOPL(3));
	CHECK_IS(caught.eax & 0x3200, 0x3200);
	user(user_cli);
	CHECK_FAULT(GP, 0);
	in(user_cli, 0, IOPL(3) | FLAG_IF);
	CHECK_VECTOR(VEC_DONE);
	CHECK(!(caught.eflags & FLAG_IF), "%x", caught.eflags);
}

/* ---- SYSENTER and SYSEXIT */

static volatile u32 seen[6] __attribute__((used));
extern const u8 sysenter_entry[];
asm(".pushsection .text\n"
    "sysenter_entry: movl %esp, %ss:seen\n movw %cs, %ss:seen+4\n movw %ss, %ss:seen+8\n"
    "pushfl\n popl %ss:seen+12\n movl $user_after_sysenter, %edx\n"
    "movl $user_stack+2048, %ecx\n sysexit\n.popsection");
SNIPPET(user_sysenter, "sysenter\n nop\n user_after_sysenter: movl %esp, %eax");
SNIPPET(user_sysexit, "sysexit");

static void set_sysenter(u32 cs)
{
	wrmsr(MSR_SYSENTER_CS, cs);
	wrmsr(MSR_SYSENTER_ESP, addr(kernel_stack) + 4096);
	wrmsr(MSR_SYSENTER_EIP, addr(sysenter_entry));
}

TEST(sysenter_and_sysexit)
{
	if (!has.sep)
		return skip("no SEP");
	set_sysenter(0);
	user(user_sysenter);
	CHECK_FAULT(GP, 0);
	set_sysenter(3); /* null but for the RPL */
	user(user_sysenter);
	CHECK_FAULT(GP, 0);
	set_sysenter(SEL_CODE | 3);
	user_entry(user_sysenter);
	entry.eflags = 2 | FLAG_IF | FLAG_CF;
	enter();
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(seen[0], addr(kernel_stack) + 4096);
	CHECK_IS(seen[1], SEL_CODE);
	CHECK_IS(seen[2], SEL_DATA);
	CHECK_IS(seen[3] & (FLAG_IF | FLAG_CF), FLAG_CF); /* IF alone is cleared */
	CHECK_IS(caught.eax, addr(user_stack) + 2048);
	CHECK_IS(caught.cs, SEL_UCODE);
	CHECK_IS(caught.ss, SEL_UDATA);
	CHECK_IS(caught.ds, SEL_UDATA); /* not touched */
	user(user_sysexit);
	CHECK_FAULT(GP, 0);
	wrmsr(MSR_SYSENTER_CS, 0);
	TRY("sysexit", (), ("c"(user_stack), "d"(user_sysexit)));
	CHECK_FAULT(GP, 0);
}

/* Flat segments without a look at the GDT: base 0, 4 GiB, whatever the entries say. */
TEST(sysenter_segments)
{
	if (!has.sep)
		return skip("no SEP");
	set_sysenter(SEL_FREE);
	user(user_sysenter);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(seen[1], SEL_FREE);
	CHECK_IS(seen[2], SEL_FREE + 8);
	CHECK_IS(caught.cs, SEL_FREE + 16 + 3);
	CHECK_IS(caught.ss, SEL_FREE + 24 + 3);
	wrmsr(MSR_SYSENTER_CS, 0);
}

/* ---- SYSCALL and SYSRET: AMD's processors have them in legacy mode (APM vol. 3), Intel's not */

enum { MSR_EFER = 0xc0000080, MSR_STAR };
static volatile u32 called[5] __attribute__((used));
extern const u8 syscall_entry[];
asm(".pushsection .text\n"
    "syscall_entry: movw %cs, %ss:called\n movw %ss, %ss:called+4\n movl %ecx, %ss:called+8\n"
    "movl $kernel_stack+4096, %esp\n pushfl\n popl %ss:called+12\n cli\n"
    "movl $user_stack+2048, %esp\n sysret\n.popsection");
SNIPPET(user_syscall, "user_syscall_at: syscall\nuser_after_syscall: pushfl\n popl %eax");
extern const u8 user_syscall_at[], user_after_syscall[];
SNIPPET(user_sysret, "sysret");

TEST(syscall_and_sysret)
{
	u64 efer = rdmsr(MSR_EFER);

	wrmsr(MSR_STAR, (u64)(SEL_UCODE & ~3) << 48 | (u64)(SEL_CODE | 3) << 32 | addr(syscall_entry));
	user(user_syscall);
	CHECK_FAULT(UD, 0);
	wrmsr(MSR_EFER, efer | 1);
	user_entry(user_syscall);
	entry.eflags = 2 | FLAG_IF | FLAG_DF | FLAG_CF;
	enter();
	if (!has.amd) {
		CHECK_FAULT(UD, 0);
		CHECK_IS(caught.eip, addr(user_syscall_at));
		user(user_sysret);
		CHECK_FAULT(UD, 0);
	} else {
		CHECK_VECTOR(VEC_DONE);
		CHECK_IS(called[0], SEL_CODE);
		CHECK_IS(called[1], SEL_DATA);
		CHECK_IS(called[2], addr(user_after_syscall));
		/* IF alone is cleared, and set again. */
		CHECK_IS(called[3] & (FLAG_IF | FLAG_DF | FLAG_CF), FLAG_DF | FLAG_CF);
		CHECK_IS(caught.eax & (FLAG_IF | FLAG_DF | FLAG_CF), FLAG_IF | FLAG_DF | FLAG_CF);
		CHECK_IS(caught.cs, SEL_UCODE);
		CHECK_IS(caught.ss & ~3, SEL_UDATA & ~3);
		user(user_sysret);
		CHECK_FAULT(GP, 0);
	}
	wrmsr(MSR_EFER, efer);
}

/* ---- single step */

static volatile unsigned steps;
static volatile u32 first_step;
static bool count_steps(struct frame *f)
{
	if (f->vector != DB)
		return false;
	if (!steps++)
		first_step = f->eip;
	return true;
}

SNIPPET(user_steps, "nop\n nop\n incl %eax");
SNIPPET(user_int_steps, "int $0xa0\n nop");
SNIPPET(user_string_steps, "movl $3, %ecx\n movl $user_stack, %edi\n cld\n rep stosb");
SNIPPET(user_popf_steps, "pushl $0x102\n popfl\n nop\n nop\n pushl $2\n popfl");
SNIPPET(user_ss_steps, "movl %ss, %eax\n movl %eax, %ss\n nop");
SNIPPET(user_gate_steps, "lcall $0x53, $0\n nop");

static unsigned step(const u8 *code, u32 flags)
{
	steps = 0;
	write_dr6(0xffff0ff0);
	interrupt_hook = count_steps;
	user_entry(code);
	entry.eflags = 2 | flags;
	enter();
	interrupt_hook = NULL;
	return steps;
}

/* A step for each instruction after the IRET that sets TF; INT leaves it behind. */
TEST(single_steps)
{
	CHECK_IS(step(user_steps, FLAG_TF), 3);
	CHECK_IS(first_step, addr(user_steps) + 1);
	CHECK_VECTOR(VEC_DONE);
	CHECK(caught.eflags & FLAG_TF, "%x", caught.eflags);
	CHECK_IS(step(user_string_steps, FLAG_TF), 3 + 3); /* one an iteration */
	CHECK_IS(step(user_popf_steps, 0), 4);
	CHECK_IS(first_step, addr(user_popf_steps) + 7); /* not POPF's own */
	CHECK_IS(step(user_ss_steps, FLAG_TF), 2);	 /* MOV SS holds one back */
	CHECK_IS(step(user_int_steps, FLAG_TF), 0);	 /* the handler of 0xa0 ends it */
}

TEST(single_step_through_levels)
{
	/* A call gate keeps TF: its target's first instruction is the next step's end. */
	gdt[SEL_FREE / 8] = call_gate(user_steps, SEL_UCODE, GATE_CALL | GATE_DPL3, 0);
	CHECK_IS(step(user_gate_steps, FLAG_TF), 1 + 3);
	CHECK_IS(first_step, addr(user_steps));
	if (!has.sep)
		return;
	/* SYSENTER keeps it as well; the step comes at level 0, before its first instruction.
	 */
	set_sysenter(SEL_CODE);
	step(user_sysenter, FLAG_TF);
	CHECK(first_step == addr(sysenter_entry), "%x", first_step);
	wrmsr(MSR_SYSENTER_CS, 0);
}

/* DR7.GD and the breakpoints of the task go with the processor, not the level. */
TEST(breakpoint_at_level_3)
{
	write_dr6(0xffff0ff0);
	write_dr0(addr(user_steps) + 1);
	write_dr7(0x402);
	user(user_steps);
	write_dr7(0x400);
	CHECK_VECTOR(DB);
	CHECK_IS(caught.dr6 & 0xe00f, 1);
	CHECK_IS(caught.eip, addr(user_steps) + 1);
	/* The one fault that leaves RF to its handler (vol. 3, 17.3.1.1). */
	CHECK(!(caught.eflags & FLAG_RF), "%x", caught.eflags);
}
