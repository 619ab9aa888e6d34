/* SPDX-License-Identifier: MIT */
/*
 * A VM of memory only: memslots over this process's memory and vCPUs that are threads of the test.
 * A vCPU reads and writes guest memory as cpu/ does: through its TLB, by guarded accesses, with a
 * safe point after each.
 */
#ifndef TESTS_MMU_HARNESS_H
#define TESTS_MMU_HARNESS_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "../hang.h"
#include "base/guard.h"
#include "mmu/mmu.h"
#include "primary/linux/linux.h"

struct hvcpu {
	struct mmu_vcpu v;
	pthread_t thread;
	bool threaded, kicked; /* a thread of its own runs it; a kick has come */
	bool stop;	       /* the thread is to leave; atomic */
	bool interrupt;	       /* what interrupted() answers */
	void (*body)(struct hvcpu *h, void *arg);
	void *arg;
};

struct hvm {
	struct mmu *mmu;
};

#define HANG_SECONDS hang_limit(25) /* for alarm() */

static inline u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

void hvm_init(struct hvm *vm);
/* The same over operations of the test's own, made of primary_linux_ops; kept. */
void hvm_init_over(struct hvm *vm, const struct primary_ops *ops);
void hvm_fini(struct hvm *vm);
int hvm_slot(struct hvm *vm, u32 slot, u32 flags, gpa_t gpa, u64 size, void *hva);

/* A vCPU on the calling thread, outside guest mode. */
struct hvcpu *hvcpu_new(struct hvm *vm, u32 index);
void hvcpu_free(struct hvcpu *h);
/* The same on a thread of its own, which enters guest mode and calls body until h->stop. */
void hvcpu_start(struct hvcpu *h, void (*body)(struct hvcpu *h, void *arg), void *arg);
void hvcpu_stop(struct hvcpu *h);

/*
 * Guest accesses, in guest mode. 0 or an errno as mmu_translate(). Guest-linear = guest-physical.
 */
int guest_load(struct hvcpu *h, gpa_t gpa, u64 *v);
int guest_store(struct hvcpu *h, gpa_t gpa, u64 v);
/* The same from outside guest mode: enter, access, leave. */
int guest_load_once(struct hvcpu *h, gpa_t gpa, u64 *v);
int guest_store_once(struct hvcpu *h, gpa_t gpa, u64 v);

/* The VMM's calls with the preload's hooks around them. */
int hooked_munmap(void *p, size_t len);
void *hooked_mmap(void *p, size_t len, int prot, int flags, int fd, off_t off);
int hooked_mprotect(void *p, size_t len, int prot);
int hooked_madvise(void *p, size_t len, int advice);
void *hooked_mremap(void *p, size_t old, size_t len, int flags, void *to);
int hooked_ftruncate(int fd, off_t len);
int hooked_punch(int fd, off_t off, off_t len);

/* Anonymous memory at a multiple of `align`. */
void *map_aligned(size_t len, size_t align, int flags);

#endif
