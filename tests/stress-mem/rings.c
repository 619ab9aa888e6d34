/* SPDX-License-Identifier: MIT */
/* Dirty rings: taken by whoever harvests an area, and by a vCPU whose own is full. */
#include <linux/kvm.h>
#include <string.h>
#include "stress.h"

static struct {
	pthread_mutex_t lock;
	u32 next[MAX_VCPUS];
	u64 dirty[MAX_AREAS][PAGES / 64]; /* taken out, and not asked for yet */
} rings = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void take(const struct kvm_dirty_gfn *e)
{
	u32 area = e->slot - FIRST_SLOT;

	MUST(area < nareas && e->offset < areas[area].npages,
	     "a dirty ring names page %llu of slot %u", e->offset, e->slot);
	rings.dirty[area][e->offset / 64] |= 1ULL << (e->offset % 64);
}

static void collect(void)
{
	for (u32 i = 0; i < machine.nvcpus; i++) {
		for (;;) {
			struct kvm_dirty_gfn *e = &machine.rings[i][rings.next[i] % RING_ENTRIES];

			if (LOAD(e->flags) != KVM_DIRTY_GFN_F_DIRTY)
				break;
			take(e);
			STORE(e->flags, KVM_DIRTY_GFN_F_RESET);
			rings.next[i]++;
		}
	}
	machine_reset_rings();
}

void rings_collect(void)
{
	pthread_mutex_lock(&rings.lock);
	collect();
	pthread_mutex_unlock(&rings.lock);
}

void rings_harvest(u32 area, u64 *bitmap)
{
	pthread_mutex_lock(&rings.lock);
	collect();
	memcpy(bitmap, rings.dirty[area], sizeof(rings.dirty[area]));
	memset(rings.dirty[area], 0, sizeof(rings.dirty[area]));
	pthread_mutex_unlock(&rings.lock);
}
