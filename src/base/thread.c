/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

void (*thread_on_tick)(void);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* innermost; not from a handler */
static struct helper *helpers;				 /* guarded by the lock */

void *thread_begin(void *helper)
{
	struct helper *h = helper;

	pthread_mutex_lock(&lock);
	h->tid = (int)syscall(SYS_gettid);
	h->next = helpers;
	helpers = h;
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
}
