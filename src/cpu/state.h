/* SPDX-License-Identifier: MIT */
/*
 * cpu/state.h: struct cpu, one x86 vCPU's state, as every file of cpu/ sees it.
 *
 * Only the vCPU's own thread touches it while it runs; other threads reach a vCPU through
 * mmu.requests (and, for memory, through mmu/). Hot fields come first: the general registers
 * stand at offset 0, so an operand's byte offset in the struct fits a byte and AH is RAX's
 * offset plus one. docs/cpu.md says why the layout is what it is.
 */
#ifndef CPU_STATE_H
#define CPU_STATE_H

#include "base/types.h"
#include "cpu/unwind.h"
#include "mmu/mmu.h"

enum gpr {
	RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15,
	REG_ZERO, /* always 0: stands for an absent base or index */
	NR_GPR,
};

/* Segment registers in the encoding's order, then the two system ones. */
enum segreg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, NR_SEG };

/* A segment register with its hidden part. `attr` is laid out as in a descriptor's high dword
 * shifted right by 8 (Intel SDM vol. 3, 3.4.5). */
struct seg {
	u64 base;
	u32 limit; /* bytes, granularity applied */
	u16 sel;
	u16 attr;
	bool unusable; /* null selector loaded, or never loaded */
};

#define SEG_ATTR_TYPE  0x000f
#define SEG_ATTR_S     0x0010 /* code or data, not system */
#define SEG_ATTR_DPL   0x0060
#define SEG_ATTR_P     0x0080
#define SEG_ATTR_AVL   0x1000
#define SEG_ATTR_L     0x2000
#define SEG_ATTR_DB    0x4000
#define SEG_ATTR_G     0x8000
#define SEG_DPL(a)     (((a) >> 5) & 3)

struct dtable {
	u64 base;
	u16 limit;
};

/* Status flags live apart from the rest of RFLAGS, as LAHF and SETO give them: the byte LAHF
 * loads in bits 15..8, OF in bit 0. Everything between is undefined and ignored. */
#define AF_OF 0x0001
#define AF_CF 0x0100
#define AF_PF 0x0400
#define AF_AF 0x1000
#define AF_ZF 0x4000
#define AF_SF 0x8000

#define FL_CF	0x00000001ULL
#define FL_FIXED 0x00000002ULL
#define FL_PF	0x00000004ULL
#define FL_AF	0x00000010ULL
#define FL_ZF	0x00000040ULL
#define FL_SF	0x00000080ULL
#define FL_TF	0x00000100ULL
#define FL_IF	0x00000200ULL
#define FL_DF	0x00000400ULL
#define FL_OF	0x00000800ULL
#define FL_IOPL 0x00003000ULL
#define FL_NT	0x00004000ULL
#define FL_RF	0x00010000ULL
#define FL_VM	0x00020000ULL
#define FL_AC	0x00040000ULL
#define FL_VIF	0x00080000ULL
#define FL_VIP	0x00100000ULL
#define FL_ID	0x00200000ULL
#define FL_STATUS (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#define DR6_BS BIT(14) /* a single step */

#define CR0_PE	BIT(0)
#define CR0_MP	BIT(1)
#define CR0_EM	BIT(2)
#define CR0_TS	BIT(3)
#define CR0_ET	BIT(4)
#define CR0_NE	BIT(5)
#define CR0_WP	BIT(16)
#define CR0_AM	BIT(18)
#define CR0_NW	BIT(29)
#define CR0_CD	BIT(30)
#define CR0_PG	BIT(31)
#define CR4_VME BIT(0)
#define CR4_PVI BIT(1)
#define CR4_TSD BIT(2)
#define CR4_DE	BIT(3)
#define CR4_PSE BIT(4)
#define CR4_PAE BIT(5)
#define CR4_MCE BIT(6)
#define CR4_PGE BIT(7)
#define CR4_PCE BIT(8)
#define CR4_OSFXSR BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP BIT(11)
#define CR4_LA57 BIT(12)
#define CR4_VMXE BIT(13)
#define CR4_FSGSBASE BIT(16)
#define CR4_PCIDE BIT(17)
#define CR4_OSXSAVE BIT(18)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define CR4_PKE BIT(22)
#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NX	 BIT(11)
#define EFER_SVME BIT(12)
#define EFER_FFXSR BIT(14)

