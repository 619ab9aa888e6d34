/* SPDX-License-Identifier: MIT */
#include "loader/trap.h"

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include "loader/filter.h"
#include "preload/memory.h"
#include "loader/signals.h"
#include "preload/preload.h"

#define SYS_SECCOMP_CODE 1 /* si_code: SYS_SECCOMP */

_Static_assert((LOADER_RETURNS & (LOADER_RETURNS - 1)) == 0, "a power of two");
_Static_assert(offsetof(ucontext_t, uc_sigmask) == UC_SIGMASK, "assembly");
_Static_assert((LOADER_BIRTHS & (LOADER_BIRTHS - 1)) == 0, "a power of two");

extern void trap_entry(int sig, siginfo_t *info, void *uc) HIDDEN;
void *trap_handle(siginfo_t *info, ucontext_t *uc, struct lent *me) HIDDEN;
void trap_lost(siginfo_t *info) HIDDEN __attribute__((noreturn));

void trap_install(void)
{
	u64 sys = sig_bit(SIGSYS);

	signals_kernel_action(SIGSYS, trap_entry, SA_SIGINFO | SA_ONSTACK, ~0ULL);
	raw4(SYS_rt_sigprocmask, SIG_UNBLOCK, &sys, 0, 8);
}

/* ------------------------------------------------------------------ stubs */

/* The slot of `back` among n of them, which is taken for good; -1: they are all taken. */
static long find_slot(u64 *slots, u64 n, u64 back)
{
	u64 i = back * 0x9e3779b97f4a7c15ULL >> 40;

	for (u64 tried = 0; tried < n; tried++, i++) {
		u64 *slot = &slots[i & (n - 1)], was = 0;

		if (__atomic_load_n(slot, __ATOMIC_RELAXED) == back ||
		    __atomic_compare_exchange_n(slot, &was, back, false, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED) ||
		    was == back)
			return (long)(i & (n - 1));
	}
	return -1;
}

static void go_to(struct call *c, u64 stub)
{
	c->uc->uc_mcontext.gregs[REG_RIP] = (greg_t)stub;
}

void trap_pass(struct call *c)
{
	long i = find_slot(loader_slots->returns, LOADER_RETURNS, c->back);

	if (i >= 0)
		go_to(c, LOADER_STUBS + (u64)i * LOADER_RETURN_STUB);
	else /* here then, where no signal breaks it off */
		trap_result(c, raw6(c->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]));
}

bool trap_pass_birth(struct call *c, struct lent *l)
{
	u64 at = (u64)c->a[1] - 16;
	long i = find_slot(loader_slots->births, LOADER_BIRTHS, c->back);

	if (i < 0 || memory_write((void *)at, &l, sizeof(l)))
		return false;
	go_to(c, LOADER_STUBS + LOADER_RETURNS * LOADER_RETURN_STUB + (u64)i * LOADER_BIRTH_STUB);
	return true;
}

/* ------------------------------------------------------------------ a call */

enum fate trap_result(struct call *c, long r)
{
	c->uc->uc_mcontext.gregs[REG_RAX] = r;
	return DONE;
}

void trap_leave_alternate_stack(struct call *c)
{
	stack_t none = {.ss_flags = SS_DISABLE};

	/* rt_sigreturn() puts back what the frame says */
	if (!(c->uc->uc_stack.ss_flags & SS_DISABLE))
		raw2(SYS_sigaltstack, &none, 0);
}

/* A thread that the last clone() did not make, or did. */
static void settle_birth(struct lent *me)
{
	if (!me->unborn)
		return;
	if (me->born < 0)
		lend_give_back(me->unborn);
	me->unborn = NULL;
}

static void load(struct call *c, ucontext_t *uc, struct lent *me)
{
	const greg_t *r = uc->uc_mcontext.gregs;

	*c = (struct call){
		.nr = r[REG_RAX],
		.a = {r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]},
		.back = (u64)r[REG_RIP],
		.uc = uc,
		.me = me,
	};
}

/* NULL, or a handler of the program's for a trap that its own filter asked for. */
void *trap_handle(siginfo_t *info, ucontext_t *uc, struct lent *me)
{
	const u64 *outside = mask_of_call;
	struct call c;

	if (info->si_code != SYS_SECCOMP_CODE || info->si_errno != FILTER_DATA)
		return signals_sys_handler(info, *(u64 *)&uc->uc_sigmask, &me->handler_mask);
	if (unlikely(!me->tid))
		lend_claim(me);
	load(&c, uc, me);
	mask_of_call = trap_mask(&c);
	settle_birth(me);
	if (calls_handle(&c) == PASS)
		trap_pass(&c);
	/* a handler's call may have come while one is made without a trap, just outside of its window */
	mask_of_call = outside;
	return NULL;
}

/* A call of our own, trapped by a filter of the program's that we are not in front of. */
void trap_lost(siginfo_t *info)
{
	static const char what[] =
		"userkvm: a seccomp filter of this program refuses a system call that userkvm makes\n";

	raw3(SYS_write, STDERR_FILENO, what, sizeof(what) - 1);
	abort();
}
