/* SPDX-License-Identifier: MIT */
#include "cpu/translator/insn.h"

#include "cpu/code/op.h"

#define REX_W 8
#define REX_R 4
#define REX_X 2
#define REX_B 1

#define E_RW (E_READ | E_WRITE)
#define G_RW (G_READ | G_WRITE)

struct cursor {
	const u8 *p, *end;
	bool lock, addr32, op16;
	u8 rep;
};

static void set(struct insn *in, enum insn_kind kind, u16 attr)
{
	in->kind = (u8)kind;
	in->attr = attr;
}

/* ADD, OR, ADC, SBB, AND, SUB, XOR, CMP: the six forms of each. */
static void classify_alu(struct insn *in)
{
	bool cmp = in->opcode >> 3 == 7;
	u16 w = cmp ? 0 : in->opcode & 2 ? G_WRITE : E_WRITE;

	if ((in->opcode & 7) >= 6)
		return;
	if ((in->opcode & 7) >= 4)
		set(in, INSN_COPY, in->opcode & 1 ? 0 : BYTES);
	else
		set(in, INSN_RM, (u16)(E_READ | G_READ | w | (in->opcode & 1 ? 0 : BYTES)));
}

/* The opcodes whose ModRM.reg says what they are. */
static void classify_group(struct insn *in, u8 reg)
{
	u16 bytes = in->opcode & 1 ? 0 : BYTES;

	switch (in->opcode) {
	case 0x80: case 0x81: case 0x83:
		set(in, INSN_RM, (u16)(NO_G | E_READ | (reg == 7 ? 0 : E_WRITE) | bytes));
		break;
	case 0xc0: case 0xc1: case 0xd0: case 0xd1:
		set(in, INSN_RM, (u16)(NO_G | E_RW | bytes));
		break;
	case 0xd2: case 0xd3:
		set(in, INSN_RM, (u16)(NO_G | E_RW | BY_CL | bytes));
		break;
	case 0xc6: case 0xc7:
		if (!reg)
			set(in, INSN_RM, (u16)(NO_G | E_WRITE | bytes));
		break;
	case 0xf6: case 0xf7: /* TEST, NOT, NEG, MUL, IMUL; DIV and IDIV may fault */
		if (reg < 2 || reg == 4 || reg == 5)
			set(in, INSN_RM, (u16)(NO_G | E_READ | bytes));
		else if (reg < 4)
			set(in, INSN_RM, (u16)(NO_G | E_RW | bytes));
		break;
	case 0xfe: case 0xff:
		if (reg < 2)
			set(in, INSN_RM, (u16)(NO_G | E_RW | bytes));
		else if (bytes)
			break;
		else if (reg == 2)
			set(in, INSN_CALL_INDIRECT, NO_G | E_READ);
		else if (reg == 4)
			set(in, INSN_JMP_INDIRECT, NO_G | E_READ);
		break;
	}
}

static bool is_group(const struct insn *in)
{
	switch (in->opcode) {
	case 0x80: case 0x81: case 0x83:
	case 0xc0: case 0xc1: case 0xd0: case 0xd1: case 0xd2: case 0xd3:
	case 0xc6: case 0xc7: case 0xf6: case 0xf7: case 0xfe: case 0xff:
		return !in->map;
	}
	return false;
}

