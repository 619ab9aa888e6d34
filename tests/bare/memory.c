/* SPDX-License-Identifier: MIT */
/* tests/bare/memory.c: string instructions across faults, locked accesses across lines and
 * pages, and code that changes under the processor (SDM vol. 1, 7.3.9; vol. 3, 8.1, 11.6). */
#include "bare.h"

enum { RW = PTE_P | PTE_W };

static void two_pages(void)
{
	memset(page_pool[0], 0x11, PAGE);
	memset(page_pool[1], 0x22, PAGE);
	window_map(0, page_pool[0], RW);
	window_map(1, page_pool[1], RW);
	window_map(2, NULL, 0);
}

TEST(string_store_across_a_fault)
{
	u64 rdi = (u64)window(2) - 10, rcx = 100, start = rdi;

	two_pages();
	TRY("rep stosb", ("+D"(rdi), "+c"(rcx)), ("a"(0x55)));
	CHECK_FAULT(PF, 2);
	CHECK(caught.cr2 == (u64)window(2), "cr2 %lx", caught.cr2);
	CHECK(rcx == 90 && rdi == start + 10, "rcx %lx rdi %lx", rcx, rdi);
	CHECK(page_pool[1][PAGE - 1] == 0x55 && page_pool[1][PAGE - 11] == 0x22);
	/* Repaired, it goes on where it stopped. */
	window_map(2, page_pool[2], RW);
	TRY("rep stosb", ("+D"(rdi), "+c"(rcx)), ("a"(0x55)));
	CHECK_NONE();
	CHECK(rcx == 0 && page_pool[2][89] == 0x55);
}

TEST(string_store_backwards)
{
	u64 rdi = (u64)window(1) + 16, rcx = 10;

	two_pages();
	window_map(0, NULL, 0);
	TRY("std\n rep stosq\n cld", ("+D"(rdi), "+c"(rcx)), ("a"(~0ULL)));
	CHECK_FAULT(PF, 2);
	CHECK(rcx == 7 && rdi == (u64)window(1) - 8, "rcx %lx rdi %lx", rcx, rdi);
	CHECK(caught.cr2 == (u64)window(1) - 8, "cr2 %lx", caught.cr2);
}

TEST(string_move_across_faults)
{
	u64 rsi = (u64)window(2) - 24, rdi = (u64)window(0) + 1, rcx = 8;

	two_pages();
	TRY("rep movsq", ("+S"(rsi), "+D"(rdi), "+c"(rcx)), ());
	CHECK_FAULT(PF, 0);
	CHECK(rcx == 5 && rsi == (u64)window(2) && rdi == (u64)window(0) + 25, "rcx %lx", rcx);
	CHECK(page_pool[0][24] == 0x22 && page_pool[0][25] == 0x11);
	/* The destination faults with the source read: nothing is written, nothing advances. */
	rsi = (u64)window(0), rdi = (u64)window(2) - 4, rcx = 1;
	TRY("rep movsq", ("+S"(rsi), "+D"(rdi), "+c"(rcx)), ());
	CHECK_FAULT(PF, 2);
	CHECK(rcx == 1 && rsi == (u64)window(0), "rcx %lx", rcx);
	CHECK(page_pool[1][PAGE - 1] == 0x22, "half an element was written");
}

TEST(string_overlap)
{
	u64 rsi = (u64)window(0), rdi = rsi + 1, rcx = PAGE;

	two_pages();
	page_pool[0][0] = 0x77;
	TRY("rep movsb", ("+S"(rsi), "+D"(rdi), "+c"(rcx)), ());
	CHECK_NONE();
	CHECK(page_pool[0][4095] == 0x77 && page_pool[1][0] == 0x77,
	      "each byte follows the last");
	CHECK(page_pool[1][1] == 0x22);
}

TEST(string_compare_and_scan)
{
	u64 rsi = (u64)window(1), rdi = (u64)window(1) - 3, rcx = 100;
	bool zf;

	two_pages();
	TRY("repe cmpsb", ("+S"(rsi), "+D"(rdi), "+c"(rcx)), ());
	CHECK(rcx == 99, "the first pair differs: rcx %lx", rcx);
	rdi = (u64)window(2) - 5, rcx = 100;
	TRY("repe scasb", ("+D"(rdi), "+c"(rcx)), ("a"(0x22)));
	CHECK_FAULT(PF, 0);
	CHECK(rcx == 95, "rcx %lx", rcx);
	rdi = (u64)window(0), rcx = 2 * PAGE;
	TRY("repne scasb\n setz %[z]", ("+D"(rdi), "+c"(rcx), [z] "=q"(zf)), ("a"(0x22)));
	CHECK(zf && rcx == PAGE - 1, "rcx %lx", rcx);
	rdi = rsi = 0x8000000000000000, rcx = 0; /* nothing is touched */
	TRY("rep movsb\n rep stosb", ("+S"(rsi), "+D"(rdi), "+c"(rcx)), ("a"(0)));
	CHECK_NONE();
}

