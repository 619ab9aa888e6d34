/* SPDX-License-Identifier: MIT */
/*
 * vm/keeper.h: a thread whose table of descriptors is not the VMM's.
 *
 * What is open there has no number in the VMM's table: no close(), dup2() or close_range() of its
 * reaches it, and it counts in none of its limits. Threads the keeper starts share its table. One
 * per process; started when a guest first runs, and there until the process ends.
 */
#ifndef VM_KEEPER_H
#define VM_KEEPER_H

#include "base/types.h"

/* Start it. 0 or -errno. Idempotent; not from the keeper's threads. */
int keeper_start(void);
bool keeper_started(void);
/* Run fn on the keeper's thread and wait for it. Its result. Sleeps. */
long keeper_call(long (*fn)(void *arg), void *arg);
/* From any thread, without waiting: have `idle` (keeper_on_wake()) called soon. */
void keeper_wake(void);
/* False from it: call it again once the calls that wait have been made. */
void keeper_on_wake(bool (*idle)(void));
/* The thread's id, for kcmp(). */
int keeper_tid(void);
/* Is the calling thread one that has the keeper's table? Set by who starts one there. */
extern __thread bool keeper_table __attribute__((tls_model("initial-exec")));
/* On such a thread: a duplicate of the VMM's descriptor `fd`. Its number, or -errno. */
int keeper_fetch(int fd);
void keeper_forked_child(void);

#endif
