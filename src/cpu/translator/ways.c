/* SPDX-License-Identifier: MIT */
/*
 * translator/ways.c: where code leads to: edges, which are patched or go by a cell, and the jump tables.
 *
 * An edge within a page is good as long as the page's blocks are. All else is a way: it says what is at a
 * linear address, which holds for one address space or for all, and it is to be used only while the bytes of
 * the page that it leads to are trusted (cpu/code/blocks.c). A page that is distrusted has its ways taken
 * out of use, and put back when its bytes have been compared: that spares a look for each of them.
 *
 * The ways of an address space are a list. It is in use while the space is the current one. A few others
 * are kept out of use, for two processes that take turns: a space that comes back with what its PCID kept
 * (mmu/tlb.h) has its ways again. A list that has grown long is forgotten, since to take it in and out of use
 * would cost more than the few of it that a short turn needs.
 */
#include "cpu/translator/internal.h"

#include "base/pagemem.h"

#define NO_WAY 0 /* ways are numbered from 1 in lists */

#define OF_ALL	0u /* to global pages; the lists from FIRST_SPACE on are those of address spaces */
#define FIRST_SPACE 1u
/* A list that is this long at most is kept while its space is not the current one. */
#define KEPT_WAYS 1024

int tr_ways_create(struct translator *t)
{
	t->space_list = FIRST_SPACE;
	for (u32 i = 0; i < NR_WAYS; i++) {
		t->ways[i].era = 1; /* a page that has none is of none */
		t->ways[i].way = pagemem_alloc(TR_WAYS * sizeof(struct tr_way));
		if (!t->ways[i].way)
			return -ENOMEM;
	}
	return 0;
}

/* -- one of them */

static void write_edge(struct translator *t, u32 at, u32 to)
{
	s32 disp = (s32)(to - (at + 4));

	memcpy(t->area.write + at, &disp, 4);
}

/*
 * An edge leads to where it did not: to its stub again. It is written through another address than it is
 * executed at, and so takes a serializing instruction before it is executed.
 */
static void unlink_edge(struct cpu *c, u32 at, u32 stub)
{
	struct translator *t = c->translator;

	if (at & TR_WAY_CELL) {
		c->cell[at & ~TR_WAY_CELL] = (u64)(t->area.run + stub);
		return;
	}
	write_edge(t, at, stub);
	t->patched = true;
}

/*
 * An edge that led to its stub. Until the processor sees what was written it goes there once more, which is
 * right as well; and it sees all of it or nothing, since an edge does not cross a quadword (APM vol. 2, 7.6.1).
 */
static void link_edge(struct cpu *c, u32 at, u32 to)
{
	struct translator *t = c->translator;

	if (at & TR_WAY_CELL)
		c->cell[at & ~TR_WAY_CELL] = (u64)(t->area.run + to);
	else
		write_edge(t, at, to);
}

/* Where the edge at `at` leads to. */
static u32 edge_target(const struct cpu *c, u32 at)
{
	const struct translator *t = c->translator;
	s32 disp;

	if (at & TR_WAY_CELL)
		return (u32)(c->cell[at & ~TR_WAY_CELL] - (u64)t->area.run);
	memcpy(&disp, t->area.write + at, 4);
	return at + 4 + (u32)disp;
}

static void jump_clear(struct code_jump *j, u32 slot)
{
	/* Address 0 has slot 0, and 2 has slot 1. */
	j->neg = slot ? 0 : -2ULL;
}

static struct code_jump *slot_of(struct cpu *c, const struct tr_way *w)
{
	u32 n = w->at & ~TR_WAY_SLOT;

	return &c->jump[n / CODE_JUMPS][n % CODE_JUMPS];
}

/* Another may have taken the slot since. */
static bool has_slot(struct cpu *c, const struct tr_way *w)
{
	const struct code_jump *j = slot_of(c, w);

	return j->neg == -w->la && j->host == (u64)(c->translator->area.run + w->code);
}

static void use(struct cpu *c, struct tr_way *w)
{
	struct code_jump *j;

	if (!(w->at & TR_WAY_SLOT)) {
		link_edge(c, w->at, w->code);
		return;
	}
	j = slot_of(c, w);
	j->neg = -w->la;
	j->host = (u64)(c->translator->area.run + w->code);
}

static void leave_unused(struct cpu *c, struct tr_way *w)
{
	if (!(w->at & TR_WAY_SLOT))
		unlink_edge(c, w->at, w->stub);
	else if (has_slot(c, w))
		jump_clear(slot_of(c, w), (w->at & ~TR_WAY_SLOT) % CODE_JUMPS);
}

/* -- lists */

