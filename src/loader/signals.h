/* SPDX-License-Identifier: MIT */
/*
 * loader/signals.h: the program's dispositions and masks, as system calls.
 *
 * SIGSYS is the loader's: the program's wish for it is kept and told, and carried out for a trap
 * that its own filter asks for. No mask holds it, since the kernel kills who is trapped and blocks it.
 */
#ifndef LOADER_SIGNALS_H
#define LOADER_SIGNALS_H

#include "loader/trap.h"

/* Before anything else: dispositions.c is told that it works below libc. */
void signals_init(void);
/* rt_sigaction() with our restorer: 0 or -errno. */
int signals_kernel_action(int sig, void (*handler)(int, siginfo_t *, void *), u64 flags, u64 mask);

enum fate signals_action(struct call *c);
enum fate signals_mask(struct call *c);
/*
 * rt_sigsuspend(), ppoll() and its kin: a call that waits with another mask, under which a handler may
 * run and make calls.
 */
enum fate signals_wait(struct call *c);
enum fate signals_return(struct call *c);
/* rt_sigtimedwait(): what is pending comes in its order. */
enum fate signals_take(struct call *c);
/*
 * The program's handler for such a SIGSYS and the mask that it begins with, or NULL after its default: death.
 * `outside': the mask of what was interrupted.
 */
void *signals_sys_handler(const siginfo_t *info, u64 outside, u64 *mask);

#endif
