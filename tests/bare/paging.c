/* SPDX-License-Identifier: MIT */
/* tests/bare/paging.c: who may touch what through 4-level paging (SDM vol. 3, 4.6, 4.7, 4.8).
 */
#include "bare.h"

enum access { READ, WRITE, FETCH };
enum { ERR_P = 1, ERR_W = 2, ERR_U = 4, ERR_RSVD = 8, ERR_I = 16 };
enum { TARGET = 0, CODE = 512 }; /* pages of the window, in different page tables */

struct setting {
	u64 pde, pte; /* permission bits only */
	u64 cr0, cr4;
	bool user, ac;
	enum access access;
};

/* The error code this access must raise, or 0 for none: page faults always have a bit set here,
 * since P is 0 only for the not-present case, which is -1. */
static int expected(const struct setting *s)
{
	bool w = (s->pde & PTE_W) && (s->pte & PTE_W);
	bool u = (s->pde & PTE_U) && (s->pte & PTE_U);
	bool nx = (s->pde | s->pte) & PTE_NX;
	bool denied;
	int error = s->access == WRITE ? ERR_W : 0;

	if (s->user)
		error |= ERR_U;
	/* The I bit is there with NX in use, or with SMEP in use. */
	if (s->access == FETCH && (has.nx || (s->cr4 & CR4_SMEP)))
		error |= ERR_I;
	if (!(s->pte & PTE_P))
		return error ? error : -1;
	if (s->user)
		denied = !u || (s->access == WRITE && !w) || (s->access == FETCH && nx);
	else if (s->access == FETCH)
		denied = nx || (u && (s->cr4 & CR4_SMEP));
	else
		denied = (u && (s->cr4 & CR4_SMAP) && !s->ac) ||
			 (s->access == WRITE && !w && (s->cr0 & CR0_WP));
	return denied ? error | ERR_P : 0;
}

extern const u8 user_read[], user_write[], user_call[], user_end[];
asm(".pushsection .rodata\n"
    "user_read: movb (%rax), %cl\n int $0x80\n"
    "user_write: movb %cl, (%rax)\n int $0x80\n"
    "user_call: call *%rax\n int $0x80\n"
    "user_end:\n.popsection");

static void touch(const struct setting *s)
{
	static const u8 *const entry[] = {user_read, user_write, user_call};
	u64 rax = (u64)window(TARGET), rcx = 0xc3; /* a write keeps the RET */

	if (s->user) {
		run_user((u64)window(CODE) + (entry[s->access] - user_read), rax, rcx, 0);
		return;
	}
	if (s->ac)
		asm volatile("stac");
	if (s->access == READ)
		TRY("movb (%[p]), %%cl", ("+c"(rcx)), ([p] "r"(rax)));
	else if (s->access == WRITE)
		TRY("movb %%cl, (%[p])", ("+c"(rcx)), ([p] "r"(rax)));
	else
		TRY("call *%[p]", ("+c"(rcx)), ([p] "r"(rax)));
	if (has.smap)
		asm volatile("clac");
}

static void check_one(const struct setting *s)
{
	int error = expected(s);
	u64 pde, pte;

	window_pd[0] = (u64)window_pt[0] | PTE_P | s->pde;
	window_pt[0][TARGET] = (u64)page_pool[0] | s->pte;
	write_cr3(read_cr3());
	touch(s);
	pde = window_pd[0];
	pte = window_pt[0][TARGET];
	window_pd[0] = (u64)window_pt[0] | PTE_P | PTE_W | PTE_U;

#define WHERE                                                                                  \
	"pde %lx pte %lx wp %d smep %d smap %d user %d ac %d access %d: vector %d error %x, "  \
	"not "                                                                                 \
	"%x",                                                                                  \
		s->pde, s->pte, !!(s->cr0 & CR0_WP), !!(s->cr4 & CR4_SMEP),                    \
		!!(s->cr4 & CR4_SMAP), s->user, s->ac, s->access, (int)caught.vector,          \
		(u32)caught.error, error
	if (error) {
		CHECK(caught.vector == PF && caught.error == (error < 0 ? 0u : (u32)error),
		      WHERE);
		CHECK(caught.cr2 == (u64)window(TARGET), WHERE);
		CHECK(!(pte & PTE_D), WHERE);
	} else {
		CHECK(caught.vector == (s->user ? VEC_DONE : -1), WHERE);
		CHECK((pte & PTE_A) && (pde & PTE_A), WHERE);
		CHECK(!!(pte & PTE_D) == (s->access == WRITE), WHERE);
	}
}

