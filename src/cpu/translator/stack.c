/* SPDX-License-Identifier: MIT */
/*
 * translator/stack.c: PUSH, POP and LEAVE of a whole word. Those that share a look reach the stack through its slot, so
 * that the register for RSP need not follow each of them: it is moved once behind the last (x->sp_lag), and who has a host
 * fault meanwhile is told how far it is behind (struct tr_site).
 */
#include "cpu/translator/translate.h"

#define SP (tr_host[RSP])

/* MOV between a register and memory, a word. */
static void move_at(struct xlate *x, u8 opcode, int reg, struct tr_mem m)
{
	tr_access(x);
	emit8(&x->e, (tr_word(x) == 8 ? 0x48 : 0x40) | tr_rex(reg, m));
	emit8(&x->e, opcode);
	tr_modrm(x, reg, m);
}

void tr_add_sp(struct xlate *x, s32 by)
{
	emit_lea(&x->e, SP, SP, NO_INDEX, 0, by, tr_word(x) == 8);
}

void tr_settle_sp(struct xlate *x)
{
	if (x->sp_lag)
		tr_add_sp(x, x->sp_lag);
	x->sp_lag = 0;
}

void tr_move_sp(struct xlate *x, s32 by)
{
	if (x->check || tr_word(x) != 8 || !tr_shares_ready(x, SHARE_STACK))
		tr_add_sp(x, by);
	else
		x->sp_lag += by;
}

/*
 * May the host's register for RSP go on as it is, though the guest's has moved? Where C may be called, or its value
 * counts, it may not; nor where C goes on at this copy of the op (tr_after_c()).
 */
bool tr_sp_may_lag(struct xlate *x)
{
	const struct insn *in = &x->insn[x->nop];

	if (!tr_has_bit(x->share.inside, x->nop) || tr_has_bit(x->flags.save, x->nop))
		return false;
	switch (in->kind) {
	case INSN_PUSH: case INSN_POP:
		return in->rm != RSP && tr_shares_ready(x, SHARE_STACK);
	case INSN_PUSH_IMM:
		return tr_shares_ready(x, SHARE_STACK);
	case INSN_NOP:
		return true;
	case INSN_LEA:
		return in->reg != RSP && in->base != RSP;
	case INSN_RM:
		if (insn_has_high_byte(in) || (in->attr & FAULTS) || in->locked || (!(in->attr & NO_G) && in->reg == RSP))
			return false;
		return in->mem ? tr_shares_ready(x, SHARE_OPERAND) : in->rm != RSP;
	case INSN_REG:
		return !insn_has_high_byte(in) && in->rm != RSP;
	default:
		return false;
	}
}

static void push(struct xlate *x, int g)
{
	struct tr_mem m = tr_stack_operand(x, RSP, -tr_word(x), true);

	move_at(x, 0x89, tr_get(x, g, RCX), m);
	tr_move_sp(x, -tr_word(x));
}

static void push_imm(struct xlate *x, s32 imm)
{
	struct tr_mem m = tr_stack_operand(x, RSP, -tr_word(x), true);

	move_at(x, 0xc7, 0, m);
	emit32(&x->e, (u32)imm);
	tr_move_sp(x, -tr_word(x));
}

/*
 * RFLAGS as PUSHF shows it: what c->flags has, and the host's status flags. RF and VM are clear in code
 * that is translated.
 */
static void pushf(struct xlate *x)
{
	struct emitter *e = &x->e;
	struct tr_mem m;

	emit_move(e, R14, RAX);
	emit8(e, 0x9f);				/* LAHF: from SF to CF in AH */
	emit_bytes(e, "\x0f\x90\xc0", 3);	/* SETO AL */
	emit_rotate(e, RCX, RAX, 8);
	emit_move(e, RAX, R14);
	emit_pext(e, RCX, RCX, FIELD(gen.mask_af));
	emit_pdep(e, RCX, RCX, FIELD(gen.mask_status));
	emit_load(e, R14, FIELD(flags));
	emit_lea(e, RCX, RCX, R14, 0, 0, true);
	emit_store(e, FIELD(gen.resume), RCX);
	m = tr_stack_operand(x, RSP, -tr_word(x), true);
	emit_load(e, RCX, FIELD(gen.resume));
	move_at(x, 0x89, RCX, m);
	tr_add_sp(x, -tr_word(x));
}

/* What is pushed waits in the vCPU while the stack is looked up. */
static void push_mem(struct xlate *x, const struct insn *in)
{
	struct tr_mem m = tr_operand(x, in, in->size, false);

	move_at(x, 0x8b, RCX, m);
	emit_store(&x->e, FIELD(gen.resume), RCX);
	m = tr_stack_operand(x, RSP, -tr_word(x), true);
	emit_load(&x->e, RCX, FIELD(gen.resume));
	move_at(x, 0x89, RCX, m);
	tr_add_sp(x, -tr_word(x));
}

static void pop(struct xlate *x, int g)
{
	struct tr_mem m = tr_stack_operand(x, RSP, 0, false);
	int host = tr_host[g] == IN_MEMORY ? RCX : tr_host[g];

	move_at(x, 0x8b, host, m);
	tr_put(x, g, host);
	if (g != RSP)
		tr_move_sp(x, tr_word(x));
}

static void leave(struct xlate *x)
{
	struct tr_mem m = tr_stack_operand(x, RBP, 0, false);

	move_at(x, 0x8b, RCX, m);
	emit_lea(&x->e, SP, RBP, NO_INDEX, 0, tr_word(x), tr_word(x) == 8);
	emit_move(&x->e, RBP, RCX);
}

bool tr_stack(struct xlate *x, const struct insn *in)
{
	switch (in->kind) {
	case INSN_PUSH:
		push(x, in->rm);
		return true;
	case INSN_PUSHF:
		pushf(x);
		return true;
	case INSN_PUSH_IMM:
		push_imm(x, (s32)insn_imm(in));
		return true;
	case INSN_PUSH_MEM:
		push_mem(x, in);
		return true;
	case INSN_POP:
		pop(x, in->rm);
		return true;
	case INSN_LEAVE:
		leave(x);
		return true;
	default:
		return false;
	}
}
