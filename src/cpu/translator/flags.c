/* SPDX-License-Identifier: MIT */
#include "cpu/translator/flags.h"

#include "cpu/translator/internal.h"

/*
 * What an instruction does with the status flags: nothing; it sets all of them, whatever they were; it ends the
 * block, and may leave them in cpu->af; or it may ask.
 */
enum use { KEEPS, SETS, ENDS, ASKS };

/* ADD, OR, AND, SUB, XOR and CMP, by their number in the opcode or in ModRM; not ADC and SBB. */
static enum use alu(u8 number)
{
	return number == 2 || number == 3 ? ASKS : SETS;
}

static u32 shift_count(const struct insn *in)
{
	return in->opcode >= 0xd0 ? 1 : (u32)insn_imm(in) & (in->size == 8 ? 63 : 31);
}

static enum use one_byte(const struct translator *t, const struct insn *in)
{
	switch (in->opcode) {
	case 0x00 ... 0x3f:
		return alu(in->opcode >> 3);
	case 0x80: case 0x81: case 0x83:
		return alu(in->reg);
	case 0x84: case 0x85: case 0xa8: case 0xa9: /* TEST */
		return SETS;
	case 0xf6: case 0xf7: /* TEST, TEST, NOT, NEG, MUL, IMUL; DIV and IDIV may fault */
		return in->reg == 2 ? KEEPS : in->reg <= 3 || (in->reg <= 5 && t->products_settle) ? SETS : ASKS;
	case 0x69: case 0x6b: /* IMUL */
		return t->products_settle ? SETS : ASKS;
	case 0xc0: case 0xc1: case 0xd0: case 0xd1: /* rotations; SHL, SHR, SHL, SAR, but by nothing */
		return in->reg >= 4 && shift_count(in) && t->shifts_settle ? SETS : ASKS;
	case 0x63: case 0x86 ... 0x8b: case 0x98: case 0x99: case 0xc6: case 0xc7: /* moves */
	case 0xb0 ... 0xbf:
		return KEEPS;
	default:
		return ASKS;
	}
}

static enum use two_byte(const struct translator *t, const struct insn *in)
{
	switch (in->opcode) {
	case 0xaf: /* IMUL */
		return t->products_settle ? SETS : ASKS;
	case 0xb6: case 0xb7: case 0xbe: case 0xbf: case 0xc3: case 0xc8 ... 0xcf: /* MOVZX, MOVSX, MOVNTI, BSWAP */
		return KEEPS;
	default:
		return ASKS;
	}
}

static enum use use_of(const struct xlate *x, u32 op)
{
	const struct insn *in = &x->insn[op];
	const struct translator *t = x->c->translator;

	switch (in->kind) {
	case INSN_RM: case INSN_REG: case INSN_COPY:
		return in->map == 0 ? one_byte(t, in) : in->map == 1 ? two_byte(t, in) : ASKS;
	case INSN_VECTOR:
		return x->native[op].flags_in || x->native[op].flags_out ? ASKS : KEEPS;
	case INSN_NOP: case INSN_LEA: case INSN_VZEROUPPER:
	case INSN_PUSH: case INSN_PUSH_IMM: case INSN_PUSH_MEM: case INSN_POP: case INSN_LEAVE:
		return KEEPS;
	case INSN_JMP: case INSN_CALL:
		return op + 1 < x->trace.nops ? KEEPS : ENDS; /* the trace goes on where it leads */
	case INSN_RET: case INSN_JMP_INDIRECT: case INSN_CALL_INDIRECT:
		return ENDS;
	default:
		return ASKS;
	}
}

/* Of what asks for flags: does it leave them as they are? A conditional jump, SETcc, CMOVcc. */
static bool only_reads(const struct insn *in)
{
	return in->kind == INSN_JCC ||
	       (in->kind == INSN_RM && in->map == 1 && ((in->opcode & 0xf0) == 0x40 || (in->opcode & 0xf0) == 0x90));
}

/* Does the op look for this access of its own? */
static bool looks_for(struct xlate *x, u32 op, enum share_which which)
{
	const struct share_class *k = share_class_of(&x->share, op, which);

	return !k || k->leader == op;
}

/* Is there a check in it: of an address, a target, requests, or where vector state is? */
static bool checks(struct xlate *x, u32 op)
{
	const struct insn *in = &x->insn[op];

	switch (in->kind) {
	case INSN_PUSH: case INSN_PUSH_IMM: case INSN_POP: case INSN_LEAVE:
		return looks_for(x, op, SHARE_STACK);
	case INSN_PUSH_MEM:
		return looks_for(x, op, SHARE_STACK) || looks_for(x, op, SHARE_OPERAND);
	case INSN_CALL:
		return op + 1 == x->trace.nops || looks_for(x, op, SHARE_STACK);
	case INSN_RET: case INSN_JMP_INDIRECT: case INSN_CALL_INDIRECT:
	case INSN_VECTOR: case INSN_VZEROUPPER:
		return true;
	case INSN_LEA:
		return false;
	default:
		return in->mem && looks_for(x, op, SHARE_OPERAND);
	}
}

