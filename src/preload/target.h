/* SPDX-License-Identifier: MIT */
/*
 * preload/target.h: what a file that is to be executed is, through scripts to the program that runs.
 *
 * For whoever must know before exec how the program's calls will come to us: the exec hooks, the
 * loader and the command. Makes system calls only and allocates nothing.
 */
#ifndef PRELOAD_TARGET_H
#define PRELOAD_TARGET_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#define TARGET_LINE  256 /* BINPRM_BUF_SIZE: of the first line of a script */
#define TARGET_DEPTH 4	 /* scripts run by scripts */

/* What an ELF file says of itself. */
struct target_elf {
	bool foreign;		/* for another machine, or of 32 bits */
	bool go;		/* made by Go's toolchain, which makes system calls without libc */
	char loader[PATH_MAX];	/* its dynamic linker; empty: none */
};

struct target {
	int fd;		/* the program, open to read; the caller closes it */
	bool privileged; /* target_is_privileged() */
	struct target_elf elf;
	int scripts; /* how many lines below are used, the innermost first */
	struct {
		char interpreter[TARGET_LINE]; /* becomes argv[0] */
		char argument[TARGET_LINE];    /* empty: none */
	} line[TARGET_DEPTH];
	char script[PATH_MAX]; /* the innermost's own name */
};

/* As execveat() finds a file. 0, or -errno as it gives. */
int target_open(int dirfd, const char *path, int flags, struct target *t);
/*
 * The program's first arguments in the place of argv[0], if scripts lead to it: fills `out`, which has
 * room for TARGET_ARGUMENTS, and returns how many; 0: argv[0] stays.
 */
#define TARGET_ARGUMENTS (2 * TARGET_DEPTH + 1)
size_t target_arguments(const struct target *t, const char **out);

/*
 * The loader's own arguments, before the program's: its name, which says whether a filter is in force
 * already, and a word of three parts: the number of the open program file, or -1; the signal mask that
 * the program starts with, in hexadecimal, or nothing for the one there is; the path it is called by.
 */
#define TARGET_LOADER_ARGUMENTS 2
#define TARGET_LOADER_START	"userkvm-loader"
#define TARGET_LOADER_INSIDE	"userkvm-loader:inside"
#define TARGET_WORD_MAX		(PATH_MAX + 64)

/* An open file that begins as ELF does. */
void target_read_elf(int fd, struct target_elf *e);
/* Has this file more privilege than who executes it? Then no LD_PRELOAD counts (AT_SECURE). */
struct stat;
bool target_is_privileged(int fd, const struct stat *st);
/*
 * Does glibc's dynamic linker load it, or is it that, and does it go through glibc for its system
 * calls? Then a preloaded library reaches it. `path`: what target_open() was called with.
 */
bool target_is_preloadable(const struct target *t, const char *path);
/* Is the open file the one of this path? */
bool target_is_file(int fd, const char *path);
/* The name of glibc's dynamic linker. */
#define TARGET_GLIBC_LOADER "ld-linux-x86-64.so.2"

#endif
