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
/* setuid() and its kin: our own threads do as the program's. */
enum fate process_credentials(struct call *c);
void process_init(void);
/* exit() of one thread. */
enum fate process_exit(struct call *c);

#endif
