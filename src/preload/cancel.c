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
	bool may_act;	/* the window's thread: cancellation was enabled and asynchronous */
};

static __thread struct subject self __attribute__((tls_model("initial-exec")));
static struct subject *subjects;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_exit;

static void unlink_subject(void *arg)
{
	struct subject *s = arg, **p;

	pthread_mutex_lock(&lock);
	for (p = &subjects; *p != s; p = &(*p)->next)
		;
	*p = s->next;
	s->linked = false;
	pthread_mutex_unlock(&lock);
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
	pthread_once(&once, make_key);
	if (pthread_setspecific(at_exit, &self))
		abort();
	self.thread = pthread_self();
	self.tid = (int)raw0(SYS_gettid);
	pthread_mutex_lock(&lock);
	self.next = subjects;
	subjects = &self;
	self.linked = true;
	pthread_mutex_unlock(&lock);
}

EXPORT int pthread_setcanceltype(int type, int *old)
{
	if (type == PTHREAD_CANCEL_ASYNCHRONOUS && !self.linked)
		link_self();
	return REAL(pthread_setcanceltype)(type, old);
}

/*
 * The note comes first and the kick last: a thread that is entering a window sees the one, a
 * thread that is in it the other. While the lock is held the thread's descriptor stays good.
 */
EXPORT int pthread_cancel(pthread_t thread)
{
	struct subject *s;
	int r, state;

	/* the caller may be cancelled too, or cancel itself: not with the lock held */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_mutex_lock(&lock);
	for (s = subjects; s && !pthread_equal(s->thread, thread); s = s->next)
		;
	if (s)
		__atomic_store_n(&s->cancelled, true, __ATOMIC_SEQ_CST);
	r = REAL(pthread_cancel)(thread);
	if (s && armed())
		raw3(SYS_tgkill, raw0(SYS_getpid), s->tid, signals_kick_number());
	pthread_mutex_unlock(&lock);
	pthread_setcancelstate(state, NULL);
	return r;
}

bool cancel_ends_run(void)
{
	return self.may_act && __atomic_load_n(&self.cancelled, __ATOMIC_SEQ_CST);
}

void cancel_window_opened(int state)
{
	int type;

	if (likely(!self.linked))
		return;
	REAL(pthread_setcanceltype)(PTHREAD_CANCEL_DEFERRED, &type);
	REAL(pthread_setcanceltype)(type, NULL);
	self.may_act = state == PTHREAD_CANCEL_ENABLE && type == PTHREAD_CANCEL_ASYNCHRONOUS;
	if (cancel_ends_run())
		signals_end_call();
}

void cancel_window_closed(int state)
{
	int type;

	if (likely(!self.linked || state == PTHREAD_CANCEL_DISABLE)) {
		pthread_setcancelstate(state, NULL);
		return;
	}
	self.may_act = false;
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
