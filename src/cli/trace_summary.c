/* SPDX-License-Identifier: MIT */
/* cli/trace_summary.c: -c: how often and how long, by call, exit and event. */
#include <inttypes.h>
#include <stdlib.h>
#include "abi/uapi.h"
#include "cli/trace.h"

struct line {
	char name[48];
	unsigned part; /* calls, exits, events */
	u64 n, errors, ns;
};

struct summary {
	struct line *line;
	size_t n;
};

enum { CALLS, EXITS, EVENTS, PARTS };
static const char *const parts[] = {"calls", "exits", "events"};

struct summary *summary_new(void)
{
	return calloc(1, sizeof(struct summary));
}

static struct line *find(struct summary *s, unsigned part, const char *name)
{
	struct line *more;

	for (size_t i = 0; i < s->n; i++) {
		if (s->line[i].part == part && !strcmp(s->line[i].name, name))
			return &s->line[i];
	}
	more = realloc(s->line, (s->n + 1) * sizeof(*more));
	if (!more)
		return NULL;
	s->line = more;
	more[s->n] = (struct line){.part = part};
	snprintf(more[s->n].name, sizeof(more[s->n].name), "%s", name);
	return &more[s->n++];
}

static void count(struct summary *s, unsigned part, const char *name, u64 ns, bool error)
{
	struct line *l = find(s, part, name);

	if (!l)
		return;
	l->n++;
	l->ns += ns;
	l->errors += error;
}

static void add_call(struct summary *s, const struct call_record *c)
{
	const struct shape_call *call = shape_find_call(c->level, c->request);
	char number[16];
	u32 reason;

	snprintf(number, sizeof(number), "%#x", c->request);
	count(s, CALLS, !c->request ? "open" : call ? shape_call_name(call) : number, c->ns, c->ret < 0);
	if (shape_exit_of(c, &reason))
		count(s, EXITS, shape_exit_name(reason) ? shape_exit_name(reason) : "KVM_EXIT_?", c->ns, false);
}

void summary_add(struct summary *s, const struct trace_record *r)
{
	if (r->kind == TRACE_call)
		add_call(s, record_call(r));
	else
		count(s, EVENTS, shape_event_name(r->kind), 0, false);
}

static int by_count(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->part != y->part)
		return x->part < y->part ? -1 : 1;
	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	return strcmp(x->name, y->name);
}

static void print_json(const struct summary *s, FILE *out)
{
	for (unsigned part = 0; part < PARTS; part++) {
		const char *before = "";

		fprintf(out, "%s\"%s\":{", part ? "," : "{", parts[part]);
		for (size_t i = 0; i < s->n; i++) {
			const struct line *l = &s->line[i];

			if (l->part != part)
				continue;
			fprintf(out, "%s\"%s\":{\"count\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"ns\":%" PRIu64 "}",
				before, l->name, l->n, l->errors, l->ns);
			before = ",";
		}
		fprintf(out, "}");
	}
	fprintf(out, "}\n");
}

static void print_text(const struct summary *s, FILE *out)
{
	unsigned part = PARTS;

	for (size_t i = 0; i < s->n; i++) {
		const struct line *l = &s->line[i];

		if (l->part != part) {
			fprintf(out, "%s%-34s %10s %8s %12s %10s\n", part == PARTS ? "" : "\n", parts[l->part],
				"count", "errors", "seconds", "us each");
			part = l->part;
		}
		fprintf(out, "%-34s %10" PRIu64 " %8" PRIu64 " %12.6f %10.1f\n", l->name, l->n, l->errors,
			(double)l->ns / 1e9, (double)l->ns / 1e3 / (double)l->n);
	}
}

void summary_print(const struct summary *s, FILE *out, bool json)
{
	if (s->n)
		qsort(s->line, s->n, sizeof(s->line[0]), by_count);
	(json ? print_json : print_text)(s, out);
}
