/* SPDX-License-Identifier: MIT */
/*
 * loader/exec.h: the program that a process becomes, which is always run by the loader: the filter
 * outlives exec, and nobody else knows what to do with its traps.
 */
#ifndef LOADER_EXEC_H
#define LOADER_EXEC_H

#include "loader/trap.h"

/* Where the loader itself is, for later; and what program this is. */
void exec_init(int program_fd);
/* The program's own file, as /proc/self/exe is to name it; empty: not known. */
const char *exec_program(void);

enum fate exec_handle(struct call *c);

#endif
