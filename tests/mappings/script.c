/* SPDX-License-Identifier: MIT */
/* tests/mappings/script.c: what the guest does, at random, and what has to be invalidated before a probe runs. */
#include "mappings.h"
#include <string.h>

const char *const kind_names[NR_KINDS] = {"one", "turns", "apart"};
struct batch batch;

#define DOMAINS	 (SPACES + WORLDS)
#define UPPER_OF(w) (SPACES + (w))
#define PENDING	 64u
#define TURNS	 120u /* of a batch */
#define MARGIN	 64u  /* records that what is begun may still take */
#define LARGE	 2
#define NOWHERE	 3

/* A half of the linear addresses: a space's own, or what the spaces of a world share. */
struct domain {
	uint64_t base, pd, code, data[2];
	unsigned world;
	bool upper;
};

static struct domain domain[DOMAINS];
static uint64_t pml4[SPACES];
static unsigned nspaces; /* of a world */
static enum kind kind;
static bool pcids, large_pages;
static bool logged; /* the memslot has a dirty log */

/* What was changed and is not invalidated yet, for each vCPU and tag: a space, or all of them (global pages). */
#define TAG_ALL SPACES
struct pending {
	uint64_t la;
	bool wide;  /* a table's, not one page's */
	bool large; /* and that was one large page */
};

static struct {
	unsigned world, space;
	uint64_t cr4, cr0;
	unsigned focus_domain, focus_page;
	struct pending pending[SPACES + 1][PENDING];
	unsigned npending[SPACES + 1];
} cpu[VCPUS];

static unsigned turn_holder;
static uint64_t turn;

/* ---- tables */

static uint64_t next_table;

static uint64_t new_table(void)
{
	uint64_t t = next_table;

	next_table += PAGE;
	EXPECT(next_table <= TABLES + TABLE_PAGES * PAGE, "too many tables");
	return t;
}

static void put_entry(uint64_t table, unsigned index, uint64_t entry)
{
	memcpy(model_at(table + index * 8), &entry, 8);
}

static void make_identity(unsigned nworlds_spaces)
{
	uint64_t pdpt = new_table(), pd = new_table(), t;
	static const unsigned stretches[] = {0, DATA >> 21};

	put_entry(pdpt, 0, pd | P | RW | A);
	for (unsigned i = 0; i < COUNT(stretches); i++) {
		t = new_table();
		put_entry(pd, stretches[i], t | P | RW | A);
		for (unsigned n = 0; n < 512; n++)
			put_entry(t, n, ((uint64_t)stretches[i] << 21) | n * PAGE | P | RW | A | D);
	}
	for (unsigned s = 0; s < nworlds_spaces; s++)
		put_entry(pml4[s], 0, pdpt | P | RW | A);
}

static uint64_t some_data_entry(const struct domain *d)
{
	uint64_t e = DATA + (uint64_t)(DATA_FIRST(d->world) + below(DATA_PAGES)) * PAGE;

	e |= (one_in(24) ? 0 : P) | (one_in(12) ? 0 : RW) | (one_in(2) ? A : 0) | (one_in(2) ? D : 0);
	e |= one_in(2) ? NX : 0;
	if (d->upper)
		return e | (one_in(12) ? US : 0) | (one_in(2) ? G : 0);
	return e | (one_in(16) ? 0 : US);
}

static uint64_t some_leaf_entry(const struct domain *d)
{
	uint64_t e = LEAVES_AT(d->world) + below(LEAF_PAGES) * PAGE;

	e |= (one_in(24) ? 0 : P) | (one_in(2) ? RW : 0) | (one_in(2) ? A : 0) | (one_in(2) ? D : 0);
	e |= one_in(24) ? NX : 0;
	if (d->upper)
		return e | (one_in(24) ? US : 0) | (one_in(2) ? G : 0);
	return e | (one_in(24) ? 0 : US);
}

