/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy/paging32.c: 32-bit and PAE paging (SDM vol. 3, 4.3, 4.4, 4.6, 4.7). The
 * first 4 MiB stay one to one, the page under test is at TARGET. */
#include "bare32.h"

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80 };
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16 };
#define TARGET 0x40000000u
#define NX     BIT(63)

static u32 *const directory = (u32 *)pages[0], *const table = (u32 *)pages[1];
static u64 *const pdpt = (u64 *)pages[2], *const pae_directory = (u64 *)pages[3],
		  *const pae_target = (u64 *)pages[4], *const pae_table = (u64 *)pages[5];
static u32 old_cr4;
static volatile u32 *const page = (volatile u32 *)pages[6];

static void paging_on(u32 cr3, u32 cr4)
{
	old_cr4 = read_cr4();
	write_cr4((old_cr4 & ~(CR4_PSE | CR4_PAE | CR4_SMEP)) | cr4);
	write_cr3(cr3);
	write_cr0(read_cr0() | CR0_PG);
}

static void paging_off(void)
{
	write_cr0(read_cr0() & ~(CR0_PG | CR0_WP));
	write_cr4(old_cr4);
}

static void legacy_on(void)
{
	memset(directory, 0, 4096);
	memset(table, 0, 4096);
	directory[0] = P | W | U | PS;
	directory[TARGET >> 22] = addr(table) | P | W | U;
	table[0] = addr(page) | P | W | U;
	paging_on(addr(directory), CR4_PSE);
}

static void flush(void)
{
	write_cr3(read_cr3());
}

static volatile u32 result __attribute__((used));
static void read_at(u32 la)
{
	TRY("movl (%[p]), %[v]\n movl %[v], result", (), ([p] "r"(la), [v] "a"(0)));
}
static void write_at(u32 la)
{
	TRY("movl %[v], (%[p])", (), ([p] "r"(la), [v] "r"(0x600d)));
}

SNIPPET(user_read, "movl (%esi), %eax");
SNIPPET(user_write, "movl %eax, (%esi)");

static void at_level_3(const u8 *code, u32 la)
{
	user_entry(code);
	entry.esi = la;
	enter();
}

/* One access; what it should be. */
static void access(unsigned upper, unsigned lower, bool user_mode, bool write, bool wp)
{
	unsigned rights = upper & lower;
	bool allowed = user_mode ? (rights & U) && (!write || (rights & W))
				 : !write || (rights & W) || !wp;
	u32 error = PF_P | (write ? PF_W : 0) | (user_mode ? PF_U : 0);

	if (user_mode)
		at_level_3(write ? user_write : user_read, TARGET);
	else if (write)
		write_at(TARGET);
	else
		read_at(TARGET);
	if (allowed)
		CHECK(caught.vector == -1 || caught.vector == VEC_DONE,
		      "%x %x user %d write %d wp %d: vector %d error %x", upper, lower,
		      user_mode, write, wp, caught.vector, caught.error);
	else
		CHECK(caught.vector == PF && caught.error == error && caught.cr2 == TARGET,
		      "%x %x user %d write %d wp %d: vector %d error %x", upper, lower,
		      user_mode, write, wp, caught.vector, caught.error);
}

static void matrix(void (*set)(unsigned upper, unsigned lower))
{
	for (unsigned i = 0; i < 128; i++) {
		unsigned upper = P | (i & 3) << 1, lower = P | (i >> 2 & 3) << 1;
		bool wp = i & 64;

		set(upper, lower);
		flush();
		write_cr0(wp ? read_cr0() | CR0_WP : read_cr0() & ~CR0_WP);
		access(upper, lower, i & 16, i & 32, wp);
	}
}

static void set_legacy(unsigned upper, unsigned lower)
{
	directory[TARGET >> 22] = addr(table) | upper;
	table[0] = addr(page) | lower;
}

TEST(paging32_matrix)
{
	legacy_on();
	matrix(set_legacy);
	paging_off();
}