/* The bits of i select among the permissions. */
static void matrix(u64 cr0_bits, u64 cr4_bits)
{
	u64 cr0 = read_cr0() & ~(u64)CR0_WP, cr4 = read_cr4();

	write_cr0(cr0 | cr0_bits);
	write_cr4(cr4 | cr4_bits);
	for (unsigned i = 0; i < 1024; i++) {
		struct setting s = {
			.pte = (i & 7) | (i & 8 ? PTE_NX : 0),
			.pde = (i >> 3 & 6) | (i & 64 ? PTE_NX : 0),
			.cr0 = cr0_bits,
			.cr4 = cr4_bits,
			.user = i & 128,
			.ac = i & 256,
		};

		if ((!has.nx && ((s.pte | s.pde) & PTE_NX)) || (s.ac && (s.user || !has.smap)))
			continue;
		for (s.access = READ; s.access <= FETCH; s.access++)
			check_one(&s);
	}
	write_cr4(cr4);
}

static void prepare(void)
{
	memset(page_pool[0], 0xc3, PAGE); /* ret */
	user_code(CODE, 1, user_read, user_end);
	window_map(USER_STACK_PAGE, page_pool[15], PTE_P | PTE_W | PTE_U);
}

TEST(paging_permissions)
{
	prepare();
	matrix(0, 0);
	matrix(CR0_WP, 0);
}

TEST(paging_permissions_smep)
{
	if (!has.smep)
		return skip("no SMEP");
	prepare();
	matrix(0, CR4_SMEP);
	matrix(CR0_WP, CR4_SMEP);
}

TEST(paging_permissions_smap)
{
	if (!has.smap || !has.smep)
		return skip("no SMAP");
	prepare();
	matrix(0, CR4_SMAP);
	matrix(CR0_WP, CR4_SMAP | CR4_SMEP);
}

/* Reserved bits raise their own error code, whatever the permissions. */
static void check_reserved(volatile u64 *entry, u64 bits, int error)
{
	u64 old = *entry, rcx = 0;

	*entry |= bits;
	write_cr3(read_cr3());
	TRY("movb (%[p]), %%cl", ("+c"(rcx)), ([p] "r"(window(TARGET))));
	CHECK_FAULT(PF, error);
	TRY("movb %%cl, (%[p])", ("+c"(rcx)), ([p] "r"(window(TARGET))));
	CHECK_FAULT(PF, error | ERR_W);
	*entry = old;
	write_cr3(read_cr3());
}

TEST(paging_reserved_bits)
{
	window_map(TARGET, page_pool[0], PTE_P | PTE_W);
	if (has.maxphyaddr < 52) {
		check_reserved(&window_pt[0][TARGET], BIT(51), ERR_P | ERR_RSVD);
		check_reserved(&window_pd[0], BIT(51), ERR_P | ERR_RSVD);
	}
	/* A large page's address below its alignment. */
	window_pd[0] = PTE_P | PTE_W | PTE_PS;
	check_reserved(&window_pd[0], BIT(13), ERR_P | ERR_RSVD);
}

TEST(paging_nx_is_reserved_without_nxe)
{
	u64 efer = rdmsr(0xc0000080);

	if (!has.nx)
		return skip("no NX");
	window_map(TARGET, page_pool[0], PTE_P | PTE_W);
	wrmsr(0xc0000080, efer & ~BIT(11));
	check_reserved(&window_pt[0][TARGET], PTE_NX, ERR_P | ERR_RSVD);
	wrmsr(0xc0000080, efer);
}

TEST(paging_large_page)
{
	u64 base = ((u64)page_pool[0]) & ~0x1fffffULL;
	volatile u8 *p = window(0) + ((u64)page_pool[0] - base);

	window_pd[0] = base | PTE_P | PTE_W | PTE_PS;
	write_cr3(read_cr3());
	page_pool[0][5] = 0;
	p[5] = 77;
	CHECK(page_pool[0][5] == 77);
	CHECK((window_pd[0] & (PTE_A | PTE_D)) == (PTE_A | PTE_D), "pde %lx", window_pd[0]);
}

