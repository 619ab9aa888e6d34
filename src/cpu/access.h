/* SPDX-License-Identifier: MIT */
/*
 * cpu/access.h: guest memory by linear address, for handlers.
 *
 * Every access either completes or does not return: a guest page fault, a general protection
 * fault (non-canonical address), a device access that needs the VMM, or memory the VMM's mapping
 * cannot serve unwinds to the run loop (c->unwind). So an instruction makes its accesses first
 * and changes state after. In guest mode, on the vCPU's thread. c->op must be the current op (so
 * that the rip is exact); op_ea() sets it.
 *
 * Privilege is c->tlb's (the current CPL); *_sys accesses are supervisor accesses whatever the
 * CPL (descriptor tables, TSS), and never allowed user pages by EFLAGS.AC.
 */
#ifndef CPU_ACCESS_H
#define CPU_ACCESS_H

#include "base/guard.h"
#include "cpu/state.h"

/* Miss paths. */
u64 access_load_slow(struct cpu *c, u64 la, u32 size);
void access_store_slow(struct cpu *c, u64 la, u32 size, u64 value);
/* A guarded access to a host pointer died: decide and unwind. */
void access_died(struct cpu *c, u64 la, bool write) NORETURN;

#define ACCESS(bits)                                                                               \
	static inline u##bits ld##bits(struct cpu *c, u64 la)                                      \
	{                                                                                          \
		void *p = tlb_read(c->tlb, la, bits / 8);                                          \
		u##bits v;                                                                         \
		if (unlikely(!p))                                                                  \
			return (u##bits)access_load_slow(c, la, bits / 8);                         \
		if (unlikely(!guard_load##bits(p, &v)))                                            \
			access_died(c, la, false);                                                 \
		return v;                                                                          \
	}                                                                                          \
	static inline void st##bits(struct cpu *c, u64 la, u##bits v)                              \
	{                                                                                          \
		void *p = tlb_write(c->tlb, la, bits / 8);                                         \
		if (unlikely(!p)) {                                                                \
			access_store_slow(c, la, bits / 8, v);                                     \
			return;                                                                    \
		}                                                                                  \
		if (unlikely(!guard_store##bits(p, v)))                                            \
			access_died(c, la, true);                                                  \
	}

ACCESS(8)
ACCESS(16)
ACCESS(32)
ACCESS(64)
#undef ACCESS

/*
 * Wider operands. access_read()/write() copy up to 4096 bytes, all checked before the first byte
 * is written; of up to 256 bytes either all are written or, if it does not return, none
 * (cpu/parts.h). access_ptr() gives a host pointer for `size` bytes at la: the memory itself when one
 * pointer can reach it (*direct true), else c->bounce.buf (size <= 64) holding a copy, which
 * access_ptr_done() writes back if `write`. The pointer is good until the next access or op. The
 * user of a direct pointer guards its accesses.
 */
void access_read(struct cpu *c, u64 la, void *buf, u32 size);
void access_write(struct cpu *c, u64 la, const void *buf, u32 size);
void *access_ptr(struct cpu *c, u64 la, u32 size, bool write, bool *direct);
void access_ptr_done(struct cpu *c, bool direct);
/* As access_write() of several words, whose alignment has been looked at one by one. */
void access_write_words(struct cpu *c, u64 la, const void *buf, u32 size);
/* As access_ptr(), but NULL and nothing read where that would take a copy. */
void *access_direct(struct cpu *c, u64 la, u32 size, bool write);

/* Check without accessing: fault now if the access would (probe for push of several words, far
 * transfers). */
void access_probe(struct cpu *c, u64 la, u32 size, bool write);
/* With c->check_align: #AC now, unless `size` bytes lie as they should. */
void access_check_alignment(struct cpu *c, u64 la, u32 size);
/* #GP or #SS now, when the address is to be looked at before anything else is. */
void access_check_canonical(struct cpu *c, u64 la);

/*
 * The longest run from la, up to `max` bytes, that one host pointer reaches (at most to the page's
 * end). NULL: MMIO or code page or otherwise slow: do one element with ld/st. For string ops.
 */
void *access_span(struct cpu *c, u64 la, u32 max, bool write, u32 *len);

/*
 * Fill the TLB for an access in one page, where that raises nothing, changes nothing in the guest and
 * needs nothing of the host. It returns, with what was found before still good. Does the TLB answer now?
 */
bool access_refill(struct cpu *c, u64 la, u32 size, bool write, enum tlb_mode mode);

/* Supervisor accesses of the processor itself, whatever the CPL. */
u64 access_load_sys(struct cpu *c, u64 la, u32 size);
void access_store_sys(struct cpu *c, u64 la, u32 size, u64 value);
void access_probe_sys(struct cpu *c, u64 la, u32 size, bool write);
/* Set and clear bits of a byte in one locked operation, as the processor does in descriptors (SDM vol. 3,
 * 9.1.2.1); what it was before. */
u8 access_bits_sys(struct cpu *c, u64 la, u8 set, u8 clear);

/*
 * Code fetch: translate the page of la for execution. Host pointer and gpa of the page; raises
 * #PF (with I/D) or unwinds with CPU_EXIT_INTERNAL when there is no memory there. Is the page global?
 */
bool access_fetch(struct cpu *c, u64 la, gpa_t *gpa, u8 **host);

/* Guest-physical access for the page walker: 0, or -errno as mmu_translate(). */
int access_phys_load(struct cpu *c, gpa_t gpa, u32 size, u64 *value);
/* The host's address of a page that was just loaded from or exchanged in, while mmu.epoch stays; NULL: not
 * known any more. */
u8 *access_phys_known(struct cpu *c, gpa_t page);
/* Set bits in a guest page-table entry atomically if it still is `old`; false: changed. */
int access_phys_cmpxchg(struct cpu *c, gpa_t gpa, u32 size, u64 old, u64 new_, bool *done);

/*
 * Port access: a device in the VM answers, or unwinds to the VMM and is replayed. `whole`: there is no more
 * to the instruction, which has so many bytes, than this and the move from or to rAX; else 0.
 */
u32 access_port_in(struct cpu *c, u16 port, u32 size, u8 whole);
void access_port_out(struct cpu *c, u16 port, u32 size, u32 value, u8 whole);

#endif
