/* SPDX-License-Identifier: MIT */
/*
 * code/cache.h: decoded blocks, cached and coherent with what the guest and the host do to the
 * code's bytes.
 *
 * The room cpu/code/ decodes and caches guest code for both engines, interpreter/ and translator/,
 * which execute it. Called on the vCPU's thread, in guest mode.
 */
#ifndef CPU_CODE_CACHE_H
#define CPU_CODE_CACHE_H

#include "cpu/code/op.h"

int code_cache_create(struct cpu *c);
void code_cache_destroy(struct cpu *c);
/* The VMM or a device it drives may have stored into code: compare a page's bytes when it is next
 * entered. Cheap. */
void code_cache_distrust(struct cpu *c);
/* The guest changed what linear addresses mean: all of them (paging, a large page), those that are not
 * global (another address space, mmu.space), or those of `size` bytes from `la` on, a page or a large one's 2 MiB. Forgets
 * where jumps led to. */
void code_cache_remap(struct cpu *c);
void code_cache_switch(struct cpu *c);
void code_cache_unmap(struct cpu *c, u64 la, u64 size);
/* Drop every block. */
void code_cache_clear(struct cpu *c);
/* The bytes that an op of the block, or of c->block, was decoded from, o->len of them. */
void code_block_bytes(const struct block *b, const struct op *o, u8 *bytes);
void code_cache_bytes(const struct cpu *c, const struct op *o, u8 *bytes);

#endif