/* A 32-bit address size counts in ECX and writes zero-extended registers. */
TEST(string_with_short_addresses)
{
	u64 rdi = (u64)page_pool[3] | 0xffff000000000000, rcx = 0xffffffff00000004;

	TRY("addr32 rep stosb", ("+D"(rdi), "+c"(rcx)), ("a"(9)));
	CHECK_NONE();
	CHECK(rcx == 0 && rdi == (u64)page_pool[3] + 4, "rcx %lx rdi %lx", rcx, rdi);
}

/* ---- locked accesses */

TEST(locked_across_lines_and_pages)
{
	static const u64 offsets[] = {0, 61, PAGE - 1, PAGE - 3, PAGE - 7};
	u64 old;

	two_pages();
	for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
		u8 *p = window(0) + offsets[i];

		memset(p, 0, 8);
		TRY("lock addq $5, (%[p])", (), ([p] "r"(p)));
		CHECK_NONE();
		old = 0x0102030405060708;
		TRY("lock xaddq %[v], (%[p])", ([v] "+r"(old)), ([p] "r"(p)));
		CHECK_NONE();
		CHECK(old == 5, "%lx at %lx", old, offsets[i]);
		memcpy(&old, p, 8);
		CHECK(old == 0x010203040506070d, "%lx at %lx", old, offsets[i]);
		TRY("lock cmpxchgq %[n], (%[p])", ("+a"(old)), ([p] "r"(p), [n] "r"(3UL)));
		CHECK(*p == 3);
		TRY("lock btsl $9, (%[p])", (), ([p] "r"(p)));
		CHECK(p[1] == 2);
	}
}

TEST(locked_across_a_fault)
{
	u8 *p = window(2) - 4;

	two_pages();
	TRY("lock addq $5, (%[p])", (), ([p] "r"(p)));
	CHECK_FAULT(PF, 2);
	CHECK(page_pool[1][PAGE - 1] == 0x22 && page_pool[1][PAGE - 4] == 0x22);
}

/* A compare that fails still writes: it needs the right to. */
TEST(compare_and_exchange_needs_write)
{
	u64 rax = 0;

	write_cr0(read_cr0() | CR0_WP);
	two_pages();
	window_map(0, page_pool[0], PTE_P);
	TRY("lock cmpxchgq %%rcx, (%[p])", ("+a"(rax)), ([p] "r"(window(0))), "rcx");
	CHECK_FAULT(PF, 3);
	TRY("cmpxchgq %%rcx, (%[p])", ("+a"(rax)), ([p] "r"(window(0))), "rcx");
	CHECK_FAULT(PF, 3);
	TRY("xchg %%rcx, (%[p])", (), ([p] "r"(window(0))), "rcx");
	CHECK_FAULT(PF, 3);
}

TEST(compare_and_exchange_16_bytes)
{
	u64 *p = (u64 *)page_pool[0], rax = 1, rdx = 2;
	u8 zf;

	p[0] = 1, p[1] = 2;
	TRY("lock cmpxchg16b (%[p])\n setz %[z]", ("+a"(rax), "+d"(rdx), [z] "=q"(zf)),
	    ([p] "r"(p), "b"(3), "c"(4)));
	CHECK_NONE();
	CHECK(zf && p[0] == 3 && p[1] == 4);
	TRY("lock cmpxchg16b (%[p])\n setz %[z]", ("+a"(rax), "+d"(rdx), [z] "=q"(zf)),
	    ([p] "r"(p), "b"(5), "c"(6)));
	CHECK(!zf && rax == 3 && rdx == 4 && p[0] == 3);
	TRY("lock cmpxchg16b 8(%[p])", ("+a"(rax), "+d"(rdx)), ([p] "r"(p), "b"(5), "c"(6)));
	CHECK_FAULT(GP, 0);
}

/* A bit offset in a register reaches memory far from the operand. */
TEST(bit_strings)
{
	two_pages();
	TRY("btsq %[n], (%[p])", (), ([p] "r"(window(0)), [n] "r"(8L * PAGE + 3)));
	CHECK_NONE();
	CHECK(page_pool[1][0] == (0x22 | 8), "%x", page_pool[1][0]);
	TRY("btrq %[n], (%[p])", (), ([p] "r"(window(1)), [n] "r"(-8L)));
	CHECK(page_pool[0][PAGE - 1] == 0x10, "%x", page_pool[0][PAGE - 1]);
}

