/* SPDX-License-Identifier: MIT */
/*
 * preload/signals.c: the libc names behind which sigaction() stands, and the few calls that
 * could show the VMM our kick signal.
 */
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include "preload/preload.h"
#include "preload/real.h"
#include "vm/quiet.h"
#include "vm/requeue.h"
#include "vm/signals.h"

int __libc_current_sigrtmax(void);

int action_of_vmm(int sig, const struct sigaction *act, struct sigaction *old)
{
	if (!armed())
		return REAL(sigaction)(sig, act, old);
	return (int)raw_errno(dispositions_set(sig, act, old));
}

EXPORT int sigaction(int sig, const struct sigaction *restrict act,
		     struct sigaction *restrict old)
{
	return action_of_vmm(sig, act, old);
}
ALIAS(__sigaction, sigaction);

/* ------------------------------------------------------------------ signal() in its flavours
 */

static u64 interrupting; /* siginterrupt(): these do not get SA_RESTART from signal() */

static sighandler_t set_handler(int sig, sighandler_t handler, int flags, bool mask_self)
{
	struct sigaction act = {.sa_handler = handler, .sa_flags = flags}, old;

	if (handler == SIG_ERR || sig < 1 || sig > 64) {
		errno = EINVAL;
		return SIG_ERR;
	}
	sigemptyset(&act.sa_mask);
	if (mask_self)
		sigaddset(&act.sa_mask, sig);
	return action_of_vmm(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}

EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
	bool interrupts = sig >= 1 && sig <= 64 && (interrupting & sig_bit(sig));

	return set_handler(sig, handler, interrupts ? 0 : SA_RESTART, true);
}
ALIAS(bsd_signal, signal);
ALIAS(ssignal, signal);

EXPORT sighandler_t sysv_signal(int sig, sighandler_t handler)
{
	return set_handler(sig, handler, (int)(SA_RESETHAND | SA_NODEFER | SA_INTERRUPT),
			   false);
}
ALIAS(__sysv_signal, sysv_signal);

EXPORT int siginterrupt(int sig, int interrupt)
{
	struct sigaction act;

	if (action_of_vmm(sig, NULL, &act))
		return -1;
	if (interrupt) {
		__atomic_fetch_or(&interrupting, sig_bit(sig), __ATOMIC_RELAXED);
		act.sa_flags &= ~SA_RESTART;
	} else {
		__atomic_fetch_and(&interrupting, ~sig_bit(sig), __ATOMIC_RELAXED);
		act.sa_flags |= SA_RESTART;
	}
	return action_of_vmm(sig, &act, NULL);
}

/* X/Open: SIG_HOLD blocks and leaves the disposition; anything else sets it and unblocks. */
EXPORT sighandler_t sigset(int sig, sighandler_t disposition)
{
	struct sigaction old;
	u64 set, before = 0;

	if (sig < 1 || sig > 64 || disposition == SIG_ERR) {
		errno = EINVAL;
		return SIG_ERR;
	}
	set = sig_bit(sig);
	if (disposition == SIG_HOLD) {
		if (action_of_vmm(sig, NULL, &old))
			return SIG_ERR;
		raw4(SYS_rt_sigprocmask, SIG_BLOCK, &set, &before, 8);
	} else {
		old.sa_handler = set_handler(sig, disposition, 0, false);
		if (old.sa_handler == SIG_ERR)
			return SIG_ERR;
		raw4(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, &before, 8);
	}
	return (before & set) ? SIG_HOLD : old.sa_handler;
}

EXPORT int sigignore(int sig)
{
	return set_handler(sig, SIG_IGN, 0, false) == SIG_ERR ? -1 : 0;
}

/* ------------------------------------------------------------------ sent to a thread */

/* A run may have to be told (vm/quiet.h). */
void signals_sent(void)
{
	struct mask_window w;

	if (likely(!armed() || !quiet_any()) || !preload_own_process())
		return;
	mask_enter(&w);
	quiet_sent();
	mask_leave(&w);
}

EXPORT int pthread_kill(pthread_t thread, int sig)
{
	int r = REAL(pthread_kill)(thread, sig);

	if (!r)
		signals_sent();
	return r;
}

EXPORT int pthread_sigqueue(pthread_t thread, int sig, const union sigval value)
{
	int r = REAL(pthread_sigqueue)(thread, sig, value);

	if (!r)
		signals_sent();
	return r;
}

EXPORT int tgkill(pid_t pid, pid_t tid, int sig)
{
	long r = raw3(SYS_tgkill, pid, tid, sig);

	if (!r)
		signals_sent();
	return (int)raw_errno(r);
}

/* ------------------------------------------------------------------ the kick stays out of
 * sight */

/* The range the VMM may use ends below the kick, whenever it asks. */
EXPORT int __libc_current_sigrtmax(void)
{
	int max = REAL(__libc_current_sigrtmax)();

	return max == signals_kick_number() ? max - 1 : max;
}

static const sigset_t *without_kick(const sigset_t *set, sigset_t *copy)
{
	if (!armed() || !set)
		return set;
	*copy = *set;
	sigdelset(copy, signals_kick_number());
	return copy;
}

EXPORT int sigpending(sigset_t *set)
{
	int r = REAL(sigpending)(set);

	if (r == 0 && armed())
		sigdelset(set, signals_kick_number());
	return r;
}

static s64 now_ns(void)
{
	struct timespec t;

	raw2(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/*
 * What was kept of a thread's is due before what came after it. A signal that a run lets in and
 * gives back wakes who waits for it, who then finds nothing: with no handler run that is no EINTR.
 */
static int wait_for(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	s64 end = armed() && timeout
			  ? now_ns() + timeout->tv_sec * 1000000000LL + timeout->tv_nsec
			  : 0;
	u32 handlers = handlers_run;
	struct timespec left;
	siginfo_t own;
	sigset_t s;
	int sig;

	if (!info)
		info = &own;
	for (;;) {
		sig = REAL(sigtimedwait)(without_kick(set, &s), info, timeout);
		if (sig >= 0 || errno != EINTR || !armed() || handlers != handlers_run)
			break;
		if (timeout) {
			s64 ns = MAX(end - now_ns(), 0);

			left = (struct timespec){ns / 1000000000, ns % 1000000000};
			timeout = &left;
		}
	}
	if (sig > 0 && armed())
		requeue_due(sig, info);
	return sig;
}

int signals_take_pending(sigset_t *set, siginfo_t *info)
{
	const struct timespec none = {0};
	int sig;

	sigdelset(set, signals_kick_number());
	sig = (int)raw4(SYS_rt_sigtimedwait, set, info, &none, 8);

	if (sig > 0)
		requeue_due(sig, info);
	return sig;
}

EXPORT int sigtimedwait(const sigset_t *restrict set, siginfo_t *restrict info,
			const struct timespec *restrict timeout)
{
	return wait_for(set, info, timeout);
}

EXPORT int sigwaitinfo(const sigset_t *restrict set, siginfo_t *restrict info)
{
	return wait_for(set, info, NULL);
}

EXPORT int sigwait(const sigset_t *restrict set, int *restrict sig)
{
	int before = errno, r;

	/* sigwait() is not broken off by handlers, sigtimedwait() is */
	do {
		r = wait_for(set, NULL, NULL);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno;
	errno = before;
	*sig = r;
	return 0;
}

EXPORT int signalfd(int fd, const sigset_t *set, int flags)
{
	sigset_t s;

	return REAL(signalfd)(fd, without_kick(set, &s), flags);
}
