/* SPDX-License-Identifier: MIT */
/* tests/bare/segments.c: loading segment registers and leaving through far transfers (SDM vol.
 * 3, chapter 5; vol. 2 for MOV, LSS, RETF, IRET, LLDT, LTR, LAR, LSL). */
#include "bare.h"

enum { FREE0 = SEL_FREE, FREE1 = SEL_FREE + 8, BEYOND = 0x100 };

static void load_ds(u16 selector)
{
	TRY("mov %w[s], %%ds", (), ([s] "r"(selector)));
}

static void load_ss(u16 selector)
{
	TRY("mov %w[s], %%ss", (), ([s] "r"(selector)));
	asm volatile("mov %0, %%ss" : : "r"(SEL_DATA));
}

TEST(load_data_segment)
{
	load_ds(0);
	CHECK_NONE();
	load_ds(3);
	CHECK_NONE();
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x92, 0xc);
	load_ds(FREE0);
	CHECK_NONE();
	CHECK(gdt[FREE0 / 8] & BIT(40), "the accessed bit is set: %lx", gdt[FREE0 / 8]);
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x12, 0xc); /* not present */
	load_ds(FREE0);
	CHECK_FAULT(NP, FREE0);
	CHECK(!(gdt[FREE0 / 8] & BIT(40)));
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x98, 0xa); /* execute only */
	load_ds(FREE0);
	CHECK_FAULT(GP, FREE0);
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x9a, 0xa); /* readable code */
	load_ds(FREE0);
	CHECK_NONE();
	load_ds(SEL_DATA | 3); /* RPL above DPL */
	CHECK_FAULT(GP, SEL_DATA);
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x9e, 0xa); /* conforming: RPL does not count */
	load_ds(FREE0 | 3);
	CHECK_NONE();
	load_ds(BEYOND);
	CHECK_FAULT(GP, BEYOND);
	load_ds(BEYOND - 8 + 4); /* in an LDT that is not there */
	CHECK_FAULT(GP, BEYOND - 8 + 4);
	load_ds(SEL_TSS); /* a system segment */
	CHECK_FAULT(GP, SEL_TSS);
	load_ds(0);
}

TEST(load_stack_segment)
{
	load_ss(0); /* allowed at CPL 0 in 64-bit mode */
	CHECK_NONE();
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x12, 0xc);
	load_ss(FREE0);
	CHECK_FAULT(SS, FREE0);				    /* not #NP */
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x90, 0xc); /* read-only */
	load_ss(FREE0);
	CHECK_FAULT(GP, FREE0);
	load_ss(SEL_CODE64);
	CHECK_FAULT(GP, SEL_CODE64);
	load_ss(SEL_UDATA);
	CHECK_FAULT(GP, SEL_UDATA & ~3);
	load_ss(SEL_DATA | 1);
	CHECK_FAULT(GP, SEL_DATA);
}

/* Null is allowed only with an RPL that is the CPL. */
TEST(load_null_stack_segment)
{
	load_ss(3);
	CHECK_FAULT(GP, 0);
}

TEST(local_descriptor_table)
{
	static u64 ldt[2];

	ldt[1] = descriptor(0, 0xfffff, 0x92, 0xc);
	gdt[FREE0 / 8] = descriptor((u64)ldt, sizeof(ldt) - 1, 0x82, 0);
	gdt[FREE1 / 8] = 0;
	TRY("lldt %w[s]", (), ([s] "r"(FREE0)));
	CHECK_NONE();
	load_ds(8 | 4);
	CHECK_NONE();
	load_ds(16 | 4);
	CHECK_FAULT(GP, 16 | 4);
	TRY("lldt %w[s]", (), ([s] "r"(SEL_DATA)));
	CHECK_FAULT(GP, SEL_DATA);
	gdt[FREE0 / 8] = descriptor((u64)ldt, sizeof(ldt) - 1, 0x02, 0);
	TRY("lldt %w[s]", (), ([s] "r"(FREE0)));
	CHECK_FAULT(NP, FREE0);
	TRY("lldt %w[s]", (), ([s] "r"(0)));
	CHECK_NONE();
	load_ds(0);
}

