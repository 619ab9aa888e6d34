/* SPDX-License-Identifier: MIT */
/*
 * translator/insn.c: an instruction's bytes into its fields, and what is asked of them.
 */
#include "cpu/translator/insn_class.h"

#include "cpu/code/op.h"

static bool is_prefix(struct insn *in, struct insn_cursor *k)
{
	switch (*k->p) {
	case 0x66:
		k->op16 = true;
		break;
	case 0x67:
		k->address = true;
		break;
	case 0xf0:
		k->lock = true;
		break;
	case 0xf2: case 0xf3:
		k->rep = *k->p;
		break;
	case 0x64:
		in->seg = SEG_FS;
		break;
	case 0x65:
		in->seg = SEG_GS;
		break;
	case 0x26: case 0x2e: case 0x36: case 0x3e:
		/* Nothing in 64-bit mode; an earlier FS or GS stays (SDM vol. 2, 2.1.1). Elsewhere ES,
		 * SS and DS are flat, and CS takes no stores. */
		if (in->code32)
			in->seg = *k->p == 0x2e ? SEG_CS : 0;
		break;
	default:
		return false;
	}
	k->p++;
	return true;
}

static s64 displacement(struct insn_cursor *k, u32 n)
{
	s32 d = 0;

	if (k->end - k->p < n) {
		k->p = k->end + 1; /* found out by the caller */
		return 0;
	}
	if (n == 1)
		d = (s8)*k->p;
	else
		memcpy(&d, k->p, 4);
	k->p += n;
	return d;
}

static void parse_memory(struct insn *in, struct insn_cursor *k, u8 mod, u8 rm, u64 next)
{
	bool none = rm == 5 && !mod, riprel = none && !in->code32;

	in->mem = true;
	in->base = (s8)(rm | (in->rex & REX_B) << 3);
	in->index = -1;
	if (rm == 4) {
		u8 sib = k->p < k->end ? *k->p : 0;
		u8 index = (u8)((sib >> 3 & 7) | (in->rex & REX_X) << 2);

		k->p++;
		in->base = (s8)((sib & 7) | (in->rex & REX_B) << 3);
		in->scale = sib >> 6;
		if (index != RSP)
			in->index = (s8)index;
		none = (sib & 7) == 5 && !mod;
	}
	if (none)
		in->base = -1;
	if (mod == 1)
		in->disp = displacement(k, 1);
	else if (mod == 2 || none)
		in->disp = displacement(k, 4);
	if (riprel)
		in->disp += (s64)next;
	else if (in->code32 && in->base < 0 && in->index < 0)
		in->disp = (u32)in->disp;
}

static void parse_modrm(struct insn *in, struct insn_cursor *k, u64 next)
{
	u8 modrm;

	if (k->p >= k->end) {
		in->kind = INSN_OTHER;
		return;
	}
	modrm = *k->p++;
	in->reg = (u8)((modrm >> 3 & 7) | (in->rex & REX_R) << 1);
	in->rm = (u8)((modrm & 7) | (in->rex & REX_B) << 3);
	if (in->attr & NO_G)
		in->reg &= 7;
	if (modrm >> 6 != 3)
		parse_memory(in, k, modrm >> 6, modrm & 7, next);
}

static bool has_modrm(const struct insn *in)
{
	switch (in->kind) {
	case INSN_RM: case INSN_LEA: case INSN_VEX: case INSN_PUSH_MEM:
	case INSN_CALL_INDIRECT: case INSN_JMP_INDIRECT:
		return true;
	default:
		return false;
	}
}

static bool reads_word(const struct insn *in)
{
	return in->kind == INSN_PUSH_MEM || in->kind == INSN_CALL_INDIRECT || in->kind == INSN_JMP_INDIRECT;
}

/* With a prefix 66 it is another instruction. */
static bool is_fence(const struct insn *in)
{
	return in->kind == INSN_COPY && in->map && in->opcode == 0xae;
}

static bool branches_or_stack(const struct insn *in)
{
	return in->kind >= INSN_PUSH;
}

