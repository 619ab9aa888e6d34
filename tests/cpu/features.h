/* SPDX-License-Identifier: MIT */
/*
 * cpu/features.h: the CPUID bits that announce instructions, by /proc/cpuinfo's names, which the
 * tables use too.
 */
#ifndef TESTS_CPU_FEATURES_H
#define TESTS_CPU_FEATURES_H

#include "base/types.h"

struct feature {
	const char *name;
	u32 leaf, index, reg, bit; /* reg: EAX first */
};
extern const struct feature features[]; /* the last has no name */

const struct feature *feature_find(const char *name);
/* What announces one of Zydis's instruction sets, by its name; NULL: the base, or not known. */
const struct feature *feature_of_set(const char *set);
bool feature_on_host(const struct feature *f);

#endif
