/* SPDX-License-Identifier: MIT */
/* sync/defect.h (explorer's build): one defect can be switched on for an execution. */
#ifndef SYNC_DEFECT_H
#define SYNC_DEFECT_H

enum sync_defect {
	DEFECT_NONE,
	DEFECT_NO_SEQUENCE_CHECK,    /* a fault installs without looking for an invalidation */
	DEFECT_SEQUENCE_AFTER_FAULT, /* the snapshot is taken after the primary MMU was asked */
	DEFECT_NO_FLUSH,	     /* begin returns without waiting for running vCPUs */
	DEFECT_CACHE_KEPT,	     /* begin does not mark host-side caches stale */
	DEFECT_DROP_BY_PFN,	     /* a reference is dropped by what the pfn looks like */
	DEFECT_NO_GRACE_PERIOD,	     /* an old memslot array is freed at once */
};

extern enum sync_defect sync_defect_on;

#define sync_defect(name) (sync_defect_on == DEFECT_##name)

#endif
