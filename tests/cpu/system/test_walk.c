/* SPDX-License-Identifier: MIT */
/*
 * The guest page walk against an oracle written from SDM vol. 3, 4.6 and 4.7: every combination of
 * rights, controls and kinds of access; then sizes, reserved bits and accessed/dirty.
 */
#include "fake.h"

#define ROOT 0x10000ULL
#define T2   0x11000ULL
#define T3   0x12000ULL
#define T4   0x13000ULL
#define LA   0x0000000040201abcULL /* index 0, 1, 1, 1 */
#define PAGE 0x5000ULL
#define P    1ULL
#define RW   2ULL
#define US   4ULL
#define A    0x20ULL
#define D    0x40ULL
#define PS   0x80ULL
#define NX   BIT(63)
#define ALL  (P | RW | US)

static void map4(u64 pde, u64 pte)
{
	put64(ROOT, T2 | ALL);
	put64(T2 + 8, T3 | ALL);
	put64(T3 + 8, pde);
	put64(T4 + 8, pte);
	fake.c->cr3 = ROOT;
}

struct kase {
	u64 pde, pte; /* rights */
	bool wp, smep, smap, nxe;
	unsigned access, flags;
};

/* 0 or an error code with bit 31 set. */
#define FAULT 0x80000000u
static u32 oracle(const struct kase *k)
{
	bool user = k->flags & WALK_USER;
	u32 base = (k->access == MMU_WRITE ? PF_W : 0) | (user ? PF_U : 0) |
		   (k->access == MMU_EXEC && (k->nxe || k->smep) ? PF_I : 0);
	bool us, rw, nx;

	if (!(k->pde & P))
		return FAULT | base;
	if ((k->pde & NX) && !k->nxe)
		return FAULT | base | PF_P | PF_RSVD;
	if (!(k->pte & P))
		return FAULT | base;
	if ((k->pte & NX) && !k->nxe)
		return FAULT | base | PF_P | PF_RSVD;
	us = (k->pde & US) && (k->pte & US);
	rw = (k->pde & RW) && (k->pte & RW);
	nx = (k->pde & NX) || (k->pte & NX);
	if (user && !us)
		return FAULT | base | PF_P;
	if (k->access == MMU_EXEC) {
		if (nx || (!user && us && k->smep))
			return FAULT | base | PF_P;
		return 0;
	}
	/* SMAP: AC overrides it for explicit accesses only. */
	if (!user && us && k->smap && ((k->flags & WALK_IMPLICIT) || !(k->flags & WALK_AC)))
		return FAULT | base | PF_P;
	if (k->access == MMU_WRITE && !rw && (user || k->wp))
		return FAULT | base | PF_P;
	return 0;
}

static u64 rights(unsigned bits)
{
	return (bits & 1 ? P : 0) | (bits & 2 ? RW : 0) | (bits & 4 ? US : 0) |
	       (bits & 8 ? NX : 0);
}

static void check(const struct kase *k)
{
	struct cpu *c = fake.c;
	u32 want = oracle(k), error = 0;
	struct walk w;
	int r;

	c->cr0 = (c->cr0 & ~CR0_WP) | (k->wp ? CR0_WP : 0);
	c->cr4 = CR4_PAE | (k->smep ? CR4_SMEP : 0) | (k->smap ? CR4_SMAP : 0);
	c->efer = EFER_LME | EFER_LMA | (k->nxe ? EFER_NX : 0);
	map4(T4 | k->pde, PAGE | k->pte);
	r = walk_linear(c, LA, k->access, k->flags, &w, &error);
	if ((r ? FAULT | error : 0) != want)
		print_message("pde %llx pte %llx wp %d smep %d smap %d nxe %d access %u flags %u\n",
			      (long long)k->pde, (long long)k->pte, k->wp, k->smep, k->smap, k->nxe,
			      k->access, k->flags);
	assert_int_equal(r ? FAULT | error : 0, want);
	if (r) {
		assert_int_equal(get(T4 + 8, 8), PAGE | k->pte);
		return;
	}
	assert_int_equal(w.gpa, PAGE + (LA & 0xfff));
	/* The permissions told are those the oracle gives for each kind, writes once dirty. */
	for (unsigned access = MMU_READ; access <= MMU_EXEC; access <<= 1) {
		struct kase other = *k;
		bool allowed;

		other.access = access;
		allowed = !oracle(&other) && (access != MMU_WRITE || k->access == MMU_WRITE);
		assert_int_equal(!!(w.perm & access), allowed);
	}
	assert_int_equal(get(T4 + 8, 8),
			 PAGE | k->pte | A | (k->access == MMU_WRITE ? D : 0));
	assert_true(get(ROOT, 8) & A);
	assert_true(get(T3 + 8, 8) & A);
	assert_false(get(T3 + 8, 8) & D);
}