TEST(task_register)
{
	TRY("ltr %w[s]", (), ([s] "r"(SEL_TSS))); /* busy since main() loaded it */
	CHECK_FAULT(GP, SEL_TSS);
	gdt[FREE0 / 8] = descriptor(0, 0x67, 0x09, 0);
	gdt[FREE1 / 8] = 0;
	TRY("ltr %w[s]", (), ([s] "r"(FREE0)));
	CHECK_FAULT(NP, FREE0);
	CHECK((gdt[SEL_TSS / 8] >> 40 & 0xff) == 0x8b, "type %lx", gdt[SEL_TSS / 8]);
}

TEST(load_null_task_register)
{
	TRY("ltr %w[s]", (), ([s] "r"(0)));
	CHECK_FAULT(GP, 0);
	gdt[SEL_TSS / 8] &= ~BIT(41); /* available again, for what went through */
	TRY("ltr %w[s]", (), ([s] "r"(SEL_TSS)));
}

/* Bases of 64 bits have to be canonical, and what should be zero above them zero (vol. 3, 3.5.2). */
TEST(system_segment_bases)
{
	gdt[FREE0 / 8] = descriptor(0, 15, 0x82, 0);
	gdt[FREE1 / 8] = 0x00008000;
	TRY("lldt %w[s]", (), ([s] "r"(FREE0)));
	CHECK_FAULT(GP, FREE0);
	gdt[FREE1 / 8] = BIT(41);
	TRY("lldt %w[s]", (), ([s] "r"(FREE0)));
	CHECK_FAULT(GP, FREE0);
	gdt[FREE0 / 8] = descriptor(0, 0x67, 0x89, 0);
	gdt[FREE1 / 8] = 0x00008000;
	TRY("ltr %w[s]", (), ([s] "r"(FREE0)));
	CHECK_FAULT(GP, FREE0);
	CHECK((gdt[FREE0 / 8] >> 40 & 0xff) == 0x89, "%lx", gdt[FREE0 / 8]);
	/* For what went through. */
	gdt[SEL_TSS / 8] &= ~BIT(41);
	TRY("lldt %w[n]\n ltr %w[s]", (), ([n] "r"(0), [s] "r"(SEL_TSS)));
	CHECK_NONE();
}

static bool zf_of(const char *name, u16 selector, u64 *value)
{
	bool zf;
	u64 v = 0x1234;

	if (name[0] == 'l' && name[1] == 'a')
		TRY("lar %k[s], %k[v]\n setz %[z]", ([v] "+r"(v), [z] "=q"(zf)),
		    ([s] "r"((u32)selector)));
	else if (name[0] == 'l')
		TRY("lsl %k[s], %k[v]\n setz %[z]", ([v] "+r"(v), [z] "=q"(zf)),
		    ([s] "r"((u32)selector)));
	else if (name[3] == 'r')
		TRY("verr %w[s]\n setz %[z]", ([z] "=q"(zf)), ([s] "r"(selector)));
	else
		TRY("verw %w[s]\n setz %[z]", ([z] "=q"(zf)), ([s] "r"(selector)));
	CHECK_NONE();
	*value = v;
	return zf;
}

