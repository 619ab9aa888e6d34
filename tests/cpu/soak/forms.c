/* SPDX-License-Identifier: MIT */
/*
 * soak/forms.c: the opcode space turned around: for each table line and mode the encodings that
 * lead to it, so that every line is as likely as any other.
 */
#include <stdlib.h>

#include "../lines.h"
#include "../opcodes.h"
#include "../random.h"
#include "cpu/native/xstate.h"
#include "cpu/table/features.h"
#include "cpu/table/vendor.h"
#include "soak.h"

#define KEEP 48 /* encodings of a mnemonic in a mode; of more, a random choice */

const char *const soak_mode_name[SOAK_MODES] = {"64", "32", "16"};

static struct {
	struct opcode_form form[KEEP];
	unsigned n, seen;
} * found[SOAK_MODES];
static ZydisDecoder decoder[SOAK_MODES];

const char *soak_not_compared(unsigned mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_XGETBV:
		return "the guest's answer is its own";
	case ZYDIS_MNEMONIC_RDTSC:
	case ZYDIS_MNEMONIC_RDTSCP:
	case ZYDIS_MNEMONIC_RDPID:
		return "the host's time or processor number";
	case ZYDIS_MNEMONIC_RDRAND:
	case ZYDIS_MNEMONIC_RDSEED:
		return "random by nature";
	case ZYDIS_MNEMONIC_SGDT:
	case ZYDIS_MNEMONIC_SIDT:
	case ZYDIS_MNEMONIC_SLDT:
	case ZYDIS_MNEMONIC_SMSW:
	case ZYDIS_MNEMONIC_STR:
		return "Linux emulates it where UMIP forbids it";
	case ZYDIS_MNEMONIC_SYSCALL:
	case ZYDIS_MNEMONIC_SYSENTER:
		return "calls the host's kernel";
	case ZYDIS_MNEMONIC_VMCALL:
	case ZYDIS_MNEMONIC_VMMCALL:
		return "calls the host's hypervisor";
	case ZYDIS_MNEMONIC_MONITOR:
	case ZYDIS_MNEMONIC_MWAIT:
		return "does nothing at any privilege, as in KVM";
	default:
		return NULL;
	}
}

bool soak_privileged(unsigned mnemonic)
{
	static const ZydisMnemonic privileged[] = {
		ZYDIS_MNEMONIC_INSB,	 ZYDIS_MNEMONIC_INSW,	   ZYDIS_MNEMONIC_INSD,
		ZYDIS_MNEMONIC_OUTSB,	 ZYDIS_MNEMONIC_OUTSW,	   ZYDIS_MNEMONIC_OUTSD,
		ZYDIS_MNEMONIC_IN,	 ZYDIS_MNEMONIC_OUT,	   ZYDIS_MNEMONIC_CLI,
		ZYDIS_MNEMONIC_STI,	 ZYDIS_MNEMONIC_CLAC,	   ZYDIS_MNEMONIC_STAC,
		ZYDIS_MNEMONIC_CLTS,	 ZYDIS_MNEMONIC_HLT,	   ZYDIS_MNEMONIC_INVD,
		ZYDIS_MNEMONIC_WBINVD,	 ZYDIS_MNEMONIC_INVLPG,	   ZYDIS_MNEMONIC_INVPCID,
		ZYDIS_MNEMONIC_LGDT,	 ZYDIS_MNEMONIC_LIDT,	   ZYDIS_MNEMONIC_LLDT,
		ZYDIS_MNEMONIC_LTR,	 ZYDIS_MNEMONIC_LMSW,	   ZYDIS_MNEMONIC_RDMSR,
		ZYDIS_MNEMONIC_WRMSR,	 ZYDIS_MNEMONIC_RDPMC,	   ZYDIS_MNEMONIC_SWAPGS,
		ZYDIS_MNEMONIC_SYSEXIT,	 ZYDIS_MNEMONIC_SYSRET,	   ZYDIS_MNEMONIC_XSAVES,
		ZYDIS_MNEMONIC_XSAVES64, ZYDIS_MNEMONIC_XRSTORS,   ZYDIS_MNEMONIC_XRSTORS64,
		ZYDIS_MNEMONIC_XSETBV,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(privileged); i++) {
		if (privileged[i] == mnemonic)
			return true;
	}
	return false;
}

static bool line_on_host[SOAK_MAX_LINES];

static bool has(const char *name)
{
	const struct feature *f = feature_find(name);

	return !f || feature_on_host(f);
}

bool forms_line_on_host(unsigned line)
{
	return line_on_host[line];
}

/* Forms of one mnemonic belong to several bits. Hints do nothing where their bit is not set. */
static bool form_on_host(const ZydisDecodedInstruction *i)
{
	return i->meta.isa_set == ZYDIS_ISA_SET_PREFETCHWT1 || feature_runs(i);
}

u64 forms_xmask(void)
{
	return xstate_host_components();
}

bool forms_decode(struct soak_case *t)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder[t->mode], t->bytes,
						   sizeof(t->bytes), &t->i, t->o));
}

/* SYSCALL or SYSENTER, if only to some processors. */
bool forms_calls_kernel(const struct soak_case *t)
{
	switch (t->i.mnemonic) {
	case ZYDIS_MNEMONIC_SYSCALL:
	case ZYDIS_MNEMONIC_SYSENTER:
		return true;
	case ZYDIS_MNEMONIC_INVALID:
		return memmem(t->bytes, sizeof(t->bytes), "\x0f\x05", 2) ||
		       memmem(t->bytes, sizeof(t->bytes), "\x0f\x34", 2);
	default:
		return false;
	}
}