static void classify_one_byte(struct insn *in, const struct cursor *k)
{
	u16 bytes = in->opcode & 1 ? 0 : BYTES;

	switch (in->opcode) {
	case 0x00 ... 0x3f:
		classify_alu(in);
		break;
	case 0x50 ... 0x57:
		set(in, INSN_PUSH, 0);
		break;
	case 0x58 ... 0x5f:
		set(in, INSN_POP, 0);
		break;
	case 0x63:
		if (in->size != 2)
			set(in, INSN_RM, G_WRITE | E_READ | E_DWORD);
		break;
	case 0x68: case 0x6a:
		set(in, INSN_PUSH_IMM, 0);
		break;
	case 0x69: case 0x6b:
		set(in, INSN_RM, G_WRITE | E_READ);
		break;
	case 0x70 ... 0x7f:
		set(in, INSN_JCC, 0);
		break;
	case 0x84: case 0x85:
		set(in, INSN_RM, (u16)(E_READ | G_READ | bytes));
		break;
	case 0x86: case 0x87:
		set(in, INSN_RM, (u16)(E_RW | G_RW | bytes));
		in->locked = true;
		break;
	case 0x88: case 0x89:
		set(in, INSN_RM, (u16)(E_WRITE | G_READ | bytes));
		break;
	case 0x8a: case 0x8b:
		set(in, INSN_RM, (u16)(E_READ | G_WRITE | bytes));
		break;
	case 0x8d:
		if (in->size != 2)
			set(in, INSN_LEA, G_WRITE);
		break;
	case 0x90:
		if (!(in->rex & REX_B))
			set(in, INSN_NOP, 0);
		break;
	case 0x98: case 0x99: case 0xa9: case 0xf5: case 0xf8: case 0xf9:
		set(in, INSN_COPY, 0);
		break;
	case 0xa8:
		set(in, INSN_COPY, BYTES);
		break;
	case 0xb0 ... 0xb7:
		set(in, INSN_REG, E_WRITE | BYTES);
		break;
	case 0xb8 ... 0xbf:
		set(in, INSN_REG, E_WRITE);
		break;
	case 0xc2: case 0xc3:
		set(in, INSN_RET, 0);
		break;
	case 0xc9:
		set(in, INSN_LEAVE, 0);
		break;
	case 0xe8:
		set(in, INSN_CALL, 0);
		break;
	case 0xe9: case 0xeb:
		set(in, INSN_JMP, 0);
		break;
	default:
		if (is_group(in) && k->p < k->end)
			classify_group(in, *k->p >> 3 & 7);
		break;
	}
}

/* F3 before BC, BD and B8 makes other instructions of them, which BMI2's hosts have. */
static void classify_scan(struct insn *in, const struct cursor *k)
{
	if (k->rep == 0xf2 || (in->opcode == 0xb8 && !k->rep))
		return;
	in->rep = k->rep;
	set(in, INSN_RM, G_RW | E_READ);
}

static void classify_two_byte(struct insn *in, const struct cursor *k)
{
	u8 reg = k->p < k->end ? *k->p >> 3 & 7 : 0;

	switch (in->opcode) {
	case 0x0d: case 0x18: case 0x1e: case 0x1f:
		set(in, INSN_NOP, 0);
		break;
	case 0x40 ... 0x4f:
		set(in, INSN_RM, E_READ | G_RW);
		break;
	case 0x80 ... 0x8f:
		set(in, INSN_JCC, 0);
		break;
	case 0x90 ... 0x9f:
		set(in, INSN_RM, NO_G | E_WRITE | BYTES);
		break;
	case 0xa3:
		set(in, INSN_RM, E_READ | G_READ | REG_ONLY);
		break;
	case 0xab: case 0xb3: case 0xbb:
		set(in, INSN_RM, E_RW | G_READ | REG_ONLY);
		break;
	case 0xba:
		if (reg >= 4)
			set(in, INSN_RM, (u16)(NO_G | E_READ | (reg == 4 ? 0 : E_WRITE)));
		break;
	case 0xa4: case 0xac:
		set(in, INSN_RM, E_RW | G_READ);
		break;
	case 0xa5: case 0xad:
		set(in, INSN_RM, E_RW | G_READ | BY_CL | REG_ONLY);
		break;
	case 0xaf:
		set(in, INSN_RM, E_READ | G_RW);
		break;
	case 0xb0: case 0xb1: /* CMPXCHG: RAX is the host's, too */
		set(in, INSN_RM, (u16)(E_RW | G_READ | (in->opcode & 1 ? 0 : BYTES)));
		break;
	case 0xc0: case 0xc1: /* XADD */
		set(in, INSN_RM, (u16)(E_RW | G_RW | (in->opcode & 1 ? 0 : BYTES)));
		break;
	case 0xb6: case 0xbe:
		set(in, INSN_RM, E_READ | G_WRITE | E_BYTE);
		break;
	case 0xb7: case 0xbf:
		set(in, INSN_RM, E_READ | G_WRITE | E_WORD);
		break;
	case 0xb8: case 0xbc: case 0xbd:
		classify_scan(in, k);
		break;
	case 0xc8 ... 0xcf:
		if (in->size != 2)
			set(in, INSN_REG, E_RW);
		break;
	}
}