TEST(selector_questions)
{
	u64 v;

	gdt[FREE0 / 8] = descriptor(0, 0x12345, 0x92, 0x0); /* bytes */
	gdt[FREE1 / 8] = descriptor(0, 0x12345, 0x92, 0x8); /* pages */
	CHECK(zf_of("lsl", FREE0, &v) && v == 0x12345, "%lx", v);
	CHECK(zf_of("lsl", FREE1, &v) && v == 0x12345fff, "%lx", v);
	CHECK(zf_of("lar", FREE0, &v) && (v & 0xf0ff00) == 0x9200, "%lx", v);
	CHECK(!zf_of("lar", 0, &v) && v == 0x1234, "%lx", v);
	CHECK(!zf_of("lsl", BEYOND, &v) && v == 0x1234, "%lx", v);
	CHECK(!zf_of("lsl", SEL_DATA | 3, &v));
	CHECK(zf_of("verr", SEL_DATA, &v));
	CHECK(zf_of("verw", SEL_DATA, &v));
	CHECK(zf_of("verr", SEL_CODE64, &v));
	CHECK(!zf_of("verw", SEL_CODE64, &v));
	CHECK(!zf_of("verr", SEL_TSS, &v));
	CHECK(zf_of("lsl", SEL_TSS, &v) && v == sizeof(tss) - 1, "%lx", v);
}

/* In 64-bit mode limits are not checked and only FS and GS have a base. */
TEST(segment_bases)
{
	u64 value = 0, saved = rdmsr(0xc0000100);

	gdt[FREE0 / 8] = descriptor((u64)page_pool[0], 0, 0x92, 0);
	*(u64 *)page_pool[0] = 0x1111;
	TRY("mov %w[s], %%fs\n mov %%fs:0, %[v]", ([v] "+r"(value)), ([s] "r"(FREE0)));
	CHECK_NONE();
	CHECK(value == 0x1111, "%lx", value);
	CHECK(rdmsr(0xc0000100) == (u64)page_pool[0]);
	TRY("mov %w[s], %%fs\n", (), ([s] "r"(0)));
	wrmsr(0xc0000100, saved);
	load_ds(FREE0);
	TRY("mov %%ds:(%[p]), %[v]", ([v] "+r"(value)), ([p] "r"(page_pool[0])));
	CHECK_NONE();
	CHECK(value == 0x1111);
	load_ds(0);
}

TEST(segment_base_not_canonical)
{
	TRY("wrmsr", (), ("c"(0xc0000100), "a"(0), "d"(0x80000000)));
	CHECK_FAULT(GP, 0);
	wrmsr(0xc0000100, 0);
}

/* Where a far transfer that should have been refused comes out. */
extern const u8 landing[];
asm("landing: jmp *catch_rip(%rip)");

/* With 32 bits of offset, which both vendors' processors take. */
static void far_jump(u16 selector, u32 offset)
{
	struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) target = {offset, selector};

	TRY("ljmp *%[t]", (), ([t] "m"(target)));
}

static void far_jump_wide(u16 selector, u64 offset)
{
	struct {
		u64 offset;
		u16 selector;
	} __attribute__((packed)) target = {offset, selector};

	TRY("rex.w ljmp *%[t]", (), ([t] "m"(target)));
}

TEST(far_transfer_checks)
{
	far_jump(0, 0);
	CHECK_FAULT(GP, 0);
	far_jump(SEL_DATA, 0);
	CHECK_FAULT(GP, SEL_DATA);
	far_jump(BEYOND, 0);
	CHECK_FAULT(GP, BEYOND);
	far_jump(SEL_UCODE64, 0); /* not conforming, DPL above CPL */
	CHECK_FAULT(GP, SEL_UCODE64 & ~3);
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x1a, 0xa);
	far_jump(FREE0, 0);
	CHECK_FAULT(NP, FREE0);
	/* AMD's take no selector from there: its two bytes are the offset's, and null. */
	far_jump_wide(SEL_CODE64, 0x8000000000000000ULL);
	CHECK_FAULT(GP, 0);
	TRY("pushq %[cs]\n lea 1f(%%rip), %%rax\n pushq %%rax\n lretq\n 1:", (),
	    ([cs] "i"(SEL_CODE64)), "rax");
	CHECK_NONE();
	TRY("pushq $0\n lea 1f(%%rip), %%rax\n pushq %%rax\n lretq\n 1:", (), (), "rax");
	CHECK_FAULT(GP, 0);
}

