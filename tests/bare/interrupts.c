/* SPDX-License-Identifier: MIT */
/* tests/bare/interrupts.c: when interrupts and NMIs are taken (SDM vol. 3, 6.8, 6.7; vol. 2,
 * STI), with the local APIC as their source. */
#include "bare.h"

enum {
	APIC_ID = 0x20,
	APIC_EOI = 0xb0,
	APIC_SPURIOUS = 0xf0,
	APIC_ICR = 0x300,
	APIC_ICR_HIGH = 0x310,
	ICR_SELF = 1 << 18,
	ICR_ASSERT = 1 << 14,
	ICR_NMI = 4 << 8,
	PIC_MASTER_MASK = 0x21, /* ports */
	PIC_SLAVE_MASK = 0xa1
};

static volatile u32 *apic(unsigned reg)
{
	return (volatile u32 *)(window(600) + reg);
}

/* The 8259s are masked: the 8254 raises IRQ 0, 18 times a second and with whatever vector is set. */
static void apic_enable(void)
{
	outb(PIC_MASTER_MASK, 0xff);
	outb(PIC_SLAVE_MASK, 0xff);
	window_map(600, (void *)0xfee00000, PTE_P | PTE_W | 0x18);
	*apic(APIC_SPURIOUS) = 0x1ff;
	write_cr8(0);
}

static void send_self(u8 vector)
{
	*apic(APIC_ICR) = ICR_SELF | ICR_ASSERT | vector;
	while (*apic(APIC_ICR) & (1 << 12))
		;
}

static void take_pending(void)
{
	do {
		TRY("sti\n nop\n nop\n cli", (), ());
		*apic(APIC_EOI) = 0;
	} while (caught.vector != -1);
}

TEST(interrupt_shadow_of_sti)
{
	u64 at;

	apic_enable();
	send_self(VEC_IPI);
	TRY("lea 1f(%%rip), %[l]\n sti\n nop\n 1: nop\n cli", ([l] "=&r"(at)), ());
	*apic(APIC_EOI) = 0;
	CHECK(caught.vector == VEC_IPI, "vector %d", (int)caught.vector);
	CHECK(caught.rip == at, "rip %lx, not %lx", caught.rip, at);
	/* STI, CLI: no interrupt in between. */
	send_self(VEC_IPI);
	TRY("sti\n cli\n nop", (), ());
	CHECK_NONE();
	take_pending();
}

TEST(interrupt_after_popf)
{
	u64 at;

	apic_enable();
	send_self(VEC_IPI);
	TRY("lea 1f(%%rip), %[l]\n pushfq\n orl $0x200, (%%rsp)\n popfq\n 1: nop\n cli",
	    ([l] "=&r"(at)), ());
	*apic(APIC_EOI) = 0;
	CHECK(caught.vector == VEC_IPI && caught.rip == at, "vector %d rip %lx, not %lx",
	      (int)caught.vector, caught.rip, at);
}

TEST(interrupt_wakes_from_halt)
{
	u64 at;

	apic_enable();
	send_self(VEC_IPI);
	TRY("lea 1f(%%rip), %[l]\n sti\n hlt\n 1: nop\n cli", ([l] "=&r"(at)), ());
	*apic(APIC_EOI) = 0;
	CHECK(caught.vector == VEC_IPI && caught.rip == at, "vector %d rip %lx, not %lx",
	      (int)caught.vector, caught.rip, at);
}

TEST(task_priority)
{
	u64 at;

	apic_enable();
	write_cr8(15);
	send_self(VEC_IPI);
	TRY("sti\n nop\n nop\n cli", (), ());
	CHECK_NONE();
	TRY("xor %%eax, %%eax\n lea 1f(%%rip), %[l]\n sti\n nop\n mov %%rax, %%cr8\n 1: nop\n "
	    "cli",
	    ([l] "=&r"(at)), (), "rax");
	*apic(APIC_EOI) = 0;
	CHECK(caught.vector == VEC_IPI && caught.rip == at, "vector %d rip %lx, not %lx",
	      (int)caught.vector, caught.rip, at);
	TRY("mov $16, %%eax\n mov %%rax, %%cr8", (), (), "rax");
	CHECK_FAULT(GP, 0);
}

