/* SPDX-License-Identifier: MIT */
/*
 * From bytes to a block of ops.
 *
 * A block ends at a control transfer, at an op that asks for it, at the page's end and at
 * BLOCK_MAX_OPS. An instruction that straddles two pages is a block of its own, so that a fault
 * of fetching its second half is exact: the second page is looked at only when the instruction
 * is known to need it.
 */
#include "cpu/code/decode.h"

#include <pthread.h>

#include "cpu/code/ends.h"
#include "cpu/code/flow.h"
#include "cpu/fault.h"
#include "cpu/table/features.h"


static ZydisDecoder decoders[NR_VENDORS][MODE_LONG + 1];

static void make_decoders(void)
{
	static const struct {
		ZydisMachineMode mode;
		ZydisStackWidth stack;
	} m[] = {
		[MODE_REAL] = {ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16},
		[MODE_V86] = {ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16},
		[MODE_PROT16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
		[MODE_PROT32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
		[MODE_COMPAT16] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16},
		[MODE_COMPAT32] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32},
		[MODE_LONG] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
	};

	for (unsigned i = 0; i < NR_VENDORS * ARRAY_SIZE(m); i++) {
		enum vendor v = i / ARRAY_SIZE(m);
		unsigned mode = i % ARRAY_SIZE(m);
		ZydisDecoder *z = &decoders[v][mode];

		ZydisDecoderInit(z, m[mode].mode, m[mode].stack);
		/* MPX and CET are not announced, and without them these bytes are NOPs. */
		ZydisDecoderEnableMode(z, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(z, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		/* A processor without them takes their F3 for nothing: BSF and BSR. */
		ZydisDecoderEnableMode(z, ZYDIS_DECODER_MODE_TZCNT,
				       feature_on_host(feature_find("bmi1")));
		ZydisDecoderEnableMode(z, ZYDIS_DECODER_MODE_LZCNT,
				       feature_on_host(feature_find("abm")));
		ZydisDecoderEnableMode(z, ZYDIS_DECODER_MODE_AMD_BRANCHES,
				       vendor_does(v, FACT_NEAR_16));
	}
}

static const ZydisDecoder *decoder_of(u32 key)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_decoders);
	return &decoders[key & BLOCK_KEY_AMD ? VENDOR_AMD : VENDOR_INTEL][key & BLOCK_KEY_MODE];
}

u8 decode_gpr(ZydisRegister r)
{
	if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_R15B) {
		unsigned n = r - ZYDIS_REGISTER_AL; /* AL CL DL BL AH CH DH BH SPL ... R15B */

		if (n < 4)
			return REG_OFF(n);
		return n < 8 ? (u8)(REG_OFF(n - 4) + 1) : REG_OFF(n - 4);
	}
	if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W)
		return REG_OFF(r - ZYDIS_REGISTER_AX);
	if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D)
		return REG_OFF(r - ZYDIS_REGISTER_EAX);
	if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15)
		return REG_OFF(r - ZYDIS_REGISTER_RAX);
	return REG_OFF(REG_ZERO);
}

static enum segreg segreg_of(ZydisRegister r)
{
	switch (r) {
	case ZYDIS_REGISTER_ES:
		return SEG_ES;
	case ZYDIS_REGISTER_CS:
		return SEG_CS;
	case ZYDIS_REGISTER_SS:
		return SEG_SS;
	case ZYDIS_REGISTER_FS:
		return SEG_FS;
	case ZYDIS_REGISTER_GS:
		return SEG_GS;
	default:
		return SEG_DS;
	}
}

/* Does the plain sum, cut by c->ea_mask, not yet give the linear address? */
static bool ea_is_slow(const struct decoder *d, const struct op *op)
{
	if ((d->key & BLOCK_KEY_MODE) == MODE_LONG)
		return op->seg >= SEG_FS || (op->flags & OP_ADDR32);
	return !(d->key & BLOCK_KEY_FLAT) || op->seg >= SEG_FS || op->seg == SEG_CS ||
	       (op->flags & OP_ADDR16);
}

void decode_mem(struct decoder *d, const ZydisDecodedOperand *o, struct op *op)
{
	op->seg = (u8)segreg_of(o->mem.segment);
	op->base = decode_gpr(o->mem.base);
	op->index = decode_gpr(o->mem.index);
	op->scale = o->mem.scale ? (u8)__builtin_ctz(o->mem.scale) : 0;
	op->disp = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
	/* No base, whatever REX.B says (SDM vol. 2, table 2-3); Zydis 4.0 forgets it where the
	 * address size is 32 bits. */
	if (d->i.raw.modrm.mod == 0 && d->i.raw.modrm.rm == 4 && d->i.raw.sib.base == 5 &&
	    (d->i.attributes & ZYDIS_ATTRIB_HAS_SIB)) {
		op->base = REG_OFF(REG_ZERO);
		op->disp = d->i.raw.disp.value;
	}
	if (o->mem.base == ZYDIS_REGISTER_RIP || o->mem.base == ZYDIS_REGISTER_EIP) {
		op->disp += (s64)(d->rip + d->i.length);
		op->flags |= OP_RIPREL;
	}
	if (ea_is_slow(d, op))
		op->flags |= OP_EA_SLOW;
}

