/* SPDX-License-Identifier: MIT */
/*
 * explore/defects.h: mistakes that history has made. One can be switched on for the executions
 * that follow, to prove that the explorer finds it.
 *
 * Each is a patch in explore/defects/, which defects/apply makes in a copy of the source that ships:
 * the copy has every function that a patch changes as it is and with each mistake, and goes by
 * defect_on. The list of them is made from the patches.
 */
#ifndef EXPLORE_DEFECTS_H
#define EXPLORE_DEFECTS_H

enum defect {
	DEFECT_NONE,
#define DEFECT(constant, name, what, origin) DEFECT_##constant,
#include "defects_list.h"
#undef DEFECT
	NR_DEFECTS,
};

extern enum defect defect_on;

#endif
