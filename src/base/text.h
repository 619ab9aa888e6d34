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

#endif
