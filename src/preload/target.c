/* SPDX-License-Identifier: MIT */
#include "preload/target.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include "base/types.h"
#include "preload/raw.h"

#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif

#define MAX_SECTIONS 256 /* looked at; compilers make a few dozen */

/* ------------------------------------------------------------------ ELF */

static bool read_exactly(int fd, void *to, size_t n, u64 at)
{
	return raw4(SYS_pread64, fd, to, n, at) == (long)n;
}

/* Go's linker leaves a note with its build's id, whose owner is "Go". */
static bool has_go_note(int fd, const Elf64_Phdr *p)
{
	u64 at = p->p_offset, end = at + p->p_filesz;
	struct {
		Elf64_Nhdr header;
		char name[4];
	} n;

	for (; at < end && read_exactly(fd, &n, sizeof(n), at);
	     at += sizeof(n.header) + ALIGN_UP((u64)n.header.n_namesz, 4) +
		   ALIGN_UP((u64)n.header.n_descsz, 4)) {
		if (n.header.n_namesz == sizeof(n.name) && !memcmp(n.name, "Go\0", sizeof(n.name)))
			return true;
	}
	return false;
}

/*
 * Built with an empty id there is no note, but the runtime's table of functions, which strip(1) leaves.
 * A position-independent program has it in another section.
 */
static bool is_go_section(const char *name)
{
	return !strcmp(name, ".gopclntab") || !strcmp(name, ".data.rel.ro.gopclntab") ||
	       !strcmp(name, ".go.buildinfo");
}

static bool has_go_section(int fd, const Elf64_Ehdr *e)
{
	char name[sizeof(".data.rel.ro.gopclntab")];
	Elf64_Shdr s, names;

	if (e->e_shentsize != sizeof(s) ||
	    !read_exactly(fd, &names, sizeof(names), e->e_shoff + (u64)e->e_shstrndx * sizeof(s)))
		return false;
	for (int i = 1; i < e->e_shnum && i < MAX_SECTIONS; i++) {
		long n;

		if (!read_exactly(fd, &s, sizeof(s), e->e_shoff + (u64)i * sizeof(s)))
			return false;
		n = raw4(SYS_pread64, fd, name, sizeof(name) - 1, names.sh_offset + s.sh_name);
		name[n > 0 ? n : 0] = '\0';
		if (is_go_section(name))
			return true;
	}
	return false;
}

/* False: the file lies about it. */
static bool read_string(int fd, const Elf64_Phdr *p, char *out, size_t size)
{
	if (p->p_filesz == 0 || p->p_filesz > size || !read_exactly(fd, out, p->p_filesz, p->p_offset))
		return false;
	out[p->p_filesz - 1] = '\0';
	return true;
}

void target_read_elf(int fd, struct target_elf *out)
{
	Elf64_Ehdr e;

	memset(out, 0, sizeof(*out));
	out->foreign = !read_exactly(fd, &e, sizeof(e), 0) || e.e_ident[EI_CLASS] != ELFCLASS64 ||
		       e.e_machine != EM_X86_64;
	for (int i = 0; !out->foreign && i < e.e_phnum; i++) {
		u64 at = e.e_phoff + (u64)i * sizeof(Elf64_Phdr);
		Elf64_Phdr p;

		if (!read_exactly(fd, &p, sizeof(p), at))
			return;
		if (p.p_type == PT_INTERP && !read_string(fd, &p, out->loader, sizeof(out->loader)))
			return;
		if (p.p_type == PT_NOTE && has_go_note(fd, &p))
			out->go = true;
	}
	if (!out->foreign && !out->go && *out->loader)
		out->go = has_go_section(fd, &e);
}

static bool is_glibc_loader(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !strcmp(slash ? slash + 1 : path, TARGET_GLIBC_LOADER);
}

bool target_is_preloadable(const struct target *t, const char *path)
{
	if (t->scripts)
		path = t->line[t->scripts - 1].interpreter;
	return !t->elf.foreign && !t->elf.go &&
	       (is_glibc_loader(t->elf.loader) || is_glibc_loader(path));
}