static bool in_use(const struct translator *t, unsigned list)
{
	return list == OF_ALL || list == t->space_list;
}

static void kill(struct cpu *c, unsigned list, struct tr_way *w)
{
	if (w->la == TR_WAY_DEAD)
		return;
	if (in_use(c->translator, list))
		leave_unused(c, w);
	w->la = TR_WAY_DEAD;
}

static u32 first_of(const struct tr_ways *l, unsigned which, const struct code_page *p)
{
	return p->ways[which].era == l->era ? p->ways[which].first : NO_WAY;
}

static void leave_list(struct cpu *c, struct tr_ways *l)
{
	for (u32 i = 0; i < l->n; i++) {
		if (l->way[i].la != TR_WAY_DEAD)
			leave_unused(c, &l->way[i]);
	}
}

/* None of them is in use. */
static void empty_list(struct tr_ways *l)
{
	l->n = 0;
	l->straddlers = NO_WAY;
	l->era++;
}

static void forget_list(struct cpu *c, unsigned list)
{
	struct tr_ways *l = &c->translator->ways[list];

	if (in_use(c->translator, list))
		leave_list(c, l);
	empty_list(l);
}

static void forget_straddlers_of(struct cpu *c, unsigned list)
{
	struct tr_ways *l = &c->translator->ways[list];

	for (u32 n = l->straddlers; n; n = l->way[n - 1].next)
		kill(c, list, &l->way[n - 1]);
	l->straddlers = NO_WAY;
}

/* Lists that are not in use have none. */
static void forget_straddlers(struct cpu *c)
{
	forget_straddlers_of(c, OF_ALL);
	forget_straddlers_of(c, c->translator->space_list);
}

/* The list of the space, or the one that was in use longest ago, for it. */
static unsigned list_for(struct translator *t, u64 space)
{
	unsigned oldest = FIRST_SPACE;

	for (unsigned i = FIRST_SPACE; i < NR_WAYS; i++) {
		if (t->ways[i].space == space)
			return i;
		if (t->ways[i].turn < t->ways[oldest].turn)
			oldest = i;
	}
	empty_list(&t->ways[oldest]);
	t->ways[oldest].space = space;
	t->ways[oldest].blocks = 0;
	return oldest;
}

/* Those to pages that are trusted; the others when their page is. */
static void use_list(struct cpu *c, struct tr_ways *l)
{
	for (u32 i = 0; i < l->n; i++) {
		struct tr_way *w = &l->way[i];

		if (w->la != TR_WAY_DEAD && w->page->verified == c->code->trust)
			use(c, w);
	}
}

void tr_switch_space(struct cpu *c)
{
	struct translator *t = c->translator;
	struct tr_ways *l = &t->ways[t->space_list];

	tr_returns_forget(c);
	forget_straddlers_of(c, t->space_list);
	leave_list(c, l);
	if (l->n > KEPT_WAYS)
		empty_list(l);
	t->space_list = list_for(t, c->mmu.space);
	l = &t->ways[t->space_list];
	l->turn = ++t->turns;
	use_list(c, l);
}

static void add(struct cpu *c, unsigned which, const struct block *to, struct tr_way w)
{
	struct tr_ways *l = &c->translator->ways[which];
	struct code_page *p = to->page;

	flow_meet(c, to->rip, to);
	if (l->n == TR_WAYS)
		forget_list(c, which);
	w.page = p;
	l->space = c->mmu.space; /* what it means may have been flushed since it became the current one */
	if (to->page2) {
		w.next = l->straddlers;
		l->straddlers = l->n + 1;
	} else {
		w.next = first_of(l, which, p);
		p->ways[which].first = l->n + 1;
		p->ways[which].era = l->era;
	}
	l->way[l->n++] = w;
	use(c, &w);
	c->stat.code.chained++;
}

/* -- what becomes known */

/* Where generated code enters the block: with the flags in cpu->af, or in the host's. */
static u32 entry_of(const struct cpu *c, const struct block *to, bool saved)
{
	return (saved ? to->host_saved : to->host) - c->translator->count_len;
}

void tr_learn_edge(struct cpu *c, u64 edge, const struct block *to)
{
	struct translator *t = c->translator;
	u32 at = (u32)edge & ~TR_EDGE_FAR, code = entry_of(c, to, edge & TR_EDGE_SAVED), now;

	if (!at || t->check_every) /* then blocks are left one by one */
		return;
	now = edge_target(c, at);
	if (now == code)
		return; /* a page that is trusted again has its ways back */
	if (edge & TR_EDGE_FAR) {
		add(c, flow_is_global(c, to->rip) ? OF_ALL : t->space_list, to,
		    (struct tr_way){.la = to->rip, .at = at, .code = code, .stub = now});
	} else {
		link_edge(c, at, code);
		c->stat.code.chained++;
	}
}

