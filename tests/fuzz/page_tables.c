/* SPDX-License-Identifier: MIT */
/*
 * page_tables: random page-table trees in every paging mode, random accesses through them, each
 * compared with the oracle: page fault and error code, the bytes reached, the accessed and dirty
 * bits left behind.
 *
 * An input is a head (paging mode, control bits), then records of one byte's kind each: an entry
 * of a table, or an access. Tables are pages 8 to 23 of the RAM; the rest holds bytes that tell
 * where they are from.
 */
#include "cpu/access.h"
#include "cpu/replay.h"
#include "cpu/system/system.h"
#include "machine.h"
#include "oracle.h"

#define TABLES	   16
#define TABLE_GPA  0x8000ULL
#define MAX_RECORDS 200

struct head {
	u8 mode, control, cpl, root;
	u32 seed;
} __attribute__((packed));

struct record {
	u8 kind; /* even: an entry */
	u8 table, target, bits;
	u16 index, more;
} __attribute__((packed));

static struct machine m;
static u16 used[64]; /* indices that entries were put at */
static unsigned nused;

/* -- memory */

static u8 *host_of(u64 gpa)
{
	for (unsigned i = 0; i < NR_MACHINE_SLOTS; i++)
		if (gpa - m.slot[i].gpa < m.slot[i].bytes)
			return m.slot[i].host + (gpa - m.slot[i].gpa);
	return NULL;
}

static bool is_bad(u64 gpa)
{
	return gpa - BAD_GPA < BAD_BYTES;
}

static bool is_read_only(u64 gpa)
{
	return gpa - RO_GPA < RO_BYTES;
}

static enum oracle_memory memory_at(u64 gpa)
{
	if (is_bad(gpa))
		return ORACLE_BAD;
	if (is_read_only(gpa))
		return ORACLE_READ_ONLY;
	return host_of(gpa) ? ORACLE_RAM : ORACLE_NONE;
}

static u8 pattern[RAM_BYTES + HIGH_BYTES];

static void make_pattern(void)
{
	for (u64 i = 0; i < sizeof(pattern); i += 8) {
		u64 v = (i + 1) * 0x9e3779b97f4a7c15ULL;

		memcpy(pattern + i, &v, 8);
	}
	memset(pattern + TABLE_GPA, 0, TABLES * PAGE_SIZE);
}

/* -- the input's parts */

static u64 frame_of(u8 target)
{
	static const u64 frames[] = {RO_GPA, RO_GPA + 0x1000, BAD_GPA, HIGH_GPA, HIGH_GPA + 0x3000,
				     0x3f000, 0, 0x1000, 0x7000, 0x200000, 0x40000, 0xfee00000,
				     0xffc00000, 1ULL << 40, 1ULL << 46, 0x40000000};

	if (target < 0xa0)
		return TABLE_GPA + (u64)(target % TABLES) * PAGE_SIZE;
	if (target < 0xc0)
		return (u64)(target & 31) << 12;
	return frames[target % ARRAY_SIZE(frames)];
}

static void put_entry(const struct record *r, const struct oracle *o)
{
	/* Most entries allow everything, or trees end at once. */
	u64 entry = frame_of(r->target) | (r->more & 0x3000 ? 7 : r->bits & 7);
	u64 at = TABLE_GPA + (u64)(r->table % TABLES) * PAGE_SIZE;
	u64 index = r->index & 0x200 ? r->index & 3 : r->index & 0x1ff;

	entry |= (u64)(r->bits & 0xf8) & (r->more & 0x4000 ? 0x80 : 0xf8);
	entry |= (u64)(r->more & 0xf) << 8;
	if (!(r->more & 0x0cf0))
		entry |= 1ULL << (12 + r->index % 52);
	if (r->more & 0x8000)
		entry |= 1ULL << 63;
	if (r->kind & 2)
		index = (index << 1 | (r->kind >> 2 & 1)) & 1023;
	if (nused < ARRAY_SIZE(used))
		used[nused++] = (u16)index;
	memcpy(host_of(at + index % (PAGE_SIZE / o->entry_bytes) * o->entry_bytes), &entry,
	       o->entry_bytes);
}

static u16 some_index(u32 pick)
{
	return nused && pick & 7 ? used[pick % nused] : (u16)(pick >> 3);
}

