/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy_calls.c: SYSENTER and SYSEXIT in long mode, from 64-bit and compatibility
 * mode, and INVPCID (SDM vol. 2 for each). */
#include "bare.h"

enum { MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP };
enum { CR4_PCIDE = 1 << 17 };

extern const u8 user_calls[], user_calls_end[], sysenter_entry[];
extern volatile u64 sysenter_seen[4];
asm(".pushsection .rodata\n"
    "user_calls: sysenter\n"
    "user_calls_end:\n.popsection\n"
    "sysenter_entry: mov %cs, %eax\n mov %rax, sysenter_seen(%rip)\n mov %ss, %eax\n"
    "mov %rax, sysenter_seen+8(%rip)\n mov %rsp, sysenter_seen+16(%rip)\n"
    "pushfq\n pop sysenter_seen+24(%rip)\n mov %ds, %eax\n int $0x80\n");
volatile u64 sysenter_seen[4];
static u8 entry_stack[1024] __attribute__((aligned(16)));

static void set_sysenter(u64 cs)
{
	wrmsr(MSR_SYSENTER_CS, cs);
	wrmsr(MSR_SYSENTER_ESP, (u64)entry_stack + sizeof(entry_stack));
	wrmsr(MSR_SYSENTER_EIP, (u64)sysenter_entry);
}

static void check_entered(void)
{
	CHECK(caught.vector == VEC_DONE, "vector %d error %x", (int)caught.vector,
	      (u32)caught.error);
	CHECK(sysenter_seen[0] == SEL_CODE64 && sysenter_seen[1] == SEL_CODE64 + 8, "%lx:%lx",
	      sysenter_seen[0], sysenter_seen[1]);
	CHECK(sysenter_seen[2] == (u64)entry_stack + sizeof(entry_stack), "%lx",
	      sysenter_seen[2]);
	CHECK(!(sysenter_seen[3] & FLAG_IF), "%lx", sysenter_seen[3]);
}

static void sysexit(u64 rip, bool wide)
{
	u64 rsp = (u64)window(USER_STACK_PAGE + 1) - 64;

	window_map(USER_STACK_PAGE, page_pool[15], PTE_P | PTE_W | PTE_U);
	if (wide)
		TRY("sysexitq", ("+d"(rip), "+c"(rsp)), (), "rax", "rbx");
	else
		TRY("sysexitl", ("+d"(rip), "+c"(rsp)), (), "rax", "rbx");
}

TEST(sysenter_from_64_bits)
{
	u64 rip = user_code(512, 1, user_calls, user_calls_end);

	if (!has.intel)
		return skip("AMD's processors have no SYSENTER in long mode");
	set_sysenter(0);
	run_user(rip, 0, 0, 0);
	CHECK_FAULT(GP, 0);
	set_sysenter(SEL_CODE64);
	run_user(rip, 0, 0, FLAG_IF);
	check_entered();
	set_sysenter(0);
}

/* SYSEXIT to compatibility mode, and SYSENTER from there: to 64-bit mode all the same. */
TEST(sysenter_from_compatibility)
{
	u64 rip = user_code(512, 1, user_calls, user_calls_end);

	if (!has.intel)
		return skip("AMD's processors have no SYSENTER in long mode");
	set_sysenter(SEL_CODE64);
	sysexit(rip | 0xabcd00000000, false); /* upper halves do not count */
	check_entered();
	set_sysenter(0);
	TRY("sysexitl", (), ("d"(rip), "c"(0)));
	CHECK_FAULT(GP, 0);
}

SNIPPET(user_done, "mov %cs, %eax\n mov %ss, %ebx");

TEST(sysexit_selectors)
{
	u64 rip = user_code(512, 1, user_done, user_done_end);

	if (!has.intel)
		return skip("AMD's processors have no SYSEXIT in long mode");
	set_sysenter(SEL_CODE64);
	sysexit(rip, true);
	CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
	CHECK(caught.cs == SEL_CODE64 + 32 + 3 && caught.ss == SEL_CODE64 + 40 + 3, "%lx:%lx",
	      caught.cs, caught.ss);
	sysexit(rip, false);
	CHECK(caught.vector == VEC_DONE, "vector %d", (int)caught.vector);
	CHECK(caught.cs == SEL_CODE64 + 16 + 3 && caught.ss == SEL_CODE64 + 24 + 3, "%lx:%lx",
	      caught.cs, caught.ss);
	sysexit(BIT(63), true); /* not canonical: still at CPL 0 */
	CHECK_FAULT(GP, 0);
	CHECK(!(caught.cs & 3), "%lx", caught.cs);
	set_sysenter(0);
}

/* ---- INVPCID */

static void invpcid(u64 type, u64 pcid, u64 address)
{
	static volatile u64 descriptor[2];

	descriptor[0] = pcid;
	descriptor[1] = address;
	TRY("invpcid %[d], %[t]", (), ([d] "m"(*descriptor), [t] "r"(type)));
}

TEST(invpcid_rules)
{
	u32 seven[4];
	u64 cr4 = read_cr4();

	cpuid(7, 0, seven);
	if (!(seven[1] & BIT(10))) {
		invpcid(0, 0, 0);
		CHECK_FAULT(UD, 0);
		return;
	}
	for (u64 type = 0; type < 4; type++) {
		invpcid(type, 0, 0);
		CHECK_NONE();
	}
	invpcid(4, 0, 0);
	CHECK_FAULT(GP, 0);
	invpcid(BIT(32), 0, 0);
	CHECK_FAULT(GP, 0);
	invpcid(0, 0, BIT(63)); /* not canonical counts for type 0 only */
	CHECK_FAULT(GP, 0);
	invpcid(1, 0, BIT(63));
	CHECK_NONE();
	invpcid(0, 0x1000, 0); /* bits 63:12 */
	CHECK_FAULT(GP, 0);
	invpcid(2, BIT(63), 0);
	CHECK_FAULT(GP, 0);
	invpcid(0, 1, 0); /* another PCID without CR4.PCIDE */
	CHECK_FAULT(GP, 0);
	invpcid(1, 1, 0);
	CHECK_FAULT(GP, 0);
	TRY("invpcid (%[d]), %[t]", (), ([d] "r"(window(700)), [t] "r"(0UL)));
	CHECK_FAULT(PF, 0);
	if (!has.pcid)
		return;
	write_cr3(read_cr3() & ~0xfffULL);
	write_cr4(cr4 | CR4_PCIDE);
	invpcid(0, 0xfff, 0);
	CHECK_NONE();
	invpcid(1, 1, 0);
	CHECK_NONE();
	write_cr4(cr4);
}
