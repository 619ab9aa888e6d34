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
#include <ucontext.h>
#include <unistd.h>
#include "base/thread.h"
#include "preload/preload.h"
#include "vm/requeue.h"
#include "vm/signals.h"

#define STASH_SIZE 5 /* one of each synchronous signal: standard ones do not queue */

/* No window: no mask of the kernel's has the bits of SIGKILL and SIGSTOP. */
#define CLOSED (~0ULL)

/*
 * Where a signal could be mishandled, and why it is not.
 *
 * - A window is opened by the very system call that changes the mask: the kernel writes `outer`
 *   before it delivers anything. Before that call nothing of ours is open, after it everything is.
 * - Whatever else a window changes in the thread is changed inside of it, where none of the VMM's
 *   handlers run. It is put back inside of it, too: a handler that leaves by siglongjmp() leaves
 *   nothing of ours behind.
 * - A window in which nothing came is closed by a look at `came` and a store. A handler that
 *   interrupts between the two has the look made again (mask_came()).
 * - One in which something came is closed with all signals blocked, and the last thing done is
 *   the call that puts the VMM's mask back. The VMM's handlers run at its end.
 */
static __thread struct {
	u64 outer; /* the mask outside; or CLOSED */
	u32 came;  /* set by handlers: the window is to be closed with care */
	int cancel_state;
	bool has_inner;
	u64 inner; /* KVM_SET_SIGNAL_MASK's for the run that goes on in it */
	int stashed;
	siginfo_t stash[STASH_SIZE];
} window __attribute__((tls_model("initial-exec"))) = {.outer = CLOSED};

static const u64 all_signals = ~0ULL;

__thread const u64 *mask_of_call;

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

static bool is_open(void)
{
	return window.outer != CLOSED;
}

void mask_enter(struct mask_window *w)
{
	u64 set = opened_signals(), now = 0;

	w->error = errno;
	w->nested = is_open();
	if (w->nested)
		return;
	if (mask_of_call) {
		/* all is blocked so far: nothing comes before the flag "open" stands */
		window.outer = *mask_of_call;
		now = window.outer & ~set;
		raw4(SYS_rt_sigprocmask, SIG_SETMASK, &now, 0, 8);
	} else if (likely(!cancel_subject())) {
		raw4(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, &window.outer, 8);
	} else {
		/* and what would end this thread at any instruction stays away, in the same call */
		raw4(SYS_rt_sigprocmask, SIG_BLOCK, 0, &now, 8);
		now = (now & ~set) | sig_bit(SIGNALS_CANCEL);
		raw4(SYS_rt_sigprocmask, SIG_SETMASK, &now, &window.outer, 8);
	}
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &window.cancel_state);
	cancel_window_opened(window.cancel_state);
}

void mask_forked_child(void)
{
	window.stashed = 0; /* what was sent to the parent */
	requeue_forked_child();
}

/* From a handler: something came. Interrupted between look and store, close_quiet() looks anew. */
static void note_came(void *context)
{
	extern const char mask_close_look[] __attribute__((visibility("hidden")));
	extern const char mask_close_done[] __attribute__((visibility("hidden")));
	ucontext_t *uc = context;
	u64 rip = (u64)uc->uc_mcontext.gregs[REG_RIP];

	window.came = 1;
	if (rip >= (u64)mask_close_look && rip < (u64)mask_close_done)
		uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(u64)mask_close_look;
}

/* Close the window unless something came in it. One copy: its labels are global. */
__attribute__((noinline, noclone)) static bool close_quiet(void)
{
	u8 quiet = 0;

	asm volatile("mask_close_look:\n"
		     "\tcmpl $0, %[came]\n"
		     "\tjne mask_close_done\n"
		     "\tmovq $-1, %[outer]\n"
		     "mask_close_done:\n"
		     : [outer] "+m"(window.outer)
		     : [came] "m"(window.came)
		     : "memory", "cc");
	quiet = !is_open();
	return quiet;
}

/* What is delivered here may leave by any way: nothing of ours is open any more. */
static void close_with_care(void)
{
	u64 outer = window.outer;

	raw4(SYS_rt_sigprocmask, SIG_SETMASK, &all_signals, 0, 8);
	while (window.stashed) {
		siginfo_t *info = &window.stash[--window.stashed];

		requeue_to_addressee(info->si_signo, info);
	}
	signals_call_end();
	window.has_inner = false;
	window.came = 0;
	window.outer = CLOSED;
	if (!mask_of_call)
		raw4(SYS_rt_sigprocmask, SIG_SETMASK, &outer, 0, 8);
}

void mask_leave(struct mask_window *w)
{
	int state = window.cancel_state;
	u64 close_again;
	bool cancelled;

	errno = w->error;
	if (w->nested)
		return;
	cancelled = cancel_window_closing(state);
	close_again = window.outer & opened_signals();
	if (cancel_subject() || mask_of_call) {
		close_with_care();
	} else {
		window.has_inner = false;
		if (unlikely(close_again))
			raw4(SYS_rt_sigprocmask, SIG_BLOCK, &close_again, 0, 8);
		if (unlikely(!close_quiet()))
			close_with_care();
	}
	if (unlikely(cancelled))
		cancel_act(state);
}

/*
 * A helper makes no guarded accesses. glibc's set*id() waits until every thread has answered its
 * signal. Below libc that glibc is not the program's, which does not know of our threads:
 * dispositions_helpers_call() asks them.
 */
u64 mask_of_helpers(void)
{
	return ~sig_bit(preload_is_below_libc() ? signals_kick_number() : THREAD_SIGSETXID);
}

bool mask_outer(u64 *mask)
{
	if (!is_open())
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

void mask_keep(int sig, siginfo_t *info, void *uc)
{
	note_came(uc);
	signals_keep(sig, info, uc, window.outer & sig_bit(sig));
}

void mask_stash(int sig, const siginfo_t *info, void *uc)
{
	note_came(uc);
	/* A standard signal that is already pending is not queued a second time. */
	for (int i = 0; i < window.stashed; i++) {
		if (window.stash[i].si_signo == sig)
			return;
	}
	if (window.stashed < STASH_SIZE)
		window.stash[window.stashed++] = *info;
}

void mask_end_run(void *uc)
{
	note_came(uc);
	signals_leave_run(uc);
}
