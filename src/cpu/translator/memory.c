/* SPDX-License-Identifier: MIT */
/*
 * translator/memory.c: memory operands: the address, and the lookup in the vCPU's TLB.
 *
 * Where nobody wants the flags (flags.h), the lookup is the comparison of mmu/tlb.h. Else it leaves them alone: bits are
 * taken out with PEXT, added with LEA, and looked at by a check (emit.h). `la + neg + size - 1` has no bits from 12 up
 * exactly if `la + neg <= 4096 - size`; it cannot wrap around, since an address below the entry's page is looked up
 * in another entry.
 */
#include "cpu/translator/translate.h"

#define PAGE_MASK_FIELD  FIELD(gen.mask_page)
#define INDEX_MASK_FIELD FIELD(gen.mask_index)

static u32 tlb_mode(const struct xlate *x)
{
	return block_key_tlb(x->b->key);
}

/* Offset of the first entry of the TLB that the block's mode looks up in. */
static u32 tlb_field(const struct xlate *x)
{
	return (u32)(FIELD(mmu.tlb) + tlb_mode(x) * sizeof(struct tlb));
}

static void add_segment(struct xlate *x, int la, u8 seg)
{
	emit_load(&x->e, GEN_INDEX, (u32)(FIELD(seg) + seg * sizeof(struct seg) + offsetof(struct seg, base)));
	emit_lea(&x->e, GEN_LA, la, GEN_INDEX, 0, 0, true);
}

/* A page further up or down from here is one that fits into a displacement, too. */
#define FIXED_MOST (INT32_MAX - 2 * (s64)PAGE_SIZE)

/*
 * Is the linear address a constant, and one that an instruction's displacement can be? All of the access lies in its
 * page. Then it is known which entry of the TLB it is about, and no register is needed.
 */
static bool is_fixed(const struct insn *in, u32 size)
{
	s64 la = in->disp;

	return in->base < 0 && in->index < 0 && !in->seg && la >= (in->code32 ? 0 : -FIXED_MOST) && la <= FIXED_MOST &&
	       ((u64)la & ~PAGE_MASK) + size <= PAGE_SIZE;
}

/* A linear address: that of a register, and so much more; or TR_NO_LA, and it is `disp`. */
struct address {
	int la;
	s32 disp;
};

/*
 * `more` is added to the displacement, which a comparison adds by itself, as the access does. Else it is in the
 * register: GEN_LA, or a guest register's own. May use GEN_INDEX.
 */
static struct address address(struct xlate *x, const struct insn *in, s64 more)
{
	struct emitter *e = &x->e;
	int base = NO_INDEX, index = NO_INDEX, la = GEN_LA;
	s64 disp = (s64)((u64)in->disp + (u64)more);
	bool wide = !in->code32;

	if (in->base >= 0)
		base = tr_get(x, in->base, GEN_LA);
	if (base != NO_INDEX && in->index < 0 && wide && !in->seg && x->flags_at)
		return (struct address){base, (s32)disp};
	if (in->index >= 0)
		index = tr_get(x, in->index, GEN_INDEX);
	if (base == NO_INDEX && index == NO_INDEX)
		emit_constant(e, GEN_LA, wide ? (u64)disp : (u32)disp);
	else if (base != NO_INDEX && index == NO_INDEX && !disp && wide)
		la = base;
	else
		emit_lea(e, GEN_LA, base, index, in->scale, (s32)disp, wide);
	if (!in->seg)
		return (struct address){la, 0};
	add_segment(x, la, in->seg);
	return (struct address){GEN_LA, 0};
}

/* RCX = `size` bytes, at most 8, at [base + index + off]. */
static void load_part(struct xlate *x, struct tr_mem m, u32 off, u32 size)
{
	static const struct {
		u8 n, op[2];
	} load[] = {{2, {0x0f, 0xb6}}, {2, {0x0f, 0xb7}}, {1, {0x8b}}, {1, {0x8b}}};
	u32 log = (u32)__builtin_ctz(size);

	emit_lea(&x->e, RCX, m.base, m.index, 0, m.disp + (s32)off, true);
	tr_access(x);
	if (size == 8)
		emit8(&x->e, 0x48);
	emit_bytes(&x->e, load[log].op, load[log].n);
	emit_modrm_memory(&x->e, RCX, RCX, NO_INDEX, 0, false);
}

/*
 * A store that is only tried: to a copy of what is there. The index register then is free, and the
 * address's register keeps its value.
 */
static struct tr_mem shadow(struct xlate *x, struct tr_mem m, u32 size)
{
	struct emitter *e = &x->e;
	u32 n = x->nshadows++;
	u32 at = FIELD(tried) + n * (u32)sizeof(x->c->tried[0]);
	u32 data = at + (u32)offsetof(__typeof__(x->c->tried[0]), data);

