/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy/tasks.c: hardware task switches (SDM vol. 3, chapter 7 of old, 8 of new
 * editions: task management). */
#include "bare32.h"

enum { FREE0 = SEL_FREE, FREE1 = SEL_FREE + 8, FREE2 = SEL_FREE + 16 };
enum { DR6_BT = 1 << 15, DR6_BS = 1 << 14 };
enum { BUSY_TSS = DESC_TSS | DESC_BUSY, BUSY_TSS16 = DESC_TSS16 | DESC_BUSY };

static u8 task_stack[4096] __attribute__((aligned(16)));

/* What the code of a task saw. */
static volatile u32 seen[16];

static void make_task(const void *eip)
{
	tss2 = (struct tss){.eip = addr(eip),
			    .eflags = 2,
			    .esp = addr(task_stack) + sizeof(task_stack) - 64,
			    .es = SEL_DATA,
			    .cs = SEL_CODE,
			    .ss = SEL_DATA,
			    .ds = SEL_DATA,
			    .cr3 = read_cr3(),
			    .iomap = sizeof(struct tss)};
	memset((void *)seen, 0, sizeof(seen));
}

/* Loop, so that the next switch to it starts over. */
#define TASK(name, text)                                                                       \
	extern const u8 name[];                                                                \
	asm(".pushsection .text\n" #name ": " text "\n jmp " #name "\n.popsection")

TASK(task_jumps_back, "movl %eax, seen\n movl %esp, seen+4\n str seen+8\n movl %cr0, %ebx\n"
		      "movl %ebx, seen+12\n pushfl\n popl seen+16\n movl %esi, seen+20\n"
		      "movw %fs, seen+24\n clts\n ljmp $0x38, $0");
TASK(task_returns, "movl %eax, seen\n movl %esp, seen+4\n str seen+8\n pushfl\n popl seen+16\n"
		   "movl (%esp), %ebx\n movl %ebx, seen+28\n clts\n iret");
TASK(task_done, "int $0x80");

static void jump(u16 selector)
{
	static volatile struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) target;

	target.offset = 0xdeadbeef; /* of no meaning */
	target.selector = selector;
	TRY("ljmp *%[t]", (), ([t] "m"(target)), ALL_REGISTERS);
}

static void call(u16 selector)
{
	static volatile struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) target;

	target.offset = 0;
	target.selector = selector;
	TRY("lcall *%[t]", (), ([t] "m"(target)), ALL_REGISTERS);
}

TEST(task_jump)
{
	make_task(task_jumps_back);
	tss2.eax = 0x11223344;
	tss2.esi = 0x55667788;
	tss2.eflags = 2 | FLAG_CF | FLAG_OF;
	tss2.fs = SEL_UDATA;
	tss2.link = 0xabcd;
	jump(SEL_TSS2);
	CHECK_NONE();
	CHECK(seen[0] == 0x11223344 && seen[5] == 0x55667788, "%x %x", seen[0], seen[5]);
	CHECK_IS(seen[1], tss2.esp);
	CHECK_IS(seen[2] & ~3u, SEL_TSS2);
	CHECK(seen[3] & CR0_TS, "a task switch sets TS: %x", seen[3]);
	CHECK_IS(seen[4] & ~2u, FLAG_CF | FLAG_OF); /* not NT */
	CHECK_IS(seen[6], SEL_UDATA);
	CHECK_IS(tss2.link, 0xabcd); /* a jump leaves the link */
	CHECK_IS(read_tr(), SEL_TSS);
	CHECK_IS(access_of(SEL_TSS), BUSY_TSS);
	CHECK_IS(access_of(SEL_TSS2), DESC_TSS);
	CHECK(read_cr0() & CR0_TS, "and so does the way back");
}

