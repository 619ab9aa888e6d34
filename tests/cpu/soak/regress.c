/* SPDX-License-Identifier: MIT */
/*
 * soak/regress.c: a case as a line of text, and the smallest case that still differs.
 *
 * A line: MODE BYTES and then what is not zero: rax=.. rflags=.. fs=.. gs=.. (bases in 64-bit mode;
 * else selectors, es=.. and ds=.. too where they are not the mode's own) x[OFFSET]=.. (a quadword of
 * the XSAVE image) m[OFFSET]=.. (of memory); all numbers hexadecimal.
 */
#include <stdio.h>
#include <stdlib.h>

#include "soak.h"

static const struct {
	const char *name;
	enum segreg s;
} segments[] = {{"es", SEG_ES}, {"ds", SEG_DS}, {"fs", SEG_FS}, {"gs", SEG_GS}};

/* What a segment register holds when the line does not say. */
static u16 own_selector(enum soak_mode m, enum segreg s)
{
	return s == SEG_ES || s == SEG_DS ? soak_data_selector(m) : 0;
}

static const char *const reg_name[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
					 "rsi", "rdi", "r8",  "r9",  "r10", "r11",
					 "r12", "r13", "r14", "r15"};

static bool differs(const struct soak_case *t)
{
	static struct soak_result r;

	soak_compare(t, &r);
	return r.what != DIFF_NONE;
}

/* Zero [p, p + n) of the case in smaller and smaller parts, as long as it still differs. */
static void zero_parts(struct soak_case *t, u8 *p, size_t n)
{
	static u8 saved[SOAK_DATA_SIZE];
	bool zero = true;

	for (size_t i = 0; i < n && zero; i++)
		zero = !p[i];
	if (zero)
		return;
	memcpy(saved, p, n);
	memset(p, 0, n);
	if (differs(t))
		return;
	memcpy(p, saved, n);
	if (n <= 8)
		return;
	zero_parts(t, p, n / 16 * 8);
	zero_parts(t, p + n / 16 * 8, n - n / 16 * 8);
}

static void try_own_selector(struct soak_case *t, enum segreg s)
{
	u16 was = t->s.sel[s];

	t->s.sel[s] = own_selector(t->mode, s);
	if (was != t->s.sel[s] && !differs(t))
		t->s.sel[s] = was;
}

static void try_value(struct soak_case *t, u64 *at, u64 v)
{
	u64 was = *at;

	*at = v;
	if (was != v && !differs(t))
		*at = was;
}

void regress_shrink(struct soak_case *t)
{
	u64 start[2] = {t->s.fs_base, t->s.gs_base};

	if (!differs(t))
		return; /* not reproducible: leave it as it was drawn */
	zero_parts(t, t->mem, sizeof(t->mem));
	zero_parts(t, t->s.xsave + 576, sizeof(t->s.xsave) - 576);
	zero_parts(t, t->s.xsave + 32, 384);
	try_value(t, (u64 *)(t->s.xsave + 24), 0x1f80);
	try_value(t, (u64 *)t->s.xsave, 0x037f);
	for (unsigned i = 0; i < 16; i++) {
		try_value(t, &t->s.reg[i], 0);
		if (t->s.reg[i])
			try_value(t, &t->s.reg[i], (u32)t->s.reg[i] & 0xff);
	}
	try_value(t, &t->s.rflags, FL_FIXED | FL_IF);
	for (unsigned i = 0; i < ARRAY_SIZE(segments); i++)
		try_own_selector(t, segments[i].s);
	if (start[0])
		try_value(t, &t->s.fs_base, 0);
	if (start[1])
		try_value(t, &t->s.gs_base, 0);
}

static int put_words(char *out, size_t size, const char *name, const u8 *p, size_t n)
{
	size_t len = 0;

	for (size_t i = 0; i < n && len + 64 < size; i += 8) {
		u64 v;

		memcpy(&v, p + i, 8);
		if (v)
			len += (size_t)snprintf(out + len, size - len, " %s[%zx]=%lx", name, i,
						v);
	}
	return (int)len;
}