/* VEX: C5 and one byte, C4 and two; R, X, B and vvvv are stored inverted (SDM vol. 2, 2.3.5). */
static void parse_vex(struct insn *in, struct insn_cursor *k)
{
	u8 two = *k->p == 0xc5, p0, p1;

	if (k->end - k->p < 5 - two)
		return;
	p0 = two ? (k->p[1] & 0x80) | 0x61 : k->p[1];
	p1 = two ? k->p[1] & 0x7f : k->p[2];
	k->p += two ? 2 : 3;
	in->rex = (u8)((~p0 >> 5 & 7) | (p1 >> 7) << 3);
	in->map = p0 & 31;
	in->pp = p1 & 3;
	in->vvvv = ~p1 >> 3 & 15;
	if (in->code32) { /* registers 0 to 7, and W means nothing */
		in->rex = 0;
		in->vvvv &= 7;
	}
	in->size = in->rex & REX_W ? 8 : 4;
	in->opcode = *k->p++;
	if (!(p1 & 4)) /* L */
		insn_classify_vex(in, *k->p >> 3 & 7);
}

/* Outside 64-bit code LES and LDS, unless it would be one with a register. */
static bool is_vex(const struct insn *in, const struct insn_cursor *k)
{
	return (*k->p == 0xc4 || *k->p == 0xc5) && (!in->code32 || (k->p + 1 < k->end && k->p[1] >= 0xc0));
}

static void parse_opcode(struct insn *in, struct insn_cursor *k)
{
	if (*k->p == 0x0f) {
		in->map = 1;
		k->p++;
	}
	if (in->map && k->p < k->end && *k->p == 0x38) {
		in->map = 2;
		k->p++;
	}
	if (k->p >= k->end)
		return;
	in->opcode = *k->p++;
	in->size = in->rex & REX_W ? 8 : k->op16 ? 2 : 4;
	insn_classify(in, k);
}

void insn_parse(const u8 *bytes, u8 len, u64 next, bool code32, struct insn *in)
{
	struct insn_cursor k = {.p = bytes, .end = bytes + len};

	memset(in, 0, sizeof(*in));
	in->base = in->index = -1;
	in->code32 = code32;
	while (k.p < k.end && is_prefix(in, &k))
		;
	if (!code32 && k.p < k.end && (*k.p & 0xf0) == 0x40)
		in->rex = *k.p++;
	if (k.p >= k.end)
		return;
	if (is_vex(in, &k))
		parse_vex(in, &k);
	else
		parse_opcode(in, &k);
	/* Branches ignore F2 and F3; elsewhere they mean something unless taken above. */
	if (k.rep && !in->rep && in->kind != INSN_RET && in->kind != INSN_JMP && in->kind != INSN_JCC &&
	    in->kind != INSN_CALL && in->kind != INSN_JMP_INDIRECT && in->kind != INSN_CALL_INDIRECT &&
	    !(in->kind == INSN_NOP && in->map))
		in->kind = INSN_OTHER;
	if ((k.lock && in->kind != INSN_RM) ||
	    (k.op16 && (branches_or_stack(in) || in->kind == INSN_SYSTEM || is_fence(in))))
		in->kind = INSN_OTHER;
	if (in->kind == INSN_OTHER || in->kind == INSN_NOP)
		return;
	if (has_modrm(in) && !k.no_modrm)
		parse_modrm(in, &k, next);
	else if (in->kind == INSN_REG || in->kind == INSN_PUSH || in->kind == INSN_POP)
		in->rm = (u8)((in->opcode & 7) | (in->rex & REX_B) << 3);
	if (reads_word(in))
		in->size = code32 ? 4 : 8; /* whatever W is */
	if (k.p > k.end || (in->mem && (k.address || (in->attr & REG_ONLY) || (code32 && in->seg))) ||
	    ((in->kind == INSN_LEA || in->kind == INSN_PUSH_MEM) && !in->mem)) {
		in->kind = INSN_OTHER;
		return;
	}
	if (insn_has_high_byte(in) && (in->mem || (!(in->attr & (NO_G | BYTES)) && in->reg == RSP))) {
		in->kind = INSN_OTHER; /* with RCX moved aside they cannot be encoded */
		return;
	}
	in->lock = k.lock;
	in->locked = in->mem && (in->locked || k.lock);
	in->imm = k.p;
	in->nimm = (u8)(k.end - k.p);
}

u32 insn_memory_size(const struct insn *in)
{
	if (in->attr & E_BYTE)
		return 1;
	if (in->attr & E_WORD)
		return 2;
	if (in->attr & E_DWORD)
		return 4;
	return in->attr & E_PAIR ? 2u * in->size : in->size;
}

s64 insn_imm(const struct insn *in)
{
	s64 v = 0;

	memcpy(&v, in->imm, MIN(in->nimm, 8));
	if (in->nimm == 1)
		return (s8)v;
	if (in->nimm == 2)
		return (s16)v;
	return in->nimm == 4 ? (s32)v : v;
}