	if (n >= MAX_SHADOWS || size > sizeof(x->c->tried[0].data)) {
		e->full = true;
		return m;
	}
	x->shadow_size[n] = (u8)size;
	emit_lea(e, RCX, m.base, m.index, 0, m.disp, true);
	emit_store(e, at + (u32)offsetof(__typeof__(x->c->tried[0]), host), RCX);
	for (u32 off = 0, part; off < size; off += part) {
		part = MIN(8u, 1u << (31 - __builtin_clz(size - off)));
		load_part(x, m, off, part);
		emit_store(e, data + off, RCX);
	}
	emit_lea(e, GEN_INDEX, RSP, NO_INDEX, 0, (s32)(data - GEN_SP), true);
	return (struct tr_mem){.base = GEN_INDEX, .index = NO_INDEX};
}

/* A field of an entry: its array in the TLB, and where the stack's page has it. */
enum entry_field { NEG_READ, NEG_WRITE, DELTA };

static u32 in_tlb(const struct xlate *x, enum entry_field f)
{
	static const u32 at[] = {offsetof(struct tlb, neg_read), offsetof(struct tlb, neg_write),
				 offsetof(struct tlb, delta)};

	return tlb_field(x) + at[f];
}

static u32 in_near(const struct xlate *x, enum entry_field f)
{
	static const u32 at[] = {offsetof(struct tlb_entry, neg_read), offsetof(struct tlb_entry, neg_write),
				 offsetof(struct tlb_entry, delta)};

	return (u32)(FIELD(mmu.near) + tlb_mode(x) * sizeof(struct tlb_entry)) + at[f];
}

static enum entry_field neg_of(const struct tr_look *l)
{
	return l->write ? NEG_WRITE : NEG_READ;
}

/* What is added to an offset in the page so that its bits from 12 up are what a check is good with. */
static s32 good_page(const struct xlate *x)
{
	return emit_good(&x->e) << PAGE_SHIFT;
}

/*
 * GEN_CHECK becomes good where the first byte lies in the page as well. The TLB is asked for that by the
 * entry's number; of the one that needs no number, what begins in the page below ends in this one.
 */
static void check_first_byte(struct xlate *x, const struct tr_look *l)
{
	struct emitter *e = &x->e;

	emit_lea(e, GEN_INDEX, GEN_CHECK, l->la, 0, 0, true);
	emit_lea(e, GEN_CHECK, GEN_INDEX, NO_INDEX, 0, (s32)l->size - 1 + good_page(x), true);
	emit_pext(e, GEN_INDEX, GEN_INDEX, PAGE_MASK_FIELD);
	emit_pext(e, GEN_CHECK, GEN_CHECK, PAGE_MASK_FIELD);
	/* Two numbers of 52 bits: nothing is lost. */
	emit_lea(e, GEN_CHECK, GEN_CHECK, GEN_INDEX, 0, 0, true);
}

/* The stack's page again, for what is of the size of a register: most often it is aligned, and then lies in one page. */
static bool likely_aligned(const struct tr_look *l)
{
	return l->size == 2 || l->size == 4 || l->size == 8;
}

/*
 * What is good is the page's number and the address's lowest bits all zero, or one if that is what a
 * check wants.
 */
static void check_aligned(struct xlate *x, const struct tr_look *l)
{
	emit_lea(&x->e, GEN_CHECK, GEN_CHECK, l->la, 0, emit_good(&x->e), true);
	emit_pext(&x->e, GEN_CHECK, GEN_CHECK, FIELD(gen.mask_aligned) + 8 * (u32)__builtin_ctz(l->size));
}

/* The same question where the flags are free: mmu/tlb.h's comparison as it stands. */
static u8 *compare_inside(struct xlate *x, const struct tr_look *l, u32 neg_field, int index)
{
	struct emitter *e = &x->e;

	emit_add(e, GEN_CHECK, index, neg_field);
	emit_alu_imm(e, ALU_CMP, 8, GEN_CHECK, (s32)(PAGE_SIZE - l->size));
	return emit_jcc(e, CC_ABOVE);
}

/* Of an address that is known: has its entry its page? Minus the page is what it then has. */
static u8 *jump_unless_page(struct xlate *x, s32 la, u32 neg_field)
{
	struct emitter *e = &x->e;
	s32 page = (s32)(la & (s32)PAGE_MASK);
	struct emit_check k;

	if (x->flags_at) {
		emit_compare_field(e, neg_field, -page);
		return emit_jcc(e, CC_NOT_ZERO);
	}
	k = emit_check_below(e);
	emit_load(e, GEN_CHECK, neg_field);
	emit_lea(e, GEN_CHECK, GEN_CHECK, NO_INDEX, 0, page + good_page(x), true);
	emit_pext(e, GEN_CHECK, GEN_CHECK, PAGE_MASK_FIELD);
	return emit_check_end(e, &k);
}

