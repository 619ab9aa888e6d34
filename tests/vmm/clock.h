/* SPDX-License-Identifier: MIT */
/* tests/vmm/clock.h: the page of a kvmclock (KVM's msr.rst, MSR_KVM_SYSTEM_TIME_NEW). */
#ifndef TESTS_VMM_CLOCK_H
#define TESTS_VMM_CLOCK_H

#include <stdint.h>

struct clock_page {
	uint32_t version, pad;
	uint64_t tsc, ns;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
};

#endif
