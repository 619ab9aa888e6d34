/* SPDX-License-Identifier: MIT */
/*
 * interpreter/interpreter.h: the execution of decoded blocks (cpu/code/) by their handlers.
 *
 * Called by cpu/run.c on the vCPU's thread, in guest mode.
 */
#ifndef CPU_INTERPRETER_INTERPRETER_H
#define CPU_INTERPRETER_INTERPRETER_H

#include "cpu/code/op.h"

/*
 * Execute from c->rip until a request is pending, a handler asks for the run loop, or an
 * exception unwinds past it (c->unwind). c->rip is exact on return and c->op is NULL; after an
 * unwinding cpu_rip() is exact, until the next interpreter_run() or code_cache_*().
 *
 * With BLOCK_KEY_STEP in c->key exactly one instruction (one iteration of a repeated string
 * instruction) is executed. With c->shadow set on entry one instruction is executed and the
 * shadow cleared after it has completed, then the run loop gets its chance to inject; STI and
 * MOV SS end their block and this function goes on to the shadowed instruction by itself.
 */
void interpreter_run(struct cpu *c);

/*
 * Carry out one op of c->block by its handler: for an engine that has no code for it. `scratch` is
 * two ops of the caller's. o + 1: done, and the next op is due (look at flow_pending() first: a
 * handler may have left guest mode for a while). NULL: back to the run loop. Else c->block is
 * another one, and this its entry.
 */
const struct op *interpreter_one(struct cpu *c, const struct op *o, struct op *scratch);

/*
 * mov.c: is this a MOV of `size` bytes between memory and a general register (o->r0, when it loads), or of a
 * constant to memory? Then it does no more than that access and a move.
 */
bool interpreter_is_mov(const struct op *o, u32 size, bool store);

#endif
