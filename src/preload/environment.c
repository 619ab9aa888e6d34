/* SPDX-License-Identifier: MIT */
/*
 * preload/environment.c: a child's environment, in which LD_PRELOAD names this library even
 * when the VMM made the environment from scratch.
 *
 * It also says which signals the program ignores that the kernel has our handler for: the kernel makes
 * the default of them at an exec, and the library, loaded there, makes them ignored again.
 *
 * Runs in vfork children: no allocation, no locks. A static or setuid target ignores the
 * variables.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include "preload/outside.h"
#include "preload/preload.h"
#include "preload/real.h"

#define VARIABLE "LD_PRELOAD="
#define IGNORED	 "USERKVM_IGNORED="
#define MAX_LIST 4096 /* bytes that are looked at of /etc/ld.so.preload */

static char own_path[PATH_MAX]; /* empty: not by LD_PRELOAD, and nothing is put into children's */

static bool list_holds(const char *list, const char *path)
{
	size_t n = strlen(path);

	while (*list) {
		size_t len = strcspn(list, ": \t\n");

		if (len == n && !memcmp(list, path, n))
			return true;
		list += len;
		list += *list != '\0';
	}
	return false;
}

static int find_variable(char *const envp[], const char *name)
{
	for (int i = 0; envp && envp[i]; i++) {
		if (!strncmp(envp[i], name, strlen(name)))
			return i;
	}
	return -1;
}

/* What the process was started with ignored, and takes as its own from here on. */
static void ignore_again(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	int i = find_variable(environ, IGNORED);
	u64 set;

	if (i < 0)
		return;
	set = strtoull(environ[i] + strlen(IGNORED), NULL, 16);
	for (; environ[i]; i++)
		environ[i] = environ[i + 1];
	for (int sig = 1; sig <= 64; sig++) {
		if (set & sig_bit(sig))
			REAL(sigaction)(sig, &ignore, NULL);
	}
}

/* Does the whole machine load us? Children then do by themselves. */
static bool is_for_all(const char *path)
{
	char list[MAX_LIST];
	long fd = raw4(SYS_openat, AT_FDCWD, "/etc/ld.so.preload", O_RDONLY | O_CLOEXEC, 0), n;

	if (fd < 0)
		return false;
	n = raw3(SYS_read, fd, list, sizeof(list) - 1);
	raw1(SYS_close, fd);
	list[n > 0 ? n : 0] = '\0';
	return list_holds(list, path);
}

static bool for_all_programs;

bool environment_is_for_all(void)
{
	return for_all_programs;
}

/* Our name as LD_PRELOAD has it, so that what we put back is what was there. */
void environment_init(void)
{
	static char for_all[PATH_MAX];

	const char *list = getenv("LD_PRELOAD");
	Dl_info info;

	ignore_again();
	if (!dladdr(own_path, &info) || strlen(info.dli_fname) >= sizeof(own_path))
		return;
	if (list && list_holds(list, info.dli_fname)) {
		strcpy(own_path, info.dli_fname);
		outside_init(own_path, true);
	} else if (is_for_all(info.dli_fname)) {
		for_all_programs = true;
		strcpy(for_all, info.dli_fname);
		outside_init(for_all, false);
	}
}

static size_t count(char *const envp[])
{
	size_t n = 0;

	while (envp[n])
		n++;
	return n;
}

/* Is the library named in it? */
static bool names_us(char *const envp[])
{
	int i = find_variable(envp, VARIABLE);

	return i >= 0 && list_holds(envp[i] + strlen(VARIABLE), own_path);
}

#define IGNORED_TEXT (sizeof(IGNORED) + 16) /* a number of 64 bits, in hexadecimal */

size_t environment_room(char *const envp[], u64 ignored)
{
	int i = find_variable(envp, VARIABLE);

	if (!own_path[0] || (!ignored && names_us(envp)))
		return 0;
	/* pointers with two more and the end, then the strings: ours, a colon, what was there */
	return ((envp ? count(envp) : 0) + 3) * sizeof(char *) + IGNORED_TEXT +
	       strlen(VARIABLE) + strlen(own_path) + 2 + (i >= 0 ? strlen(envp[i]) : 0);
}

static void write_ignored(char *text, u64 set)
{
	strcpy(text, IGNORED);
	text += strlen(IGNORED);
	for (int shift = 60; shift >= 0; shift -= 4)
		*text++ = "0123456789abcdef"[set >> shift & 15];
	*text = '\0';
}

static void write_variable(char *text, const char *old)
{
	strcpy(text, VARIABLE);
	strcat(text, own_path);
	if (old && old[strlen(VARIABLE)]) {
		strcat(text, ":");
		strcat(text, old + strlen(VARIABLE));
	}
}

char **environment_with_us(char *const envp[], u64 ignored, void *room)
{
	size_t n = envp ? count(envp) : 0;
	int i = find_variable(envp, VARIABLE);
	char **out = room, *text;

	if (n)
		memcpy(out, envp, n * sizeof(char *));
	text = (char *)(out + n + 3);
	if (ignored) {
		write_ignored(text, ignored);
		out[n++] = text;
		text += IGNORED_TEXT;
	}
	if (!names_us(envp)) {
		write_variable(text, i < 0 ? NULL : envp[i]);
		out[i < 0 ? n++ : (size_t)i] = text;
	}
	out[n] = NULL;
	return out;
}

size_t environment_room_without_us(char *const envp[])
{
	int i = find_variable(envp, VARIABLE);

	return ((envp ? count(envp) : 0) + 2) * sizeof(char *) + IGNORED_TEXT +
	       (i >= 0 ? strlen(envp[i]) + 1 : 0);
}

/* The list without our path. */
static void drop_own(char *list)
{
	size_t own = strlen(own_path);
	char *at = list;

	while (*at) {
		size_t len = strcspn(at, ": "), skip = at[len] ? len + 1 : len;

		if (len == own && !memcmp(at, own_path, own))
			memmove(at, at + skip, strlen(at + skip) + 1);
		else
			at += skip;
	}
}

char **environment_without_us(char *const envp[], u64 ignored, void *room)
{
	size_t n = envp ? count(envp) : 0;
	char **out = room, *text = (char *)(out + n + 2);
	int i = find_variable(envp, VARIABLE);

	if (n)
		memcpy(out, envp, n * sizeof(char *));
	if (ignored) {
		write_ignored(text, ignored);
		out[n++] = text;
		text += IGNORED_TEXT;
	}
	out[n] = NULL;
	if (i < 0)
		return out;
	strcpy(text, envp[i]);
	drop_own(text + strlen(VARIABLE));
	if (text[strlen(VARIABLE)])
		out[i] = text;
	else
		memmove(out + i, out + i + 1, (n - (size_t)i) * sizeof(char *));
	return out;
}
