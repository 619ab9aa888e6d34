/* SPDX-License-Identifier: MIT */
#include "loader/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "preload/memory.h"
#include "preload/outside.h"
#include "preload/preload.h"
#include "preload/target.h"

#define MAX_ARGUMENTS (1UL << 20) /* the kernel's bound is of bytes: about as many */
#define ON_STACK      1024	  /* so many pointers have room on the lent stack */
#define FRONT	      (3 + TARGET_ARGUMENTS) /* the loader's, scripts', and the end */
#define LINK_EXE      "/proc/self/exe"

static char loader_path[PATH_MAX], program_path[PATH_MAX];

static void read_link(const char *path, char *out)
{
	long n = raw3(SYS_readlink, path, out, PATH_MAX - 1);

	out[n > 0 ? n : 0] = '\0';
}

void exec_init(int program_fd)
{
	char link[64];

	read_link(LINK_EXE, loader_path);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", program_fd);
	read_link(link, program_path);
}

const char *exec_program(void)
{
	return program_path;
}

/* ------------------------------------------------------------------ arguments */

/* How many pointers stand in argv; -errno. No argv is an empty one. */
static long count(const u64 *argv)
{
	u64 p;

	for (u64 n = 0; argv && n < MAX_ARGUMENTS; n++) {
		if (memory_read(&p, argv + n, sizeof(p)))
			return -EFAULT;
		if (!p)
			return (long)n;
	}
	return argv ? -E2BIG : 0;
}

/* ------------------------------------------------------------------ the call */

struct request {
	int dirfd, flags;
	const char *path;
	const u64 *argv, *envp;
};

/* The word of a loader that the program starts itself, with the program's mask in it. */
static int take_word(struct call *c, const struct request *q, char *out)
{
	const char *word, *rest;

	if (memory_read(&word, q->argv + 1, sizeof(word)) || path_length(word) < 0)
		return -EFAULT;
	rest = strstr(word, ",,");
	if (!rest) {
		snprintf(out, TARGET_WORD_MAX, "%s", word);
		return 0;
	}
	snprintf(out, TARGET_WORD_MAX, "%.*s,%llx,%s", (int)(rest - word), word,
		 (unsigned long long)*trap_mask(c), rest + 2);
	return 0;
}

/* Returns only when it failed. The mask of the program's goes by the word. */
static long become_loader(struct call *c, const struct request *q, struct target *t,
			  const char **room, size_t n)
{
	char word[TARGET_WORD_MAX];
	size_t front, skip;
	long r;

	snprintf(word, sizeof(word), "%d,%llx,%s", t->fd, (unsigned long long)*trap_mask(c),
		 q->path);
	room[0] = TARGET_LOADER_INSIDE;
	room[1] = word;
	front = target_arguments(t, room + 2);
	skip = front && n; /* argv[0] */
	front += 2;
	if (n > 1 && target_is_file(t->fd, loader_path)) {
		/* asked for by name: its word is right, but that the mask here is not the program's */
		r = take_word(c, q, word);
		if (r)
			return r;
		front = skip = 2;
	}
	if (n > skip && memory_read(room + front, q->argv + skip, (n - skip) * sizeof(*room)))
		return -EFAULT;
	room[front + n - skip] = NULL;
	raw3(SYS_fcntl, t->fd, F_SETFD, 0);
	if (armed())
		dispositions_before_exec();
	r = raw3(SYS_execve, loader_path, room, q->envp);
	if (r == -ENOENT || r == -EACCES) /* another root */
		r = raw3(SYS_execve, LINK_EXE, room, q->envp);
	if (armed())
		dispositions_after_failed_exec();
	return r;
}

static long with_room(struct call *c, const struct request *q, struct target *t, size_t n)
{
	size_t words = n + FRONT;
	const char *few[ON_STACK + FRONT], **room = few;
	long r;

	if (n > ON_STACK) {
		r = raw6(SYS_mmap, 0, (long)(words * sizeof(*room)), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (r < 0 && r >= -4095)
			return r;
		room = (const char **)r;
	}
	r = become_loader(c, q, t, room, n);
	if (n > ON_STACK)
		raw2(SYS_munmap, room, words * sizeof(*room));
	return r;
}

static long execute(struct call *c, const struct request *q)
{
	struct target t;
	long n = count(q->argv), r;

	if (n < 0)
		return n;
	r = target_open(q->dirfd, q->path, q->flags, &t);
	if (r)
		return r;
	if (t.elf.foreign)
		outside_say(q->path, "is no x86-64 program, which cannot run below a filter");
	else if (t.privileged)
		outside_say(q->path, "is setuid, setgid or has file capabilities, and runs without");
	r = t.elf.foreign ? -ENOEXEC : with_room(c, q, &t, (size_t)n);
	raw1(SYS_close, t.fd);
	return r;
}

static long read_path(const char *from, char *to)
{
	long n = path_length(from);

	if (n < 0)
		return -EFAULT;
	memcpy(to, from, (size_t)n + 1);
	if (!strcmp(to, LINK_EXE) && *program_path)
		strcpy(to, program_path);
	return 0;
}

enum fate exec_handle(struct call *c)
{
	bool at = c->nr == SYS_execveat;
	const long *a = at ? c->a + 1 : c->a;
	char path[PATH_MAX];
	struct request q = {
		.dirfd = at ? (int)c->a[0] : AT_FDCWD,
		.flags = at ? (int)c->a[4] : 0,
		.path = path,
		.argv = (const u64 *)a[1],
		.envp = (const u64 *)a[2],
	};
	long r = read_path((const char *)a[0], path);

	return trap_result(c, r ? r : execute(c, &q));
}
