/* SPDX-License-Identifier: MIT */
/*
 * tests/hang.h: when something that a test waits for counts as hanging. Meson's limits end a whole test;
 * this is for one case of several, and for a test that says which it was. tests/run tells in TEST_SLOW how
 * many times slower than a quiet machine this one may be, as it tells meson.
 */
#ifndef TESTS_HANG_H
#define TESTS_HANG_H

#include <stdlib.h>

#define HANG_SLOW 10

/* `seconds` are many times what it takes on a quiet machine. */
static inline unsigned hang_limit(unsigned seconds)
{
	const char *slow = getenv("TEST_SLOW");
	int times = slow ? atoi(slow) : 0;

	return seconds * (unsigned)(times > HANG_SLOW ? times : HANG_SLOW);
}

#endif