/* What is saved, and what is not. */
TEST(task_saves_its_state)
{
	u32 next;

	make_task(task_jumps_back);
	memset(&tss.eip, 0xee, offsetof(struct tss, trap) - offsetof(struct tss, eip));
	tss.cr3 = 0x5000;
	tss.ldt = 0;
	tss.esp1 = 0x1234;
	TRY("movl $1f, %[n]\n movl $0xa1, %%eax\n movl $0xc1, %%ecx\n stc\n ljmp $0x40, $0\n "
	    "1:",
	    ([n] "=&D"(next)), (), "eax", "ecx");
	CHECK_NONE();
	CHECK_IS(tss.eip, next);
	CHECK_IS(tss.eax, 0xa1);
	CHECK_IS(tss.ecx, 0xc1);
	CHECK_IS(tss.edi, next);
	CHECK(tss.eflags & FLAG_CF, "%x", tss.eflags);
	CHECK_IS(tss.cs & 0xffff, SEL_CODE);
	CHECK_IS(tss.ss & 0xffff, SEL_DATA);
	CHECK_IS(tss.cr3, 0x5000); /* static: CR3, LDT, inner stacks */
	CHECK_IS(tss.ldt, 0);
	CHECK_IS(tss.esp1, 0x1234);
}

TEST(task_call_and_iret)
{
	make_task(task_returns);
	tss2.eax = 0x4321;
	call(SEL_TSS2);
	CHECK_NONE();
	CHECK_IS(seen[0], 0x4321);
	CHECK_IS(tss2.link & 0xffff, SEL_TSS);
	CHECK(seen[4] & FLAG_NT, "%x", seen[4]);
	CHECK_IS(access_of(SEL_TSS2), DESC_TSS);
	CHECK_IS(access_of(SEL_TSS), BUSY_TSS);
	CHECK(!(tss2.eflags & FLAG_NT), "IRET saves NT clear: %x", tss2.eflags);
	CHECK_IS(read_tr(), SEL_TSS);
	call(SEL_TSS2); /* goes on after its IRET: a jump to its start */
	CHECK_NONE();
	CHECK_IS(seen[2] & ~3u, SEL_TSS2);
}

/* While a called task runs, both are busy. */
TEST(task_nested_busy_bits)
{
	make_task(task_done);
	call(SEL_TSS2);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.tr, SEL_TSS2);
	CHECK_IS(access_of(SEL_TSS2), BUSY_TSS);
	CHECK(caught.eflags & FLAG_NT, "%x", caught.eflags);
	gdt[SEL_TSS2 / 8] &= ~((u64)DESC_BUSY << 40);
	make_task(task_done);
	jump(SEL_TSS2);
	CHECK_VECTOR(VEC_DONE);
	CHECK(!(caught.eflags & FLAG_NT), "%x", caught.eflags);
	CHECK_IS(access_of(SEL_TSS2), BUSY_TSS);
}

TEST(task_gates)
{
	make_task(task_returns);
	gdt[FREE0 / 8] = call_gate(NULL, SEL_TSS2, GATE_TASK, 0);
	call(FREE0);
	CHECK_NONE();
	CHECK_IS(seen[2] & ~3u, SEL_TSS2);
	make_task(task_jumps_back);
	jump(FREE0);
	CHECK_NONE();
	CHECK_IS(seen[2] & ~3u, SEL_TSS2);
	make_task(task_returns);
	ldt[1] = gdt[FREE0 / 8];
	load_ldtr(SEL_LDT);
	tss.ldt = SEL_LDT;
	call(8 | 4);
	CHECK_NONE();
	CHECK_IS(seen[2] & ~3u, SEL_TSS2);
	tss.ldt = 0;
}

SNIPPET(user_calls_gate, "lcall $0x53, $0");
SNIPPET(user_jumps_tss, "ljmp $0x43, $0");
SNIPPET(user_jumps_tss_rpl0, "ljmp $0x40, $0");

