/* SPDX-License-Identifier: MIT */
/*
 * soak/emitted.c: all code that the translator has made, disassembled: it may hold nothing but
 * instructions of the table that are safe to run natively, on operands in the vCPU or where a guest's
 * operand was found, and jumps that lead to generated code or to the helper.
 */
#include <stdio.h>

#include "../table/table_test.h"
#include "cpu/native/forms.h"
#include "cpu/translator/internal.h"
#include "soak.h"

u64 emitted_checked;

struct place {
	const struct translator *t;
	const struct tr_code *code;
	u32 at, from, end; /* of the instruction at hand, in the area; of the code it belongs to */
	u32 pop;	   /* where the last CALL to code leads, over the return site behind it */
	ZydisDecodedInstruction i;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
};

/*
 * Is it one that is carried out natively, or by a handler on values? MOV counts as sensitive for its
 * forms with registers of the system's, which operand_fault() finds.
 */
static bool in_table(const struct place *p)
{
	ZydisMnemonic m = p->i.mnemonic;
	const struct table_line *l = table_find(m);
	bool integer = l >= table_integer && l < table_integer + table_integer_lines;
	bool native = l >= table_native && l < table_native + table_native_lines;

	/* Two of those in C are exact natively where their whole operand can be accessed. */
	if (native && l->cls != CLASS_NATIVE)
		native = l->decode == native_decode_vmaskmov || l->decode == native_decode_vzero;
	return (integer || native) &&
	       (!is_sensitive(m) || m == ZYDIS_MNEMONIC_MOV) &&
	       p->i.meta.category != ZYDIS_CATEGORY_STRINGOP;
}

/* The host's TSC is read in one way, and is made the guest's by what follows. */
static bool reads_tsc(const struct place *p)
{
	u8 bytes[64];
	struct emitter e = {.start = bytes, .p = bytes, .end = bytes + sizeof(bytes)};
	u32 before = 3; /* LFENCE */

	tr_emit_tsc(&e);
	return p->i.mnemonic == ZYDIS_MNEMONIC_RDTSC && p->at >= p->from + before &&
	       p->at - before + emit_offset(&e) <= p->end &&
	       !memcmp(p->t->area.run + p->at - before, bytes, emit_offset(&e));
}

static bool is_branch(const struct place *p)
{
	switch (p->i.meta.category) {
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
		return true;
	default:
		return false;
	}
}

static bool in_code(const struct tr_code *code, u64 at)
{
	return at - code->at < code->len || at - code->cold_at < code->cold_len;
}

/* One that may be patched: a jump of 32 bits, with a condition or without. */
static bool is_edge(const struct place *p)
{
	return p->i.meta.category != ZYDIS_CATEGORY_CALL && p->i.raw.imm[0].size == 32;
}

/* With the flags in the host's, or in cpu->af. */
static bool is_entry(const struct tr_code *code, u64 at)
{
	return code->at == at || code->b->host == at || code->b->host_saved == at;
}

/* A return site that is not for a RET's target goes by the table of its block's mode and width. */
static bool is_by_table(const struct place *p, u64 to)
{
	const struct block *b = p->code->b;

	return b && to == p->t->by_table[block_key_tlb(b->key)][tr_code32(b)];
}

/* To the same trace's code, or to where another's is entered, or all RETs may go. */
static bool leads_to_code(const struct place *p)
{
	u64 to = p->at + p->i.length + p->o[0].imm.value.u;

	/* Behind the last instruction, too: when that is a branch, its handler never comes back there. */
	if (in_code(p->code, to) || to == p->code->at + p->code->len || is_by_table(p, to))
		return true;
	for (u32 i = 0; i < p->t->ncodes; i++) {
		if (is_entry(&p->t->codes[i], to))
			return is_edge(p);
	}
	return false;
}

#define POP_R14 "\x41\x5e"
#define PUSH_RETURN_RET_LEN 9