static void make_domain(struct domain *d, unsigned world, bool upper)
{
	uint64_t pdpt = new_table(), *pages = d->data;

	*d = (struct domain){.base = upper ? UPPER : LOWER, .pd = new_table(), .code = new_table(),
			     .data = {new_table(), new_table()}, .world = world, .upper = upper};
	put_entry(pdpt, 0, d->pd | P | RW | US);
	put_entry(d->pd, 0, d->code | P | RW | US);
	put_entry(d->pd, DATA_LA >> 21, d->data[0] | P | RW | US);
	for (unsigned n = 0; n < PROBE_PAGES; n++)
		put_entry(d->code, n, (CODE + n * PAGE) | P | (upper ? one_in(2) ? G : 0 : US));
	for (unsigned n = 0; n < LEAF_PAGES; n++)
		put_entry(d->code, PROBE_PAGES + n, some_leaf_entry(d));
	for (unsigned t = 0; t < 2; t++) {
		for (unsigned n = 0; n < DATA_PAGES; n++)
			put_entry(pages[t], DATA_FIRST(world) + n, some_data_entry(d));
	}
	for (unsigned s = 0; s < nspaces; s++) {
		if (upper)
			put_entry(pml4[world * nspaces + s], 256, pdpt | P | RW | US);
	}
	if (!upper)
		put_entry(pml4[d - domain], 1, pdpt | P | RW | US);
}

static void make_tables(unsigned nworlds)
{
	next_table = TABLES;
	for (unsigned s = 0; s < nworlds * nspaces; s++)
		pml4[s] = new_table();
	make_identity(nworlds * nspaces);
	for (unsigned w = 0; w < nworlds; w++) {
		for (unsigned s = 0; s < nspaces; s++)
			make_domain(&domain[w * nspaces + s], w, false);
		make_domain(&domain[UPPER_OF(w)], w, true);
		for (unsigned n = 0; n < LEAF_PAGES; n++)
			leaf_make(LEAVES_AT(w) + n * PAGE, (w << 16 | n) * 0x01010101u + 1);
	}
}

static void fill_data(void)
{
	for (uint64_t at = 0; at < DATA_SIZE; at += 8) {
		uint64_t v = at << 32 | rnd() >> 32;

		memcpy(model_at(DATA + at), &v, 8);
	}
}

void script_begin(enum kind k)
{
	unsigned nworlds = k == KIND_APART ? 2 : 1;

	kind = k;
	nspaces = k == KIND_APART ? 2 : 3;
	pcids = !one_in(4);
	large_pages = !one_in(3);
	logged = false;
	turn_holder = 0;
	turn = 0;
	batch.vcpus = k == KIND_ONE ? 1 : 2;
	model_clear();
	fill_data();
	make_tables(nworlds);
	probes_make();
	memset(cpu, 0, sizeof(cpu));
	for (unsigned v = 0; v < batch.vcpus; v++) {
		cpu[v].world = k == KIND_APART ? v : 0;
		cpu[v].space = cpu[v].world * nspaces;
		cpu[v].focus_domain = cpu[v].space;
		cpu[v].cr0 = 0x80000011 | CR0_WP;
		cpu[v].cr4 = 0x620 | CR4_PGE | (pcids ? CR4_PCIDE : 0);
	}
}

static uint64_t cr3_of(unsigned space)
{
	return pml4[space] | (pcids ? space + 1 : 0);
}

void script_registers(unsigned vcpu, struct kvm_sregs *s)
{
	s->cr0 = cpu[vcpu].cr0;
	s->cr3 = cr3_of(cpu[vcpu].space);
	s->cr4 = cpu[vcpu].cr4;
	s->efer = 0xd00; /* NXE, LMA, LME */
}

/* ---- records */

static void put(unsigned v, uint64_t op, uint64_t a, uint64_t b, uint64_t c)
{
	EXPECT(batch.nrecords[v] < RECORDS, "a script is too long");
	batch.script[v][batch.nrecords[v]++] = (struct record){op, a, b, c};
}

static void store64(unsigned v, uint64_t gpa, uint64_t value)
{
	put(v, R_STORE64, gpa, value, 0);
	model_store(gpa, &value, 8);
}

static void store32(unsigned v, uint64_t gpa, uint32_t value)
{
	put(v, R_STORE32, gpa, value, 0);
	model_store(gpa, &value, 4);
}

/* ---- what is pending */

