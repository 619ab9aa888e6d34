/* SPDX-License-Identifier: MIT */
/*
 * preload/cancel.c: a thread that is cancelled asynchronously while it runs a vCPU.
 *
 * Under a real /dev/kvm the signal glibc sends interrupts KVM_RUN and the thread dies as the call
 * returns. Ours must not die in guest mode, with locks held: a window disables cancellation
 * (mask.c), and glibc then sends nothing. So a cancellation is noted for every thread that has
 * ever asked for the asynchronous kind, and our kick carries the news: the run ends, and the
 * thread dies where the window closes. The deferred kind does not interrupt an ioctl, here or
 * there.
 */
#include <pthread.h>
#include "preload/preload.h"
#include "preload/real.h"
#include "vm/signals.h"

/* A thread that has asked for asynchronous cancellation; in its TLS, unlinked as it ends. */
struct subject {
	struct subject *next; /* guarded by lock */
	pthread_t thread;
	int tid;
	bool linked;
	bool cancelled; /* atomic; for good */
	/* atomic: in a window, and cancellation was enabled and asynchronous before it */
	bool may_act;
};

static __thread struct subject self __attribute__((tls_model("initial-exec")));
static struct subject *subjects;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_exit;

/* With all signals blocked: a handler may make a call of ours, and close a window. */
static u64 lock_subjects(void)
{
	u64 all = ~0ULL, old = 0;

	raw4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
	pthread_mutex_lock(&lock);
	return old;
}

/* Kicks sent under the lock have been taken when this returns. */
static void unlock_subjects(u64 old)
{
	pthread_mutex_unlock(&lock);
	raw4(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
}

static void unlink_subject(void *arg)
{
	struct subject *s = arg, **p;
	u64 mask = lock_subjects();

	for (p = &subjects; *p != s; p = &(*p)->next)
		;
	*p = s->next;
	s->linked = false;
	unlock_subjects(mask);
}

static void make_key(void)
{
	if (pthread_key_create(&at_exit, unlink_subject))
		abort(); /* PTHREAD_KEYS_MAX of them in use */
	if (pthread_atfork(NULL, NULL, cancel_forked_child))
		abort();
}

static void link_self(void)
{
	u64 mask;

	pthread_once(&once, make_key);
	if (pthread_setspecific(at_exit, &self))
		abort();
	self.thread = pthread_self();
	self.tid = (int)raw0(SYS_gettid);
	mask = lock_subjects();
	self.next = subjects;
	subjects = &self;
	self.linked = true;
	unlock_subjects(mask);
}

EXPORT int pthread_setcanceltype(int type, int *old)
{
	if (type == PTHREAD_CANCEL_ASYNCHRONOUS && !self.linked)
		link_self();
	return REAL(pthread_setcanceltype)(type, old);
}

/*
 * The note comes first and the kick last: a thread that is entering a window sees the one, a
 * thread that is in it gets the other. Outside of a window there is nothing to end, and the kick
 * would break off a wait. While the lock is held the thread's descriptor stays good.
 */
EXPORT int pthread_cancel(pthread_t thread)
{
	struct subject *s;
	int r, state;
	u64 mask;

	/* the caller may be cancelled too, or cancel itself: not with the lock held */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	mask = lock_subjects();
	for (s = subjects; s && !pthread_equal(s->thread, thread); s = s->next)
		;
	if (s)
		__atomic_store_n(&s->cancelled, true, __ATOMIC_SEQ_CST);
	r = REAL(pthread_cancel)(thread);
	if (s && __atomic_load_n(&s->may_act, __ATOMIC_SEQ_CST))
		signals_send_kick((int)raw0(SYS_getpid), s->tid);
	unlock_subjects(mask);
	pthread_setcancelstate(state, NULL);
	return r;
}

bool cancel_subject(void)
{
	return unlikely(self.linked);
}

bool cancel_ends_run(void)
{
	return self.may_act && __atomic_load_n(&self.cancelled, __ATOMIC_SEQ_CST);
}

void cancel_window_opened(int state)
{
	int type;

	if (!cancel_subject())
		return;
	REAL(pthread_setcanceltype)(PTHREAD_CANCEL_DEFERRED, &type);
	REAL(pthread_setcanceltype)(type, NULL);
	__atomic_store_n(&self.may_act,
			 state == PTHREAD_CANCEL_ENABLE && type == PTHREAD_CANCEL_ASYNCHRONOUS,
			 __ATOMIC_SEQ_CST);
	if (cancel_ends_run())
		signals_end_call();
}

bool cancel_window_closing(int state)
{
	bool cancelled;
	u64 mask;

	if (likely(!cancel_subject())) {
		pthread_setcancelstate(state, NULL); /* deferred: acts on nothing */
		return false;
	}
	mask = lock_subjects();
	__atomic_store_n(&self.may_act, false, __ATOMIC_SEQ_CST);
	cancelled = self.cancelled && state == PTHREAD_CANCEL_ENABLE;
	if (!cancelled)
		pthread_setcancelstate(state, NULL);
	unlock_subjects(mask);
	return cancelled;
}

void cancel_act(int state)
{
	int type;

	/* glibc 2.36's pthread_setcancelstate() acts without saying PTHREAD_CANCELED to who joins;
	 * pthread_testcancel() says it. */
	REAL(pthread_setcanceltype)(PTHREAD_CANCEL_DEFERRED, &type);
	pthread_setcancelstate(state, NULL);
	if (type == PTHREAD_CANCEL_ASYNCHRONOUS)
		pthread_testcancel();
	REAL(pthread_setcanceltype)(type, NULL);
}

void cancel_forked_child(void)
{
	static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;

	/* Only the thread that forked lives on. */
	lock = fresh;
	subjects = self.linked ? &self : NULL;
	self.next = NULL;
	self.tid = (int)raw0(SYS_gettid);
}