/* Does it access memory? A host fault may come there whoever has looked; and in a careful copy it looks for itself. */
static bool accesses(const struct insn *in)
{
	switch (in->kind) {
	case INSN_PUSH: case INSN_PUSH_IMM: case INSN_PUSH_MEM: case INSN_POP: case INSN_LEAVE: case INSN_CALL:
		return true;
	case INSN_LEA:
		return false;
	default:
		return in->mem;
	}
}

/* What set the flags last; and since which op its registers are to keep their values. */
struct setter {
	struct recipe recipe;
	u32 since;
	u8 at; /* FLAGS_BY_RECIPE and more, when it has a number; or 0 */
};

/* Do the registers keep their values up to this op's start? */
static bool holds(const struct xlate *x, const struct setter *s, u32 last)
{
	u16 reads = recipe_reads(&s->recipe);

	if (s->recipe.kind == RECIPE_NONE)
		return false;
	for (u32 op = s->since; op < last; op++) {
		if (insn_writes(&x->insn[op]) & reads)
			return false;
	}
	return true;
}

/* Where the flags are by the setter's recipe; 0: there is no room for one more. */
static u8 number(struct flags_plan *f, struct setter *s)
{
	if (!s->at && f->nrecipes < FLAGS_RECIPES) {
		f->recipe[f->nrecipes] = s->recipe;
		s->at = (u8)(FLAGS_BY_RECIPE + f->nrecipes++);
	}
	return s->at;
}

/* The last op of the run that the vCPU may be stopped in is what needs the registers. */
static bool by_recipe(struct xlate *x, struct setter *s, u32 begin, u32 last)
{
	u32 stop = last;
	u8 at = 0;

	while (stop > begin && !checks(x, stop) && !accesses(&x->insn[stop]))
		stop--;
	if (holds(x, s, stop))
		at = number(&x->flags, s);
	if (!at)
		return false;
	memset(&x->flags.at[begin], at, last - begin + 1);
	x->flags.saved |= tr_ops_between(begin, last);
	return true;
}

static bool may_go_back(const struct insn *in)
{
	return in->kind == INSN_JCC || in->kind == INSN_JMP;
}

/* The run ends with `last`. What saves them stands before the first check; or at the block's start, to be passed by. */
static void plan_run(struct xlate *x, u32 first, u32 last, struct setter *s, enum use use)
{
	u32 begin = first;

	while (begin <= last && !checks(x, begin))
		begin++;
	if (begin > last) {
		if (!first && x->insn[last].kind != INSN_JMP)
			x->flags.unread = tr_ops_between(first, last);
		return;
	}
	if (!first)
		begin = 0;
	if (use == SETS && by_recipe(x, s, begin, last))
		return;
	x->flags.save |= 1ULL << begin;
	x->flags.saved |= tr_ops_between(begin, last);
	memset(&x->flags.at[begin], FLAGS_IN_AF, last - begin + 1);
}

void flags_plan(struct xlate *x)
{
	struct setter s = {.since = 0};
	u32 first = 0;

	x->flags.saved = x->flags.save = x->flags.unread = 0;
	x->flags.nrecipes = 0;
	memset(x->flags.behind, 0, sizeof(x->flags.behind));
	if (!x->tests)
		return;
	for (u32 op = 0; op < x->trace.nops; op++) {
		enum use use = use_of(x, op);

		if (use == SETS || use == ENDS)
			plan_run(x, first, op, &s, use);
		if (use != KEEPS)
			first = op + 1;
		if (may_go_back(&x->insn[op]) && holds(x, &s, op))
			x->flags.behind[op] = number(&x->flags, &s);
		if (use == SETS || (use == ASKS && !only_reads(&x->insn[op])))
			s = (struct setter){use == SETS ? recipe_of(&x->insn[op]) : (struct recipe){0}, op + 1, 0};
	}
}

u8 flags_at(const struct xlate *x, u32 op)
{
	return tr_has_bit(x->flags.saved, op) ? x->flags.at[op] : FLAGS_IN_HOST;
}

bool emit_flags_for_c(struct xlate *x, u8 at)
{
	if (at >= FLAGS_BY_RECIPE)
		emit_recipe(x, &x->flags.recipe[at - FLAGS_BY_RECIPE]);
	return at == FLAGS_IN_AF;
}

/* As FLAGS_OUT in enter.c leaves them. RAX is the guest's, whatever becomes of AX meanwhile. */
void emit_flags_save(struct xlate *x)
{
	struct emitter *e = &x->e;

	x->index_has = NULL;
	emit_move(e, R14, RAX);
	emit_bytes(e, "\x0f\x90\xc0\x9f", 4);	  /* SETO AL, LAHF */
	emit_store16(e, FIELD(af), RAX);
	emit_move(e, RAX, R14);
}

/* As REGISTERS_IN does. */
void emit_flags_load(struct xlate *x)
{
	struct emitter *e = &x->e;

	emit_move(e, R14, RAX);
	emit_load16(e, RAX, FIELD(af));
	emit_bytes(e, "\x25\x01\xff\x00\x00\x04\x7f\x9e", 8); /* AND EAX, 0xff01; ADD AL, 127; SAHF */
	emit_move(e, RAX, R14);
}