static void keep(const struct opcode_form *f, void *arg)
{
	enum soak_mode m = *(enum soak_mode *)arg;
	ZydisDecodedInstruction i;
	u8 b[15] = {0};
	unsigned at;

	if (!opcode_example(f, m == SOAK_64, b) ||
	    !ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder[m], NULL, b, sizeof(b), &i)) ||
	    !table_find(i.mnemonic) || !form_on_host(&i))
		return;
	at = found[m][i.mnemonic].seen++;
	if (at >= KEEP)
		at = (unsigned)(rnd() % (at + 1));
	if (at >= KEEP)
		return;
	found[m][i.mnemonic].form[at] = *f;
	if (found[m][i.mnemonic].n < KEEP)
		found[m][i.mnemonic].n++;
}

void forms_collect(void)
{
	static const struct {
		ZydisMachineMode mode;
		ZydisStackWidth stack;
	} d[] = {
		[SOAK_64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
		[SOAK_32] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32},
		[SOAK_16] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16},
	};

	for (enum soak_mode m = 0; m < SOAK_MODES; m++) {
		ZydisDecoderInit(&decoder[m], d[m].mode, d[m].stack);
		ZydisDecoderEnableMode(&decoder[m], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		ZydisDecoderEnableMode(&decoder[m], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&decoder[m], ZYDIS_DECODER_MODE_AMD_BRANCHES,
				       vendor_does(vendor_of_host(), FACT_NEAR_16));
		found[m] = calloc(ZYDIS_MNEMONIC_MAX_VALUE + 1, sizeof(*found[m]));
		if (!found[m])
			abort();
		opcode_walk(keep, &m);
	}
	for (unsigned l = 0; l < table_nr_lines(); l++) {
		unsigned mn = table_line(l)->mnemonic;

		line_on_host[l] = has(table_line(l)->cpuid) &&
				  found[SOAK_64][mn].n + found[SOAK_32][mn].n + found[SOAK_16][mn].n;
	}
}

/* Prefixes before the mandatory one. */
static unsigned put_prefixes(struct soak_case *t, bool legacy)
{
	static const u8 segment[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
	unsigned n = 0;

	if (rnd() % 8 == 0)
		t->bytes[n++] = segment[rnd() % ARRAY_SIZE(segment)];
	if (rnd() % 16 == 0)
		t->bytes[n++] = 0x67;
	if (legacy && rnd() % 8 == 0)
		t->bytes[n++] = 0xf0;
	if (legacy && rnd() % 32 == 0)
		t->bytes[n++] = 0x66;
	return n;
}

bool forms_draw(struct soak_case *t, unsigned mnemonic)
{
	const struct opcode_form *from;
	struct opcode_fill fill = {.long_mode = t->mode == SOAK_64};
	struct opcode_form f;
	u64 r = rnd();
	unsigned n;

	if (!found[t->mode][mnemonic].n)
		return false;
	from = &found[t->mode][mnemonic].form[rnd() % found[t->mode][mnemonic].n];
	f = *from;
	fill.rxb = r & 7;
	fill.r2 = (r >> 3) & 1;
	fill.vvvv = (r >> 4) & 3 ? (r >> 6) & 15 : 0;
	fill.v2 = (r >> 10) & 3 ? 0 : (r >> 12) & 1;
	fill.aaa = (r >> 13) & 1 ? (r >> 14) & 7 : 0;
	fill.z = fill.aaa && ((r >> 17) & 1);
	fill.rex = (r >> 18) & 1;
	/* Other operands in the same fields: rm, reg, addressing. Undone where they are opcode.
	 */
	if (f.modrm >= 0xc0)
		f.modrm = (f.modrm & 0xf8) | (rnd() & 7);
	else
		f.modrm = (u8)((f.modrm & 0x38) | (rnd() % 3) << 6 | (rnd() & 7));
	if (rnd() % 2)
		f.modrm = (u8)((f.modrm & 0xc7) | (rnd() & 0x38));
	for (unsigned attempt = 0; attempt < 4; attempt++) {
		n = put_prefixes(t, f.kind == OPCODE_LEGACY);
		n += opcode_put(attempt & 1 ? from : &f, &fill, t->bytes + n);
		while (n < sizeof(t->bytes))
			t->bytes[n++] = (u8)rnd();
		if (forms_decode(t) && t->i.mnemonic == mnemonic && form_on_host(&t->i))
			return true;
	}
	return false;
}

/* A byte more in front or a bit turned. */
static void mutate(struct soak_case *t, unsigned *len)
{
	static const u8 prefix[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e,
				    0x64, 0x65, 0x40, 0x44, 0x48, 0x4f};
	unsigned at = rnd() % *len;

	if (rnd() % 2) {
		t->bytes[at] ^= (u8)(1u << rnd() % 8);
		return;
	}
	at = rnd() % 4 ? 0 : at;
	memmove(t->bytes + at + 1, t->bytes + at, sizeof(t->bytes) - at - 1);
	t->bytes[at] = prefix[rnd() % ARRAY_SIZE(prefix)];
	*len += *len < sizeof(t->bytes);
}

bool forms_mutate(struct soak_case *t)
{
	unsigned len = t->i.length;

	for (unsigned n = rnd() % 3 + 1; n; n--)
		mutate(t, &len);
	/* Were it shorter to one side, it would end behind it. */
	memset(t->bytes + len, 0xcc, sizeof(t->bytes) - len);
	/* 0F 01: what the prefixes leave of VMX's instructions calls the host's hypervisor. */
	if (!forms_decode(t) && memmem(t->bytes, len, "\x0f\x01", 2))
		return false;
	if (!forms_decode(t)) {
		memset(&t->i, 0, sizeof(t->i));
		t->i.length = sizeof(t->bytes);
		return true;
	}
	return table_find(t->i.mnemonic) && !soak_not_compared(t->i.mnemonic) && form_on_host(&t->i);
}
