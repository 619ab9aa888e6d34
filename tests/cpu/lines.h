/* SPDX-License-Identifier: MIT */
/* cpu/lines.h: every line of the table of instructions, by number; the integer ones come first. */
#ifndef TESTS_CPU_LINES_H
#define TESTS_CPU_LINES_H

#include "cpu/code/decode.h"

static inline unsigned table_nr_lines(void)
{
	return table_integer_lines + table_system_lines + table_native_lines;
}

static inline const struct table_line *table_line(unsigned n)
{
	if (n < table_integer_lines)
		return &table_integer[n];
	n -= table_integer_lines;
	return n < table_system_lines ? &table_system[n] : &table_native[n - table_system_lines];
}

#endif
