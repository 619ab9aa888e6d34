/* SPDX-License-Identifier: MIT */
/* mmu/age.h: the primary MMU asks what was accessed. */
#ifndef MMU_AGE_H
#define MMU_AGE_H

#include "mmu/mmu.h"

/*
 * Was any page of [start, end) accessed since the last age? age: begin anew, and hand what there
 * was to the primary MMU; returns when every access to come will be seen. test: only look.
 * As primary_notifier.age and .young.
 */
bool mmu_age(struct mmu *mmu, hva_t start, hva_t end);
bool mmu_test_young(struct mmu *mmu, hva_t start, hva_t end);

#endif
