/* SPDX-License-Identifier: MIT */
/* cli/symbols.c: names of guest addresses, from a copy of the guest's /proc/kallsyms. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "cli/trace.h"

struct symbols {
	struct symbol {
		u64 at;
		char *name;
	} *symbol;
	size_t n;
};

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static bool add(struct symbols *s, u64 at, const char *name)
{
	struct symbol *more = s->symbol;

	if (!(s->n & (s->n - 1)))
		more = realloc(s->symbol, (s->n ? 2 * s->n : 1) * sizeof(*more));
	if (!more)
		return false;
	s->symbol = more;
	more[s->n] = (struct symbol){at, strdup(name)};
	return more[s->n++].name;
}

struct symbols *symbols_read(const char *path)
{
	struct symbols *s = calloc(1, sizeof(*s));
	FILE *f = fopen(path, "re");
	char line[512], name[128], type;
	u64 at;

	if (!s || !f)
		return NULL;
	while (fgets(line, sizeof(line), f)) {
		/* Functions: t, T, w, W; whatever else there is names data. */
		if (sscanf(line, "%" SCNx64 " %c %127[A-Za-z0-9_.$]", &at, &type, name) == 3 &&
		    strchr("tTwW", type) && !add(s, at, name))
			return NULL;
	}
	fclose(f);
	if (s->n)
		qsort(s->symbol, s->n, sizeof(*s->symbol), by_address);
	return s;
}

#define FARTHEST (1 << 20) /* bytes from a function's begin; beyond is no function */

const char *symbols_name(const struct symbols *s, u64 address, char *buf, size_t size)
{
	size_t low = 0, high = s ? s->n : 0;

	*buf = '\0';
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (s->symbol[mid].at <= address)
			low = mid + 1;
		else
			high = mid;
	}
	if (low && address - s->symbol[low - 1].at < FARTHEST)
		snprintf(buf, size, "%s+%#" PRIx64, s->symbol[low - 1].name, address - s->symbol[low - 1].at);
	return buf;
}
