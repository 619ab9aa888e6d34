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
	bool lock, op16;
	bool address; /* prefix 67 */
	bool no_modrm;
	u8 rep;
};

static void set(struct insn *in, enum insn_kind kind, u16 attr)
{
	in->kind = (u8)kind;
	in->attr = attr;
}

static void set_system(struct insn *in, enum insn_system sys)
{
	set(in, INSN_SYSTEM, 0);
	in->sys = (u8)sys;
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
	case 0xf6: case 0xf7: /* TEST, TEST, NOT, NEG, MUL, IMUL, DIV, IDIV */
		if (reg == 2 || reg == 3)
			set(in, INSN_RM, (u16)(NO_G | E_RW | bytes));
		else
			set(in, INSN_RM, (u16)(NO_G | E_READ | (reg >= 6 ? FAULTS : 0) | bytes));
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
		else if (reg == 6)
			set(in, INSN_PUSH_MEM, NO_G | E_READ);
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

/* INC and DEC of a register by the opcode, which is a prefix in 64-bit code: as the longer form. */
static void classify_short_inc(struct insn *in, struct cursor *k)
{
	set(in, INSN_RM, NO_G | E_RW);
	in->reg = in->opcode >> 3 & 1;
	in->rm = in->opcode & 7;
	in->opcode = 0xff;
	k->no_modrm = true;
}

/* MOV between the accumulator and an address in the instruction: as the form with ModRM. */
static void classify_moffs(struct insn *in, struct cursor *k)
{
	u64 at = 0, n = in->code32 ? 4 : 8;

	set(in, INSN_RM, (u16)((in->opcode & 2 ? E_WRITE | G_READ : E_READ | G_WRITE) |
			       (in->opcode & 1 ? 0 : BYTES)));
	in->opcode = (u8)(0x88 | (in->opcode & 1) | (in->opcode & 2 ? 0 : 2));
	in->reg = RAX;
	in->mem = true;
	k->no_modrm = true;
	if ((u64)(k->end - k->p) < n) {
		in->kind = INSN_OTHER;
		return;
	}
	memcpy(&at, k->p, n);
	k->p += n;
	in->disp = (s64)at;
}

static void classify_one_byte(struct insn *in, struct cursor *k)
{
	u16 bytes = in->opcode & 1 ? 0 : BYTES;

	switch (in->opcode) {
	case 0x00 ... 0x3f:
		classify_alu(in);
		break;
	case 0x40 ... 0x4f:
		if (in->code32)
			classify_short_inc(in, k);
		break;
	case 0x50 ... 0x57:
		set(in, INSN_PUSH, 0);
		break;
	case 0x58 ... 0x5f:
		set(in, INSN_POP, 0);
		break;
	case 0x63: /* MOVSXD; ARPL in other modes */
		if (in->size != 2 && !in->code32)
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
	case 0x9c:
		set(in, INSN_PUSHF, 0);
		break;
	case 0xfa:
		set_system(in, SYS_CLI);
		break;
	case 0xfb:
		set_system(in, SYS_STI);
		break;
	case 0xfc:
		set_system(in, SYS_CLD);
		break;
	case 0xa0 ... 0xa3:
		classify_moffs(in, k);
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

/* What the byte behind 0F 01 makes an instruction of. */
static void classify_0f01(struct insn *in, u8 second)
{
	switch (second) {
	case 0xca:
		set_system(in, SYS_CLAC);
		break;
	case 0xcb:
		set_system(in, SYS_STAC);
		break;
	case 0xf8:
		if (!in->code32)
			set_system(in, SYS_SWAPGS);
		break;
	case 0xf9:
		set_system(in, SYS_RDTSCP);
		break;
	}
}

/* MOV from a control register: ModRM.rm is a register whatever mod says. Others than these are rare. */
static void classify_from_cr(struct insn *in, struct cursor *k)
{
	u8 modrm = *k->p;

	if (in->code32 || (in->rex & REX_R) || !(BIT(modrm >> 3 & 7) & (BIT(0) | BIT(2) | BIT(3) | BIT(4))))
		return;
	set_system(in, SYS_FROM_CR);
	in->reg = modrm >> 3 & 7;
	in->rm = (u8)((modrm & 7) | (in->rex & REX_B) << 3);
}

static void classify_two_byte(struct insn *in, struct cursor *k)
{
	u8 second = k->p < k->end ? *k->p : 0, reg = second >> 3 & 7;

	switch (in->opcode) {
	case 0x01:
		classify_0f01(in, second);
		break;
	case 0x20:
		classify_from_cr(in, k);
		break;
	case 0x31:
		set_system(in, SYS_RDTSC);
		break;
	case 0xae: /* LFENCE, MFENCE, SFENCE */
		if (second == 0xe8 || second == 0xf0 || second == 0xf8)
			set(in, INSN_COPY, 0);
		break;
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
	case 0xc3: /* MOVNTI */
		set(in, INSN_RM, E_WRITE | G_READ);
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
	case 0xc7: /* CMPXCHG16B */
		if (reg == 1 && second < 0xc0 && in->size == 8) {
			set(in, INSN_RM, NO_G | E_RW | E_PAIR);
			in->locked = true; /* aligned, or #GP */
		}
		break;
	case 0xc8 ... 0xcf:
		if (in->size != 2)
			set(in, INSN_REG, E_RW);
		break;
	}
}

/* CRC32, MOVBE and the two carry chains. */
static void classify_0f38(struct insn *in, const struct cursor *k)
{
	switch (in->opcode) {
	case 0xf0: case 0xf1:
		if (k->rep == 0xf2)
			set(in, INSN_RM, G_RW | E_READ | (in->opcode == 0xf0 ? E_BYTE : 0));
		else if (!k->rep)
			set(in, INSN_RM, in->opcode == 0xf0 ? E_READ | G_WRITE : E_WRITE | G_READ);
		in->rep = k->rep;
		break;
	case 0xf6: /* ADCX has the prefix 66, ADOX F3 */
		if (k->rep == 0xf2 || (!k->rep && !k->op16))
			break;
		in->rep = k->rep ? k->rep : 0x66;
		in->size = in->rex & REX_W ? 8 : 4;
		set(in, INSN_RM, G_RW | E_READ);
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
static void parse_vex(struct insn *in, struct cursor *k)
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
static bool is_vex(const struct insn *in, const struct cursor *k)
{
	return (*k->p == 0xc4 || *k->p == 0xc5) && (!in->code32 || (k->p + 1 < k->end && k->p[1] >= 0xc0));
}

static void parse_opcode(struct insn *in, struct cursor *k)
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
	if (in->map == 2)
		classify_0f38(in, k);
	else if (in->map)
		classify_two_byte(in, k);
	else
		classify_one_byte(in, k);
	if (in->attr & BYTES)
		in->size = 1;
}

void insn_parse(const u8 *bytes, u8 len, u64 next, bool code32, struct insn *in)
{
	struct cursor k = {.p = bytes, .end = bytes + len};

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
