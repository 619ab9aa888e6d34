/* SPDX-License-Identifier: MIT */
/*
 * loader/direct.h: a program's KVM_RUN without a trap.
 *
 * A trap costs a signal and its return, several times what KVM_RUN costs by itself. Where a program makes
 * its ioctls by `mov $16, %eax; syscall' (glibc, musl), the `mov' becomes a jump to a gate: five bytes for
 * five, so no thread and no handler can stand within them, and the `syscall' stays where it is. The gate lets
 * a KVM_RUN through to trap_direct() (trap.S), and for all else does what the `mov' did and goes back.
 *
 * trap_direct() makes the call as a preloaded program's function call would: on the program's stack, with
 * its signals open until the window opens, on the thread's lent FS base. It makes only the call that this
 * thread has last made by a trap, the very same one, so every filter of the program's has let it through;
 * when a filter is installed, the next one is made by a trap again.
 */
#ifndef LOADER_DIRECT_H
#define LOADER_DIRECT_H

#include <stdbool.h>
#include "base/types.h"

struct call;

/* Once, as the process begins. */
void direct_init(void);
/* A trapped ioctl, before it is made. Where it is a KVM_RUN the thread's next one may come directly. */
void direct_note(struct call *c);
/* A filter has been installed: every thread is to make its next call by a trap. */
void direct_ask_again(void);
/*
 * The program is about to do something with [start, start + len) of its memory, where a gate may be: then
 * nobody goes there any more. The same for code that it `moves': a jump leads elsewhere from there.
 */
void direct_make_way(u64 start, u64 len, bool moves);
/*
 * How much of [start, start + len) lies before a page with a patched instruction, which is a copy: what
 * it would read again from a file must stay. Else len.
 */
u64 direct_before_copy(u64 start, u64 len);

#endif
