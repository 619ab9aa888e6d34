/* SPDX-License-Identifier: MIT */
/*
 * primary/linux/internal.h: what the files of this room share.
 *
 * Locks, outer first: registry_lock, regions_lock. Neither is held over a guarded touch, a call
 * of the notifier or an allocation.
 */
#ifndef PRIMARY_LINUX_INTERNAL_H
#define PRIMARY_LINUX_INTERNAL_H

#include <assert.h>
#include "base/interval.h"
#include "primary/linux/linux.h"
#include "sync/atomic.h"
#include "sync/lock.h"

/* One line of /proc/self/maps: a mapping with one permission. */
struct region {
	hva_t start, end;
	bool readable, writable, shared;
	u64 off; /* of start in the file */
	u64 dev, ino;
};

/* What is mapped at hva, from the cache or the kernel. 0, -EFAULT (nothing) or -errno. */
int regions_find(hva_t hva, struct region *out);
/* Mappings in [start, end) may no longer be what the cache says. */
void regions_forget(void);

struct range {
	struct interval node;
	struct range *next; /* of the primary's list */
};

/* A VM's view of the process. */
struct primary_linux {
	struct primary_notifier notifier; /* registry_lock */
	struct interval_tree ranges;	  /* struct range; registry_lock */
	struct primary_linux *next;	  /* in the registry; registry_lock */
	u32 busy;			  /* atomic: notifier begins running */
};

void registry_add(struct primary_linux *p);
/* Returns when no notifier begin of p is running, and none will. */
void registry_remove(struct primary_linux *p);
int registry_range_add(struct primary_linux *p, hva_t start, u64 len);
void registry_range_remove(struct primary_linux *p, hva_t start, u64 len);

#endif