/* An entry says where its page is: a jump where the access is not in it, or not all of it. */
static u8 *jump_unless_inside(struct xlate *x, const struct tr_look *l, u32 neg_field, int index)
{
	struct emitter *e = &x->e;
	struct emit_check k;

	if (x->flags_at)
		return compare_inside(x, l, neg_field, index);
	k = emit_check_below(e);
	emit_load_indexed(e, GEN_CHECK, index, neg_field);
	if (index == NO_INDEX && likely_aligned(l)) {
		check_aligned(x, l);
	} else if (index == NO_INDEX && l->size > 1) {
		check_first_byte(x, l);
	} else {
		emit_lea(e, GEN_CHECK, GEN_CHECK, l->la, 0, (s32)l->size - 1 + good_page(x), true);
		emit_pext(e, GEN_CHECK, GEN_CHECK, PAGE_MASK_FIELD);
	}
	return emit_check_end(e, &k);
}

/* Where a comparison will be made: GEN_CHECK becomes the address. */
static void take_address(struct xlate *x, const struct tr_look *l)
{
	if (x->flags_at && l->disp)
		emit_lea(&x->e, GEN_CHECK, l->la, NO_INDEX, 0, l->disp, true);
	else if (x->flags_at)
		emit_move(&x->e, GEN_CHECK, l->la);
}

/* The number of the entry for the address. */
static void entry_number(struct xlate *x, const struct tr_look *l)
{
	if (x->flags_at) { /* quicker than PEXT, from the address to the number */
		emit_rotate(&x->e, GEN_INDEX, l->disp ? GEN_CHECK : l->la, PAGE_SHIFT);
		emit_alu_imm(&x->e, ALU_AND, 4, GEN_INDEX, TLB_ENTRIES - 1);
		return;
	}
	emit_pext(&x->e, GEN_INDEX, l->la, INDEX_MASK_FIELD);
}

/* In the TLB; what it cannot answer goes where the look says. */
static void look_in_tlb(struct xlate *x, const struct tr_look *l)
{
	u32 slot = tlb_slot((u64)(s64)l->disp) * (u32)sizeof(u64);
	u8 *look_at = x->e.p;

	if (l->la == TR_NO_LA) {
		tr_miss_stub(x, jump_unless_page(x, l->disp, in_tlb(x, neg_of(l)) + slot), look_at, l);
		emit_load(&x->e, GEN_INDEX, in_tlb(x, DELTA) + slot);
		return;
	}
	take_address(x, l);
	entry_number(x, l);
	tr_miss_stub(x, jump_unless_inside(x, l, in_tlb(x, neg_of(l)), GEN_INDEX), look_at, l);
	emit_load_indexed(&x->e, GEN_INDEX, GEN_INDEX, in_tlb(x, DELTA));
}

u32 tr_refill_what(const struct xlate *x, const struct tr_look *l)
{
	return tlb_mode(x) | (l->write ? TR_REFILL_WRITE : 0) | (l->near ? TR_REFILL_NEAR : 0) |
	       (x->check ? TR_REFILL_TRIAL : 0) | (u32)l->size << TR_REFILL_SIZE_SHIFT;
}

/*
 * The distance to the host's address of `size` bytes at the linear address, whose register is neither GEN_INDEX nor
 * GEN_CHECK, comes to be in GEN_INDEX. The stack's page has an entry that needs no index.
 */
static void look_up(struct xlate *x, const struct tr_look *l)
{
	u8 *far;

	x->index_has = NULL;
	if (!l->near) {
		look_in_tlb(x, l);
		return;
	}
	take_address(x, l);
	/* The stack pointer may be in another page by now: tr_refill() makes that the entry's, or cannot. */
	far = jump_unless_inside(x, l, in_near(x, neg_of(l)), NO_INDEX);
	tr_miss_stub(x, far, x->e.p, l);
	emit_load(&x->e, GEN_INDEX, in_near(x, DELTA));
}

/* One access by itself. */
static struct tr_mem single(struct xlate *x, struct address a, u32 size, bool write, bool near)
{
	look_up(x, &(struct tr_look){(u8)a.la, (u16)size, write, near, THEN_BEHIND, a.disp});
	if (a.la == TR_NO_LA)
		return (struct tr_mem){.base = GEN_INDEX, .index = NO_INDEX, .disp = a.disp};
	return (struct tr_mem){.base = a.la, .index = GEN_INDEX, .disp = a.disp};
}

/* -- accesses that share a look */

static struct share_class *shared(struct xlate *x, enum share_which which)
{
	return x->careful ? NULL : share_class_of(&x->share, x->nop, which);
}