void regress_print(const struct soak_case *t, char *out, size_t size)
{
	size_t len = (size_t)snprintf(out, size, "%s ", soak_mode_name[t->mode]);

	for (unsigned i = 0; i < t->i.length; i++)
		len += (size_t)snprintf(out + len, size - len, "%02x", t->bytes[i]);
	for (unsigned i = 0; i < 16; i++) {
		if (t->s.reg[i])
			len += (size_t)snprintf(out + len, size - len, " %s=%lx", reg_name[i],
						t->s.reg[i]);
	}
	len += (size_t)snprintf(out + len, size - len, " rflags=%lx", t->s.rflags);
	if (t->s.fs_base)
		len += (size_t)snprintf(out + len, size - len, " fs=%lx", t->s.fs_base);
	if (t->s.gs_base)
		len += (size_t)snprintf(out + len, size - len, " gs=%lx", t->s.gs_base);
	for (unsigned i = 0; i < ARRAY_SIZE(segments); i++) {
		u16 sel = t->s.sel[segments[i].s];

		if (sel != own_selector(t->mode, segments[i].s))
			len += (size_t)snprintf(out + len, size - len, " %s=%x", segments[i].name,
						sel);
	}
	len += (size_t)put_words(out + len, size - len, "x", t->s.xsave, sizeof(t->s.xsave));
	put_words(out + len, size - len, "m", t->mem, sizeof(t->mem));
}

static bool parse_bytes(const char *s, u8 *bytes)
{
	unsigned n = 0, v;

	memset(bytes, 0xcc, 15);
	for (; n < 15 && sscanf(s + 2 * n, "%2x", &v) == 1; n++)
		bytes[n] = (u8)v;
	return n;
}

static bool parse_word(const char *s, struct soak_case *t)
{
	unsigned long at, v;

	if (sscanf(s, "x[%lx]=%lx", &at, &v) == 2 && at + 8 <= sizeof(t->s.xsave)) {
		memcpy(t->s.xsave + at, &v, 8);
		return true;
	}
	if (sscanf(s, "m[%lx]=%lx", &at, &v) == 2 && at + 8 <= sizeof(t->mem)) {
		memcpy(t->mem + at, &v, 8);
		return true;
	}
	if (sscanf(s, "rflags=%lx", &t->s.rflags) == 1)
		return true;
	if (t->mode == SOAK_64 && (sscanf(s, "fs=%lx", &t->s.fs_base) == 1 ||
				   sscanf(s, "gs=%lx", &t->s.gs_base) == 1))
		return true;
	for (unsigned i = 0; i < ARRAY_SIZE(segments); i++) {
		if (!strncmp(s, segments[i].name, 2) && s[2] == '=')
			return sscanf(s + 3, "%hx", &t->s.sel[segments[i].s]) == 1;
	}
	for (unsigned i = 0; i < 16; i++) {
		size_t n = strlen(reg_name[i]);

		if (!strncmp(s, reg_name[i], n) && s[n] == '=')
			return sscanf(s + n + 1, "%lx", &t->s.reg[i]) == 1;
	}
	return false;
}

/* A case that was met on a host with more components is one without them here. */
static void drop_other_components(struct soak_case *t)
{
	u64 bv;

	memcpy(&bv, t->s.xsave + 512, sizeof(bv));
	bv &= host_xmask;
	memcpy(t->s.xsave + 512, &bv, sizeof(bv));
}

bool regress_parse(const char *line, struct soak_case *t)
{
	char *copy = strdup(line), *save = NULL, *word;
	bool ok = copy;

	memset(t, 0, sizeof(*t));
	word = ok ? strtok_r(copy, " \n", &save) : NULL;
	ok = word && !strcmp(word, "64");
	for (enum soak_mode m = 0; word && m < SOAK_MODES; m++) {
		if (!strcmp(word, soak_mode_name[m])) {
			t->mode = m;
			ok = true;
		}
	}
	word = ok ? strtok_r(NULL, " \n", &save) : NULL;
	ok = word && parse_bytes(word, t->bytes);
	t->s.rip = SOAK_CODE - soak_segment_base(t->mode);
	for (unsigned i = 0; i < ARRAY_SIZE(segments); i++)
		t->s.sel[segments[i].s] = own_selector(t->mode, segments[i].s);
	while (ok && (word = strtok_r(NULL, " \n", &save)))
		ok = parse_word(word, t);
	free(copy);
	drop_other_components(t);
	if (ok && !forms_decode(t)) {
		memset(&t->i, 0, sizeof(t->i));
		t->i.length = sizeof(t->bytes);
	}
	return ok;
}

bool regress_needs_ldt(const struct soak_case *t)
{
	u16 any = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(segments); i++)
		any |= t->s.sel[segments[i].s];
	return t->mode == SOAK_16 || (any & 4);
}
