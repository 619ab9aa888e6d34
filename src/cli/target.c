/* SPDX-License-Identifier: MIT */
/*
 * cli/target.c: finding an executable, and telling how its calls come to userkvm.
 *
 * glibc's dynamic linker reads LD_PRELOAD. A program without it is run by our loader, which traps
 * its system calls. One with more privilege than the user (setuid, setgid, file capabilities) is
 * reached by neither.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/cli.h"
#include "preload/target.h"

#define MAX_SCRIPT_DEPTH 5   /* the kernel's own bound is about the same */
#define MAX_SCRIPT_LINE	 256 /* BINPRM_BUF_SIZE */
#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1 << 1) /* the kernel's name for the bit of AT_HWCAP2 */
#endif

__attribute__((format(printf, 3, 4))) static void judge(struct target_verdict *v,
							enum target_way way,
							const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(v->why, sizeof(v->why), format, ap);
	va_end(ap);
	v->way = way;
	v->preloadable = way == WAY_PRELOAD;
}

int target_find(const char *command, char *path, size_t size)
{
	const char *list = getenv("PATH"), *next;
	int result = CLI_NOT_FOUND;

	if (strchr(command, '/')) {
		if (access(command, F_OK))
			return CLI_NOT_FOUND;
		snprintf(path, size, "%s", command);
		return access(command, X_OK) ? CLI_CANNOT_EXEC : 0;
	}
	if (!list)
		list = "/bin:/usr/bin";
	for (; *command; list = next + 1) {
		struct stat st;

		next = strchrnul(list, ':');
		snprintf(path, size, "%.*s%s%s", (int)(next - list), list,
			 next == list ? "" : "/", command);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
			if (access(path, X_OK) == 0)
				return 0;
			result = CLI_CANNOT_EXEC;
		}
		if (!*next)
			break;
	}
	return result;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool target_below_libc(void)
{
	return getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE;
}

/* Of a program that the loader runs: whether it can here, and how, in words. */
static const char *below_libc(enum target_way *way)
{
	bool can = target_below_libc();

	*way = can ? WAY_LOADER : WAY_NONE;
	return can ? "so its system calls are trapped"
		   : "and this processor or kernel has no FSGSBASE, which programs below libc need";
}

static void judge_elf(int fd, const char *path, struct target_verdict *v)
{
	static struct target_elf elf; /* large */
	enum target_way way;
	const char *how = below_libc(&way);
	bool glibc;

	target_read_elf(fd, &elf);
	glibc = !strcmp(base_name(elf.loader), TARGET_GLIBC_LOADER);
	if (elf.foreign)
		judge(v, WAY_NONE,
		      "is not an x86-64 executable, and userkvm is for x86-64 programs only");
	/* the loader itself may be called as a command and preloads what it then loads */
	else if (!strcmp(base_name(path), TARGET_GLIBC_LOADER))
		judge(v, WAY_PRELOAD, "is glibc's loader, which preloads userkvm's library");
	else if (!*elf.loader)
		judge(v, way, "is statically linked, %s", how);
	else if (!glibc)
		judge(v, way, "is linked to another C library than glibc (its loader is %s), %s", elf.loader, how);
	else if (elf.go)
		judge(v, way, "is a Go program, which makes system calls without its C library, %s", how);
	else
		judge(v, WAY_PRELOAD,
		      "is dynamically linked to glibc, so userkvm's library is preloaded");
	v->preloadable |= glibc;
}

static void judge_file(const char *path, int depth, struct target_verdict *v);

/* Say of the script what was said of its interpreter. */
static void say_of_script(const char *interpreter, struct target_verdict *v)
{
	char front[MAX_SCRIPT_LINE + 64];
	size_t n = (size_t)snprintf(front, sizeof(front), "is a script, and its interpreter %s ",
				    interpreter);

	memmove(v->why + n, v->why, sizeof(v->why) - n);
	memcpy(v->why, front, n);
	v->why[sizeof(v->why) - 1] = '\0';
}

/* `#!interpreter argument` */
static void judge_script(const char *line, int depth, struct target_verdict *v)
{
	char interpreter[MAX_SCRIPT_LINE + 1];
	size_t n;

	line += strspn(line, " \t");
	n = strcspn(line, " \t\n");
	if (n == 0 || depth >= MAX_SCRIPT_DEPTH) {
		judge(v, WAY_PRELOAD, "is a script that the kernel will refuse");
		return;
	}
	snprintf(interpreter, sizeof(interpreter), "%.*s", (int)n, line);
	if (access(interpreter, F_OK)) {
		judge(v, WAY_NONE, "is a script whose interpreter does not exist");
		return;
	}
	judge_file(interpreter, depth + 1, v);
	say_of_script(interpreter, v);
}

static void judge_open_file(int fd, const char *path, int depth, struct target_verdict *v)
{
	char head[MAX_SCRIPT_LINE + 1];
	struct stat st;
	ssize_t n;

	judge(v, WAY_PRELOAD, "is left to exec");
	if (fstat(fd, &st))
		return;
	if (S_ISDIR(st.st_mode)) {
		judge(v, WAY_NONE, "is a directory");
		return;
	}
	n = pread(fd, head, sizeof(head) - 1, 0);
	if (n < 0)
		return;
	head[n] = '\0';
	/* a script's own bits do not count, its interpreter's do */
	if (n >= 2 && head[0] == '#' && head[1] == '!')
		judge_script(head + 2, depth, v);
	else if (target_is_privileged(fd, &st))
		judge(v, WAY_NONE,
		      "is setuid or setgid or has file capabilities, so that it neither loads userkvm's "
		      "library nor keeps its privilege under a filter; run a copy without, or what it "
		      "starts");
	else if (n >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG))
		judge_elf(fd, path, v);
	else
		judge(v, WAY_PRELOAD, "is no program by itself, and run by the shell");
}

static void judge_file(const char *path, int depth, struct target_verdict *v)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	/* no way to look, and the dynamic linker will */
	if (fd < 0) {
		judge(v, WAY_PRELOAD, "cannot be read, and is taken for dynamically linked");
		return;
	}
	judge_open_file(fd, path, depth, v);
	close(fd);
}

void target_judge(const char *path, struct target_verdict *v)
{
	judge_file(path, 0, v);
}
