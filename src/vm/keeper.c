/* SPDX-License-Identifier: MIT */
/* vm/keeper.c: see keeper.h. */
#include "vm/keeper.h"

#include <linux/close_range.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/thread.h"
#include "sync/atomic.h"
#include "sync/lock.h"

__thread bool keeper_table;

static struct {
	struct mutex lock;
	struct waitq changed;
	struct helper thread; /* lives as long as the process */
	int pid, tid;	      /* atomic; 0: not started */
	bool woken;	      /* lock */
	long (*fn)(void *);   /* lock; NULL: nobody calls */
	void *arg;
	bool done;
	long result;
	bool (*idle)(void);
} keeper = {.lock = {.m = PTHREAD_MUTEX_INITIALIZER}};

static struct mutex callers = {.m = PTHREAD_MUTEX_INITIALIZER}; /* one at a time */

static bool make_call(void)
{
	long (*fn)(void *) = keeper.fn;

	if (!fn || keeper.done)
		return false;
	mutex_unlock(&keeper.lock);
	keeper.result = fn(keeper.arg);
	mutex_lock(&keeper.lock);
	keeper.done = true;
	waitq_wake_all(&keeper.changed);
	return true;
}

static void *keep(void *unused)
{
	/* Leaves the VMM's table, and starts with an empty one. */
	long r = syscall(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE);

	keeper_table = true;
	mutex_lock(&keeper.lock);
	sync_store_release(&keeper.tid, r ? -errno : (int)syscall(SYS_gettid));
	waitq_wake_all(&keeper.changed);
	while (!r) {
		bool all;

		if (make_call())
			continue;
		if (!keeper.woken) {
			waitq_wait(&keeper.changed, &keeper.lock);
			continue;
		}
		keeper.woken = false;
		mutex_unlock(&keeper.lock);
		all = keeper.idle();
		if (!all)
			syscall(SYS_sched_yield);
		mutex_lock(&keeper.lock);
		keeper.woken |= !all;
	}
	mutex_unlock(&keeper.lock);
	return unused;
}

bool keeper_started(void)
{
	return sync_load_acquire(&keeper.tid) > 0;
}

int keeper_start(void)
{
	int r = 0;

	if (keeper_started())
		return 0;
	mutex_lock(&callers);
	if (!keeper_started()) {
		waitq_init(&keeper.changed);
		sync_store(&keeper.tid, 0);
		r = thread_start(&keeper.thread, keep, NULL);
		mutex_lock(&keeper.lock);
		while (!r && !sync_load(&keeper.tid))
			waitq_wait(&keeper.changed, &keeper.lock);
		mutex_unlock(&keeper.lock);
		if (!r && !keeper_started()) {
			r = keeper.tid;
			thread_join(&keeper.thread);
		}
	}
	mutex_unlock(&callers);
	return r;
}

long keeper_call(long (*fn)(void *arg), void *arg)
{
	long r;

	if (keeper_table)
		return fn(arg);
	mutex_lock(&callers);
	mutex_lock(&keeper.lock);
	keeper.arg = arg;
	keeper.done = false;
	keeper.fn = fn;
	waitq_wake_all(&keeper.changed);
	while (!keeper.done)
		waitq_wait(&keeper.changed, &keeper.lock);
	keeper.fn = NULL;
	r = keeper.result;
	mutex_unlock(&keeper.lock);
	mutex_unlock(&callers);
	return r;
}

void keeper_wake(void)
{
	mutex_lock(&keeper.lock);
	keeper.woken = true;
	waitq_wake_all(&keeper.changed);
	mutex_unlock(&keeper.lock);
}

void keeper_on_wake(bool (*idle)(void))
{
	keeper.idle = idle;
}

int keeper_tid(void)
{
	return sync_load_acquire(&keeper.tid);
}

/* The process's first thread has the VMM's table (pidfd_getfd(2)). */
int keeper_fetch(int fd)
{
	long pidfd = syscall(SYS_pidfd_open, syscall(SYS_getpid), 0), r;

	if (pidfd < 0)
		return -errno;
	r = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (r < 0)
		r = -errno;
	syscall(SYS_close, pidfd);
	return (int)r;
}

void keeper_forked_child(void)
{
	mutex_init(&keeper.lock);
	mutex_init(&callers);
	keeper.tid = 0;
	keeper.fn = NULL;
	keeper.woken = false;
}
