/* SPDX-License-Identifier: MIT */
/*
 * system/walk.c: the guest's own page tables (SDM vol. 3, chapter 4).
 *
 * One loop serves all four formats; struct format says what differs. Rights accumulate over the
 * levels and are judged once the leaf is known, so an absent entry below wins over a right refused
 * above, as on a processor.
 */
#include "cpu/system/internal.h"

#define PTE_P	BIT(0)
#define PTE_RW	BIT(1)
#define PTE_US	BIT(2)
#define PTE_A	BIT(5)
#define PTE_D	BIT(6)
#define PTE_PS	BIT(7)
#define PTE_G	BIT(8)
#define PTE_NX	BIT(63)
#define PTE_ADDR 0x000ffffffffff000ULL

#define MAX_LEVELS 5
/* Rounds that entries changed under the walk may cost before requests are looked at again. */
#define MAX_ROUNDS 64
#define CR3_PAE_BASE 0xffffffe0ULL
#define UPPER_SHIFT  21 /* what one table of the last level maps */

/* One entry passed on the way down. */
struct step {
	gpa_t gpa;
	u64 entry;
};

struct state {
	struct cpu *c;
	u64 la;
	unsigned access, flags;
	u32 size;      /* bytes of an entry */
	unsigned bits; /* index bits of a level */
	int levels;
	struct step step[MAX_LEVELS]; /* [level - 1] */
	u64 rights;    /* PTE_RW and PTE_US where every level has it */
	bool nx;
	bool rom_leaf; /* the leaf's dirty bit cannot be set */
	gpa_t failed; /* entry that could not be read or written */
};

static bool nx_enabled(const struct cpu *c)
{
	return (c->efer & EFER_NX) && (c->cr4 & CR4_PAE);
}

static int fault(const struct state *s, u32 why, u32 *error)
{
	u32 e = why;

	if (s->access & MMU_WRITE)
		e |= PF_W;
	if (s->flags & WALK_USER)
		e |= PF_U;
	if ((s->access & MMU_EXEC) && (nx_enabled(s->c) || (s->c->cr4 & CR4_SMEP)))
		e |= PF_I;
	*error = e;
	return 1;
}

/* Reserved bits of an 8-byte entry; `leaf` tells a large page from a table. */
static u64 reserved64(const struct state *s, int level, bool leaf)
{
	const struct cpu *c = s->c;
	u64 r = c->reserved_gpa & PTE_ADDR;

	if (!(c->efer & EFER_NX))
		r |= PTE_NX;
	if (!(c->efer & EFER_LMA))
		r |= 0x7ff0000000000000ULL;
	if (level >= 4)
		r |= PTE_PS;
	if (level == 3 && leaf && !cpuid_has(c, 0x80000001, EDX, 26))
		r |= PTE_PS;
	if (leaf && level > 1)
		r |= (BIT(12 + 9 * (level - 1)) - 1) & ~0x1fffULL;
	return r;
}

/* A 4 MiB page: bits 20:13 are address bits 39:32 as far as MAXPHYADDR goes (PSE-36). */
static u64 reserved32(const struct state *s, int level, bool leaf)
{
	u64 high;

	if (level != 2 || !leaf)
		return 0;
	high = (s->c->reserved_gpa >> 32) & 0xff;
	return BIT(21) | high << 13;
}

static bool is_leaf(const struct state *s, int level, u64 entry)
{
	if (level == 1)
		return true;
	if (!(entry & PTE_PS) || level > 3)
		return false;
	return s->size == 8 || (s->c->cr4 & CR4_PSE);
}

static gpa_t table_of(const struct state *s, u64 entry)
{
	return s->size == 8 ? entry & PTE_ADDR : entry & 0xfffff000;
}

static u64 leaf_gpa(const struct state *s, int level, u64 entry)
{
	u64 offset_mask = BIT(12 + s->bits * (level - 1)) - 1;

	if (s->size == 4 && level == 2)
		return (entry & 0xffc00000) | (entry & 0x1fe000) << 19 | (s->la & offset_mask);
	return (table_of(s, entry) & ~offset_mask) | (s->la & offset_mask);
}

/* Where the walk starts; 1: the PDPTE is absent. */
static int start(struct state *s, gpa_t *table, u32 *error)
{
	struct cpu *c = s->c;

	s->size = c->cr4 & CR4_PAE ? 8 : 4;
	s->bits = s->size == 8 ? 9 : 10;
	s->rights = PTE_RW | PTE_US;
	s->nx = s->rom_leaf = false;
	if (c->efer & EFER_LMA) {
		s->levels = c->cr4 & CR4_LA57 ? 5 : 4;
		*table = c->cr3 & PTE_ADDR;
		return 0;
	}
	s->la &= 0xffffffff;
	s->levels = 2;
	if (s->size == 4) {
		*table = c->cr3 & 0xfffff000;
		return 0;
	}
	/* PAE: the PDPTEs were loaded with CR3 and carry no rights (SDM vol. 3, 4.4.1). */
	if (!(c->pdptr[s->la >> 30] & PTE_P))
		return fault(s, 0, error);
	*table = c->pdptr[s->la >> 30] & PTE_ADDR;
	return 0;
}

