/* SPDX-License-Identifier: MIT */
/* vm/keeper.c: see keeper.h. */
#include "vm/keeper.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
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

/*
 * A process goes when its last thread does. Ours would keep it: once a second the keeper looks
 * whether the VMM has any left, which may end by ways that tell nobody (exit(2), a seccomp filter). So may
 * the keeper; the helpers that are left look in its place.
 */
#define LOOK_NS 1000000000ULL

static int task_dir = -1; /* the process's threads; in the keeper's table */

/* Has the VMM a thread beside its first? That one is listed when it has ended, too; the others are not. */
static bool has_others(int dir)
{
	int first = (int)syscall(SYS_getpid);
	char buf[4096];
	long len;

	syscall(SYS_lseek, dir, 0, SEEK_SET);
	while ((len = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < len;) {
			const struct dirent64 *d = (const void *)(buf + at);
			int tid = atoi(d->d_name);

			if (tid && tid != first && !thread_is_helper(tid))
				return true;
			at += d->d_reclen;
		}
	}
	return len < 0;
}

/* The first thread's state and exit code, if it is a zombie (proc(5), /proc/pid/stat). */
static bool first_thread_ended(int dir, int *code)
{
	char path[32], text[1024], *p;
	long n, fd;

	snprintf(path, sizeof(path), "%d/stat", (int)syscall(SYS_getpid));
	fd = syscall(SYS_openat, dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = syscall(SYS_read, fd, text, sizeof(text) - 1);
	syscall(SYS_close, fd);
	text[n > 0 ? n : 0] = 0;
	p = strrchr(text, ')'); /* behind the name */
	if (!p || strncmp(p, ") Z", 3))
		return false;
	p = strrchr(text, ' ');
	*code = atoi(p + 1);
	return true;
}

/* As the process would have ended without us: with what its first thread ended with. */
static void end_process(int code)
{
	const int sig = code & 0x7f;
	struct {
		u64 handler, flags, restorer, mask;
	} by_default = {0};
	u64 none = 0;

	if (sig) {
		syscall(SYS_rt_sigaction, sig, &by_default, NULL, KERNEL_SIGSET_BYTES);
		syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), sig);
		syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, KERNEL_SIGSET_BYTES);
	}
	syscall(SYS_exit_group, code >> 8);
}

static void look_for_others(int dir)
{
	int code;

	if (dir >= 0 && first_thread_ended(dir, &code) && !has_others(dir))
		end_process(code);
}

static int open_tasks(void)
{
	return (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool is_gone(void)
{
	return syscall(SYS_tgkill, syscall(SYS_getpid), sync_load(&keeper.tid), 0) && errno == ESRCH;
}

/* On another helper's thread. */
static void watch_keeper(void)
{
	int dir;

	if (!keeper_started() || !is_gone())
		return;
	dir = open_tasks();
	look_for_others(dir);
	if (dir >= 0)
		syscall(SYS_close, dir);
}

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
	task_dir = r ? -1 : open_tasks();
	mutex_lock(&keeper.lock);
	sync_store_release(&keeper.tid, r ? -errno : (int)syscall(SYS_gettid));
	waitq_wake_all(&keeper.changed);
	while (!r) {
		bool all;

		if (make_call())
			continue;
		if (!keeper.woken) {
			if (!waitq_wait_until(&keeper.changed, &keeper.lock,
					      sync_now_ns() + LOOK_NS))
				look_for_others(task_dir);
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
		sync_store_release(&thread_on_tick, watch_keeper);
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
	while (!keeper.done &&
	       (waitq_wait_until(&keeper.changed, &keeper.lock, sync_now_ns() + LOOK_NS) || !is_gone()))
		;
	keeper.fn = NULL;
	r = keeper.done ? keeper.result : -EIO;
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
