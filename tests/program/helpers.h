/* SPDX-License-Identifier: MIT */
/* tests/program/helpers.h: what makes userkvm start the helper threads that a VM can need. */
#ifndef TESTS_PROGRAM_HELPERS_H
#define TESTS_PROGRAM_HELPERS_H

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include "../preload/check.h"
#include "../vmm/minivmm.h"

/* A timer that ticks a thousand times a second, and an irqfd, which is returned. They start with the
 * VM's first run. */
static inline int use_timer_and_irqfd(const struct minivmm *v)
{
	struct kvm_pit_config pit = {0};
	struct kvm_pit_state2 state;
	struct kvm_irqfd irqfd = {.gsi = 5};

	CHECK(ioctl(v->vm, KVM_CREATE_PIT2, &pit) == 0);
	CHECK(ioctl(v->vm, KVM_GET_PIT2, &state) == 0);
	state.channels[0].mode = 2;
	state.channels[0].count = 1193;
	CHECK(ioctl(v->vm, KVM_SET_PIT2, &state) == 0);
	irqfd.fd = (unsigned)eventfd(0, 0);
	CHECK(ioctl(v->vm, KVM_IRQFD, &irqfd) == 0);
	return (int)irqfd.fd;
}

/* Does what is written there come to the 8259? To be called under an alarm. */
static inline void irqfd_is_served(const struct minivmm *v, int fd)
{
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_PIC_MASTER};
	const uint64_t one = 1;

	CHECK(write(fd, &one, sizeof(one)) == sizeof(one));
	do {
		usleep(1000);
		CHECK(ioctl(v->vm, KVM_GET_IRQCHIP, &chip) == 0);
	} while (!(chip.chip.pic.irr & 1 << 5));
}

#endif
