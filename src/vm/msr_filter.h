/* SPDX-License-Identifier: MIT */
/* vm/msr_filter.h: KVM_X86_SET_MSR_FILTER (KVM's api.rst, 4.97). Private to vm/. */
#ifndef VM_MSR_FILTER_H
#define VM_MSR_FILTER_H

struct msr_filter;
void msr_filter_free(struct msr_filter *f); /* NULL is fine */

#endif
