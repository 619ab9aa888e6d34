/* SPDX-License-Identifier: MIT */
/* tests/vmm/vcpu.h: what any VMM without firmware does to a vCPU. */
#ifndef TESTS_VMM_VCPU_H
#define TESTS_VMM_VCPU_H

#include <linux/kvm.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>

/* It sees what the device supports. 0, or -1 and errno. */
static inline int vcpu_take_cpuid(int kvm, int vcpu)
{
	enum { ENTRIES = 256 };
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + ENTRIES * sizeof(c->entries[0]));
	int r;

	if (!c)
		return -1;
	c->nent = ENTRIES;
	r = ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c);
	if (!r)
		r = ioctl(vcpu, KVM_SET_CPUID2, c);
	free(c);
	return r;
}

/* Long mode, flat segments of selectors that need no table. 0, or -1 and errno. */
static inline int vcpu_set_long_mode(int vcpu, uint64_t cr3)
{
	struct kvm_segment code = {.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1,
				   .s = 1, .g = 1, .l = 1};
	struct kvm_segment data = {.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1,
				   .s = 1, .g = 1, .db = 1};
	struct kvm_sregs s;

	if (ioctl(vcpu, KVM_GET_SREGS, &s))
		return -1;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.idt.limit = 0;
	s.cr3 = cr3;
	s.cr4 = 1 << 5;		 /* PAE */
	s.cr0 = 1u << 31 | 0x11; /* PG, ET, PE */
	s.efer = 0x500;		 /* LME, LMA */
	return ioctl(vcpu, KVM_SET_SREGS, &s);
}

#endif