/* The execution mode, derived from CR0, EFER, EFLAGS.VM and CS; cpu_update_mode() keeps it. */
enum cpu_mode { MODE_REAL, MODE_V86, MODE_PROT16, MODE_PROT32, MODE_COMPAT16, MODE_COMPAT32, MODE_LONG };

enum vector {
	VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_OF = 4, VEC_BR = 5, VEC_UD = 6,
	VEC_NM = 7, VEC_DF = 8, VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13, VEC_PF = 14,
	VEC_MF = 16, VEC_AC = 17, VEC_MC = 18, VEC_XM = 19,
};

#define NR_MCE_BANKS  32
#define NR_MTRR_VAR   8
#define MAX_CPUID     256
#define MMIO_MAX_FRAGMENTS 8

/* A vector register, wide enough for any: XMM, YMM and ZMM are its low 16, 32 and 64 bytes. */
struct vreg {
	u8 b[64];
};

/*
 * A device access that needs the VMM leaves the instruction and, when the VMM has answered, runs
 * it again from its start: accesses already answered are replayed from here in order, the next
 * new one leaves again. So any instruction, however many accesses it makes, completes exactly.
 */
struct replay {
	struct {
		u64 addr; /* gpa, or port */
		u64 data;
		u8 size;
		bool write, port;
		u32 elements; /* repeated string input: how many were asked for, into io_data; else 0 */
	} done[MMIO_MAX_FRAGMENTS];
	u32 ndone; /* answered */
	u32 next;  /* next to be replayed in this run of the instruction */
	u64 rip;   /* linear rip the fragments belong to; another one discards them */
	bool waiting; /* done[ndone] is with the VMM */
	u8 whole;     /* and is all that an IN, OUT or MOV does: bytes of that instruction; else 0 */
	u8 reg;	      /* and where what was read goes: an operand's byte offset in struct cpu */
	u32 tries; /* since the last answer: the instruction began again and was not completed */
	/* What it read where it is to write next, in memory that takes no writes: the VMM's answer to the write may
	 * be to change that. */
	struct {
		u64 la;
		u32 size; /* 0: nothing */
		u8 data[16];
	} old;
	/* A string instruction that commits an element sets ndone and next to 0. */
};

struct cpuid_leaf {
	u32 function, index, flags; /* flags: bit 0, index is significant */
	u32 eax, ebx, ecx, edx;
};

enum cpu_exit_reason {
	CPU_EXIT_NONE,
	CPU_EXIT_INTR,	     /* interrupted(): a signal, immediate_exit */
	CPU_EXIT_REQUEST,    /* owner requests are pending and the owner must look */
	CPU_EXIT_IO,	     /* io: port access for the VMM */
	CPU_EXIT_MMIO,	     /* mmio */
	CPU_EXIT_HLT,
	CPU_EXIT_SHUTDOWN,   /* triple fault */
	CPU_EXIT_IRQ_WINDOW, /* request_irq_window was set and interrupts can be taken now */
	CPU_EXIT_DEBUG,	     /* guest debug */
	CPU_EXIT_INTERNAL,   /* internal: an instruction or fetch KVM cannot carry out */
	CPU_EXIT_MEMORY,     /* memory: the VMM's mapping cannot serve an access */
	CPU_EXIT_MSR_READ,   /* msr: filtered or unknown MSR, the VMM asked to see it */
	CPU_EXIT_MSR_WRITE,
	CPU_EXIT_HYPERCALL,
	CPU_EXIT_SET_TPR,    /* CR8 written with the APIC in the VMM */
	CPU_EXIT_NOMEM,
	CPU_EXIT_RING_FULL,  /* the dirty ring is: only a reset makes the vCPU go on */
	CPU_EXIT_IOAPIC_EOI, /* eoi_vector: split irqchip, the VMM's I/O APIC wants to know */
};

