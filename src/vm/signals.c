/* SPDX-License-Identifier: MIT */
#include "vm/signals.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/guard.h"
#include "base/thread.h"
#include "sync/atomic.h"
#include "vm/quiet.h"
#include "vm/requeue.h"
#include "vm/vm.h"

u64 (*signals_let_in)(const sigset_t *mask);

/* vcpu->kick */
enum kick_state {
	KICK_CLOSED, /* not in a run: a kick would break off what the VMM does */
	KICK_OPEN,
	KICK_SENT,    /* and not taken yet; one at a time, so that they do not pile up */
	KICK_INSTEAD, /* the same, as SIGTRAP */
};

/* This thread's call; touched by its own signal handlers, so every field is a plain word. */
static __thread struct {
	struct vcpu *vcpu; /* non-NULL between begin and end */
	u64 kept;	   /* since the call began; bit sig - 1 */
	bool leave;	   /* the run is to end */
	bool waits;	   /* between signals_wait_begin() and its end */
	bool masked;	   /* `before` is to be restored */
	u64 quiet;	   /* let in by the run, ignored by the VMM, and blocked */
	bool quiet_came;   /* one of these: the run is to end */
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

static void add_bits(sigset_t *set, u64 more)
{
	u64 bits;

	memcpy(&bits, set, sizeof(bits));
	bits |= more;
	memcpy(set, &bits, sizeof(bits));
}

/* glibc's SIGCANCEL is blocked by an open window of a thread that it might end amid our code. */
static void add_blocked_cancellation(sigset_t *set)
{
	u64 blocked = 0;

	signals_raw_mask(SIG_BLOCK, NULL, (sigset_t *)&blocked);
	add_bits(set, blocked & BIT(SIGNALS_CANCEL - 1));
}

void signals_run_begin(struct vcpu *v, const sigset_t *mask)
{
	run.masked = mask != NULL;
	sync_store_release(&run.vcpu, v);
	sync_store_release(&v->kick, KICK_OPEN);
	/* what came since the call began came before the guest ran */
	if (run.leave)
		mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_SIGNAL);
	if (mask) {
		const int open[] = {SIGILL,  SIGTRAP, SIGBUS,
				    SIGFPE, SIGSEGV, signals_kick_number()};
		sigset_t set = *mask;

		for (size_t i = 0; i < ARRAY_SIZE(open); i++)
			sigdelset(&set, open[i]);
		add_blocked_cancellation(&set);
		run.quiet = signals_let_in ? signals_let_in(mask) : 0;
		add_bits(&set, run.quiet);
		signals_raw_mask(SIG_SETMASK, &set, &run.before);
		if (unlikely(run.quiet))
			quiet_begin(v, run.quiet);
	}
}

/*
 * From here on nobody kicks, and a kick that was sent has been taken: it would break off the VMM's
 * next wait. Its sender may be about to send it yet; the handler ends the futex's wait by changing
 * the word.
 */
static void close_kicks(struct vcpu *v)
{
	u32 state = KICK_OPEN;

	while (!sync_cmpxchg(&v->kick, &state, KICK_CLOSED)) {
		syscall(SYS_futex, &v->kick, FUTEX_WAIT_PRIVATE, state, NULL, NULL, 0);
		state = KICK_OPEN;
	}
}

void signals_run_end(struct vcpu *v)
{
	if (unlikely(run.quiet))
		quiet_end(v);
	run.quiet = 0;
	run.quiet_came = false;
	close_kicks(v);
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

/* Has one come that the kernel keeps for us? */
static bool quiet_pending(void)
{
	u64 pending = 0;

	if (!sync_xchg(&run.vcpu->quiet_look, 0))
		return false;
	syscall(SYS_rt_sigpending, &pending, KERNEL_SIGSET_BYTES);
	return pending & run.quiet;
}

bool signals_pending(void)
{
	if (unlikely(run.quiet) && quiet_pending())
		run.quiet_came = true;
	return run.leave || run.quiet_came;
}

void signals_call_end(void)
{
	run.kept = 0;
	run.leave = false;
}

void signals_end_call(void)
{
	run.leave = true;
}

void signals_leave_run(void *uc)
{
	struct vcpu *v = run.vcpu;

	run.leave = true;
	if (v) {
		mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_SIGNAL);
		sync_add(&v->wake_seq, 1);
	}
	if (v || run.waits)
		guard_break_off(uc);
}

void signals_wait_begin(void)
{
	run.waits = true;
	__asm__ volatile("" : : : "memory"); /* for this thread's own handlers */
}

void signals_wait_end(void)
{
	__asm__ volatile("" : : : "memory");
	run.waits = false;
}

void signals_keep(int sig, siginfo_t *info, void *uc, bool blocked)
{
	ucontext_t *u = uc;
	sigset_t set;

	/* Blocked here and where the handler returns to, so that it waits in the kernel. */
	sigemptyset(&set);
	sigaddset(&set, sig);
	signals_raw_mask(SIG_BLOCK, &set, NULL);
	if (blocked)
		requeue_to_addressee(sig, info);
	else
		requeue_to_thread(sig, info);
	sigaddset(&u->uc_sigmask, sig);
	run.kept |= BIT(sig - 1);
	signals_leave_run(uc);
}

bool signals_send_kick(int pid, int tid)
{
	return syscall(SYS_tgkill, pid, tid, signals_kick_number()) == 0;
}

/*
 * Where no more signals may be queued (RLIMIT_SIGPENDING) a standard one still is: the kernel then
 * notes its number only (signal(7)). SIGTRAP's handler is ours in any case.
 */
void signals_kick(struct vcpu *v, int tid)
{
	u32 state = KICK_OPEN;

	if (!sync_cmpxchg(&v->kick, &state, KICK_SENT) || signals_send_kick(v->vm->pid, tid))
		return;
	sync_store(&v->kick, KICK_INSTEAD);
	if (syscall(SYS_tgkill, v->vm->pid, tid, SIGTRAP))
		sync_store(&v->kick, KICK_OPEN);
}

static bool take_kick(u32 state, void *uc)
{
	struct vcpu *v = run.vcpu;

	if (!v || !sync_cmpxchg(&v->kick, &state, KICK_OPEN))
		return false;
	guard_break_off(uc);
	return true;
}

bool signals_kicked_instead(const siginfo_t *info, void *uc)
{
	return info->si_code <= 0 && take_kick(KICK_INSTEAD, uc);
}

void signals_kicked(int sig, siginfo_t *info, void *uc)
{
	(void)sig;
	(void)info;
	take_kick(KICK_SENT, uc);
}