TEST(paging32_not_present)
{
	legacy_on();
	table[0] = 0;
	flush();
	read_at(TARGET);
	CHECK_FAULT(PF, 0);
	write_at(TARGET + 5);
	CHECK_FAULT(PF, PF_W);
	CHECK_IS(caught.cr2, TARGET + 5);
	at_level_3(user_read, TARGET);
	CHECK_FAULT(PF, PF_U);
	directory[TARGET >> 22] = 0;
	flush();
	read_at(TARGET);
	CHECK_FAULT(PF, 0);
	/* Across pages: the second one's address. */
	directory[TARGET >> 22] = addr(table) | P | W;
	table[0] = addr(page) | P | W;
	flush();
	page[1023] = 0x11111111;
	write_at(TARGET + 0xffe);
	CHECK_FAULT(PF, PF_W);
	CHECK_IS(caught.cr2, TARGET + 0x1000);
	CHECK_IS(page[1023], 0x11111111);
	paging_off();
}

TEST(paging32_accessed_and_dirty)
{
	legacy_on();
	read_at(TARGET);
	CHECK_IS(table[0] & (A | D), A);
	CHECK_IS(directory[TARGET >> 22] & (A | D), A);
	write_at(TARGET);
	CHECK_IS(table[0] & (A | D), A | D);
	CHECK_IS(directory[TARGET >> 22] & (A | D), A);
	directory[TARGET >> 22] = P | W | PS;
	flush();
	write_at(TARGET + addr(page));
	CHECK_IS(directory[TARGET >> 22] & (A | D), A | D);
	CHECK_IS(page[0], 0x600d);
	paging_off();
}

/* A 4 MiB page; without CR4.PSE the bit is ignored. */
TEST(paging32_large_pages)
{
	legacy_on();
	directory[TARGET >> 22] = P | W | PS;
	flush();
	page[0] = 0x1234;
	read_at(TARGET + addr(page));
	CHECK_NONE();
	CHECK_IS(result, 0x1234);
	directory[TARGET >> 22] = P | W | PS | 1 << 21; /* bit 21 is reserved */
	flush();
	read_at(TARGET);
	CHECK_FAULT(PF, PF_P | PF_RSVD);
	paging_off();
	/* All of it through tables: PS does not count. */
	for (unsigned i = 0; i < 1024; i++)
		((u32 *)pages[7])[i] = i << 12 | P | W;
	directory[0] = addr(pages[7]) | P | W | PS;
	directory[TARGET >> 22] = addr(table) | P | W | PS;
	table[0] = addr(page) | P | W;
	paging_on(addr(directory), 0);
	read_at(TARGET);
	CHECK_NONE();
	CHECK_IS(result, 0x1234);
	paging_off();
}

/* PSE-36: bits 13 to 20 are the address's upper ones; what is beyond MAXPHYADDR is reserved. */
TEST(paging32_pse36)
{
	u32 one[4];

	cpuid(1, 0, one);
	if (!(one[3] & BIT(17)))
		return skip("no PSE-36");
	legacy_on();
	directory[TARGET >> 22] = P | W | PS | 1 << 13; /* 4 GiB: nothing there, but no fault */
	flush();
	TRY("invlpg (%[p])", (), ([p] "r"(TARGET)));
	CHECK_NONE();
	if (has.maxphyaddr < 40) {
		directory[TARGET >> 22] = P | W | PS | 1 << 20;
		flush();
		read_at(TARGET);
		CHECK_FAULT(PF, PF_P | PF_RSVD);
	}
	paging_off();
}

TEST(paging32_stale_until_flushed)
{
	legacy_on();
	page[0] = 1;
	((volatile u32 *)pages[8])[0] = 2;
	read_at(TARGET);
	CHECK_IS(result, 1);
	table[0] = addr(pages[8]) | P | W;
	TRY("invlpg (%[p])", (), ([p] "r"(TARGET)));
	read_at(TARGET);
	CHECK_IS(result, 2);
	table[0] = addr(page) | P | W;
	flush();
	read_at(TARGET);
	CHECK_IS(result, 1);
	paging_off();
}

/* ---- PAE */

static void pae_fill(void)
{
	memset(pdpt, 0, 4096);
	memset(pae_directory, 0, 4096);
	memset(pae_target, 0, 4096);
	memset(pae_table, 0, 4096);
	pdpt[0] = addr(pae_directory) | P;
	pdpt[TARGET >> 30] = addr(pae_target) | P;
	pae_directory[0] = P | W | U | PS;
	pae_directory[1] = 0x200000 | P | W | U | PS;
	pae_target[0] = addr(pae_table) | P | W | U;
	pae_table[0] = addr(page) | P | W | U;
}

static void pae_on(void)
{
	pae_fill();
	paging_on(addr(pdpt), CR4_PAE);
}

