/* SPDX-License-Identifier: MIT */
/*
 * table/announced.c: CPUID against the table, both ways: no bit announces instructions that the
 * table lacks, and a line's bit is announced where the host has it.
 */
#include <stdio.h>

#include "../features.h"
#include "cpu/cpu.h"
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

/* MOVDIR64B has a bit of its own in a set it shares; 66-prefixed and other duplicates have
 * none. */
static bool has_other_bit(const struct decoder *d)
{
	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_MOVDIR64B:
		return true;
	default:
		return false;
	}
}

void note_denied(const struct decoder *d)
{
	static bool told[ZYDIS_MNEMONIC_MAX_VALUE + 1];
	const struct feature *b = feature_of_set(ZydisISASetGetString(d->i.meta.isa_set));

	if (told[d->i.mnemonic] || !b || has_other_bit(d) || !announced(b))
		return;
	told[d->i.mnemonic] = true;
	complain(d, "announced by CPUID, but refused");
}

static void check_lines(const struct table_line *l, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct feature *b;

		if (!*l[i].cpuid)
			continue;
		b = feature_find(l[i].cpuid);
		if (!b)
			not_announced_fault("no such CPUID bit", l[i].cpuid);
		else if (feature_on_host(b) && !announced(b))
			not_announced_fault("a line of the table that CPUID hides",
					    ZydisMnemonicGetString(l[i].mnemonic));
	}
}

static bool has_line(const char *bit)
{
	for (unsigned i = 0; i < table_integer_lines; i++) {
		if (!strcmp(table_integer[i].cpuid, bit))
			return true;
	}
	for (unsigned i = 0; i < table_native_lines; i++) {
		if (!strcmp(table_native[i].cpuid, bit))
			return true;
	}
	for (unsigned i = 0; i < table_system_lines; i++) {
		if (!strcmp(table_system[i].cpuid, bit))
			return true;
	}
	return false;
}

/* Bits whose instructions are forms of lines named for an older bit. */
static bool forms_only(const char *bit)
{
	return !strcmp(bit, "vaes") || !strcmp(bit, "vpclmulqdq") || !strcmp(bit, "avx512vl") ||
	       !strcmp(bit, "avx512_vnni");
}

void check_announced(void)
{
	check_lines(table_integer, table_integer_lines);
	check_lines(table_native, table_native_lines);
	check_lines(table_system, table_system_lines);
	for (const struct feature *f = features; f->name; f++) {
		if (announced(f) && !has_line(f->name) && !forms_only(f->name))
			not_announced_fault("announced, and no line of the table", f->name);
	}
}
