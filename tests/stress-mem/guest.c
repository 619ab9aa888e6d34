/* SPDX-License-Identifier: MIT */
/*
 * What the vCPUs run: copied into the guest as it is, so nothing here calls or names anything
 * outside this section, and it uses general registers only.
 */
#include "stress.h"

#define GUEST static inline __attribute__((always_inline))

GUEST u32 load32(const u32 *p)
{
	return *(const volatile u32 *)p;
}

GUEST u64 load64(const u64 *p)
{
	return *(const volatile u64 *)p;
}

GUEST void out(u16 port)
{
	asm volatile("outb %%al, %0" : : "Nd"(port), "a"(0) : "memory");
}

GUEST u64 next(struct gvcpu *c)
{
	u64 x = c->rng;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return c->rng = x;
}

GUEST void failed(struct gvcpu *c, enum guest_failure why, u64 word, u64 found, u64 wanted)
{
	c->word = word;
	c->found = found;
	c->wanted = wanted;
	c->failure = why;
	out(PORT_FAILED);
}

GUEST void read_stamp(struct control *control, struct gvcpu *c, const struct gpage *g,
		      u64 *page, u64 word)
{
	u32 s1 = load32(&g->seq), s2;
	u64 v = load64(&page[word]), expected;

	if (load32(&c->hole)) {
		c->holes++;
		return;
	}
	expected = load64(&g->expected);
	s2 = load32(&g->seq);
	c->reads++;
	if (control->strict && s1 == s2 && !(s1 & 1)) {
		c->stable++;
		if (v != expected)
			failed(c, GUEST_STALE, word, v, expected);
	} else if (v && v >> 32 != stamp_of(c->area, c->page, 0) >> 32) {
		failed(c, GUEST_FOREIGN, word, v, expected);
	}
}

GUEST void count(struct control *control, struct gvcpu *c, const struct gpage *g, u64 *page)
{
	u32 s1 = load32(&g->seq), n = c->count[c->area][c->page];
	u32 *last = &c->lastseq[c->area][c->page];
	u64 word = 1 + c->index, v = load64(&page[word]);
	u64 mine = count_of(c->index, c->area, c->page, n);

	if (load32(&c->hole)) {
		c->holes++;
		return;
	}
	if (control->strict && *last == s1 && !(s1 & 1) && s1 == load32(&g->seq)) {
		c->exact++;
		if (v != mine)
			failed(c, GUEST_LOST, word, v, mine);
	} else if (v &&
		   (v >> 32 != count_of(c->index, c->area, c->page, 1) >> 32 || (u32)v > n)) {
		failed(c, GUEST_FOREIGN, word, v, mine);
	}
	*(volatile u64 *)&page[word] = count_of(c->index, c->area, c->page, n + 1);
	if (load32(&c->hole)) {
		c->holes++;
		return;
	}
	c->count[c->area][c->page] = n + 1;
	c->writes++;
	*last = s1 == load32(&g->seq) ? s1 : 1;
}

__attribute__((section("guest_text"), used)) void guest_main(struct control *control,
							     struct gvcpu *c)
{
	for (;;) {
		u64 r = next(c), word = (r >> 32) % WORDS;
		u32 area = (u32)(r >> 8) % c->nareas, p = (u32)(r >> 16) % PAGES;
		struct gpage *g = &control->pages[area][p];
		u64 *page = (u64 *)(GPA_AREAS + area * AREA_STRIDE + p * PAGE);

		if (load32(&control->stop))
			out(PORT_STOPPED);
		c->area = area;
		c->page = p;
		c->aways = load32(&g->aways);
		c->away = load32(&g->away);
		*(volatile u32 *)&c->hole = 0;
		if (r & 1)
			read_stamp(control, c, g, page, word < COUNTERS ? 0 : word);
		else
			count(control, c, g, page);
	}
}
