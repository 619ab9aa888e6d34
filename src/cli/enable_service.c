/* SPDX-License-Identifier: MIT */
/*
 * cli/enable_service.c: a systemd service with userkvm, by a drop-in. A program that is preloaded gets a
 * variable; one that is not is started by `userkvm run'.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/enable.h"

#define DROPIN_PARENT "/etc/systemd/system"
#define PREFIXES      "@-:+!|" /* of a command, systemd.service(5) */
#define PREFIXES_LEFT "-:"     /* those that mean the same before `userkvm run' */

static const char *const unit_places[] = {DROPIN_PARENT, "/run/systemd/system",
					  "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
					  "/lib/systemd/system"};
#define PLACES (sizeof(unit_places) / sizeof(*unit_places))

/* What a unit's files say of it, in the order in which systemd reads them. */
struct unit {
	const char *name;
	FILE *commands; /* to `text`: one a line */
	char *text;
	size_t size;
	int trouble; /* negative: refused */
};

/* ------------------------------------------------------------------ reading a unit */

/* Settings that keep the library from the program, or the program from the calls of ours. */
static const struct {
	const char *name, *why;
} troubles[] = {
	{"RootDirectory", "has another root, where the library is not"},
	{"RootImage", "has another root, where the library is not"},
	{"SystemCallFilter", "is under a filter that refuses calls which userkvm makes"},
	{"MemoryDenyWriteExecute", "may not execute what it writes, and so not a guest"},
};

static void take_setting(struct unit *u, const char *name, const char *value)
{
	if (!strcmp(name, "ExecStart") && u->commands) {
		if (*value) {
			fprintf(u->commands, "%s\n", value);
		} else { /* what was said before does not hold */
			fclose(u->commands);
			free(u->text);
			u->commands = open_memstream(&u->text, &u->size);
		}
	}
	if (!strcmp(name, "Environment") && strstr(value, "LD_PRELOAD="))
		u->trouble = enable_refuse("%s has an LD_PRELOAD of its own", u->name);
	for (size_t i = 0; i < sizeof(troubles) / sizeof(*troubles); i++) {
		if (!strcmp(name, troubles[i].name) && *value && strcasecmp(value, "no") &&
		    strcasecmp(value, "false") && strcmp(value, "0"))
			u->trouble = enable_refuse("%s %s (%s=%s)", u->name, troubles[i].why, name,
						   value);
	}
}

/* "Name = value", in place; NULL: it is none. */
static char *split(char *line)
{
	char *value = strchr(line, '='), *end;

	if (!value || *line == '#' || *line == ';' || *line == '[')
		return NULL;
	for (end = value; end > line && isspace((unsigned char)end[-1]); end--)
		;
	value++;
	*end = '\0';
	value += strspn(value, " \t");
	for (end = value + strlen(value); end > value && isspace((unsigned char)end[-1]); end--)
		;
	*end = '\0';
	return value;
}

/* A line that ends in a backslash goes on in the next. */
static bool read_line(FILE *f, char **line, size_t *size)
{
	size_t n = 0;
	int c;

	while ((c = getc(f)) != EOF) {
		if (n + 2 > *size) {
			*size = 2 * *size + 256;
			*line = realloc(*line, *size);
			if (!*line)
				return false;
		}
		if (c != '\n')
			(*line)[n++] = (char)c;
		else if (n && (*line)[n - 1] == '\\')
			(*line)[n - 1] = ' ';
		else
			break;
	}
	if (*line)
		(*line)[n] = '\0';
	return n || c != EOF;
}

static void read_unit_file(struct unit *u, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL, *value;
	bool service = false;
	size_t size = 0;

	if (!f)
		return;
	while (read_line(f, &line, &size)) {
		const char *name = line + strspn(line, " \t");

		if (*name == '[')
			service = !strncmp(name, "[Service]", 9);
		else if (service && (value = split(line + (name - line))))
			take_setting(u, name, value);
	}
	free(line);
	fclose(f);
}

static int is_conf(const struct dirent *d)
{
	const char *dot = strrchr(d->d_name, '.');

	return dot && !strcmp(dot, ".conf") && strcmp(d->d_name, UNIT_DROPIN);
}

