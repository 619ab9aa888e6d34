/* SPDX-License-Identifier: MIT */
#include "preload/outside.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "preload/preload.h"

static char loader[PATH_MAX]; /* empty: there is none beside us */
static bool active;	      /* children are to have userkvm */
static const char *library;   /* in LD_PRELOAD; NULL: the whole machine has it */

void outside_init(const char *own_path, bool by_environment)
{
	/* installed, and where it was built */
	static const char *const places[] = {"userkvm-loader", "loader/userkvm-loader"};
	const char *slash = strrchr(own_path, '/');

	active = true;
	library = by_environment ? own_path : NULL;
	for (size_t i = 0; slash && i < ARRAY_SIZE(places); i++) {
		int n = snprintf(loader, sizeof(loader), "%.*s/%s", (int)(slash - own_path),
				 own_path, places[i]);

		if (n < (int)sizeof(loader) && raw2(SYS_access, loader, X_OK) == 0)
			return;
	}
	*loader = '\0';
}

/* By its whole name where one follows from the descriptor: it may be looked for elsewhere. */
static void write_word(struct outside *o, const char *path, bool keep)
{
	char link[64], name[PATH_MAX];
	long n;

	if (keep) {
		raw3(SYS_fcntl, o->t.fd, F_SETFD, 0);
		snprintf(o->word, sizeof(o->word), "%d,,%s", o->t.fd, path);
		return;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", o->t.fd);
	n = raw3(SYS_readlink, link, name, sizeof(name) - 1);
	name[n > 0 ? n : 0] = '\0';
	snprintf(o->word, sizeof(o->word), "-1,,%s", n > 0 ? name : path);
	raw1(SYS_close, o->t.fd);
	o->t.fd = -1;
}

void outside_say(const char *path, const char *what)
{
	char text[PATH_MAX + 256];
	int n = snprintf(text, sizeof(text), "userkvm: %s: %s\n", path, what);

	raw3(SYS_write, STDERR_FILENO, text, MIN(n, (int)sizeof(text) - 1));
}

/* A file of ours is not where this process sees files: another root, or namespace of mounts. */
static void miss(struct outside *o, const char *path, const char *what)
{
	o->refused = raw2(SYS_access, "/dev/kvm", F_OK) == 0;
	if (o->refused)
		outside_say(path, "refused: it would get this machine's /dev/kvm");
	outside_say(path, what);
}

/* How a program that may be preloaded will be; or what neither way reaches. False: o->refused may say more. */
static bool is_for_loader(struct outside *o, const char *path)
{
	const struct target *t = &o->t;

	if (t->elf.foreign) {
		outside_say(path, "is no x86-64 program, and runs without userkvm");
	} else if (t->privileged) {
		if (library)
			outside_say(path, "is setuid, setgid or has file capabilities, and runs "
					  "without userkvm");
	} else if (target_is_preloadable(t, path)) {
		if (library && raw2(SYS_access, library, R_OK))
			miss(o, path, "libuserkvm.so is not to be found here");
	} else if (!*loader || raw2(SYS_access, loader, X_OK)) {
		miss(o, path, "makes its own system calls, and userkvm-loader is not to be found here");
	} else {
		return true;
	}
	return false;
}

bool outside_find(int dirfd, const char *path, int flags, bool keep, struct outside *o)
{
	const struct target *t = &o->t;

	o->refused = false;
	if (!active || path_length(path) < 0 || target_open(dirfd, path, flags, &o->t))
		return false;
	if (!is_for_loader(o, path)) {
		raw1(SYS_close, t->fd);
		return o->refused;
	}
	o->loader = loader;
	o->itself = target_is_file(t->fd, loader);
	write_word(o, path, keep);
	return true;
}

/* The file that execvp() would execute, or try to: the first that target_open() can say of. */
bool outside_search(const char *file, bool keep, struct outside *o)
{
	const char *list = getenv("PATH"), *next;
	char path[PATH_MAX];

	if (path_length(file) <= 0)
		return false;
	if (strchr(file, '/'))
		return outside_find(AT_FDCWD, file, 0, keep, o);
	for (list = list ? list : "/bin:/usr/bin";; list = next + 1) {
		int n;

		next = strchrnul(list, ':');
		n = snprintf(path, sizeof(path), "%.*s%s%s", (int)(next - list), list,
			     next == list ? "" : "/", file);
		if (n < (int)sizeof(path) && raw2(SYS_access, path, X_OK) == 0)
			return outside_find(AT_FDCWD, path, 0, keep, o);
		if (!*next)
			return false;
	}
}

static size_t count(char *const v[])
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

size_t outside_room(char *const argv[], char *const envp[])
{
	return (count(argv) + TARGET_LOADER_ARGUMENTS + TARGET_ARGUMENTS + 1) * sizeof(char *) +
	       environment_room_without_us(envp);
}

void outside_fill(struct outside *o, char *const argv[], char *const envp[], u64 ignored, void *room)
{
	size_t n = 0, front, argc = count(argv);
	char **out = room;

	if (o->itself) {
		o->argv = (char **)argv;
		o->envp = environment_without_us(envp, ignored, room);
		return;
	}
	out[n++] = (char *)TARGET_LOADER_START;
	out[n++] = o->word;
	front = target_arguments(&o->t, (const char **)out + n);
	n += front;
	for (size_t i = front > 0; i < argc; i++)
		out[n++] = argv[i];
	out[n++] = NULL;
	o->argv = out;
	o->envp = environment_without_us(envp, ignored, out + n);
}
