/* SPDX-License-Identifier: MIT */
/* How guest.c reaches guest memory when it is a guest's code: by the instructions themselves. */
#ifndef GUEST_ACCESS_H
#define GUEST_ACCESS_H

#include "stress.h"

#define GUEST static inline __attribute__((always_inline))

GUEST void guest_out(u16 port)
{
	asm volatile("outb %%al, %0" : : "Nd"(port), "a"(0) : "memory");
}

/* An access that became an MMIO exit, whose handler says so, found nothing. */
GUEST bool found(struct gvcpu *c)
{
	return !__atomic_load_n(&c->hole, __ATOMIC_ACQUIRE);
}

GUEST bool area_load(struct gvcpu *c, const u64 *word, u64 *v)
{
	*v = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	return found(c);
}

GUEST bool area_load_string(struct gvcpu *c, const u64 *word, u64 *v)
{
	u64 n = 1, *to = v;

	asm volatile("rep movsq" : "+S"(word), "+D"(to), "+c"(n) : : "memory");
	return found(c);
}

GUEST bool area_store(struct gvcpu *c, u64 *word, u64 v)
{
	__atomic_store_n(word, v, __ATOMIC_RELEASE);
	return found(c);
}

GUEST bool area_store_string(struct gvcpu *c, u64 *word, u64 v)
{
	u64 n = 1;

	asm volatile("rep stosq" : "+D"(word), "+c"(n) : "a"(v) : "memory");
	return found(c);
}

/* Locked; *v goes in and what was there comes out. */
GUEST bool area_exchange(struct gvcpu *c, u64 *word, u64 *v)
{
	*v = __atomic_exchange_n(word, *v, __ATOMIC_SEQ_CST);
	return found(c);
}

/* Locked; stored only where *v was found, and what was found comes out. */
GUEST bool area_compare_exchange(struct gvcpu *c, u64 *word, u64 *v, u64 new_)
{
	__atomic_compare_exchange_n(word, v, new_, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return found(c);
}

/*
 * Zeroes are add %al, (%rax). They must fault at once: a guest that ran on over them could be met by
 * new content amid a word, whose bytes mean anything from there. The VMM makes it return zero.
 */
GUEST bool area_call(struct gvcpu *c, const u64 *word, u32 *v)
{
	u64 r = 1ULL << 62; /* not canonical */

	asm volatile("call *%1" : "+a"(r) : "r"(word) : "memory", "cc");
	*v = (u32)r;
	return found(c);
}

#endif
