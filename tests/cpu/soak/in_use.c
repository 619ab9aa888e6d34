/* SPDX-License-Identifier: MIT */
/*
 * soak/in_use.c: components of the host's that count as in use though they are in their initial
 * state: its kernel may have given a thread its state back from an image that names them (SDM vol. 1,
 * 13.6; APM vol. 2, 11.5). XSAVE and its kin then set the component's bit, and those that leave out
 * what is initial have written it.
 */
#include "cpu/native/xstate.h"
#include "soak.h"

#define AT_FCW	 0
#define FCW_INIT 0x037f
#define AT_FDP_END 24
#define AT_MXCSR 24
#define AT_ST	 32
#define AT_XMM	 160
#define XMM_SIZE 256

static bool all_zero(const u8 *p, u32 size)
{
	for (u32 i = 0; i < size; i++) {
		if (p[i])
			return false;
	}
	return true;
}

/* Where the area stands in the data; -1: not in it. */
static s64 area_of(const struct soak_case *t)
{
	const ZydisDecodedOperand *m = &t->o[0];
	ZydisRegisterContext regs = {{0}};
	u64 at;

	if (m->type != ZYDIS_OPERAND_TYPE_MEMORY)
		return -1;
	for (unsigned r = 0; r < 16; r++) {
		if (r < 8)
			regs.values[ZYDIS_REGISTER_AX + r] = (u16)t->s.reg[r];
		regs.values[ZYDIS_REGISTER_EAX + r] = (u32)t->s.reg[r];
		regs.values[ZYDIS_REGISTER_RAX + r] = t->s.reg[r];
	}
	if (!ZYAN_SUCCESS(ZydisCalcAbsoluteAddressEx(&t->i, m, t->s.rip, &regs, &at)))
		return -1;
	at += soak_operand_base(t, m) - SOAK_DATA;
	return at + XSAVE_LEGACY + XSAVE_HEADER <= SOAK_DATA_SIZE ? (s64)at : -1;
}

/* Take [at, at + size) of the host's area, which is to be zero. */
static bool take_zero(const u8 *host, u8 *guest, u64 at, u32 size)
{
	if (at + size > SOAK_DATA_SIZE || !all_zero(host + at, size))
		return false;
	memset(guest + at, 0, size);
	return true;
}

static bool take_x87(const u8 *host, u8 *guest, u64 area)
{
	u16 fcw;

	memcpy(&fcw, host + area + AT_FCW, sizeof(fcw));
	memcpy(guest + area + AT_FCW, &fcw, sizeof(fcw));
	return fcw == FCW_INIT &&
	       take_zero(host, guest, area + sizeof(fcw), AT_FDP_END - sizeof(fcw)) &&
	       take_zero(host, guest, area + AT_ST, AT_XMM - AT_ST);
}

static bool take_component(enum xcomp x, const u8 *host, u8 *guest, u64 area, bool compact)
{
	u64 layout;

	if (x == XC_X87)
		return take_x87(host, guest, area);
	if (x == XC_SSE) {
		if (compact) /* MXCSR is of this component */
			memcpy(guest + area + AT_MXCSR, host + area + AT_MXCSR, AT_ST - AT_MXCSR);
		return take_zero(host, guest, area + AT_XMM, XMM_SIZE);
	}
	memcpy(&layout, host + area + XSAVE_LEGACY + 8, sizeof(layout));
	return take_zero(host, guest,
			 area + (compact ? xcomp_compact_offset(layout, x) : xcomp_offset(x)),
			 xcomp_size(x));
}

bool in_use_take(const struct soak_case *t, const u8 *host, u8 *guest)
{
	const char *name = ZydisMnemonicGetString(t->i.mnemonic);
	s64 area = area_of(t);
	u64 h, g, more;

	if (!strstr(name, "xsave") || area < 0)
		return false;
	memcpy(&h, host + area + XSAVE_LEGACY, sizeof(h));
	memcpy(&g, guest + area + XSAVE_LEGACY, sizeof(g));
	more = h & ~g;
	if (!more || (g & ~h) || (more & ~host_xmask))
		return false;
	for (enum xcomp x = XC_X87; x < NR_XCOMP; x++) {
		if ((more & XMASK(x)) &&
		    !take_component(x, host, guest, (u64)area, strstr(name, "xsavec")))
			return false;
	}
	memcpy(guest + area + XSAVE_LEGACY, &h, sizeof(h));
	return true;
}