static bool in_world(unsigned v, const struct domain *d)
{
	return cpu[v].world == d->world;
}

static void owe_to(unsigned v, unsigned tag, struct pending p)
{
	if (cpu[v].npending[tag] < PENDING)
		cpu[v].pending[tag][cpu[v].npending[tag]++] = p;
	else
		cpu[v].pending[tag][PENDING - 1] = (struct pending){.wide = true};
}

/* An entry of the domain has changed that may have been used. */
static void owe(const struct domain *d, uint64_t old, struct pending p)
{
	for (unsigned v = 0; v < batch.vcpus; v++) {
		bool global = d->upper && (old & G) && (cpu[v].cr4 & CR4_PGE);

		if (!in_world(v, d))
			continue;
		if (!d->upper) {
			owe_to(v, (unsigned)(d - domain), p);
			continue;
		}
		if (global || (p.wide && !p.large))
			owe_to(v, TAG_ALL, p);
		for (unsigned s = 0; s < nspaces && !(global && !p.wide); s++)
			owe_to(v, d->world * nspaces + s, p);
	}
}

static bool covers(const struct pending *p, uint64_t la)
{
	if (p->wide)
		return p->large && !((p->la ^ la) >> 21);
	return !((p->la ^ la) / PAGE);
}

static void paid(unsigned v, unsigned tag, uint64_t la)
{
	unsigned n = 0;

	for (unsigned i = 0; i < cpu[v].npending[tag]; i++) {
		if (!covers(&cpu[v].pending[tag][i], la))
			cpu[v].pending[tag][n++] = cpu[v].pending[tag][i];
	}
	cpu[v].npending[tag] = n;
}

static void paid_space(unsigned v, unsigned space)
{
	for (unsigned s = 0; s < SPACES; s++) {
		if (s == space || !pcids)
			cpu[v].npending[s] = 0;
	}
}

static void paid_all(unsigned v, bool global_too)
{
	for (unsigned s = 0; s < SPACES + global_too; s++)
		cpu[v].npending[s] = 0;
}

static uint64_t pcid_of(unsigned space)
{
	return pcids ? space + 1 : 0;
}

static void toggle_pge(unsigned v)
{
	cpu[v].cr4 ^= CR4_PGE;
	put(v, R_CR4, cpu[v].cr4, 0, 0);
	paid_all(v, true);
}

/* In one way or another, that may not suffice; seldom in one that drops much else. */
static void invalidate(unsigned v, unsigned space, uint64_t la)
{
	static const uint8_t ways[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 6, 7};

	switch (ways[below(COUNT(ways))]) {
	case 0:
		put(v, R_INVLPG, la, 0, 0);
		paid(v, cpu[v].space, la);
		paid(v, TAG_ALL, la);
		break;
	case 2:
		put(v, R_CR3, cr3_of(cpu[v].space), 0, 0);
		paid_space(v, cpu[v].space);
		break;
	case 3:
		put(v, R_INVPCID, 0, pcid_of(space), la);
		paid(v, space, la);
		break;
	case 4:
		put(v, R_INVPCID, 1, pcid_of(space), la);
		paid_space(v, space);
		break;
	case 5:
		put(v, R_INVPCID, 3, 0, 0);
		paid_all(v, false);
		break;
	case 6:
		put(v, R_INVPCID, 2, 0, 0);
		paid_all(v, true);
		break;
	default:
		toggle_pge(v);
		toggle_pge(v);
	}
}

/* A page of what is pending under the tag. */
static uint64_t owed_la(unsigned v, unsigned tag)
{
	const struct pending *p = &cpu[v].pending[tag][below(cpu[v].npending[tag])];

	return p->wide ? p->la + below(512) * PAGE : p->la + below(PAGE);
}

static void invalidate_owed(unsigned v)
{
	unsigned space, tries = 0;

	for (;;) {
		space = cpu[v].space;
		if (cpu[v].npending[space])
			invalidate(v, space, owed_la(v, space));
		else if (cpu[v].npending[TAG_ALL])
			invalidate(v, space, owed_la(v, TAG_ALL));
		else
			return;
		if (tries++ == 24) {
			put(v, R_INVPCID, 2, 0, 0);
			paid_all(v, true);
		}
	}
}