bool tr_shares_ready(struct xlate *x, enum share_which which)
{
	const struct share_class *k = shared(x, which);

	return k && k->ready;
}

static u32 slot_field(const struct share_class *k)
{
	return FIELD(gen.share) + (u32)k->slot * 8;
}

/* How far from the start of the class's stretch this access is. */
static s32 inside(const struct xlate *x, const struct share_class *k, enum share_which which)
{
	return (s32)(x->share.place[x->nop][which].offset - k->first);
}

/* The first of the class, at the start of its stretch. */
static void look_up_class(struct xlate *x, struct share_class *k, struct address a)
{
	look_up(x, &(struct tr_look){(u8)a.la, (u16)(k->last - k->first), k->write, k->near, THEN_CAREFUL, a.disp});
	emit_lea(&x->e, GEN_INDEX, GEN_INDEX, a.la == TR_NO_LA ? NO_INDEX : a.la, 0, a.disp, true);
	emit_store(&x->e, slot_field(k), GEN_INDEX);
	k->ready = true;
	x->index_has = k;
}

/* A later one. */
static void load_slot(struct xlate *x, const struct share_class *k)
{
	if (x->index_has != k)
		emit_load(&x->e, GEN_INDEX, slot_field(k));
	x->index_has = k;
}

static struct tr_mem member(struct xlate *x, const struct share_class *k, enum share_which which)
{
	return (struct tr_mem){.base = GEN_INDEX, .index = NO_INDEX, .disp = inside(x, k, which)};
}

static struct tr_mem tried(struct xlate *x, struct tr_mem m, u32 size, bool write)
{
	if (!x->check || !write)
		return m;
	x->index_has = NULL;
	return shadow(x, m, size);
}

struct tr_mem tr_operand(struct xlate *x, const struct insn *in, u32 size, bool write)
{
	struct share_class *k = shared(x, SHARE_OPERAND);
	bool fixed = is_fixed(in, size);

	if (!k && fixed)
		return tried(x, single(x, (struct address){TR_NO_LA, (s32)in->disp}, size, write, false), size, write);
	if (!k)
		return tried(x, single(x, address(x, in, 0), size, write, insn_on_stack(in)), size, write);
	if (k->ready)
		load_slot(x, k);
	else if (fixed) /* and so are all of its class, which lie in the same page */
		look_up_class(x, k, (struct address){TR_NO_LA, (s32)in->disp - inside(x, k, SHARE_OPERAND)});
	else
		look_up_class(x, k, address(x, in, -inside(x, k, SHARE_OPERAND)));
	return tried(x, member(x, k, SHARE_OPERAND), size, write);
}

static struct address stack_address(struct xlate *x, int g, s32 disp)
{
	if ((!disp || x->flags_at) && !tr_code32(x->b))
		return (struct address){tr_host[g], disp};
	emit_lea(&x->e, GEN_LA, tr_host[g], NO_INDEX, 0, disp, !tr_code32(x->b));
	return (struct address){GEN_LA, 0};
}

struct tr_mem tr_stack_operand(struct xlate *x, int g, s32 disp, bool write)
{
	u32 size = (u32)tr_word(x);
	struct share_class *k = shared(x, SHARE_STACK);

	if (!k)
		return tried(x, single(x, stack_address(x, g, disp), size, write, g == RSP), size, write);
	if (k->ready)
		load_slot(x, k);
	else
		look_up_class(x, k, stack_address(x, g, disp - inside(x, k, SHARE_STACK)));
	return tried(x, member(x, k, SHARE_STACK), size, write);
}

static u8 *jump_unless_aligned(struct xlate *x, struct address a, u32 size)
{
	struct emit_check k;
	int la = a.la;

	if (x->flags_at) {
		if (a.disp & ((s32)size - 1)) {
			emit_lea(&x->e, GEN_CHECK, la, NO_INDEX, 0, a.disp, true);
			la = GEN_CHECK;
		}
		emit_test_imm(&x->e, 8, la, (s32)size - 1);
		return emit_jcc(&x->e, CC_NOT_ZERO);
	}
	k = emit_check_below(&x->e);
	emit_pext(&x->e, GEN_CHECK, la, FIELD(align_mask) + 8 * (u32)__builtin_ctz(size));
	return tr_check_zero(x, &k);
}

struct tr_mem tr_locked_operand(struct xlate *x, const struct insn *in, u32 size)
{
	struct address a = {TR_NO_LA, (s32)in->disp};

	if (!is_fixed(in, size) || (in->disp & (size - 1))) {
		a = address(x, in, 0);
		if (size > 1)
			tr_stub(x, jump_unless_aligned(x, a, size), tr_what(x, TR_ONE, x->nop), THEN_BEHIND);
	}
	return tried(x, single(x, a, size, true, false), size, true);
}
