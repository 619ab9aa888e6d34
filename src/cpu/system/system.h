/* SPDX-License-Identifier: MIT */
/*
 * system/system.h: the processor's system architecture: modes, segmentation, the guest page walk,
 * exception and interrupt delivery, control registers, MSRs, CPUID.
 *
 * On the vCPU's thread. What raises does not return (cpu/fault.h).
 */
#ifndef CPU_SYSTEM_SYSTEM_H
#define CPU_SYSTEM_SYSTEM_H

#include "cpu/state.h"

/* Recompute what is derived from CR0, CR4, EFER, RFLAGS, CS, SS: mode, cpl, key, tlb, ea_mask. To
 * be called after any of them changed. */
void cpu_update_mode(struct cpu *c);
/* The same when only EFLAGS.AC (STAC, CLAC, POPF) or the CPL changed. */
void cpu_update_tlb(struct cpu *c);
/* Set RFLAGS whole, no privilege checks; updates what depends on it. */
void cpu_load_rflags(struct cpu *c, u64 rflags);
/* The same, but for what follows from them: cpu_update_mode() is due. */
void cpu_put_rflags(struct cpu *c, u64 rflags);

/* Guest page walk. */
struct walk {
	gpa_t gpa;	/* of the byte */
	unsigned perm;	/* enum mmu_access the tables allow to this kind of access */
	bool global;
	u8 level;	/* enum mmu_level of the guest's mapping */
};
enum walk_flags {
	WALK_USER = 1,	   /* a user-mode access */
	WALK_IMPLICIT = 2, /* supervisor access of the processor itself: EFLAGS.AC does not count */
	WALK_AC = 4,	   /* SMAP is off or overridden by AC */
	WALK_NO_SET = 8,   /* debugging: set no accessed or dirty bits, raise nothing */
};
/*
 * Walk for one access (MMU_READ, MMU_WRITE or MMU_EXEC). 0; 1: page fault, *error is its code;
 * <0: the tables themselves cannot be read (-ENOENT: no memory there), w->gpa says which. Sets accessed and dirty.
 * `perm` says for which accesses a TLB entry may be made.
 */
int walk_linear(struct cpu *c, u64 la, unsigned access, unsigned flags, struct walk *w, u32 *error);
/*
 * The same for who only looks, from any thread while the vCPU may run: by entries that load() reads, and
 * with paging on. `result`: the leaf's level; 0: a page fault, with this error code for a supervisor's
 * read; or load()'s error, and gpa says of which entry. `step` by level - 1; those not come to are zero.
 */
typedef int walk_load(void *arg, gpa_t gpa, u32 size, u64 *entry);
struct walk_seen {
	int result, levels;
	u32 error, entry_size;
	struct {
		gpa_t gpa;
		u64 entry;
	} step[5];
	gpa_t gpa; /* of the byte */
};
void walk_look(struct cpu *c, u64 la, walk_load *load, void *arg, struct walk_seen *out);
/*
 * The same where the upper levels are known (what processors keep in paging-structure caches), the page
 * is present and allows the access, and no bit is to be set: true. Nothing is raised, no memory of the
 * guest's written, guest mode not left; false says nothing but that walk_linear() is to be asked.
 */
bool walk_known(struct cpu *c, u64 la, unsigned access, unsigned flags, struct walk *w);
/* PAE: load and check the PDPTEs; false: #GP. */
bool walk_load_pdptrs(struct cpu *c, u64 cr3);

/* Segments. Raise #GP, #NP, #SS or #TS as the manual says for `vec_class`. */
void seg_load(struct cpu *c, enum segreg s, u16 sel);	/* MOV, POP, LDS ... */
void seg_load_real(struct cpu *c, enum segreg s, u16 sel); /* real and V86 mode */
/* Far transfers; op_size 2, 4 or 8 bytes. Set c->rip; the caller ends the block. */
void far_jump(struct cpu *c, u16 sel, u64 off, u32 op_size, u64 return_rip);
void far_call(struct cpu *c, u16 sel, u64 off, u32 op_size, u64 return_rip);
void far_return(struct cpu *c, u32 op_size, u32 pop_bytes);
void far_iret(struct cpu *c, u32 op_size);

/* Deliver an event through the IDT or IVT. kind as below. May raise (then the caller makes a
 * double fault of it): call under an unwind point. */
enum event_kind {
	EVENT_EXCEPTION, /* a #DB of this kind is a fault */
	EVENT_DEBUG,	 /* #DB as a trap, or of an instruction breakpoint */
	EVENT_SOFT_INT,
	EVENT_INT3,
	EVENT_INT1,
	EVENT_EXTERNAL,
};
void event_deliver(struct cpu *c, u8 vector, enum event_kind kind, bool has_error, u32 error,
		   u64 return_rip);

/*
 * For the run loop, between instructions (c->op NULL or about to be), with c->unwind set. Deliver
 * what stands in the event state: c->exception (pending or injected), c->interrupt (injected),
 * the NMI (nmi_injected). Each sets an unwind point of its own around the delivery. A fault met
 * on the way is combined with what is delivered (SDM vol. 3, table 6-5): it is then c->exception,
 * pending; #DF in its place; or triple_fault is set. True: delivered, c->rip is the handler's.
 * Other ways out of a delivery (cpu_leave(), cpu_restart()) leave the event as it was, to be
 * delivered again, and go on to c->unwind.
 */
bool event_exception(struct cpu *c);
bool event_interrupt(struct cpu *c);
bool event_nmi(struct cpu *c);

/* The VMM answered c->exit.msr: finish the RDMSR or WRMSR, or raise its #GP. */
void msr_complete(struct cpu *c);

/* Control registers from MOV, LMSW, CLTS; raise #GP. */
void cr_write(struct cpu *c, unsigned n, u64 value);

/* run.c: between instructions, with c->op NULL: has the run loop nothing to do before the next? */
bool cpu_may_go_on(const struct cpu *c);
/* run.c: is there more to do before or after the next instruction than executing it? */
bool cpu_must_step(const struct cpu *c);
/* run.c: the entry of the block at c->rip, c->op being NULL; or NULL: the run loop is wanted first. */
const struct op *cpu_go_on(struct cpu *c);

#endif