/* ---- changes */

static struct domain *some_domain(unsigned v)
{
	if (!one_in(3))
		return &domain[cpu[v].focus_domain];
	if (one_in(3))
		return &domain[UPPER_OF(cpu[v].world)];
	return &domain[cpu[v].world * nspaces + below(nspaces)];
}

static unsigned some_page(unsigned v)
{
	unsigned n = one_in(3) ? below(DATA_PAGES) : cpu[v].focus_page + below(2);

	return n % DATA_PAGES;
}

/* One entry of the last level: at random, less than it was, or more. */
static void change_entry(unsigned v, const struct domain *d, uint64_t gpa, uint64_t la, uint64_t fresh)
{
	uint64_t old = model_load64(gpa), e = fresh;

	switch (below(16)) {
	case 0:
		e = old & ~RW;
		break;
	case 1:
		e = old & ~P;
		break;
	case 2:
		e = old & ~(A | D);
		break;
	case 3:
		e = old & ~D;
		break;
	case 4:
		e = (old & ~FRAME) | (fresh & FRAME);
		break;
	case 5:
		/* More than it allowed is seen at once. */
		store64(v, gpa, old | RW);
		return;
	case 6:
		e = old ^ (d->upper ? one_in(2) ? G : US : US);
		break;
	}
	store64(v, gpa, e);
	if (old & P)
		owe(d, old, (struct pending){.la = la});
}

static void change_data(unsigned v, const struct domain *d)
{
	unsigned linked = (model_load64(d->pd + (DATA_LA >> 21) * 8) & FRAME) == d->data[1];
	unsigned n = DATA_FIRST(d->world) + some_page(v);

	change_entry(v, d, d->data[linked] + n * 8, d->base + DATA_LA + n * PAGE, some_data_entry(d));
}

static void change_leaf(unsigned v, const struct domain *d)
{
	unsigned n = PROBE_PAGES + below(LEAF_PAGES);
	uint64_t gpa = d->code + n * 8, old = model_load64(gpa), fresh = some_leaf_entry(d);

	if (one_in(2))
		fresh = (old & ~FRAME) | (fresh & FRAME) | P;
	if (one_in(4)) {
		change_entry(v, d, gpa, d->base + n * PAGE, fresh);
		return;
	}
	store64(v, gpa, fresh);
	if (old & P)
		owe(d, old, (struct pending){.la = d->base + n * PAGE});
}

static uint64_t some_table_entry(const struct domain *d)
{
	uint64_t flags = P | (one_in(12) ? 0 : RW) | (one_in(12) ? 0 : US) | (one_in(2) ? A : 0);

	if (one_in(16))
		return 0;
	if (large_pages && one_in(2))
		return DATA | PS | flags | (one_in(2) ? D : 0) | (d->upper && one_in(2) ? G : 0);
	return d->data[below(2)] | flags;
}

static void change_table(unsigned v, const struct domain *d)
{
	uint64_t gpa = d->pd + (DATA_LA >> 21) * 8, old = model_load64(gpa);
	struct pending p = {.la = d->base + DATA_LA, .wide = true, .large = old & PS};

	store64(v, gpa, some_table_entry(d));
	if (old & P)
		owe(d, old, p);
}

static void change_code(unsigned v)
{
	unsigned leaf = one_in(2) ? cpu[v].focus_page % LEAF_PAGES : below(LEAF_PAGES);
	uint64_t gpa = LEAVES_AT(cpu[v].world) + leaf * PAGE;

	store32(v, gpa + (one_in(2) ? LEAF_PLAIN : LEAF_ON) + 1, (uint32_t)rnd());
}

static void change_bytes(unsigned v)
{
	uint64_t page = DATA_FIRST(cpu[v].world) + below(DATA_PAGES);

	store64(v, DATA + page * PAGE + below(PAGE / 8) * 8, rnd());
}

static void change(unsigned v)
{
	const struct domain *d = some_domain(v);

	switch (below(16)) {
	case 0:
		change_table(v, d);
		break;
	case 1: case 2:
		change_code(v);
		break;
	case 3:
		change_bytes(v);
		break;
	case 4: case 5: case 6:
		change_leaf(v, d);
		break;
	default:
		change_data(v, d);
	}
}

