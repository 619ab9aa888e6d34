/* SPDX-License-Identifier: MIT */
/*
 * primary/linux/notifier.h: the second line of coherence, from the kernel.
 *
 * The hooks tell of changes that the VMM makes by libc. A userfaultfd that is registered over what
 * windows show, in write-protect mode with nothing protected, tells of the rest that unmaps: raw
 * system calls, a child that shares the memory, io_uring. The kernel holds the caller until the event
 * is read, and it is read when no vCPU finds anything in stage 2 (an invalidation of everything is
 * begun), so the call returns after the windows are gone, as with KVM's MMU notifier.
 *
 * What it does not tell of (raw mprotect, System V, mappings of a kind that cannot be registered) is
 * looked at again every NOTIFIER_TICK_MS by the same helper thread.
 *
 * Deadlocks. The helper waits for vCPUs only, which wait for nothing that a caller inside munmap()
 * holds: neither libc's allocator (base/heap.h) nor mmap_lock, which the kernel drops first. Calls of
 * our own unmap nothing that is registered.
 */
#ifndef PRIMARY_LINUX_NOTIFIER_H
#define PRIMARY_LINUX_NOTIFIER_H

#include "base/types.h"

#define NOTIFIER_TICK_MS 50

/* A VM was made: the helper runs from now on. */
void notifier_start(void);
void notifier_forked_child(void);

/*
 * Be told of [start, end), one mapping of the VMM's. 0; -EBUSY: another userfaultfd is registered
 * there; or -errno: it cannot be told of. Under any lock but notifier.c's.
 */
int notifier_watch(hva_t start, hva_t end);
/* Before a hooked call unmaps it, or gives it to another userfaultfd. */
void notifier_unwatch(hva_t start, hva_t end);

#endif