static void set_pae(unsigned upper, unsigned lower)
{
	pae_target[0] = addr(pae_table) | upper;
	pae_table[0] = addr(page) | lower;
}

TEST(pae_matrix)
{
	if (!has.pae)
		return skip("no PAE");
	pae_on();
	matrix(set_pae);
	paging_off();
}

/* Reserved bits of a PDPTE: #GP where CR3, or CR0.PG, loads them. */
TEST(pae_pdpte_reserved)
{
	static const u64 bad[] = {W, U, 0x20, 0x40, 0x80, 0x100, BIT(62), NX};

	if (!has.pae)
		return skip("no PAE");
	pae_on();
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		pdpt[2] = bad[i] | P;
		TRY("movl %[v], %%cr3", (), ([v] "r"(addr(pdpt))));
		CHECK_FAULT(GP, 0);
		pdpt[2] = bad[i]; /* not present: ignored */
		TRY("movl %[v], %%cr3", (), ([v] "r"(addr(pdpt))));
		CHECK_NONE();
	}
	paging_off();
	pdpt[2] = W | P;
	write_cr4(read_cr4() | CR4_PAE);
	TRY("movl %[v], %%cr0", (), ([v] "r"(read_cr0() | CR0_PG)));
	CHECK_FAULT(GP, 0);
	CHECK(!(read_cr0() & CR0_PG));
	paging_off();
}

/* The four PDPTEs are registers: memory counts again at the next load of CR3. */
TEST(pae_pdpte_registers)
{
	if (!has.pae)
		return skip("no PAE");
	pae_on();
	page[0] = 0x77;
	pdpt[TARGET >> 30] = 0;
	TRY("invlpg (%[p])", (), ([p] "r"(TARGET)));
	read_at(TARGET);
	CHECK_NONE();
	CHECK_IS(result, 0x77);
	flush();
	read_at(TARGET);
	CHECK_FAULT(PF, 0);
	paging_off();
}

/* 32-byte alignment is enough for the table. */
TEST(pae_pdpt_alignment)
{
	if (!has.pae)
		return skip("no PAE");
	pae_fill();
	memcpy(&pdpt[4], pdpt, 32);
	memset(pdpt, 0, 32);
	paging_on(addr(&pdpt[4]), CR4_PAE);
	read_at(TARGET);
	CHECK_NONE();
	paging_off();
}

TEST(pae_reserved_bits)
{
	static const u64 bad[] = {BIT(62), BIT(52)};

	if (!has.pae)
		return skip("no PAE");
	pae_on();
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		set_pae(P | W, P | W);
		pae_table[0] |= bad[i];
		flush();
		read_at(TARGET);
		CHECK_FAULT(PF, PF_P | PF_RSVD);
		set_pae(P | W, P | W);
		pae_target[0] |= bad[i];
		flush();
		write_at(TARGET);
		CHECK_FAULT(PF, PF_P | PF_W | PF_RSVD);
	}
	pae_target[0] = P | W | PS | 1 << 13; /* bits 13 to 20 of a 2 MiB page */
	flush();
	read_at(TARGET);
	CHECK_FAULT(PF, PF_P | PF_RSVD);
	paging_off();
}

TEST(pae_large_pages)
{
	if (!has.pae)
		return skip("no PAE");
	pae_on();
	pae_target[1] = P | W | PS;
	page[0] = 0x4321;
	flush();
	read_at(TARGET + 0x200000 + addr(page));
	CHECK_NONE();
	CHECK_IS(result, 0x4321);
	CHECK_IS((u32)pae_target[1] & (A | D), A);
	paging_off();
}

TEST(pae_no_execute)
{
	u64 efer;

	if (!has.pae || !has.nx)
		return skip("no PAE or NX");
	efer = rdmsr(0xc0000080);
	*(volatile u8 *)page = 0xc3; /* ret */
	pae_on();
	for (unsigned upper = 0; upper < 2; upper++) {
		set_pae(P | W, P | W);
		*(upper ? pae_target : pae_table) |= NX;
		wrmsr(0xc0000080, efer & ~BIT(11));
		flush();
		read_at(TARGET); /* reserved without NXE */
		CHECK_FAULT(PF, PF_P | PF_RSVD);
		wrmsr(0xc0000080, efer | BIT(11));
		flush();
		read_at(TARGET);
		CHECK_NONE();
		TRY("call *%[p]", (), ([p] "r"(TARGET)));
		CHECK_FAULT(PF, PF_P | PF_I);
		set_pae(P | W, P | W);
		flush();
		TRY("call *%[p]", (), ([p] "r"(TARGET)));
		CHECK_NONE();
	}
	wrmsr(0xc0000080, efer);
	paging_off();
}