/* A CALL over a return site to a POP, which takes the site's address from where the CALL has left it. */
static bool calls_over_site(struct place *p)
{
	u64 to = p->at + p->i.length + p->o[0].imm.value.u;

	if (p->o[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE || to <= p->at || !in_code(p->code, to) ||
	    memcmp(p->t->area.run + to, POP_R14, 2))
		return false;
	p->pop = (u32)to;
	return true;
}

/* PUSH of a return site's address, and the RET that takes it: either of them is at hand. */
static bool is_return(const struct place *p)
{
	s64 at = p->i.mnemonic == ZYDIS_MNEMONIC_PUSH ? p->at : (s64)p->at - (PUSH_RETURN_RET_LEN - 1);
	const u8 *bytes = p->t->area.run + at;
	s32 disp;

	if (at < p->from || at + PUSH_RETURN_RET_LEN > p->end || memcmp(bytes, "\x42\xff\xb4\xf4", 4) || bytes[8] != 0xc3)
		return false;
	memcpy(&disp, bytes + 4, sizeof(disp));
	return (disp + GEN_SP - offsetof(struct cpu, returns)) % sizeof(((struct cpu *)0)->returns[0]) == 0 &&
	       disp + GEN_SP - offsetof(struct cpu, returns) < sizeof(((struct cpu *)0)->returns);
}

/* What moves the host's stack pointer, and moves it back. */
static bool moves_sp_in_pairs(struct place *p)
{
	switch (p->i.mnemonic) {
	case ZYDIS_MNEMONIC_CALL:
		return calls_over_site(p);
	case ZYDIS_MNEMONIC_POP:
		return p->pop && p->at == p->pop && p->i.length == 2;
	case ZYDIS_MNEMONIC_PUSH:
	case ZYDIS_MNEMONIC_RET:
		return is_return(p);
	default:
		return false;
	}
}

static const char *branch_fault(const struct place *p)
{
	const ZydisDecodedOperand *o = &p->o[0];
	bool call = p->i.mnemonic == ZYDIS_MNEMONIC_CALL;

	if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return !call && o->imm.is_relative && leads_to_code(p) ? NULL : "leads nowhere";
	if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.base != ZYDIS_REGISTER_RSP)
		return "leads to what is not in the vCPU";
	if (call && (o->mem.index != ZYDIS_REGISTER_NONE ||
		     (o->mem.disp.value + GEN_SP != offsetof(struct cpu, gen.helper) &&
		      o->mem.disp.value + GEN_SP != offsetof(struct cpu, gen.helper_saved) &&
		      o->mem.disp.value + GEN_SP != offsetof(struct cpu, gen.refill))))
		return "calls another function than the three in C";
	return NULL;
}

static const char *memory_fault(const struct place *p, const ZydisDecodedOperand *o)
{
	s64 at = o->mem.disp.value + GEN_SP;

	if (o->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
		return NULL;
	if (o->mem.segment != ZYDIS_REGISTER_DS && o->mem.segment != ZYDIS_REGISTER_SS)
		return "goes through a segment of the host's";
	if (o->mem.base == ZYDIS_REGISTER_NONE || o->mem.base == ZYDIS_REGISTER_RIP)
		return "is at a fixed address of the host's";
	if (p->i.address_width != 64)
		return "has an address of 32 bits";
	if (o->mem.base == ZYDIS_REGISTER_RSP && (at < 0 || at + o->size / 8 > (s64)sizeof(struct cpu)))
		return "is beside the vCPU";
	return NULL;
}

static const char *operand_fault(const struct place *p, const ZydisDecodedOperand *o)
{
	if (o->type == ZYDIS_OPERAND_TYPE_MEMORY)
		return memory_fault(p, o);
	if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return NULL;
	switch (ZydisRegisterGetClass(o->reg.value)) {
	case ZYDIS_REGCLASS_GPR8: case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32: case ZYDIS_REGCLASS_GPR64:
		return ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, o->reg.value) ==
				       ZYDIS_REGISTER_RSP ?
			       "names the host's stack pointer" :
			       NULL;
	case ZYDIS_REGCLASS_XMM: case ZYDIS_REGCLASS_YMM:
	case ZYDIS_REGCLASS_ZMM: case ZYDIS_REGCLASS_MASK:
	case ZYDIS_REGCLASS_FLAGS:
		return NULL;
	default:
		return o->reg.value == ZYDIS_REGISTER_MXCSR ? NULL :
							      "names a register that is not computed with";
	}
}

static const char *insn_fault(struct place *p)
{
	const char *what = NULL;

	if (moves_sp_in_pairs(p))
		return NULL;
	if (is_branch(p))
		what = branch_fault(p);
	else if (!in_table(p) && !reads_tsc(p))
		return "is not to be run natively";
	if (p->i.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE |
			       ZYDIS_ATTRIB_HAS_XACQUIRE | ZYDIS_ATTRIB_HAS_XRELEASE))
		return "is repeated, or a transaction";
	for (unsigned n = 0; !what && n < p->i.operand_count; n++)
		what = is_branch(p) && n ? NULL : operand_fault(p, &p->o[n]);
	return what;
}

