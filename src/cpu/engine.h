/* SPDX-License-Identifier: MIT */
/*
 * cpu/engine.h: which engine executes a vCPU's code. `userkvm run` leaves what it was told in the
 * environment: USERKVM_ENGINE (auto, which is the translator; interpreter; translator or translator:N;
 * check or check:N) and USERKVM_CODE_CACHE (bytes, with K, M or G). For tests, USERKVM_CHECKS (loop, borrow or flags) has checks made as
 * another processor wants them.
 */
#ifndef CPU_ENGINE_H
#define CPU_ENGINE_H

#include "cpu/state.h"

/* Give a new vCPU, which has its code cache, a translator if one is wanted. Where the host refuses what
 * it needs the vCPU is interpreted, and the process says so once. */
void engine_attach(struct cpu *c);
void engine_detach(struct cpu *c);

#endif
