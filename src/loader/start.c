/* SPDX-License-Identifier: MIT */
/*
 * loader/start.c: from our libraries' main() to the program's first instruction. The program stands
 * on the process's own stack, which the kernel made for both: only the loader's two arguments are
 * taken from it, and the auxiliary vector says what exec would have said.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "loader/direct.h"
#include "loader/exec.h"
#include "loader/filter.h"
#include "loader/image.h"
#include "loader/lend.h"
#include "loader/loader.h"
#include "loader/process.h"
#include "loader/signals.h"
#include "loader/trap.h"
#include "preload/preload.h"
#include "preload/target.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1 << 1)
#endif

_Static_assert(TARGET_LOADER_ARGUMENTS % 2 == 0, "the stack stays aligned");

extern void trap_start(u64 *stack, u64 entry) HIDDEN __attribute__((noreturn));

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fputs("userkvm: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	_exit(LOADER_FAILED);
}

/* ------------------------------------------------------------------ arguments */

struct start {
	int fd;
	u64 mask;
	const char *path;
	bool inside; /* a filter is in force */
};

static void parse(char **argv, struct start *s)
{
	char *end;

	if (!argv[0] || !argv[1])
		fail("the loader is started by `userkvm run'");
	s->inside = !strcmp(argv[0], TARGET_LOADER_INSIDE);
	s->fd = (int)strtol(argv[1], &end, 10);
	raw4(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &s->mask, 8);
	if (*end == ',' && end[1] != ',')
		s->mask = strtoull(end + 1, &end, 16);
	else if (*end)
		end++;
	if (*end != ',')
		fail("the loader is started by `userkvm run'");
	s->path = end + 1;
}

/* ------------------------------------------------------------------ the program in memory */

static int open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail("%s: %s", path, strerror(errno));
	return fd;
}

static void map(const struct start *s, struct image *program, struct image *linker)
{
	int r = image_map(s->fd, 0, program), fd;

	if (r)
		fail("%s: cannot be loaded: %s", s->path, strerror(-r));
	close(s->fd);
	*linker = (struct image){0};
	if (!*program->interpreter)
		return;
	fd = open_file(program->interpreter);
	r = image_map(fd, 0, linker);
	if (r)
		fail("%s: cannot be loaded: %s", program->interpreter, strerror(-r));
	close(fd);
}

static void patch(u64 *aux, const struct start *s, const struct image *program,
		  const struct image *linker)
{
	for (; *aux; aux += 2) {
		switch (aux[0]) {
		case AT_PHDR:
			aux[1] = program->phdr;
			break;
		case AT_PHNUM:
			aux[1] = program->phnum;
			break;
		case AT_ENTRY:
			aux[1] = program->entry;
			break;
		case AT_BASE:
			aux[1] = linker->bias;
			break;
		case AT_EXECFN:
			aux[1] = (u64)s->path;
			break;
		}
	}
}

/* The vector without the loader's arguments. */
static u64 *program_stack(u64 *sp, const struct start *s, const struct image *program,
			  const struct image *linker)
{
	u64 *aux = sp + 1 + sp[0] + 1;

	while (*aux++)
		;
	patch(aux, s, program, linker);
	sp[TARGET_LOADER_ARGUMENTS] = sp[0] - TARGET_LOADER_ARGUMENTS;
	return sp + TARGET_LOADER_ARGUMENTS;
}

/*
 * Our libc's environment. The strings are the program's, which may write over them (to change the name that
 * ps shows) when we look for a variable of ours.
 */
static void keep_environment(void)
{
	for (char **e = environ; *e; e++) {
		char *copy = strdup(*e);

		if (!copy)
			fail("no memory");
		*e = copy;
	}
}

/* As the kernel names a process. */
static void name_process(const char *path)
{
	const char *slash = strrchr(path, '/');

	prctl(PR_SET_NAME, slash ? slash + 1 : path, 0, 0, 0);
}

EXPORT int loader_main(void)
{
	u64 *sp = loader_handover->stack;
	struct image program, linker;
	struct start s = {0};
	int r;

	raw5(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0);
	if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE))
		fail("this processor or kernel has no FSGSBASE, which programs below libc need");
	parse((char **)(sp + 1), &s);
	if (s.fd < 0)
		s.fd = open_file(s.path);
	keep_environment();
	exec_init(s.fd);
	name_process(s.path);
	map(&s, &program, &linker);
	preload_below_libc();
	signals_init();
	process_init();
	r = lend_first();
	if (r)
		fail("cannot lend a thread: %s", strerror(-r));
	direct_init();
	descriptors_inherited();
	trap_install();
	if (!s.inside && (r = filter_install()))
		fail("cannot install a system-call filter: %s", strerror(-r));
	sp = program_stack(sp, &s, &program, &linker);
	s.mask &= ~sig_bit(SIGSYS);
	raw4(SYS_rt_sigprocmask, SIG_SETMASK, &s.mask, 0, 8);
	trap_start(sp, linker.entry ? linker.entry : program.entry);
}
