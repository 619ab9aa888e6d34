/* SPDX-License-Identifier: MIT */
#include "explore/show.h"

#include <stdlib.h>

#include "explore/explore.h"

#define LANE 36 /* columns for an actor */

static struct show *watching;
static bool with_worlds;

static char *world_text(void)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		abort();
	world_show(f);
	fclose(f);
	return text;
}

static void keep_step(const char *what, const char *where, bool choice)
{
	struct show *w = watching;

	if (w->n == w->room) {
		w->room = w->room ? 2 * w->room : 256;
		w->step = realloc(w->step, w->room * sizeof(*w->step));
		if (!w->step)
			abort();
	}
	where = where && strstr(where, "src/") ? strstr(where, "src/") : where;
	w->actors = MAX(w->actors, sched_self() + 1);
	w->step[w->n++] = (struct show_step){.actor = sched_self(),
					     .what = what,
					     .where = where,
					     .choice = choice,
					     .world = with_worlds ? sched_aside(world_text) : NULL};
}

void show_run(struct show *w, const struct scenario *s, const struct sched_schedule *t, bool worlds)
{
	memset(w, 0, sizeof(*w));
	w->s = s;
	w->t = t;
	watching = w;
	with_worlds = worlds;
	sched_watch(keep_step);
	w->verdict = explore_run(s, t);
	sched_watch(NULL);
	snprintf(w->why, sizeof(w->why), "%s", sched_why());
}

void show_free(struct show *w)
{
	for (u32 i = 0; i < w->n; i++)
		free(w->step[i].world);
	free(w->step);
}

/* -- lanes */

/* Without the directories. */
static const char *short_place(const char *where)
{
	const char *slash = where ? strrchr(where, '/') : NULL;

	return slash ? slash + 1 : where ? where : "";
}

/* Is the step like the one before it, and the one after? */
static bool dull(const struct show *w, u32 i)
{
	const struct show_step *s = &w->step[i];

	return i && i + 1 < w->n && s[-1].actor == s->actor && s[1].actor == s->actor &&
	       !strcmp(s[-1].what, s->what) && !strcmp(s[1].what, s->what);
}

void show_lanes(FILE *f, const struct show *w)
{
	for (int a = 0; a < w->actors; a++)
		fprintf(f, "%*s%d %s\n", 8 + a * LANE, "", a, sched_name(a));
	for (u32 i = 0; i < w->n; i++) {
		const struct show_step *s = &w->step[i];

		if (i && s->actor != s[-1].actor)
			fprintf(f, "%6s\n", "--");
		if (!dull(w, i))
			fprintf(f, "%6u%c %*s%s %s\n", i + 1, s->choice ? '*' : ' ', s->actor * LANE, "", s->what,
				short_place(s->where));
		else if (!dull(w, i - 1))
			fprintf(f, "%6s  %*s...\n", "", s->actor * LANE, "");
	}
	fprintf(f, "%6s\n%6s  %s\n", "--", "", w->verdict == SCHED_OK ? "nothing is found" : w->why);
}

/* -- HTML */

static void escape(FILE *f, const char *s)
{
	for (; s && *s; s++) {
		if (*s == '<')
			fputs("&lt;", f);
		else if (*s == '&')
			fputs("&amp;", f);
		else if (*s == '"')
			fputs("&quot;", f);
		else
			fputc(*s, f);
	}
}

static const char style[] =
	"body{font:14px sans-serif;margin:1.5em}table{border-collapse:collapse}"
	"td,th{padding:1px 10px;text-align:left;vertical-align:top}th{border-bottom:1px solid}"
	"td:first-child{text-align:right;color:#888}tr.turn td{border-top:1px solid #888}"
	".choice{font-weight:bold}summary{cursor:pointer}pre{margin:0 0 .5em;color:#246}"
	"small{color:#888}.why{color:#b00;font-weight:bold}";