static void permissions(void **state)
{
	static const unsigned kinds[] = {WALK_USER, 0, WALK_AC, WALK_IMPLICIT,
					 WALK_IMPLICIT | WALK_AC};
	unsigned cases = 0;

	fake_long(0);
	for (unsigned pde = 0; pde < 16; pde++)
		for (unsigned pte = 0; pte < 16; pte++)
			for (unsigned ctl = 0; ctl < 16; ctl++)
				for (unsigned a = 0; a < 3; a++)
					for (unsigned n = 0; n < ARRAY_SIZE(kinds); n++) {
						struct kase k = {
							.pde = rights(pde),
							.pte = rights(pte),
							.wp = ctl & 1,
							.smep = ctl & 2,
							.smap = ctl & 4,
							.nxe = ctl & 8,
							.access = 1u << a,
							.flags = kinds[n],
						};
						check(&k);
						cases++;
					}
	assert_int_equal(cases, 16 * 16 * 16 * 3 * 5);
}

static int walk(u64 la, unsigned access, struct walk *w, u32 *error)
{
	return walk_linear(fake.c, la, access, WALK_AC, w, error);
}

static void map_1g(void)
{
	fake_long(0);
	fake.c->cr3 = ROOT;
	put64(ROOT, T2 | ALL);
	put64(T2 + 8, 0x40000000ULL | ALL | PS);
}

/* In its place. */
static void map_2m(void)
{
	put64(T2 + 8, T3 | ALL);
	put64(T3 + 8, 0x600000ULL | ALL | PS);
}

static void large_pages(void **state)
{
	struct walk w;
	u32 e;

	map_1g();
	assert_int_equal(walk(LA, MMU_WRITE, &w, &e), 0);
	assert_int_equal(w.level, LEVEL_1G);
	assert_int_equal(w.gpa, 0x40000000ULL + (LA & 0x3fffffff));
	map_2m();
	assert_int_equal(walk(LA, MMU_READ, &w, &e), 0);
	assert_int_equal(w.level, LEVEL_2M);
	assert_int_equal(w.gpa, 0x600000ULL + (LA & 0x1fffff));
	assert_false(w.perm & MMU_WRITE); /* not dirty yet */
	/* PAT of a large page is bit 12; 20:13 are reserved. */
	put64(T3 + 8, 0x601000ULL | ALL | PS);
	assert_int_equal(walk(LA, MMU_READ, &w, &e), 0);
	put64(T3 + 8, 0x602000ULL | ALL | PS);
	assert_int_equal(walk(LA, MMU_READ, &w, &e), 1);
	assert_int_equal(e, PF_P | PF_RSVD);
}

static void reserved_bits(void **state)
{
	struct walk w;
	u32 e;

	fake_long(0);
	for (unsigned bit = 39; bit < 63; bit++) {
		bool reserved = bit >= 40 && bit < 52; /* MAXPHYADDR is 40 */

		map4(T4 | ALL, PAGE | ALL | BIT(bit));
		assert_int_equal(walk(LA, MMU_READ, &w, &e), reserved);
		if (reserved)
			assert_int_equal(e, PF_P | PF_RSVD);
	}
	map4(T4 | ALL, PAGE | ALL);
	put64(ROOT, T2 | ALL | PS); /* PS is reserved in a PML4E */
	assert_int_equal(walk(LA, MMU_READ, &w, &e), 1);
	assert_int_equal(e, PF_P | PF_RSVD);
}

