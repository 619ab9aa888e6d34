/* SPDX-License-Identifier: MIT */
/*
 * cli/trace_filter.c: -e: words with commas between them. A word is a group of base/trace.def, `all`,
 * `guest` (all groups but calls), an event, the name of a call or of an exit, where * and ? stand for
 * others as in the shell; behind ! it takes away.
 */
#include <fnmatch.h>
#include <stdlib.h>
#include "abi/uapi.h"
#include "cli/trace.h"

#define MAX_WORDS 64

struct filter {
	char *text;
	unsigned n;
	struct word {
		const char *pattern;
		bool not;
	} word[MAX_WORDS];
};

static bool matches_kind(const char *pattern, unsigned kind)
{
	const char *group = shape_event_group(kind);

	return !strcmp(pattern, "all") || !strcmp(pattern, group) ||
	       (!strcmp(pattern, "guest") && kind != TRACE_call) ||
	       (kind != TRACE_call && !fnmatch(pattern, shape_event_name(kind), 0));
}

static bool names_call(const char *pattern)
{
	const struct shape_call *c;
	const char *exit;
	unsigned i;

	if (!fnmatch(pattern, "open", 0))
		return true;
	for (i = 0; (c = shape_nth_call(i)); i++) {
		if (!fnmatch(pattern, shape_call_name(c), 0))
			return true;
	}
	for (i = 0; (exit = shape_nth_exit(i)); i++) {
		if (!fnmatch(pattern, exit, 0))
			return true;
	}
	return false;
}

static bool means_something(const char *pattern)
{
	for (unsigned k = 0; k < TRACE_KINDS; k++) {
		if (matches_kind(pattern, k))
			return true;
	}
	return names_call(pattern);
}

struct filter *filter_parse(const char *text, const char **word)
{
	struct filter *f = calloc(1, sizeof(*f));
	char *w, *rest;

	if (!f || !(f->text = strdup(text)))
		exit(125);
	for (w = strtok_r(f->text, ",", &rest); w; w = strtok_r(NULL, ",", &rest)) {
		bool not = *w == '!';

		w += not;
		if (f->n == MAX_WORDS || !means_something(w)) {
			*word = w;
			return NULL;
		}
		f->word[f->n++] = (struct word){w, not};
	}
	return f;
}

/* A filter that only takes away takes from calls. */
static bool begins_with_all(const struct filter *f)
{
	return !f->n || f->word[0].not;
}

u64 filter_mask(const struct filter *f)
{
	u64 mask = begins_with_all(f) ? BIT(TRACE_call) : 0;

	for (unsigned k = 0; k < TRACE_KINDS; k++) {
		for (unsigned i = 0; i < f->n; i++) {
			const struct word *w = &f->word[i];

			if (!w->not && (matches_kind(w->pattern, k) ||
					(k == TRACE_call && names_call(w->pattern))))
				mask |= BIT(k);
		}
	}
	return mask;
}

static bool matches_call(const char *pattern, const struct call_record *c)
{
	const struct shape_call *s = shape_find_call(c->level, c->request);
	u32 reason;

	if (!c->request)
		return !fnmatch(pattern, "open", 0);
	return (s && !fnmatch(pattern, shape_call_name(s), 0)) ||
	       (shape_exit_of(c, &reason) && shape_exit_name(reason) &&
		!fnmatch(pattern, shape_exit_name(reason), 0));
}

bool filter_wants(const struct filter *f, const struct trace_record *r)
{
	bool wants = begins_with_all(f) && r->kind == TRACE_call;

	for (unsigned i = 0; i < f->n; i++) {
		const struct word *w = &f->word[i];

		if (matches_kind(w->pattern, r->kind) ||
		    (r->kind == TRACE_call && matches_call(w->pattern, record_call(r))))
			wants = !w->not;
	}
	return wants;
}

void filter_list(FILE *out)
{
	const struct shape_call *c;
	const char *exit;
	unsigned i;

	fprintf(out, "all\nguest\n");
	for (unsigned k = 0; k < TRACE_KINDS; k++) {
		if (!k || strcmp(shape_event_group(k), shape_event_group(k - 1)))
			fprintf(out, "%s\n", shape_event_group(k));
		if (k != TRACE_call && strcmp(shape_event_group(k), shape_event_name(k)))
			fprintf(out, "%s\n", shape_event_name(k));
	}
	for (i = 0; (c = shape_nth_call(i)); i++)
		fprintf(out, "%s\n", shape_call_name(c));
	for (i = 0; (exit = shape_nth_exit(i)); i++)
		fprintf(out, "%s\n", exit);
}
