/* SPDX-License-Identifier: MIT */
/*
 * translator/memory.c: memory operands: the address, and the lookup in the vCPU's TLB.
 *
 * The lookup leaves the flags alone: bits are taken out with PEXT, added with LEA, and looked at by
 * JRCXZ. `la + neg + size - 1` has no bits from 12 up exactly if `la + neg <= 4096 - size`, which is
 * the check of mmu/tlb.h; it cannot wrap around, since an address below the entry's page is looked
 * up in another entry.
 */
#include "cpu/translator/translate.h"

#define PAGE_MASK_FIELD  FIELD(gen.mask_page)
#define INDEX_MASK_FIELD FIELD(gen.mask_index)

/* Offset of the first entry of the TLB that the block's mode looks up in. */
static u32 tlb_field(const struct xlate *x)
{
	u32 mode = (x->b->key & BLOCK_KEY_TLB) >> BLOCK_KEY_TLB_SHIFT;

	return (u32)(FIELD(mmu.tlb) + mode * sizeof(struct tlb));
}

static void add_segment(struct xlate *x, int la, u8 seg)
{
	emit_load(&x->e, GEN_INDEX, (u32)(FIELD(seg) + seg * sizeof(struct seg) + offsetof(struct seg, base)));
	emit_lea(&x->e, GEN_LA, la, GEN_INDEX, 0, 0, true);
}

int tr_address(struct xlate *x, const struct insn *in)
{
	struct emitter *e = &x->e;
	int base = NO_INDEX, index = NO_INDEX, la = GEN_LA;

	if (in->base >= 0)
		base = tr_get(x, in->base, GEN_LA);
	if (in->index >= 0)
		index = tr_get(x, in->index, GEN_INDEX);
	if (base == NO_INDEX && index == NO_INDEX)
		emit_constant(e, GEN_LA, (u64)in->disp);
	else if (base != NO_INDEX && index == NO_INDEX && !in->disp)
		la = base;
	else
		emit_lea(e, GEN_LA, base, index, in->scale, (s32)in->disp, true);
	if (!in->seg)
		return la;
	add_segment(x, la, in->seg);
	return GEN_LA;
}

/*
 * A store that is only tried: to a copy of what is there. The index register then is free, and the
 * address's register keeps its value.
 */
static struct tr_mem shadow(struct xlate *x, struct tr_mem m, u32 size)
{
	static const struct {
		u8 n, op[3];
	} load[] = {{2, {0x0f, 0xb6}}, {2, {0x0f, 0xb7}}, {1, {0x8b}}, {1, {0x8b}}};
	struct emitter *e = &x->e;
	u32 n = x->nshadows++, log = (u32)__builtin_ctz(size);
	u32 at = FIELD(tried) + n * (u32)sizeof(x->c->tried[0]);

	if (n >= MAX_SHADOWS) {
		e->full = true;
		return m;
	}
	x->shadow_size[n] = (u8)size;
	emit_lea(e, RCX, m.base, m.index, 0, 0, true);
	emit_store(e, at, RCX);
	tr_access(x);
	if (size == 8)
		emit8(e, 0x48);
	emit_bytes(e, load[log].op, load[log].n);
	emit_modrm_memory(e, RCX, RCX, NO_INDEX);
	emit_store(e, at + 8, RCX);
	emit_lea(e, GEN_INDEX, RSP, NO_INDEX, 0, (s32)(at + 8 - GEN_SP), true);
	return (struct tr_mem){.base = GEN_INDEX, .index = NO_INDEX};
}

struct tr_mem tr_lookup(struct xlate *x, int la, u32 size, bool write)
{
	struct tr_mem m = {.base = la, .index = GEN_INDEX};
	struct emitter *e = &x->e;
	u32 tlb = tlb_field(x);
	u8 *hit;

	emit_pext(e, GEN_INDEX, la, INDEX_MASK_FIELD);
	/* An entry is 32 bytes: 8 by the addressing, 4 here. */
	emit_lea(e, GEN_INDEX, NO_INDEX, GEN_INDEX, 2, 0, true);
	emit_load_indexed(e, GEN_CHECK, GEN_INDEX,
			  tlb + (u32)(write ? offsetof(struct tlb_entry, neg_write)
					    : offsetof(struct tlb_entry, neg_read)));
	emit_lea(e, GEN_CHECK, GEN_CHECK, la, 0, (s32)size - 1, true);
	emit_pext(e, GEN_CHECK, GEN_CHECK, PAGE_MASK_FIELD);
	emit_load_indexed(e, GEN_INDEX, GEN_INDEX, tlb + (u32)offsetof(struct tlb_entry, delta));
	hit = emit_jrcxz(e);
	tr_stub(x, emit_jump(e), tr_what(x, TR_ONE, x->nop), (int)x->nop + 1);
	emit_land8(e, hit);
	return x->check && write ? shadow(x, m, size) : m;
}

struct tr_mem tr_locked_operand(struct xlate *x, const struct insn *in, u32 size)
{
	int la = tr_address(x, in);

	if (size > 1) {
		u8 *aligned;

		emit_pext(&x->e, GEN_CHECK, la, FIELD(align_mask) + 8 * (u32)__builtin_ctz(size));
		aligned = emit_jrcxz(&x->e);
		tr_stub(x, emit_jump(&x->e), tr_what(x, TR_ONE, x->nop), (int)x->nop + 1);
		emit_land8(&x->e, aligned);
	}
	return tr_lookup(x, la, size, true);
}
