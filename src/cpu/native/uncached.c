/* SPDX-License-Identifier: MIT */
/*
 * native/uncached.c: when the code cache is full (a guest that makes up instructions can fill
 * it), further instructions are decoded and assembled each time they run, into a slot of the
 * thread's own. Slow, and right.
 */
#include <cpuid.h>
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/native/native.h"
#include "cpu/native/run.h"

/* The op being run; c->op may point at it after an exception has unwound. */
static __thread struct op current;
static __thread struct decoder decoder;

static ZydisMachineMode machine_mode(u32 key)
{
	switch (key & BLOCK_KEY_MODE) {
	case MODE_REAL:
	case MODE_V86:
		return ZYDIS_MACHINE_MODE_REAL_16;
	case MODE_PROT16:
		return ZYDIS_MACHINE_MODE_LEGACY_16;
	case MODE_PROT32:
		return ZYDIS_MACHINE_MODE_LEGACY_32;
	case MODE_COMPAT16:
		return ZYDIS_MACHINE_MODE_LONG_COMPAT_16;
	case MODE_COMPAT32:
		return ZYDIS_MACHINE_MODE_LONG_COMPAT_32;
	default:
		return ZYDIS_MACHINE_MODE_LONG_64;
	}
}

static ZydisStackWidth stack_width(ZydisMachineMode m)
{
	if (m == ZYDIS_MACHINE_MODE_LONG_64)
		return ZYDIS_STACK_WIDTH_64;
	return m == ZYDIS_MACHINE_MODE_LEGACY_32 || m == ZYDIS_MACHINE_MODE_LONG_COMPAT_32 ?
		       ZYDIS_STACK_WIDTH_32 :
		       ZYDIS_STACK_WIDTH_16;
}

/* The bytes of the instruction, which may lie on two pages. */
static void fetch(struct cpu *c, const struct op *o, u8 *bytes)
{
	u64 la = (c->seg[SEG_CS].base + op_rip(c, o)) & c->ea_mask;
	u32 first = (u32)MIN((u64)o->len, PAGE_SIZE - (la & ~PAGE_MASK));
	gpa_t gpa;
	u8 *host;

	access_fetch(c, la & PAGE_MASK, &gpa, &host);
	if (guard_copy_from(bytes, host + (la & ~PAGE_MASK), first))
		access_died(c, la, false);
	if (first == o->len)
		return;
	access_fetch(c, la + first, &gpa, &host);
	if (guard_copy_from(bytes + first, host, o->len - first))
		access_died(c, la + first, false);
}

static bool decode(struct cpu *c, const struct op *o)
{
	ZydisMachineMode mode = machine_mode(c->block->key);
	const struct table_line *line;
	ZydisDecoder z;

	ZydisDecoderInit(&z, mode, stack_width(mode));
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&z, decoder.bytes, o->len, &decoder.i, decoder.o)))
		return false;
	line = table_find(decoder.i.mnemonic);
	decoder.c = c;
	decoder.rip = op_rip(c, o);
	decoder.key = c->block->key;
	current = (struct op){.len = o->len, .off = o->off, .flags = o->flags & ~OP_RIPREL};
	current.base = current.index = (u8)(REG_ZERO * sizeof(u64));
	return line && line->decode(&decoder, &current);
}

const struct op *native_run_uncached(struct cpu *c, const struct op *o)
{
	u32 eax, ebx, ecx, edx;
	bool ok;

	c->op = o;
	memset(&decoder, 0, sizeof(decoder));
	fetch(c, o, decoder.bytes);
	native_stub_transient(true);
	ok = decode(c, o);
	native_stub_transient(false);
	if (!ok || current.fn == native_run_uncached)
		cpu_cannot(c);
	/* Code written through another mapping: serialise (SDM vol. 3, 8.1.3). */
	__cpuid(0, eax, ebx, ecx, edx);
	current.fn(c, &current);
	return o + 1;
}
