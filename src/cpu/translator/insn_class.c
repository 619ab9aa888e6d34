/* SPDX-License-Identifier: MIT */
/*
 * translator/insn_class.c: what an opcode is, of those that have code of their own: its kind, and what it does
 * with its operands. What is not named here stays INSN_OTHER.
 */
#include "cpu/translator/insn_class.h"

#define E_RW (E_READ | E_WRITE)
#define G_RW (G_READ | G_WRITE)

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
static void classify_short_inc(struct insn *in, struct insn_cursor *k)
{
	set(in, INSN_RM, NO_G | E_RW);
	in->reg = in->opcode >> 3 & 1;
	in->rm = in->opcode & 7;
	in->opcode = 0xff;
	k->no_modrm = true;
}

/* MOV between the accumulator and an address in the instruction: as the form with ModRM. */
static void classify_moffs(struct insn *in, struct insn_cursor *k)
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

static void classify_one_byte(struct insn *in, struct insn_cursor *k)
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
static void classify_scan(struct insn *in, const struct insn_cursor *k)
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
static void classify_from_cr(struct insn *in, struct insn_cursor *k)
{
	u8 modrm = *k->p;

	if (in->code32 || (in->rex & REX_R) || !(BIT(modrm >> 3 & 7) & (BIT(0) | BIT(2) | BIT(3) | BIT(4))))
		return;
	set_system(in, SYS_FROM_CR);
	in->reg = modrm >> 3 & 7;
	in->rm = (u8)((modrm & 7) | (in->rex & REX_B) << 3);
}

static void classify_two_byte(struct insn *in, struct insn_cursor *k)
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
static void classify_0f38(struct insn *in, const struct insn_cursor *k)
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

void insn_classify(struct insn *in, struct insn_cursor *k)
{
	if (in->map == 2)
		classify_0f38(in, k);
	else if (in->map)
		classify_two_byte(in, k);
	else
		classify_one_byte(in, k);
	if (in->attr & BYTES)
		in->size = 1;
}
