/* SPDX-License-Identifier: MIT */
/*
 * What the vCPUs run. In a client of /dev/kvm it is copied into the guest as it is, so nothing here
 * calls or names anything outside this section, and it uses general registers only.
 */
#include "guest_access.h"

#define GET(x)	  __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define PUT(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)

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

/* A vCPU's counter of the page at hand. */
GUEST struct gcount *counter(struct control *control, struct gvcpu *c, u32 vcpu)
{
	return &control->vcpus[vcpu].counts[c->area][c->page];
}

GUEST void read_stamp(struct control *control, struct gvcpu *c, const struct gpage *g,
		      const u64 *page, u64 word, bool string)
{
	u32 s1 = GET(g->seq);
	u64 v, expected;

	if (!(string ? area_load_string(c, &page[word], &v) : area_load(c, &page[word], &v))) {
		PUT(c->holes, c->holes + 1);
		return;
	}
	expected = GET(g->expected);
	PUT(c->reads, c->reads + 1);
	if (control->strict && !(s1 & 1) && s1 == GET(g->seq)) {
		c->stable++;
		if (v != expected)
			failed(c, GUEST_STALE, word, v, expected);
	} else if (!string && v && v >> 32 != stamp_of(c->area, c->page, 0) >> 32) {
		/* A string's word may come in parts, of before and after. */
		failed(c, GUEST_FOREIGN, word, v, expected);
	}
}

/*
 * Another vCPU's counter: no less than it had counted when this began, no more than it had begun
 * to count when this was over.
 */
GUEST void read_counter(struct control *control, struct gvcpu *c, const struct gpage *g,
			const u64 *page, u32 vcpu)
{
	struct gcount *n = counter(control, c, vcpu);
	u32 s1 = GET(g->seq), last = GET(n->seq), low = GET(n->done), high;
	u64 v, least = count_of(vcpu, c->area, c->page, 1);

	if (!area_load(c, &page[1 + vcpu], &v)) {
		PUT(c->holes, c->holes + 1);
		return;
	}
	high = GET(n->begun);
	PUT(c->reads, c->reads + 1);
	if (v && (v >> 32 != least >> 32 || (u32)v > high)) {
		failed(c, GUEST_FOREIGN, 1 + vcpu, v, count_of(vcpu, c->area, c->page, high));
	} else if (control->strict && last == s1 && !(s1 & 1) && s1 == GET(g->seq)) {
		c->others++;
		if ((u32)v < low)
			failed(c, GUEST_LOST, 1 + vcpu, v, count_of(vcpu, c->area, c->page, low));
	}
}

/* Store in one of the ways there are. *v is what was found before, where the way says. */
GUEST bool store_counter(struct gvcpu *c, u64 *word, u64 *v, u64 new_, u32 way)
{
	switch (way & 3) {
	case 0:
		*v = new_;
		return area_exchange(c, word, v);
	case 1: {
		u64 was = *v;

		if (!area_compare_exchange(c, word, v, new_))
			return false;
		return *v == was || area_store(c, word, new_);
	}
	case 2:
		return area_store_string(c, word, new_);
	default:
		return area_store(c, word, new_);
	}
}

GUEST void count(struct control *control, struct gvcpu *c, const struct gpage *g, u64 *page,
		 u32 way)
{
	struct gcount *n = counter(control, c, c->index);
	u32 s1 = GET(g->seq), done = n->done, begun = n->begun;
	u64 word = 1 + c->index, v, was;
	u64 mine = count_of(c->index, c->area, c->page, done);

	if (!area_load(c, &page[word], &v)) {
		PUT(c->holes, c->holes + 1);
		return;
	}
	was = v;
	PUT(n->begun, done + 1);
	if (!store_counter(c, &page[word], &v, count_of(c->index, c->area, c->page, done + 1),
			   way)) {
		PUT(c->holes, c->holes + 1);
		/* Of a locked access the first half only, perhaps: nobody can tell. */
		PUT(n->seq, 1);
		return;
	}
	if (control->strict && n->seq == s1 && !(s1 & 1) && s1 == GET(g->seq)) {
		c->exact++;
		if (v != mine || was != mine)
			failed(c, GUEST_LOST, word, v != mine ? v : was, mine);
	} else if (v && (v >> 32 != count_of(c->index, c->area, c->page, 1) >> 32 ||
			 (u32)v > begun)) {
		failed(c, GUEST_FOREIGN, word, v, mine);
	}
	PUT(n->done, done + 1);
	PUT(c->writes, c->writes + 1);
	PUT(n->seq, s1 == GET(g->seq) ? s1 : 1);
}

__attribute__((section("guest_text"), used)) void guest_main(struct control *control,
							     struct gvcpu *c)
{
	for (;;) {
		u64 r = next(c), word = (r >> 32) % WORDS;
		u32 area = (u32)(r >> 8) % c->nareas, p = (u32)(r >> 16) % PAGES;
		struct gpage *g = &control->pages[area][p];
		u64 *page = (u64 *)(GPA_AREAS + area * AREA_STRIDE + p * PAGE);

		if (GET(control->stop))
			guest_out(PORT_STOPPED);
		c->area = area;
		c->page = p;
		c->aways = GET(g->aways);
		c->away = GET(g->away);
		PUT(c->hole, 0);
		switch (r & 7) {
		case 0:
			read_counter(control, c, g, page, (u32)(r >> 4) % control->nvcpus);
			break;
		case 1:
			read_stamp(control, c, g, page, word < COUNTERS ? 0 : word, true);
			break;
		case 2:
		case 3:
		case 4:
			read_stamp(control, c, g, page, word < COUNTERS ? 0 : word, false);
			break;
		default:
			count(control, c, g, page, (u32)(r >> 48));
		}
	}
}
