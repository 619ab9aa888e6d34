/* SPDX-License-Identifier: MIT */
/*
 * interpreter/interpreter.h: decoded blocks, cached and coherent with what the guest and the host
 * do to the code's bytes; and their execution.
 *
 * Called by cpu/run.c on the vCPU's thread, in guest mode.
 */
#ifndef CPU_INTERPRETER_INTERPRETER_H
#define CPU_INTERPRETER_INTERPRETER_H

#include "cpu/interpreter/op.h"

int code_cache_create(struct cpu *c);
void code_cache_destroy(struct cpu *c);
/* The VMM or a device it drives may have stored into code: compare a page's bytes when it is next
 * entered. Cheap. */
void code_cache_distrust(struct cpu *c);
/* The guest changed what linear addresses mean (CR3, INVLPG, mode): forget jump targets. */
void code_cache_remap(struct cpu *c);
/* Drop every block. */
void code_cache_clear(struct cpu *c);
/* The bytes that an op of c->block was decoded from, o->len of them. */
void code_cache_bytes(const struct cpu *c, const struct op *o, u8 *bytes);

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

#endif
