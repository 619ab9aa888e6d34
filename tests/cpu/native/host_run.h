/* SPDX-License-Identifier: MIT */
/*
 * tests/cpu/native/host_run.h: one instruction on the host itself, with every register given and
 * every register taken back: what native/ must agree with.
 */
#ifndef TESTS_CPU_NATIVE_HOST_RUN_H
#define TESTS_CPU_NATIVE_HOST_RUN_H

#include "base/types.h"

struct host_state {
	u64 gpr[16]; /* RSP is not used */
	u64 flags;
	u64 xmask;
	u8 xsave[4096] __attribute__((aligned(64)));
};

/* 0, or -errno: -ENOTSUP without XSAVE. */
int host_run_init(void);
/* The components of its state that are given and taken back: all that userkvm knows and it has. */
u64 host_run_xmask(void);
/* Where the instruction will stand when it runs. */
u64 host_run_address(void);
/* 0, or the signal it raised (the state is then what it was). `compat`: as 32-bit code. */
int host_run(struct host_state *s, const u8 *insn, unsigned len, bool compat);

#endif
