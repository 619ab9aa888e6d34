/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/oracle.h: guest paging as SDM vol. 3, chapter 4 has it, written apart from cpu/ and
 * after the manual's own order: one function for each of the three formats.
 */
#ifndef TESTS_FUZZ_ORACLE_H
#define TESTS_FUZZ_ORACLE_H

#include "base/types.h"

enum oracle_memory { ORACLE_NONE, ORACLE_RAM, ORACLE_READ_ONLY, ORACLE_BAD };

struct oracle {
	enum oracle_memory (*memory)(u64 gpa);
	u64 (*read)(void *arg, u64 gpa, unsigned bytes);
	void (*write)(void *arg, u64 gpa, unsigned bytes, u64 value);
	void *arg;
	bool pae, lma, la57, pse, wp, smep, smap, nxe, ac, user, page1g;
	unsigned entry_bytes, maxphyaddr;
	u64 root;
	u64 pdpte[4];
};

enum oracle_end {
	ORACLE_PAGE,
	ORACLE_FAULT,
	ORACLE_NO_TABLE,  /* a table where no memory is */
	ORACLE_BAD_TABLE, /* a table in memory the VMM's mapping cannot serve */
};

struct oracle_walk {
	enum oracle_end end;
	u64 gpa;
	u32 error;
};

/* `access`: enum mmu_access, one bit. Sets accessed and dirty flags through ->write. */
void oracle_walk(const struct oracle *o, u64 la, unsigned access, struct oracle_walk *w);
/* The PDPTEs of PAE paging; false: MOV CR3 raises #GP, or finds no memory. */
bool oracle_load_pdptrs(struct oracle *o);

#endif