/* From CPL 3 the gate's DPL counts, not the TSS's. */
TEST(task_privilege)
{
	make_task(task_returns);
	gdt[FREE0 / 8] = call_gate(NULL, SEL_TSS2, GATE_TASK | GATE_DPL3, 0);
	user(user_calls_gate);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(seen[2] & ~3u, SEL_TSS2);
	gdt[FREE0 / 8] = call_gate(NULL, SEL_TSS2, GATE_TASK, 0);
	user(user_calls_gate);
	CHECK_FAULT(GP, FREE0);
	user(user_jumps_tss);
	CHECK_FAULT(GP, SEL_TSS2);
	user(user_jumps_tss_rpl0);
	CHECK_FAULT(GP, SEL_TSS2);
	gdt[SEL_TSS2 / 8] |= (u64)0x60 << 40;
	make_task(task_jumps_back);
	user(user_jumps_tss);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(seen[2] & ~3u, SEL_TSS2);
}

/* Through the IDT: the error code goes to the new task's stack, the link leads back. */
TEST(task_gate_in_idt)
{
	static volatile u32 flags;

	make_task(task_returns);
	set_gate(&idt[VEC_FREE], NULL, SEL_TSS2, GATE_TASK);
	TRY("int $0xa0\n pushfl\n popl %[f]", ([f] "=m"(flags)), (), ALL_REGISTERS);
	CHECK_NONE();
	CHECK_IS(seen[2] & ~3u, SEL_TSS2);
	CHECK_IS(seen[1], addr(task_stack) + sizeof(task_stack) - 64);
	CHECK(!(flags & FLAG_NT), "%x", flags);
	make_task(task_done);
	set_gate(&idt[GP], NULL, SEL_TSS2, GATE_TASK);
	TRY("1: movl %[s], %%eax\n movl %%eax, %%ds", (), ([s] "i"(SEL_LAST + 8)),
	    ALL_REGISTERS);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.tr, SEL_TSS2);
	CHECK_IS(*(u32 *)(addr(task_stack) + sizeof(task_stack) - 68), SEL_LAST + 8);
	CHECK_IS(tss2.link & 0xffff, SEL_TSS);
	CHECK(*(u8 *)tss.eip == 0x8e, "the fault's own instruction: %x", tss.eip);
}

/* A fault saves RF, for the instruction not to break again; a trap does not (17.3.1.1). */
TEST(task_gate_resume_flag)
{
	make_task(task_done);
	set_gate(&idt[UD], NULL, SEL_TSS2, GATE_TASK);
	TRY("ud2", (), (), ALL_REGISTERS);
	CHECK_VECTOR(VEC_DONE);
	CHECK(tss.eflags & FLAG_RF, "%x", tss.eflags);
}

/* A stack no handler could use: the double fault's task has one of its own. */
TEST(double_fault_task)
{
	make_task(task_done);
	set_gate(&idt[DF], NULL, SEL_TSS2, GATE_TASK);
	gdt[FREE0 / 8] = descriptor(0, 0xfff, 0x93, 0x4); /* 4 KiB, and ESP above */
	TRY("movl %[s], %%eax\n movl %%eax, %%ss\n pushl %%eax", (), ([s] "i"(FREE0)),
	    ALL_REGISTERS);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.tr, SEL_TSS2);
	CHECK_IS(*(u32 *)(addr(task_stack) + sizeof(task_stack) - 68), 0);
	CHECK_IS(tss.ss & 0xffff, FREE0);
}

/* ---- refusals in the old task's context */

