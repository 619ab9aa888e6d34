/* SPDX-License-Identifier: MIT */
/*
 * Small objects lie in slabs of one size each, at most SLAB bytes; larger ones have blocks of
 * their own. Both begin on a SLAB boundary with a header that says which, so a pointer is enough
 * to free it. Slabs are kept, and lie beside each other: among blocks, which come and go, each would be a
 * mapping of the process's, and what is between it and the next another.
 */
#include "base/heap.h"

#include <assert.h>
#include "base/own.h"
#include "base/space.h"
#include "sync/lock.h"

#define SLAB	  (64ULL << 10)
#define HEADER	  4096 /* bytes before the objects: the largest alignment */
#define HEAP_FREE 0x6c /* what freed memory begins with */
#define POISONED  64

/* 4160: a table of stage 2. */
static const u16 sizes[] = {32,	  64,	128,  192,  256,  384,	512,   768,
			    1024, 1536, 2048, 3072, 4096, 4160, 6144, 10240};

struct free_object {
	struct free_object *next;
};

struct header {
	u64 size;  /* of each object, or of the only one */
	u64 bytes; /* of a large object's block; 0 in a slab */
	u32 class;
};

static struct {
	struct mutex lock;
	struct free_object *free[ARRAY_SIZE(sizes)];
} heap = {.lock = {.m = PTHREAD_MUTEX_INITIALIZER}};

static struct header *header_of(void *p)
{
	return (struct header *)ALIGN_DOWN((u64)p, SLAB);
}

static u32 class_of(size_t size, size_t align)
{
	u32 c = 0;

	while (c < ARRAY_SIZE(sizes) && (sizes[c] < size || (sizes[c] & (align - 1))))
		c++;
	return c;
}

/* Lock held. */
static bool add_slab(u32 c)
{
	u8 *at = own_chunk(SLAB);

	if (!at)
		return false;
	*(struct header *)at = (struct header){.size = sizes[c], .class = c};
	for (u64 off = HEADER; off + sizes[c] <= SLAB; off += sizes[c]) {
		struct free_object *o = (struct free_object *)(at + off);

		o->next = heap.free[c];
		heap.free[c] = o;
	}
	return true;
}

static void *alloc_large(size_t size)
{
	u64 bytes = ALIGN_UP(size + HEADER, PAGE_SIZE);
	struct header *h;

	if (bytes < size)
		return NULL;
	h = space_alloc(bytes, SLAB);
	if (!h)
		return NULL;
	*h = (struct header){.size = size, .bytes = bytes};
	return (u8 *)h + HEADER;
}

void *heap_alloc(size_t size, size_t align)
{
	u32 c = class_of(size, align);
	struct free_object *o = NULL;

	assert(align <= HEADER);
	if (c == ARRAY_SIZE(sizes))
		return alloc_large(size);
	mutex_lock(&heap.lock);
	if (heap.free[c] || add_slab(c)) {
		o = heap.free[c];
		heap.free[c] = o->next;
	}
	mutex_unlock(&heap.lock);
	return o;
}

void *heap_zalloc(size_t size)
{
	void *p = heap_alloc(size, HEAP_ALIGN);

	/* A large object's pages are the kernel's, and zero. */
	return p && !header_of(p)->bytes ? memset(p, 0, size) : p;
}

void heap_free(void *p)
{
	struct free_object *o = p;
	struct header *h;

	if (!p)
		return;
	h = header_of(p);
	if (h->bytes) {
		space_give((u64)h, (u64)h + h->bytes);
		return;
	}
	memset(p, HEAP_FREE, MIN(h->size, POISONED));
	mutex_lock(&heap.lock);
	o->next = heap.free[h->class];
	heap.free[h->class] = o;
	mutex_unlock(&heap.lock);
}

void *heap_resize(void *p, size_t size)
{
	void *q;

	if (p && size <= header_of(p)->size)
		return p;
	q = heap_alloc(size, HEAP_ALIGN);
	if (p && q) {
		memcpy(q, p, header_of(p)->size);
		heap_free(p);
	}
	return q;
}

void heap_forked_child(void)
{
	space_forked_child();
	mutex_init(&heap.lock);
	memset(heap.free, 0, sizeof(heap.free));
}
