/* SPDX-License-Identifier: MIT */
#include "cpu/translator/recipe.h"

#include "cpu/translator/translate.h"

#define NO_RECIPE ((struct recipe){.kind = RECIPE_NONE})
#define IMMEDIATE (-1)

static bool same(const struct recipe *r)
{
	return r->b == (s8)r->a;
}

/* -- which */

/* `r` has the operands; `a` is where the result goes. */
static struct recipe of_alu(u8 number, struct recipe r)
{
	switch (number) {
	case ALU_ADD: /* of what is added to itself, half is not known */
		r.kind = same(&r) ? RECIPE_NONE : RECIPE_ADD;
		return r;
	case ALU_SUB:
		r.kind = same(&r) ? RECIPE_ZERO : RECIPE_SUB;
		return r;
	case ALU_CMP:
		r.kind = same(&r) ? RECIPE_ZERO : RECIPE_CMP;
		return r;
	case ALU_XOR:
		if (same(&r)) {
			r.kind = RECIPE_ZERO;
			return r;
		}
		break;
	case ALU_OR: case ALU_AND:
		break;
	default:
		return NO_RECIPE;
	}
	r.kind = RECIPE_TEST; /* by the result alone */
	r.b = (s8)r.a;
	return r;
}

static struct recipe of_test(struct recipe r)
{
	r.kind = RECIPE_TEST;
	return r;
}

static struct recipe registers(const struct insn *in, bool reversed)
{
	return (struct recipe){.size = in->size, .a = reversed ? in->reg : in->rm, .b = (s8)(reversed ? in->rm : in->reg)};
}

static struct recipe immediate(const struct insn *in, u8 a)
{
	return (struct recipe){.size = in->size, .a = a, .b = IMMEDIATE, .imm = (s32)insn_imm(in)};
}

struct recipe recipe_of(const struct insn *in)
{
	if ((in->kind != INSN_RM && in->kind != INSN_COPY) || in->map || in->mem || insn_has_high_byte(in))
		return NO_RECIPE;
	switch (in->opcode) {
	case 0x00 ... 0x3f:
		if ((in->opcode & 7) < 4)
			return of_alu(in->opcode >> 3, registers(in, in->opcode & 2));
		return of_alu(in->opcode >> 3, immediate(in, RAX));
	case 0x80: case 0x81: case 0x83:
		return of_alu(in->reg, immediate(in, in->rm));
	case 0x84: case 0x85:
		return of_test(registers(in, false));
	case 0xa8: case 0xa9:
		return of_test(immediate(in, RAX));
	case 0xf6: case 0xf7:
		return in->reg < 2 ? of_test(immediate(in, in->rm)) : NO_RECIPE;
	default:
		return NO_RECIPE;
	}
}

u16 recipe_reads(const struct recipe *r)
{
	if (r->kind == RECIPE_NONE || r->kind == RECIPE_ZERO)
		return 0;
	return (u16)(BIT(r->a) | (r->b < 0 ? 0 : BIT(r->b)));
}

/* -- in generated code */

/* `a` and `b`, or the immediate, in the host's registers. */
static void emit_operation(struct emitter *e, u8 number, const struct recipe *r, u8 size, int a, int b)
{
	if (r->b < 0)
		emit_alu_imm(e, number, size, a, r->imm);
	else
		emit_alu(e, number, size, a, b);
}

void emit_recipe(struct xlate *x, const struct recipe *r)
{
	struct emitter *e = &x->e;
	int a, b = R14;

	if (r->kind == RECIPE_ZERO) {
		emit_alu(e, ALU_XOR, 4, R14, R14);
		return;
	}
	if (r->b >= 0)
		b = tr_get(x, r->b, R14);
	a = same(r) ? b : tr_get(x, r->a, R15);
	switch ((enum recipe_kind)r->kind) {
	case RECIPE_TEST:
		if (r->b < 0)
			emit_test_imm(e, r->size, a, r->imm);
		else
			emit_test_registers(e, r->size, a, b);
		break;
	case RECIPE_CMP:
		emit_operation(e, ALU_CMP, r, r->size, a, b);
		break;
	default:
		emit_move(e, R15, a);
		emit_operation(e, r->kind == RECIPE_SUB ? ALU_ADD : ALU_SUB, r, 8, R15, b);
		emit_operation(e, r->kind == RECIPE_SUB ? ALU_SUB : ALU_ADD, r, r->size, R15, b);
	}
}

/* -- in C */

static u16 flags_of(u64 result, u64 carries, bool carry, bool overflow, u32 bits)
{
	return (u16)((result ? 0 : AF_ZF) | (result >> (bits - 1) & 1 ? AF_SF : 0) |
		     (__builtin_parity((u8)result) ? 0 : AF_PF) | (carries & 0x10 ? AF_AF : 0) | (carry ? AF_CF : 0) |
		     (overflow ? AF_OF : 0));
}

u16 recipe_flags(const struct cpu *c, const struct recipe *r)
{
	u32 bits = 8u * r->size;
	u64 mask = ~0ULL >> (64 - bits), sign = 1ULL << (bits - 1);
	u64 a = c->reg[r->a] & mask, b = (r->b < 0 ? (u64)(s64)r->imm : c->reg[r->b]) & mask;
	u64 first, result;

	switch ((enum recipe_kind)r->kind) {
	case RECIPE_ZERO:
		return flags_of(0, 0, false, false, bits);
	case RECIPE_TEST:
		return flags_of(a & b, 0, false, false, bits);
	case RECIPE_ADD:
		first = (a - b) & mask;
		return flags_of(a, first ^ b ^ a, a < b, ~(first ^ b) & (first ^ a) & sign, bits);
	default:
		first = r->kind == RECIPE_SUB ? (a + b) & mask : a;
		result = (first - b) & mask;
		return flags_of(result, first ^ b ^ result, first < b, (first ^ b) & (first ^ result) & sign, bits);
	}
}
