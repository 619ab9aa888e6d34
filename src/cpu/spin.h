/* SPDX-License-Identifier: MIT */
/*
 * cpu/spin.h: pause-loop fairness. A guest that spins on PAUSE waits for another vCPU, which with
 * more vCPUs than cores may be waiting for this one's core. As a processor's pause-loop exiting
 * does (SDM vol. 3, 25.1.3), take PAUSEs that follow each other closely for one loop, and when it
 * has lasted a while, leave guest mode and let others run. Where no other vCPU could be waited for
 * the loop measures time, most likely; as under KVM, which would yield to other vCPUs only, it keeps its
 * turn: a delay of a thousand loops that loses each time what others on the machine take for theirs
 * is a minute instead of a tenth of a second.
 */
#ifndef CPU_SPIN_H
#define CPU_SPIN_H

#include <x86intrin.h>
#include "cpu/state.h"
#include "sync/atomic.h"

/* Private request: look at spin_yield() at the next block boundary. */
#define CPU_REQ_SPIN (1u << 30)

/* In cycles of the host's TSC: what may lie between two PAUSEs of a loop, and how long a loop may
 * last. KVM's window for hardware is 4096; an interpreted loop is slower by an order. */
#define SPIN_GAP    20000
#define SPIN_WINDOW 50000

/* A PAUSE was executed. In guest mode. */
static inline void spin_pause(struct cpu *c)
{
	u64 now = __rdtsc();

	c->waited = true;
	if (now - c->spin.last > SPIN_GAP) {
		c->spin.first = now;
		c->spin.yields = 0;
	} else if (now - c->spin.first > SPIN_WINDOW) {
		sync_or(&c->mmu.requests, CPU_REQ_SPIN);
	}
	c->spin.last = now;
}

/* Nobody is to have a turn for it: look again when it has lasted as long once more. */
static inline void spin_goes_on(struct cpu *c)
{
	c->spin.first = c->spin.last;
}

/* The loop is over: the next PAUSE begins one. */
static inline void spin_ends(struct cpu *c)
{
	c->spin.last = 0;
}

/* Let others run. Outside guest mode. */
void spin_yield(struct cpu *c);

#endif
