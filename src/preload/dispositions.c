/* SPDX-License-Identifier: MIT */
/*
 * preload/dispositions.c: what the VMM asked for with sigaction(), and what the kernel is told.
 *
 * Under each of the VMM's handlers stands deliver(), installed with the VMM's own sa_mask and
 * flags, so that the kernel does everything it would do for the VMM's handler. deliver() puts
 * the signal off while our code is in the thread (vm/signals.h) and calls the VMM's handler
 * otherwise. For SEGV, BUS, FPE, ILL and TRAP it stands there whatever the VMM asked for,
 * because guarded accesses fault; it then plays the VMM's disposition: handler, ignored or
 * default.
 *
 * SA_RESETHAND is played here, too: a signal that is put off is delivered twice.
 *
 * `lock` is taken with all signals blocked, since sigaction() may be called by a handler.
 * deliver() takes no lock: it reads one handler pointer and one word of flags.
 */
#include <stdlib.h>
#include <unistd.h>
#include "base/guard.h"
#include "base/thread.h"
#include "preload/preload.h"
#include "preload/real.h"
#include "vm/requeue.h"
#include "vm/signals.h"

#define NSIGNALS 64

struct disposition {
	struct sigaction view; /* what the VMM asked for; guarded by lock */
	bool ours;	       /* the kernel has deliver(); guarded by lock */
};

static struct disposition table[NSIGNALS + 1];
static int lock;

__thread u32 handlers_run;

static void call_handler(sighandler_t handler, int sig, siginfo_t *info, void *uc)
{
	((void (*)(int, siginfo_t *, void *))(void *)handler)(sig, info, uc);
}

static int kernel_action(int sig, const struct sigaction *act, struct sigaction *old)
{
	return REAL(sigaction)(sig, act, old);
}

static struct dispositions_below below = {
	.entry = dispositions_handle, .call = call_handler, .kernel = kernel_action};

/* Signals that the VMM asks libc for, who refuses them or not; and those nobody is asked for. */
static u64 libc_own = (1ULL << 31) | (1ULL << 32); /* 32 and 33 */
static u64 others; /* SIGSYS below libc */

void dispositions_below_libc(const struct dispositions_below *b)
{
	below = *b;
	libc_own = 0;
	others = sig_bit(SIGSYS);
}

static u64 lock_table(void)
{
	u64 all = ~0ULL, old = 0;

	raw4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, 8);
	dispositions_lock();
	return old;
}