/* A code segment cannot be 64-bit and 32-bit at once. */
TEST(far_jump_to_long_and_big)
{
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x9a, 0xe);
	far_jump(FREE0, (u32)(u64)landing);
	CHECK_FAULT(GP, FREE0);
	gdt[FREE0 / 8] = descriptor(0, 0xfffff, 0x1a, 0xe); /* which comes before P */
	far_jump(FREE0, (u32)(u64)landing);
	CHECK_FAULT(GP, FREE0);
}

/* IRETQ's own checks. */
TEST(iret_checks)
{
	u64 rsp = (u64)page_pool[0] + 256;

#define IRET(ss, flags, cs, rip)                                                               \
	TRY("pushq %[s]\n pushq %[sp]\n pushq %[f]\n pushq %[c]\n pushq %[i]\n iretq", (),     \
	    ([s] "r"((u64)(ss)), [sp] "r"(rsp), [f] "r"((u64)(flags)), [c] "r"((u64)(cs)),     \
	     [i] "r"((u64)(rip))))
	IRET(SEL_DATA, 2, 0, 0);
	CHECK_FAULT(GP, 0);
	IRET(SEL_DATA, 2, SEL_DATA, 0);
	CHECK_FAULT(GP, SEL_DATA);
	IRET(SEL_DATA, 2, SEL_CODE64, 0x8000000000000000ULL);
	CHECK_FAULT(GP, 0);
	IRET(SEL_DATA, 2, SEL_UCODE64, 0); /* the stack's privilege must match */
	CHECK_FAULT(GP, SEL_DATA);
	IRET(0, 2, SEL_UCODE64, 0);
	CHECK_FAULT(GP, 0);
	TRY("pushfq\n orl $0x4000, (%%rsp)\n popfq\n iretq", (), ()); /* NT in long mode */
	CHECK_FAULT(GP, 0);
}

SNIPPET(user_call_gate, "lcall *(%rax)");

/* From CPL 3 through a 64-bit call gate to CPL 0 and back. */
TEST(call_gate)
{
	static volatile u64 seen_cs, seen_ss;
	struct gate *gate = (struct gate *)&gdt[FREE0 / 8];
	u64 rip = user_code(512, 1, user_call_gate, user_call_gate_end);
	u32 pointer[2] = {0, FREE0 | 3};
	void *target;

	asm volatile("lea 1f(%%rip), %0\n jmp 2f\n 1: mov %%cs, %%rbx\n mov %%rbx, %1\n"
		     "mov %%ss, %%rbx\n mov %%rbx, %2\n lretq\n 2:"
		     : "=r"(target), "=m"(seen_cs), "=m"(seen_ss)
		     :
		     : "rbx");
	memcpy(page_pool[2], pointer, sizeof(pointer));
	window_map(513, page_pool[2], PTE_P | PTE_U);
	set_gate(gate, target, SEL_CODE64, GATE_CALL | GATE_DPL3);
	run_user(rip, (u64)window(513), 0, 0);
	CHECK(caught.vector == VEC_DONE, "vector %d error %x", (int)caught.vector,
	      (u32)caught.error);
	CHECK(seen_cs == SEL_CODE64 && seen_ss == 0, "cs %lx ss %lx", seen_cs, seen_ss);
	CHECK(caught.cs == SEL_UCODE64, "cs %lx", caught.cs);
	set_gate(gate, target, SEL_CODE64, GATE_CALL); /* DPL 0 */
	run_user(rip, (u64)window(513), 0, 0);
	CHECK_FAULT(GP, FREE0);
	set_gate(gate, target, SEL_CODE64, (GATE_CALL | GATE_DPL3) & 0x7fff);
	run_user(rip, (u64)window(513), 0, 0);
	CHECK_FAULT(NP, FREE0);
	set_gate(gate, target, SEL_CODE32, GATE_CALL | GATE_DPL3);
	run_user(rip, (u64)window(513), 0, 0);
	CHECK_FAULT(GP, SEL_CODE32);
}
