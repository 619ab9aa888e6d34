/* SPDX-License-Identifier: MIT */
/*
 * base/identity.h: which process and which thread this is, by a system call only where that has
 * changed since the last time.
 *
 * A page of ours is cleared by the kernel in every child that gets a copy of the memory, whoever makes
 * it and however (MADV_WIPEONFORK). What was found out is written there. A vfork() child has the
 * memory and not a copy: it is the process and the thread that made it, as KVM, which looks at
 * the memory, has it too.
 *
 * Any thread, any handler; nothing here sleeps or takes a lock.
 */
#ifndef BASE_IDENTITY_H
#define BASE_IDENTITY_H

#include "base/types.h"

/* The process whose memory this is. */
int identity_process(void);
/* The calling thread. */
int identity_thread(void);
/* The calling thread has the variables of another, which has ended. */
void identity_thread_changed(void);

#endif