/* What is with the VMM when cpu_run() returns. */
struct cpu_exit {
	enum cpu_exit_reason reason;
	union {
		struct {
			u16 port;
			u8 size;
			bool in;
			u32 count;	/* > 1 only for string I/O */
			u8 *data;	/* count * size bytes; the VMM fills it for `in` */
		} io;
		struct {
			gpa_t gpa;
			u32 len;
			bool write;
			u8 *data;	/* len bytes, at most 8 */
		} mmio;
		struct {
			u32 exception;
			u64 pc, dr6, dr7;
		} debug;
		struct {
			u32 suberror;	/* KVM_INTERNAL_ERROR_* */
			u8 insn_len;
			u8 insn[15];
		} internal;
		struct {
			gpa_t gpa;
			u64 size;
			bool private_;
			int error;	/* -EFAULT or -EHWPOISON */
			bool has_info;	/* fill in kvm_run's memory_fault */
		} memory;
		struct {
			u32 index;
			u64 data;
			u32 reason;	/* KVM_MSR_EXIT_REASON_* */
			bool error;	/* the VMM's answer: raise #GP */
			u64 next_rip;	/* after the instruction */
		} msr;
		struct {
			u64 nr, args[6], longmode;
			u64 ret;	/* the VMM's answer */
		} hypercall;
		u8 eoi_vector;
	};
};

struct cpu;

/* What a vCPU asks of the VM around it. All run on the vCPU's thread, in guest mode unless said
 * otherwise; none may block or touch guest memory. */
struct cpu_env {
	/* 0: done here (a device in the VM). CPU_TO_VMM: the VMM has to answer. */
	int (*io)(void *owner, u16 port, u32 size, bool write, void *data);
	int (*mmio)(void *owner, gpa_t gpa, u32 size, bool write, void *data);
	/* Vector deliverable now or -1; get acknowledges. */
	int (*has_interrupt)(void *owner);
	int (*get_interrupt)(void *owner);
	u64 (*get_cr8)(void *owner);
	int (*set_cr8)(void *owner, u64 v); /* 0, or CPU_TO_VMM */
	/* MSRs cpu/ does not keep (APIC, x2APIC, TSC deadline, paravirtual).
	 * 0 done, -EINVAL: #GP, -ENOENT: nobody knows it. `host`: the VMM asks, not the guest. */
	int (*msr_read)(void *owner, u32 msr, bool host, u64 *value);
	int (*msr_write)(void *owner, u32 msr, bool host, u64 value);
	/* KVM_X86_SET_MSR_FILTER: may the guest? */
	bool (*msr_allowed)(void *owner, u32 msr, bool write);
	/* The guest TSC's offset is another one; `host`: by the VMM, outside a run, and the owner
	 * may change it again. May be NULL. */
	void (*tsc_changed)(void *owner, bool host);
	/* An access failed for this reason (KVM_MSR_EXIT_REASON_*): does the VMM want to see it
	 * (KVM_CAP_X86_USER_SPACE_MSR)? May be NULL: never. */
	bool (*msr_exits)(void *owner, u32 reason);
	/* Has the VMM switched this quirk off (KVM_X86_QUIRK_*, KVM_CAP_DISABLE_QUIRKS2)? May be
	 * NULL: all are in force. */
	bool (*quirk_off)(void *owner, u64 quirk);
	/* VMCALL/VMMCALL: registers are in the cpu. 0 done, CPU_TO_VMM. */
	int (*hypercall)(void *owner, struct cpu *c);
	/* The owner's requests (bits above MMU_REQ_MASK) are pending: look at them. True: cpu_run()
	 * must return CPU_EXIT_REQUEST. Outside guest mode. */
	bool (*requests)(void *owner);
	bool (*interrupted)(void *owner);
	/* The guest spins: is there another vCPU that it may wait for? May be NULL: yes. */
	bool (*awaited)(void *owner);
};
#define CPU_TO_VMM 1