static void five_levels(void **state)
{
	struct walk w;
	u32 e;

	fake_long(0);
	map4(T4 | ALL, PAGE | ALL);
	fake.c->cr4 |= CR4_LA57;
	put64(0x14000 + 8, ROOT | ALL);
	fake.c->cr3 = 0x14000;
	fake.nphys = 0;
	assert_int_equal(walk(BIT(48) | LA, MMU_READ, &w, &e), 0);
	assert_int_equal(fake.nphys, 5);
	assert_int_equal(w.gpa, PAGE + (LA & 0xfff));
}

static void pae(void **state)
{
	struct walk w;
	u32 e;

	fake_protected(0);
	fake.c->cr0 |= CR0_PG;
	fake.c->cr4 |= CR4_PAE;
	put64(ROOT + 8, T3 | P); /* PDPTE 1: the second GiB */
	put64(T3 + 8, T4 | ALL);
	put64(T4 + 8, PAGE | ALL);
	assert_true(walk_load_pdptrs(fake.c, ROOT));
	assert_int_equal(walk(LA, MMU_WRITE, &w, &e), 0);
	assert_int_equal(w.gpa, PAGE + (LA & 0xfff));
	assert_int_equal(get(ROOT + 8, 8), T3 | P); /* a PDPTE has no accessed bit */
	assert_int_equal(walk(0x80000000, MMU_READ, &w, &e), 1);
	assert_int_equal(e, 0);
	put64(T4 + 8, PAGE | ALL | BIT(55)); /* 62:52 are reserved outside long mode */
	assert_int_equal(walk(LA, MMU_READ, &w, &e), 1);
	assert_int_equal(e, PF_P | PF_RSVD);
	put64(ROOT, T3 | P | RW); /* reserved in a PDPTE */
	assert_false(walk_load_pdptrs(fake.c, ROOT));
}

static void legacy32(void **state)
{
	u32 la = 0x00401abc; /* directory 1, table 1 */
	struct walk w;
	u32 e;

	fake_protected(0);
	fake.c->cr0 |= CR0_PG;
	fake.c->cr3 = ROOT;
	put32(ROOT + 4, (u32)T2 | ALL);
	put32(T2 + 4, (u32)PAGE | ALL);
	assert_int_equal(walk(la, MMU_WRITE, &w, &e), 0);
	assert_int_equal(w.gpa, PAGE + (la & 0xfff));
	assert_int_equal(get(T2 + 4, 4), PAGE | ALL | A | D);
	/* PS counts with CR4.PSE only. */
	put32(ROOT + 4, 0x00800000 | ALL | PS | 0x3 << 13);
	fake.c->cr4 |= CR4_PSE;
	assert_int_equal(walk(la, MMU_READ, &w, &e), 0);
	assert_int_equal(w.gpa, (3ULL << 32) + 0x00800000 + (la & 0x3fffff)); /* PSE-36 */
	put32(ROOT + 4, 0x00800000 | ALL | PS | 1 << 21);
	assert_int_equal(walk(la, MMU_READ, &w, &e), 1);
	assert_int_equal(e, PF_P | PF_RSVD);
	/* Without NX and SMEP a fetch is not told apart. */
	put32(ROOT + 4, 0);
	assert_int_equal(walk(la, MMU_EXEC, &w, &e), 1);
	assert_int_equal(e, 0);
}

static void unpaged(void **state)
{
	struct walk w;
	u32 e;

	fake_protected(0);
	assert_int_equal(walk(0x12345678, MMU_WRITE, &w, &e), 0);
	assert_int_equal(w.gpa, 0x12345678);
	assert_int_equal(w.perm, MMU_READ | MMU_WRITE | MMU_EXEC);
}

static unsigned races;

static void change_once(gpa_t gpa)
{
	if (gpa == T4 + 8 && !races++)
		put64(T4 + 8, 0x6000 | ALL);
}

