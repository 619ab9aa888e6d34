/* SPDX-License-Identifier: MIT */
#include "vm/signals.h"

#include <sys/syscall.h>
#include <unistd.h>
#include "base/guard.h"
#include "base/thread.h"
#include "sync/atomic.h"
#include "vm/vm.h"

void (*signals_let_in)(const sigset_t *mask);

/* This thread's call; touched by its own signal handlers, so every field is a plain word. */
static __thread struct {
	struct vcpu *vcpu; /* non-NULL between begin and end */
	u64 kept;	   /* since the call began; bit sig - 1 */
	bool leave;	   /* the run is to end */
	bool masked;	   /* `before` is to be restored */
	sigset_t before;
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
	run.masked = mask != NULL;
	sync_store_release(&run.vcpu, v);
	/* what came since the call began came before the guest ran */
	if (run.leave)
		mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_SIGNAL);
	if (mask) {
		const int open[] = {SIGILL,  SIGTRAP, SIGBUS,
				    SIGFPE, SIGSEGV, signals_kick_number()};
		sigset_t set = *mask;

		for (size_t i = 0; i < ARRAY_SIZE(open); i++)
			sigdelset(&set, open[i]);
		if (signals_let_in)
			signals_let_in(mask);
		signals_raw_mask(SIG_SETMASK, &set, &run.before);
	}
}

void signals_run_end(struct vcpu *v)
{
	sync_store_release(&run.vcpu, NULL);
	if (run.masked) {
		u64 before;

		memcpy(&before, &run.before, sizeof(before));
		before |= run.kept;
		memcpy(&run.before, &before, sizeof(before));
		signals_raw_mask(SIG_SETMASK, &run.before, NULL);
	}
}

bool signals_in_run(void)
{
	return run.vcpu != NULL;
}

bool signals_pending(void)
{
	return run.leave;
}

void signals_call_begin(void)
{
	run.kept = 0;
	run.leave = false;
}

void signals_end_call(void)
{
	run.leave = true;
}

u64 signals_kept(void)
{
	return run.kept;
}

void signals_leave_run(void *uc)
{
	struct vcpu *v = run.vcpu;

	run.leave = true;
	if (!v)
		return;
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_SIGNAL);
	sync_add(&v->wake_seq, 1);
	guard_break_off(uc);
}

void signals_keep(int sig, siginfo_t *info, void *uc)
{
	ucontext_t *u = uc;
	sigset_t set;

	/* Blocked here and where the handler returns to, so that it waits in the kernel. */
	sigemptyset(&set);
	sigaddset(&set, sig);
	signals_raw_mask(SIG_BLOCK, &set, NULL);
	syscall(SYS_rt_tgsigqueueinfo, (pid_t)syscall(SYS_getpid), (pid_t)syscall(SYS_gettid), sig,
		info);
	sigaddset(&u->uc_sigmask, sig);
	run.kept |= BIT(sig - 1);
	signals_leave_run(uc);
}

void signals_kicked(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)info;
	if (run.vcpu)
		guard_break_off(uc);
}
