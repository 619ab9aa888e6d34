/* SPDX-License-Identifier: MIT */
#include "explore/text.h"

#include <stdlib.h>

void text_print(FILE *f, const struct sched_schedule *t)
{
	for (u32 i = 0; i < t->n; i++) {
		const struct sched_turn *turn = &t->turn[i];

		fprintf(f, "%s%u", i ? "," : "", turn->actor);
		if (turn->steps)
			fprintf(f, ":%u%s", turn->steps, turn->hold ? "h" : "");
	}
}

static bool parse_turn(const char **s, struct sched_turn *turn)
{
	char *end;
	unsigned long n = strtoul(*s, &end, 10);

	if (end == *s || n >= SCHED_MAX_ACTORS)
		return false;
	*turn = (struct sched_turn){.actor = (u8)n};
	*s = end;
	if (**s != ':')
		return true;
	n = strtoul(++*s, &end, 10);
	if (end == *s || !n || n > SCHED_MAX_STEPS)
		return false;
	turn->steps = (u32)n;
	turn->hold = *end == 'h';
	*s = end + turn->hold;
	return true;
}

bool text_parse(const char *s, struct sched_schedule *t)
{
	t->n = 0;
	t->turn = calloc(strlen(s) + 1, sizeof(*t->turn));
	if (!t->turn)
		return false;
	for (; parse_turn(&s, &t->turn[t->n]); s++) {
		t->n++;
		if (!*s)
			return true;
		if (*s != ',')
			return false;
	}
	return false;
}
