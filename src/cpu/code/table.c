/* SPDX-License-Identifier: MIT */
/*
 * The default-deny table: what no family lists is #UD.
 */
#include <pthread.h>

#include "cpu/code/decode.h"

static const struct table_line *by_mnemonic[ZYDIS_MNEMONIC_MAX_VALUE + 1];

static void add(const struct table_line *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		by_mnemonic[t[i].mnemonic] = &t[i];
}

static void make_index(void)
{
	add(table_native, table_native_lines);
	add(table_system, table_system_lines);
	add(table_integer, table_integer_lines);
}

const struct table_line *table_find(unsigned mnemonic)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const struct table_line *l;

	pthread_once(&once, make_index);
	l = mnemonic <= ZYDIS_MNEMONIC_MAX_VALUE ? by_mnemonic[mnemonic] : NULL;
	return l && l->cls != CLASS_DENY ? l : NULL;
}
