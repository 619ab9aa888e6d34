/* SPDX-License-Identifier: MIT */
/* mmu/fault.h: what a translation and a pre-fault have in common. */
#ifndef MMU_FAULT_H
#define MMU_FAULT_H

#include "mmu/translate.h"

/* Bring gfn into stage 2. Outside guest mode, no lock held. 0 or as mmu_translate(). */
int mmu_fault(struct mmu_vcpu *v, gfn_t gfn, unsigned access, int *level);

#endif
