/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <time.h>

void (*thread_on_tick)(void);
void (*thread_on_begin)(void);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* innermost; not from a handler */
static struct helper *helpers;				 /* guarded by the lock */
static u32 starting; /* have the rights of who starts them, and are not among them yet; atomic */

static __thread struct helper *mine;

/* The call that all of them make; of the thread that has the lock. */
static struct {
	long nr;
	const long *args;
	u32 answers; /* a futex */
} call;

void thread_starts(void)
{
	__atomic_add_fetch(&starting, 1, __ATOMIC_SEQ_CST);
}

void thread_did_not_start(void)
{
	__atomic_sub_fetch(&starting, 1, __ATOMIC_SEQ_CST);
}

void *thread_begin(void *helper)
{
	struct helper *h = helper;

	mine = h;
	if (thread_on_begin)
		thread_on_begin();
	pthread_mutex_lock(&lock);
	h->tid = (int)syscall(SYS_gettid);
	h->next = helpers;
	helpers = h;
	thread_did_not_start(); /* any more */
	pthread_mutex_unlock(&lock);
	return h->fn(h->arg);
}

void thread_forget(struct helper *h)
{
	struct helper **p;

	pthread_mutex_lock(&lock);
	for (p = &helpers; *p && *p != h; p = &(*p)->next)
		;
	if (*p)
		*p = h->next;
	pthread_mutex_unlock(&lock);
}

bool thread_is_helper(int tid)
{
	struct helper *h;

	pthread_mutex_lock(&lock);
	for (h = helpers; h && h->tid != tid; h = h->next)
		;
	pthread_mutex_unlock(&lock);
	return h;
}

void thread_forked_child(void)
{
	static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;

	lock = fresh;
	helpers = NULL;
	starting = 0;
}

/* ------------------------------------------------------------------ a call of all of them */

/* A signal is refused where no more may be queued (RLIMIT_SIGPENDING), or where the thread has ended. */
static void ask(struct helper *h, int sig)
{
	__atomic_store_n(&h->asked, 1, __ATOMIC_SEQ_CST);
	while (syscall(SYS_tgkill, getpid(), h->tid, sig) && errno == EAGAIN)
		sched_yield();
}

static bool has_ended(const struct helper *h)
{
	return syscall(SYS_tgkill, getpid(), h->tid, 0) && errno == ESRCH;
}

/* A filter of the program's may kill it before it answers. */
static void await(struct helper *h)
{
	const struct timespec a_moment = {.tv_nsec = 50000000};
	u32 seen = __atomic_load_n(&call.answers, __ATOMIC_SEQ_CST);

	while (__atomic_load_n(&h->asked, __ATOMIC_SEQ_CST) && !has_ended(h)) {
		syscall(SYS_futex, &call.answers, FUTEX_WAIT_PRIVATE, seen, &a_moment);
		seen = __atomic_load_n(&call.answers, __ATOMIC_SEQ_CST);
	}
}

void thread_all_call(int sig, long nr, const long args[3])
{
	int e = errno;

	while (__atomic_load_n(&starting, __ATOMIC_SEQ_CST))
		sched_yield();
	pthread_mutex_lock(&lock);
	call.nr = nr;
	call.args = args;
	for (struct helper *h = helpers; h; h = h->next)
		ask(h, sig);
	for (struct helper *h = helpers; h; h = h->next)
		await(h);
	pthread_mutex_unlock(&lock);
	errno = e;
}

bool thread_take_call(void)
{
	struct helper *h = mine;
	int e = errno;

	if (!h || !__atomic_load_n(&h->asked, __ATOMIC_SEQ_CST))
		return h;
	syscall(call.nr, call.args[0], call.args[1], call.args[2]);
	__atomic_store_n(&h->asked, 0, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&call.answers, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &call.answers, FUTEX_WAKE_PRIVATE, 1, NULL);
	errno = e;
	return true;
}