/* Down to the leaf: its level, 0 for a page fault, or -errno. Entries are read by load(arg, ...). */
static inline __attribute__((always_inline)) int descend_by(struct state *s, u32 *error,
							    walk_load *load, void *arg)
{
	gpa_t table = 0;

	if (start(s, &table, error))
		return 0;
	for (int level = s->levels;; level--) {
		struct step *st = &s->step[level - 1];
		u64 index = (s->la >> (12 + s->bits * (level - 1))) & (BIT(s->bits) - 1);
		bool leaf;
		int r;

		st->gpa = table + index * s->size;
		r = load(arg, st->gpa, s->size, &st->entry);
		if (r) {
			s->failed = st->gpa;
			return r;
		}
		if (!(st->entry & PTE_P)) {
			fault(s, 0, error);
			return 0;
		}
		leaf = is_leaf(s, level, st->entry);
		if (st->entry &
		    (s->size == 8 ? reserved64(s, level, leaf) : reserved32(s, level, leaf))) {
			fault(s, PF_P | PF_RSVD, error);
			return 0;
		}
		s->rights &= st->entry;
		s->nx |= s->size == 8 && (st->entry & PTE_NX);
		if (leaf)
			return level;
		table = table_of(s, st->entry);
	}
}

static int load_for_vcpu(void *c, gpa_t gpa, u32 size, u64 *entry)
{
	return access_phys_load(c, gpa, size, entry);
}

static int descend(struct state *s, u32 *error)
{
	return descend_by(s, error, load_for_vcpu, s->c);
}

void walk_look(struct cpu *c, u64 la, walk_load *load, void *arg, struct walk_seen *out)
{
	struct state s = {.c = c, .la = la, .access = MMU_READ, .failed = ~0ULL};

	memset(out, 0, sizeof(*out));
	out->result = descend_by(&s, &out->error, load, arg);
	out->levels = s.levels;
	out->entry_size = s.size;
	for (int level = s.levels; level > 0; level--) {
		const struct step *st = &s.step[level - 1];

		/* What was not come to is zero. */
		out->step[level - 1].gpa = st->gpa;
		out->step[level - 1].entry = st->entry;
	}
	if (out->result > 0)
		out->gpa = leaf_gpa(&s, out->result, s.step[out->result - 1].entry);
	else if (out->result < 0)
		out->gpa = s.failed;
}

/* What the accumulated rights allow to this kind of access (SDM vol. 3, 4.6.1). */
static unsigned allowed(const struct state *s)
{
	const struct cpu *c = s->c;
	bool user_page = s->rights & PTE_US, rw = s->rights & PTE_RW;
	unsigned perm = 0;

	if (s->flags & WALK_USER) {
		if (!user_page)
			return 0;
		perm = MMU_READ | (rw ? MMU_WRITE : 0);
	} else {
		bool refused = user_page && (c->cr4 & CR4_SMAP) &&
			       ((s->flags & WALK_IMPLICIT) || !(s->flags & WALK_AC));

		if (!refused)
			perm = MMU_READ | (rw || !(c->cr0 & CR0_WP) ? MMU_WRITE : 0);
		if (user_page && (c->cr4 & CR4_SMEP))
			return perm;
	}
	return perm | (s->nx ? 0 : MMU_EXEC);
}

/*
 * Set accessed everywhere and dirty in the leaf. 1: an entry changed meanwhile, walk again. A table in
 * a read-only slot takes no bit, and the access goes on, as in KVM: no device takes the bit either.
 */
static int mark(struct state *s, int leaf)
{
	for (int level = s->levels; level >= leaf; level--) {
		struct step *st = &s->step[level - 1];
		u64 want = st->entry | PTE_A;
		bool done;
		int r;

		if (level == leaf && (s->access & MMU_WRITE))
			want |= PTE_D;
		if (want == st->entry)
			continue;
		r = access_phys_cmpxchg(s->c, st->gpa, s->size, st->entry, want, &done);
		if (r == -ENOENT) {
			s->rom_leaf |= level == leaf;
			continue;
		}
		if (r) {
			s->failed = st->gpa;
			return r;
		}
		if (!done)
			return 1;
		st->entry = want;
	}
	return 0;
}

/* ------------------------------------------------------------------ upper levels that are known */

static struct walk_upper *upper_slot(struct cpu *c, u64 la)
{
	return &c->upper[(la >> UPPER_SHIFT) % ARRAY_SIZE(c->upper)];
}

static bool upper_is(const struct cpu *c, const struct walk_upper *u, u64 la)
{
	return u->stretch == (la >> UPPER_SHIFT) + 1 && u->space == c->mmu.space && u->invlpgs == c->mmu.invlpgs &&
	       u->epoch == c->mmu.epoch && (c->efer & EFER_LMA);
}

/* A fault forgets what it may have come from (SDM vol. 3, 4.10.4.1). */
static void upper_forget(struct cpu *c, u64 la)
{
	upper_slot(c, la)->stretch = 0;
}

