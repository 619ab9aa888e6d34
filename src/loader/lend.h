/* SPDX-License-Identifier: MIT */
/*
 * loader/lend.h: a thread block of our libc and a stack, for each thread of the program's.
 *
 * Our code is C on glibc and uses thread-local variables. A thread that another libc made, or Go's
 * runtime, has an FS base of its own, and perhaps little stack. While it is in a call of ours it
 * has a lent FS base and stands on a lent stack. Its GS base, which no libc uses, leads to them.
 *
 * A block is the body of a thread that our libc made and that ended at once, without libc's being
 * told: so no thread of ours is there to be counted. The program's first thread has the block that
 * our libc started on.
 */
#ifndef LOADER_LEND_H
#define LOADER_LEND_H

#include "loader/layout.h"

/* Offsets in struct lent that assembly knows. */
#define LENT_FS		0
#define LENT_STACK	8
#define LENT_PROGRAM_FS 16
#define LENT_BORN	24 /* boot/calls.S */
/* direct.h */
#define LENT_DIRECT_GATE  32
#define LENT_DIRECT_BACK  40
#define LENT_DIRECT_FD	  48
#define LENT_DIRECT_ARG	  56
#define LENT_DIRECT_EPOCH 64
#define LENT_HANDLER_MASK 80
#define LENT_BLOCKS_SYS	  100
#define UC_SIGMASK	  296 /* of a ucontext_t */

#ifndef __ASSEMBLER__
#include <stdbool.h>

struct lent {
	u64 fs;
	u64 stack;	/* its top, aligned to 16 bytes; nobody stands on it between two calls */
	u64 program_fs; /* while the thread is in a call of ours: the program's */
	s64 born;	/* what the last clone() of a thread returned */

	/* The KVM_RUN that this thread may make without a trap; direct.h says when. */
	struct direct {
		u64 gate; /* behind which it is made; 0: there is none */
		u64 back; /* where the program goes on */
		u64 fd, arg;
		u64 epoch;
	} direct;
	u64 epoch; /* direct.c: when the last trapped KVM_RUN was carried out */
	u64 handler_mask; /* trap.S: that the program's handler of SIGSYS begins with */

	u32 *libc_tid; /* where the block has its thread's id */
	int tid;       /* the thread's; 0: not come yet; atomic */
	bool mine_blocks_sys; /* the program believes that it blocks SIGSYS */
	u64 waits_mask;	      /* signals.c: of the call that waits with one of its own */
	u64 waits_words[2];   /* pselect6()'s last argument, that leads there */
	struct lent *unborn;  /* for the thread that is being made; not claimed yet */
	struct lent *next;    /* of all; never changes */
	bool free;	      /* guarded by the lock: its thread has ended or never came */
};

/* The block of the process's first thread, which is the caller. 0 or -errno. */
int lend_first(void);
/* A block for a thread that is about to be made, or NULL. Allocates; may make a thread. */
struct lent *lend_take(void);
/* Nobody has taken it, or its thread makes no call of ours any more but is still there. */
void lend_give_back(struct lent *l);
/* On a thread's first call: it is the calling one's. */
void lend_claim(struct lent *l);
/* In a forked child: only `me` has a thread. */
void lend_forked_child(struct lent *me);

static inline u64 lend_fs(void)
{
	u64 fs;

	asm volatile("rdfsbase %0" : "=r"(fs));
	return fs;
}

static inline struct lent *lend_mine(void)
{
	u64 gs;

	asm volatile("rdgsbase %0" : "=r"(gs));
	return (struct lent *)gs;
}

static inline void lend_set_fs(u64 fs)
{
	asm volatile("wrfsbase %0" : : "r"(fs) : "memory");
}

static inline void lend_set_mine(struct lent *l)
{
	asm volatile("wrgsbase %0" : : "r"(l) : "memory");
}
#endif

#endif