u8 decode_rep(const struct decoder *d)
{
	u8 last = 0;

	for (unsigned i = 0; i < d->i.raw.prefix_count; i++) {
		u8 v = d->i.raw.prefixes[i].value;

		if (v == 0xf2 || v == 0xf3)
			last = v;
	}
	return last;
}

bool decode_raise(struct decoder *d, struct op *op, u8 vector)
{
	op->fn = op_raise;
	op->imm = vector;
	d->ends_block = true;
	return true;
}

static void op_init(const struct decoder *d, struct op *op)
{
	u8 rep = decode_rep(d);

	op->flags = rep == 0xf3 ? OP_REP : rep == 0xf2 ? OP_REPNE : 0;
	if (d->i.attributes & ZYDIS_ATTRIB_HAS_LOCK)
		op->flags |= OP_LOCK;
	if (d->i.address_width == 16)
		op->flags |= OP_ADDR16;
	else if (d->i.address_width == 32)
		op->flags |= OP_ADDR32;
}

/*
 * Some names of the table belong to encodings of other processors as well (BEXTR in XOP, TZCNT in
 * VEX on Knights Corner), which are no part of what CPUID announces.
 */
static bool foreign(const struct decoder *d)
{
	switch (d->i.encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_3DNOW:
	case ZYDIS_INSTRUCTION_ENCODING_XOP:
	case ZYDIS_INSTRUCTION_ENCODING_MVEX:
		return true;
	default:
		return d->i.meta.isa_ext == ZYDIS_ISA_EXT_KNC ||
		       d->i.meta.isa_ext == ZYDIS_ISA_EXT_KNCE ||
		       d->i.meta.isa_ext == ZYDIS_ISA_EXT_KNCV;
	}
}

static ZyanStatus zydis_decode(struct decoder *d, const u8 *bytes, u32 len)
{
	return ZydisDecoderDecodeFull(decoder_of(d->key), bytes, len, &d->i, d->o);
}

/*
 * In 32-bit code EVEX.W of conversions from and to general registers counts as 0 (SDM vol. 2,
 * VCVTSI2SD), which Zydis 4.0 forgets where L'L is not 0.
 */
static ZyanStatus zydis_without_w(struct decoder *d, u32 len)
{
	static const u8 prefix[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x67};
	u8 bytes[INSN_MAX];
	u32 n = 0;

	while (n < len && memchr(prefix, d->bytes[n], sizeof(prefix)))
		n++;
	if ((d->key & BLOCK_KEY_MODE) == MODE_LONG || n + 4 >= len || d->bytes[n] != 0x62)
		return ZYDIS_STATUS_DECODING_ERROR;
	/* F3 and F2 in maps 0F and 5. */
	if (((d->bytes[n + 1] & 7) != 1 && (d->bytes[n + 1] & 7) != 5) || !(d->bytes[n + 2] & 2))
		return ZYDIS_STATUS_DECODING_ERROR;
	switch (d->bytes[n + 4]) {
	case 0x2a: case 0x2c: case 0x2d: case 0x78: case 0x79: case 0x7b:
		memcpy(bytes, d->bytes, sizeof(bytes));
		bytes[n + 2] &= 0x7f;
		return zydis_decode(d, bytes, len);
	}
	return ZYDIS_STATUS_DECODING_ERROR;
}

static ZyanStatus zydis(struct decoder *d, u32 len)
{
	ZyanStatus st = zydis_decode(d, d->bytes, len);

	return st == ZYDIS_STATUS_DECODING_ERROR ? zydis_without_w(d, len) : st;
}

/* One instruction from d->bytes; Zydis's verdict on them is `st`. */
static void decode_one(struct decoder *d, ZyanStatus st, struct op *op)
{
	const struct table_line *line;

	memset(op, 0, sizeof(*op));
	op->base = op->index = REG_OFF(REG_ZERO);
	d->serializes = SERIALIZES_NOT;
	if (!ZYAN_SUCCESS(st)) {
		/* SDM vol. 3, 6.15: more than 15 bytes is #GP(0), what is no instruction #UD. */
		decode_raise(d, op, st == ZYDIS_STATUS_INSTRUCTION_TOO_LONG ? VEC_GP : VEC_UD);
		d->i.length = 0;
		return;
	}
	op_init(d, op);
	line = foreign(d) ? NULL : table_find(d->i.mnemonic);
	if (line && line->cls != CLASS_C && !feature_runs(&d->i))
		line = NULL;
	if (line)
		d->serializes = line->serializes;
	if (!line || !line->decode(d, op)) {
		d->serializes = SERIALIZES_NOT;
		op->flags = 0;
		decode_raise(d, op, VEC_UD);
	}
	d->ends_block |= d->serializes;
}