/* A changed mapping is seen after INVLPG, and after a load of CR3. */
TEST(paging_remap)
{
	page_pool[0][0] = 1;
	page_pool[1][0] = 2;
	window_map(TARGET, page_pool[0], PTE_P | PTE_W);
	CHECK(*(volatile u8 *)window(TARGET) == 1);
	window_map(TARGET, page_pool[1], PTE_P | PTE_W);
	CHECK(*(volatile u8 *)window(TARGET) == 2);
	window_pt[0][TARGET] = (u64)page_pool[0] | PTE_P | PTE_W;
	write_cr3(read_cr3());
	CHECK(*(volatile u8 *)window(TARGET) == 1);
}

/* A page made writable needs no flush: the fault must walk again. */
TEST(paging_more_rights_without_flush)
{
	write_cr0(read_cr0() | CR0_WP);
	window_map(TARGET, page_pool[0], PTE_P);
	TRY("movb $1, (%[p])", (), ([p] "r"(window(TARGET))));
	CHECK_FAULT(PF, ERR_P | ERR_W);
	window_pt[0][TARGET] |= PTE_W;
	TRY("movb $1, (%[p])", (), ([p] "r"(window(TARGET))));
	CHECK_NONE();
}

/* The dirty bit is set by the first write even when a read filled the TLB. */
TEST(paging_dirty_after_read)
{
	window_map(TARGET, page_pool[0], PTE_P | PTE_W);
	(void)*(volatile u8 *)window(TARGET);
	CHECK((window_pt[0][TARGET] & (PTE_A | PTE_D)) == PTE_A, "%lx", window_pt[0][TARGET]);
	*(volatile u8 *)window(TARGET) = 1;
	CHECK(window_pt[0][TARGET] & PTE_D, "%lx", window_pt[0][TARGET]);
}

/* Adds one to *p, if asked to. On one page, wherever the compiler puts it. */
static __attribute__((noinline, aligned(64))) void add_if(u64 *p, u64 asked)
{
	__asm__ volatile("movq (%[p]), %%rax\n\t"
			 "testq %[asked], %[asked]\n\t"
			 "jz 1f\n\t"
			 "incq %%rax\n\t"
			 "movq %%rax, (%[p])\n"
			 "1:"
			 :
			 : [p] "r"(p), [asked] "r"(asked)
			 : "rax", "memory");
}

/* And by none that is not executed, though it most often was, by the same code. */
TEST(paging_dirty_without_the_write)
{
	u64 *p = (u64 *)window(TARGET);

	page_pool[0][0] = 0;
	window_map(TARGET, page_pool[0], PTE_P | PTE_W);
	for (u32 i = 0; i < 100; i++)
		add_if(p, 1);
	CHECK(page_pool[0][0] == 100 && window_pt[0][TARGET] & PTE_D, "%lx", window_pt[0][TARGET]);
	window_map(TARGET, page_pool[1], PTE_P | PTE_W);
	add_if(p, 0);
	CHECK((window_pt[0][TARGET] & (PTE_A | PTE_D)) == PTE_A, "%lx", window_pt[0][TARGET]);
	add_if(p, 1);
	CHECK(window_pt[0][TARGET] & PTE_D, "%lx", window_pt[0][TARGET]);
}

/* An access across two pages: the fault names the page that is missing, and nothing is written.
 */
TEST(paging_access_across_pages)
{
	u8 *p = window(1) - 4;

	memset(page_pool[0], 0x11, PAGE);
	window_map(0, page_pool[0], PTE_P | PTE_W);
	TRY("movq $-1, (%[p])", (), ([p] "r"(p)));
	CHECK_FAULT(PF, ERR_W);
	CHECK(caught.cr2 == (u64)window(1), "cr2 %lx", caught.cr2);
	CHECK(*(u32 *)(page_pool[0] + PAGE - 4) == 0x11111111);
	window_map(1, page_pool[2], PTE_P | PTE_W);
	TRY("movq $-1, (%[p])", (), ([p] "r"(p)));
	CHECK_NONE();
	CHECK(*(u32 *)page_pool[2] == 0xffffffff && *(u32 *)(page_pool[0] + PAGE - 4) == ~0u);
	window_map(0, page_pool[0], 0);
	TRY("movq $-1, (%[p])", (), ([p] "r"(p)));
	CHECK_FAULT(PF, ERR_W);
	CHECK(caught.cr2 == (u64)p, "cr2 %lx", caught.cr2);
}