/* ---- the processor's own switches */

/* Before the space is the current one, what its PCID has kept of changed entries is dropped. */
static void invalidate_from_afar(unsigned v, unsigned space)
{
	if (one_in(2)) {
		put(v, R_INVPCID, 1, pcid_of(space), 0);
		paid_space(v, space);
	}
	while (cpu[v].npending[space] && one_in(2)) {
		uint64_t la = owed_la(v, space);

		put(v, R_INVPCID, 0, pcid_of(space), la);
		paid(v, space, la);
	}
}

static void switch_space(unsigned v)
{
	unsigned space = cpu[v].world * nspaces + below(nspaces);
	bool keep = pcids && !one_in(4);

	if (pcids && cpu[v].npending[space] && !one_in(4))
		invalidate_from_afar(v, space);
	put(v, R_CR3, cr3_of(space) | (keep ? KEEP : 0), 0, 0);
	if (!keep)
		paid_space(v, space);
	cpu[v].space = space;
}

static void switch_control(unsigned v)
{
	switch (below(6)) {
	case 0:
		cpu[v].cr0 ^= CR0_WP;
		put(v, R_CR0, cpu[v].cr0, 0, 0);
		break;
	case 1:
		cpu[v].cr4 ^= CR4_SMEP;
		put(v, R_CR4, cpu[v].cr4, 0, 0);
		break;
	case 2:
		toggle_pge(v);
		break;
	default:
		cpu[v].cr4 ^= CR4_SMAP;
		put(v, R_CR4, cpu[v].cr4, 0, 0);
	}
}

/* ---- the VMM's part */

static void ask(unsigned v)
{
	struct asked *a = &batch.asked[batch.nasked];

	if (batch.nasked == COUNT(batch.asked) || kind == KIND_APART)
		return;
	a->what = (enum ask)below(NR_ASKS);
	if (!one_in(3))
		a->what = slot_read_only ? ASK_WRITABLE : logged ? ASK_TAKE_LOG : ASK_LOG;
	put(v, R_ASK, batch.nasked++, 0, 0);
	memcpy(a->written, written, sizeof(written));
	/* A log that is switched on again goes on. */
	if (a->what != ASK_PUNCH && (a->what != ASK_LOG || !logged))
		memset(written, 0, sizeof(written));
	if (a->what == ASK_LOG)
		logged = true;
	if (a->what == ASK_NO_LOG || a->what == ASK_READ_ONLY || a->what == ASK_WRITABLE)
		logged = false;
	if (a->what == ASK_READ_ONLY)
		slot_read_only = true;
	if (a->what == ASK_WRITABLE)
		slot_read_only = false;
}

/* ---- probes */

/* Mostly one that user mode may use, if that is what asks. */
static uint64_t some_address(unsigned v, bool user)
{
	unsigned offset = one_in(3) ? below(PAGE) : one_in(2) ? below(400) : PAGE - 1 - below(400);
	bool upper = domain[cpu[v].focus_domain].upper ? !one_in(3) : one_in(3);
	const struct domain *d = &domain[(user ? one_in(50) : upper) ? UPPER_OF(cpu[v].world) : cpu[v].space];

	return d->base + DATA_LA + (DATA_FIRST(cpu[v].world) + some_page(v)) * PAGE + offset;
}

static uint64_t some_leaf(uint64_t base)
{
	static const uint16_t where[] = {LEAF_PLAIN, LEAF_ON, LEAF_LOAD, LEAF_LAST};

	return base + LEAF_LA + below(LEAF_PAGES) * PAGE + where[below(COUNT(where))];
}

/* One that may run now; PROBES if there is none. */
static unsigned some_probe(void)
{
	unsigned first = below(PROBES);

	for (unsigned n = 0; n < PROBES; n++) {
		unsigned probe = (first + n) % PROBES;

		if (!slot_read_only || !probe_pops_what_counts(probe))
			return probe;
	}
	return PROBES;
}

