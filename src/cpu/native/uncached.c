/* SPDX-License-Identifier: MIT */
/*
 * native/uncached.c: while a VM has no room for a stub (a guest that makes up instructions fills what
 * it has), the instruction is decoded and assembled each time it runs, into a slot of the vCPU's own.
 * Slow, and right. Now and then it asks again, and then is as any other.
 */
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
	bool ok;

	c->op = o;
	decoder = (struct decoder){.c = c, .rip = op_rip(c, o), .key = c->block->key};
	code_cache_bytes(c, o, decoder.bytes);
	c->native_temporary = !native_stub_again(c);
	ok = decode_insn(&decoder, &current);
	if (ok && !c->native_temporary && current.fn != native_run_uncached) {
		current.len = o->len;
		current.off = o->off;
		*(struct op *)o = current; /* the block is this vCPU's */
		return o->fn(c, o);
	}
	if (!c->native_temporary) {
		c->native_temporary = true;
		ok = decode_insn(&decoder, &current);
	}
	c->native_temporary = false;
	if (!ok || current.fn == native_run_uncached)
		cpu_cannot(c);
	current.len = o->len;
	current.off = o->off;
	return current.fn(c, &current) ? o + 1 : NULL;
}
