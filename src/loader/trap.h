/* SPDX-License-Identifier: MIT */
/*
 * loader/trap.h: a system call of the program's that the filter has trapped.
 *
 * SIGSYS arrives in the calling thread with the program's registers. trap.S puts the thread on its
 * lent FS base and stack (lend.h) and comes to trap_handle() with all signals blocked. The call is
 * carried out here, or sent on its way: to be made once more by a stub (boot/calls.S), with nothing
 * of ours in between. What is carried out here and takes long is a window of the preload's (mask.c),
 * which opens the program's signals; its handlers run when the trap has returned.
 */
#ifndef LOADER_TRAP_H
#define LOADER_TRAP_H

#include <signal.h>
#include <ucontext.h>
#include "base/types.h"
#include "loader/lend.h"

struct call {
	long nr;
	long a[6];
	u64 back; /* where the program goes on */
	ucontext_t *uc;
	struct lent *me;
};

/* What becomes of a call. */
enum fate {
	PASS, /* the program makes it itself, of its stub */
	DONE, /* it has been carried out, and its result stands in the context */
};

/* Put our handler under SIGSYS. Once, before there is a filter. */
void trap_install(void);
/* The result of a call that is DONE. Returns that. */
enum fate trap_result(struct call *c, long r);
/* Have the program make this call itself, from a stub that belongs to the place it comes from. */
void trap_pass(struct call *c);
/* The same for the making of a thread, whose block is l. False: it cannot. */
bool trap_pass_birth(struct call *c, struct lent *l);
/*
 * A call of the rooms below is about to be made, in a window: signals may come, and find their
 * stack where ours is rather than where the trap's frame lies.
 */
void trap_leave_alternate_stack(struct call *c);

/* The program's mask, which the kernel puts back at the end; kernel's layout. */
static inline u64 *trap_mask(struct call *c)
{
	return (u64 *)&c->uc->uc_sigmask;
}

/* calls.c */
enum fate calls_handle(struct call *c);

#endif
