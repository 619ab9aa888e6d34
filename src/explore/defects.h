/* SPDX-License-Identifier: MIT */
/*
 * explore/defects.h: mistakes that history has made. One can be switched on for the executions
 * that follow, to prove that the explorer finds it; mmu/ asks by sync_defect(NAME) (sync/defect.h),
 * which in production is a constant no.
 */
#ifndef EXPLORE_DEFECTS_H
#define EXPLORE_DEFECTS_H

enum sync_defect {
	DEFECT_NONE,
	DEFECT_NO_SEQUENCE_CHECK,    /* a fault installs without looking for an invalidation */
	DEFECT_SEQUENCE_AFTER_FAULT, /* the snapshot is taken after the primary MMU was asked */
	DEFECT_NO_ZAP,		     /* begin leaves the range in stage 2 */
	DEFECT_NO_FLUSH,	     /* begin returns without waiting for running vCPUs */
	DEFECT_CACHE_KEPT,	     /* begin does not mark host-side caches stale */
	DEFECT_DROP_BY_PFN,	     /* a reference is dropped by what the pfn looks like */
	DEFECT_NO_GRACE_PERIOD,	     /* an old memslot array is freed at once */
	DEFECT_GMEM_LOST_END,	     /* a punch ends only where it still finds a binding now */
	DEFECT_GMEM_FIRST_FILE_ONLY, /* a punch invalidates the VM of its own file alone */
	DEFECT_GMEM_NO_STORE_LOCK,   /* slots are bound, and their faults served, during a punch */
	DEFECT_ATTRIBUTE_NOT_RECHECKED, /* a fault believes the attribute it read before the lock */
	DEFECT_COPY_NOT_AWAITED,     /* a conversion does not wait for host-side copies */
	DEFECT_TEARDOWN_UNCHECKED,   /* an end is lost, and teardown does not look */
	DEFECT_PIN_KEPT,	     /* a fault's reference is held on, into guest mode */
	DEFECT_MARK_UNHELD,	     /* a page is marked after its reference was dropped */
	DEFECT_MARKS_DROPPED,	     /* a zap does not hand accessed and dirty back */
	DEFECT_NEEDS_PAGE,	     /* memory without a reference count is kept out of guests */
	DEFECT_PAGE_BY_PFN,	     /* a pfn is taken to be a page's with a reference count */
	DEFECT_END_LOOKS_UP,	     /* end looks for a memslot, and does nothing without one */
	DEFECT_TOKEN_NO_REF,	     /* a token does not keep the VM's memory alive */
	DEFECT_LATE_ZAP,	     /* a VM zaps when no invalidation reaches it any more */
	DEFECT_PIN_WEAK,	     /* a long-term pin holds no reference (in the model itself) */
	DEFECT_SLOT_NOT_RECHECKED,   /* a fault believes the memslot it found before the lock */
	DEFECT_SLOTS_WAIT,	     /* a memslot update waits for invalidations to end */
	DEFECT_ARRAY_KEPT,	     /* a memslot update that fails keeps what it has made */
	DEFECT_LOG_OF_OLD_SLOT,	     /* a write is logged in the memslot that was found before it */
	DEFECT_LOG_OF_NEW_SLOT,	     /* a write is logged in the memslot that is found after it */
	DEFECT_ANSWER_TO_ANOTHER,    /* a flush takes the answer to another request for its own */
	DEFECT_RING_SHOWN_FIRST,     /* a dirty ring's entry can be collected before it is counted */
	DEFECT_TOLD_IN_GUEST,	     /* a vCPU waits for the list of vCPUs in guest mode */
	DEFECT_NO_GATE,		     /* a vCPU enters guest mode while another has stopped it */
	DEFECT_LOST_STOP,	     /* a vCPU looks for a stop before it takes its requests up */
	NR_DEFECTS,
};

extern enum sync_defect sync_defect_on;

#endif
