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
#include <sys/syscall.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/pagemem.h"

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

#define THREAD_STACK (256UL << 10) /* bytes */

/* A stack in *attr, which is then to be destroyed, with a page below it that nobody reaches. */
static inline void *thread_stack_alloc(pthread_attr_t *attr)
{
	void *stack = pagemem_alloc(THREAD_STACK);

	if (!stack)
		return NULL;
	syscall(SYS_mprotect, stack, PAGE_SIZE, PROT_NONE);
	pthread_attr_init(attr);
	pthread_attr_setstack(attr, (u8 *)stack + PAGE_SIZE, THREAD_STACK - PAGE_SIZE);
	return stack;
}

struct helper {
	pthread_t thread;
	void *stack;
};

/* 0 or -errno. The thread is to be joined. */
static inline int thread_start(struct helper *h, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	u64 old;
	int r;

	h->stack = thread_stack_alloc(&attr);
	if (!h->stack)
		return -ENOMEM;
	old = thread_block_signals();
	r = pthread_create(&h->thread, &attr, fn, arg);
	thread_restore_signals(old);
	pthread_attr_destroy(&attr);
	if (r)
		pagemem_free(h->stack, THREAD_STACK);
	return -r;
}

static inline void thread_join(struct helper *h)
{
	pthread_join(h->thread, NULL);
	pagemem_free(h->stack, THREAD_STACK);
}

#endif