static void run_probe(unsigned v)
{
	static const uint8_t bases[] = {3, 5, 6, 7, 13};
	unsigned n = batch.nblocks[v], probe = some_probe();
	struct block *b = &batch.block[v][n];
	bool upper = one_in(2), user = upper ? one_in(24) : !one_in(6);
	struct view view = {.cr3 = cr3_of(cpu[v].space), .wp = cpu[v].cr0 & CR0_WP, .smap = cpu[v].cr4 & CR4_SMAP,
			    .smep = cpu[v].cr4 & CR4_SMEP, .user = user, .ac = !one_in(8)};

	if (probe == PROBES)
		return;
	batch.nblocks[v]++;
	for (unsigned i = 0; i < 16; i++)
		b->reg[i] = rnd();
	for (unsigned i = 0; i < COUNT(bases); i++)
		b->reg[bases[i]] = some_address(v, user);
	b->reg[9] = below(16);
	b->reg[10] = some_leaf(one_in(8) ? (upper ? LOWER : UPPER) : upper ? UPPER : LOWER);
	b->reg[15] = 1 + below(3);
	b->rsp = some_address(v, user) & ~(one_in(8) ? 0ull : 7ull);
	b->rip = (upper ? UPPER : LOWER) + probe_offset(probe);
	b->cs = user ? USER_CS : KERNEL_CS;
	b->ss = user ? USER_DS : 0x10;
	b->rflags = 2 | (view.ac ? EFLAGS_AC : 0);
	for (unsigned i = 0; i < 4; i++)
		b->xmm[i][0] = b->xmm[i][1] = rnd();
	batch.probe[v][n] = probe;
	batch.record[v][n] = batch.nrecords[v];
	put(v, R_RUN, BLOCKS_AT(v) + n * sizeof(*b), 0, 0);
	probe_expect(probe, &view, b, &batch.expected[v][n]);
	batch.expected[v][n].cs = b->cs;
	batch.expected[v][n].ss = b->ss;
}

/* ---- a batch */

static void hand_over(void)
{
	put(turn_holder, R_POST, ++turn, 0, 0);
	turn_holder = !turn_holder;
	put(turn_holder, R_WAIT, turn, 0, 0);
}

static void take_turn(unsigned v)
{
	if (one_in(8)) {
		cpu[v].focus_domain = one_in(3) ? UPPER_OF(cpu[v].world) : cpu[v].world * nspaces + below(nspaces);
		cpu[v].focus_page = below(DATA_PAGES);
	}
	if (one_in(6))
		switch_space(v);
	if (one_in(12))
		switch_control(v);
	for (unsigned n = below(4); n; n--)
		change(v);
	if (one_in(6))
		ask(v);
	if (one_in(12))
		invalidate(v, cpu[v].world * nspaces + below(nspaces), some_address(v, false));
	invalidate_owed(v);
	for (unsigned n = 1 + below(6); n; n--)
		run_probe(v);
}

void script_make(void)
{
	for (unsigned v = 0; v < batch.vcpus; v++)
		batch.nrecords[v] = batch.nblocks[v] = 0;
	batch.nasked = 0;
	probe_make(below(PROBES));
	for (unsigned n = 0; n < TURNS; n++) {
		unsigned v = kind == KIND_APART ? below(2) : turn_holder;

		take_turn(v);
		if (kind == KIND_TURNS && one_in(2))
			hand_over();
	}
	for (unsigned v = 0; v < batch.vcpus; v++)
		put(v, R_END, 0, 0, 0);
}

void script_print(unsigned v, unsigned from, unsigned to)
{
	static const char *const names[NR_RECORD_OPS] = {"end", "store64", "store32", "invlpg", "cr3", "cr4", "cr0",
							 "invpcid", "run", "wait", "post", "ask"};

	for (unsigned i = from; i <= to && i < batch.nrecords[v]; i++) {
		const struct record *r = &batch.script[v][i];

		fprintf(stderr, "  %4u %-8s %#lx %#lx %#lx", i, names[r->op], r->a, r->b, r->c);
		if (r->op == R_ASK)
			fprintf(stderr, " (%d)", batch.asked[r->a].what);
		fputc('\n', stderr);
	}
}
