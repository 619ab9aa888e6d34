/* SPDX-License-Identifier: MIT */
#include "loader/signals.h"

#include <errno.h>
#include "preload/memory.h"
#include "preload/preload.h"

#define NSIGNALS	64
#define KERNEL_SET	8 /* bytes of a set */
#define KERNEL_RESTORER 0x04000000UL

struct kernel_action {
	sighandler_t handler;
	u64 flags;
	void (*restorer)(void);
	u64 mask;
};

extern void signal_restorer(void) HIDDEN;
extern void signal_entry(int sig, siginfo_t *info, void *uc) HIDDEN;
extern void signal_call(sighandler_t handler, int sig, siginfo_t *info, void *uc) HIDDEN;

static struct kernel_action for_sys; /* the program's wish; read and written as it comes */
static void (*restorers[NSIGNALS + 1])(void); /* the program's, to be told again */

/* ------------------------------------------------------------------ what the kernel is told */

int signals_kernel_action(int sig, void (*handler)(int, siginfo_t *, void *), u64 flags, u64 mask)
{
	struct kernel_action k = {(sighandler_t)(void *)handler, flags | KERNEL_RESTORER,
				  signal_restorer, mask};

	return (int)raw4(SYS_rt_sigaction, sig, &k, 0, KERNEL_SET);
}

static void to_libc(const struct kernel_action *k, struct sigaction *s)
{
	memset(s, 0, sizeof(*s));
	s->sa_handler = k->handler;
	s->sa_flags = (int)(k->flags & ~KERNEL_RESTORER);
	memcpy(&s->sa_mask, &k->mask, KERNEL_SET);
}

static void to_kernel(const struct sigaction *s, struct kernel_action *k)
{
	k->handler = s->sa_handler;
	k->flags = (u32)s->sa_flags;
	k->restorer = NULL;
	memcpy(&k->mask, &s->sa_mask, KERNEL_SET);
}

/* dispositions.c's sigaction(). */
static int kernel(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct kernel_action new, was = {0};
	long r;

	if (act) {
		to_kernel(act, &new);
		new.flags |= KERNEL_RESTORER;
		new.restorer = signal_restorer;
		new.mask &= ~sig_bit(SIGSYS);
	}
	r = raw4(SYS_rt_sigaction, sig, act ? &new : NULL, &was, KERNEL_SET);
	if (!r && old)
		to_libc(&was, old);
	return (int)raw_errno(r);
}

void signals_init(void)
{
	static const struct dispositions_below below = {signal_entry, signal_call, kernel};

	dispositions_below_libc(&below);
}

/* ------------------------------------------------------------------ rt_sigaction() */

static int set_sys(const struct kernel_action *act, struct kernel_action *old)
{
	*old = for_sys;
	if (act)
		for_sys = *act;
	return 0;
}

/* A process that is no VMM: as the program says, but for the one bit. */
static int set_plain(int sig, const struct kernel_action *act, struct kernel_action *old)
{
	struct kernel_action k;

	if (act) {
		k = *act;
		k.mask &= ~sig_bit(SIGSYS);
	}
	return (int)raw4(SYS_rt_sigaction, sig, act ? &k : NULL, old, KERNEL_SET);
}

static int set_armed(int sig, const struct kernel_action *act, struct kernel_action *old)
{
	struct sigaction new, was;
	int r;

	if (act)
		to_libc(act, &new);
	r = dispositions_set(sig, act ? &new : NULL, &was);
	if (r)
		return r;
	to_kernel(&was, old);
	old->restorer = restorers[sig];
	if (old->restorer)
		old->flags |= KERNEL_RESTORER;
	return 0;
}

static int set(int sig, const struct kernel_action *act, struct kernel_action *old)
{
	int r;

	if (sig == SIGSYS)
		return set_sys(act, old);
	r = armed() ? set_armed(sig, act, old) : set_plain(sig, act, old);
	if (!r && act)
		restorers[sig] = act->flags & KERNEL_RESTORER ? act->restorer : NULL;
	return r;
}

enum fate signals_action(struct call *c)
{
	int sig = (int)c->a[0], r;
	struct kernel_action act, old;

	if (c->a[3] != KERNEL_SET || sig < 1 || sig > NSIGNALS)
		return trap_result(c, -EINVAL);
	if (c->a[1] && memory_read(&act, (void *)c->a[1], sizeof(act)))
		return trap_result(c, -EFAULT);
	r = set(sig, c->a[1] ? &act : NULL, &old);
	if (!r && c->a[2])
		r = memory_write((void *)c->a[2], &old, sizeof(old));
	return trap_result(c, r);
}

/* It may make calls that we trap, so SIGSYS is open in it, and otherwise what the program has asked for. */
void *signals_sys_handler(const siginfo_t *info, u64 outside, u64 *mask)
{
	sighandler_t handler = for_sys.handler;
	u64 sys = sig_bit(SIGSYS);

	*mask = (outside | for_sys.mask) & ~sys;
	if (handler != SIG_DFL && handler != SIG_IGN)
		return (void *)handler;
	signals_kernel_action(SIGSYS, NULL, 0, 0);
	raw4(SYS_rt_tgsigqueueinfo, raw0(SYS_getpid), raw0(SYS_gettid), SIGSYS, info);
	raw3(SYS_tgkill, raw0(SYS_getpid), raw0(SYS_gettid), SIGSYS);
	raw4(SYS_rt_sigprocmask, SIG_UNBLOCK, &sys, 0, KERNEL_SET);
	return NULL;
}

