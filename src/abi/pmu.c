/* SPDX-License-Identifier: MIT */
/*
 * abi/pmu.c: KVM_SET_PMU_EVENT_FILTER (api.rst, 4.120). A guest has no performance counters here, as with
 * KVM where they are switched off, so a filter is checked as KVM checks it, and nothing is kept of it.
 */
#include <stdlib.h>
#include "abi/internal.h"
#include "base/guard.h"

#define MAX_EVENTS 300 /* KVM's bound */

long vm_ioctl_set_pmu_filter(struct call *c)
{
	struct kvm_pmu_event_filter head;
	void *events;
	int r;

	if (guard_copy_from(&head, c->user, sizeof(head)))
		return -EFAULT;
	if (head.action != KVM_PMU_EVENT_ALLOW && head.action != KVM_PMU_EVENT_DENY)
		return -EINVAL;
	if (head.flags)
		return -EINVAL;
	if (head.nevents > MAX_EVENTS)
		return -E2BIG;
	r = call_copy_array(call_user_at(c->user, sizeof(head)), head.nevents, sizeof(u64), &events);
	if (!r)
		free(events);
	return r;
}