/* So many are looked at: what is not found is there twice, which does no harm. */
#define LONGEST_SEARCH 64

/* What is known of a slot, and was overwritten by what another jump leads to. */
static struct tr_way *find_slot(struct cpu *c, unsigned list, const struct block *to, const struct tr_way *like)
{
	const struct tr_ways *l = &c->translator->ways[list];

	if (to->page2)
		return NULL;
	for (u32 n = first_of(l, list, to->page), k = 0; n && k < LONGEST_SEARCH; n = l->way[n - 1].next, k++) {
		struct tr_way *w = &l->way[n - 1];

		if (w->at == like->at && w->la == like->la && w->code == like->code)
			return w;
	}
	return NULL;
}

void tr_learn_jump(struct cpu *c, const struct block *to)
{
	u32 mode = block_key_tlb(to->key);
	struct tr_way w = {.la = to->rip,
			   .at = TR_WAY_SLOT | (mode * CODE_JUMPS + tr_jump_slot(to->rip)),
			   .code = entry_of(c, to, true)};
	struct tr_way *known;
	unsigned list;

	/* A handler goes there each time by itself. */
	if (c->translator->check_every || has_slot(c, &w))
		return;
	list = flow_is_global(c, to->rip) ? OF_ALL : c->translator->space_list;
	known = find_slot(c, list, to, &w);
	if (known)
		use(c, known);
	else
		add(c, list, to, w);
}

/* -- what is so no more */

void tr_forget(struct cpu *c)
{
	c->stat.code.forgets++;
	tr_returns_forget(c);
	for (unsigned i = 0; i < NR_WAYS; i++)
		forget_list(c, i);
}

/* What leads to the page in the list and is not dead. */
static void each_to(struct cpu *c, unsigned list, const struct code_page *p,
		    void (*fn)(struct cpu *c, struct tr_way *w))
{
	const struct tr_ways *l = &c->translator->ways[list];

	for (u32 n = first_of(l, list, p); n; n = l->way[n - 1].next) {
		if (l->way[n - 1].la != TR_WAY_DEAD)
			fn(c, &l->way[n - 1]);
	}
}

void tr_suspend(struct cpu *c, struct code_page *p)
{
	struct translator *t = c->translator;

	/* Once for all pages that lose their trust together. */
	if (t->returns_forgotten != c->code->gen)
		tr_returns_forget(c);
	t->returns_forgotten = c->code->gen;
	each_to(c, OF_ALL, p, leave_unused);
	each_to(c, c->translator->space_list, p, leave_unused);
	forget_straddlers(c);
}

void tr_resume(struct cpu *c, struct code_page *p)
{
	each_to(c, OF_ALL, p, use);
	each_to(c, c->translator->space_list, p, use);
}

void tr_forget_page(struct cpu *c, struct code_page *p)
{
	tr_returns_forget(c);
	for (unsigned i = 0; i < NR_WAYS; i++) {
		const struct tr_ways *l = &c->translator->ways[i];

		for (u32 n = first_of(l, i, p); n; n = l->way[n - 1].next)
			kill(c, i, &l->way[n - 1]);
		p->ways[i].first = NO_WAY;
	}
	forget_straddlers(c);
}

void tr_forget_address(struct cpu *c, u64 la, u64 size)
{
	tr_returns_forget(c);
	for (unsigned i = 0; i < NR_WAYS; i++) {
		const struct tr_ways *l = &c->translator->ways[i];

		for (u32 n = 0; n < l->n; n++) {
			if (l->way[n].la - la < size)
				kill(c, i, &l->way[n]);
		}
	}
	forget_straddlers(c);
}

void tr_ways_prepare(struct cpu *c)
{
	tr_returns_forget(c);
	/* The rest of the tables is zero, and takes no memory yet. */
	for (u32 m = 0; m < TLB_MODES; m++)
		jump_clear(&c->jump[m][0], 0);
}

void tr_ways_cleared(struct cpu *c)
{
	struct translator *t = c->translator;

	pagemem_zero(c->jump, sizeof(c->jump));
	tr_ways_prepare(c);
	for (unsigned i = 0; i < NR_WAYS; i++)
		empty_list(&t->ways[i]);
}

void tr_use_table(struct cpu *c, const struct block *b)
{
	u32 *key = &c->gen.table_key[block_key_tlb(b->key)];

	if (likely(*key == b->key))
		return;
	*key = b->key;
	tr_forget(c);
}
