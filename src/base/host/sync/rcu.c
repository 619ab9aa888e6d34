/* SPDX-License-Identifier: MIT */
/*
 * sync/rcu.c (production build): the calls that wait for a grace period.
 *
 * Not liburcu's, whose thread appears with the first call and is not there in a forked child. Ours
 * is started when a guest is first run (sync_rcu_start()); until then the calls wait, and a VM that
 * goes without ever having run makes its own (sync_rcu_reap()).
 */
#include "sync/rcu.h"

#include <linux/futex.h>
#include "sync/atomic.h"

#ifdef __SANITIZE_THREAD__
char sync_rcu_order;
#endif

static sync_rcu_head *pending; /* atomic; newest first */
static u32 asleep;	       /* atomic, a futex: the thread found nothing to do */
static int thread_pid;	       /* atomic: the process that has the thread */

static pthread_mutex_t start_lock = PTHREAD_MUTEX_INITIALIZER;
static struct helper thread; /* lives as long as the process */

static void wake(void)
{
	if (sync_load(&asleep) && sync_xchg(&asleep, 0))
		syscall(SYS_futex, &asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void sync_rcu_call(sync_rcu_head *head, void (*fn)(sync_rcu_head *head))
{
	sync_rcu_head *first = sync_load(&pending);

	head->fn = fn;
	do {
		head->next = first;
	} while (!sync_cmpxchg(&pending, &first, head));
	wake();
}

/* False: there was nothing. */
static bool make_calls(void)
{
	sync_rcu_head *newest = sync_xchg(&pending, NULL), *oldest = NULL, *next;

	if (!newest)
		return false;
	sync_rcu_wait();
	for (; newest; newest = next) {
		next = newest->next;
		newest->next = oldest;
		oldest = newest;
	}
	for (; oldest; oldest = next) {
		next = oldest->next;
		oldest->fn(oldest);
	}
	return true;
}

static void *serve(void *unused)
{
	const struct timespec tick = {.tv_sec = THREAD_TICK_MS / 1000};

	for (;;) {
		if (make_calls())
			continue;
		sync_xchg(&asleep, 1);
		if (!sync_load(&pending))
			syscall(SYS_futex, &asleep, FUTEX_WAIT_PRIVATE, 1, &tick, NULL, 0);
		sync_xchg(&asleep, 0);
		thread_tick();
	}
	return unused;
}

static bool started(void)
{
	return sync_load_acquire(&thread_pid) == (int)syscall(SYS_getpid);
}

int sync_rcu_start(void)
{
	int r = 0;

	if (sync_load_acquire(&thread_pid))
		return 0;
	pthread_mutex_lock(&start_lock);
	if (!thread_pid) {
		r = thread_start(&thread, serve, NULL);
		if (!r)
			sync_store_release(&thread_pid, (int)syscall(SYS_getpid));
	}
	pthread_mutex_unlock(&start_lock);
	return r;
}

void sync_rcu_reap(void)
{
	if (!started())
		make_calls();
}

void sync_rcu_fork_begin(void)
{
	pthread_mutex_lock(&start_lock);
	urcu_bp_before_fork();
}

/* A child has neither the thread nor what waited for it; its copies of that are never used. */
void sync_rcu_fork_end(bool child)
{
	if (child) {
		urcu_bp_after_fork_child();
		thread_pid = 0;
		pending = NULL;
		asleep = 0;
	} else {
		urcu_bp_after_fork_parent();
	}
	pthread_mutex_unlock(&start_lock);
}
