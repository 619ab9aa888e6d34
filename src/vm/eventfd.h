/* SPDX-License-Identifier: MIT */
/*
 * vm/eventfd.h: the VMM's eventfds, held by descriptors of our own.
 *
 * KVM holds an eventfd's context, whatever becomes of the number it was named by; we hold a
 * duplicate, numbered high so that the VMM's next descriptors get the numbers they would get.
 * Two descriptors are the same eventfd when their ids are equal. Raw system calls: nothing here
 * is seen by our own interposition. Any thread; nothing sleeps.
 */
#ifndef VM_EVENTFD_H
#define VM_EVENTFD_H

#include "base/types.h"

/* The eventfd's id: -EBADF (no such descriptor), -EINVAL (not an eventfd), else 0. */
int eventfd_id(int fd, u64 *id);
/* A duplicate to keep, or -errno as above, -EMFILE. */
int eventfd_hold(int fd, u64 *id);
void eventfd_release(int held);
/* Add one to its counter, if there is room. Never blocks. */
void eventfd_signal(int held);
/* Take its counter; false when there was nothing. Never blocks. */
bool eventfd_take(int held);

/* Renumber a descriptor of our own out of the VMM's way. The new number; fd itself on failure. */
int eventfd_renumber(int fd);

#endif