TEST(task_refused)
{
	make_task(task_returns);
	jump(SEL_TSS); /* busy: itself */
	CHECK_FAULT(GP, SEL_TSS);
	call(SEL_TSS);
	CHECK_FAULT(GP, SEL_TSS);
	gdt[FREE0 / 8] = descriptor(addr(&tss2), sizeof(tss2) - 1, DESC_TSS & 0x7f, 0);
	jump(FREE0);
	CHECK_FAULT(NP, FREE0);
	gdt[FREE0 / 8] = descriptor(addr(&tss2), 0x66, DESC_TSS, 0);
	jump(FREE0);
	CHECK_FAULT(TS, FREE0);
	gdt[FREE0 / 8] = descriptor(addr(&tss2), 0x2a, DESC_TSS16, 0);
	jump(FREE0);
	CHECK_FAULT(TS, FREE0);
	ldt[1] = descriptor(addr(&tss2), sizeof(tss2) - 1, DESC_TSS, 0);
	load_ldtr(SEL_LDT);
	jump(8 | 4);
	CHECK_FAULT(GP, 8 | 4);
	gdt[FREE0 / 8] = call_gate(NULL, 0, GATE_TASK, 0);
	jump(FREE0);
	CHECK_FAULT(GP, 0);
	gdt[FREE0 / 8] = call_gate(NULL, SEL_DATA, GATE_TASK, 0);
	jump(FREE0);
	CHECK_FAULT(GP, SEL_DATA);
	gdt[FREE0 / 8] = call_gate(NULL, SEL_TSS2, GATE_TASK & 0x7f, 0);
	jump(FREE0);
	CHECK_FAULT(NP, FREE0);
	gdt[FREE0 / 8] = call_gate(NULL, SEL_TSS, GATE_TASK, 0);
	jump(FREE0);
	CHECK_FAULT(GP, SEL_TSS);
	CHECK_IS(access_of(SEL_TSS), BUSY_TSS);
	CHECK_IS(access_of(SEL_TSS2), DESC_TSS);
	CHECK_IS(read_tr(), SEL_TSS);
}

static void iret_to(u16 link)
{
	tss.link = link;
	TRY("pushfl\n orl $0x4000, (%%esp)\n popfl\n iret", (), (), ALL_REGISTERS);
}

/* IRET with NT wants a busy TSS in the GDT: #TS, not #GP. */
TEST(task_return_refused)
{
	make_task(task_jumps_back);
	iret_to(SEL_TSS2);
	CHECK_FAULT(TS, SEL_TSS2);
	iret_to(0);
	CHECK_FAULT(TS, 0);
	iret_to(SEL_DATA);
	CHECK_FAULT(TS, SEL_DATA);
	iret_to(SEL_LAST + 8);
	CHECK_FAULT(TS, SEL_LAST + 8);
	ldt[1] = descriptor(addr(&tss2), sizeof(tss2) - 1, BUSY_TSS, 0);
	load_ldtr(SEL_LDT);
	iret_to(8 | 4);
	CHECK_FAULT(TS, 8 | 4);
	gdt[FREE0 / 8] = descriptor(addr(&tss2), sizeof(tss2) - 1, BUSY_TSS & 0x7f, 0);
	iret_to(FREE0);
	CHECK_FAULT(NP, FREE0);
	CHECK_IS(read_tr(), SEL_TSS);
	/* And to a busy one it goes; this one's busy bit is cleared. */
	gdt[SEL_TSS2 / 8] |= (u64)DESC_BUSY << 40;
	make_task(task_done);
	iret_to(SEL_TSS2);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.tr, SEL_TSS2);
	CHECK(!(tss.eflags & FLAG_NT), "%x", tss.eflags);
}

/* The external event's bit in the error code of a switch that fails. */
TEST(task_gate_in_idt_refused)
{
	set_gate(&idt[VEC_FREE], NULL, SEL_TSS, GATE_TASK);
	TRY("int $0xa0", (), (), ALL_REGISTERS);
	CHECK_FAULT(GP, SEL_TSS);
	set_gate(&idt[UD], NULL, SEL_TSS, GATE_TASK);
	TRY("ud2", (), (), ALL_REGISTERS);
	CHECK_FAULT(GP, SEL_TSS | 1);
	gdt[FREE0 / 8] = descriptor(addr(&tss2), 0x10, DESC_TSS, 0);
	set_gate(&idt[UD], NULL, FREE0, GATE_TASK);
	TRY("ud2", (), (), ALL_REGISTERS);
	CHECK_FAULT(TS, FREE0 | 1);
}

/* ---- faults in the new task's context: the handler runs in it, before its first instruction
 */

static void bad_task(unsigned vector, u32 error, const char *what)
{
	jump(SEL_TSS2);
	CHECK(caught.vector == (int)vector && caught.error == error && caught.tr == SEL_TSS2,
	      "%s: vector %d error %x in %x", what, caught.vector, caught.error, caught.tr);
	CHECK(caught.eip == tss2.eip, "%s: at %x", what, caught.eip);
	gdt[SEL_TSS2 / 8] &= ~((u64)DESC_BUSY << 40);
	make_task(task_done);
}

