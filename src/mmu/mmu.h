/* SPDX-License-Identifier: MIT */
/*
 * mmu/mmu.h: guest memory. Memslots, the secondary MMU (stage 2), what a vCPU's TLB may hold,
 * the handshake with running vCPUs, invalidation, dirty and accessed tracking, page tracking for
 * cached code.
 *
 * Who calls it: vm/ makes an mmu and sets memslots; cpu/ translates; primary/ invalidates; abi/
 * never. It knows neither x86 nor ioctls nor which primary MMU it runs on.
 *
 * Errors are negative errno, those KVM gives where a VMM can see them.
 *
 * The order of its locks stands in internal.h. Callers hold none of their own that an invalidation
 * or the thread of a vCPU in guest mode may want.
 */
#ifndef MMU_MMU_H
#define MMU_MMU_H

#include "base/statpage.h"
#include "base/types.h"
#include "primary/primary.h"
#include "mmu/tlb.h"
#include "sync/atomic.h"

struct mmu;
struct memslot;
struct gmem_file; /* mmu/gmem.h */
struct mmu_vcpu_ops;
struct table;

/* ------------------------------------------------------------------ the vCPU's side */

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
	MMU_REQ_CODE = 1 << 1,	/* bytes of code changed: no more than a change of epoch */
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
	u64 epoch;     /* counts answers. A host pointer got before a change of it is stale; so is
			* code, whose bytes may be others and whose marks may be gone: track, then
			* compare, before it is used again */
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
	struct mmu_vcpu *next; /* in mmu->vcpus */
	u64 answers_before;    /* the flusher's */
	u32 journal_n;	       /* TLB entries filled since the last flush, in journal[] */
	bool journal_full;     /* there were more than it lists */
	u16 journal[TLB_JOURNAL];
	struct tlb_large large[2]; /* lower and upper half of the canonical space */
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

/* Guest TLB maintenance, by the vCPU's own thread in guest mode. */
void mmu_tlb_flush(struct mmu_vcpu *v);			  /* everything */
void mmu_tlb_flush_nonglobal(struct mmu_vcpu *v);	  /* all but global pages: a CR3 write */
void mmu_tlb_flush_page(struct mmu_vcpu *v, u64 linear);  /* the page that holds `linear` */
/* The next fill at `linear` comes from a guest page of `size` > 4 KiB bytes: flush_page() of any
 * address in it must drop every entry of it. */
void mmu_tlb_note_large(struct mmu_vcpu *v, u64 linear, u64 size);

enum mmu_access {
	MMU_READ = 1 << 0,
	MMU_WRITE = 1 << 1,
	MMU_EXEC = 1 << 2,
};

/* What one guest page frame translates to. Valid until the vCPU's next safe point or leave. */
struct mmu_xlat {
	u8 *host;      /* host address of the page's first byte */
	bool writable; /* a write may be done and cached: dirty already noted if logging */
	bool code;     /* the gfn is marked as code: writes go through mmu_code_write() */
};

/*
 * Translate a gfn for an access, in guest mode. Walks stage 2; on a miss leaves guest mode,
 * faults (mmu_fault) and enters again, so v->epoch may have moved: pointers from earlier calls
 * must then be fetched anew.
 *
 * 0; -ENOENT: no memslot, or a write to a read-only one (MMIO); -EFAULT, -EHWPOISON: the VMM's
 * mapping, or for a private gfn its slot's guest_memfd, cannot serve it (v is back in guest mode;
 * v->fault_private says which; the run ends with KVM's error);
 * -EINTR: interrupted(), or a write and the dirty ring is full (mmu_ring_full()); -ENOMEM;
 * -EAGAIN: it was a stopper's, and its stop has ended (mmu_stop_others()).
 * A write marks the page dirty and is logged before it returns.
 */
int mmu_translate(struct mmu_vcpu *v, gpa_t gpa, unsigned access, struct mmu_xlat *out);

/*
 * The host refused an access through a translation that was live (the VMM changed its mapping
 * unseen): drop what stage 2 and the TLB say of this gfn and fault again. As mmu_translate();
 * after 0 the instruction is run again. `error` is -EFAULT, or -EHWPOISON for memory poison.
 */
int mmu_refault(struct mmu_vcpu *v, gpa_t gpa, unsigned access, int error);

/*
 * Put a translation into a TLB: linear page -> x. `perm` is what the guest's own tables allow
 * (enum mmu_access), narrowed here by what x allows. Global guest pages pass global = true.
 */
void mmu_tlb_fill(struct mmu_vcpu *v, enum tlb_mode mode, u64 linear, gpa_t gpa,
		  const struct mmu_xlat *x, unsigned perm, bool global);

/*
 * Code tracking. mmu_code_track(): the vCPU is about to read the bytes of a page as code: marks
 * the 64-byte lines in `lines` of this gfn and makes sure that no vCPU holds a write entry for
 * it, then returns (may leave and enter guest mode: fetch pointers afterwards). 0 or -errno as
 * mmu_translate().
 * mmu_code_write(): a store of `len` bytes at gpa hits a page marked as code. When it touches a
 * marked line the marks are dropped, every vCPU gets MMU_REQ_CODE and has answered before this
 * returns; the store is then done by the caller, who fetches its pointer anew when epoch moved.
 */
int mmu_code_track(struct mmu_vcpu *v, gpa_t gpa, u64 lines);
void mmu_code_write(struct mmu_vcpu *v, gpa_t gpa, u32 len);

/* Make [gpa, gpa + size) present in stage 2 (KVM_PRE_FAULT_MEMORY); *done bytes were. */
int mmu_prefault(struct mmu_vcpu *v, gpa_t gpa, u64 size, u64 *done);

/* ------------------------------------------------------------------ the VM's side */

/* 0 or -errno. `primary` is owned by the mmu from then on. */
int mmu_create(const struct primary_ops *ops, void *primary, struct mmu **out);
void mmu_get(struct mmu *mmu);
/*
 * Last reference: zaps everything and frees. All vCPUs are gone, and no gmem_file is left. An
 * invalidation by host address that has begun may outlive the VM: its token keeps the memory until
 * the end. One by gfn (a punch, a conversion) cannot, since whoever carries it out has a reference:
 * one that is still in progress now lost its end. That is counted, and told to mmu_report.
 */
void mmu_put(struct mmu *mmu);
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