bool insn_loads(const struct insn *in)
{
	switch (in->kind) {
	case INSN_POP: case INSN_LEAVE: case INSN_RET:
		return true;
	case INSN_RM: case INSN_JMP_INDIRECT: case INSN_CALL_INDIRECT: case INSN_VECTOR: case INSN_VEX:
	case INSN_PUSH_MEM:
		return in->mem && (in->attr & E_READ);
	default:
		return false;
	}
}

bool insn_stores(const struct insn *in)
{
	return in->mem && (in->attr & E_WRITE);
}

bool insn_on_stack(const struct insn *in)
{
	return in->mem && in->base == RSP && in->index < 0 && !in->seg;
}

bool insn_in_line(const struct insn *in)
{
	switch (in->kind) {
	case INSN_RM: case INSN_REG: case INSN_COPY: case INSN_NOP: case INSN_LEA: case INSN_VEX:
	case INSN_VECTOR: case INSN_VZEROUPPER:
	case INSN_PUSH: case INSN_PUSHF: case INSN_PUSH_IMM: case INSN_PUSH_MEM: case INSN_POP: case INSN_LEAVE:
	case INSN_JCC: case INSN_JMP: case INSN_CALL:
	case INSN_RET: case INSN_JMP_INDIRECT: case INSN_CALL_INDIRECT:
		return true;
	case INSN_SYSTEM: /* SWAPGS changes what addresses through GS mean */
		return in->sys != SYS_SWAPGS;
	default:
		return false;
	}
}

static u16 system_writes(const struct insn *in)
{
	switch (in->sys) {
	case SYS_RDTSC: case SYS_RDTSCP:
		return BIT(RAX) | BIT(RDX) | BIT(RCX);
	case SYS_FROM_CR:
		return BIT(in->rm);
	default:
		return 0;
	}
}

/* MUL, DIV and the like of one operand, CMPXCHG: registers that no field names. */
static u16 implied(const struct insn *in)
{
	bool mul = !in->map && (in->opcode == 0xf6 || in->opcode == 0xf7) && (in->attr & NO_G) && in->reg >= 4;
	bool cmpxchg = in->map && (in->opcode == 0xb0 || in->opcode == 0xb1 || (in->attr & E_PAIR));

	return mul || cmpxchg ? BIT(RAX) | BIT(RDX) : 0;
}

u16 insn_writes(const struct insn *in)
{
	u16 r = 0;

	if (insn_has_high_byte(in)) /* AH to BH are of RAX to RBX; the numbers say RSP to RDI */
		return BIT(in->rm) | BIT(in->reg) | BIT(in->rm & 3) | BIT(in->reg & 3) | implied(in);
	switch (in->kind) {
	case INSN_RM: case INSN_LEA:
		if (!in->mem && (in->attr & E_WRITE))
			r |= BIT(in->rm);
		if (in->attr & G_WRITE)
			r |= BIT(in->reg);
		return r | implied(in);
	case INSN_VEX:
		return (in->attr & G_WRITE ? BIT(in->reg) : 0) | (in->attr & V_WRITE ? BIT(in->vvvv) : 0);
	case INSN_REG:
		return BIT(in->rm);
	case INSN_COPY:
		return BIT(RAX) | BIT(RDX);
	case INSN_NOP: case INSN_VZEROUPPER: case INSN_JCC: case INSN_JMP: case INSN_JMP_INDIRECT:
		return 0;
	case INSN_VECTOR:
		return in->writes;
	case INSN_SYSTEM:
		return system_writes(in);
	case INSN_PUSH: case INSN_PUSHF: case INSN_PUSH_IMM: case INSN_PUSH_MEM: case INSN_CALL: case INSN_CALL_INDIRECT: case INSN_RET:
		return BIT(RSP);
	case INSN_POP:
		return BIT(RSP) | BIT(in->rm);
	case INSN_LEAVE:
		return BIT(RSP) | BIT(RBP);
	default:
		return 0xffff;
	}
}

static bool high(const struct insn *in, u8 reg)
{
	return !in->rex && reg >= 4 && reg < 8;
}

bool insn_has_high_byte(const struct insn *in)
{
	bool e = !in->mem && (in->attr & (BYTES | E_BYTE));

	if (e && high(in, in->rm))
		return true;
	return in->kind == INSN_RM && (in->attr & BYTES) && !(in->attr & NO_G) && high(in, in->reg);
}