/* ------------------------------------------------------------------ rt_sigprocmask() */

/* As it is called, SIG_BLOCK or SIG_SETMASK. The mask is the one the frame puts back. */
enum fate signals_mask(struct call *c)
{
	u64 *mask = trap_mask(c), old = *mask, set;

	if (c->me->mine_blocks_sys)
		old |= sig_bit(SIGSYS);
	if (c->a[3] != KERNEL_SET)
		return trap_result(c, -EINVAL);
	if (c->a[1]) {
		if (memory_read(&set, (void *)c->a[1], sizeof(set)))
			return trap_result(c, -EFAULT);
		if (c->a[0] == SIG_BLOCK)
			set |= old;
		c->me->mine_blocks_sys = set & sig_bit(SIGSYS);
		*mask = set & ~(sig_bit(SIGSYS) | sig_bit(SIGKILL) | sig_bit(SIGSTOP));
	}
	return trap_result(c, c->a[2] ? memory_write((void *)c->a[2], &old, sizeof(old)) : 0);
}

/*
 * rt_sigreturn() of a restorer of the program's, or of a frame that it has made itself. Where our restorer returns,
 * signal_call() has seen to it. The kernel's frames never have SIGSYS, whatever the program believes.
 */
enum fate signals_return(struct call *c)
{
	u64 *at = (u64 *)(c->uc->uc_mcontext.gregs[REG_RSP] + UC_SIGMASK), mask, sys = sig_bit(SIGSYS);

	if (memory_read(&mask, at, sizeof(mask)) || !(mask & sys))
		return PASS;
	c->me->mine_blocks_sys = true;
	mask &= ~sys;
	memory_write(at, &mask, sizeof(mask));
	return PASS;
}

/* ------------------------------------------------------------------ waiting with a mask */

/* Without SIGSYS in it, where the program's is not to be changed: the register leads elsewhere then. */
static enum fate wait_with(struct call *c, int reg, const void *theirs)
{
	struct lent *me = c->me;
	u64 mask;

	if (!theirs || memory_read(&mask, theirs, sizeof(mask)) || !(mask & sig_bit(SIGSYS)))
		return PASS;
	me->waits_mask = mask & ~sig_bit(SIGSYS);
	c->uc->uc_mcontext.gregs[reg] = (greg_t)&me->waits_mask;
	return PASS;
}

/* Its argument is two words: where the mask is, and its size. */
static enum fate wait_in_select(struct call *c)
{
	struct lent *me = c->me;
	u64 words[2];

	if (memory_read(words, (void *)c->a[5], sizeof(words)))
		return PASS;
	if (wait_with(c, REG_R9, (void *)words[0]) == PASS &&
	    c->uc->uc_mcontext.gregs[REG_R9] == (greg_t)&me->waits_mask) {
		me->waits_words[0] = (u64)&me->waits_mask;
		me->waits_words[1] = words[1];
		c->uc->uc_mcontext.gregs[REG_R9] = (greg_t)me->waits_words;
	}
	return PASS;
}

enum fate signals_wait(struct call *c)
{
	switch (c->nr) {
	case SYS_rt_sigsuspend:
		return wait_with(c, REG_RDI, (void *)c->a[0]);
	case SYS_ppoll:
		return wait_with(c, REG_R10, (void *)c->a[3]);
	case SYS_pselect6:
		return wait_in_select(c);
	default: /* SYS_epoll_pwait, SYS_epoll_pwait2 */
		return wait_with(c, REG_R8, (void *)c->a[4]);
	}
}

/* ------------------------------------------------------------------ rt_sigtimedwait() */

/* The wait is the program's own, for `set', which has lost what is ours. */
static enum fate wait_for(struct call *c, const sigset_t *set, u64 theirs)
{
	memcpy(&c->me->waits_mask, set, KERNEL_SET);
	if (c->me->waits_mask != theirs)
		c->uc->uc_mcontext.gregs[REG_RDI] = (greg_t)&c->me->waits_mask;
	return PASS;
}

/*
 * What a run has let in and put back waits behind what came later (vm/requeue.h), so what is pending is taken
 * here.
 */
enum fate signals_take(struct call *c)
{
	sigset_t set = {0};
	siginfo_t info;
	u64 theirs;
	int sig;

	if (!armed() || c->a[3] != KERNEL_SET || memory_read(&theirs, (void *)c->a[0], KERNEL_SET))
		return PASS;
	memcpy(&set, &theirs, KERNEL_SET);
	sig = signals_take_pending(&set, &info);
	if (sig <= 0)
		return wait_for(c, &set, theirs);
	if (c->a[1] && memory_write((void *)c->a[1], &info, sizeof(info)))
		return trap_result(c, -EFAULT);
	return trap_result(c, sig);
}