/* A push or a call that faults leaves RSP as it was. */
TEST(stack_faults)
{
	u64 rsp = (u64)window(1);

	two_pages();
	window_map(0, NULL, 0);
	idt[PF].flags |= 1;
	TRY("mov %[s], %%rsp\n push %%rax", (), ([s] "r"(rsp)));
	CHECK_FAULT(PF, 2);
	CHECK(caught.rsp == rsp, "rsp %lx", caught.rsp);
	TRY("mov %[s], %%rsp\n call 1f\n 1:", (), ([s] "r"(rsp)));
	CHECK_FAULT(PF, 2);
	CHECK(caught.rsp == rsp, "rsp %lx", caught.rsp);
	TRY("mov %[s], %%rsp\n pushq (%[p])", (), ([s] "r"(rsp + 8), [p] "r"(window(3))));
	CHECK_FAULT(PF, 0);
	CHECK(caught.rsp == rsp + 8, "rsp %lx", caught.rsp);
	/* POP to memory addressed by RSP uses the RSP after the pop. */
	*(u64 *)(page_pool[1] + 64) = 0x1234;
	TRY("mov %%rsp, %%rdx\n mov %[s], %%rsp\n popq 8(%%rsp)\n mov %%rdx, %%rsp", (),
	    ([s] "r"(window(1) + 64)), "rdx");
	CHECK_NONE();
	CHECK(*(u64 *)(page_pool[1] + 80) == 0x1234);
	idt[PF].flags &= ~7;
}

/* ---- code that changes */

static u32 call(const void *code)
{
	u64 rax = 0;

	TRY("call *%[f]", ("+a"(rax)), ([f] "r"(code)), "rcx", "rdx");
	CHECK_NONE();
	return rax;
}

/* mov $n, %eax; ret */
static void write_code(u8 *p, u32 n)
{
	p[0] = 0xb8;
	memcpy(p + 1, &n, 4);
	p[5] = 0xc3;
}

TEST(self_modifying_code)
{
	two_pages();
	for (u32 i = 0; i < 1000; i++) {
		write_code(page_pool[0] + 32, i);
		CHECK(call(window(0) + 32) == (i), "call %u", i);
	}
}

/* The same bytes reached under another address. */
TEST(cross_modifying_code_by_alias)
{
	two_pages();
	window_map(5, page_pool[0], RW);
	for (u32 i = 0; i < 100; i++) {
		write_code(window(5), i);
		CHECK(call(window(0)) == (i), "call %u", i);
	}
}

TEST(code_remapped)
{
	two_pages();
	write_code(page_pool[0], 1);
	write_code(page_pool[1], 2);
	for (u32 i = 0; i < 100; i++) {
		window_map(0, page_pool[i & 1], RW);
		CHECK(call(window(0)) == (1 + (i & 1)), "call %u", i);
	}
}

#ifdef __x86_64__
/* Of a stack that lies on two pages the upper one is used before what lies on both. */
TEST(frame_across_pages)
{
	two_pages();
	window_map(0, page_pool[1], RW);
	window_map(1, page_pool[0], RW);
	for (u32 i = 0; i < 100; i++) {
		u64 v = (u64)(i + 1) << 32 | i, loaded;
		u32 low, high;

		asm volatile("mov %%rsp, %%r8\n mov %[stack], %%rsp\n mov 16(%%rsp), %%rax\n"
			     "mov %[v], -4(%%rsp)\n mov -4(%%rsp), %[loaded]\n mov %%r8, %%rsp"
			     : [loaded] "=&r"(loaded)
			     : [stack] "r"(window(1)), [v] "r"(v)
			     : "rax", "r8", "memory");
		memcpy(&low, &page_pool[1][PAGE - 4], 4);
		memcpy(&high, &page_pool[0][0], 4);
		CHECK(loaded == v && low == i && high == i + 1, "%u: %x %x", i, low, high);
	}
}
#endif

TEST(code_across_pages)
{
	u8 code[6];

	two_pages();
	for (u32 i = 0; i < 100; i++) {
		write_code(code, i);
		memcpy(window(1) - 2, code, sizeof(code));
		CHECK(call(window(1) - 2) == (i), "call %u", i);
		/* Only the bytes on the second page change. */
		page_pool[1][2] = 7;
		CHECK(call(window(1) - 2) == ((i | 7 << 24)), "second page, call %u", i);
	}
	window_map(1, NULL, 0);
	TRY("call *%[f]", (), ([f] "r"(window(1) - 2)), "rax");
	CHECK(caught.vector == PF && caught.error == (has.nx ? 0x10 : 0), "vector %d error %x",
	      (int)caught.vector, (u32)caught.error);
	CHECK(caught.cr2 == (u64)window(1) && caught.rip == (u64)window(1) - 2,
	      "cr2 %lx rip %lx", caught.cr2, caught.rip);
}

/* An instruction that ends before the missing page runs. */
TEST(code_at_the_edge_of_a_page)
{
	two_pages();
	window_map(1, NULL, 0);
	write_code(page_pool[0] + PAGE - 6, 42);
	CHECK(call(window(1) - 6) == 42);
}

/* The next instruction, written by the one before it, in the same straight line of code. */
TEST(next_instruction_written)
{
	/* movb $9, 1(%rip): the immediate of the move that follows; mov $1, %eax; ret */
	static const u8 code[] = {0xc6, 0x05, 0x01, 0, 0, 0, 9, 0xb8, 1, 0, 0, 0, 0xc3};

	two_pages();
	memcpy(page_pool[0], code, sizeof(code));
	CHECK(call(window(0)) == 9);
}
