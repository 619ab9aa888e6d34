/* SPDX-License-Identifier: MIT */
/*
 * Memory of explored code. Every allocation has pages of its own; what an actor frees becomes
 * inaccessible until the execution ends, so that any later use of it is a crash at that very
 * step, and never a value that happens to look harmless. What is never freed is reported.
 *
 * Set-up and teardown free much more than actors do, and do it the same way in every execution. Their
 * memory is made inaccessible in one execution of STRICT_EVERY and in every replay; otherwise it is
 * filled with a value that is no pointer. The system calls were most of a search's time.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/guard.h"
#include "base/pagemem.h"
#include "explore/internal.h"

#define ARENA_BYTES (256ULL << 20)
#define MAX_CHUNKS  8192
#define NEW_BYTE    0x24 /* what is new is not zero either */
#define FREED_BYTE  0xd7 /* eight of them are a non-canonical address */
#define FILL_BYTES  4096 /* at most, of what is freed */
#define STRICT_EVERY 64

struct chunk {
	u8 *start;
	size_t size;  /* asked for */
	size_t pages; /* bytes taken */
	bool freed, closed;
};

static u8 *arena;
static size_t used; /* bytes handed out in this execution */
static struct chunk chunks[MAX_CHUNKS];
static unsigned nchunks;
static unsigned fails_in; /* allocations, 0: never */
static unsigned executions;
static bool strict; /* close whatever is freed */

static void arena_init(void)
{
	arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		abort();
}

static struct chunk *chunk_of(const void *p)
{
	for (unsigned i = nchunks; i-- > 0;) {
		if (chunks[i].start == p)
			return &chunks[i];
	}
	abort(); /* not ours */
}

static u8 *take(size_t align, size_t n)
{
	size_t bytes = ALIGN_UP(MAX(n, (size_t)1), PAGE_SIZE);
	struct chunk *c = &chunks[nchunks];

	if (fails_in && !--fails_in)
		return NULL;
	if (!arena)
		arena_init();
	if (nchunks == MAX_CHUNKS || used + bytes > ARENA_BYTES || align > PAGE_SIZE)
		abort(); /* scenarios are made to fit */
	*c = (struct chunk){.start = arena + used, .size = n, .pages = bytes};
	nchunks++;
	used += bytes;
	return c->start;
}

void *sched_aligned_alloc(size_t align, size_t n)
{
	u8 *p = take(align, n);

	return p ? memset(p, NEW_BYTE, n) : NULL;
}

void *sched_malloc(size_t n)
{
	return sched_aligned_alloc(16, n);
}

void *sched_calloc(size_t n, size_t size)
{
	void *p = take(16, n * size);

	return p ? memset(p, 0, n * size) : NULL;
}

void sched_free(void *p)
{
	struct chunk *c;

	if (!p)
		return;
	sched_fence(); /* what is still in a buffer may be for here */
	c = chunk_of(p);
	SCHED_CHECK(!c->freed, "memory is freed twice");
	c->freed = true;
	c->closed = strict || sched_self() >= 0;
	if (c->closed)
		mprotect(c->start, c->pages, PROT_NONE);
	else
		memset(c->start, FREED_BYTE, MIN(c->size, (size_t)FILL_BYTES));
}

/* Whole pages (base/pagemem.h) are an allocation like another. */
void *pagemem_alloc(size_t size)
{
	return sched_calloc(1, size);
}

void pagemem_free(void *p, size_t size)
{
	sched_free(p);
}

void sched_fail_allocation(unsigned n)
{
	fails_in = n;
}

bool explore_memory_freed(const void *addr)
{
	return arena && (u64)addr - (u64)arena < used;
}

void explore_memory_check(bool leaks)
{
	for (unsigned i = 0; leaks && i < nchunks; i++)
		SCHED_CHECK(chunks[i].freed, "%zu bytes are never freed", chunks[i].size);
}

void explore_memory_reset(void)
{
	for (unsigned i = 0; i < nchunks; i++) {
		if (chunks[i].closed)
			mprotect(chunks[i].start, chunks[i].pages, PROT_READ | PROT_WRITE);
	}
	strict = explore_strict() || executions++ % STRICT_EVERY == 0;
	used = 0;
	nchunks = 0;
	fails_in = 0;
}

/* -- base/guard.h's copies: a scenario's own memory is always there, but for NULL */

int guard_copy_from(void *dst, const void *unsafe_src, size_t n)
{
	if (!unsafe_src)
		return -EFAULT;
	memcpy(dst, unsafe_src, n);
	return 0;
}

int guard_copy_to(void *unsafe_dst, const void *src, size_t n)
{
	if (!unsafe_dst)
		return -EFAULT;
	memcpy(unsafe_dst, src, n);
	return 0;
}
