/* SPDX-License-Identifier: MIT */
/*
 * native/uncached.c: when the code cache is full (a guest that makes up instructions can fill
 * it), further instructions are decoded and assembled each time they run, into a slot of the
 * thread's own. Slow, and right.
 */
#include <cpuid.h>
#include "cpu/code/cache.h"
#include "cpu/fault.h"
#include "cpu/native/native.h"
#include "cpu/native/run.h"

/* The op being run; c->op may point at it after an exception has unwound. */
static __thread struct op current;
static __thread struct decoder decoder;

/*
 * Of the bytes the op was decoded from: those in memory may be others by now, and what they would
 * be decoded to need not end as a native op does, nor be one.
 */
const struct op *native_run_uncached(struct cpu *c, const struct op *o)
{
	u32 eax, ebx, ecx, edx;
	bool ok;

	c->op = o;
	decoder = (struct decoder){.c = c, .rip = op_rip(c, o), .key = c->block->key};
	code_cache_bytes(c, o, decoder.bytes);
	native_stub_transient(true);
	ok = decode_insn(&decoder, &current);
	native_stub_transient(false);
	if (!ok || current.fn == native_run_uncached)
		cpu_cannot(c);
	current.len = o->len;
	current.off = o->off;
	/* Code written through another mapping: serialise (SDM vol. 3, 8.1.3). */
	__cpuid(0, eax, ebx, ecx, edx);
	return current.fn(c, &current) ? o + 1 : NULL;
}
