/* SPDX-License-Identifier: MIT */
/*
 * What the vCPUs run. In a client of /dev/kvm it is copied into the guest as it is, so nothing here
 * calls or names anything outside this section, and it uses general registers only.
 */
#include "guest_access.h"

#define GET(x)	  __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define PUT(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)

/* The access at hand. */
struct visit {
	struct control *control;
	struct gvcpu *c;
	struct gpage *g;
	u64 *page;
	u32 s1, gone; /* of the page, before the access */
};

GUEST u64 next(struct gvcpu *c)
{
	u64 x = c->rng;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return c->rng = x;
}

GUEST void failed(struct gvcpu *c, enum guest_failure why, u64 word, u64 v, u64 wanted)
{
	c->word = word;
	c->found = v;
	c->wanted = wanted;
	c->failure = why;
	guest_out(PORT_FAILED);
}

GUEST void hole(struct gvcpu *c)
{
	PUT(c->holes, c->holes + 1);
}

/* Nothing has changed the page since the access began: it must be exactly right. */
GUEST bool at_rest(const struct visit *a)
{
	return a->control->strict && !(a->s1 & 1) && a->s1 == GET(a->g->seq);
}

/* An access was made. */
GUEST void reached(const struct visit *a, u64 word, u64 v)
{
	u32 how = a->gone & GONE_HOW;
	bool counter = word >= 1 && word < COUNTERS;

	if (!a->gone || a->gone != GET(a->g->gone))
		return;
	if (how == GONE || (how == GONE_ZERO && v && !counter))
		failed(a->c, GUEST_REACHED, word, v, a->gone);
	else
		PUT(a->g->reached, GET(a->control->now));
}

GUEST struct gcount *counter(const struct visit *a, u32 vcpu)
{
	return &a->control->vcpus[vcpu].counts[a->c->area][a->c->page];
}

GUEST void read_stamp(const struct visit *a, u64 word, bool string)
{
	struct gvcpu *c = a->c;
	u64 v, expected;

	if (!(string ? area_load_string(c, &a->page[word], &v)
		     : area_load(c, &a->page[word], &v))) {
		hole(c);
		return;
	}
	reached(a, word, v);
	expected = GET(a->g->expected);
	PUT(c->reads, c->reads + 1);
	if (a->control->areas[c->area].flags & GAREA_UNCHECKED)
		return;
	if (at_rest(a)) {
		c->stable++;
		if (v != expected)
			failed(c, GUEST_STALE, word, v, expected);
	} else if (!string && v && !same_place(v, stamp_of(c->area, c->page, 0)) &&
		   v != expected) {
		/* A string's word may come in parts, of before and after. */
		failed(c, GUEST_FOREIGN, word, v, expected);
	}
}

/*
 * Run a word as code. The VMM's own stores to code are seen after the next VM entry, so some are
 * made for their sake; changes of mappings must be seen without.
 */
GUEST void fetch(const struct visit *a, u64 word, bool look)
{
	struct gvcpu *c = a->c;
	u64 expected;
	bool seen;
	u32 v;

	if (!GET(a->g->expected))
		return;
	if (look) {
		c->looked = GET(a->control->stores);
		guest_out(PORT_LOOK);
	}
	seen = (s32)(c->looked - GET(a->g->stored)) >= 0;
	PUT(c->fetching, 1);
	if (!area_call(c, &a->page[word], &v)) {
		PUT(c->fetching, 0);
		hole(c);
		return;
	}
	PUT(c->fetching, 0);
	expected = GET(a->g->expected);
	if (seen && at_rest(a)) {
		c->fetches++;
		if (v != number_of(expected))
			failed(c, GUEST_STALE_CODE, word, v, expected);
	}
}

GUEST bool is_count(const struct gvcpu *c, u64 v, u32 vcpu)
{
	return same_place(v, count_of(vcpu, c->area, c->page, 1)) &&
	       number_of(v) >> COUNT_BITS == vcpu;
}

/*
 * Another vCPU's counter: no less than it had counted when this began, no more than it had begun
 * to count when this was over.
 */
GUEST void read_counter(const struct visit *a, u32 vcpu)
{
	struct gvcpu *c = a->c;
	struct gcount *n = counter(a, vcpu);
	u32 last = GET(n->seq), low = GET(n->done), high, found;
	u64 v;

	if (!area_load(c, &a->page[1 + vcpu], &v)) {
		hole(c);
		return;
	}
	reached(a, 1 + vcpu, v);
	high = GET(n->begun);
	found = number_of(v) & ((1u << COUNT_BITS) - 1);
	PUT(c->reads, c->reads + 1);
	if (v && (!is_count(c, v, vcpu) || found > high)) {
		failed(c, GUEST_FOREIGN, 1 + vcpu, v, count_of(vcpu, c->area, c->page, high));
	} else if (last == a->s1 && at_rest(a)) {
		c->others++;
		if (found < low)
			failed(c, GUEST_LOST, 1 + vcpu, v, count_of(vcpu, c->area, c->page, low));
	}
}

