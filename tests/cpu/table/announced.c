/* SPDX-License-Identifier: MIT */
/*
 * table/announced.c: CPUID against the table, both ways: no bit announces instructions that the
 * table lacks, and a line's bit is announced where the host has it.
 */
#include <stdio.h>

#include "../lines.h"
#include "cpu/cpu.h"
#include "cpu/table/features.h"
#include "table_test.h"

static bool announced(const struct feature *b)
{
	static struct cpuid_leaf leaf[MAX_CPUID];
	static u32 n;

	if (!n) {
		n = MAX_CPUID;
		if (cpuid_supported(leaf, &n))
			return false;
	}
	for (u32 i = 0; i < n; i++) {
		if (leaf[i].function == b->leaf && leaf[i].index == b->index)
			return (&leaf[i].eax)[b->reg] >> b->bit & 1;
	}
	return false;
}

static void not_announced_fault(const char *what, const char *name)
{
	printf("%s: %s\n", what, name);
	complaints++;
}

/* MOVDIR64B has a bit of its own in a set it shares; UD0 to UD2 raise #UD in any. */
static bool has_other_bit(const struct decoder *d)
{
	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_MOVDIR64B:
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
		return true;
	default:
		return false;
	}
}

/* A form with EVEX needs AVX-512 besides its own bit: VAES is there on processors without. */
static bool all_announced(const char *set, const struct feature *own)
{
	return announced(own) && (strncmp(set, "AVX512", 6) || announced(feature_find("avx512f")));
}

void note_denied(const struct decoder *d)
{
	static bool told[ZYDIS_MNEMONIC_MAX_VALUE + 1];
	const char *set = ZydisISASetGetString(d->i.meta.isa_set);
	const struct feature *b = feature_of_set(set);

	if (told[d->i.mnemonic] || !b || has_other_bit(d) || !all_announced(set, b))
		return;
	told[d->i.mnemonic] = true;
	complain(d, "announced by CPUID, but refused");
}

static void check_line(const struct table_line *l)
{
	const struct feature *b = feature_find(l->cpuid);

	if (!*l->cpuid)
		return;
	if (!b)
		not_announced_fault("no such CPUID bit", l->cpuid);
	else if (feature_on_host(b) && !announced(b))
		not_announced_fault("a line of the table that CPUID hides",
				    ZydisMnemonicGetString(l->mnemonic));
}

static bool has_line(const char *bit)
{
	for (unsigned i = 0; i < table_nr_lines(); i++) {
		if (!strcmp(table_line(i)->cpuid, bit))
			return true;
	}
	return false;
}

/* Bits whose instructions are forms of lines named for an older bit, or of none: WBNOINVD is WBINVD with
 * a prefix, which that ignores, and Zydis has one name for both. */
static bool forms_only(const char *bit)
{
	return !strcmp(bit, "vaes") || !strcmp(bit, "vpclmulqdq") || !strcmp(bit, "avx512vl") ||
	       !strcmp(bit, "avx512_vnni") || !strcmp(bit, "wbnoinvd");
}

void check_announced(void)
{
	for (unsigned i = 0; i < table_nr_lines(); i++)
		check_line(table_line(i));
	for (const struct feature *f = features; f->name; f++) {
		if (announced(f) && !has_line(f->name) && !forms_only(f->name))
			not_announced_fault("announced, and no line of the table", f->name);
	}
}
