/* SPDX-License-Identifier: MIT */
/*
 * vm/signals.h: the VMM's signals while one of its threads is in a call of ours.
 *
 * The VMM owns its signals. A signal that would have run one of its handlers while our code is in
 * the thread is kept: blocked, and queued again to this very thread with its siginfo, so that the
 * kernel delivers it at the edge of the call, with no lock held. If the call is KVM_RUN, that ends
 * the run. What only KVM_SET_SIGNAL_MASK had let in thus stays pending, as with the real device.
 *
 * One real-time signal is ours, for kicks. The preload installs the handlers, opens and closes the
 * calls and keeps the VMM's view of its dispositions (src/preload/).
 */
#ifndef VM_SIGNALS_H
#define VM_SIGNALS_H

#include <signal.h>
#include <ucontext.h>
#include "base/types.h"

#define SIGNALS_CANCEL 32 /* glibc's SIGCANCEL: ends a thread that is cancelled asynchronously */

struct vcpu;

/* The signal number kicks use; chosen once, from the top of the real-time range. */
int signals_kick_number(void);

/* Edge of KVM_RUN. `mask`: KVM_SET_SIGNAL_MASK's, or NULL. Not nested. */
void signals_run_begin(struct vcpu *v, const sigset_t *mask);
void signals_run_end(struct vcpu *v);
/* Is this thread between the two? */
bool signals_in_run(void);
/* Is there a signal to leave the run for? The vCPU's thread. */
bool signals_pending(void);

/*
 * Between the two, outside a run, what comes breaks off the guarded access that this thread is in:
 * for a call that waits for the host, asks signals_pending() and gives -EINTR. Not nested.
 */
void signals_wait_begin(void);
void signals_wait_end(void);

/* The call of the VMM's on this thread ends: nothing is kept any more. With all signals blocked. */
void signals_call_end(void);
/* The same call, on its own thread: it is to end at once, if it is a run. */
void signals_end_call(void);

/*
 * From a handler, in a call: keep this signal, blocked until the edge of the call restores the
 * mask. Not for those that guarded accesses raise. `blocked`: the VMM blocks it outside of the run,
 * so it stays pending.
 */
void signals_keep(int sig, siginfo_t *info, void *uc, bool blocked);
/* From a handler, in a call: what has come ends the run, if there is one. */
void signals_leave_run(void *uc);
/*
 * Break off a guarded access that the run on thread `tid` may be stuck in. Any thread; nothing is
 * sent where no run goes on, or while the kick before has not been taken.
 */
void signals_kick(struct vcpu *v, int tid);
/* Send our signal to a thread. False: there is no such thread, or no room for one more signal. */
bool signals_send_kick(int pid, int tid);
/* The kick signal's handler body. */
void signals_kicked(int sig, siginfo_t *info, void *uc);
/* In SIGTRAP's handler: is this one a kick? Then it has been taken. */
bool signals_kicked_instead(const siginfo_t *info, void *uc);

/* Told by signals_run_begin() what mask the VMM asked for, so that the preload can put its handler
 * under signals it lets in that the VMM left at their default. It gives back those that the VMM
 * ignores: they stay blocked (vm/quiet.h). NULL without a preload. Set once. */
extern u64 (*signals_let_in)(const sigset_t *mask);
/* Raw mask change that no interposition sees. */
int signals_raw_mask(int how, const sigset_t *set, sigset_t *old);

#endif
