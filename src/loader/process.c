/* SPDX-License-Identifier: MIT */
#include "loader/process.h"

#include <errno.h>
#include <sched.h>
#include "base/thread.h"
#include "loader/lend.h"
#include "preload/preload.h"

/* ------------------------------------------------------------------ threads */

/* The thread starts in the program, of its own stub, with a block of its own. */
static enum fate make_thread(struct call *c)
{
	struct lent *l = lend_take();

	if (!l)
		return trap_result(c, -EAGAIN);
	if (!trap_pass_birth(c, l)) {
		lend_give_back(l);
		return trap_result(c, -EAGAIN);
	}
	c->me->unborn = l;
	c->me->born = 0;
	return DONE; /* the context goes to the stub */
}

/* A vfork child stands on its parent's block, which it leaves alone. */
enum fate process_exit(struct call *c)
{
	if (c->me->tid == (int)raw0(SYS_gettid))
		lend_give_back(c->me);
	return PASS;
}

/* ------------------------------------------------------------------ processes */

struct new_process {
	long flags, stack, parent_tid, child_tid, tls;
};

/*
 * A copy of the process is in this very call, too, on copies of the lent block and stack. What the
 * kernel would set of its registers is set as the call returns.
 */
static enum fate fork_process(struct call *c, const struct new_process *p)
{
	bool told = armed();
	long pid;

	trap_leave_alternate_stack(c);
	if (told)
		preload_before_fork();
	pid = raw5(SYS_clone, p->flags & ~CLONE_SETTLS, 0, p->parent_tid, p->child_tid, 0);
	if (pid == 0) {
		lend_forked_child(c->me);
		if (p->stack)
			c->uc->uc_mcontext.gregs[REG_RSP] = p->stack;
		if (p->flags & CLONE_SETTLS)
			c->me->program_fs = (u64)p->tls;
	}
	if (told && pid)
		preload_after_fork_parent();
	else if (told)
		preload_after_fork_child();
	return trap_result(c, pid);
}

enum fate process_clone(struct call *c)
{
	struct new_process p = {c->a[0], c->a[1], c->a[2], c->a[3], c->a[4]};

	if (!(p.flags & CLONE_VM))
		return fork_process(c, &p);
	/* the parent waits, and its block is free for the child until then */
	if ((p.flags & CLONE_VFORK) || !p.stack)
		return PASS;
	return make_thread(c);
}

enum fate process_fork(struct call *c)
{
	struct new_process p = {.flags = SIGCHLD};

	return fork_process(c, &p);
}

/*
 * A libc, or Go's runtime, has each of the program's threads change user; it does not know of ours. A vfork()
 * child changes its own.
 */
enum fate process_credentials(struct call *c)
{
	long r;

	if (!armed() || !preload_own_process())
		return PASS;
	r = raw3(c->nr, c->a[0], c->a[1], c->a[2]);
	if (!r)
		dispositions_helpers_call(c->nr, c->a);
	return trap_result(c, r);
}

/* The GS base is its maker's, whose lent block is not the helper's. */
static void helper_begins(void)
{
	u64 mask = mask_of_helpers();

	lend_set_mine(NULL);
	raw4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, KERNEL_SIGSET_BYTES);
}

void process_init(void)
{
	thread_on_begin = helper_begins;
}
