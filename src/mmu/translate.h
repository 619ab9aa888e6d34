/* SPDX-License-Identifier: MIT */
/*
 * mmu/translate.h: a guest access, from the TLB's miss on, and code that is cached from guest memory. For a
 * vCPU's own thread in guest mode, unless said otherwise.
 */
#ifndef MMU_TRANSLATE_H
#define MMU_TRANSLATE_H

#include "mmu/vcpu.h"

enum mmu_access {
	MMU_READ = 1 << 0,
	MMU_WRITE = 1 << 1,
	MMU_EXEC = 1 << 2,
};

/* What one guest page frame translates to. Valid until the vCPU's next safe point or leave. */
struct mmu_xlat {
	u8 *host;      /* host address of the page's first byte */
	bool writable; /* a write may be done and cached: dirty already noted if logging */
	bool code;     /* the page is marked as code: writes go through mmu_code_write(); only where
			* it is writable */
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
 * The same where no more than a look is needed; `out->code` is looked up with `stores` only. True: done.
 * It never leaves guest mode. False says nothing but that mmu_translate() is to be asked.
 */
bool mmu_translate_present(struct mmu_vcpu *v, gpa_t gpa, unsigned access, bool stores, struct mmu_xlat *out);

/*
 * The host refused an access through a translation that was live (the VMM changed its mapping
 * unseen): drop what stage 2 and the TLB say of this gfn and fault again. As mmu_translate();
 * after 0 the instruction is run again. `error` is -EFAULT, or -EHWPOISON for memory poison.
 */
int mmu_refault(struct mmu_vcpu *v, gpa_t gpa, unsigned access, int error);

/*
 * Code tracking, by page of the host's: whichever gfn, memslot or VM of the process reaches it.
 * mmu_code_track(): the vCPU is about to read the bytes of a page as code: marks the 64-byte lines in
 * `lines` of the page at gpa and makes sure that no vCPU of any VM holds a write entry for it, then
 * returns (may leave and enter guest mode: fetch pointers afterwards). 0 or -errno as mmu_translate().
 * mmu_code_write(): a store of `len` bytes at gpa, which mmu_translate() said is at `host` and marked
 * as code. When it touches a marked line the marks are dropped, every vCPU of every VM that has code
 * from there gets MMU_REQ_CODE and has answered before this returns; the store is then done by the
 * caller, who fetches its pointer anew when epoch moved.
 */
int mmu_code_track(struct mmu_vcpu *v, gpa_t gpa, u64 lines);
void mmu_code_write(struct mmu_vcpu *v, gpa_t gpa, const void *host, u32 len);

/* Make [gpa, gpa + size) present in stage 2 (KVM_PRE_FAULT_MEMORY); *done bytes were. */
int mmu_prefault(struct mmu_vcpu *v, gpa_t gpa, u64 size, u64 *done);

#endif
