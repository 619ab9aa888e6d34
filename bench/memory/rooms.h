/* SPDX-License-Identifier: MIT */
/* bench/memory/rooms.h: for benches that call mmu/ itself: one slot, and a vCPU that nobody interrupts. */
#ifndef BENCH_MEMORY_ROOMS_H
#define BENCH_MEMORY_ROOMS_H

#include "bench.h"
#include <stdlib.h>
#include "base/guard.h"
#include "mmu/mmu.h"
#include "primary/linux/linux.h"

static inline void rooms_kick(void *owner)
{
}

static inline bool rooms_interrupted(void *owner)
{
	return false;
}

static const struct mmu_vcpu_ops rooms_vcpu_ops = {rooms_kick, rooms_interrupted};

/* A VM on this process's memory, with one vCPU. */
static inline void rooms_create(struct mmu **mmu, struct mmu_vcpu **vcpu)
{
	void *primary;

	MUST(!guard_install() && !primary_linux_create(&primary) && !mmu_create(&primary_linux_ops, primary, mmu),
	     "no VM");
	*vcpu = calloc(1, sizeof(**vcpu));
	MUST(*vcpu, "no vCPU");
	mmu_vcpu_init(*mmu, *vcpu, 0, NULL, &rooms_vcpu_ops);
}

/* Slot 1, from guest address 0 on; size 0 deletes it. */
static inline void rooms_slot(struct mmu *mmu, u32 flags, u64 size, void *hva)
{
	struct mmu_region r = {1, flags, 0, size, (hva_t)hva};

	MUST(!mmu_set_region(mmu, &r), "memslot");
}

#endif