static void read_dropins(struct unit *u, const char *place)
{
	char dir[PATH_MAX], path[2 * PATH_MAX];
	struct dirent **names;
	int n;

	snprintf(dir, sizeof(dir), "%s/%s.d", place, u->name);
	n = scandir(dir, &names, is_conf, alphasort);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
		read_unit_file(u, path);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

/* Of an instance, its template's. */
static void template_name(const char *unit, char *out)
{
	const char *at = strchr(unit, '@'), *dot = strrchr(unit, '.');

	if (at && dot && at < dot)
		snprintf(out, UNIT_NAME, "%.*s%s", (int)(at + 1 - unit), unit, dot);
	else
		snprintf(out, UNIT_NAME, "%s", unit);
}

static bool read_unit(struct unit *u)
{
	char name[UNIT_NAME], path[PATH_MAX];
	bool found = false;

	template_name(u->name, name);
	for (size_t i = 0; i < PLACES && !found; i++) {
		snprintf(path, sizeof(path), "%s/%s", unit_places[i], name);
		found = access(path, R_OK) == 0;
	}
	if (found)
		read_unit_file(u, path);
	for (size_t i = PLACES; i-- > 0;)
		read_dropins(u, unit_places[i]);
	return found;
}

/* ------------------------------------------------------------------ what is to stand in the drop-in */

/* The commands again, each behind `userkvm run'. */
static int write_commands(FILE *out, const struct unit *u, const char *command)
{
	fputs("ExecStart=\n", out);
	for (const char *at = u->text; *at; at = strchr(at, '\n') + 1) {
		size_t prefix = strspn(at, PREFIXES), plain = strspn(at, PREFIXES_LEFT);
		int n = (int)strcspn(at, "\n");

		if (prefix != plain)
			return enable_refuse("%s is started in a special way (ExecStart=%.*s)", u->name,
					     n, at);
		fprintf(out, "ExecStart=%.*s%s run -- %.*s\n", (int)prefix, at, command,
			n - (int)prefix, at + prefix);
	}
	return 0;
}

/* How the programs are reached, which is one way for all of them; WAY_NONE: refused. */
static enum target_way judge(const struct unit *u)
{
	static struct target_verdict v; /* large */
	enum target_way way = WAY_NONE;

	for (const char *at = u->text; at && *at; at = strchr(at, '\n') + 1) {
		char path[PATH_MAX];

		at += strspn(at, PREFIXES);
		snprintf(path, sizeof(path), "%.*s", (int)strcspn(at, " \t\n"), at);
		target_judge(path, &v);
		if (v.way == WAY_NONE) {
			enable_refuse("%s: %s %s", u->name, path, v.why);
			return WAY_NONE;
		}
		way = way == WAY_LOADER ? way : v.way;
	}
	if (way == WAY_NONE)
		enable_refuse("%s starts no program (ExecStart=)", u->name);
	return way;
}

static int write_dropin(const struct unit *u, const char *library, const char *command, char **content)
{
	enum target_way way = judge(u);
	size_t size;
	FILE *out;
	int r = 0;

	if (way == WAY_NONE)
		return -1;
	out = open_memstream(content, &size);
	if (!out)
		return enable_refuse("no memory");
	fprintf(out, "# Made by `userkvm enable --service=%s'; `userkvm disable' takes it away.\n[Service]\n",
		u->name);
	if (way == WAY_LOADER)
		r = write_commands(out, u, command);
	else
		fprintf(out, "Environment=LD_PRELOAD=%s\n", library);
	fclose(out);
	return r;
}

static int check_name(const char *unit)
{
	const char *dot = strrchr(unit, '.');

	if (!dot || strcmp(dot, ".service") || strlen(unit) >= UNIT_NAME || *unit == '.' ||
	    unit[strspn(unit, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.@-")])
		return enable_refuse("%s is not the name of a service, as libvirtd.service is", unit);
	return 0;
}

int service_dropin(const char *unit, const char *library, const char *command, char *path, size_t size,
		   char **content)
{
	struct unit u = {.name = unit};
	int r = check_name(unit);

	if (r)
		return r;
	snprintf(path, size, "%s/%s.d/%s", DROPIN_PARENT, unit, UNIT_DROPIN);
	u.commands = open_memstream(&u.text, &u.size);
	if (!u.commands)
		return enable_refuse("no memory");
	if (!read_unit(&u))
		u.trouble = enable_refuse("%s: there is no such unit", unit);
	if (u.commands)
		fclose(u.commands);
	r = u.trouble ? u.trouble : write_dropin(&u, library, command, content);
	free(u.text);
	return r;
}

const char *service_of(const char *path, char *unit)
{
	const char *name = path + sizeof(DROPIN_PARENT), *end = strstr(path, ".d/" UNIT_DROPIN);

	if (strncmp(path, DROPIN_PARENT "/", sizeof(DROPIN_PARENT)) || !end)
		return NULL;
	snprintf(unit, UNIT_NAME, "%.*s", (int)(end - name), name);
	return unit;
}

void service_reload(void)
{
	char *argv[] = {(char *)"systemctl", (char *)"daemon-reload", NULL};
	extern char **environ;
	int status;
	pid_t pid;

	if (access("/run/systemd/system", F_OK))
		return;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) || waitpid(pid, &status, 0) != pid ||
	    status)
		fprintf(stderr, "userkvm: systemd could not be told; run `systemctl daemon-reload'\n");
}
