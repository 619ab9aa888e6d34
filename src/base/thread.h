/* SPDX-License-Identifier: MIT */
/*
 * base/thread.h: helper threads of ours inside the VMM's process.
 *
 * A helper blocks every signal, so that none of the VMM's is ever delivered to it. The mask is
 * changed with raw system calls (the preload keeps the VMM's view of the C library's), and glibc
 * hands the kernel's mask on to the new thread. Any thread may call; takes no lock of ours.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/types.h"

#define KERNEL_SIGSET_BYTES 8 /* the kernel's sigset_t on x86-64 */

/* Block every signal in this thread; returns the mask before, for thread_restore_signals(). */
static inline u64 thread_block_signals(void)
{
	u64 all = ~0ULL, old = 0;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, KERNEL_SIGSET_BYTES);
	return old;
}

static inline void thread_restore_signals(u64 old)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, KERNEL_SIGSET_BYTES);
}

/* 0 or -errno. The thread is to be joined. */
static inline int thread_start(pthread_t *t, void *(*fn)(void *), void *arg)
{
	u64 old = thread_block_signals();
	int r = pthread_create(t, NULL, fn, arg);

	thread_restore_signals(old);
	return -r;
}

#endif
