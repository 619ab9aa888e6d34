/* SPDX-License-Identifier: MIT */
/* abi/cpuid.h: CPUID and MSR lists as the VMM hands them over. */
#ifndef ABI_CPUID_H
#define ABI_CPUID_H

#include "abi/internal.h"

/* Fill a struct kvm_cpuid2 of the VMM's: nent and entries. 0 or -EFAULT. */
long cpuid_copy_out(void *user, const struct cpuid_leaf *l, u32 n);

/*
 * KVM_GET_MSRS, KVM_SET_MSRS: `one` for each entry of a struct kvm_msrs until it fails; entries
 * are copied back if `out`. The number done, or -E2BIG, -EFAULT, -ENOMEM.
 */
long msrs_each(void *user, bool out, int (*one)(void *ctx, struct kvm_msr_entry *e), void *ctx);

#endif
