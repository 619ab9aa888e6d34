/* SPDX-License-Identifier: MIT */
/*
 * translator/ways.c: where code leads to: edges that are patched, and the jump tables.
 *
 * An edge within a page is good as long as the page's blocks are. All else is a way: it says what is at a
 * linear address, which holds for one address space or for all, and it is to be used only while the bytes of
 * the page that it leads to are trusted (cpu/code/blocks.c). A page that is distrusted has its ways taken
 * out of use, and put back when its bytes have been compared: that spares a look for each of them.
 */
#include "cpu/translator/internal.h"

#include "base/pagemem.h"

#define NO_WAY 0 /* ways are numbered from 1 in lists */

enum { OF_SPACE, OF_ALL };

int tr_ways_create(struct translator *t)
{
	for (u32 i = 0; i < NR_WAYS; i++) {
		t->ways[i].era = 1; /* a page that has none is of none */
		t->ways[i].way = pagemem_alloc(TR_WAYS * sizeof(struct tr_way));
		if (!t->ways[i].way)
			return -ENOMEM;
	}
	return 0;
}

/* -- one of them */

static void aim_edge(struct translator *t, u32 at, u32 to)
{
	s32 disp = (s32)(to - (at + 4));

	memcpy(t->area.write + at, &disp, 4);
	t->patched = true;
}

/* Where the edge at `at` leads to. */
static u32 edge_target(const struct translator *t, u32 at)
{
	s32 disp;

	memcpy(&disp, t->area.write + at, 4);
	return at + 4 + (u32)disp;
}

static void jump_clear(struct code_jump *j, u32 slot)
{
	/* Zero would match address 0, whose slot is 0. */
	j->neg = slot ? 0 : ~0ULL;
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
		aim_edge(c->translator, w->at, w->code);
		return;
	}
	j = slot_of(c, w);
	j->neg = -w->la;
	j->host = (u64)(c->translator->area.run + w->code);
}

static void leave_unused(struct cpu *c, struct tr_way *w)
{
	if (!(w->at & TR_WAY_SLOT))
		aim_edge(c->translator, w->at, w->stub);
	else if (has_slot(c, w))
		jump_clear(slot_of(c, w), (w->at & ~TR_WAY_SLOT) % CODE_JUMPS);
}

static void kill(struct cpu *c, struct tr_way *w)
{
	if (w->la == TR_WAY_DEAD)
		return;
	leave_unused(c, w);
	w->la = TR_WAY_DEAD;
}

/* -- lists */

static u32 first_of(const struct tr_ways *l, unsigned which, const struct code_page *p)
{
	return p->ways[which].era == l->era ? p->ways[which].first : NO_WAY;
}

static void forget_list(struct cpu *c, struct tr_ways *l)
{
	for (u32 i = 0; i < l->n; i++) {
		if (l->way[i].la != TR_WAY_DEAD)
			leave_unused(c, &l->way[i]);
	}
	l->n = 0;
	l->straddlers = NO_WAY;
	l->era++;
}

static void forget_straddlers(struct cpu *c)
{
	for (unsigned i = 0; i < NR_WAYS; i++) {
		struct tr_ways *l = &c->translator->ways[i];

		for (u32 n = l->straddlers; n; n = l->way[n - 1].next)
			kill(c, &l->way[n - 1]);
		l->straddlers = NO_WAY;
	}
}

