/* SPDX-License-Identifier: MIT */
/* tests/fuzz/gmem_vm.h: a VM for the guest_memfd fuzzer: a memslot on a store that others share. */
#ifndef TESTS_FUZZ_GMEM_VM_H
#define TESTS_FUZZ_GMEM_VM_H

#include <pthread.h>
#include "calls.h"
#include "check.h"
#include "gmem_oracle.h"
#include "rounds.h"
#include "userkvm.h"

#define GPA   0x40000000ULL /* of the memslot: 1 GiB, PAGES pages */
#define BYTES (PAGES * PAGE_SIZE)

struct fuzz_vm {
	unsigned number;
	bool protected; /* has attributes; its file cannot be mapped */
	pthread_rwlock_t life; /* write: made or destroyed; read: its descriptors stay */
	int kvm, vm, vcpu;
	struct kvm_run *run;
	u8 *low;    /* the guest's programs */
	u8 *shared; /* what the slot maps beside its file */

	pthread_mutex_t bind_lock;
	int file;      /* life, for read: and bind_lock */
	bool bound;    /* the same */
	u32 bind_seq;  /* atomic; odd while it changes */

	pthread_mutex_t convert_lock;
	u32 convert_seq; /* atomic; odd while it changes */
	u8 attribute[PAGES]; /* 1: private */
};

/* With a file on the store of `file` (-1: with a new store). life is held for write. */
void fuzz_vm_make(struct fuzz_vm *v, unsigned number, bool protected, int file);
void fuzz_vm_end(struct fuzz_vm *v);

/* life is held for read. */
void fuzz_vm_convert(struct fuzz_vm *v, u32 page, u32 n, bool private_);
/* Delete the slot, or make it; close the file and make another on the store of `keeper`. */
void fuzz_vm_rebind(struct fuzz_vm *v, struct rng *r, int keeper);

/* What was known at one moment, to be asked whether it held all along. */
struct fuzz_moment {
	u32 bind_seq, convert_seq;
	bool bound, private_;
};
struct fuzz_moment fuzz_vm_now(struct fuzz_vm *v, u32 page);
bool fuzz_vm_bound_since(struct fuzz_vm *v, const struct fuzz_moment *m);
bool fuzz_vm_attribute_since(struct fuzz_vm *v, const struct fuzz_moment *m);

/* The vCPU's thread. Store a word to a page; load one again and again. 0: done; or what ended it. */
int fuzz_vm_store(struct fuzz_vm *v, u32 page, u32 word);
int fuzz_vm_load(struct fuzz_vm *v, u32 page, u32 times, u32 *word, u32 *done);
void fuzz_vm_prefault(struct fuzz_vm *v, u32 page, u32 n);

#endif
