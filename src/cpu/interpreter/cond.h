/* SPDX-License-Identifier: MIT */
/*
 * interpreter/cond.h: the sixteen conditions, in the encoding's order (SDM vol. 1, appendix B).
 */
#ifndef CPU_INTERPRETER_COND_H
#define CPU_INTERPRETER_COND_H

#include "cpu/state.h"

#define EACH_CC(X)                                                                                 \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

static inline bool cond(u16 af, unsigned cc)
{
	bool r;

	switch (cc >> 1) {
	case 0:
		r = af & AF_OF;
		break;
	case 1:
		r = af & AF_CF;
		break;
	case 2:
		r = af & AF_ZF;
		break;
	case 3:
		r = af & (AF_CF | AF_ZF);
		break;
	case 4:
		r = af & AF_SF;
		break;
	case 5:
		r = af & AF_PF;
		break;
	case 6:
		r = (af >> 15 ^ af) & 1;
		break;
	default:
		r = (af & AF_ZF) || ((af >> 15 ^ af) & 1);
		break;
	}
	return r ^ (cc & 1);
}

#endif
