/* SPDX-License-Identifier: MIT */
/*
 * cpu/table/table_test.h: what the default-deny table must and must not do, for every opcode
 * there is in every mode.
 */
#ifndef TESTS_CPU_TABLE_H
#define TESTS_CPU_TABLE_H

#include "cpu/code/decode.h"

/* A wrong thing, with the instruction at hand; only the first of many are printed. */
void complain(const struct decoder *d, const char *what);
extern unsigned long complaints;

/* sensitive.c: must this mnemonic never be native? Names Zydis does not know are counted. */
bool is_sensitive(unsigned mnemonic);
unsigned sensitive_unknown(void);

/* stubs.c: the code native/ would generate for d's instruction is nothing but it. */
void check_stub(const struct decoder *d);
extern unsigned long stubs_checked;

/* announced.c: CPUID bits by /proc/cpuinfo's names. */
/* Forms the table refuses, by Zydis's instruction set: none may be announced. */
void note_denied(const struct decoder *d);
void check_announced(void);
/* On the host that lacks any bit that this form needs, which it has here. */
void check_lacking(const struct decoder *d);
extern unsigned long lacking_checked;

#endif
