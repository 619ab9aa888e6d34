/* SPDX-License-Identifier: MIT */
/*
 * mmu/mmu.h: guest memory. Memslots, the secondary MMU (stage 2), what a vCPU's TLB may hold,
 * the handshake with running vCPUs, invalidation, dirty and accessed tracking, page tracking for
 * cached code. This header is the VM's side; the vCPU's is vcpu.h and translate.h.
 *
 * Who calls it: vm/ makes an mmu and sets memslots; cpu/ translates; primary/ invalidates; abi/
 * never. It knows neither x86 nor ioctls nor which primary MMU it runs on.
 *
 * Errors are negative errno, those KVM gives where a VMM can see them.
 *
 * The order of its locks stands in vm.h. Callers hold none of their own that an invalidation
 * or the thread of a vCPU in guest mode may want.
 */
#ifndef MMU_MMU_H
#define MMU_MMU_H

#include "base/statpage.h"
#include "base/types.h"
#include "primary/primary.h"
#include "mmu/translate.h"
#include "mmu/vcpu.h"

struct mmu;
struct gmem_file; /* mmu/gmem.h */

/* 0 or -errno. `primary` is owned by the mmu from then on. */
int mmu_create(const struct primary_ops *ops, void *primary, struct mmu **out);
void mmu_get(struct mmu *mmu);
/* In a forked child, before it makes a VM: those of its parent are not its own. */
void mmu_forked_child(void);
/*
 * Last reference: frees; the VM was closed before. All vCPUs are gone, and no gmem_file is left. An
 * invalidation by host address that has begun may outlive the VM: its token keeps the memory until
 * the end. One by gfn (a punch, a conversion) cannot, since whoever carries it out has a reference:
 * one that is still in progress now lost its end. That is counted, and told to mmu_report.
 */
void mmu_put(struct mmu *mmu);
/*
 * The VM's own reference, when none of its vCPUs is left: zaps everything. What its memslots showed is the VMM's
 * alone when this returns, though somebody else's reference may keep the books (a look at all VMs' windows, a
 * file of private memory). No lock held.
 */
void mmu_close(struct mmu *mmu);
extern u64 mmu_imbalances; /* atomic */
extern void (*mmu_report)(const char *what); /* any thread, no lock held; NULL: nobody listens */

#define MMU_USER_SLOTS	   32764 /* KVM_CAP_NR_MEMSLOTS as a current kernel reports it */
#define MMU_SLOT_READONLY  (1u << 1) /* = KVM_MEM_READONLY */
#define MMU_SLOT_LOG_DIRTY (1u << 0) /* = KVM_MEM_LOG_DIRTY_PAGES */
#define MMU_SLOT_GMEM	   (1u << 2) /* = KVM_MEM_GUEST_MEMFD; alone, and never changes */

/* What KVM_SET_USER_MEMORY_REGION asks for. */
struct mmu_region {
	u32 slot; /* id in the low 16 bits, address space above */
	u32 flags; /* MMU_SLOT_* */
	gpa_t gpa;
	u64 size;  /* bytes; 0 deletes */
	hva_t hva;
	/* With MMU_SLOT_GMEM: where private pages come from, from this offset in bytes on. */
	struct gmem_file *gmem; /* of this mmu; the caller's reference; NULL: no such file */
	u64 gmem_offset;
	int gmem_error; /* with NULL: -errno when everything else is right */
};

/*
 * Create, delete, move or re-flag a memslot: KVM's rules and errno (EINVAL for bad alignment,
 * wrap, unknown flag, size change or flags it cannot change; EEXIST for an overlap; ENOMEM).
 * Returns when no vCPU can use the old slot; a failed call changes nothing. Sleeps. No lock held.
 */
int mmu_set_region(struct mmu *mmu, const struct mmu_region *r);

/*
 * Memory attributes (KVM_SET_MEMORY_ATTRIBUTES): every gfn is shared until it is made private, with
 * or without a memslot there. A private one is served by its slot's guest_memfd and by nothing else.
 * Returns when no vCPU reaches the range by what it was before. 0; -EINVAL: an unknown attribute or
 * an empty range; -ENOMEM. Sleeps. No lock held.
 */
#define MMU_ATTR_PRIVATE (1ULL << 3) /* = KVM_MEMORY_ATTRIBUTE_PRIVATE */
int mmu_set_attributes(struct mmu *mmu, gfn_t start, u64 npages, u64 attributes);
bool mmu_is_private(struct mmu *mmu, gfn_t gfn);

/* Host address of a gfn's page by its memslot, or 0 (also of a private one): for host-side use
 * outside a vCPU. */
hva_t mmu_gfn_to_hva(struct mmu *mmu, gfn_t gfn, bool *readonly);

/* Copy guest memory from outside a vCPU; marks dirty what it writes. 0 or -EFAULT. */
int mmu_read_guest(struct mmu *mmu, gpa_t gpa, void *buf, u64 len);
int mmu_write_guest(struct mmu *mmu, gpa_t gpa, const void *buf, u64 len);

/*
 * Dirty log of one slot: bitmap of ALIGN(npages, 64) bits, little end first. get() copies and,
 * unless manual protect is on, clears and re-protects; -ENOENT: no such slot or no logging.
 */
int mmu_dirty_get(struct mmu *mmu, u32 slot, void *user_bitmap);
int mmu_dirty_clear(struct mmu *mmu, u32 slot, u64 first_page, u32 npages,
		    const void *user_bitmap);
/* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2's argument: bit 0 manual protect, bit 1 initially set. */
int mmu_set_manual_protect(struct mmu *mmu, u64 flags);

/*
 * Dirty rings in the place of dirty logs. enable: before there are vCPUs; -EINVAL the second time
 * or for a number that is too small or no power of two. attach: before the vCPU runs; memory of
 * zeroes, which the VMM may see and change; request bits to post when it becomes full. full: the
 * vCPU is to leave for the VMM; it dirties nothing more until a reset, which takes out what the VMM has marked and counts it (-EINVAL
 * without rings; sleeps).
 */
int mmu_ring_enable(struct mmu *mmu, u32 entries);
void mmu_ring_attach(struct mmu_vcpu *v, struct mmu_dirty_gfn *entries, u32 full_request);
bool mmu_ring_full(const struct mmu_vcpu *v);
int mmu_ring_reset(struct mmu *mmu, u32 *n);

/* Every vCPU: request bits, and a kick. Not from guest mode: waits for those who make vCPUs. */
void mmu_request_all(struct mmu *mmu, u32 bits);

struct mmu_stats {
	u64 pages_4k, pages_2m, pages_1g; /* leaves mapped now */
	u64 remote_flushes, invalidations, table_bytes;
};
void mmu_get_stats(struct mmu *mmu, struct mmu_stats *out);
/* The page these are counted in, as long as the mmu lives; the VM may map another under it. */
struct statpage_vm *mmu_stat_page(struct mmu *mmu);

#endif