static void html_step(FILE *f, const struct show *w, u32 i)
{
	const struct show_step *s = &w->step[i];

	fprintf(f, "<tr%s><td>%u", i && s->actor != s[-1].actor ? " class=turn" : "", i + 1);
	for (int a = 0; a < w->actors; a++) {
		fputs("<td>", f);
		if (a != s->actor)
			continue;
		fprintf(f, "<details><summary%s>", s->choice ? " class=choice" : "");
		escape(f, s->what);
		fputs("</summary><small>", f);
		escape(f, s->where);
		fputs("</small><pre>", f);
		escape(f, s->world);
		fputs("</pre></details>", f);
	}
	fputs("\n", f);
}

void show_html(FILE *f, const struct show *w)
{
	fprintf(f, "<!doctype html><html lang=en><meta charset=utf-8><title>%s</title><style>%s</style>\n",
		w->s->name, style);
	fprintf(f, "<h1>%s</h1><p>%s.</p><p class=why>", w->s->name, w->s->what);
	escape(f, w->verdict == SCHED_OK ? "nothing is found" : w->why);
	fputs("</p><p>What is about to happen, step after step; bold where another could go on. A step opens "
	      "to what there is before it.</p><table><tr><th>", f);
	for (int a = 0; a < w->actors; a++) {
		fputs("<th>", f);
		escape(f, sched_name(a));
	}
	fputs("\n", f);
	for (u32 i = 0; i < w->n; i++)
		html_step(f, w, i);
	fputs("</table>\n", f);
}

/* -- forward and back */

/* The line of the source that a place names, or nothing where that is not there. */
static void source_line(FILE *out, const char *source, const char *where)
{
	const char *colon = where ? strrchr(where, ':') : NULL;
	char path[512], line[512];
	FILE *f;
	int n;

	if (!colon)
		return;
	n = atoi(colon + 1);
	snprintf(path, sizeof(path), "%s/%.*s", source, (int)(colon - where), where);
	f = fopen(path, "r");
	while (f && n > 0 && fgets(line, sizeof(line), f)) {
		if (!--n)
			fprintf(out, "              %s", line + strspn(line, "\t "));
	}
	if (f)
		fclose(f);
}

/* The step that an actor is about to make, at step i of all; NULL: it makes no other. */
static const struct show_step *next_of(const struct show *w, u32 i, int actor)
{
	while (i < w->n && w->step[i].actor != actor)
		i++;
	return i < w->n ? &w->step[i] : NULL;
}

static void show_at(FILE *out, const struct show *w, u32 i, const char *source)
{
	const struct show_step *s = &w->step[i];

	fprintf(out, "step %u of %u%s\n", i + 1, w->n, s->choice ? ", another could go on" : "");
	for (int a = 0; a < w->actors; a++) {
		const struct show_step *at = next_of(w, i, a);

		fprintf(out, " %c %-10s %s%s%s\n", a == s->actor ? '>' : ' ', sched_name(a),
			at ? at->what : "makes no other step", at && at->where ? ", " : "",
			at && at->where ? at->where : "");
		source_line(out, source, at ? at->where : NULL);
	}
	fputs(s->world ? s->world : "", out);
	if (i + 1 == w->n)
		fprintf(out, "then: %s\n", w->verdict == SCHED_OK ? "nothing is found" : w->why);
}

static u32 other_turn(const struct show *w, u32 i, bool back)
{
	u32 from = i;

	do {
		if (back ? !i : i + 1 == w->n)
			return i;
		i += back ? -1 : 1;
	} while (w->step[i].actor == w->step[from].actor);
	return i;
}

static const char commands[] =
	"n or Enter: forward; p: back; t, T: to the next, the last turn; a number: to that step; q: end\n";

void show_stepping(FILE *in, FILE *out, const struct show *w, const char *source)
{
	char line[64];
	u32 i = 0;

	if (!w->n)
		return;
	fputs(commands, out);
	show_at(out, w, i, source);
	while (fgets(line, sizeof(line), in) && line[0] != 'q') {
		unsigned long to = strtoul(line, NULL, 10);

		if (to)
			i = (u32)MIN(to, (unsigned long)w->n) - 1;
		else if (line[0] == 'p')
			i -= i ? 1 : 0;
		else if (line[0] == 't' || line[0] == 'T')
			i = other_turn(w, i, line[0] == 'T');
		else if (line[0] == 'n' || line[0] == '\n')
			i += i + 1 < w->n;
		else
			fputs(commands, out);
		show_at(out, w, i, source);
	}
}
