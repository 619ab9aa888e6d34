/* SPDX-License-Identifier: MIT */
/* mmu/ring.h: a vCPU's dirty ring as its writers see it. VMMs' calls stand in mmu.h. */
#ifndef MMU_RING_H
#define MMU_RING_H

#include "mmu/vcpu.h"

/* List a page; the same after a host-side write, unless it is listed. v's thread. */
void ring_add(struct mmu_vcpu *v, u32 slot, u64 offset);
/* Is there room for what a host-side write lists, beyond what a full ring keeps free? */
bool ring_has_room(const struct mmu_vcpu *v);
void ring_add_written(struct mmu_vcpu *v, u32 slot, u64 offset);

#endif
