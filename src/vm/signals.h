/* SPDX-License-Identifier: MIT */
/*
 * vm/signals.h: the VMM's signals while one of its threads runs a vCPU.
 *
 * The VMM owns its signals. While a thread is between signals_run_begin() and signals_run_end(),
 * a signal that would have run one of the VMM's handlers is taken note of, kept blocked, and
 * makes the run end; signals_run_end() then queues it again to this very thread with its siginfo,
 * restores the mask, and the kernel delivers it at the edge of KVM_RUN, with no lock held. What
 * only KVM_SET_SIGNAL_MASK had let in thus stays pending, as with the real device.
 *
 * One real-time signal is ours, for kicks. The preload installs the handlers and keeps the VMM's
 * view of them (src/preload/); it calls signals_defer() and signals_kicked() from them.
 */
#ifndef VM_SIGNALS_H
#define VM_SIGNALS_H

#include <signal.h>
#include <ucontext.h>
#include "base/types.h"

struct vcpu;

/* The signal number kicks use; chosen once, from the top of the real-time range. */
int signals_kick_number(void);

/* Edge of KVM_RUN. `mask`: KVM_SET_SIGNAL_MASK's, or NULL. Not nested. */
void signals_run_begin(struct vcpu *v, const sigset_t *mask);
void signals_run_end(struct vcpu *v);
/* Is this thread between the two? */
bool signals_in_run(void);
/* Has a signal been deferred in this run? The vCPU's thread. */
bool signals_pending(void);

/* From a handler. True: this thread runs a vCPU and the signal was taken note of. */
bool signals_defer(int sig, siginfo_t *info, void *uc);
/* The kick signal's handler body. */
void signals_kicked(int sig, siginfo_t *info, void *uc);

/* Told by signals_run_begin() what mask the VMM asked for, so that the preload can put its handler
 * under signals it lets in that the VMM left at their default. NULL without a preload. Set once. */
extern void (*signals_let_in)(const sigset_t *mask);
/* Raw mask change that no interposition sees. */
int signals_raw_mask(int how, const sigset_t *set, sigset_t *old);

#endif