static void changed_entry_is_walked_again(void **state)
{
	struct walk w;
	u32 e;

	fake_long(0);
	map4(T4 | ALL, PAGE | ALL);
	races = 0;
	fake.race = change_once;
	assert_int_equal(walk(LA, MMU_WRITE, &w, &e), 0);
	assert_int_equal(races, 2);
	assert_int_equal(w.gpa, 0x6000 + (LA & 0xfff));
	assert_int_equal(get(T4 + 8, 8), 0x6000 | ALL | A | D);
}

static void tables_in_a_hole(void **state)
{
	struct walk w;
	u32 e;

	fake_long(0);
	fake.c->cr3 = FAKE_MEM;
	assert_int_equal(walk(LA, MMU_READ, &w, &e), -ENOENT);
	assert_int_equal(w.gpa, FAKE_MEM);
}

/* A leaf in a read-only slot: its bits stay clear, and it serves reads and writes all the same. */
static void tables_in_a_read_only_slot(void **state)
{
	struct walk w;
	u32 e;

	fake_long(0);
	map4(T4 | ALL, PAGE | ALL);
	fake.rom_page = T4;
	assert_int_equal(walk(LA, MMU_READ, &w, &e), 0);
	assert_int_equal(w.gpa, PAGE + (LA & 0xfff));
	assert_int_equal(walk(LA, MMU_WRITE, &w, &e), 0);
	assert_true(w.perm & MMU_WRITE);
	assert_int_equal(get(T4 + 8, 8), PAGE | ALL);
	assert_int_equal(get(T2 + 8, 8) & A, A); /* the level above is not read-only */
}

static bool known(unsigned access, struct walk *w)
{
	return walk_known(fake.c, LA, access, WALK_AC, w);
}

/* The last level is read each time, and nothing but a look at it is ever done. */
static void known_tables(void **state)
{
	struct walk w;
	u32 e;

	fake_long(0);
	map4(T4 | ALL, PAGE | ALL);
	assert_false(known(MMU_READ, &w));
	assert_int_equal(walk(LA, MMU_READ, &w, &e), 0);
	fake.nphys = 0;
	assert_true(known(MMU_READ, &w));
	assert_int_equal(fake.nphys, 0);
	assert_int_equal(w.gpa, PAGE + (LA & 0xfff));
	assert_int_equal(w.level, LEVEL_4K);
	assert_int_equal(w.perm, MMU_READ | MMU_EXEC); /* not dirty */
	assert_false(known(MMU_WRITE, &w));
	assert_int_equal(get(T4 + 8, 8), PAGE | ALL | A);
	put64(T4 + 8, 0x6000 | P | A | D | BIT(8));
	fake.c->cr4 |= CR4_PGE;
	assert_true(known(MMU_READ, &w));
	assert_int_equal(w.gpa, 0x6000 + (LA & 0xfff));
	assert_true(w.global);
	assert_int_equal(known(MMU_WRITE, &w), !(fake.c->cr0 & CR0_WP));
	put64(T4 + 8, PAGE | ALL); /* to be marked as accessed */
	assert_false(known(MMU_READ, &w));
	put64(T4 + 8, PAGE | RW | A | D); /* absent */
	assert_false(known(MMU_READ, &w));
	put64(T4 + 8, PAGE | ALL | A | D | BIT(45)); /* reserved */
	assert_false(known(MMU_READ, &w));
	put64(T4 + 8, PAGE | ALL | A | D);
	assert_true(known(MMU_WRITE, &w));
	assert_false(walk_known(fake.c, LA + (2 << 20), MMU_READ, WALK_AC, &w));
}

