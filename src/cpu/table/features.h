/* SPDX-License-Identifier: MIT */
/*
 * table/features.h: the CPUID bits that announce instructions, by /proc/cpuinfo's names, and which of
 * them a form needs to be executed on the host's processor. This is the one place that asks what
 * the host can run.
 */
#ifndef CPU_TABLE_FEATURES_H
#define CPU_TABLE_FEATURES_H

#include <Zydis/Zydis.h>
#include "base/types.h"

struct feature {
	const char *name;
	u32 leaf, index, reg, bit; /* reg: EAX first */
};
extern const struct feature features[]; /* the last has no name */

/*
 * A basic or extended leaf of the host's CPUID, EAX first. Zeros where the host has no such leaf: a
 * processor would answer with another one's, its highest basic leaf (SDM vol. 2A, CPUID).
 */
void host_cpuid(u32 leaf, u32 index, u32 r[4]);

const struct feature *feature_find(const char *name);
/* What announces one of Zydis's instruction sets, by its name; NULL: the base, or not known. */
const struct feature *feature_of_set(const char *set);
/* Does the host announce it, and has its kernel switched on the state that goes with it? */
bool feature_on_host(const struct feature *f);
/*
 * Can the host execute the form? It needs the bit of its own set, and those that the encoding
 * implies: AVX512F and AVX512VL for EVEX, AVX for VEX on vector registers (SDM vol. 1, 14.1 and 15.2
 * to 15.4; APM vol. 3, appendix D).
 */
bool feature_runs(const ZydisDecodedInstruction *i);
/*
 * For tests, before native_init() and the first decoding: as on a host without these bits. Names, or
 * how they begin, separated by commas. Replaces what was hidden before.
 */
void features_hide(const char *names);

#endif