struct block;
struct op;
struct code_cache;
struct native_cache;
struct translator;

/* Where generated code goes on at a linear address: looked up by it, and empty where `neg` is the
 * negative of an address that another slot is for. */
#define CODE_JUMPS 262144u
/* Edges of generated code that go by a cell: host addresses. */
#define CODE_CELLS 65536u
/* Return sites of CALLs, by the place of the return address in its page of the stack (translator/returns.c). */
#define CODE_RETURNS 256u
struct code_jump {
	u64 neg;  /* minus the address */
	u64 host;
};

/* Bytes below a struct cpu that are its: while generated code runs, the host's stack pointer is in
 * the struct, and a signal's frame and handler stand below it. */
#define CPU_STACK_ROOM (64u << 10)

struct cpu {
	u64 reg[NR_GPR];
	u64 rip;     /* of the current instruction between blocks; see cpu_rip() inside one */
	u16 af;	     /* status flags, AF_* */
	u8 cpl;
	u8 mode;     /* enum cpu_mode */
	u32 key;     /* what, besides address, a decoded block depends on: BLOCK_KEY_* */
	u64 flags;   /* RFLAGS without the status flags; bit 1 set */
	u64 ea_mask; /* 64-bit mode: all ones; else 32 bits */
	struct tlb *tlb;	 /* the one for the current CPL, SMAP and AC; or tlb_never */
	u8 tlb_mode;		 /* enum tlb_mode that CPL, SMAP and AC call for */
	bool check_align;	 /* CR0.AM, EFLAGS.AC and CPL 3: #AC is possible */
	bool check_watch;	 /* a data or I/O breakpoint is on, the guest's or the VMM's */
	u8 watch_hits;		 /* breakpoints the current instruction's accesses hit, DR6.B0-B3 */
	bool no_step_trap;	 /* the current instruction began with TF set, and does not end with
				    its trap: INT n, SYSCALL and SYSRET that clear TF */
	u8 shadow;		 /* interrupt shadow until the next instruction: SHADOW_*. Not beside what is
				    looked at together with it: a byte just stored delays a wider load */
	const struct op *op;	 /* being executed; its offset gives the precise rip */
	struct block *block;	 /* that op belongs to */
	/* What generated code uses, near the general registers (translator/layout.h). */
	struct {
		u64 enter_sp; /* the thread's stack pointer, for C */
		void *helper;
		u64 mask_index, mask_page; /* for PEXT */
		u64 resume; /* where to go on behind the helper; an indirect CALL's target */
		u64 share[8]; /* host addresses that a block's accesses share (translator/share.h) */
		u64 tmp[3]; /* scratch registers while a fault or a kick is looked at, or the TLB refilled */
		/* Status flags: where LAHF and SETO leave them, rotated right by 8; and in RFLAGS. */
		u64 mask_af, mask_status;
		u32 table_key[4]; /* key of the blocks that the jump table of a TLB mode leads to */
		void *refill;
		u64 mask_jump;
		u64 mask_aligned[4]; /* a page's number, and the bits that an aligned address has not, by size */
		void *helper_saved;
		u64 mask_returns; /* of the place in a page, by 8 bytes */
		u16 af; /* the host's flags while a fault or a kick is looked at, as `af` above has the guest's */
	} gen;
	struct seg seg[NR_SEG];

	u64 cr0, cr2, cr3, cr4, efer, xcr0;
	u64 dr[4], dr6, dr7;
	struct dtable gdt, idt;
	u64 pdptr[4]; /* PAE: loaded by MOV CR3 and friends */

