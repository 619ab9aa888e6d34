/* SPDX-License-Identifier: MIT */
/*
 * preload/mask.c: a thread's signal mask while our code runs in it.
 *
 * The kernel's mask of a thread is the VMM's own, always, so that sigwait, signalfd, ppoll,
 * sigsuspend, siglongjmp and inheritance mean what they mean without us. It differs only in a
 * window: while a call of the VMM's is carried out by our code, the signals that guarded
 * accesses raise are open, and so is the kick. No handler of the VMM's runs inside a window,
 * where locks may be held: what arrives is kept (vm/signals.h; those five here, since they must
 * stay open) and delivered when the window closes, as at the edge of a system call.
 */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include "preload/preload.h"
#include "vm/signals.h"

#define STASH_SIZE 5 /* one of each synchronous signal: standard ones do not queue */

static __thread struct {
	bool open;
	bool has_inner;
	u64 outer;
	u64 inner; /* KVM_SET_SIGNAL_MASK's for the run that goes on in it */
	int stashed;
	siginfo_t stash[STASH_SIZE];
} window __attribute__((tls_model("initial-exec")));

static u64 synchronous(void)
{
	return sig_bit(SIGSEGV) | sig_bit(SIGBUS) | sig_bit(SIGFPE) | sig_bit(SIGILL) |
	       sig_bit(SIGTRAP);
}

bool mask_is_synchronous(int sig)
{
	return sig_bit(sig) & synchronous();
}

static u64 opened_signals(void)
{
	return synchronous() | sig_bit(signals_kick_number());
}

/*
 * The window stands before the call that opens it: a signal in between finds an outer mask of
 * nothing, which is right, since what the VMM blocks is still really blocked.
 */
void mask_enter(struct mask_window *w)
{
	u64 set = opened_signals();

	w->nested = window.open;
	if (w->nested)
		return;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &w->cancel_state);
	signals_call_begin();
	window.outer = 0;
	window.has_inner = false;
	window.stashed = 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	window.open = true;
	raw4(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, &window.outer, 8);
	cancel_window_opened(w->cancel_state);
}

void mask_forked_child(void)
{
	window.stashed = 0; /* what was sent to the parent */
}

/* Back to where it was sent: to the thread, or to whichever thread of the process takes it. */
static void queue_again(siginfo_t *info)
{
	bool to_thread = info->si_code == SI_TKILL || info->si_code > 0;

	if (to_thread)
		raw4(SYS_rt_tgsigqueueinfo, raw0(SYS_getpid), raw0(SYS_gettid), info->si_signo,
		     info);
	else
		raw3(SYS_rt_sigqueueinfo, raw0(SYS_getpid), info->si_signo, info);
}

void mask_leave(struct mask_window *w)
{
	u64 close_again;

	if (w->nested)
		return;
	close_again = window.outer & opened_signals();
	if (unlikely(close_again))
		raw4(SYS_rt_sigprocmask, SIG_BLOCK, &close_again, 0, 8);
	window.open = false;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	/* here the VMM's handlers of what was kept run */
	if (unlikely(signals_kept()))
		raw4(SYS_rt_sigprocmask, SIG_SETMASK, &window.outer, 0, 8);
	while (unlikely(window.stashed))
		queue_again(&window.stash[--window.stashed]);
	cancel_window_closed(w->cancel_state);
}

u64 mask_of_helpers(void)
{
	return ~synchronous();
}

bool mask_outer(u64 *mask)
{
	if (!window.open)
		return false;
	*mask = window.outer;
	return true;
}

void mask_set_inner(u64 mask)
{
	window.inner = mask;
	window.has_inner = true;
}

bool mask_view(u64 *mask)
{
	if (!mask_outer(mask))
		return false;
	if (window.has_inner && signals_in_run())
		*mask = window.inner;
	return true;
}

void mask_stash(int sig, const siginfo_t *info)
{
	/* A standard signal that is already pending is not queued a second time. */
	for (int i = 0; i < window.stashed; i++) {
		if (window.stash[i].si_signo == sig)
			return;
	}
	if (window.stashed < STASH_SIZE)
		window.stash[window.stashed++] = *info;
}
