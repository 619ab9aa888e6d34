/* SPDX-License-Identifier: MIT */
/*
 * The VMM's own memory, which comes to lie where mappings of guest memory were. Nobody but the
 * VMM may read or write it.
 */
#include <sys/mman.h>
#include "changes.h"

#define PIECES	  16
#define PIECE_LEN (64 * PAGE)
#define CANARY(i) (1ULL << 60 | (u64)(i))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static u64 *pieces[PIECES]; /* guarded by lock */

static void check(u32 i)
{
	for (u64 w = 0; pieces[i] && w < PIECE_LEN / 8; w++)
		MUST(pieces[i][w] == CANARY(i), "memory outside the guest was written: %#lx",
		     pieces[i][w]);
}

void litter(struct change *c)
{
	u32 i = changer_pick(c->by, PIECES);

	pthread_mutex_lock(&lock);
	check(i);
	if (pieces[i])
		munmap(pieces[i], PIECE_LEN);
	pieces[i] = mmap(NULL, PIECE_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	MUST(pieces[i] != MAP_FAILED, "out of memory");
	for (u64 w = 0; w < PIECE_LEN / 8; w++)
		pieces[i][w] = CANARY(i);
	pthread_mutex_unlock(&lock);
}

void litter_check(void)
{
	for (u32 i = 0; i < PIECES; i++)
		check(i);
}