static void complain_of(const struct place *p, const char *what)
{
	char text[128] = "?";
	ZydisFormatter f;

	ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
	ZydisFormatterFormatInstruction(&f, &p->i, p->o, p->i.operand_count_visible, text, sizeof(text), p->at,
					NULL);
	printf("generated code: %s: %s\n", text, what);
}

/* What is wrong with the first instruction there that is not allowed, which p then is at; or NULL. */
static const char *first_fault(struct place *p, u32 at, u32 len)
{
	ZydisDecoder z;

	p->from = at;
	p->pop = 0;
	p->end = at + len;
	ZydisDecoderInit(&z, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (p->at = at; p->at < p->end; p->at += p->i.length) {
		const char *what = "is no instruction";

		if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&z, p->t->area.run + p->at, p->end - p->at, &p->i, p->o)))
			what = insn_fault(p);
		if (what)
			return what;
		emitted_checked++;
	}
	return NULL;
}

bool emitted_finds_faults(void)
{
	static const struct {
		u8 n, bytes[10];
	} bad[] = {
		{2, {0x0f, 0x31}},			 /* RDTSC */
		{3, {0x48, 0x89, 0xc4}},		 /* MOV RSP, RAX */
		{2, {0x8e, 0xd8}},			 /* MOV DS, EAX */
		{4, {0x64, 0x48, 0x8b, 0x03}},		 /* MOV RAX, FS:[RBX] */
		{1, {0x50}},				 /* PUSH RAX */
		{2, {0xf3, 0xa4}},			 /* REP MOVSB */
		{1, {0xcc}},				 /* INT3 */
		{2, {0x0f, 0x05}},			 /* SYSCALL */
		{5, {0xe8, 0, 0, 0, 0}},		 /* CALL */
		{5, {0xe9, 0x00, 0x10, 0, 0}},		 /* JMP beyond the code */
		{2, {0xff, 0xe0}},			 /* JMP RAX */
		{4, {0xff, 0x54, 0x24, 0x48}},		 /* CALL [RSP + 72]: not the helper */
		{8, {0x48, 0x8b, 0x84, 0x24, 0, 0, 0, 0x40}}, /* MOV RAX, [RSP + 1 GiB] */
		{7, {0x48, 0x8b, 0x05, 0, 0, 0, 0}},	 /* MOV RAX, [RIP] */
		{2, {0x41, 0x5e}},			 /* POP R14, which no CALL leads to */
		{1, {0xc3}},				 /* RET */
		{9, {0x42, 0xff, 0xb4, 0xf4, 0, 0, 0, 0, 0xc3}}, /* PUSH of what is no return site's, RET */
		{3, {0x67, 0x8b, 0x03}},		 /* MOV EAX, [EBX] */
		{3, {0x0f, 0x01, 0xee}},		 /* RDPKRU */
		{2, {0x48, 0x8b}},			 /* cut off */
	};

	for (unsigned n = 0; n < ARRAY_SIZE(bad); n++) {
		static struct translator t;
		struct tr_code code = {.len = bad[n].n};
		struct place p = {.t = &t, .code = &code};

		t.area.run = (u8 *)bad[n].bytes;
		if (!first_fault(&p, 0, code.len)) {
			printf("generated code number %u of those that are not allowed passes\n", n);
			return false;
		}
	}
	return true;
}

/* What stands before all blocks' code: where RETs go by the table. */
static bool shared_is_allowed(const struct translator *t)
{
	struct tr_code code = {.at = t->by_table[0][0], .len = t->shared_end - t->by_table[0][0]};
	struct place p = {.t = t, .code = &code};
	const char *what = first_fault(&p, code.at, code.len);

	if (what)
		complain_of(&p, what);
	return !what;
}

bool emitted_is_allowed(struct cpu *c)
{
	static u32 seen; /* codes that have been looked at */
	struct place p = {.t = c->translator};

	if (!shared_is_allowed(p.t))
		return false;
	if (seen > p.t->ncodes)
		seen = 0;
	for (; seen < p.t->ncodes; seen++) {
		const char *what;

		p.code = &p.t->codes[seen];
		what = first_fault(&p, p.code->at, p.code->len);
		if (!what)
			what = first_fault(&p, p.code->cold_at, p.code->cold_len);
		if (what) {
			complain_of(&p, what);
			return false;
		}
	}
	return true;
}