/* CR4.PSE and CR4.PAE change the format under running translations. */
TEST(paging_mode_changes)
{
	if (!has.pae)
		return skip("no PAE");
	for (unsigned i = 0; i < 50; i++) {
		page[0] = i;
		legacy_on();
		read_at(TARGET);
		CHECK(caught.vector == -1 && result == i, "round %u", i);
		paging_off();
		pae_on();
		read_at(TARGET);
		CHECK(caught.vector == -1 && result == i, "round %u", i);
		paging_off();
	}
}

/* A task switch loads the PDPTEs, too; the new task is the one that finds them bad. */
TEST(pae_pdpte_of_a_task)
{
	static struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) target = {0, SEL_TSS2};

	if (!has.pae)
		return skip("no PAE");
	if (has.tcg)
		return skip("TCG takes them, and never comes back");
	pae_on();
	memcpy(pages[7], pdpt, 32);
	((u64 *)pages[7])[2] = W | P;
	tss2 = (struct tss){.eip = addr(user_read), .eflags = 2, .cs = SEL_CODE, .ss = SEL_DATA,
			    .esp = addr(kernel_stack) + 4096, .cr3 = addr(pages[7]),
			    .iomap = sizeof(struct tss)};
	TRY("ljmp *%[t]", (), ([t] "m"(target)), ALL_REGISTERS);
	CHECK_FAULT(GP, 0);
	CHECK_IS(caught.tr, SEL_TSS2);
	CHECK_IS(read_cr3(), addr(pdpt));
	paging_off();
}

/* An instruction over the end of its segment, which is a page's: the limit comes before the page. */
TEST(code_limit_at_the_end_of_a_page)
{
	u8 *end = pages[6] + 4096;

	legacy_on();
	memset(end - 16, 0x90, 13);
	end[-3] = 0xb8; /* movl $..., %eax */
	for (unsigned over = 0; over < 2; over++) {
		gdt[SEL_FREE / 8] = descriptor(TARGET, 4095 + over, 0xfb, 0x4);
		user_entry(NULL);
		entry.cs = SEL_FREE | 3;
		entry.eip = 4096 - 16;
		enter();
		if (over)
			CHECK_FAULT(PF, PF_U);
		else
			CHECK_FAULT(GP, 0);
		CHECK_IS(caught.eip, 4096 - 3);
	}
	paging_off();
}

/* Into compatibility mode and back; with a 16-bit TSS there is no way (vol. 3, 9.8.5). */
TEST(long_mode_needs_a_32_bit_tss)
{
	static struct tss16 tss16;
	u32 ext[4], cr0 = read_cr0();
	u64 efer;

	cpuid(0x80000001, 0, ext);
	if (!(ext[3] & BIT(29)))
		return skip("no long mode");
	memset(pages[8], 0, 3 * 4096);
	*(u64 *)pages[8] = addr(pages[9]) | P | W;
	*(u64 *)pages[9] = addr(pages[10]) | P | W;
	((u64 *)pages[10])[0] = P | W | PS;
	((u64 *)pages[10])[1] = 0x200000 | P | W | PS;
	efer = rdmsr(0xc0000080);
	wrmsr(0xc0000080, efer | BIT(8));
	write_cr4(read_cr4() | CR4_PAE);
	write_cr3(addr(pages[8]));
	TRY("movl %[on], %%cr0\n movl %[off], %%cr0", (), ([on] "r"(cr0 | CR0_PG), [off] "r"(cr0)));
	CHECK_NONE();
	gdt[SEL_FREE / 8] = descriptor(addr(&tss16), sizeof(tss16) - 1, DESC_TSS16, 0);
	asm volatile("ltr %w0" : : "r"(SEL_FREE));
	TRY("movl %[on], %%cr0\n movl %[off], %%cr0", (), ([on] "r"(cr0 | CR0_PG), [off] "r"(cr0)));
	CHECK_FAULT(GP, 0);
	CHECK(!(read_cr0() & CR0_PG));
	wrmsr(0xc0000080, efer);
}
