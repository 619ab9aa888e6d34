/* SPDX-License-Identifier: MIT */
/*
 * tests/cpu/interpreter/native_run.h: the same bytes on the host's processor. Registers and flags are loaded,
 * control goes to the code, and the trap that ends it (int3, a fault) is caught with everything
 * as it was left.
 */
#ifndef TESTS_CPU_NATIVE_RUN_H
#define TESTS_CPU_NATIVE_RUN_H

#include "cpu/state.h"

struct native_state {
	u64 reg[16];
	u64 rip, rflags;
};

/* Take over the signals: again in every test, since cmocka takes them back. 0 or -errno. */
int native_run_init(void);
/* Vector of what ended it. legacy32: in a 32-bit code segment. */
int native_run(struct native_state *s, bool legacy32);

#endif
