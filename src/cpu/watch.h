/* SPDX-License-Identifier: MIT */
/*
 * cpu/watch.h: the debug registers' breakpoints (SDM vol. 3, 17.2), the guest's or, with
 * KVM_GUESTDBG_USE_HW_BP, the VMM's in their place. Data and I/O accesses note what they hit in
 * c->watch_hits; the run loop makes the trap of it when the instruction is done.
 */
#ifndef CPU_WATCH_H
#define CPU_WATCH_H

#include "cpu/state.h"

/* Are the breakpoints in force the VMM's? */
bool watch_is_vmms(const struct cpu *c);
/* Instruction breakpoints at a linear address, as DR6 bits. Honours RF. */
u64 watch_code(const struct cpu *c, u64 la);
void watch_data(struct cpu *c, u64 la, u32 size, bool write);
void watch_port(struct cpu *c, u16 port, u32 size);

#endif
