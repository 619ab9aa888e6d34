/* SPDX-License-Identifier: MIT */
/*
 * native/native.h: instructions carried out by themselves. A stub of generated code loads the
 * registers the instruction names from struct cpu, executes the very instruction with its memory
 * operand redirected to a host pointer, and stores back what it wrote. Used for x87, MMX, SSE,
 * AVX, AVX-512, AES, SHA, BMI and the like: none is re-implemented.
 *
 * Stubs live in memory mapped twice (write, execute), keyed by VM and the instruction's bytes without
 * displacement; a host fault in one unwinds to the guest instruction.
 */
#ifndef CPU_NATIVE_NATIVE_H
#define CPU_NATIVE_NATIVE_H

#include "cpu/code/decode.h"

/* Once per process. 0 or -errno (a system that refuses executable memfds). */
int native_init(void);
/* A vCPU comes and goes; c->mmu says to which VM it belongs. 0 or -errno. */
int native_attach(struct cpu *c);
void native_detach(struct cpu *c);
/* Private request: native_catch_up() at the next block boundary. */
#define CPU_REQ_STUBS (1u << 29)
/* Between blocks, on the vCPU's thread: forget decoded blocks if stubs in them are to go. */
void native_catch_up(struct cpu *c);
/* Around cpu_run(): outside it nobody waits for native_catch_up(). */
void native_run_begin(struct cpu *c);
void native_run_end(struct cpu *c);
/*
 * At the start and the end of cpu_run(). The first takes down the thread's own MXCSR and x87 control
 * word; reading them around each stub would cost more than the stub. The control word is put back
 * by every stub that changes it. MXCSR is the guest's from its first use to the end of cpu_run(),
 * since loading another value waits for all that is under way: no code in between may compute with
 * floating point. (A signal handler starts with the initial value.)
 */
void native_enter(struct cpu *c);
void native_leave(struct cpu *c);
/* The decode function behind every CLASS_NATIVE line. */
bool native_decode(struct decoder *d, struct op *op);

#endif