/* A linear address made of indices that are in use. */
static u64 address_of(const struct record *r, const struct oracle *o)
{
	unsigned bits = o->entry_bytes == 8 ? 9 : 10, levels = o->lma ? o->la57 ? 5 : 4 : 2;
	u64 la = r->index & 0xfff;

	rnd_seed = rnd_seed + r->table * 0x10001u + r->target * 0x101u;
	for (unsigned l = 0; l < levels; l++)
		la |= (u64)(some_index(rnd()) & ((1u << bits) - 1)) << (12 + bits * l);
	if (!o->lma)
		return (u32)(la | (o->pae ? (u64)(r->more & 3) << 30 : 0));
	return (u64)((s64)(la << (o->la57 ? 7 : 16)) >> (o->la57 ? 7 : 16));
}

/* -- one access, by us */

enum outcome { DONE, FAULT, PROTECTION, DEVICE, INTERNAL, REFUSED, RETRY };

struct result {
	enum outcome outcome;
	u32 error; /* of a page fault */
	u64 la;
	u64 value; /* read */
	u64 gpa;   /* of a device access or a fetch */
};

static enum outcome outcome_of(struct cpu *c, struct result *r)
{
	if (c->exception.pending) {
		if (c->exception.vector == VEC_GP)
			return PROTECTION;
		MUST(c->exception.vector == VEC_PF, "vector %u", c->exception.vector);
		r->error = c->exception.error;
		r->la = c->exception.payload;
		return FAULT;
	}
	switch (c->exit.reason) {
	case CPU_EXIT_MMIO:
		r->gpa = c->exit.mmio.gpa;
		return DEVICE;
	case CPU_EXIT_INTERNAL:
		return INTERNAL;
	case CPU_EXIT_MEMORY:
		return REFUSED;
	case CPU_EXIT_NONE:
		return RETRY;
	default:
		MUST(false, "exit %d", c->exit.reason);
		return RETRY;
	}
}

static void carry_out(struct cpu *c, u64 la, u32 size, unsigned access, struct result *r)
{
	u8 *host;

	if (access == MMU_EXEC) {
		access_fetch(c, la, &r->gpa, &host);
	} else if (access == MMU_WRITE) {
		access_store_slow(c, la, size, r->value);
	} else if (size == 8) {
		r->value = ld64(c, la);
	} else {
		r->value = access_load_slow(c, la, size);
	}
}

static enum outcome attempt(u64 la, u32 size, unsigned access, struct result *r)
{
	struct cpu *c = m.v->cpu;
	volatile bool done = false;
	struct unwind_point here;

	c->exception.pending = false;
	c->exit.reason = CPU_EXIT_NONE;
	c->unwind = &here;
	c->op = NULL;
	if (!UNWIND_SET(&here)) {
		carry_out(c, la, size, access, r);
		done = true;
	}
	replay_forget(c);
	r->outcome = done ? DONE : outcome_of(c, r);
	c->exception.pending = false;
	return r->outcome;
}

static struct result by_us(u64 la, u32 size, unsigned access, u64 value)
{
	struct cpu *c = m.v->cpu;
	struct result r;
	unsigned tries = 0;

	mmu_vcpu_enter(&c->mmu);
	do {
		r = (struct result){.value = value};
		MUST(tries++ < 16, "no end");
	} while (attempt(la, size, access, &r) == RETRY);
	mmu_vcpu_leave(&c->mmu);
	return r;
}

/* -- the same by the oracle */

static u8 before[RAM_BYTES], expected[RAM_BYTES];

static void snapshot(u8 *to)
{
	memcpy(to, m.slot[SLOT_RAM].host, RAM_BYTES);
}

static u64 read_entry(void *arg, u64 gpa, unsigned bytes)
{
	u64 v = 0;

	if (gpa < RAM_BYTES)
		memcpy(&v, expected + gpa, bytes);
	else
		memcpy(&v, host_of(gpa), bytes);
	return v;
}

static void write_entry(void *arg, u64 gpa, unsigned bytes, u64 v)
{
	if (gpa < RAM_BYTES)
		memcpy(expected + gpa, &v, bytes);
	else
		memcpy(host_of(gpa), &v, bytes); /* we set the same bits there later, or did */
}

/* What is at the end of a walk that found a page. */
static enum outcome reach(const struct oracle_walk *w, unsigned access)
{
	enum oracle_memory there = memory_at(w->gpa);

	if (there == ORACLE_BAD)
		return REFUSED;
	if (there == ORACLE_NONE || (there == ORACLE_READ_ONLY && access == MMU_WRITE))
		return access == MMU_EXEC ? INTERNAL : DEVICE;
	return DONE;
}

