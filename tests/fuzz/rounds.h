/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/rounds.h: a fuzzer of calls that goes on in rounds for a while. After each everything
 * is closed, and no descriptor, mapping or memory may be left.
 *
 * usage: PROGRAM [SECONDS [SEED]]
 */
#ifndef TESTS_FUZZ_ROUNDS_H
#define TESTS_FUZZ_ROUNDS_H

#include "base/types.h"
#include "../hang.h"

/* Each thread has its own. */
struct rng {
	u64 state;
};

static inline u32 rng_next(struct rng *r)
{
	r->state = r->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (u32)(r->state >> 33);
}

/* One in n. */
static inline bool rng_one_in(struct rng *r, u32 n)
{
	return rng_next(r) % n == 0;
}

#define ROUND_SECONDS hang_limit(12) /* one that takes longer hangs */

struct rounds {
	void (*init)(void); /* once */
	void (*one)(struct rng *r, u64 round);
	void (*print)(void);  /* what was done, after the number of rounds */
	unsigned leak_rounds; /* between looks for leaks, which take long */
};

int rounds_main(int argc, char **argv, const struct rounds *r);
/* A generator for thread i of a round. */
struct rng rounds_rng(struct rng *r, unsigned i);

#endif
