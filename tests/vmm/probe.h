/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/probe.h: a guest that reads or writes one word where it is told, on a minivmm.
 *
 * 32-bit, flat, without paging: what it finds at a guest-physical address is what the memslots show.
 */
#ifndef TESTS_VMM_PROBE_H
#define TESTS_VMM_PROBE_H

#include <stdbool.h>
#include "minivmm.h"

#define PROBE_PAGE 4096ul
#define PROBE_GPA  0x1000000u /* where tests put their slots: 16 MiB up */
#define PROBE_SLOT 1	      /* the first id that is theirs */

/* A minivmm that is ready to probe. */
void probe_create(struct minivmm *v);
/* KVM_SET_USER_MEMORY_REGION must succeed. */
void probe_slot(struct minivmm *v, unsigned id, unsigned flags, uint64_t gpa, uint64_t size,
		const void *hva);
/* 0; or the exit's reason; or -errno of KVM_RUN, after which the access has not been made. */
int probe_read(struct minivmm *v, uint32_t gpa, uint32_t *value);
int probe_write(struct minivmm *v, uint32_t gpa, uint32_t value);
/* The same for code there that ends with HLT; *eax as it leaves it. */
int probe_run(struct minivmm *v, uint32_t gpa, uint32_t *eax);
/* It must be there. */
uint32_t probe_must_read(struct minivmm *v, uint32_t gpa);

/*
 * What the VMM finds at an address of its own, or whether it may write there: the kernel reads and writes
 * for it, and says so where it cannot.
 */
bool probe_host_read(const void *at, uint32_t *value);
bool probe_host_write(void *at, uint32_t value);
/* These need this descriptor. */
bool probe_host_uses(int fd);

/* A memfd of that size, and a mapping of it, shared, for reading and writing. */
int probe_memfd(size_t size);
void *probe_share(int fd, size_t size, off_t off);

#endif