static enum outcome walk_outcome(const struct oracle_walk *w)
{
	switch (w->end) {
	case ORACLE_FAULT:
		return FAULT;
	case ORACLE_NO_TABLE:
		return INTERNAL;
	case ORACLE_BAD_TABLE:
		return REFUSED;
	default:
		return DONE;
	}
}

static struct result by_oracle(const struct oracle *o, u64 la, u32 size, unsigned access,
			       u64 value)
{
	u32 first = (u32)MIN((u64)size, PAGE_SIZE - (la & 0xfff)), done = 0;
	struct result r = {.outcome = DONE};
	enum outcome at_page[2] = {DONE, DONE};
	struct oracle_walk w[2];
	unsigned pages = first < size ? 2 : 1, unused = o->la57 ? 7 : 16;
	u64 end = la + size - 1;

	/* Only the end can be wrong: the address was made canonical. */
	if (o->lma && (u64)((s64)(end << unused) >> unused) != end) {
		r.outcome = PROTECTION;
		return r;
	}
	for (unsigned i = 0; i < pages; i++) {
		u64 at = i ? la + first : la;

		if (!o->lma)
			at = (u32)at;
		oracle_walk(o, at, access, &w[i]);
		r.outcome = walk_outcome(&w[i]);
		r.error = w[i].error;
		r.la = at;
		if (r.outcome != DONE)
			return r;
		at_page[i] = reach(&w[i], access);
		r.outcome = at_page[i];
		if (r.outcome == REFUSED || (r.outcome == INTERNAL && access == MMU_EXEC))
			return r;
	}
	r.gpa = access == MMU_EXEC ? w[0].gpa & PAGE_MASK : w[0].gpa;
	r.outcome = DONE;
	for (unsigned i = 0; i < pages && access != MMU_EXEC; i++) {
		u32 len = i ? size - first : first;

		if (at_page[i] == DEVICE) {
			r.outcome = DEVICE;
			r.gpa = w[i].gpa;
			return r;
		}
		if (access == MMU_WRITE && w[i].gpa < RAM_BYTES)
			memcpy(expected + w[i].gpa, (u8 *)&value + done, len);
		else if (access == MMU_READ && w[i].gpa < RAM_BYTES)
			memcpy((u8 *)&r.value + done, expected + w[i].gpa, len);
		else if (access == MMU_READ)
			memcpy((u8 *)&r.value + done, host_of(w[i].gpa), len);
		done += len;
	}
	return r;
}

/* -- comparing */

static void compare(const struct oracle *o, u64 la, u32 size, unsigned access,
		    const struct result *us, const struct result *want)
{
	bool same = us->outcome == want->outcome;

	if (same && want->outcome == FAULT)
		same = us->error == want->error && us->la == want->la;
	if (same && want->outcome == DEVICE)
		same = us->gpa == want->gpa;
	if (same && want->outcome == DONE)
		same = access == MMU_EXEC ? us->gpa == want->gpa
					  : access == MMU_WRITE || us->value == want->value;
	MUST(same,
	     "la %llx size %u access %u lma %d pae %d pse %d wp %d smep %d smap %d ac %d nx %d "
	     "user %d: outcome %d error %x la %llx value %llx gpa %llx, oracle's %d %x %llx "
	     "%llx %llx",
	     (long long)la, size, access, o->lma, o->pae, o->pse, o->wp, o->smep, o->smap,
	     o->ac, o->nxe, o->user, us->outcome, us->error, (long long)us->la,
	     (long long)us->value, (long long)us->gpa, want->outcome, want->error,
	     (long long)want->la, (long long)want->value, (long long)want->gpa);
	if (!memcmp(m.slot[SLOT_RAM].host, expected, RAM_BYTES))
		return;
	for (u64 i = 0; i < RAM_BYTES; i += 8)
		MUST(!memcmp(m.slot[SLOT_RAM].host + i, expected + i, 8),
		     "la %llx access %u: %llx is %llx, was %llx, should be %llx",
		     (long long)la, access, (long long)i,
		     *(long long *)(m.slot[SLOT_RAM].host + i), *(long long *)(before + i),
		     *(long long *)(expected + i));
}

static void flush(void)
{
	struct cpu *c = m.v->cpu;

	mmu_vcpu_enter(&c->mmu);
	mmu_tlb_flush(&c->mmu);
	mmu_vcpu_leave(&c->mmu);
}

