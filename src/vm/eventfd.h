/* SPDX-License-Identifier: MIT */
/*
 * vm/eventfd.h: the VMM's eventfds, held.
 *
 * KVM holds an eventfd's context, whatever becomes of the number it was named by, and uses up no
 * number for it. We hold it by a descriptor in a table of descriptors of our own (vm/keeper.h),
 * where nothing the VMM does with numbers reaches it. Signalling still goes by the VMM's own
 * number, without a hop to another thread, while that number means the same file; when it does not,
 * the keeper signals.
 *
 * Until there is a keeper (before a guest first runs) the VMM's number is all there is, and
 * eventfds_closing() tells when it goes.
 *
 * Raw system calls: nothing here is seen by our own interposition. Any thread.
 */
#ifndef VM_EVENTFD_H
#define VM_EVENTFD_H

#include "base/types.h"

struct eventfd;

/* Hold fd: 0; -EBADF: no such descriptor; -EINVAL: not an eventfd; -ENOMEM. */
int eventfd_hold(int fd, struct eventfd **out);
/* Nobody signals it any more. */
void eventfd_release(struct eventfd *e);
/* Is it the one that fd names? fd has been checked. */
bool eventfd_is(const struct eventfd *e, int fd);
/* As eventfd_hold() answers, without holding it. */
int eventfd_check(int fd);
/* Add one to its counter, if there is room. Never blocks; may leave it to the keeper. */
void eventfd_signal(struct eventfd *e);
/* What was left to the keeper has been done when this returns. Not in a read side of RCU. */
void eventfds_settle(void);

/* On a thread of the keeper's: its number there, for epoll. -1: it could not be had. */
int eventfd_kept(const struct eventfd *e);
/* Take its counter; false when there was nothing. Waits for the keeper at most. */
bool eventfd_take(struct eventfd *e);

/* False: no eventfd that is held had this number. */
bool eventfds_may_hold(int fd);
/* A guest is about to run: hand what is held over to the keeper. 0 or -errno. Idempotent. */
int eventfds_start(void);
/* The VMM is about to close these numbers. Returns when nobody uses them any more. */
void eventfds_closing(unsigned first, unsigned last);
/* The VMM may have taken O_NONBLOCK from a descriptor, which may be an eventfd's that is held. */
void eventfds_flags_changed(void);
void eventfds_forked_child(void);

#endif