extern u64 boot_pdpt[512];

/* 1 GiB: as a large page where there is one, else a reserved bit. */
TEST(paging_huge_page)
{
	volatile u64 *entry = &boot_pdpt[2];
	u64 at = 2 * BIT(30) + (u64)page_pool[0];

	*entry = PTE_P | PTE_W | PTE_PS;
	write_cr3(read_cr3());
	page_pool[0][5] = 0;
	if (has.page1g) {
		TRY("movb $77, (%[p])", (), ([p] "r"(at + 5)));
		CHECK_NONE();
		CHECK(page_pool[0][5] == 77);
		CHECK((*entry & (PTE_A | PTE_D)) == (PTE_A | PTE_D), "pdpte %lx", *entry);
		*entry |= BIT(13); /* below its alignment; bit 12 is PAT */
		write_cr3(read_cr3());
	}
	TRY("movb $78, (%[p])", (), ([p] "r"(at + 5)));
	if (!has.tcg) /* which leaves P clear, as in paging_reserved_bits */
		CHECK_FAULT(PF, ERR_P | ERR_RSVD | ERR_W);
	*entry = 0;
	write_cr3(read_cr3());
}

/* Global translations: whatever a load of CR3 leaves, INVLPG and a change of CR4.PGE drop (vol. 3,
 * 4.10.4.1). */
TEST(paging_global)
{
	u64 cr4 = read_cr4();

	page_pool[0][0] = 1;
	page_pool[1][0] = 2;
	write_cr4(cr4 | BIT(7));
	window_map(TARGET, page_pool[0], PTE_P | PTE_W | 0x100);
	CHECK(*(volatile u8 *)window(TARGET) == 1);
	write_cr3(read_cr3());
	(void)*(volatile u8 *)window(TARGET);
	window_pt[0][TARGET] = (u64)page_pool[1] | PTE_P | PTE_W | 0x100;
	invlpg(window(TARGET));
	CHECK(*(volatile u8 *)window(TARGET) == 2);
	window_pt[0][TARGET] = (u64)page_pool[0] | PTE_P | PTE_W | 0x100;
	write_cr4(cr4 & ~BIT(7));
	CHECK(*(volatile u8 *)window(TARGET) == 1);
	write_cr4(cr4);
}

/* The processor's own accesses are the supervisor's, and AC does not open user pages to them (vol. 3,
 * 4.6.1); the accessed bit of a descriptor is written. */
TEST(paging_implicit_access)
{
	u64 *ldt = (u64 *)page_pool[3];

	ldt[1] = descriptor(0, 0xfffff, 0x92, 0xc);
	gdt[SEL_FREE / 8] = descriptor((u32)WINDOW, 15, 0x82, 0);
	gdt[SEL_FREE / 8 + 1] = 0;
	TRY("lldt %w[s]", (), ([s] "r"(SEL_FREE)));
	CHECK_NONE();
	if (has.smap) {
		window_map(0, ldt, PTE_P | PTE_W | PTE_U);
		write_cr4(read_cr4() | CR4_SMAP);
		TRY("stac\n mov %[s], %%es", (), ([s] "r"(8 | 4)));
		CHECK_FAULT(PF, ERR_P);
		write_cr4(read_cr4() & ~(u64)CR4_SMAP);
		asm volatile("clac");
	}
	window_map(0, ldt, PTE_P);
	write_cr0(read_cr0() | CR0_WP);
	TRY("mov %[s], %%es", (), ([s] "r"(8 | 4)));
	CHECK_FAULT(PF, ERR_P | ERR_W);
	ldt[1] |= BIT(40);
	TRY("mov %[s], %%es", (), ([s] "r"(8 | 4)));
	CHECK_NONE();
	asm volatile("lldt %w0\n mov %w0, %%es" : : "r"(0));
}
