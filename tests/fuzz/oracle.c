/* SPDX-License-Identifier: MIT */
#include "oracle.h"

#include "mmu/mmu.h"

struct entry {
	u64 gpa, value;
};

/* The way down, in the order it was gone. */
struct path {
	struct entry e[5];
	unsigned n;
	unsigned page_bits; /* of the page it led to */
};

static bool bit(u64 v, unsigned n)
{
	return v >> n & 1;
}

static u64 field(u64 v, unsigned high, unsigned low)
{
	return v >> low & ((2ULL << (high - low)) - 1);
}

/* 4.7: the error code. */
static void fault(const struct oracle *o, unsigned access, bool present, bool reserved,
		  struct oracle_walk *w)
{
	w->end = ORACLE_FAULT;
	w->error = present;
	w->error |= (access == MMU_WRITE) << 1;
	w->error |= o->user << 2;
	w->error |= reserved << 3;
	if (access == MMU_EXEC && (o->smep || (o->pae && o->nxe)))
		w->error |= 1 << 4;
}

/* Read one entry; false: the walk has ended. */
static bool fetch(const struct oracle *o, u64 gpa, unsigned access, struct path *p,
		  struct oracle_walk *w)
{
	enum oracle_memory there = o->memory(gpa);
	struct entry *e = &p->e[p->n++];

	if (there == ORACLE_NONE || there == ORACLE_BAD) {
		w->end = there == ORACLE_NONE ? ORACLE_NO_TABLE : ORACLE_BAD_TABLE;
		return false;
	}
	e->gpa = gpa;
	e->value = o->read(o->arg, gpa, o->entry_bytes);
	if (!bit(e->value, 0)) {
		fault(o, access, false, false, w);
		return false;
	}
	return true;
}

/* 4.3, table 4-4 and 4-5. */
static bool walk_32bit(const struct oracle *o, u32 la, unsigned access, struct path *p,
		       struct oracle_walk *w)
{
	u64 pde, pte;

	if (!fetch(o, o->root + field(la, 31, 22) * 4, access, p, w))
		return false;
	pde = p->e[0].value;
	if (o->pse && bit(pde, 7)) {
		/* Bits 20:13 give address bits 39:32, as many as MAXPHYADDR has; 21 is reserved. */
		unsigned m = o->maxphyaddr < 40 ? o->maxphyaddr : 40;

		if (bit(pde, 21) || (m < 40 && field(pde, 20, m - 19))) {
			fault(o, access, true, true, w);
			return false;
		}
		w->gpa = field(pde, 20, 13) << 32 | field(pde, 31, 22) << 22 | field(la, 21, 0);
		return true;
	}
	if (!fetch(o, (pde & 0xfffff000) + field(la, 21, 12) * 4, access, p, w))
		return false;
	pte = p->e[1].value;
	w->gpa = (pte & 0xfffff000) | field(la, 11, 0);
	return true;
}

/* Reserved in an 8-byte entry of any kind: the address above MAXPHYADDR, and XD without NXE. */
static bool reserved8(const struct oracle *o, u64 e)
{
	if (o->maxphyaddr < 52 && field(e, 51, o->maxphyaddr))
		return true;
	if (!o->lma && field(e, 62, 52)) /* 4.4.2: 62:MAXPHYADDR */
		return true;
	return bit(e, 63) && !o->nxe;
}

/* From a table of 512 entries that map `1 << shift` bytes each, down to the page (4.4.2, 4.5.4). */
static bool walk_8byte(const struct oracle *o, u64 la, u64 table, unsigned shift, unsigned access,
		       struct path *p, struct oracle_walk *w)
{
	const u64 address = 0x000ffffffffff000ULL;
	u64 e;
	bool page;

	if (!fetch(o, table + (la >> shift & 511) * 8, access, p, w))
		return false;
	e = p->e[p->n - 1].value;
	page = shift == 12 || (bit(e, 7) && shift <= 30);
	if (reserved8(o, e) || (shift > 30 && bit(e, 7)) ||
	    (page && shift == 21 && field(e, 20, 13)) || (page && shift == 30 && field(e, 29, 13)) ||
	    (page && shift == 30 && !o->page1g)) {
		fault(o, access, true, true, w);
		return false;
	}
	if (!page)
		return walk_8byte(o, la, e & address, shift - 9, access, p, w);
	w->gpa = ((e & address) >> shift << shift) | field(la, shift - 1, 0);
	return true;
}

static bool walk_down(const struct oracle *o, u64 la, unsigned access, struct path *p,
		      struct oracle_walk *w)
{
	u64 pdpte;

	if (!o->pae)
		return walk_32bit(o, (u32)la, access, p, w);
	if (o->lma)
		return walk_8byte(o, la, o->root, o->la57 ? 48 : 39, access, p, w);
	pdpte = o->pdpte[field(la, 31, 30)];
	if (!bit(pdpte, 0)) {
		fault(o, access, false, false, w);
		return false;
	}
	return walk_8byte(o, (u32)la, pdpte & 0x000ffffffffff000ULL, 21, access, p, w);
}

/* 4.6.1. */
static bool permitted(const struct oracle *o, const struct path *p, unsigned access)
{
	bool user_page = true, writable = true, executable = true;

	for (unsigned i = 0; i < p->n; i++) {
		writable = writable && bit(p->e[i].value, 1);
		user_page = user_page && bit(p->e[i].value, 2);
		if (o->pae && o->nxe && bit(p->e[i].value, 63))
			executable = false;
	}
	if (o->user) {
		if (!user_page)
			return false;
		if (access == MMU_WRITE)
			return writable;
		return access == MMU_READ || executable;
	}
	if (access == MMU_EXEC)
		return executable && !(user_page && o->smep);
	if (user_page && o->smap && !o->ac)
		return false;
	return access == MMU_READ || writable || !o->wp;
}

/* 4.8. What is read-only memory to the VM keeps its bits, as with KVM. */
static void mark(const struct oracle *o, const struct path *p, unsigned access)
{
	for (unsigned i = 0; i < p->n; i++) {
		u64 v = p->e[i].value | 1 << 5;

		if (i == p->n - 1 && access == MMU_WRITE)
			v |= 1 << 6;
		if (v != p->e[i].value && o->memory(p->e[i].gpa) == ORACLE_RAM)
			o->write(o->arg, p->e[i].gpa, o->entry_bytes, v);
	}
}

void oracle_walk(const struct oracle *o, u64 la, unsigned access, struct oracle_walk *w)
{
	struct path p = {.n = 0};

	memset(w, 0, sizeof(*w));
	if (!walk_down(o, la, access, &p, w))
		return;
	if (!permitted(o, &p, access)) {
		fault(o, access, true, false, w);
		return;
	}
	w->end = ORACLE_PAGE;
	mark(o, &p, access);
}

bool oracle_load_pdptrs(struct oracle *o)
{
	for (unsigned i = 0; i < 4; i++) {
		u64 e, at = (o->root & 0xffffffe0) + i * 8;

		if (o->memory(at) == ORACLE_NONE || o->memory(at) == ORACLE_BAD)
			return false;
		e = o->read(o->arg, at, 8);
		if (bit(e, 0) && (field(e, 2, 1) || field(e, 8, 5) || e >> o->maxphyaddr))
			return false;
		o->pdpte[i] = e;
	}
	return true;
}
