/* SPDX-License-Identifier: MIT */
/*
 * vm/requeue.h: signals that were taken from the kernel at a moment when they may not be handled,
 * put back into the thread's queue.
 *
 * The kernel puts at the tail what it is given. Real-time signals of one number have an order,
 * so what is put back goes as a marker, and what it stood for is remembered as ahead of all that
 * the kernel still holds. Whoever takes a signal of that number then asks what is due: the oldest,
 * in exchange for what was taken. A marker carries the whole signal, so that one who takes it
 * without asking (signalfd) misses nothing but the order.
 *
 * Everything here is the calling thread's, async-signal-safe, and takes no lock.
 */
#ifndef VM_REQUEUE_H
#define VM_REQUEUE_H

#include <signal.h>
#include "base/types.h"

/* Put it back, to this thread. The signal is blocked. */
void requeue_to_thread(int sig, const siginfo_t *info);
/* Put it back to whom it was sent: this thread, or all of the process. The signal is blocked. */
void requeue_to_addressee(int sig, const siginfo_t *info);
/* `info` was just taken from the kernel: make it the one that is due. */
void requeue_due(int sig, siginfo_t *info);
/* The VMM has made the kernel drop all signals of this number, in every thread. */
void requeue_dropped(int sig);
/* In a forked child: nothing is pending. */
void requeue_forked_child(void);

#endif
