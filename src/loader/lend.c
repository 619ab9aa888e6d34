/* SPDX-License-Identifier: MIT */
#include "loader/lend.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include "base/identity.h"
#include "base/stack.h"
#include "base/thread.h"
#include "loader/thread_block.h"
#include "preload/raw.h"
#include "preload/real.h"

#define OVER	     256    /* bytes left above a lent stack */

_Static_assert(offsetof(struct lent, fs) == LENT_FS, "assembly");
_Static_assert(offsetof(struct lent, stack) == LENT_STACK, "assembly");
_Static_assert(offsetof(struct lent, program_fs) == LENT_PROGRAM_FS, "assembly");
_Static_assert(offsetof(struct lent, born) == LENT_BORN, "assembly");
_Static_assert(offsetof(struct lent, direct.gate) == LENT_DIRECT_GATE, "assembly");
_Static_assert(offsetof(struct lent, direct.back) == LENT_DIRECT_BACK, "assembly");
_Static_assert(offsetof(struct lent, direct.fd) == LENT_DIRECT_FD, "assembly");
_Static_assert(offsetof(struct lent, direct.arg) == LENT_DIRECT_ARG, "assembly");
_Static_assert(offsetof(struct lent, direct.epoch) == LENT_DIRECT_EPOCH, "assembly");
_Static_assert(offsetof(struct lent, handler_mask) == LENT_HANDLER_MASK, "assembly");
_Static_assert(offsetof(struct lent, mine_blocks_sys) == LENT_BLOCKS_SYS, "assembly");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* with all signals blocked */
static struct lent *all;				 /* guarded by the lock */

static u64 tid_at; /* where in a block it is, as the first thread's shows: 0, not known */

static u32 *find_tid(u64 fs)
{
	u32 *word = tid_at ? (u32 *)(fs + tid_at) : thread_block_tid(fs, (u32)raw0(SYS_gettid));

	if (word)
		tid_at = (u64)word - fs;
	return word;
}

static void add(struct lent *l)
{
	pthread_mutex_lock(&lock);
	l->next = all;
	all = l;
	pthread_mutex_unlock(&lock);
}

/* ------------------------------------------------------------------ a new block */

/* On the thread whose body the block is to be. libc is not told that it ends. */
static void *leave_body(void *arg)
{
	struct lent *l = arg;

	l->fs = lend_fs();
	l->stack = ALIGN_DOWN((u64)__builtin_frame_address(0) - OVER, 16);
	__atomic_store_n(&l->libc_tid, find_tid(l->fs), __ATOMIC_RELEASE);
	raw1(SYS_exit, 0);
	return NULL; /* never */
}

/* The kernel clears the word and wakes who waits there (CLONE_CHILD_CLEARTID). */
static void wait_for_end(struct lent *l)
{
	u32 *word, tid;

	while (!(word = __atomic_load_n(&l->libc_tid, __ATOMIC_ACQUIRE)))
		raw0(SYS_sched_yield);
	while ((tid = __atomic_load_n(word, __ATOMIC_ACQUIRE)))
		raw4(SYS_futex, word, FUTEX_WAIT, tid, 0);
}

static struct lent *make(void)
{
	struct lent *l = calloc(1, sizeof(*l));
	struct helper h;

	if (!l)
		return NULL;
	if (thread_create_on_own_stack(&h, REAL(pthread_create), leave_body, l)) {
		free(l);
		return NULL;
	}
	wait_for_end(l);
	add(l);
	return l;
}

/* ------------------------------------------------------------------ from thread to thread */

static bool has_ended(int tid)
{
	return !tid || raw3(SYS_tgkill, raw0(SYS_getpid), tid, 0) == -ESRCH;
}

static struct lent *find_free(void)
{
	struct lent *l;

	pthread_mutex_lock(&lock);
	for (l = all; l && !(l->free && has_ended(l->tid)); l = l->next)
		;
	if (l)
		l->free = false;
	pthread_mutex_unlock(&lock);
	return l;
}

struct lent *lend_take(void)
{
	struct lent *l = find_free();

	if (!l)
		l = make();
	if (!l)
		return NULL;
	l->born = 0;
	l->unborn = NULL;
	l->mine_blocks_sys = false;
	l->direct = (struct direct){0};
	l->epoch = 0;
	__atomic_store_n(&l->tid, 0, __ATOMIC_RELEASE);
	return l;
}

void lend_give_back(struct lent *l)
{
	pthread_mutex_lock(&lock);
	l->free = true;
	pthread_mutex_unlock(&lock);
}

/*
 * Our libc puts a handler of its own under THREAD_SIGSETXID when it makes its first thread. That is this one, before
 * the program begins: the signal is the program's, whose libc or runtime makes all its threads call set*id() by it.
 */
static int make_first(void)
{
	u64 was[4]; /* struct kernel_action */
	struct lent *l;

	raw4(SYS_rt_sigaction, THREAD_SIGSETXID, NULL, was, KERNEL_SIGSET_BYTES);
	l = make();
	raw4(SYS_rt_sigaction, THREAD_SIGSETXID, was, NULL, KERNEL_SIGSET_BYTES);
	if (!l)
		return -EAGAIN;
	lend_give_back(l);
	return 0;
}

int lend_first(void)
{
	struct lent *l = calloc(1, sizeof(*l));
	void *stack = stack_alloc(STACK_SIZE);

	if (!l || !stack)
		return -ENOMEM;
	l->fs = lend_fs();
	l->stack = (u64)stack + STACK_SIZE - OVER;
	l->libc_tid = find_tid(l->fs);
	if (!l->libc_tid)
		return -ENOTSUP;
	l->tid = (int)*l->libc_tid;
	add(l);
	lend_set_mine(l);
	return make_first();
}

void lend_claim(struct lent *l)
{
	l->tid = (int)raw0(SYS_gettid);
	*l->libc_tid = (u32)l->tid;
	identity_thread_changed();
}

/*
 * The blocks of the threads that are not here are left as they are: each is a thread in the midst of
 * something, and liburcu has forgotten it as a reader while the block still says where it reads.
 */
void lend_forked_child(struct lent *me)
{
	static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;

	lock = fresh;
	all = me;
	me->next = NULL;
	me->unborn = NULL;
	lend_claim(me);
}