/* Store in one of the ways there are. *v is what was found before, where the way says. */
GUEST bool store_counter(struct gvcpu *c, u64 *word, u64 *v, u64 new_, u32 way)
{
	u64 was = *v;

	switch (way & 3) {
	case 0:
		*v = new_;
		return area_exchange(c, word, v);
	case 1:
		if (!area_compare_exchange(c, word, v, new_))
			return false;
		return *v == was || area_store(c, word, new_);
	case 2:
		return area_store_string(c, word, new_);
	default:
		return area_store(c, word, new_);
	}
}

GUEST void count(const struct visit *a, u32 way)
{
	struct gvcpu *c = a->c;
	struct gcount *n = counter(a, c->index);
	u32 done = n->done, begun = n->begun, last = n->seq;
	u64 word = 1 + c->index, v, was;
	u64 mine = count_of(c->index, c->area, c->page, done);

	if (!area_load(c, &a->page[word], &v)) {
		hole(c);
		return;
	}
	was = v;
	PUT(n->begun, done + 1);
	if (!store_counter(c, &a->page[word], &v,
			   count_of(c->index, c->area, c->page, done + 1), way)) {
		hole(c);
		/* Of a locked access the first half only, perhaps: nobody can tell. */
		PUT(n->seq, 1);
		return;
	}
	reached(a, word, v);
	if (last == a->s1 && at_rest(a)) {
		c->exact++;
		if (v != mine || was != mine)
			failed(c, GUEST_LOST, word, v != mine ? v : was, mine);
	} else if (v && (!is_count(c, v, c->index) ||
			 (number_of(v) & ((1u << COUNT_BITS) - 1)) > begun)) {
		failed(c, GUEST_FOREIGN, word, v, mine);
	}
	PUT(n->done, done + 1);
	PUT(c->writes, c->writes + 1);
	PUT(n->seq, a->s1 == GET(a->g->seq) ? a->s1 : 1);
}

/* A write to a read-only memslot is an exit, always. */
GUEST void write_read_only(const struct visit *a, u64 word)
{
	if (area_store(a->c, &a->page[word], ~0ULL))
		failed(a->c, GUEST_WROTE, word, ~0ULL, 0);
	hole(a->c);
}

GUEST void visit(const struct visit *a, u64 r)
{
	u32 flags = a->control->areas[a->c->area].flags;
	u64 word = (r >> 32) % WORDS;

	if (word < COUNTERS)
		word = 0;
	if ((flags & GAREA_SPARSE) && !a->c->page)
		word = SPARSE_WORD;
	switch (r & 15) {
	case 0:
	case 1:
		if (!(flags & GAREA_READ_ONLY))
			read_counter(a, (u32)(r >> 4) % a->control->nvcpus);
		break;
	case 2:
		/* Seldom beside the counters, where each count is a store to code. */
		if (a->control->fetches && !(r >> 52 & 7) &&
		    !(flags & (GAREA_SPARSE | GAREA_UNCHECKED)))
			fetch(a, word >= CODE || !(r >> 55 & 31) ? word : word + CODE, r & 16);
		break;
	case 3:
	case 4:
		read_stamp(a, word, true);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
	case 9:
		read_stamp(a, word, false);
		break;
	default:
		if (!(flags & GAREA_READ_ONLY))
			count(a, (u32)(r >> 48));
		else if (r & 16)
			write_read_only(a, word);
	}
}

__attribute__((section("guest_text"), used)) void guest_main(struct control *control,
							     struct gvcpu *c)
{
	for (;;) {
		u64 r = next(c);
		struct visit a = {control, c};

		if (GET(control->stop))
			guest_out(PORT_STOPPED);
		c->area = (u32)(r >> 8) % c->nareas;
		c->page = (u32)(r >> 16) % control->areas[c->area].npages;
		a.g = &control->pages[c->area][c->page];
		a.page = (u64 *)(GPA_AREAS + c->area * AREA_STRIDE + c->page * PAGE);
		c->aways = GET(a.g->aways);
		c->away = GET(a.g->away);
		PUT(c->hole, 0);
		a.gone = GET(a.g->gone);
		a.s1 = GET(a.g->seq);
		visit(&a, r);
	}
}
