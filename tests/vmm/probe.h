/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/probe.h: a guest that reads or writes one word where it is told, on a minivmm.
 *
 * 32-bit, flat, without paging: what it finds at a guest-physical address is what the memslots show.
 */
#ifndef TESTS_VMM_PROBE_H
#define TESTS_VMM_PROBE_H

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
/* It must be there. */
uint32_t probe_must_read(struct minivmm *v, uint32_t gpa);

/* A memfd of that size, and a mapping of it, shared, for reading and writing. */
int probe_memfd(size_t size);
void *probe_share(int fd, size_t size, off_t off);

#endif