	u64 align_mask[5]; /* address bits that are zero in an aligned operand of 1, 2, 4, 8, 16 bytes */
	/* Where vector state is while generated code runs (translator/vector.h): 0, in the host's
	 * registers; 1, below. */
	struct {
		u64 low_out, high_out;
		u32 wanted; /* to be brought in when generated code goes on */
	} vec;

	/* Vector and x87 state. `fx` is an FXSAVE image whose XMM part is not used. */
	struct vreg v[32] __attribute__((aligned(64)));
	u64 k[8];
	u32 mxcsr;
	u32 host_mxcsr; /* of the thread in cpu_run(); native_enter() took it down */
	u32 live_mxcsr; /* what the thread's register holds in cpu_run() */
	u16 host_fcw;
	u8 fx[512] __attribute__((aligned(64)));

	/* MSRs cpu/ keeps. */
	u64 star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, misc_enable, feature_control, spec_ctrl, xss, arch_capabilities;
	u64 platform_info, misc_features, ucode_rev, perf_capabilities, hwcr, smi_count, power_ctl;
	u64 mtrr_def, mtrr_fixed[11], mtrr_base[NR_MTRR_VAR], mtrr_mask[NR_MTRR_VAR];
	u64 mcg_cap, mcg_status, mcg_ctl, mce[NR_MCE_BANKS * 4];
	u64 mce_ctl2[NR_MCE_BANKS]; /* there with MCG_CMCI_P */
	u64 tsc_offset; /* guest TSC = host TSC * ratio + offset */
	u64 tsc_ratio;	/* fixed point, TSC_RATIO_BITS of fraction; 0: the host's own rate */
	u64 tsc_adjust;
	u32 tsc_khz;

	/* Event state, as kvm_vcpu_events has it. */
	struct {
		bool pending, injected, has_error, has_payload;
		u8 vector;
		u32 error;
		u64 payload;
	} exception;
	struct {
		bool injected, soft; /* an interrupt taken from its controller, not yet delivered */
		u8 vector;
	} interrupt;
	u8 nmi_pending; /* how many: at most MAX_PENDING_NMIS, see cpu_queue_nmis() */
	bool nmi_injected, nmi_masked;
	bool triple_fault; /* pending */
	bool event_ext;	   /* an event not made by the program is being delivered: error
			      codes of faults it meets have EXT set (SDM vol. 3, 6.13) */
	bool halted;	   /* HLT executed; the owner decides what that means */
	bool stepping;	   /* run.c executes one instruction */
	bool resumed;	   /* which began with RF set */
	bool in_iret;	   /* the current instruction is IRET */
	bool repeating;	   /* rip is at a string instruction between two iterations, or at a gather
			      or scatter between two elements */
	struct {
		u64 first, last; /* host TSC at the first and the last PAUSE of a loop */
		u32 yields;	 /* turns given away in it */
	} spin; /* spin.h */
	bool waited;	   /* PAUSE or MWAIT was executed since code was last distrusted */
	bool code_trusted; /* the owner's word, good for one cpu_run(): since the last one nobody
			      else had reason to store into code */
	bool request_irq_window; /* leave with IRQ_WINDOW as soon as IF allows */

	/* Guest debug (KVM_SET_GUEST_DEBUG). */
	u32 guest_debug; /* KVM_GUESTDBG_* */
	u64 guest_dr[4], guest_dr7;

	struct cpuid_leaf cpuid[MAX_CPUID];
	u32 ncpuid;
	u8 vendor; /* enum vendor (table/vendor.h), as CPUID announces it */
	u8 maxphyaddr;
	u64 reserved_gpa; /* bits above maxphyaddr */
	u64 cr4_allowed;  /* what CPUID lets CR4 have */
	u64 xcr0_allowed;

	struct replay replay;
	u8 io_data[4096]; /* string I/O for the VMM */
	struct cpu_exit exit;