static void add(struct cpu *c, unsigned which, const struct block *to, struct tr_way w)
{
	struct tr_ways *l = &c->translator->ways[which];
	struct code_page *p = to->page;

	flow_meet(c, to->rip, to);
	if (l->n == TR_WAYS)
		forget_list(c, l);
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

void tr_learn_edge(struct cpu *c, u32 edge, const struct block *from, const struct block *to)
{
	struct translator *t = c->translator;
	u32 at = edge & ~TR_EDGE_FAR, code = to->host - TR_COUNT_LEN, now;

	if (!at || t->check_every) /* then blocks are left one by one */
		return;
	now = edge_target(t, at);
	if (now == code)
		return; /* a page that is trusted again has its ways back */
	if (edge & TR_EDGE_FAR) {
		bool global = flow_is_global(c, to->rip) && flow_is_global(c, from->rip);

		add(c, global ? OF_ALL : OF_SPACE, to,
		    (struct tr_way){.la = to->rip, .at = at, .code = code, .stub = now});
	} else {
		aim_edge(t, at, code);
		c->stat.code.chained++;
	}
}

void tr_learn_jump(struct cpu *c, const struct block *to)
{
	u32 mode = (to->key & BLOCK_KEY_TLB) >> BLOCK_KEY_TLB_SHIFT;
	struct tr_way w = {.la = to->rip,
			   .at = TR_WAY_SLOT | (mode * CODE_JUMPS + tr_jump_slot(to->rip)),
			   .code = to->host - TR_COUNT_LEN};

	/* A handler goes there each time by itself. */
	if (!c->translator->check_every && !has_slot(c, &w))
		add(c, flow_is_global(c, to->rip) ? OF_ALL : OF_SPACE, to, w);
}

/* -- what is so no more */

void tr_forget_space(struct cpu *c)
{
	forget_list(c, &c->translator->ways[OF_SPACE]);
}

void tr_forget(struct cpu *c)
{
	c->stat.code.forgets++;
	forget_list(c, &c->translator->ways[OF_ALL]);
	tr_forget_space(c);
}

/* What leads to the page and is not dead. */
static void each_to(struct cpu *c, const struct code_page *p, void (*fn)(struct cpu *c, struct tr_way *w))
{
	for (unsigned i = 0; i < NR_WAYS; i++) {
		const struct tr_ways *l = &c->translator->ways[i];

		for (u32 n = first_of(l, i, p); n; n = l->way[n - 1].next) {
			if (l->way[n - 1].la != TR_WAY_DEAD)
				fn(c, &l->way[n - 1]);
		}
	}
}

void tr_suspend(struct cpu *c, struct code_page *p)
{
	each_to(c, p, leave_unused);
	forget_straddlers(c);
}

void tr_resume(struct cpu *c, struct code_page *p)
{
	each_to(c, p, use);
}

void tr_forget_page(struct cpu *c, struct code_page *p)
{
	each_to(c, p, kill);
	for (unsigned i = 0; i < NR_WAYS; i++)
		p->ways[i].first = NO_WAY;
	forget_straddlers(c);
}

void tr_forget_address(struct cpu *c, u64 la)
{
	for (unsigned i = 0; i < NR_WAYS; i++) {
		const struct tr_ways *l = &c->translator->ways[i];

		for (u32 n = 0; n < l->n; n++) {
			if (!((l->way[n].la ^ la) & PAGE_MASK))
				kill(c, &l->way[n]);
		}
	}
	forget_straddlers(c);
}

void tr_ways_prepare(struct cpu *c)
{
	/* The rest of the tables is zero, and takes no memory yet. */
	for (u32 m = 0; m < TLB_MODES; m++)
		jump_clear(&c->jump[m][0], 0);
}

void tr_ways_cleared(struct cpu *c)
{
	struct translator *t = c->translator;

	memset(c->jump, 0, sizeof(c->jump));
	tr_ways_prepare(c);
	for (unsigned i = 0; i < NR_WAYS; i++) {
		t->ways[i].n = 0;
		t->ways[i].straddlers = NO_WAY;
		t->ways[i].era++;
	}
}

void tr_use_table(struct cpu *c, const struct block *b)
{
	u32 *key = &c->gen.table_key[(b->key & BLOCK_KEY_TLB) >> BLOCK_KEY_TLB_SHIFT];

	if (likely(*key == b->key))
		return;
	tr_forget(c);
	*key = b->key;
}
