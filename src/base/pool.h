/* SPDX-License-Identifier: MIT */
/*
 * base/pool.h: small objects from memory of our own, for code that may run inside the VMM's
 * allocator (hooks) or under any lock: its own lock has only own.h's inside.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/types.h"

#define POOL_OBJECT 192 /* bytes of the largest object kept there */

/* A zeroed object of POOL_OBJECT bytes, or NULL. */
void *pool_alloc(void);
void pool_free(void *p);
/* In a forked child: what was free is lost, as another thread may have been at it. */
void pool_forked_child(void);

#endif
