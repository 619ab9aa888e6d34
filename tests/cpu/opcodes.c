/* SPDX-License-Identifier: MIT */
#include "opcodes.h"

static unsigned put_legacy(const struct opcode_form *f, const struct opcode_fill *fill, u8 *b)
{
	static const u8 prefix[] = {0, 0x66, 0xf3, 0xf2};
	unsigned n = 0;
	u8 rex = (u8)(f->w << 3 | fill->rxb);

	if (f->pp)
		b[n++] = prefix[f->pp];
	if (fill->long_mode && (rex || fill->rex))
		b[n++] = 0x40 | rex;
	if (f->map)
		b[n++] = 0x0f;
	if (f->map >= 2)
		b[n++] = f->map == 2 ? 0x38 : 0x3a;
	b[n++] = f->opcode;
	b[n++] = f->modrm;
	return n;
}

/* VEX and XOP, three bytes. Outside 64-bit mode inverted R and X of 0 would make it LES (POP).
 */
static unsigned put_vex(const struct opcode_form *f, const struct opcode_fill *fill, u8 *b)
{
	u8 rxb = (u8)(fill->long_mode ? ~fill->rxb & 7 : 7);
	u8 vvvv = (u8)(fill->long_mode ? ~fill->vvvv & 15 : (~fill->vvvv & 15) | 8);

	b[0] = f->kind == OPCODE_XOP ? 0x8f : 0xc4;
	b[1] = (u8)(rxb << 5 | f->map);
	b[2] = (u8)(f->w << 7 | vvvv << 3 | f->l << 2 | f->pp);
	b[3] = f->opcode;
	b[4] = f->modrm;
	return 5;
}

static unsigned put_evex(const struct opcode_form *f, const struct opcode_fill *fill, u8 *b)
{
	u8 rxb = (u8)(fill->long_mode ? ~fill->rxb & 7 : 7);
	u8 r2 = fill->long_mode ? !fill->r2 : 1, v2 = fill->long_mode ? !fill->v2 : 1;
	u8 vvvv = (u8)(fill->long_mode ? ~fill->vvvv & 15 : (~fill->vvvv & 15) | 8);

	b[0] = 0x62;
	b[1] = (u8)(rxb << 5 | r2 << 4 | f->map);
	b[2] = (u8)(f->w << 7 | vvvv << 3 | 4 | f->pp);
	b[3] = (u8)(fill->z << 7 | f->l << 5 | f->b << 4 | v2 << 3 | fill->aaa);
	b[4] = f->opcode;
	b[5] = f->modrm;
	return 6;
}

unsigned opcode_put(const struct opcode_form *f, const struct opcode_fill *fill, u8 *b)
{
	switch (f->kind) {
	case OPCODE_LEGACY:
		return put_legacy(f, fill, b);
	case OPCODE_EVEX:
		return put_evex(f, fill, b);
	case OPCODE_3DNOW: /* the opcode stands behind the operands */
		b[0] = 0x0f;
		b[1] = 0x0f;
		b[2] = f->modrm;
		b[3] = f->opcode;
		return 4;
	default:
		return put_vex(f, fill, b);
	}
}

bool opcode_example(const struct opcode_form *f, bool long_mode, u8 *b)
{
	/* Gathers, with a SIB byte: a mask, and an index that is none of the others. */
	bool sib = (f->modrm & 0xc7) == 4;
	struct opcode_fill fill = {.long_mode = long_mode,
				   .vvvv = f->kind == OPCODE_VEX && sib ? 5 : 0,
				   .aaa = f->kind == OPCODE_EVEX && sib};

	if (!long_mode && f->kind == OPCODE_LEGACY && f->w)
		return false;
	b[opcode_put(f, &fill, b)] = 6 << 3 | 3;
	return true;
}

/* Memory at [BX + DI] or [RBX], and registers; each reg field. All 64 register forms where rm
 * can be part of the opcode. */
static void walk_modrm(struct opcode_form f, bool all,
		       void (*visit)(const struct opcode_form *, void *), void *arg)
{
	for (u8 reg = 0; reg < 8; reg++) {
		f.modrm = (u8)(reg << 3 | 3);
		visit(&f, arg);
		if (f.kind != OPCODE_LEGACY && (f.opcode & 0xcc) == 0x80) {
			f.modrm = (u8)(reg << 3 | 4); /* gathers and scatters want a SIB byte */
			visit(&f, arg);
		}
		for (u8 rm = 0; rm < (all ? 8 : 1); rm++) {
			f.modrm = (u8)(0xc0 | reg << 3 | (all ? rm : 1));
			visit(&f, arg);
		}
	}
}

/* Prefixes and the escape bytes to other maps are no opcodes. */
static bool is_opcode(u8 map, u8 opcode)
{
	if (!map)
		return opcode != 0x0f && opcode != 0x26 && opcode != 0x2e && opcode != 0x36 &&
		       opcode != 0x3e && (opcode & 0xfc) != 0x64 && opcode != 0xf0 &&
		       opcode != 0xf2 && opcode != 0xf3;
	return map != 1 || (opcode != 0x38 && opcode != 0x3a && opcode != 0x0f);
}

static void walk_legacy(void (*visit)(const struct opcode_form *, void *), void *arg)
{
	for (unsigned v = 0; v < 4 * 4 * 2 * 256; v++) {
		struct opcode_form f = {.kind = OPCODE_LEGACY,
					.map = v & 3,
					.pp = (v >> 2) & 3,
					.w = (v >> 4) & 1,
					.opcode = (u8)(v >> 5)};

		if (is_opcode(f.map, f.opcode))
			walk_modrm(f, f.map < 2, visit, arg);
	}
}

static void walk_vex(enum opcode_kind kind, u8 first_map, u8 last_map,
		     void (*visit)(const struct opcode_form *, void *), void *arg)
{
	for (u8 map = first_map; map <= last_map; map++) {
		for (unsigned v = 0; v < 4 * 2 * 2 * 256; v++) {
			struct opcode_form f = {.kind = (u8)kind,
						.map = map,
						.pp = v & 3,
						.w = (v >> 2) & 1,
						.l = (v >> 3) & 1,
						.opcode = (u8)(v >> 4)};

			walk_modrm(f, false, visit, arg);
		}
	}
}

static void walk_evex(void (*visit)(const struct opcode_form *, void *), void *arg)
{
	for (u8 map = 1; map <= 7; map++) {
		for (unsigned v = 0; v < 4 * 2 * 8 * 256; v++) {
			struct opcode_form f = {.kind = OPCODE_EVEX,
						.map = map,
						.pp = v & 3,
						.w = (v >> 2) & 1,
						.l = (v >> 3) & 3,
						.b = (v >> 5) & 1,
						.opcode = (u8)(v >> 6)};

			walk_modrm(f, false, visit, arg);
		}
	}
}

void opcode_walk(void (*visit)(const struct opcode_form *f, void *arg), void *arg)
{
	walk_legacy(visit, arg);
	walk_vex(OPCODE_VEX, 0, 31, visit, arg);
	walk_vex(OPCODE_XOP, 8, 10, visit, arg);
	walk_evex(visit, arg);
	for (unsigned op = 0; op < 256; op++) {
		struct opcode_form f = {.kind = OPCODE_3DNOW, .opcode = (u8)op};

		walk_modrm(f, false, visit, arg);
	}
}