static void access_one(const struct record *r, const struct oracle *o)
{
	static const unsigned kinds[] = {MMU_READ, MMU_WRITE, MMU_EXEC, MMU_READ};
	static const u8 sizes[] = {1, 2, 4, 8};
	unsigned access = kinds[r->bits & 3];
	u32 size = access == MMU_EXEC ? 1 : sizes[r->bits >> 2 & 3];
	u64 la = address_of(r, o), value = rnd() | (u64)rnd() << 32;
	struct result us, want;

	snapshot(before);
	memcpy(expected, before, RAM_BYTES);
	want = by_oracle(o, la, size, access, value);
	us = by_us(la, size, access, value);
	compare(o, la, size, access, &us, &want);
	/* A store may have changed a table, and what a TLB holds is then the guest's concern. */
	if (access == MMU_WRITE || r->kind & 0x40)
		flush();
}

/* -- the vCPU */

static u64 read_linear(void *arg, u64 gpa, unsigned bytes)
{
	u64 v = 0;

	memcpy(&v, host_of(gpa), bytes);
	return v;
}

static void set_oracle(const struct head *h, struct oracle *o)
{
	memset(o, 0, sizeof(*o));
	o->memory = memory_at;
	o->read = read_entry;
	o->write = write_entry;
	o->pse = h->mode % 5 != 0;
	o->pae = h->mode % 5 >= 2;
	o->lma = h->mode % 5 >= 3;
	o->la57 = h->mode % 5 == 4;
	o->entry_bytes = o->pae ? 8 : 4;
	o->root = TABLE_GPA + (u64)(h->root % TABLES) * PAGE_SIZE;
	o->wp = h->control & 1;
	o->smep = h->control & 2;
	o->smap = h->control & 4;
	o->nxe = h->control & 8;
	o->ac = h->control & 16;
	o->user = h->cpl & 1;
	o->maxphyaddr = m.v->cpu->maxphyaddr;
	o->page1g = true;
}

/* False: PDPTEs that MOV CR3 would refuse. */
static bool set_cpu(struct oracle *o)
{
	struct cpu *c = m.v->cpu;
	bool ok = true;

	c->cr0 = CR0_PE | CR0_PG | (o->wp ? CR0_WP : 0);
	c->cr4 = (o->pse ? CR4_PSE : 0) | (o->pae ? CR4_PAE : 0) | (o->smep ? CR4_SMEP : 0) |
		 (o->smap ? CR4_SMAP : 0) | (o->la57 ? CR4_LA57 : 0);
	c->efer = (o->nxe ? EFER_NX : 0) | (o->lma ? EFER_LME | EFER_LMA : 0);
	c->cr3 = o->root;
	c->flags = FL_FIXED | (o->ac ? FL_AC : 0);
	for (unsigned s = SEG_ES; s <= SEG_GS; s++)
		c->seg[s] = (struct seg){.limit = 0xffffffff,
					 .attr = (s == SEG_CS ? 0x9b : 0x93) | (o->user ? 0x60 : 0)};
	if (o->lma)
		c->seg[SEG_CS].attr |= SEG_ATTR_L;
	cpu_update_mode(c);
	mmu_vcpu_enter(&c->mmu);
	mmu_tlb_flush(&c->mmu);
	if (o->pae && !o->lma) {
		o->read = read_linear;
		ok = walk_load_pdptrs(c, o->root);
		MUST(ok == oracle_load_pdptrs(o), "PDPTEs");
		o->read = read_entry;
	}
	mmu_vcpu_leave(&c->mmu);
	return ok;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	machine_init();
	machine_create(&m, MACHINE_PLAIN);
	make_pattern();
	return 0;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct head h;
	struct record r;
	struct oracle o;
	bool ready = false;

	if (size < sizeof(h))
		return 0;
	memcpy(&h, data, sizeof(h));
	data += sizeof(h);
	size -= sizeof(h);
	rnd_seed = h.seed;
	nused = 0;
	memcpy(m.slot[SLOT_RAM].host, pattern, RAM_BYTES);
	memcpy(m.slot[SLOT_HIGH].host, pattern + RAM_BYTES, HIGH_BYTES);
	set_oracle(&h, &o);
	for (unsigned n = 0; n < MAX_RECORDS && size >= sizeof(r); n++) {
		memcpy(&r, data, sizeof(r));
		data += sizeof(r);
		size -= sizeof(r);
		if (!(r.kind & 1)) {
			put_entry(&r, &o);
			ready = false;
		} else {
			if (!ready && !set_cpu(&o))
				break;
			ready = true;
			access_one(&r, &o);
		}
	}
	machine_check(&m);
	return 0;
}
