/* SPDX-License-Identifier: MIT */
/*
 * preload/outside.h: programs that load no library: static ones, another libc's, Go's. When a preloaded
 * process executes one, the loader runs it (src/loader), so that it does not get the machine's own
 * device without a word. What neither way reaches is executed as it is, and that is said on standard
 * error: one of 32 bits, and one with more privilege than its caller.
 *
 * Runs in vfork children: no allocation, no locks.
 */
#ifndef PRELOAD_OUTSIDE_H
#define PRELOAD_OUTSIDE_H

#include "base/types.h"
#include "preload/target.h"

/* A program for the loader: what is executed in its place. */
struct outside {
	struct target t;
	const char *loader;
	bool itself; /* the loader, started by `userkvm run`: its arguments are right */
	bool refused; /* nobody reaches it, and a device is there that it would get: EACCES */
	char word[TARGET_WORD_MAX];
	char **argv, **envp; /* outside_fill() */
};

/*
 * As the library is loaded, from `own_path`. `by_environment`: a child has it from LD_PRELOAD, else from
 * /etc/ld.so.preload.
 */
void outside_init(const char *own_path, bool by_environment);
/* On standard error: "userkvm: PATH: WHAT". */
void outside_say(const char *path, const char *what);
/*
 * Is it such a program, or one to refuse? `keep`: its descriptor stays open, for an exec that follows at once and fails
 * or not; else it is found by its path again.
 */
bool outside_find(int dirfd, const char *path, int flags, bool keep, struct outside *o);
/* The same for a file that is looked for in PATH. */
bool outside_search(const char *file, bool keep, struct outside *o);
/* Bytes that outside_fill() wants. */
size_t outside_room(char *const argv[], char *const envp[]);
/* `ignored`: of dispositions_ignored(). */
void outside_fill(struct outside *o, char *const argv[], char *const envp[], u64 ignored, void *room);

#endif
