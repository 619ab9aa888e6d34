/* SPDX-License-Identifier: MIT */
#include "random.h"

u64 random_seed = 1;

u64 rnd(void)
{
	/* xorshift64* */
	random_seed ^= random_seed >> 12;
	random_seed ^= random_seed << 25;
	random_seed ^= random_seed >> 27;
	return random_seed * 2685821657736338717ULL;
}

u64 rnd_value(void)
{
	static const u64 edge[] = {
		0, 1, ~0ULL, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
		0xffffffff, 1ULL << 63, ~0ULL >> 1, 0x3ff0000000000000, 0x7ff0000000000000,
		0xfff0000000000000, 0x7ff8000000000001, 0x7ff0000000000001, 0x000fffffffffffff,
		0x3f8000003f800000, 0x7f8000007fc00000, 0x7f80000100000001, 0x80000000807fffff,
		0x4b00000042c80000, 0x3c003c007c00fc00, 0x7e017c0103ff0001, 0x43e0000000000000,
		0x0102030405060708, 0x41dfffffffc00000,
	};

	switch (rnd() % 8) {
	case 0:
	case 1:
		return edge[rnd() % ARRAY_SIZE(edge)];
	case 2:
		return rnd() >> (rnd() % 64);
	case 3:
		return rnd() & 0x00ff00ff00ff00ff;
	default:
		return rnd();
	}
}

void random_bytes(void *p, size_t n)
{
	for (size_t i = 0; i + 8 <= n; i += 8) {
		u64 v = rnd_value();

		memcpy((u8 *)p + i, &v, 8);
	}
}

void random_x87(u8 *fx)
{
	u16 fcw = (u16)(0x40 | (rnd() & 0xf00) | (rnd() % 8 ? 0x3f : rnd() & 0x3f));
	u16 fsw = (u16)(rnd() & 0x7f7f);

	if (rnd() % 16) /* pending exceptions are the exception */
		fsw &= (u16)~0x3f | (fcw & 0x3f);
	memcpy(fx, &fcw, 2);
	memcpy(fx + 2, &fsw, 2);
	fx[4] = rnd() % 3 ? (u8)rnd() : 0xff;
	for (unsigned i = 0; i < 8; i++) {
		u64 v = rnd_value();
		u16 e = (u16)rnd();

		if (rnd() % 2) { /* a number near one */
			e = (u16)(0x3fff - 40 + rnd() % 80);
			v |= 1ULL << 63;
		}
		memcpy(fx + 32 + 16 * i, &v, 8);
		memcpy(fx + 32 + 16 * i + 8, &e, 2);
	}
}

u32 random_mxcsr(void)
{
	if (rnd() % 2)
		return 0x1f80;
	return (u32)((rnd() & 0xe07f) | (rnd() % 8 ? 0x1f80 : rnd() & 0x1f80));
}

bool is_state_image(ZydisMnemonic mn, bool *xsave)
{
	const char *name = ZydisMnemonicGetString(mn);

	*xsave = !strncmp(name, "xsave", 5) || !strncmp(name, "xrstor", 6);
	return *xsave || !strncmp(name, "fxsave", 6) || !strncmp(name, "fxrstor", 7);
}

void random_image(u8 *p, size_t n, bool xsave, u64 xmask)
{
	u64 header[8] = {rnd() & xmask};
	u32 mxcsr = (u32)rnd() & 0xffff;

	if (rnd() % 2)
		header[1] = 1ULL << 63 | header[0] | (rnd() & xmask);
	if (!(rnd() % 8))
		header[rnd() % 8] |= rnd();
	if (!(rnd() % 8))
		mxcsr = (u32)rnd();
	random_bytes(p, n);
	random_x87(p);
	p[5] = 0;
	p[14] = p[15] = 0; /* processors differ in what they make of a FIP that is no address */
	memcpy(p + 24, &mxcsr, 4);
	if (xsave)
		memcpy(p + 512, header, sizeof(header));
}
