/* SPDX-License-Identifier: MIT */
#include "fake_cpu.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include "base/guard.h"
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/native/native.h"
#include "cpu/native/xstate.h"
#include "cpu/table/features.h"
#include "cpu/system/system.h"

u8 fake_vector;
u32 fake_error;
bool fake_bounce;
u64 fake_last_la;
unsigned fake_clears;
bool fake_read_twice;
/* The longest image, in the 16 bytes at a time that a wrapping segment is read in. */
#define MAX_READS 256
static struct {
	u64 la;
	u32 size;
} reads[MAX_READS];
static unsigned nreads;
static bool bounce_write;
static jmp_buf end;
static struct tlb tlb;
static struct {
	struct block b;
	struct op op[2];
} block;

struct cpu *fake_cpu_create(void)
{
	return fake_cpu_create_in(NULL);
}

struct cpu *fake_cpu_create_in(struct mmu *mmu)
{
	struct cpu *c = aligned_alloc(PAGE_SIZE, ALIGN_UP(sizeof(*c), PAGE_SIZE));

	if (!c)
		abort();
	memset(c, 0, sizeof(*c));
	c->mmu.mmu = mmu;
	c->tlb = &tlb;
	c->mode = MODE_LONG;
	c->ea_mask = ~0ULL;
	c->mxcsr = 0x1f80;
	c->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_ET;
	c->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_PAE;
	c->efer = EFER_LMA | EFER_LME;
	c->xcr0 = c->xcr0_allowed = xstate_host_components();
	c->key = MODE_LONG | BLOCK_KEY_SSE;
	if (c->xcr0 & XMASK(XC_AVX))
		c->key |= BLOCK_KEY_AVX;
	if (c->xcr0 & XMASK(XC_OPMASK))
		c->key |= BLOCK_KEY_AVX512;
	c->vendor = (u8)vendor_of_host();
	if (c->vendor == VENDOR_AMD)
		c->key |= BLOCK_KEY_AMD;
	fake_tlb_clear(c);
	if (native_attach(c))
		abort();
	native_enter(c);
	return c;
}

void fake_cpu_destroy(struct cpu *c)
{
	if (!c)
		return;
	native_detach(c);
	free(c);
}

void fake_tlb_clear(struct cpu *c)
{
	for (unsigned i = 0; i < TLB_ENTRIES; i++)
		tlb.neg_read[i] = tlb.neg_write[i] = tlb_nothing(i);
}

void fake_tlb_fill(struct cpu *c, const void *p, size_t len)
{
	for (u64 la = (u64)p & PAGE_MASK; la < (u64)p + len; la += PAGE_SIZE)
		tlb_set(&tlb, tlb_slot(la), (struct tlb_entry){.neg_read = -la, .neg_write = -la});
}

const struct table_line *fake_table(unsigned mnemonic)
{
	static const struct table_line *index[ZYDIS_MNEMONIC_MAX_VALUE + 1];

	if (!index[table_native[0].mnemonic]) {
		for (unsigned i = 0; i < table_native_lines; i++)
			index[table_native[i].mnemonic] = &table_native[i];
	}
	return mnemonic <= ZYDIS_MNEMONIC_MAX_VALUE ? index[mnemonic] : NULL;
}

bool decode_insn(struct decoder *d, struct op *op)
{
	bool wide = (d->key & BLOCK_KEY_MODE) == MODE_LONG;
	const struct table_line *t;
	ZydisDecoder z;

	memset(op, 0, sizeof(*op));
	ZydisDecoderInit(&z, wide ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
			 wide ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&z, d->bytes, 15, &d->i, d->o)))
		return false;
	t = fake_table(d->i.mnemonic);
	op->len = d->i.length;
	if (t && t->cls != CLASS_C && !feature_runs(&d->i))
		return false;
	return t && t->decode(d, op) && op->fn;
}

bool fake_decode(struct cpu *c, struct decoder *d, struct op *op, const u8 *bytes, u64 rip)
{
	*d = (struct decoder){.c = c, .rip = rip, .key = c->key};
	memcpy(d->bytes, bytes, 15);
	return decode_insn(d, op);
}

enum fake_end fake_execute(struct cpu *c, struct op *op, u64 rip)
{
	const struct op *next;
	int r;

	fake_read_twice = false;
	nreads = 0;
	native_enter(c);
	r = setjmp(end);
	if (r) {
		native_leave(c);
		return (enum fake_end)r;
	}
	block.b.rip = rip;
	block.b.key = c->key;
	block.b.nops = 1;
	block.op[0] = *op;
	c->block = &block.b;
	c->op = NULL;
	next = block.op[0].fn(c, &block.op[0]);
	if (next && next != &block.op[1])
		abort();
	native_leave(c);
	return FAKE_DONE;
}

