/* SPDX-License-Identifier: MIT */
/*
 * vm/quiet.h: signals that a run lets in and the program ignores.
 *
 * A kernel's KVM_RUN ends with such a signal, which the thread blocks outside of the run: what is
 * blocked is not ignored, and stays pending. A handler of ours under it would break off the waits of
 * every thread, so here it stays blocked in the run, too, where the kernel keeps it; a thread of the
 * keeper's hears of it by a signalfd and has the runs look. One per process, started by the
 * first such run.
 *
 * A signalfd tells of what is sent to the process. What is sent to one thread is told by the hooks of
 * the calls that send it; from another process, or by a timer, it ends the next run.
 */
#ifndef VM_QUIET_H
#define VM_QUIET_H

#include "base/types.h"

struct vcpu;

/* On the vCPU's thread, with `set` blocked: from here on the run is told to look. May wait. */
void quiet_begin(struct vcpu *v, u64 set);
void quiet_end(struct vcpu *v);
/* Is any such run going on? Any thread. */
bool quiet_any(void);
/* A signal was sent to a thread of this process. Any thread. */
void quiet_sent(void);
void quiet_forked_child(void);

#endif