TEST(task_bad_segments)
{
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x13, 0xc); /* data, not present */
	gdt[FREE1 / 8] = descriptor(0, 0xfffff, 0x98, 0xc); /* execute only */
	make_task(task_done);
	tss2.ds = FREE1;
	bad_task(TS, FREE1, "execute-only DS");
	tss2.es = FREE0;
	bad_task(NP, FREE0, "absent ES");
	tss2.fs = SEL_LAST + 8;
	bad_task(TS, SEL_LAST + 8, "FS beyond the GDT");
	tss2.gs = SEL_DATA | 3;
	bad_task(TS, SEL_DATA, "RPL above DPL");
	tss2.ldt = SEL_DATA;
	bad_task(TS, SEL_DATA, "LDT of data");
	tss2.eip = 0;
	tss2.ds = SEL_TSS;
	bad_task(TS, SEL_TSS, "system segment in DS");
}

/* With CS or SS bad no handler could run in the new task: one in a task of its own. */
static struct tss fault_tss;
extern const u8 fault_task[];
static volatile u32 fault_error;
asm(".pushsection .text\nfault_task: popl fault_error\n int $0x80\n.popsection");

static void bad_frame(u32 error, const char *what)
{
	for (unsigned v = TS; v <= GP; v++)
		set_gate(&idt[v], NULL, FREE2, GATE_TASK);
	gdt[FREE2 / 8] = descriptor(addr(&fault_tss), sizeof(fault_tss) - 1, DESC_TSS, 0);
	fault_tss = tss2;
	fault_tss.esp = addr(user_stack) + sizeof(user_stack);
	fault_tss.eip = addr(fault_task);
	fault_tss.cs = SEL_CODE;
	fault_tss.ss = fault_tss.ds = fault_tss.es = SEL_DATA;
	fault_tss.ldt = 0;
	fault_error = 0xffff;
	jump(SEL_TSS2);
	CHECK(caught.vector == VEC_DONE && fault_error == error, "%s: vector %d error %x", what,
	      caught.vector, fault_error);
	CHECK(fault_tss.link == SEL_TSS2, "%s: link %x", what, fault_tss.link);
	gdt[SEL_TSS2 / 8] &= ~((u64)DESC_BUSY << 40);
	make_task(task_done);
}

TEST(task_bad_code_or_stack)
{
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x13, 0xc); /* data, not present */
	gdt[FREE1 / 8] = descriptor(0, 0xfffff, 0x1b, 0xc); /* code, not present */
	make_task(task_done);
	tss2.cs = 0;
	bad_frame(0, "null CS");
	tss2.cs = SEL_DATA;
	bad_frame(SEL_DATA, "data in CS");
	tss2.cs = FREE1;
	bad_frame(FREE1, "absent CS");
	tss2.cs = SEL_UCODE & ~3;
	bad_frame(SEL_UCODE & ~3, "RPL of CS is not its DPL");
	tss2.ss = 0;
	bad_frame(0, "null SS");
	tss2.ss = SEL_CODE;
	bad_frame(SEL_CODE, "code in SS");
	tss2.ss = SEL_UDATA;
	bad_frame(SEL_UDATA & ~3, "SS of another level");
	tss2.ss = FREE0;
	bad_frame(FREE0, "absent SS");
}

/* A code segment's limit is checked at the first instruction. */
TEST(task_eip_beyond_limit)
{
	gdt[FREE0 / 8] = descriptor(0, 0xfff, 0x9b, 0x4);
	make_task(task_done);
	tss2.cs = FREE0;
	jump(SEL_TSS2);
	CHECK_FAULT(GP, 0);
	CHECK_IS(caught.tr, SEL_TSS2);
	CHECK_IS(caught.cs, FREE0);
}

/* ---- the rest of a task's state */

