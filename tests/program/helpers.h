/* SPDX-License-Identifier: MIT */
/* tests/program/helpers.h: what makes userkvm start the helper threads that a VM can need. */
#ifndef TESTS_PROGRAM_HELPERS_H
#define TESTS_PROGRAM_HELPERS_H

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include "../preload/check.h"
#include "../vmm/minivmm.h"

/* A timer that ticks a thousand times a second, and an irqfd. They start with the VM's first run. */
static inline void use_timer_and_irqfd(const struct minivmm *v)
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
}

#endif
