/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/memory_table.h: every call that changes a mapping, a file's size or its content. A row
 * makes one, on page 1 of the memory or on all of it, by call() of ways.h.
 */
#ifndef TESTS_VMM_MEMORY_TABLE_H
#define TESTS_VMM_MEMORY_TABLE_H

#include "backing.h"
#include "probe.h"

#define ROW_LATE  1 /* nobody tells of it */
#define ROW_NEVER 2 /* and nothing shows it: raw, a window never knows */

struct row {
	const char *name;
	long (*make)(void);	/* 0, or there is no such call here, for this memory */
	unsigned needs, not_on; /* of the backing */
	unsigned how;
};
extern const struct row rows[];
extern const unsigned nr_rows;

/* What rows work on. */
extern struct memory m;
extern uint8_t *moved; /* where a row has put it, as much; or NULL */
extern int other;      /* a memfd of a new page */
extern int self;       /* a pidfd */
extern uint8_t new_page[PROBE_PAGE];

static inline uint8_t *page(unsigned i)
{
	return m.mem + i * PROBE_PAGE;
}

#endif
