/* SPDX-License-Identifier: MIT */
/*
 * loader/process.h: threads and processes that the program makes, and programs that it becomes.
 */
#ifndef LOADER_PROCESS_H
#define LOADER_PROCESS_H

#include "loader/trap.h"

/* clone(), in all its meanings, and fork(). */
enum fate process_clone(struct call *c);
enum fate process_fork(struct call *c);
/* exit() of one thread. */
enum fate process_exit(struct call *c);

#endif