bool decode_insn(struct decoder *d, struct op *op)
{
	ZyanStatus st = zydis(d, INSN_MAX);

	decode_one(d, st, op);
	return ZYAN_SUCCESS(st);
}

/* The first instruction runs over the page's end: fetch the rest. False: find again. */
static bool straddle(struct cpu *c, struct decoder *d, struct block *b, u64 la, u32 avail,
		     ZyanStatus *st)
{
	u64 la2 = ALIGN_DOWN(la, PAGE_SIZE) + PAGE_SIZE;
	struct code_page *page2;

	if ((d->key & BLOCK_KEY_MODE) != MODE_LONG)
		la2 = (u32)la2;
	/* The segment's limit comes before the page. */
	if (!flow_within_limit(c, d->rip, avail + 1, d->key))
		cpu_raise_error(c, VEC_GP, 0);
	page2 = flow_exec_page(c, la2);
	if (page2->verified != c->code->trust ||
	    !flow_page_bytes(c, la2, page2, 0, INSN_MAX - avail) ||
	    c->code->epoch != c->mmu.code_epoch)
		return false;
	memcpy(d->bytes + avail, page2->copy, INSN_MAX - avail);
	*st = zydis(d, INSN_MAX);
	b->page2 = page2;
	d->ends_block = true;
	return true;
}

static void finish(struct block *b, const struct decoder *d, bool shadowed)
{
	struct op *end = &b->op[b->nops];

	memset(end, 0, sizeof(*end));
	end->base = end->index = REG_OFF(REG_ZERO);
	end->fn = shadowed ? op_end_shadow : d->ends_block || d->shadows ? op_end_sync : op_end;
	end->off = b->bytes;
	end->disp = (s64)(b->rip + b->bytes);
	if ((b->key & BLOCK_KEY_MODE) != MODE_LONG)
		end->disp = (u32)end->disp;
}

bool decode_block(struct cpu *c, struct block *b, u64 la, u64 rip, u32 key,
		  struct code_page *page)
{
	struct decoder d = {.c = c, .key = key};
	u32 max = key & BLOCK_KEY_STEP ? 1 : BLOCK_MAX_OPS;
	u32 off = (u32)(la & ~PAGE_MASK);
	bool shadowed = false; /* the last one is in STI's shadow */

	memset(b, 0, sizeof(*b));
	b->rip = rip;
	b->gpa = page->gpa | off;
	b->key = key;
	b->page = page;
	while (b->nops < max && off < PAGE_SIZE && !d.ends_block && !shadowed) {
		bool in_shadow = d.shadows;
		struct op *op = &b->op[b->nops];
		u32 avail = MIN(INSN_MAX, (u32)PAGE_SIZE - off);
		ZyanStatus st;

		if (!flow_page_bytes(c, la, page, off, avail))
			return false;
		d.rip = rip + b->bytes;
		memcpy(d.bytes, page->copy + off, avail);
		st = zydis(&d, avail);
		if (st == ZYDIS_STATUS_NO_MORE_DATA && avail < INSN_MAX) {
			if (b->nops)
				break;
			if (!straddle(c, &d, b, la, avail, &st))
				return false;
		}
		decode_one(&d, st, op);
		if (in_shadow && d.ends_block)
			break;
		shadowed = in_shadow;
		b->serializes = d.serializes;
		op->len = d.i.length;
		op->off = b->bytes;
		b->bytes += d.i.length;
		b->nops++;
		off += d.i.length;
	}
	finish(b, &d, shadowed);
	return true;
}

/* The target of a relative branch is of the rip that it is at: the block's last op, if it is one, once more. */
static void aim_branch(struct cpu *c, struct block *b)
{
	struct op *op = &b->op[b->nops - 1], was = *op;
	struct decoder d = {.c = c, .key = b->key, .rip = b->rip + op->off};
	ZyanStatus st;

	code_block_bytes(b, op, d.bytes);
	st = zydis(&d, op->len);
	if (!ZYAN_SUCCESS(st) || !d.i.operand_count || d.o[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE || !d.o[0].imm.is_relative)
		return;
	decode_one(&d, st, op);
	op->len = was.len;
	op->off = was.off;
}

void decode_block_like(struct cpu *c, struct block *b, const struct block *like, u64 rip)
{
	memset(b, 0, sizeof(*b));
	b->rip = rip;
	b->gpa = like->gpa;
	b->key = like->key;
	b->page = like->page;
	b->nops = like->nops;
	b->bytes = like->bytes;
	b->serializes = like->serializes;
	memcpy(b->op, like->op, (b->nops + 1u) * sizeof(struct op));
	for (u32 i = 0; i < b->nops; i++) {
		if (b->op[i].flags & OP_RIPREL)
			b->op[i].disp += (s64)(rip - like->rip);
	}
	b->op[b->nops].disp = (s64)(rip + b->bytes);
	if (b->nops)
		aim_branch(c, b);
}