	const struct cpu_env *env;
	void *owner;
	struct code_cache *code;	 /* code/: decoded blocks */
	struct translator *translator;	 /* translator/: NULL when there is only the interpreter */
	struct native_cache *native;	 /* native/: the VM's stubs */
	struct cpu *native_next;	 /* of the same VM; guarded by native/'s lock */
	u64 native_seen;		 /* decoded blocks may use stubs of this epoch; atomic */
	bool native_running;		 /* in cpu_run(); atomic */
	bool native_temporary;		 /* an instruction is decoded to be run once */
	u32 native_uncached;		 /* instructions run so */
	s32 native_slot;		 /* where their stub is made */
	struct unwind_point *unwind;	 /* where cpu_raise() and friends go */

	u64 device_page[8]; /* linear pages, plus one, where devices were met: a hint; 0: none */

	/* Guest page-table pages the walker read lately; good while mmu.epoch stays. */
	struct {
		u64 gfn; /* plus one; 0: empty */
		u64 epoch;
		u8 *host;
		bool writable;
	} ptc[16];

	/*
	 * Upper levels of the guest's page tables, in long mode, by linear address (system/walk.c): of a
	 * stretch of 2 MiB the table of its pages, or the large page that it lies in. As in a processor
	 * they may be stale until the guest says INVLPG or switches address spaces.
	 */
	struct walk_upper {
		u64 stretch;	/* la >> 21, plus one; 0: empty */
		u64 space;	/* mmu.space */
		u64 invlpgs;	/* mmu.invlpgs */
		u64 epoch;	/* mmu.epoch: good for `table` */
		u8 *table;	/* level 1: in the host */
		u64 entry;	/* else the leaf */
		u64 rights;	/* of the levels above the leaf, as struct state's in walk.c */
		bool nx;
		u8 level;	/* of the leaf */
	} upper[256] __attribute__((aligned(64)));

	/* A read-modify-write whose operand cannot be reached by one pointer works here. */
	struct {
		u8 buf[64] __attribute__((aligned(64)));
		u64 la;
		u32 size;
	} bounce;

	struct statpage_vcpu stat; /* a page of its own; others may read it at any time */

	struct mmu_vcpu mmu; /* large: nearly last */
	struct code_jump jump[TLB_MODES][CODE_JUMPS];
	u64 cell[CODE_CELLS];
	u64 returns[TLB_MODES][CODE_RETURNS];
	struct tlb_second_entry second[TLB_SECOND_ENTRIES];
	/* Where generated code stores to while it is only tried (translator/check.c). */
	struct {
		u8 data[64] __attribute__((aligned(64)));
		u64 host; /* where it would have */
	} tried[64];
};

#define SHADOW_STI    1
#define SHADOW_MOV_SS 2

_Static_assert(offsetof(struct cpu, reg) == 0, "operands are byte offsets from the cpu");
_Static_assert(offsetof(struct cpu, gen.share[2]) < 272,
	       "what every block touches is an 8-bit displacement from cpu + 144");

static inline bool cpu_long(const struct cpu *c)
{
	return c->mode == MODE_LONG;
}

static inline bool cpu_lma(const struct cpu *c)
{
	return c->efer & EFER_LMA;
}

static inline bool cpu_protected(const struct cpu *c)
{
	return c->mode >= MODE_PROT16;
}

static inline u64 la_make_canonical(const struct cpu *c, u64 la)
{
	unsigned shift = c->cr4 & CR4_LA57 ? 7 : 16;

	return (u64)((s64)(la << shift) >> shift);
}

static inline bool la_canonical(const struct cpu *c, u64 la)
{
	return la_make_canonical(c, la) == la;
}

/* RFLAGS whole, and set whole (the caller has decided what may change). */
static inline u64 cpu_rflags(const struct cpu *c)
{
	return c->flags | (((u64)c->af >> 8) & 0xd5) | ((u64)(c->af & AF_OF) << 11);
}

static inline u16 af_from_rflags(u64 f)
{
	return (u16)((f & 0xd5) << 8 | ((f >> 11) & 1));
}

#endif
