/* SPDX-License-Identifier: MIT */
/* kinds.h: what the tests of kinds of memory share: a sequence's begin and end, and a word of both. */
#ifndef TESTS_EXPLORE_KINDS_H
#define TESTS_EXPLORE_KINDS_H

#include "compare.h"

#define STEPS 60

static struct model *model;

static void begin(void)
{
	begin_random();
	sched_begin();
	catch_faults();
	model = model_create();
}

static void end(void)
{
	model_destroy(model);
	sched_end();
	if (sched_verdict() != SCHED_OK) {
		fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, sched_why());
		exit(1);
	}
}

static void compare_word(hva_t hva, u64 page)
{
	u64 ours = 0, theirs = 0;
	int r = model_read(model, hva, &ours), real = real_access_at(hva, false, &theirs);

	if (r != real)
		fail("a read", page, r, real);
	if (ours != theirs)
		fail("the word", page, (s64)ours, (s64)theirs);
}

static void write_word(hva_t hva, u64 page)
{
	u64 value = below(1000000) + 1, copy = value;
	int r = model_write(model, hva, value), real = real_access_at(hva, true, &copy);

	if (r != real)
		fail("a write", page, r, real);
}

#endif
