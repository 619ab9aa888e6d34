/* SPDX-License-Identifier: MIT */
/*
 * base/text.h: text that is put together piece by piece, for whoever reads a trace or a report. No
 * allocation, no lock, any thread.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/types.h"

/* What does not fit is cut off, and there is always a NUL. */
struct text {
	char *buf;
	u32 size, len;
	bool json;
};

void text_put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * A line on stderr. By one write from our own text, which a filter of the VMM's lets pass: dprintf() asks first where
 * the file is, from libc's, and is killed for that.
 */
void text_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