/* A walk down to `leaf` has come to its end: keep what stands above the last level. */
static void upper_keep(const struct state *s, int leaf)
{
	struct cpu *c = s->c;
	struct walk_upper u = {
		.stretch = (s->la >> UPPER_SHIFT) + 1,
		.space = c->mmu.space,
		.invlpgs = c->mmu.invlpgs,
		.epoch = c->mmu.epoch,
		.entry = s->step[leaf - 1].entry,
		.rights = PTE_RW | PTE_US,
		.level = (u8)leaf,
	};

	/* One that is not marked as accessed is kept by no processor. */
	for (int level = s->levels; level > 1; level--) {
		if (level < leaf)
			break;
		if (!(s->step[level - 1].entry & PTE_A))
			return;
		u.rights &= s->step[level - 1].entry;
		u.nx |= (s->step[level - 1].entry & PTE_NX) != 0;
	}
	u.table = leaf == 1 ? access_phys_known(c, s->step[0].gpa & PAGE_MASK) : NULL;
	if (leaf > 1 || u.table)
		*upper_slot(c, s->la) = u;
}

bool walk_known(struct cpu *c, u64 la, unsigned access, unsigned flags, struct walk *w)
{
	const struct walk_upper *u = upper_slot(c, la);
	struct state s = {.c = c, .la = la, .access = access, .flags = flags, .size = 8, .bits = 9};
	u64 entry = u->entry;

	if (!upper_is(c, u, la))
		return false;
	s.rights = u->rights;
	s.nx = u->nx;
	if (u->level == 1) {
		u64 index = (la >> PAGE_SHIFT) & (BIT(s.bits) - 1);

		if (!guard_load64(u->table + index * 8, &entry))
			return false;
		if ((entry & (PTE_P | PTE_A)) != (PTE_P | PTE_A) || (entry & reserved64(&s, 1, true)))
			return false;
		s.rights &= entry;
		s.nx |= (entry & PTE_NX) != 0;
	}
	w->perm = allowed(&s) & ~(entry & PTE_D ? 0u : MMU_WRITE);
	w->gpa = leaf_gpa(&s, u->level, entry);
	w->global = (entry & PTE_G) && (c->cr4 & CR4_PGE);
	w->level = u->level;
	return (access & w->perm) == access;
}

static int walk_unpaged(u64 la, struct walk *w)
{
	w->gpa = la & 0xffffffff;
	w->perm = MMU_READ | MMU_WRITE | MMU_EXEC;
	w->global = false;
	w->level = LEVEL_4K;
	return 0;
}

int walk_linear(struct cpu *c, u64 la, unsigned access, unsigned flags, struct walk *w,
		u32 *error)
{
	struct state s = {.c = c, .access = access, .flags = flags};
	int leaf, r, rounds = 0;
	u64 entry;

	if (!(c->cr0 & CR0_PG))
		return walk_unpaged(la, w);
	/* Each further round means that another processor has changed an entry meanwhile. */
	do {
		if (rounds++ == MAX_ROUNDS)
			return -EAGAIN;
		s.la = la;
		leaf = descend(&s, error);
		w->gpa = s.failed;
		if (leaf <= 0) {
			upper_forget(c, la);
			return leaf ? leaf : 1;
		}
		w->perm = allowed(&s);
		if ((access & w->perm) != access) {
			upper_forget(c, la);
			return fault(&s, PF_P, error);
		}
		r = flags & WALK_NO_SET ? 0 : mark(&s, leaf);
		w->gpa = s.failed;
		if (r < 0)
			return r;
	} while (r);

	if ((c->efer & EFER_LMA) && !(flags & WALK_NO_SET))
		upper_keep(&s, leaf);
	entry = s.step[leaf - 1].entry;
	w->gpa = leaf_gpa(&s, leaf, entry);
	if (!(entry & PTE_D) && !s.rom_leaf)
		w->perm &= ~MMU_WRITE;
	w->global = (entry & PTE_G) && (c->cr4 & CR4_PGE);
	w->level = leaf;
	return 0;
}

/*
 * SDM vol. 3, 4.4.1: bits 2:1, 8:5 and everything from MAXPHYADDR up are reserved in a present
 * PDPTE; one that has them set makes the load #GP.
 */
#define PDPTE_RESERVED 0x1e6ULL

int pdptrs_read(struct cpu *c, u64 cr3, u64 pdptr[4])
{
	for (unsigned n = 0; n < 4; n++) {
		int r = access_phys_load(c, (cr3 & CR3_PAE_BASE) + n * 8, 8, &pdptr[n]);

		if (r)
			return r;
		if ((pdptr[n] & PTE_P) && (pdptr[n] & (PDPTE_RESERVED | c->reserved_gpa)))
			return -EINVAL;
	}
	return 0;
}

int pdptrs_load(struct cpu *c, u64 cr3)
{
	u64 pdptr[4];
	int r = pdptrs_read(c, cr3, pdptr);

	if (!r)
		memcpy(c->pdptr, pdptr, sizeof(pdptr));
	return r;
}

bool walk_load_pdptrs(struct cpu *c, u64 cr3)
{
	return !pdptrs_load(c, cr3);
}
