/* SPDX-License-Identifier: MIT */
/*
 * tests/mmu/fixture.h: what tests of the VMM's mappings begin with: a VM with one vCPU, on the calling thread, and
 * memslot 0 over memory that is private or a file's.
 */
#ifndef TESTS_MMU_FIXTURE_H
#define TESTS_MMU_FIXTURE_H

#include <fcntl.h>
#include "harness.h"
#include "uffd.h"
#include "mmu/vm.h"
#include "primary/linux/internal.h"

struct fixture {
	struct hvm vm;
	struct hvcpu *h;
	char *mem;
	u64 len; /* bytes of it */
	int fd;	 /* the file it is of, from its beginning; -1: none */
};

/* Private memory at a multiple of `align`, which fixture_end() unmaps. */
static inline void fixture_map(struct fixture *f, u64 len, u64 align)
{
	f->mem = map_aligned(len, align, MAP_PRIVATE);
	f->len = len;
	f->fd = -1;
}

/* The same of a memfd that is four times as long, so that what lies behind can be mapped as well. */
static inline void fixture_map_file(struct fixture *f, u64 len, u64 align)
{
	fixture_map(f, len, align);
	f->fd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(f->fd >= 0);
	assert_int_equal(ftruncate(f->fd, (off_t)(4 * len)), 0);
	assert_ptr_equal(mmap(f->mem, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f->fd, 0), f->mem);
}

/* The VM over what is mapped. */
static inline void fixture_begin(struct fixture *f, gpa_t gpa)
{
	hvm_init(&f->vm);
	f->h = hvcpu_new(&f->vm, 0);
	assert_int_equal(hvm_slot(&f->vm, 0, 0, gpa, f->len, f->mem), 0);
}

static inline void fixture_end(struct fixture *f)
{
	hvcpu_free(f->h);
	hvm_fini(&f->vm);
	munmap(f->mem, f->len);
	if (f->fd >= 0)
		close(f->fd);
}

/* Where the vCPU reaches what is at gpa, once it has faulted there. */
static inline void *fixture_host_of(struct fixture *f, gpa_t gpa)
{
	struct mmu_xlat x;

	mmu_vcpu_enter(&f->h->v);
	assert_int_equal(mmu_translate(&f->h->v, gpa, MMU_READ, &x), 0);
	mmu_vcpu_leave(&f->h->v);
	return x.host;
}

#endif