TEST(task_ldt)
{
	make_task(task_jumps_back);
	ldt[2] = descriptor(0, 0xfffff, 0x93, 0xc);
	tss2.ldt = SEL_LDT;
	tss2.fs = 0x10 | 4;
	jump(SEL_TSS2);
	CHECK_NONE();
	CHECK_IS(seen[6], 0x10 | 4);
	u16 now;
	asm volatile("sldt %0" : "=r"(now));
	CHECK_IS(now, tss.ldt); /* the old task's, from its TSS */
}

TEST(task_user_level)
{
	/* A jump may lead to any level. */
	make_task(task_done);
	tss2.cs = SEL_UCODE;
	tss2.ss = tss2.ds = tss2.es = SEL_UDATA;
	tss2.esp0 = addr(kernel_stack) + sizeof(kernel_stack);
	tss2.ss0 = SEL_DATA;
	jump(SEL_TSS2);
	CHECK_VECTOR(VEC_DONE);
	CHECK(caught.cs == SEL_UCODE && caught.ss == SEL_UDATA, "%x %x", caught.cs, caught.ss);
	CHECK_IS(caught.tr, SEL_TSS2);
}

TEST(task_debug_trap)
{
	make_task(task_jumps_back);
	tss2.trap = 1;
	write_dr6(0xffff0ff0);
	jump(SEL_TSS2);
	CHECK_VECTOR(DB);
	CHECK_IS(caught.dr6 & 0xe00f, DR6_BT);
	CHECK_IS(caught.eip, addr(task_jumps_back)); /* before its first instruction */
	CHECK_IS(caught.tr, SEL_TSS2);
}

/* TF in the new task: after its first instruction. TF in the old one is saved with it. */
TEST(task_single_step)
{
	make_task(task_done);
	tss2.eip = addr(task_jumps_back);
	tss2.eflags = 2 | FLAG_TF;
	write_dr6(0xffff0ff0);
	jump(SEL_TSS2);
	CHECK_VECTOR(DB);
	CHECK_IS(caught.dr6 & 0xe00f, DR6_BS);
	CHECK_IS(caught.eip, addr(task_jumps_back) + 5); /* a MOV of EAX to memory */
}

/* The local enable bits go, the global ones stay. */
TEST(task_local_breakpoints)
{
	make_task(task_jumps_back);
	write_dr0(0);
	write_dr7(0x400 | 0x155 | 0xaa);
	jump(SEL_TSS2);
	CHECK_NONE();
	CHECK_IS(read_dr7() & 0xff, 0xaa);
	write_dr7(0x400);
}

/* ---- 16-bit TSSs */

static struct tss16 small;
TASK(task_small, "movw %ax, seen\n movw %sp, seen+4\n str seen+8\n movw %fs, seen+24\n"
		 "movl %esi, seen+20\n clts\n ljmp $0x38, $0");
TASK(task_small_returns, "movw %ax, seen\n str seen+8\n clts\n iret");
static volatile u8 *const low_page = (u8 *)0x8000;
static void make_small(const u8 *code)
{
	/* IP has 16 bits: the code is copied below 64 KiB. */
	memcpy((void *)low_page, code, 128);
	memset((void *)seen, 0, sizeof(seen));
	small = (struct tss16){.ip = 0x8000,
			       .flags = 2,
			       .sp = 0x9000,
			       .ax = 0x1234,
			       .si = 0x5678,
			       .es = SEL_DATA,
			       .cs = SEL_CODE,
			       .ss = SEL_DATA,
			       .ds = SEL_DATA};
	gdt[FREE0 / 8] = descriptor(addr(&small), sizeof(small) - 1, DESC_TSS16, 0);
}

TEST(task16_jump)
{
	make_small(task_small);
	jump(FREE0);
	CHECK_NONE();
	CHECK_IS(seen[0], 0x1234);
	CHECK_IS(seen[1], 0x9000);
	CHECK_IS(seen[2], FREE0);
	CHECK_IS(seen[5] & 0xffff, 0x5678);
	CHECK_IS(seen[6], 0); /* FS is null: there is no room for it */
	CHECK_IS(access_of(FREE0), DESC_TSS16);
	CHECK(small.ip > 0x8000 && small.ip < 0x8080, "%x", small.ip);
	CHECK_IS(small.si, 0x5678);
}

