/* SPDX-License-Identifier: MIT */
/*
 * tests/mmu/points.h: races made to happen, one after the other.
 *
 * An operation of the room's, on the calling thread, has points: before each lock it takes, and after each
 * call of the kernel's. each_point() runs it again and again, and each time another thread comes in at the
 * next point, until the operation ends before it gets there. What comes in runs until it is done, or has to
 * wait for a lock; then the operation goes on. So each order of the two is tried that a lock between them
 * allows, however busy the machine is.
 *
 * The functions of the C library's that are watched are defined here: for the one source file of a test program.
 */
#ifndef TESTS_MMU_POINTS_H
#define TESTS_MMU_POINTS_H

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include "base/types.h"

/* A thread that comes in. */
struct other {
	void (*fn)(void *arg);
	void *arg;
	pthread_t thread;
	sem_t quiet; /* it is done, or waits for a lock */
	bool waited; /* its own, until it is quiet */
};

/* What a thread does at its points; and what it has the kernel's calls do: false, what they always do. */
static _Thread_local void (*at_point)(void);
static _Thread_local bool (*instead)(long nr, const long *a, long *r);
static _Thread_local struct other *as_other;
static _Thread_local long point_after; /* the number of the kernel's call, or LOCK */
#define LOCK (-1L)
static _Thread_local bool of_test; /* no thread of the room's own */

/* Nobody is left who would give a lock back: to wait for one would be for ever. */
static bool alone;
#define LOCKED_OUT 77 /* exit status */

static int (*real_mutex_lock)(pthread_mutex_t *m);
static int (*real_rdlock)(pthread_rwlock_t *l);
static int (*real_wrlock)(pthread_rwlock_t *l);

__attribute__((constructor)) static void find_real(void)
{
	real_mutex_lock = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_lock");
	real_rdlock = (int (*)(pthread_rwlock_t *))dlsym(RTLD_NEXT, "pthread_rwlock_rdlock");
	real_wrlock = (int (*)(pthread_rwlock_t *))dlsym(RTLD_NEXT, "pthread_rwlock_wrlock");
	of_test = true;
}

static void helper_point(long after, long r);

/* Nothing that is done at a point has points itself. */
static void point(long after, long r)
{
	void (*fn)(void) = at_point;

	if (!of_test)
		helper_point(after, r);
	if (!fn)
		return;
	point_after = after;
	at_point = NULL;
	fn();
	at_point = fn;
}

/* A lock was tried, and somebody has it. */
static void must_wait(void)
{
	if (alone)
		_exit(LOCKED_OUT);
	if (!as_other || as_other->waited)
		return;
	as_other->waited = true;
	sem_post(&as_other->quiet);
}

int pthread_mutex_lock(pthread_mutex_t *m)
{
	point(LOCK, 0);
	if (!pthread_mutex_trylock(m))
		return 0;
	must_wait();
	return real_mutex_lock(m);
}

int pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
	point(LOCK, 0);
	if (!pthread_rwlock_tryrdlock(l))
		return 0;
	must_wait();
	return real_rdlock(l);
}

int pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
	point(LOCK, 0);
	if (!pthread_rwlock_trywrlock(l))
		return 0;
	must_wait();
	return real_wrlock(l);
}

static long kernel_call(long nr, const long *a)
{
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}

/* With six arguments, whoever gives fewer: the kernel looks at none of the others. */
long syscall(long nr, ...)
{
	long a[6], r;
	va_list ap;

	va_start(ap, nr);
	for (unsigned i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!instead || !instead(nr, a, &r))
		r = kernel_call(nr, a);
	point(nr, r);
	if (r >= 0 || r < -4095)
		return r;
	errno = (int)-r;
	return -1;
}

/* ------------------------------------------------------------------ another thread, at one point after the other */

static void *other_thread(void *arg)
{
	struct other *o = arg;

	of_test = true;
	as_other = o;
	o->fn(o->arg);
	if (!o->waited)
		sem_post(&o->quiet);
	return NULL;
}

/* Until it is done, or waits for a lock. */
static void other_comes(struct other *o)
{
	sem_init(&o->quiet, 0, 0);
	o->waited = false;
	pthread_create(&o->thread, NULL, other_thread, o);
	while (sem_wait(&o->quiet))
		;
}

static void other_ends(struct other *o)
{
	pthread_join(o->thread, NULL);
	sem_destroy(&o->quiet);
}

static struct {
	struct other *who; /* NULL: nobody, or has come */
	unsigned left;	   /* points before it does */
	long after;	   /* at those after this call of the kernel's only, or ANY */
} coming;
#define ANY (-2L)

static void count_point(void)
{
	int err = errno;

	if (coming.who && (coming.after == ANY || coming.after == point_after) && !coming.left--) {
		other_comes(coming.who);
		coming.who = NULL;
	}
	errno = err;
}

/* The operation, with o coming in at its point number n of those after that call. False: there are fewer. */
static bool with_other_at(unsigned n, long after, void (*operation)(void *arg), void *arg, struct other *o)
{
	coming.who = o;
	coming.left = n;
	coming.after = after;
	at_point = count_point;
	operation(arg);
	at_point = NULL;
	if (coming.who)
		return false;
	other_ends(o);
	return true;
}

/*
 * The same for the thread of the room's own that reads what the kernel tells of. Its points are counted
 * from its next read on that brings something, until not_to_helper().
 */
static struct {
	pthread_mutex_t lock; /* of what follows */
	struct other *who;    /* NULL: nobody, or has come */
	unsigned left;
	bool counting;
} to_helper = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void helper_point(long after, long r)
{
	struct other *o = NULL;

	real_mutex_lock(&to_helper.lock);
	to_helper.counting |= after == SYS_read && r > 0;
	if (to_helper.who && to_helper.counting && !to_helper.left--) {
		o = to_helper.who;
		to_helper.who = NULL;
	}
	pthread_mutex_unlock(&to_helper.lock);
	if (o)
		other_comes(o);
}

static void to_helper_at(unsigned n, struct other *o)
{
	real_mutex_lock(&to_helper.lock);
	to_helper.who = o;
	to_helper.left = n;
	to_helper.counting = false;
	pthread_mutex_unlock(&to_helper.lock);
}

/* The helper has done what it was to do. Has the other come? Then it has ended, too. */
static bool not_to_helper(struct other *o)
{
	bool came;

	real_mutex_lock(&to_helper.lock);
	came = !to_helper.who;
	to_helper.who = NULL;
	pthread_mutex_unlock(&to_helper.lock);
	if (came)
		other_ends(o);
	return came;
}

/* At each point there is; `before` and `after` are around each time. */
static void each_point(void (*operation)(void *arg), void (*other)(void *arg), void (*before)(void *arg),
		       void (*after)(void *arg), void *arg)
{
	struct other o = {.fn = other, .arg = arg};
	unsigned n = 0;
	bool came;

	do {
		before(arg);
		came = with_other_at(n, ANY, operation, arg, &o);
		after(arg);
	} while (came && ++n);
	assert_true(n > 0);
}

#endif
