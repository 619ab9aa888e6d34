/* SPDX-License-Identifier: MIT */
/*
 * bench/memory/machine.h: a VM to measure guest memory with, as a client of /dev/kvm like any
 * other. Long mode, paging on, no interrupt controllers; a guest program ends with HLT.
 */
#ifndef BENCH_MEMORY_MACHINE_H
#define BENCH_MEMORY_MACHINE_H

#include "bench.h"
#include <linux/kvm.h>

#define MACHINE_VCPUS 2
#define DATA_GPA      (1 * GIB) /* slot 1 */
#define DATA_MAX      (512 * MIB)
/* The guest's own addresses of slot 1: through 2 MiB and through 4 KiB pages of its own. */
#define DATA_LARGE    (1 * GIB)
#define DATA_SMALL    (2 * GIB)

struct machine {
	int kvm, vm, vcpu[MACHINE_VCPUS];
	struct kvm_run *run[MACHINE_VCPUS];
	size_t run_size;
	u8 *low;
};

enum program {
	PROGRAM_TOUCH, /* rdi, rsi: as host_touch() */
	PROGRAM_CHASE, /* rbx, rdi, rsi: as host_chase() */
	PROGRAM_STORE, /* rbx times, a word in each 256 bytes of [rdi, rsi) */
};

void machine_create(struct machine *m);
void machine_create_type(struct machine *m, unsigned long type); /* KVM_CREATE_VM's argument */
void machine_create_with_ring(struct machine *m, u32 bytes); /* dirty rings, of every vCPU */
void machine_destroy(struct machine *m);
/* KVM_SET_USER_MEMORY_REGION; size 0 deletes. */
void machine_slot(struct machine *m, u32 slot, u32 flags, u64 gpa, u64 size, void *hva);
/* Run to the HLT. */
void machine_run(struct machine *m, u32 vcpu, enum program p, u64 rbx, u64 rdi, u64 rsi);

#endif
