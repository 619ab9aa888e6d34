/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/machine.h: a VM of one vCPU for the fuzzers, linked to the rooms without the preload.
 *
 * Guest memory is what a fuzzer wants to see missed: a slot of RAM, a read-only one, one above
 * 4 GiB, one whose host memory may not be touched, and holes between. Each stands between pages
 * that nobody may touch. Any host fault that is not the one bad slot's ends the process.
 */
#ifndef TESTS_FUZZ_MACHINE_H
#define TESTS_FUZZ_MACHINE_H

#include <linux/kvm.h>
#include "abi/abi.h"
#include "vm/vm.h"
#include "check.h"

#define RAM_BYTES  0x40000ULL
#define RO_GPA	   0x100000ULL
#define RO_BYTES   0x4000ULL
#define BAD_GPA	   0x180000ULL
#define BAD_BYTES  0x2000ULL
#define HIGH_GPA   0x100000000ULL
#define HIGH_BYTES 0x4000ULL

enum machine_kind {
	MACHINE_PLAIN,	   /* no interrupt controller, private memory */
	MACHINE_SHARED,	   /* no interrupt controller, shared memory, dirty log */
	MACHINE_IRQCHIP,   /* controllers in the VM, private memory */
	NR_MACHINE_KINDS,
};

enum { SLOT_RAM, SLOT_RO, SLOT_BAD, SLOT_HIGH, NR_MACHINE_SLOTS };

struct machine_slot {
	u8 *host; /* bytes of the slot; a canary page and one nobody may touch on either side */
	u64 gpa, bytes;
	u32 flags;
};

struct machine {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	struct vcpu *v; /* for what no ioctl reaches */
	struct machine_slot slot[NR_MACHINE_SLOTS];
};

/* What libFuzzer calls, and what replays a corpus without it (replay.c). */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

/* What an input leaves open: numbers that its seed decides. */
extern u32 rnd_seed;
u32 rnd(void);

/* Handlers and timer. Once, before the first machine. */
void machine_init(void);
void machine_create(struct machine *m, enum machine_kind kind);
void machine_destroy(struct machine *m);
/* Power on again: registers, RAM and the other slots as after machine_create(). */
void machine_reset(struct machine *m);

/* An ioctl as the VMM's: >= 0 or -errno. */
long machine_ioctl(int fd, unsigned long request, void *arg);
/* KVM_RUN, ended with -EINTR after a few milliseconds. Checks that the answer is one of KVM's. */
int machine_run(struct machine *m);
/* Nothing outside the slots and nothing in the read-only one has changed. */
void machine_check(const struct machine *m);

#endif
