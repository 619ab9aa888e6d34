/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/gmem_oracle.h: what a page of guest_memfd may hold, whoever does what to it at the same
 * time. Every word that is written is unlike any other; what is remembered of it says where it may
 * be found, and until which punch.
 *
 * A word that was written to a page when n punches of it had begun is gone as soon as n + 1 punches
 * have ended: one of these began after it. Which of them does not matter, so nobody takes turns.
 */
#ifndef TESTS_FUZZ_GMEM_ORACLE_H
#define TESTS_FUZZ_GMEM_ORACLE_H

#include "base/types.h"

#define PAGES 1024u /* of the store, and of each VM's memslot */

/* Where a word is known to have gone: nowhere else may it be found. */
enum where { SOMEWHERE, IN_STORE, IN_SHARED };

/* Punches of each page that have ended; a guest reads them, too. One page of memory. */
extern u32 *punches_done;

void oracle_init(void);
/* A new round: no word was written, no page punched. */
void oracle_reset(void);

/* A word to write to `page` of the memory of VM `vm`; 0: there are no more in this round. */
u32 oracle_new(unsigned vm, u32 page);
/* The write is over, if there was one. */
void oracle_written(u32 word, enum where where);
/* A word found in a page, by VM `vm`, when `done` punches of it had ended. Ends the process when it
 * may not be there. */
void oracle_found(u32 word, unsigned vm, u32 page, enum where where, u32 done);

void oracle_punch_begins(u32 page, u32 n);
void oracle_punch_ends(u32 page, u32 n);

#endif
