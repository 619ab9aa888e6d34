/* SPDX-License-Identifier: MIT */
/*
 * base/thread.h: helper threads of ours inside the VMM's process.
 *
 * A helper blocks every signal but glibc's SIGSETXID, so that none of the VMM's is ever delivered
 * to it; what would fault in it is a defect of ours, and kills. The mask is
 * changed with raw system calls (the preload keeps the VMM's view of the C library's), and glibc
 * hands the kernel's mask on to the new thread. Its stack is memory of ours (own.h). Any thread may
 * call; takes no lock of ours but pagemem.h's.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/stack.h"

#define KERNEL_SIGSET_BYTES 8 /* the kernel's sigset_t on x86-64 */

/* glibc's set*id() sends it to every thread and waits for each. */
#define THREAD_SIGSETXID 33

/* Block every signal in this thread; returns the mask before, for thread_restore_signals(). */
static inline u64 thread_block_signals(void)
{
	u64 all = ~BIT(THREAD_SIGSETXID - 1), old = 0;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, KERNEL_SIGSET_BYTES);
	return old;
}

static inline void thread_restore_signals(u64 old)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, KERNEL_SIGSET_BYTES);
}

struct helper {
	pthread_t thread;
	void *stack;
	size_t stack_size;
	void *(*fn)(void *);
	void *arg;
	int tid;	     /* 0: not begun */
	u32 asked;	     /* to make the call of thread_all_call(); atomic */
	struct helper *next; /* of those that have begun; thread.c's lock */
};

/* Is this one of ours, which has begun and was not joined? */
bool thread_is_helper(int tid);
/* In a forked child, which has none. */
void thread_forked_child(void);
/* A new helper's first function: it is known from here on, and calls fn(arg). */
void *thread_begin(void *helper);
void thread_forget(struct helper *h);

/*
 * What a thread may do is its own, and a program changes it in each of its threads. Where its libc does not know
 * of ours, each of ours makes the same call, too, before this returns: `sig', which they let in (thread_on_begin),
 * has thread_take_call() for a handler, that says whether it was meant. With all signals blocked.
 */
void thread_all_call(int sig, long nr, const long args[3]);
bool thread_take_call(void);
extern void (*thread_on_begin)(void); /* on each helper; set once, before there is one */
void thread_starts(void);
void thread_did_not_start(void);

/*
 * No helper sleeps for longer. A filter of the program's may kill any of them at its next system call, and
 * none of what is left is to sleep for ever when the program is gone.
 */
#define THREAD_TICK_MS 5000
#define THREAD_TICK_NS (THREAD_TICK_MS * 1000000ULL)
extern void (*thread_on_tick)(void); /* vm/keeper.c's; atomic, set while other helpers run */

/* By a helper that holds nothing, whenever it has slept. */
static inline void thread_tick(void)
{
	void (*fn)(void) = __atomic_load_n(&thread_on_tick, __ATOMIC_ACQUIRE);

	if (fn)
		fn();
}

#ifdef __SANITIZE_THREAD__
#define THREAD_STACK (4 * STACK_SIZE) /* its runtime's variables are there, too */
#else
#define THREAD_STACK STACK_SIZE
#endif

typedef int thread_create_t(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

/* glibc puts the program's thread-local variables there, too, and says EINVAL when they do not fit. */
#define THREAD_STACK_MAX (64UL << 20)

/* 0 or an error number, as pthread_create(). */
static inline int thread_create_on_own_stack(struct helper *h, thread_create_t *create,
					     void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	int r = EINVAL;

	for (h->stack_size = THREAD_STACK; r == EINVAL && h->stack_size <= THREAD_STACK_MAX;
	     h->stack_size *= 4) {
		h->stack = stack_alloc(h->stack_size);
		if (!h->stack)
			return EAGAIN;
		pthread_attr_init(&attr);
		pthread_attr_setstack(&attr, (u8 *)h->stack + PAGE_SIZE,
				      h->stack_size - PAGE_SIZE);
		r = create(&h->thread, &attr, fn, arg);
		pthread_attr_destroy(&attr);
		if (!r)
			return 0;
		stack_free(h->stack, h->stack_size);
	}
	return r;
}

#ifdef __SANITIZE_THREAD__
/* Its runtime has to hear of each thread; the preload's pthread_create() is below it. */
thread_create_t __interceptor_pthread_create;
#define thread_create __interceptor_pthread_create
#else
#define thread_create pthread_create
#endif

/* 0 or -errno. The thread is to be joined. */
static inline int thread_start(struct helper *h, void *(*fn)(void *), void *arg)
{
	u64 old = thread_block_signals();
	int r;

	h->fn = fn;
	h->arg = arg;
	h->tid = 0;
	h->asked = 0;
	thread_starts();
	r = thread_create_on_own_stack(h, thread_create, thread_begin, h);
	if (r)
		thread_did_not_start();
	thread_restore_signals(old);
	return -r;
}

static inline void thread_join(struct helper *h)
{
	pthread_join(h->thread, NULL);
	thread_forget(h);
	stack_free(h->stack, h->stack_size);
}

#endif
