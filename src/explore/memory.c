/* SPDX-License-Identifier: MIT */
/*
 * Memory of explored code: what is freed is filled with a poison that no valid pointer looks
 * like, and kept until the execution ends, when writes to it and leaks are reported.
 */
#include <stdlib.h>
#include "explore/internal.h"

#define POISON 0xdb
#define MAGIC  0x65786d656d6f7279ULL

struct chunk {
	struct chunk *next;
	void *base; /* what free() wants back */
	size_t size;
	u64 magic;
	bool freed;
};

static struct chunk *chunks;

static struct chunk *chunk_of(void *p)
{
	struct chunk *c = (struct chunk *)((char *)p - sizeof(struct chunk));

	if (c->magic != MAGIC)
		abort();
	return c;
}

void *sched_aligned_alloc(size_t align, size_t n)
{
	size_t head = ALIGN_UP(sizeof(struct chunk), MAX(align, (size_t)16));
	char *base = NULL;
	struct chunk *c;

	if (posix_memalign((void **)&base, MAX(align, (size_t)16), head + n))
		return NULL;
	c = (struct chunk *)(base + head - sizeof(*c));
	*c = (struct chunk){.next = chunks, .base = base, .size = n, .magic = MAGIC};
	chunks = c;
	memset(base + head, POISON ^ 0xff, n); /* nor is what is new zero */
	return base + head;
}

void *sched_malloc(size_t n)
{
	return sched_aligned_alloc(16, n);
}

void *sched_calloc(size_t n, size_t size)
{
	void *p = sched_malloc(n * size);

	if (p)
		memset(p, 0, n * size);
	return p;
}

void *sched_realloc(void *p, size_t n)
{
	void *q = sched_malloc(n);

	if (q && p) {
		memcpy(q, p, MIN(n, chunk_of(p)->size));
		sched_free(p);
	}
	return q;
}

void sched_free(void *p)
{
	struct chunk *c;

	if (!p)
		return;
	c = chunk_of(p);
	SCHED_CHECK(!c->freed, "memory is freed twice");
	c->freed = true;
	memset(p, POISON, c->size);
}

void explore_memory_check(bool leaks)
{
	for (struct chunk *c = chunks; c; c = c->next) {
		const u8 *p = (const u8 *)(c + 1);

		if (!c->freed) {
			SCHED_CHECK(!leaks, "%zu bytes are never freed", c->size);
			continue;
		}
		for (size_t i = 0; i < c->size; i++)
			SCHED_CHECK(p[i] == POISON, "freed memory is written to, %zu bytes in", i);
	}
}

void explore_memory_reset(void)
{
	while (chunks) {
		struct chunk *c = chunks;

		chunks = c->next;
		free(c->base);
	}
}
