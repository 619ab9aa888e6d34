/* SPDX-License-Identifier: MIT */
#include "vm/signals.h"

#include <sys/syscall.h>
#include <unistd.h>
#include "base/guard.h"
#include "sync/atomic.h"
#include "vm/vm.h"

#define NR_SIGNALS	64 /* of the kernel; numbered from 1 */
#define KERNEL_SIGSET_BYTES 8

void (*signals_let_in)(const sigset_t *mask);

/* This thread's run; touched by its own signal handlers, so every field is a plain word. */
static __thread struct {
	struct vcpu *vcpu; /* non-NULL between begin and end */
	u64 deferred;	   /* bit sig - 1 */
	bool masked;	   /* `before` is to be restored */
	sigset_t before;
	siginfo_t info[NR_SIGNALS];
} run __attribute__((tls_model("initial-exec")));

int signals_kick_number(void)
{
	/* The top of the range: SIGRTMAX counts down from what glibc leaves, VMMs count up. */
	return __libc_current_sigrtmax();
}

int signals_raw_mask(int how, const sigset_t *set, sigset_t *old)
{
	return (int)syscall(SYS_rt_sigprocmask, how, set, old, KERNEL_SIGSET_BYTES);
}

void signals_run_begin(struct vcpu *v, const sigset_t *mask)
{
	run.deferred = 0;
	run.masked = mask != NULL;
	sync_store_release(&run.vcpu, v);
	if (mask) {
		sigset_t set = *mask;

		sigdelset(&set, signals_kick_number());
		for (int s = SIGILL; s <= SIGSEGV; s++) {
			if (s == SIGILL || s == SIGTRAP || s == SIGBUS || s == SIGFPE || s == SIGSEGV)
				sigdelset(&set, s);
		}
		if (signals_let_in)
			signals_let_in(mask);
		signals_raw_mask(SIG_SETMASK, &set, &run.before);
	}
}

/* Queue the noted signals again, to this thread: blocked now, delivered when the mask allows. */
static u64 requeue(void)
{
	u64 all = run.deferred;

	for (int sig = 1; sig <= NR_SIGNALS; sig++) {
		if (all & BIT(sig - 1))
			syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), sig,
				&run.info[sig - 1]);
	}
	run.deferred = 0;
	return all;
}

void signals_run_end(struct vcpu *v)
{
	u64 again = 0;

	if (run.deferred)
		again = requeue();
	/*
	 * From here a signal runs the VMM's handler at once. One that was taken note of between
	 * requeue() and this store stays in run.deferred: look again.
	 */
	sync_store_release(&run.vcpu, NULL);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (run.deferred)
		again |= requeue();
	if (run.masked) {
		signals_raw_mask(SIG_SETMASK, &run.before, NULL);
	} else if (again) {
		/* They were not blocked when they came. */
		sigset_t set;

		memset(&set, 0, sizeof(set));
		memcpy(&set, &again, sizeof(again));
		signals_raw_mask(SIG_UNBLOCK, &set, NULL);
	}
}

bool signals_in_run(void)
{
	return run.vcpu != NULL;
}

bool signals_pending(void)
{
	return run.deferred != 0;
}

bool signals_defer(int sig, siginfo_t *info, void *uc)
{
	ucontext_t *u = uc;
	struct vcpu *v = run.vcpu;

	if (!v)
		return false;
	run.info[sig - 1] = *info;
	run.deferred |= BIT(sig - 1);
	/* Kept blocked, so that one more of its kind waits in the kernel, not here. */
	sigaddset(&u->uc_sigmask, sig);
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_SIGNAL);
	sync_add(&v->wake_seq, 1);
	guard_break_off(u);
	return true;
}

void signals_kicked(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)info;
	if (run.vcpu)
		guard_break_off(uc);
}
