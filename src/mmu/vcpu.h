/* SPDX-License-Identifier: MIT */
/*
 * mmu/vcpu.h: a vCPU as guest memory sees it: its TLB and caches, its requests, and the handshake with
 * whoever takes translations away. cpu/ embeds it; vm/ makes it and posts requests.
 */
#ifndef MMU_VCPU_H
#define MMU_VCPU_H

#include "base/statpage.h"
#include "base/types.h"
#include "mmu/remembered.h"
#include "mmu/tlb_books.h"
#include "sync/atomic.h"

struct mmu;
struct mmu_vcpu_ops;
struct name_piece;
struct table;

enum mmu_mode {
	MMU_OUTSIDE,  /* holds no translation: halted, in a fault, in the VMM */
	MMU_IN_GUEST, /* may use what its TLB holds; answers at its next safe point */
};

/*
 * Requests to a vCPU, one word polled at every block boundary. The low bits are mmu/'s and are
 * answered by mmu_vcpu_safe_point(); the others belong to whoever runs the vCPU.
 */
enum mmu_request {
	MMU_REQ_FLUSH = 1 << 0, /* drop every TLB entry */
	MMU_REQ_CODE = 1 << 1,	/* bytes of code changed: no more than a change of both epochs */
	MMU_REQ_WRITES = 1 << 2, /* drop every write entry of the TLB */
	MMU_REQ_STOP = 1 << 3,	/* be outside guest mode until mmu_start_others(); no flush */
	MMU_REQ_MASK = 0xff,
	MMU_REQ_OWNER_SHIFT = 8, /* first bit of the owner's requests */
};

/* An entry of a dirty ring, as KVM and the VMM share it (struct kvm_dirty_gfn). */
struct mmu_dirty_gfn {
	u32 flags;
	u32 slot; /* as in struct mmu_region */
	u64 offset; /* page in the slot */
};
#define MMU_DIRTY_GFN_DIRTY (1u << 0) /* the vCPU: there is something here */
#define MMU_DIRTY_GFN_RESET (1u << 1) /* the VMM: it was collected */

struct mmu_ring {
	struct mmu_dirty_gfn *entry; /* NULL: none; atomic */
	u32 full_request; /* owner request bits */
	u32 mask;
	u32 added; /* by the vCPU's thread; atomic */
	u32 taken; /* under slots_lock; atomic */
};

/* Empty tables of stage 2, allocated before mmu_lock is taken. */
struct tree_cache {
	struct table *head;
	u32 n;
};

/* Embedded in the vCPU by cpu/. Fields are mmu/'s unless said otherwise. */
struct mmu_vcpu {
	u32 requests;  /* enum mmu_request; set by anyone, cleared by the vCPU's thread */
	u32 mode;      /* enum mmu_mode; written by the vCPU's thread only */
	u64 epoch;     /* counts answers. A host pointer got before a change of it is stale */
	u64 code_epoch; /* counts those after which code may have other bytes, its marks may be gone and
			 * its page may be elsewhere: track, then compare, before it is used again */
	u64 nr_answers;	/* requests answered; what a flush waits on */
	struct mmu *mmu;
	void *owner;   /* the vCPU as mmu_vcpu_ops know it */
	u32 index;
	struct mmu_ring ring;
	bool fault_private; /* the access that ended in an error was one to private memory */
	struct statpage_faults *stat; /* counted by this thread only: own_stat, or where
					 the embedder moves it after mmu_vcpu_init() */
	struct statpage_faults own_stat;
	const struct mmu_vcpu_ops *ops;
	struct tree_cache tables; /* kept from fault to fault; this thread only */
	struct name_cached names[2]; /* this thread only */
	u32 next_name;
	u32 nr_spare_names;
	struct name_piece *spare_names;
	struct mmu_vcpu *next; /* in mmu->vcpus */
	u64 answers_before;    /* the flusher's */
	u32 awaited;	       /* atomic: threads that sleep until this one has done something, or are about to */
	struct tlb_journal journal[TLB_KINDS];
	struct tlb_large large[2]; /* lower and upper half of the canonical space */
	struct tlb_entry near[TLB_MODES]; /* of the stack's page (tlb.h) */
	u64 space, last_space;	   /* number of the current address space; the last one given */
	struct tlb_space spaces[TLB_SPACES]; /* the latest in front */
	u64 flushes;		   /* of everything, and of large pages of 2 MiB */
	u64 flushed_all, flushed_frames[2]; /* the last of everything; of a large page, by half */
	u64 invlpgs;		   /* flushes of single pages */
	struct leaf_cached leaves[MMU_LEAVES];
	u64 drops, dropped_all;	   /* of rights to write; the last one of all pages */
	u64 dropped[TLB_DROPS];	   /* the last one of a host page with this hash */
	struct tlb_second_entry *second; /* TLB_SECOND_ENTRIES, zero at first; NULL: there is none */
	struct tlb tlb[TLB_MODES];
};

struct mmu_vcpu_ops {
	/* Make the vCPU look at its requests soon, wherever it is. Any thread, any lock. */
	void (*kick)(void *owner);
	/* Is there a reason to leave a wait (a signal, immediate_exit)? The vCPU's thread. */
	bool (*interrupted)(void *owner);
};

void mmu_vcpu_init(struct mmu *mmu, struct mmu_vcpu *v, u32 index, void *owner,
		   const struct mmu_vcpu_ops *ops);
void mmu_vcpu_fini(struct mmu_vcpu *v);

/*
 * Enter and leave guest mode. Enter: store "in guest", full fence, look at requests; returns with
 * MMU requests answered, and not while another vCPU has stopped this one. All three are for the
 * vCPU's thread, with no lock held.
 */
void mmu_vcpu_enter(struct mmu_vcpu *v);
void mmu_vcpu_leave(struct mmu_vcpu *v);
/* Answer MMU requests now. The caller uses no translation it got before. */
void mmu_vcpu_safe_point(struct mmu_vcpu *v);

/*
 * Stop the world: until mmu_start_others() every other vCPU of the VM is outside guest mode, and one
 * that enters waits in mmu_vcpu_enter(), wherever that is called from. So an access that the host
 * cannot make in one piece is seen in one piece. In guest mode with no lock held; what was translated
 * before is stale when it returns. False: another vCPU is about to stop this one, or interrupted()
 * said so; this one is to go to its safe point first.
 * Nobody is kept stopped for longer than accesses to memory that is present take: a translation that
 * needs a fault ends the stop, faults, and fails with -EAGAIN (mmu_translate()). The stopper looks
 * with mmu_stops_others() whether its stop still holds, and ends it in guest mode.
 */
bool mmu_stop_others(struct mmu_vcpu *v);
bool mmu_stops_others(const struct mmu_vcpu *v);
void mmu_start_others(struct mmu_vcpu *v);
/* Post owner requests (bits from MMU_REQ_OWNER_SHIFT up), without a kick. Any thread. */
static inline void mmu_vcpu_request(struct mmu_vcpu *v, u32 bits)
{
	sync_or(&v->requests, bits);
}

#endif
