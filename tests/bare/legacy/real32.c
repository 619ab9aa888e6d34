/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy/real32.c: real mode and unreal mode (SDM vol. 3, 20.1, 9.9). */
#include "bare32.h"

enum { LOW = 0x8000, PROGRAM = 0x8800, STACK = 0x7f00, VECTORS = 128, STORM = 200 };

/* The interrupt a program ended with. */
struct real_result {
	u16 vector, ip, cs, flags, sp, handler_flags;
	u32 eax, ebx, ecx, edx;
};
static volatile struct real_result *const result = (volatile struct real_result *)0x7000;

extern const u8 low_start[], low_end[], real_idt[], real_vectors[];
void real_enter(void);

static void real(const u8 *start, const u8 *end)
{
	volatile u32 *table;

	asm("" : "=r"(table) : "0"(0)); /* at 0, which C has no objects at */
	memcpy((void *)LOW, low_start, addr(low_end) - addr(low_start));
	memcpy((void *)PROGRAM, start, addr(end) - addr(start));
	for (unsigned v = 0; v < VECTORS; v++)
		table[v] = LOW + addr(real_vectors) - addr(low_start) + 6 * v;
	memset((void *)result, 0xff, sizeof(*result));
	asm volatile("call real_enter" : : : "memory", "cc");
}