static bool is_prefix(struct insn *in, struct cursor *k)
{
	switch (*k->p) {
	case 0x66:
		k->op16 = true;
		break;
	case 0x67:
		k->addr32 = true;
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
		break; /* nothing in 64-bit mode; an earlier FS or GS stays (SDM vol. 2, 2.1.1) */
	default:
		return false;
	}
	k->p++;
	return true;
}

static s64 displacement(struct cursor *k, u32 n)
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

static void parse_memory(struct insn *in, struct cursor *k, u8 mod, u8 rm, u64 next)
{
	bool none = false;

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
		if (none)
			in->base = -1;
	} else if (rm == 5 && !mod) {
		in->riprel = true;
		in->base = -1;
	}
	if (mod == 1)
		in->disp = displacement(k, 1);
	else if (mod == 2 || none || in->riprel)
		in->disp = displacement(k, 4);
	if (in->riprel)
		in->disp += (s64)next;
}

static void parse_modrm(struct insn *in, struct cursor *k, u64 next)
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
	return in->kind == INSN_RM || in->kind == INSN_LEA || in->kind == INSN_CALL_INDIRECT ||
	       in->kind == INSN_JMP_INDIRECT;
}

static bool branches_or_stack(const struct insn *in)
{
	return in->kind >= INSN_PUSH;
}

void insn_parse(const u8 *bytes, u8 len, u64 next, struct insn *in)
{
	struct cursor k = {.p = bytes, .end = bytes + len};

	memset(in, 0, sizeof(*in));
	in->base = in->index = -1;
	while (k.p < k.end && is_prefix(in, &k))
		;
	if (k.p < k.end && (*k.p & 0xf0) == 0x40)
		in->rex = *k.p++;
	if (k.p < k.end && *k.p == 0x0f) {
		in->map = 1;
		k.p++;
	}
	if (k.p >= k.end)
		return;
	in->opcode = *k.p++;
	in->size = in->rex & REX_W ? 8 : k.op16 ? 2 : 4;
	if (in->map)
		classify_two_byte(in, &k);
	else
		classify_one_byte(in, &k);
	if (in->attr & BYTES)
		in->size = 1;
	/* Branches ignore F2 and F3; elsewhere they mean something unless taken above. */
	if (k.rep && !in->rep && in->kind != INSN_RET && in->kind != INSN_JMP && in->kind != INSN_JCC &&
	    in->kind != INSN_CALL && in->kind != INSN_JMP_INDIRECT && in->kind != INSN_CALL_INDIRECT &&
	    !(in->kind == INSN_NOP && in->map))
		in->kind = INSN_OTHER;
	if ((k.lock && in->kind != INSN_RM) || (k.op16 && branches_or_stack(in)))
		in->kind = INSN_OTHER;
	if (in->kind == INSN_OTHER || in->kind == INSN_NOP)
		return;
	if (has_modrm(in))
		parse_modrm(in, &k, next);
	else if (in->kind == INSN_REG || in->kind == INSN_PUSH || in->kind == INSN_POP)
		in->rm = (u8)((in->opcode & 7) | (in->rex & REX_B) << 3);
	if (k.p > k.end || (in->mem && (k.addr32 || (in->attr & REG_ONLY))) ||
	    (in->kind == INSN_LEA && !in->mem)) {
		in->kind = INSN_OTHER;
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
	return in->size;
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
	case INSN_RM: case INSN_JMP_INDIRECT: case INSN_CALL_INDIRECT:
		return in->mem && (in->attr & E_READ);
	default:
		return false;
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