static void unlock_table(u64 old)
{
	dispositions_unlock();
	raw4(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
}

static bool has_handler(const struct sigaction *a)
{
	return a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN;
}

static void load_view(int sig, sighandler_t *handler, int *flags)
{
	*flags = __atomic_load_n(&table[sig].view.sa_flags, __ATOMIC_RELAXED);
	*handler = __atomic_load_n(&table[sig].view.sa_handler, __ATOMIC_ACQUIRE);
}

static void store_view(int sig, const struct sigaction *act)
{
	table[sig].view.sa_mask = act->sa_mask;
	__atomic_store_n(&table[sig].view.sa_flags, act->sa_flags, __ATOMIC_RELAXED);
	__atomic_store_n(&table[sig].view.sa_handler, act->sa_handler, __ATOMIC_RELEASE);
}

/* Tell the kernel what the view of sig calls for. Under lock. */
static int install(int sig, bool under_default)
{
	struct sigaction k = table[sig].view;

	table[sig].ours = under_default || has_handler(&k) || mask_is_synchronous(sig);
	if (!table[sig].ours)
		return below.kernel(sig, &k, NULL) ? -errno : 0;
	if (has_handler(&k)) {
		k.sa_flags &= ~(int)SA_RESETHAND;
	} else {
		/* not on the thread's alternate stack: it may be too small for any frame */
		sigemptyset(&k.sa_mask);
		k.sa_flags = SA_RESTART | (k.sa_flags & (SA_NOCLDSTOP | SA_NOCLDWAIT));
	}
	k.sa_flags |= SA_SIGINFO;
	k.sa_sigaction = below.entry;
	return below.kernel(sig, &k, NULL) ? -errno : 0;
}

/* ------------------------------------------------------------------ delivery */

/* Sent by someone, rather than raised by the instruction it interrupts. */
static bool is_asynchronous(int sig, const siginfo_t *info)
{
	return !mask_is_synchronous(sig) || info->si_code <= 0 ||
	       (sig == SIGBUS && info->si_code == BUS_MCEERR_AO);
}

static bool default_ignores(int sig)
{
	return sig == SIGCHLD || sig == SIGWINCH || sig == SIGURG || sig == SIGCONT;
}

/*
 * Die, or whatever the default is, as if we had never been here: the default is put back; a
 * fault is raised anew by its instruction, anything else is sent once more.
 */
static void default_action(int sig, siginfo_t *info)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	u64 set = sig_bit(sig);

	if (default_ignores(sig))
		return;
	below.kernel(sig, &dfl, NULL);
	if (!is_asynchronous(sig, info))
		return;
	raw4(SYS_rt_tgsigqueueinfo, raw0(SYS_getpid), raw0(SYS_gettid), sig, info);
	raw4(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
}

/* SA_RESETHAND: the first caller gets the handler, whoever comes after it the default. */
static void reset_handler(int sig)
{
	u64 old = lock_table();

	__atomic_store_n(&table[sig].view.sa_handler, SIG_DFL, __ATOMIC_RELEASE);
	install(sig, false);
	unlock_table(old);
}

/* True: nothing is to be done now. */
static bool deliver_sent(int sig, siginfo_t *info, void *uc, sighandler_t handler)
{
	u64 view;
	bool blocked;

	if (!mask_view(&view))
		return handler == SIG_IGN;
	/* our window opened what the VMM takes to be blocked: not ignored, but pending */
	blocked = mask_is_synchronous(sig) && (view & sig_bit(sig));
	if (handler == SIG_IGN && !blocked)
		return true;
	if (!mask_is_synchronous(sig)) {
		mask_keep(sig, info, uc);
		return true;
	}
	mask_stash(sig, info, uc);
	if (!blocked)
		mask_end_run(uc);
	return true;
}

static void deliver(int sig, siginfo_t *info, void *uc)
{
	int e = errno, flags;
	sighandler_t handler;

	if (mask_is_synchronous(sig) && guard_handle(sig, info, uc))
		return;
	if (sig == SIGTRAP && signals_kicked_instead(info, uc)) {
		errno = e;
		return;
	}
	requeue_due(sig, info);
	load_view(sig, &handler, &flags);
	if (!is_asynchronous(sig, info)) {
		if (handler == SIG_IGN)
			handler = SIG_DFL; /* a fault cannot be ignored: the kernel kills */
	} else if (deliver_sent(sig, info, uc, handler)) {
		errno = e;
		return;
	}
	if (handler == SIG_DFL) {
		default_action(sig, info);
		errno = e;
		return;
	}
	if (flags & (int)SA_RESETHAND)
		reset_handler(sig);
	handlers_run++;
	/* The VMM's handler may mean to change errno: it is not restored after it. */
	errno = e;
	below.call(handler, sig, info, uc);
}

static void kicked(int sig, siginfo_t *info, void *uc)
{
	int e = errno;

	if (thread_take_call())
		return;
	signals_kicked(sig, info, uc);
	if (cancel_ends_run())
		mask_end_run(uc);
	errno = e;
}

void dispositions_helpers_call(long nr, const long args[3])
{
	thread_all_call(signals_kick_number(), nr, args);
}

static bool is_kick(int sig)
{
	return sig == signals_kick_number();
}

void dispositions_handle(int sig, siginfo_t *info, void *uc)
{
	if (is_kick(sig))
		kicked(sig, info, uc);
	else
		deliver(sig, info, uc);
}

/* ------------------------------------------------------------------ the VMM's calls */

/*
 * A child that shares our memory changes the kernel's dispositions of its own process only: the
 * table is not its.
 */
static int set_in_vfork_child(int sig, const struct sigaction *act, struct sigaction *old)
{
	if (below.kernel(sig, act, old))
		return -errno;
	if (old && old->sa_sigaction == below.entry)
		*old = table[sig].view;
	return 0;
}

static bool is_ignored(int sig)
{
	sighandler_t h = table[sig].view.sa_handler;

	return h == SIG_IGN || (h == SIG_DFL && default_ignores(sig));
}

int dispositions_set(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction new = act ? *act : (struct sigaction){0};
	struct disposition before;
	int r = 0;
	u64 mask;

	if (sig < 1 || sig > NSIGNALS || is_kick(sig))
		return -EINVAL;
	if (!preload_own_process())
		return set_in_vfork_child(sig, act, old);
	/* Whatever the kernel or libc would refuse is refused by them. */
	if (sig == SIGKILL || sig == SIGSTOP || (sig_bit(sig) & libc_own))
		return below.kernel(sig, act, old) ? -errno : 0;
	mask = lock_table();
	before = table[sig];
	if (act) {
		store_view(sig, &new);
		r = install(sig, false);
		if (r)
			table[sig] = before;
		else if (is_ignored(sig))
			requeue_dropped(sig);
	}
	unlock_table(mask);
	if (!r && old)
		*old = before.view;
	return r;
}

/*
 * KVM_SET_SIGNAL_MASK lets in what the thread blocks otherwise, to be taken by sigwait().
 *
 * A disposition is the whole process's: a handler under a signal that is ignored would break off
 * the waits of every thread, and would not be inherited as ignored by what is executed. So such a
 * signal stays blocked, where the kernel keeps it, and is given back to the caller (vm/quiet.h).
 */
static u64 let_in(const sigset_t *inner)
{
	u64 outer = 0, quiet = 0, in, stops, lock_mask;

	memcpy(&in, inner, sizeof(in));
	mask_set_inner(in);
	if (!mask_outer(&outer))
		raw4(SYS_rt_sigprocmask, SIG_BLOCK, 0, &outer, 8);
	stops = sig_bit(SIGKILL) | sig_bit(SIGSTOP) | sig_bit(SIGTSTP) | sig_bit(SIGTTIN) |
		sig_bit(SIGTTOU) | sig_bit(32) | sig_bit(33);
	outer &= ~in & ~stops & ~sig_bit(signals_kick_number()) & ~others;
	if (!outer)
		return 0;
	lock_mask = lock_table();
	for (int sig = 1; sig <= NSIGNALS; sig++) {
		if (!(outer & sig_bit(sig)) || table[sig].ours)
			continue;
		if (is_ignored(sig))
			quiet |= sig_bit(sig);
		else
			install(sig, true);
	}
	unlock_table(lock_mask);
	return quiet;
}

void dispositions_adopt(void)
{
	struct sigaction kick = {.sa_sigaction = below.entry,
				 .sa_flags = SA_SIGINFO | SA_RESTART};
	u64 mask = lock_table();

	for (int sig = 1; sig <= NSIGNALS; sig++)
		below.kernel(sig, NULL, &table[sig].view); /* glibc's own two are refused */
	guard_install(); /* for its table; its handlers are replaced at once */
	for (int sig = 1; sig <= NSIGNALS; sig++) {
		if (!is_kick(sig) && !(sig_bit(sig) & others) &&
		    (has_handler(&table[sig].view) || mask_is_synchronous(sig)))
			install(sig, false);
	}
	sigfillset(&kick.sa_mask);
	below.kernel(signals_kick_number(), &kick, NULL);
	signals_let_in = let_in;
	unlock_table(mask);
}

/* No handler takes the lock while a window is open, so no mask is needed. */
void dispositions_lock(void)
{
	while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
		raw0(SYS_sched_yield);
}

void dispositions_unlock(void)
{
	__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

/* ------------------------------------------------------------------ exec */

/*
 * An ignored signal stays ignored across exec, a handled one does not. Where this process has running
 * vCPUs the handler stays, and the new program is told (environment.c). Elsewhere, in a child say, the
 * kernel is told, unless the child of a vfork() has set the signal's disposition itself.
 */
u64 dispositions_ignored(void)
{
	u64 set = 0;

	if (!armed())
		return 0;
	for (int sig = 1; sig <= NSIGNALS; sig++) {
		if (table[sig].ours && table[sig].view.sa_handler == SIG_IGN)
			set |= sig_bit(sig);
	}
	return set;
}

/* In a process that runs no guest. */
static void swap_ignored(bool kernel_ignores)
{
	u64 set = dispositions_ignored();
	struct sigaction k;

	for (int sig = 1; sig <= NSIGNALS; sig++) {
		if (!(set & sig_bit(sig)) || below.kernel(sig, NULL, &k))
			continue;
		if (!kernel_ignores && k.sa_handler == SIG_IGN)
			install(sig, true);
		if (kernel_ignores && k.sa_sigaction == below.entry) {
			k.sa_handler = SIG_IGN;
			below.kernel(sig, &k, NULL);
		}
	}
}

void dispositions_before_exec(void)
{
	swap_ignored(true);
}

void dispositions_after_failed_exec(void)
{
	swap_ignored(false);
}
