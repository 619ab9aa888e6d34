/* SPDX-License-Identifier: MIT */
#include "explore/lessons.h"

static const struct lesson lessons[] = {
	{"Re: [PATCH 1/2] KVM: MMU: Do not treat ZONE_DEVICE pages as being reserved, 12 November 2019",
	 "KVM writes to some guest pages itself: a clock, the time that was stolen, a nested guest's state.\n"
	 "It found the page once, kept it mapped and wrote to it again and again, and no notifier of the\n"
	 "host's memory reached that place. A file that backs the guest could be truncated or written back\n"
	 "between the look-up and the write: the write went to a page that was no longer the file's.",
	 "An invalidation does not mark the host-side caches of its range stale.",
	 "cache-truncate", DEFECT_CACHE_KEPT,
	 "A cache holds nothing and is revocable. A use counts itself in, looks whether the cache is stale,\n"
	 "writes, marks the page and counts itself out; a begin marks it stale and waits for uses that were\n"
	 "counted in before (mmu/cache.h, mmu_caches_stale() and mmu_caches_wait())."},
	{"[PATCH v1 03/10] KVM: Prepare kvm_is_reserved_pfn() for PG_reserved changes, 6 November 2019",
	 "A fault takes a reference on the page it is given. When KVM let go of it, it looked at the page's\n"
	 "number: a reserved page has no reference to be dropped. A device's pages are reserved, but their\n"
	 "references had been taken. None was given back, and the device could not be taken away.",
	 "The reference is dropped or kept by what the page looks like.",
	 "dax", DEFECT_DROP_BY_PFN,
	 "The frame that a fault is given says what it holds, and whoever lets go of it gives back exactly\n"
	 "that (struct frame in primary/primary.h, fault_release() in mmu/fault.c). It is held until the\n"
	 "leaf stands in stage 2 and not longer; then invalidation keeps the leaf true."},
	{"Re: [PATCH v11 0/8] KVM: allow mapping non-refcounted pages, 13 March 2024",
	 "Graphics drivers map memory whose pages nobody counts. KVM took every page that is not reserved for\n"
	 "one with a count, so it kept that memory out of guests, or counted what must not be counted. The\n"
	 "driver moves such a buffer when it likes, and all it does is tell the notifier.",
	 "Whether a page has a reference count is decided from its number.",
	 "pfnmap", DEFECT_PAGE_BY_PFN,
	 "A leaf remembers whether a page stands behind it, and a zap says so (SPTE_PAGE in mmu/spte.h,\n"
	 "spte_changed() in mmu/tree.c). Memory without a count takes the same path as all other memory:\n"
	 "its driver relies on invalidation, and invalidation is enough."},
	{"Re: [RFC PATCH] kvm: Use huge pages for DAX-backed files, 2 November 2018",
	 "A persistent-memory device can be disabled at any moment. May KVM look into the struct page of its\n"
	 "pages? The answer was: while mmu_lock is held and the leaf stands, the page cannot go; in a fault,\n"
	 "while its own reference is held. After that, nothing says that there still is a page.",
	 "A fault marks the page accessed and dirty after it has dropped its reference.",
	 "unbind", DEFECT_MARK_UNHELD,
	 "A page's fields are touched under a reference of one's own, or with the leaf live under mmu_lock\n"
	 "before begin returns (fault_release() in mmu/fault.c, spte_changed() in mmu/tree.c)."},
	{"Re: [RFC PATCH v12 14/33] KVM: Add KVM_CREATE_GUEST_MEMFD ioctl(), 20 September 2023",
	 "A hole was punched into private memory: invalidation began for the VM of each file, and ended where\n"
	 "a binding was still found. A memslot that was deleted between the two took the binding with it: the\n"
	 "invalidation never ended, and every fault of the VM waited for it for ever.",
	 "A punch begins on every VM, and ends where it finds a binding now.",
	 "gmem-unbind", DEFECT_GMEM_LOST_END,
	 "A begin gives a token that remembers its range and holds the memory; an end takes the token and\n"
	 "looks nothing up (mmu/invalidate.c). And a punch holds the store lock for write, so bindings stand\n"
	 "still (gmem_punch() in mmu/gmem.c)."},
};

const struct lesson *explore_lesson(unsigned n)
{
	return n >= 1 && n <= ARRAY_SIZE(lessons) ? &lessons[n - 1] : NULL;
}
