/* SPDX-License-Identifier: MIT */
/*
 * compare OURS RECORDED [LIVE]: hold the outputs of hostcalls together, line by line. A line of
 * ours must be what this machine's device said, if it has one, or what was recorded, since
 * devices of different kernels differ among themselves; or be listed in deviations.def.
 */
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_LEN 512

static struct {
	const char *calls;
	unsigned used;
} deviations[] = {
#define DEVIATION(calls, reason) {calls, 0},
#include "deviations.def"
#undef DEVIATION
};

static bool listed(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(deviations) / sizeof(deviations[0]); i++) {
		if (!fnmatch(deviations[i].calls, name, 0)) {
			deviations[i].used++;
			return true;
		}
	}
	return false;
}

static bool next(FILE *f, char *line)
{
	if (!f || !fgets(line, LINE_LEN, f))
		return false;
	line[strcspn(line, "\n")] = 0;
	return true;
}

/* A call's line is "name = result"; what it filled in follows, indented. */
static void take_name(const char *line, char *name)
{
	const char *p, *end = NULL;

	if (line[0] == ' ')
		return;
	for (p = line; (p = strstr(p, " = ")); p++)
		end = p;
	snprintf(name, LINE_LEN, "%.*s", (int)(end ? end - line : (long)strlen(line)), line);
}

static FILE *open_file(const char *path)
{
	FILE *f = fopen(path, "r");

	if (!f) {
		perror(path);
		exit(2);
	}
	return f;
}

int main(int argc, char **argv)
{
	char ours[LINE_LEN], recorded[LINE_LEN], live[LINE_LEN], name[LINE_LEN] = "";
	unsigned lines = 0, bad = 0, differ = 0, unlisted = 0, kernels = 0;
	FILE *fo, *fr, *fl;
	bool o, r;
	size_t i;

	if (argc < 3)
		return 2;
	fo = open_file(argv[1]);
	fr = open_file(argv[2]);
	fl = argc > 3 ? open_file(argv[3]) : NULL;
	for (;;) {
		o = next(fo, ours);
		r = next(fr, recorded);
		if (!next(fl, live))
			strcpy(live, recorded);
		if (!o || !r)
			break;
		lines++;
		take_name(recorded, name);
		kernels += strcmp(live, recorded) != 0;
		if (!strcmp(ours, live) || !strcmp(ours, recorded))
			continue;
		differ++;
		if (listed(name))
			continue;
		bad++;
		unlisted++;
		printf("%u: %s\n  device:  %s\n  userkvm: %s\n", lines, name, live, ours);
	}
	if (o != r) {
		printf("the outputs are not equally long: %s ends after line %u\n",
		       o ? "the recorded one" : "ours", lines);
		bad++;
	}
	for (i = 0; i < sizeof(deviations) / sizeof(deviations[0]); i++) {
		if (deviations[i].used)
			continue;
		printf("listed in deviations.def, but nothing differs: %s\n",
		       deviations[i].calls);
		bad++;
	}
	printf("%u lines, %u differ for a listed reason, %u do without one; ", lines,
	       differ - unlisted, bad);
	if (fl)
		printf("%u of this machine's device are not as recorded\n", kernels);
	else
		printf("no device here to compare with\n");
	return bad ? 1 : 0;
}