bool target_is_file(int fd, const char *path)
{
	struct stat a, b;

	return raw2(SYS_fstat, fd, &a) == 0 && raw4(SYS_newfstatat, AT_FDCWD, path, &b, 0) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Other ids than the caller's real ones are what makes the kernel and ld.so wary. */
static bool changes_ids(const struct stat *st)
{
	bool gid = (st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);

	return (st->st_mode & S_ISUID && st->st_uid != (uid_t)raw0(SYS_getuid)) ||
	       (gid && st->st_gid != (gid_t)raw0(SYS_getgid));
}

bool target_is_privileged(int fd, const struct stat *st)
{
	bool capabilities = raw0(SYS_getuid) != 0 && /* root has them all */
			    raw4(SYS_fgetxattr, fd, "security.capability", NULL, 0) > 0;

	return (changes_ids(st) || capabilities) &&
	       raw5(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

/* ------------------------------------------------------------------ a file to execute */

/* A regular file that may be executed, open to read. */
static int open_executable(int dirfd, const char *path, int flags)
{
	int at = flags & (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
	bool of_fd = (flags & AT_EMPTY_PATH) && !*path;
	char link[64];
	struct stat st;
	long r, fd;

	r = raw4(SYS_newfstatat, dirfd, path, &st, at);
	if (r < 0)
		return (int)r;
	if (!S_ISREG(st.st_mode))
		return S_ISLNK(st.st_mode) ? -ELOOP : -EACCES;
	r = raw4(SYS_faccessat2, dirfd, path, 1 /* X_OK */, at | AT_EACCESS);
	if (r < 0)
		return (int)r;
	if (of_fd) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
		dirfd = AT_FDCWD, path = link;
	}
	fd = raw4(SYS_openat, dirfd, path, O_RDONLY | O_CLOEXEC, 0);
	return (int)fd;
}

/* `#!interpreter argument` */
static int parse_line(struct target *t, char *line, const char *path)
{
	int i = t->scripts;
	char *end = line + strcspn(line, "\n"), *name, *arg;

	if (i == TARGET_DEPTH)
		return -ELOOP;
	*end = '\0';
	while (end > line && strchr(" \t\r", end[-1]))
		*--end = '\0';
	name = line + strspn(line, " \t");
	if (!*name)
		return -ENOEXEC;
	arg = name + strcspn(name, " \t");
	if (*arg)
		*arg++ = '\0';
	arg += strspn(arg, " \t");
	strcpy(t->line[i].interpreter, name);
	strcpy(t->line[i].argument, arg);
	if (i == 0)
		strcpy(t->script, path);
	t->scripts++;
	return 0;
}

/* 0: it is the program; 1: a script, whose line has been taken. */
static int look(struct target *t, const char *path)
{
	char head[TARGET_LINE + 1];
	long n = raw4(SYS_pread64, t->fd, head, TARGET_LINE, 0);
	struct stat st;
	int r;

	if (n < 0)
		return (int)n;
	head[n] = '\0';
	if (n > 2 && head[0] == '#' && head[1] == '!') {
		r = parse_line(t, head + 2, path);
		return r ? r : 1;
	}
	if (n < (long)sizeof(Elf32_Ehdr) || memcmp(head, ELFMAG, SELFMAG))
		return -ENOEXEC;
	r = (int)raw2(SYS_fstat, t->fd, &st);
	if (r)
		return r;
	t->privileged = target_is_privileged(t->fd, &st);
	target_read_elf(t->fd, &t->elf);
	return 0;
}

int target_open(int dirfd, const char *path, int flags, struct target *t)
{
	char named[PATH_MAX];
	int r;

	t->scripts = 0;
	/* how a script of a descriptor is named to its interpreter */
	if (*path == '/' || dirfd == AT_FDCWD)
		snprintf(named, sizeof(named), "%s", path);
	else
		snprintf(named, sizeof(named), "/dev/fd/%d%s%.4000s", dirfd, *path ? "/" : "",
			 path);
	for (;;) {
		t->fd = open_executable(dirfd, path, flags);
		if (t->fd < 0)
			return t->fd;
		r = look(t, named);
		if (r <= 0)
			break;
		raw1(SYS_close, t->fd);
		path = t->line[t->scripts - 1].interpreter;
		snprintf(named, sizeof(named), "%s", path);
		dirfd = AT_FDCWD, flags = 0;
	}
	if (r < 0)
		raw1(SYS_close, t->fd);
	return r;
}

size_t target_arguments(const struct target *t, const char **out)
{
	size_t n = 0;

	for (int i = t->scripts - 1; i >= 0; i--) {
		out[n++] = t->line[i].interpreter;
		if (*t->line[i].argument)
			out[n++] = t->line[i].argument;
	}
	if (t->scripts)
		out[n++] = t->script;
	return n;
}