/* Rights of the levels above count as they were when they were read. */
static void known_rights(void **state)
{
	struct walk w;
	u32 e;

	fake_long(0);
	fake.c->cr0 |= CR0_WP;
	fake.c->efer |= EFER_NX;
	map4(T4 | P | US | NX, PAGE | ALL | D);
	assert_int_equal(walk(LA, MMU_READ, &w, &e), 0);
	assert_true(known(MMU_READ, &w));
	assert_int_equal(w.perm, MMU_READ);
	assert_true(walk_known(fake.c, LA, MMU_READ, WALK_USER, &w));
	fake.c->cr4 |= CR4_SMAP;
	assert_true(known(MMU_READ, &w));
	assert_false(walk_known(fake.c, LA, MMU_READ, 0, &w));
	map4(T4 | P | RW, PAGE | ALL | D);
	mmu_tlb_flush_page(&fake.c->mmu, LA);
	assert_int_equal(walk(LA, MMU_WRITE, &w, &e), 0);
	assert_true(known(MMU_WRITE, &w));
	assert_false(walk_known(fake.c, LA, MMU_READ, WALK_USER, &w));
	/* A level whose accessed bit cannot be set is not kept. */
	map4(T4 | ALL, PAGE | ALL | D | A);
	mmu_tlb_flush_page(&fake.c->mmu, LA);
	fake.rom_page = T3;
	assert_int_equal(walk(LA, MMU_READ, &w, &e), 0);
	assert_false(known(MMU_READ, &w));
}

/* What makes a processor forget them. */
static void known_until(void **state)
{
	struct walk w;
	u32 e;

	for (unsigned how = 0; how < 5; how++) {
		fake_long(0);
		map4(T4 | ALL, PAGE | ALL | D);
		assert_int_equal(walk(LA, MMU_READ, &w, &e), 0);
		assert_true(known(MMU_READ, &w));
		switch (how) {
		case 0: /* of any page */
			mmu_tlb_flush_page(&fake.c->mmu, 0);
			break;
		case 1:
			mmu_tlb_switch(&fake.c->mmu, 0, false);
			break;
		case 2: /* stage 2 changed */
			fake.c->mmu.epoch++;
			break;
		case 3: /* a fault */
			put64(ROOT, 0);
			assert_int_equal(walk(LA, MMU_READ, &w, &e), 1);
			break;
		case 4: /* a fault for want of a right */
			put64(ROOT, T2 | P | RW);
			assert_int_equal(walk_linear(fake.c, LA, MMU_READ, WALK_USER, &w, &e), 1);
			break;
		}
		assert_false(known(MMU_READ, &w));
	}
	/* Outside long mode, nothing is. */
	fake_long(0);
	map4(T4 | ALL, PAGE | ALL | D);
	assert_int_equal(walk(LA, MMU_READ, &w, &e), 0);
	fake.c->efer &= ~EFER_LMA;
	assert_false(known(MMU_READ, &w));
	/* A debugger's walk leaves nothing behind. */
	fake_long(0);
	map4(T4 | ALL | A, PAGE | ALL | D | A);
	assert_int_equal(walk_linear(fake.c, LA, MMU_READ, WALK_AC | WALK_NO_SET, &w, &e), 0);
	assert_false(known(MMU_READ, &w));
}

static void known_large_pages(void **state)
{
	struct walk w;
	u32 e;

	map_1g();
	assert_int_equal(walk(LA, MMU_READ, &w, &e), 0);
	assert_true(known(MMU_READ, &w));
	assert_int_equal(w.level, LEVEL_1G);
	assert_int_equal(w.gpa, 0x40000000ULL + (LA & 0x3fffffff));
	assert_false(known(MMU_WRITE, &w));
	assert_int_equal(walk(LA, MMU_WRITE, &w, &e), 0);
	assert_true(known(MMU_WRITE, &w));
	map_2m();
	mmu_tlb_flush_page(&fake.c->mmu, LA);
	assert_int_equal(walk(LA, MMU_WRITE, &w, &e), 0);
	assert_true(known(MMU_WRITE, &w));
	assert_int_equal(w.level, LEVEL_2M);
	assert_int_equal(w.gpa, 0x600000ULL + (LA & 0x1fffff));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(permissions),
		cmocka_unit_test(large_pages),
		cmocka_unit_test(reserved_bits),
		cmocka_unit_test(five_levels),
		cmocka_unit_test(pae),
		cmocka_unit_test(legacy32),
		cmocka_unit_test(unpaged),
		cmocka_unit_test(known_tables),
		cmocka_unit_test(known_rights),
		cmocka_unit_test(known_until),
		cmocka_unit_test(known_large_pages),
		cmocka_unit_test(changed_entry_is_walked_again),
		cmocka_unit_test(tables_in_a_hole),
		cmocka_unit_test(tables_in_a_read_only_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
