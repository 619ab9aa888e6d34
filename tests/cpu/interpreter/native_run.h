/* SPDX-License-Identifier: MIT */
/*
 * interpreter/native_run.h: the same bytes on the host's processor. Registers and flags are loaded,
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
/* Where it runs: 64-bit code; 32-bit code, flat; 16-bit code, every segment 64 KiB at FAKE_BASE. */
enum native_mode { NATIVE_64, NATIVE_32, NATIVE_16 };
/* False: this kernel gives no 16-bit segments (modify_ldt). */
bool native_has_16bit(void);
/* Vector of what ended it. */
int native_run(struct native_state *s, enum native_mode mode);

#endif