TEST(task16_call)
{
	make_small(task_small_returns);
	call(FREE0);
	CHECK_NONE();
	CHECK_IS(seen[2], FREE0);
	CHECK_IS(small.link, SEL_TSS);
	CHECK(!(small.flags & FLAG_NT), "%x", small.flags);
	CHECK_IS(access_of(FREE0), DESC_TSS16);
	CHECK_IS(read_tr(), SEL_TSS);
}

/* An inner stack from a 16-bit TSS: SP0 and SS0 are words. */
SNIPPET(user_done, "nop");

TEST(task16_inner_stack)
{
	static struct tss16 t;

	t = (struct tss16){.sp0 = 0xa000, .ss0 = SEL_DATA};
	gdt[FREE0 / 8] = descriptor(addr(&t), sizeof(t) - 1, DESC_TSS16, 0);
	asm volatile("ltr %w0" : : "r"(FREE0));
	user(user_done);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(caught.handler_esp, 0xa000 - 20);
	CHECK_IS(caught.tr, FREE0);
}

/* ---- paging: CR3 is the task's */

TEST(task_cr3)
{
	u32 *one = (u32 *)pages[0], *two = (u32 *)pages[1];

	if (!has.pse)
		return skip("no PSE");
	memset(one, 0, 4096);
	memset(two, 0, 4096);
	one[0] = two[0] = 0x83; /* the first 4 MiB one to one */
	one[1] = 0x83;		/* the next 4 MiB: differently */
	write_cr4(read_cr4() | CR4_PSE);
	write_cr3(addr(one));
	make_task(task_jumps_back);
	tss2.cr3 = addr(two) | 0x18;
	tss.cr3 = addr(one);
	write_cr0(read_cr0() | CR0_PG);
	jump(SEL_TSS2);
	CHECK_NONE();
	CHECK_IS(read_cr3(), addr(one));
	TRY("movl 0x400000, %%eax", (), (), "eax");
	CHECK_NONE();
	make_task(task_done);
	tss2.cr3 = addr(two) | 0x18;
	set_gate(&idt[VEC_FREE], NULL, SEL_TSS2, GATE_TASK);
	TRY("int $0xa0", (), (), ALL_REGISTERS);
	CHECK_VECTOR(VEC_DONE);
	CHECK_IS(read_cr3(), addr(two) | 0x18);
	TRY("movl 0x400000, %%eax", (), (), "eax");
	CHECK_FAULT(PF, 0);
	write_cr0(read_cr0() & ~CR0_PG);
}

/* A TSS that paging hides: the fault is the old task's, and nothing has changed. */
TEST(task_page_fault)
{
	u32 *dir = (u32 *)pages[0];
	struct tss *far = (struct tss *)0x400f90;

	if (!has.pse)
		return skip("no PSE");
	memset(dir, 0, 4096);
	dir[0] = 0x83;
	dir[1] = addr(pages[1]) | 3;
	memset(pages[1], 0, 4096);
	((u32 *)pages[1])[0] = addr(pages[2]) | 3; /* its first page only */
	make_task(task_done);
	memcpy(pages[2] + 0xf90, &tss2, 0x70);
	gdt[FREE0 / 8] = descriptor(addr(far) + 0x30, sizeof(*far) - 1, DESC_TSS, 0);
	write_cr4(read_cr4() | CR4_PSE);
	write_cr3(addr(dir));
	write_cr0(read_cr0() | CR0_PG);
	jump(FREE0);
	write_cr0(read_cr0() & ~CR0_PG);
	CHECK_VECTOR(PF);
	CHECK_IS(caught.tr, SEL_TSS);
	CHECK_IS(caught.cr2 & ~0xfffu, 0x401000);
	CHECK_IS(access_of(SEL_TSS), BUSY_TSS);
	CHECK_IS(access_of(FREE0), DESC_TSS);
}
