/* SPDX-License-Identifier: MIT */
/*
 * cli/target.c: finding an executable, and telling whether LD_PRELOAD can reach it.
 *
 * The dynamic loader reads LD_PRELOAD, so a program without one (static) and one whose loader
 * is told to distrust the user (setuid, setgid, file capabilities) cannot be given /dev/kvm.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include "cli/cli.h"

#define MAX_SCRIPT_DEPTH 5   /* the kernel's own bound is about the same */
#define MAX_SCRIPT_LINE	 256 /* BINPRM_BUF_SIZE */
#define GLIBC_LOADER	 "ld-linux-x86-64.so.2"

static int refuse(char *why, size_t size, const char *sentence)
{
	snprintf(why, size, "%s", sentence);
	return CLI_CANNOT_EXEC;
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

/* The loader that PT_INTERP names; false: there is none, or the file lies about it. */
static bool read_loader(int fd, const Elf64_Ehdr *e, char *out, size_t size)
{
	for (int i = 0; i < e->e_phnum; i++) {
		off_t at = (off_t)(e->e_phoff + (Elf64_Off)i * sizeof(Elf64_Phdr));
		Elf64_Phdr p;

		if (pread(fd, &p, sizeof(p), at) != sizeof(p))
			return false;
		if (p.p_type != PT_INTERP)
			continue;
		if (p.p_filesz == 0 || p.p_filesz > size ||
		    pread(fd, out, p.p_filesz, (off_t)p.p_offset) != (ssize_t)p.p_filesz)
			return false;
		out[p.p_filesz - 1] = '\0';
		return true;
	}
	return false;
}

static int check_elf(int fd, const char *path, char *why, size_t size)
{
	char loader[PATH_MAX];
	Elf64_Ehdr e;

	if (pread(fd, &e, sizeof(e), 0) < (ssize_t)sizeof(Elf32_Ehdr) ||
	    e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_machine != EM_X86_64)
		return refuse(
			why, size,
			"is not an x86-64 executable, and userkvm's library is for x86-64 "
			"programs only");
	if (read_loader(fd, &e, loader, sizeof(loader))) {
		if (!strcmp(base_name(loader), GLIBC_LOADER))
			return 0;
		snprintf(why, size,
			 "is linked to another C library than glibc (its loader is %s), for "
			 "which "
			 "userkvm's library is not built",
			 loader);
		return CLI_CANNOT_EXEC;
	}
	/* the loader itself may be called as a command and preloads what it then loads */
	if (!strcmp(base_name(path), GLIBC_LOADER))
		return 0;
	return refuse(
		why, size,
		"is statically linked, so no library can be loaded into it; userkvm needs a "
		"dynamically linked program");
}

static int check_file(const char *path, int depth, char *why, size_t size);

/* `#!interpreter argument` */
static int check_script(const char *line, int depth, char *why, size_t size)
{
	char interpreter[MAX_SCRIPT_LINE + 1], reason[PATH_MAX + 256];
	size_t n;
	int r;

	line += strspn(line, " \t");
	n = strcspn(line, " \t\n");
	if (n == 0 || depth >= MAX_SCRIPT_DEPTH)
		return 0; /* the kernel's to refuse */
	snprintf(interpreter, sizeof(interpreter), "%.*s", (int)n, line);
	if (access(interpreter, F_OK))
		return refuse(why, size, "is a script whose interpreter does not exist");
	r = check_file(interpreter, depth + 1, reason, sizeof(reason));
	if (r)
		snprintf(why, size, "is a script, and its interpreter %s %s", interpreter,
			 reason);
	return r;
}

static int check_open_file(int fd, const char *path, int depth, char *why, size_t size)
{
	char head[MAX_SCRIPT_LINE + 1];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st))
		return 0;
	if (S_ISDIR(st.st_mode))
		return refuse(why, size, "is a directory");
	n = pread(fd, head, sizeof(head) - 1, 0);
	if (n < 0)
		return 0;
	head[n] = '\0';
	/* a script's own bits do not count, its interpreter's do */
	if (n >= 2 && head[0] == '#' && head[1] == '!')
		return check_script(head + 2, depth, why, size);
	if (st.st_mode & S_ISUID || (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		return refuse(why, size,
			      "is a setuid or setgid program, for which the loader ignores "
			      "LD_PRELOAD; run what it starts under userkvm instead");
	if (fgetxattr(fd, "security.capability", NULL, 0) > 0)
		return refuse(why, size,
			      "has file capabilities, for which the loader ignores LD_PRELOAD; "
			      "remove them (setcap -r) or run a copy");
	if (n >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG))
		return check_elf(fd, path, why, size);
	return 0; /* a shell script without #!, or nothing at all: exec decides */
}

static int check_file(const char *path, int depth, char *why, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	/* executable and unreadable: no way to look, and the loader will */
	if (fd < 0)
		return 0;
	r = check_open_file(fd, path, depth, why, size);
	close(fd);
	return r;
}

int target_check(const char *path, char *why, size_t size)
{
	return check_file(path, 0, why, size);
}