/* ---- what the rooms beside native/ provide */

u8 decode_gpr(ZydisRegister r)
{
	return (u8)(8 * ZydisRegisterGetId(r));
}

void decode_mem(struct decoder *d, const ZydisDecodedOperand *o, struct op *op)
{
	op->base = op->index = REG_ZERO * 8;
	if (o->mem.base != ZYDIS_REGISTER_NONE)
		op->base = decode_gpr(o->mem.base);
	if (o->mem.index != ZYDIS_REGISTER_NONE)
		op->index = decode_gpr(o->mem.index);
	op->scale = o->mem.scale ? (u8)__builtin_ctz(o->mem.scale) : 0;
	op->disp = o->mem.disp.value;
	op->seg = SEG_DS;
	if (d->i.machine_mode != ZYDIS_MACHINE_MODE_LONG_64)
		op->flags |= OP_EA_SLOW | OP_ADDR32;
}

u64 op_ea_slow(struct cpu *c, const struct op *o, u64 ea, u32 size, bool write)
{
	c->op = o;
	return (u32)ea + c->seg[o->seg].base;
}

u64 op_ea_at(struct cpu *c, const struct op *o, s64 delta, u32 size, bool write)
{
	return op_ea(c, o, size, write) + (u64)delta;
}

u64 ea_linear(struct cpu *c, enum segreg s, u64 off, u32 size, bool write)
{
	return c->seg[s].base + off;
}

static void NORETURN finish(enum fake_end e)
{
	longjmp(end, e);
}

void cpu_raise(struct cpu *c, u8 vector)
{
	fake_vector = vector;
	finish(FAKE_RAISED);
}

void cpu_raise_error(struct cpu *c, u8 vector, u32 error)
{
	fake_error = error;
	cpu_raise(c, vector);
}

const struct op *op_after_slow_store(struct cpu *c, const struct op *o)
{
	return o + 1;
}

void cpu_restart(struct cpu *c)
{
	finish(FAKE_RESTART);
}

void cpu_cannot(struct cpu *c)
{
	finish(FAKE_CANNOT);
}

void access_died(struct cpu *c, u64 la, bool write)
{
	fake_last_la = la;
	finish(FAKE_DIED);
}

void code_cache_bytes(const struct cpu *c, const struct op *o, u8 *bytes)
{
	memcpy(bytes, (const void *)op_rip(c, o), o->len);
}

void cpu_update_mode(struct cpu *c)
{
}

void code_cache_clear(struct cpu *c)
{
	fake_clears++;
}

void *access_ptr(struct cpu *c, u64 la, u32 size, bool write, bool *direct)
{
	bounce_write = write;
	*direct = !fake_bounce;
	if (!fake_bounce)
		return (void *)la;
	access_read(c, la, c->bounce.buf, size);
	c->bounce.la = la;
	c->bounce.size = size;
	return c->bounce.buf;
}

void access_ptr_done(struct cpu *c, bool direct)
{
	if (!direct && bounce_write)
		memcpy((void *)c->bounce.la, c->bounce.buf, c->bounce.size);
}

static void note_read(u64 la, u32 size)
{
	for (unsigned i = 0; i < nreads; i++)
		fake_read_twice |= la < reads[i].la + reads[i].size && reads[i].la < la + size;
	if (nreads == ARRAY_SIZE(reads))
		abort();
	reads[nreads].la = la;
	reads[nreads++].size = size;
}

void access_read(struct cpu *c, u64 la, void *buf, u32 size)
{
	note_read(la, size);
	if (guard_copy_from(buf, (void *)la, size))
		access_died(c, la, false);
}

void access_write(struct cpu *c, u64 la, const void *buf, u32 size)
{
	if (guard_copy_to((void *)la, buf, size))
		access_died(c, la, true);
}

void access_check_canonical(struct cpu *c, u64 la) {}

void access_check_alignment(struct cpu *c, u64 la, u32 size) {}

void access_probe(struct cpu *c, u64 la, u32 size, bool write)
{
	if (guard_touch_unless_kicked((void *)la, true, guard_kicks) ||
	    guard_touch_unless_kicked((void *)(la + size - 1), true, guard_kicks))
		access_died(c, la, true);
}

u64 access_load_slow(struct cpu *c, u64 la, u32 size)
{
	u64 v = 0;

	access_read(c, la, &v, size);
	return v;
}

void access_store_slow(struct cpu *c, u64 la, u32 size, u64 value)
{
	access_write(c, la, &value, size);
}
