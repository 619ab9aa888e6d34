/* SPDX-License-Identifier: MIT */
#include "base/pool.h"
#include "base/own.h"
#include "sync/lock.h"

#define POOL_CHUNK  (64ULL << 10)
#define POOL_POISON 0x6b /* what is freed holds, so that a use of it shows */

struct free_object {
	struct free_object *next;
};

static struct {
	struct mutex lock;
	struct free_object *free; /* guarded by lock */
} pool = {.lock = {.m = PTHREAD_MUTEX_INITIALIZER}};

/* Chunks are kept: their number is bounded by the most objects ever in use at once. */
static bool refill(void)
{
	char *at = own_chunk(POOL_CHUNK);

	if (!at)
		return false;
	for (u64 off = 0; off + POOL_OBJECT <= POOL_CHUNK; off += POOL_OBJECT) {
		struct free_object *o = (struct free_object *)(at + off);

		o->next = pool.free;
		pool.free = o;
	}
	return true;
}

void *pool_alloc(void)
{
	struct free_object *o = NULL;

	mutex_lock(&pool.lock);
	if (pool.free || refill()) {
		o = pool.free;
		pool.free = o->next;
	}
	mutex_unlock(&pool.lock);
	return o ? memset(o, 0, POOL_OBJECT) : NULL;
}

void pool_free(void *p)
{
	struct free_object *o = p;

	if (!p)
		return;
	memset(p, POOL_POISON, POOL_OBJECT);
	mutex_lock(&pool.lock);
	o->next = pool.free;
	pool.free = o;
	mutex_unlock(&pool.lock);
}

void pool_forked_child(void)
{
	mutex_init(&pool.lock);
	pool.free = NULL;
}
