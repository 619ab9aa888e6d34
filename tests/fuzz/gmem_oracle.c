/* SPDX-License-Identifier: MIT */
#include "gmem_oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WORDS 0x10000u
#define MAGIC 0x5a000000u

struct written {
	u8 vm, where; /* enum where; atomic */
	u16 page;
	u32 begun; /* punches of the page when the write was over; ~0: it is not; atomic */
};

u32 *punches_done;
static u32 begun[PAGES];
static struct written table[WORDS];
static u32 next;

void oracle_init(void)
{
	punches_done = mmap(NULL, PAGES * sizeof(u32), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (punches_done == MAP_FAILED)
		abort();
}

void oracle_reset(void)
{
	memset(punches_done, 0, PAGES * sizeof(u32));
	memset(begun, 0, sizeof(begun));
	memset(table, 0, sizeof(table));
	next = 1;
}

u32 oracle_new(unsigned vm, u32 page)
{
	u32 n = __atomic_load_n(&next, __ATOMIC_RELAXED);

	if (n >= WORDS || (n = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) >= WORDS)
		return 0;
	table[n].vm = (u8)vm;
	table[n].page = (u16)page;
	__atomic_store_n(&table[n].begun, ~0u, __ATOMIC_SEQ_CST);
	return MAGIC | n;
}

void oracle_written(u32 word, enum where where)
{
	struct written *w = &table[word & ~MAGIC];

	__atomic_store_n(&w->where, (u8)where, __ATOMIC_SEQ_CST);
	__atomic_store_n(&w->begun, __atomic_load_n(&begun[w->page], __ATOMIC_SEQ_CST),
			 __ATOMIC_SEQ_CST);
}

static void wrong(const char *what, u32 word, unsigned vm, u32 page)
{
	const struct written *w = &table[word & (WORDS - 1)];

	fprintf(stderr,
		"VM %u, page %u: word %x, written by %u to page %u (where %u, %u punches begun): "
		"%s; %u punches ended\n",
		vm, page, word, w->vm, w->page, w->where, w->begun, what, punches_done[page]);
	abort();
}

void oracle_found(u32 word, unsigned vm, u32 page, enum where where, u32 done)
{
	const struct written *w = &table[word & (WORDS - 1)];
	u8 went;

	if (!word)
		return;
	if ((word & ~(WORDS - 1)) != MAGIC || (word & (WORDS - 1)) >= next || w->page != page)
		wrong("nobody wrote that here", word, vm, page);
	went = __atomic_load_n(&w->where, __ATOMIC_SEQ_CST);
	if (where == IN_SHARED && went == IN_STORE)
		wrong("private data in shared memory", word, vm, page);
	if (where == IN_STORE && went == IN_SHARED)
		wrong("shared data in private memory", word, vm, page);
	if (where == IN_SHARED && w->vm != vm)
		wrong("another VM's shared data", word, vm, page);
	if (where == IN_STORE && done > __atomic_load_n(&w->begun, __ATOMIC_SEQ_CST))
		wrong("it outlived a punch", word, vm, page);
}

void oracle_punch_begins(u32 page, u32 n)
{
	for (u32 i = page; i < page + n; i++)
		__atomic_fetch_add(&begun[i], 1, __ATOMIC_SEQ_CST);
}

void oracle_punch_ends(u32 page, u32 n)
{
	for (u32 i = page; i < page + n; i++)
		__atomic_fetch_add(&punches_done[i], 1, __ATOMIC_SEQ_CST);
}