/* Run it; it ends with this vector, with IP this far into the program. */
#define REAL(name, v, at)                                                                      \
	do {                                                                                   \
		real(name, name##_end);                                                        \
		CHECK(result->vector == (v) && result->ip == PROGRAM + (at) && !result->cs,    \
		      #name ": vector %d at %x:%x", result->vector, result->cs, result->ip);   \
		CHECK_IS(result->sp, STACK - 6); /* no error codes in real mode */             \
	} while (0)

#define PROGRAM16(name, text) CODE_BYTES(name, ".code16\n" text "\n int $0x7f\n.code32")

PROGRAM16(r_int, "pushw $0x3202\n popfw\n int $0x21");
PROGRAM16(r_limit_word, "movw $0xffff, %bx\n movw (%bx), %ax");
PROGRAM16(r_limit_byte, "movl $0x10000, %ebx\n movb (%ebx), %al");
PROGRAM16(r_limit_stack, "movw $0xffff, %bp\n movw (%bp), %ax");
PROGRAM16(r_limit_jump, "ljmpl $0, $0x10000");
PROGRAM16(r_undefined, "ud2");
PROGRAM16(r_divide, "xorw %cx, %cx\n divw %cx");
PROGRAM16(r_bound, "movw $5, %ax\n boundw %ax, 0x7e00");
PROGRAM16(r_into, "movb $0x7f, %al\n incb %al\n into");
PROGRAM16(r_int3, "int3");
PROGRAM16(r_lar, "lar %ax, %bx");
PROGRAM16(r_arpl, "arpl %ax, %bx");
PROGRAM16(r_sldt, "sldt %ax");
PROGRAM16(r_ltr, "ltr %ax");
PROGRAM16(r_verr, "verr %ax");
PROGRAM16(r_allowed, "smsw %ax\n sgdtl 0x7e00\n movl %cr0, %ebx\n clts\n cli\n int $0x21");
PROGRAM16(r_segments, "movw $0x700, %ax\n movw %ax, %es\n movw $0x600d, %es:0xe00\n"
		      "movw 0x7e00, %cx\n movw $0xffff, %ax\n movw %ax, %es\n"
		      "movl %es:0x10, %edx\n movw %es, %bx\n int $0x21");
PROGRAM16(r_unreal, "movl $0x200000, %eax\n movl $0x600d, %fs:(%eax)\n movl %fs:(%eax), %ecx\n"
		    "movl (%eax), %edx");
PROGRAM16(r_small_table, "lidtl 0x7e00\n int $0x40");
PROGRAM16(r_step, "pushw $0x102\n popfw\n nop\n nop");
PROGRAM16(r_far, "lcall $0x880, $1f - r_far\n movw %sp, %bx\n int $0x21\n"
		 "1: movw %cs, %ax\n movw %sp, %cx\n lretw");
PROGRAM16(r_iret, "pushw $0x0a02\n pushw $0x880\n pushw $1f - r_iret\n iretw\n"
		  "1: pushfw\n popw %ax\n movw %cs, %bx\n ljmp $0, $2f - r_iret + 0x8800\n"
		  "2: int $0x21");
PROGRAM16(r_wrap,
	  "movw $0, %sp\n pushw $0x1234\n movw %sp, %bx\n popw %ax\n movw $0x7f00, %sp\n"
	  "int $0x21");

TEST(real_interrupt)
{
	REAL(r_int, 0x21, 6);
	CHECK_IS(result->flags & 0x3202, 0x3202);
	CHECK(!(result->handler_flags & (FLAG_IF | FLAG_TF)), "%x", result->handler_flags);
	REAL(r_int3, 3, 1);
}

TEST(real_exceptions)
{
	volatile u16 *bounds = (volatile u16 *)0x7e00;

	bounds[0] = 1, bounds[1] = 4;
	REAL(r_undefined, UD, 0);
	REAL(r_divide, DE, 2);
	REAL(r_bound, BR, 3);
	REAL(r_into, OF, 5);
	REAL(r_step, DB, 5);
}

TEST(real_limits)
{
	REAL(r_limit_word, GP, 3);
	REAL(r_limit_byte, GP, 6);
	REAL(r_limit_stack, SS, 3);
	*(volatile u16 *)0x10000 = 0x7fcd; /* `int $0x7f`, for who goes there */
	REAL(r_limit_jump, GP, 0);
}

/* The instructions of protected mode are undefined; those that prepare it are not. */
TEST(real_undefined)
{
	REAL(r_lar, UD, 0);
	REAL(r_arpl, UD, 0);
	REAL(r_sldt, UD, 0);
	REAL(r_ltr, UD, 0);
	REAL(r_verr, UD, 0);
	real(r_allowed, r_allowed_end);
	CHECK_IS(result->vector, 0x21);
	CHECK(!(result->ebx & CR0_PE), "%x", result->ebx);
	CHECK_IS(*(volatile u32 *)0x7e02, addr(gdt));
}

TEST(real_segments)
{
	real(r_segments, r_segments_end);
	CHECK_IS(result->vector, 0x21);
	CHECK_IS((u16)result->ecx, 0x600d);
	CHECK_IS((u16)result->ebx, 0xffff);
	CHECK_IS(result->edx, *(volatile u32 *)0x100000); /* no wrap at 1 MiB */
	real(r_wrap, r_wrap_end);
	CHECK_IS(result->vector, 0x21);
	CHECK((u16)result->ebx == 0xfffe && (u16)result->eax == 0x1234, "%x %x", result->ebx,
	      result->eax);
}

/* A limit loaded in protected mode stays: what FS reaches, DS does not. */
TEST(unreal_mode)
{
	REAL(r_unreal, GP, 6 + 9 + 5);
	CHECK_IS(result->ecx, 0x600d);
	CHECK_IS(*(volatile u32 *)0x200000, 0x600d);
}

/* A vector beyond the table's limit is #GP. */
TEST(real_interrupt_table_limit)
{
	struct table_pointer *p = (struct table_pointer *)0x7e00;

	p->limit = 0x40 * 4 + 2;
	p->base = 0;
	real(r_small_table, r_small_table_end);
	CHECK_IS(result->vector, GP);
	CHECK_IS(result->ip, PROGRAM + addr(r_small_table_end) - addr(r_small_table) - 4);
	p->limit = 0x40 * 4 + 3;
	real(r_small_table, r_small_table_end);
	CHECK_IS(result->vector, 0x40);
}

TEST(real_far_transfers)
{
	real(r_far, r_far_end);
	CHECK_IS(result->vector, 0x21);
	CHECK((u16)result->eax == 0x880 && (u16)result->ebx == STACK &&
		      (u16)result->ecx == STACK - 4,
	      "%x %x %x", result->eax, result->ebx, result->ecx);
	real(r_iret, r_iret_end);
	CHECK_IS(result->vector, 0x21);
	CHECK(((u16)result->eax & 0xfff) == 0xa02 && (u16)result->ebx == 0x880, "%x %x",
	      result->eax, result->ebx);
}

SNIPPET(user_int, "nop");

TEST(real_mode_storm)
{
	for (unsigned i = 0; i < STORM; i++) {
		real(r_undefined, r_undefined_end);
		CHECK(result->vector == UD, "round %u: vector %d", i, result->vector);
		user(user_int);
		CHECK_VECTOR(VEC_DONE);
		real(r_int, r_int_end);
		CHECK(result->vector == 0x21, "round %u: vector %d", i, result->vector);
	}
}
