/* SPDX-License-Identifier: MIT */
#include "mappings.h"

static uint64_t state;

void rnd_seed(uint64_t seed)
{
	state = seed;
}

uint64_t rnd(void)
{
	uint64_t x = state += 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL; /* splitmix64 */
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}