TEST(interrupt_priority)
{
	apic_enable();
	send_self(VEC_IPI);
	send_self(VEC_IPI + 0x20);
	TRY("sti\n nop\n nop\n cli", (), ());
	CHECK(caught.vector == VEC_IPI + 0x20, "vector %d", (int)caught.vector);
	/* Not acknowledged yet: the lower one has to wait. */
	TRY("sti\n nop\n nop\n cli", (), ());
	CHECK_NONE();
	*apic(APIC_EOI) = 0;
	TRY("sti\n nop\n nop\n cli", (), ());
	CHECK(caught.vector == VEC_IPI, "vector %d", (int)caught.vector);
	*apic(APIC_EOI) = 0;
}

/* Between two iterations of a string instruction RF is pushed (vol. 3, 17.3.1.1). */
TEST(interrupt_amid_a_string)
{
	enum { TIMER = 0x320, COUNT = 0x380, DIVIDE = 0x3e0, BYTES = 32 << 20 };
	u64 rcx, at;

	apic_enable();
	*apic(DIVIDE) = 0xb; /* by one */
	*apic(TIMER) = VEC_IPI;
	/* On a busy host the time may be over before the string has begun: then again, with more. */
	for (u32 count = 1000000; count < 1u << 30; count *= 2) {
		rcx = BYTES;
		*apic(COUNT) = count;
		TRY("lea 1f(%%rip), %[l]\n sti\n nop\n 1: rep lodsb\n cli",
		    ([l] "=&r"(at), "+c"(rcx)), ("S"(0x100000UL)), "rax");
		*apic(APIC_EOI) = 0;
		if (rcx != BYTES)
			break;
	}
	CHECK(caught.vector == VEC_IPI && caught.rip == at, "vector %d rip %lx, not %lx",
	      (int)caught.vector, caught.rip, at);
	CHECK(rcx && rcx < BYTES, "rcx %lx", rcx);
	CHECK(caught.rflags & FLAG_RF, "flags %lx", caught.rflags);
}

static volatile unsigned nmis, nesting, deepest;

static void send_nmi(void)
{
	*apic(APIC_ICR_HIGH) = *apic(APIC_ID);
	*apic(APIC_ICR) = ICR_NMI | ICR_ASSERT;
	for (volatile int i = 0; i < 1000; i++)
		;
}

static bool take_nmi(struct frame *f)
{
	if (f->vector != NMI)
		return false;
	nesting++;
	deepest = nesting > deepest ? nesting : deepest;
	if (!nmis++)
		send_nmi(); /* held until IRET */
	nesting--;
	return true;
}

TEST(nmi_blocking)
{
	apic_enable();
	nmis = nesting = deepest = 0;
	interrupt_hook = take_nmi;
	send_nmi();
	for (volatile int i = 0; i < 1000; i++)
		;
	interrupt_hook = NULL;
	CHECK(nmis == 2, "%u NMIs", nmis);
	CHECK(deepest == 1, "nested %u deep", deepest);
}

static volatile u64 second_at;

static bool nmi_with_bad_iret(struct frame *f)
{
	if (f->vector != NMI)
		return false;
	if (nmis++) {
		second_at = f->rip;
		return true;
	}
	send_nmi();
	CHECK(nmis == 1, "held until IRET");
	TRY("pushq $0\n pushq $0\n pushfq\n pushq $0\n pushq $0\n iretq", (), ());
	CHECK_FAULT(GP, 0);
	return true;
}

/* An IRET that faults unblocks NMIs, too (vol. 3, 6.7.1: executed, not completed). */
TEST(nmi_after_iret_that_faults)
{
	apic_enable();
	nmis = 0;
	interrupt_hook = nmi_with_bad_iret;
	send_nmi();
	interrupt_hook = NULL;
	CHECK(nmis == 2, "%u NMIs", nmis);
	CHECK(second_at == (u64)stubs[GP], "taken at %lx, the fault's handler is at %lx", second_at,
	      (u64)stubs[GP]);
}

/* An exception's handler is entered with the shadow gone: the interrupt waits for IF only. */
TEST(interrupt_after_exception_in_shadow)
{
	apic_enable();
	send_self(VEC_IPI);
	TRY("sti\n ud2", (), ());
	CHECK(caught.vector == UD, "vector %d", (int)caught.vector);
	take_pending();
}
