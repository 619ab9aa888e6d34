/* SPDX-License-Identifier: MIT */
/*
 * tests/torture/torture.h: guests made to hurt their VMM, a kind a round, each with its own oracle.
 *
 * A round is a process: a VM of some vCPUs, whose code is put together at random of the kind's parts,
 * while the VMM does to it what the kind says. A seed, a kind, a number of vCPUs and a set of parts say
 * all of it, so that a round that fails can be made smaller.
 *
 * Every kind is held to this besides: the process lives, no canary beside a memslot changes, no vCPU
 * exits as it should not, and a signal ends KVM_RUN soon (../vmm/heard.h).
 */
#ifndef TESTS_TORTURE_H
#define TESTS_TORTURE_H

#include <pthread.h>
#include <stdint.h>
#include "../vmm/minivmm.h"

#define MAX_VCPUS 64u

/* Guest-physical layout, beside minivmm.h's; all of it is mapped at the same linear addresses. */
#define COUNTERS    0x30000u	      /* a line a vCPU: rounds of its loop, exceptions */
#define SHARED	    0x34000u	      /* what vCPUs contend for */
#define CODE_AT(id) (0x40000u + (id) * 0x1000u)
#define STACK_AT(id) (0x90000u + (id) * 0x1000u) /* its top */
#define PRIVATE_AT(id) (0xe0000u + (id) * 0x4000u) /* four pages a vCPU's own */
#define DEVICE	    0x300000u
#define TARGET	    0x400000u /* a memslot of its own */
#define TARGET_SIZE 0x10000u
#define WRONG_PORT  0x66 /* the guest has seen what must not be; RAX says what */

/* General registers that parts leave alone: 13 the counters, 14 the stack's top, 15 the loop. */

struct part {
	const char *name;
	const uint8_t *start, *end;
	/* RSI, RDI, RCX, RAX before it, from the random numbers and the vCPU's id. */
	void (*registers)(unsigned id, uint64_t reg[4]);
};

struct round {
	const struct kind *kind;
	uint64_t seed;
	unsigned vcpus;
	uint32_t parts; /* bit per part of the kind */
};

struct kind {
	const char *name;
	const struct part *parts;
	unsigned nparts, max_vcpus, flags;
	void (*prepare)(void);	     /* after the VM is made, before it runs; may be NULL */
	void (*step)(void);	     /* by the VMM, again and again while it runs; may be NULL */
	void (*check)(void);	     /* when all vCPUs have stopped; may be NULL */
	int (*between)(unsigned id); /* by a vCPU's thread, between runs; 0, or it ends; may be NULL */
	void (*end)(void);	     /* time is up, and vCPUs still run; may be NULL */
};

#define KIND_IRQCHIP 1u /* interrupt controllers in the VM */
#define KIND_EXITS   2u /* shutdowns, internal errors, EFAULT: what the guest is for */
#define KIND_PLAIN   4u /* vCPUs are loaded by prepare(), not with parts */
#define KIND_RING    8u /* dirty rings of RING_BYTES, and interrupt controllers */
#define KIND_PROTECTED 16u /* may have private memory */
#define RING_BYTES   16384u

extern const struct kind *const kinds[];
/* kinds_system.c, kinds_slots.c */
extern const struct kind kind_tasks, kind_timers, kind_aliases, kind_rings, kind_files, kind_private;
/* kinds.c: strings, saves, gathers at TARGET */
#define NMEMORY_PARTS 15u
extern const struct part memory_parts[NMEMORY_PARTS];
extern const unsigned nkinds;

/* ---- machine.c */

extern struct minivmm vcpu[MAX_VCPUS];
extern struct round now;
extern uint8_t *target; /* where TARGET's memory is */
extern _Atomic int stopping, ending; /* ending: a vCPU that comes out, however, has ended */

void machine_run(const struct round *r, unsigned ms); /* ends the process */
void machine_slot(unsigned slot, uint64_t gpa, uint64_t size, void *hva, uint32_t flags);
uint64_t *machine_counter(unsigned id);
uint64_t rnd(void); /* any thread */
void finding(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Put `id` at its code again. */
void machine_restart(unsigned id);
/* That is at rip, with the system registers that it has now. */
void machine_starts_here(unsigned id, uint64_t rip);
/* Another thread takes over when `id`'s has ended. */
void machine_rethread(unsigned id);
/* Wait until it is so, or would have been for long (patience.h). */
void machine_wait(int (*so)(void));

#endif
