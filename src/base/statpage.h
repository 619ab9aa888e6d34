/* SPDX-License-Identifier: MIT */
/*
 * base/statpage.h: the counters of a running VM as another process reads them.
 *
 * Every VM has a memfd named STATPAGE_MEMFD, open for as long as the VM lives: whoever may look at
 * the VMM's /proc/PID/fd finds it there by its name, and it goes with the process, however that
 * ends. Its first page is a struct statpage_vm; the vCPU with index i has page 1 + i, a struct
 * statpage_vcpu. It is sealed: only the VMM's own process writes it.
 *
 * The counters are the ones the rooms count with, in place: the pages of the memfd lie where
 * struct mmu and struct cpu have these structs (vm/statpage.c). So a vCPU that never leaves the
 * guest is seen counting, and counting costs what it cost before.
 *
 * A vCPU's page is written by its thread alone, with plain stores of whole words; the VM's page
 * atomically, by anyone. Readers read as it runs: each word is right, two of them may be from
 * different moments. Words begin at 0 and stay in place within a version; a new version may change
 * everything behind `version`.
 */
#ifndef BASE_STATPAGE_H
#define BASE_STATPAGE_H

#include "base/types.h"

#define STATPAGE_MEMFD	 "userkvm-stat"
#define STATPAGE_MAGIC	 0x746174736d766b75ULL /* "ukvmstat", little end first */
#define STATPAGE_VERSION 5
#define STATPAGE_UFFD_SHOWN 8 /* ranges that there is room for */
#define STATPAGE_MAX_VCPUS 4096 /* no file has more of them: a reader need not believe it */

struct statpage_vm {
	u64 magic;   /* STATPAGE_MAGIC; last to be written, so that a reader never sees half */
	u32 version; /* STATPAGE_VERSION */
	s32 pid;     /* of the VMM, as it knows itself (in its own PID namespace) */
	u64 created; /* CLOCK_BOOTTIME, ns */
	u32 nvcpus;  /* pages that follow; grows */
	u32 unused;

	/* Guest memory: mmu/ counts these. */
	u64 memslots;
	u64 memslot_bytes;
	u64 pages[3];	/* stage 2 leaves mapped now: 4 KiB, 2 MiB, 1 GiB */
	u64 tables;	/* stage 2 tables allocated now, a page each */
	u64 remote_flushes; /* times the vCPUs were asked to drop translations */
	u64 invalidations;  /* changes of the VMM's mappings that reached stage 2 */
	/*
	 * Ranges of memslots that lie under a userfaultfd of the VMM's, to which userkvm's own gives
	 * way; the first ones. As primary/linux/ last looked.
	 */
	u64 nuffd;
	struct statpage_range {
		u64 start, end; /* hva */
	} uffd[STATPAGE_UFFD_SHOWN];
} __attribute__((aligned(PAGE_SIZE)));

enum statpage_state {
	STATPAGE_VMM,	 /* its thread is in the VMM, or there is none */
	STATPAGE_RUN,	 /* in KVM_RUN, on its way through guest code */
	STATPAGE_HALTED, /* in KVM_RUN, asleep: HLT, or it waits for INIT or SIPI */
};

/* What mmu/ counts for a vCPU. */
struct statpage_faults {
	u64 pf_taken;  /* stage 2 misses that went to the host for the page */
	u64 pf_fixed;  /* of those, answered with a page */
	u64 tlb_flush; /* requests to drop translations that were answered */
	u64 under_way; /* one goes to the host for a page right now */
};

/* What a vCPU in KVM_RUN is doing: whoever looks often enough knows how much time goes where. */
enum statpage_place {
	STATPAGE_LOOP,	      /* events, exits, what is neither of the others */
	STATPAGE_GENERATED,   /* generated code */
	STATPAGE_HANDLER,     /* C called out of it */
	STATPAGE_INTERPRETER, /* handlers, one after the other */
	STATPAGE_WALK,	      /* a walk of the guest's page tables */
	STATPAGE_PLACES,
};

/* Guest code and what becomes of it: cpu/code/ and cpu/translator/ count these. */
struct statpage_code {
	u64 place;	 /* enum statpage_place */
	u64 blocks;	 /* translated ones there are now */
	u64 instructions; /* in those */
	u64 bytes;	 /* of generated code now */
	u64 translated;	 /* blocks, since the vCPU began */
	u64 chained;	 /* jumps between blocks that were aimed, or put into a table */
	u64 lookups;	 /* times C looked up where generated code goes on */
	u64 handlers;	 /* times a handler was called out of generated code */
	u64 forgets;	 /* times the tables of jumps were emptied */
	u64 invalidated; /* pages whose code was dropped, since it had changed */
	u64 evicted;	 /* times all code was dropped for want of room */
	u64 checked, differed; /* blocks compared by --engine=check */
};

#define STATPAGE_USER_EXITS 64 /* more than there are KVM_EXIT_* */

struct statpage_vcpu {
	u32 id;	   /* KVM's vCPU id */
	u32 state; /* enum statpage_state */
	u32 tid;   /* of the thread in KVM_RUN, or 0 */
	u32 counts; /* not 0: `instructions` are counted; generated code does so only when asked (run --count) */

	u64 run_exits; /* times the run loop was left: for the VMM, a halt, a signal, a request */
	u64 io_exits;	/* accesses to ports, whoever served them */
	u64 io_in_vm;	/* of those, served inside the VM: controllers, ioeventfds, coalesced */
	u64 mmio_exits; /* accesses to memory without a memslot that went to the VMM */
	u64 mmio_in_vm; /* those served inside the VM */
	u64 halt_exits; /* HLT */
	u64 halt_wakeup; /* times it woke from one */
	u64 signal_exits;     /* runs that ended with EINTR */
	u64 irq_window_exits; /* runs that ended since an interrupt can be taken */
	u64 irq_injections;   /* external interrupts delivered to the guest */
	u64 nmi_injections;
	u64 exceptions;	  /* exceptions delivered to the guest */
	u64 hypercalls;
	u64 tlb_misses;	  /* guest page walks for data and code */
	struct statpage_faults faults;
	struct statpage_code code;
	u64 user_exits[STATPAGE_USER_EXITS]; /* returns of KVM_RUN by KVM_EXIT_*; EINTR: INTR */
	u8 unused2[3224];
	/* Executed by the guest; those of the block it is in may be ahead. Far from all else, for a reason
	 * that translator/translate.c gives. */
	u64 instructions;
} __attribute__((aligned(PAGE_SIZE)));

/* What KVM calls exits: times guest code was broken off for something outside it. */
static inline u64 statpage_exits(const struct statpage_vcpu *s)
{
	return s->run_exits + s->io_in_vm + s->mmio_in_vm + s->faults.pf_taken;
}

_Static_assert(sizeof(struct statpage_vm) == PAGE_SIZE, "one page");
_Static_assert(sizeof(struct statpage_vcpu) == PAGE_SIZE, "one page");

#endif
