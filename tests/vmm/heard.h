/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/heard.h: how soon a signal ends KVM_RUN.
 *
 * One thread asks, by a signal, and the vCPU's answers when KVM_RUN has returned. What counts is the CPU time
 * of the vCPU's thread between the two, as far as the thread was seen at work in it: more than heard_limit()
 * is a failure.
 *
 * CPU time alone is no measure. Where Linux is a guest itself, its hypervisor may take a processor away and
 * not say so, and then that time counts as CPU time of the thread that was there: 20 ms at once were seen. So
 * HEARD_SIGNAL comes to the thread again and again while a question is open, and its handler notes the CPU
 * time. Between two of these, and before the first and behind the last, a tick of the kernel's counts at most.
 * A thread that is deaf for 20 ms handles five, at 250 ticks a second; one that had no processor for so long
 * handles one.
 *
 * A timer of the thread's own CPU time sends it, at a tick in which the thread runs, and so does who looks at
 * the thread (heard_look()). A thread that sleeps uses no CPU time and gets none: what the question has failed
 * to wake stays asleep. The handler is installed at the kernel, not by libc's sigaction(): the handlers that
 * userkvm knows of wait for the end of KVM_RUN.
 *
 * What is not seen: a stretch in the kernel, or with HEARD_SIGNAL blocked, that is longer than a tick. It
 * counts as one tick, however long it is. And on a busy machine, a turn on the processor that was over before
 * the tick and before anybody looked: among eight others, half of a deaf thread's CPU time was seen by ticks
 * alone, and all of it where somebody looked every 0.1 ms.
 */
#ifndef TESTS_VMM_HEARD_H
#define TESTS_VMM_HEARD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define HEARD_NS     10000000ULL /* see heard_limit() */
#define HEARD_SIGNAL SIGUSR2	 /* the programs that measure leave it alone */
#define HEARD_PLACES 16

struct heard {
	/* Its CPU time when it was asked, an even number; odd: asked, and when is not known yet; 0: not asked. */
	_Atomic uint64_t since;
	_Atomic int tid; /* of the thread that listens, or 0 */
	int timer;
	uint64_t worst; /* ns at work, of all answers */

	/* The listening thread's own, and its handler's. */
	_Atomic int answering;
	uint64_t entered;	/* its CPU time at heard_enters() */
	_Atomic uint64_t last;	/* and when it was seen last */
	uint64_t took;		/* CPU time since it was asked; ns */
	_Atomic uint64_t seen;	/* as far as it was at work; ns */
	uint32_t beats;		/* times it was seen since it was asked */
	uint64_t places[HEARD_PLACES]; /* where it was then, a ring */
	struct {
		uint64_t took, seen;
		uint32_t beats;
	} answer; /* the last one */
};

/* The calling thread's runs are measured by `h` until heard_leave(). `h` is there until nobody asks any more. */
void heard_listen(struct heard *h);
void heard_leave(void);
/* What the calling thread listens by, or NULL. */
struct heard *heard_mine(void);

/* Any thread: send `sig`. Nothing while nobody listens, and as below while the last question is open. */
void heard_ask(struct heard *h, int sig);
/* Any thread, every few ms: a thread that was asked is looked at. Nothing while none is. */
void heard_look(struct heard *h);
/* The calling thread is asked now, or was and is looked at: a handler calls this, `uc` its context or NULL. */
void heard_asked(struct heard *h, const void *uc);
/* KVM_RUN begins: what passed since the question was the VMM's own. Not needed where that is little. */
void heard_enters(struct heard *h);
/* The answer: the calling thread was at work for so long since it was asked, ns; 0: it was not asked. */
uint64_t heard_returned(struct heard *h);
/* The same; was it later than heard_limit()? Then stderr is told by heard_print(). */
bool heard_late(struct heard *h);
/* Any thread: for so long by now, as far as is known; ns. */
uint64_t heard_so_far(struct heard *h);

/* HEARD_NS, or three ticks where these are longer (fewer than 300 a second): one of them may be a stall's. */
uint64_t heard_limit(void);
uint64_t heard_tick(void); /* ns */
/* How long the answer took, the last one or one that is due, and where the thread was meanwhile. */
void heard_print(FILE *to, const struct heard *h);

#endif
