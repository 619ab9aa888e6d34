/* SPDX-License-Identifier: MIT */
/* A VM whose guest does nothing but write to a device: each KVM_RUN ends with an MMIO exit. */
#ifndef TESTS_LOADER_MMIO_H
#define TESTS_LOADER_MMIO_H

#include <cpuid.h>
#include <stdbool.h>
#include "../vmm/minivmm.h"

GUEST(mmio_writes, 64, "1: mov %rax, (%rdi)\n jmp 1b");

static inline void mmio_start(struct minivmm *v)
{
	minivmm_load(v, MINIVMM_LONG, mmio_writes);
	minivmm_set_rdi(v, MINIVMM_HOLE);
}

static inline void mmio_create(struct minivmm *v)
{
	minivmm_create(v);
	mmio_start(v);
}

/* Does KVM_RUN come without a trap below libc? Without XSAVEC each one is trapped (loader/direct.c). */
static inline bool comes_directly(void)
{
	unsigned a, b, c, d;

	return __get_cpuid_count(0xd, 1, &a, &b, &c, &d) && a & 2;
}

#endif
