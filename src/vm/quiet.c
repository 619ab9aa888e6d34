/* SPDX-License-Identifier: MIT */
/* vm/quiet.c: see quiet.h. */
#include "vm/quiet.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/thread.h"
#include "sync/atomic.h"
#include "sync/lock.h"
#include "vm/keeper.h"
#include "vm/signals.h"
#include "vm/vm.h"

static struct mutex lock = {.m = PTHREAD_MUTEX_INITIALIZER};
static struct vcpu *runs; /* atomic: through ->quiet_next; guarded by lock, and so is what follows */
static u64 watched;
static bool started;
static int epoll, signals; /* the keeper's numbers */
static struct helper thread; /* lives as long as the process */

/* With lock held. */
static void have_all_look(void)
{
	for (struct vcpu *v = runs; v; v = v->quiet_next) {
		sync_store(&v->quiet_look, 1);
		vcpu_post(v, VCPU_REQ_SIGNAL);
		signals_kick(v, sync_load(&v->tid)); /* it may be in a fault of the host's */
	}
}

static void *listen(void *unused)
{
	struct epoll_event ev;

	keeper_table = true;
	for (;;) {
		long n = syscall(SYS_epoll_wait, epoll, &ev, 1L, (long)THREAD_TICK_MS);

		thread_tick();
		if (n != 1)
			continue;
		mutex_lock(&lock);
		have_all_look();
		mutex_unlock(&lock);
	}
	return unused;
}

/* On the keeper's thread. */
static long watch(void *unused)
{
	/* Edge-triggered: what is pending stays so until the program takes it. */
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	long r;

	(void)unused;
	signals = (int)syscall(SYS_signalfd4, started ? signals : -1, &watched,
			       (long)KERNEL_SIGSET_BYTES, (long)O_CLOEXEC);
	if (started)
		return 0;
	epoll = (int)syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
	r = signals < 0 || epoll < 0 ? -EMFILE
				     : syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, signals, &ev);
	if (!r)
		r = thread_start(&thread, listen, NULL);
	if (r) {
		syscall(SYS_close, signals);
		syscall(SYS_close, epoll);
	}
	return r;
}

void quiet_begin(struct vcpu *v, u64 set)
{
	mutex_lock(&lock);
	v->quiet_next = runs;
	sync_store(&runs, v);
	if (set & ~watched) {
		watched |= set;
		if (!keeper_call(watch, NULL))
			started = true;
		else
			watched = 0; /* the next run tries again */
	}
	mutex_unlock(&lock);
	/* what came before */
	sync_store(&v->quiet_look, 1);
	mmu_vcpu_request(&v->cpu->mmu, VCPU_REQ_SIGNAL);
}

void quiet_end(struct vcpu *v)
{
	struct vcpu **p = &runs;

	mutex_lock(&lock);
	while (*p != v)
		p = &(*p)->quiet_next;
	sync_store(p, v->quiet_next);
	mutex_unlock(&lock);
}

bool quiet_any(void)
{
	return sync_load(&runs);
}

void quiet_sent(void)
{
	mutex_lock(&lock);
	have_all_look();
	mutex_unlock(&lock);
}

void quiet_forked_child(void)
{
	mutex_init(&lock);
	runs = NULL;
	watched = 0;
	started = false;
}
