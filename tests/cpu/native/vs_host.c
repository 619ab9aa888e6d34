/* SPDX-License-Identifier: MIT */
/*
 * tests/cpu/native/vs_host.c: every encoding that decodes to a mnemonic of table_native, with
 * random registers and memory, through native/ and on the host itself: all registers, flags, MXCSR,
 * x87 state and memory must agree, and so must the exceptions.
 *
 * usage: native_vs_host [instances per encoding [seed [bytes of code cache]]]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "../random.h"
#include "cpu/cpu.h"
#include "cpu/native/native.h"
#include "cpu/native/stub.h"
#include "cpu/native/xstate.h"
#include "cpu/table/features.h"
#include "cpu/table/vendor.h"
#include "fake_cpu.h"
#include "host_run.h"

#define MAX_SHOWN 20
#define COVERING  100 /* rounds after which everything has been executed */

static u8 *mem; /* two pages, then one that is not there */
static struct cpu *c;
static bool compat; /* 32-bit code */
static unsigned ran[ZYDIS_MNEMONIC_MAX_VALUE + 1];
/* Forms of it were drawn that this host has, or has not. */
static bool drawn[2][ZYDIS_MNEMONIC_MAX_VALUE + 1];
static unsigned long total, raised, failed, refused;

/* The vCPU's vector and x87 state as the host's. */
static void save_for_host(struct host_state *s, u64 bv)
{
	cpu_get_xsave(c, s->xsave, sizeof(s->xsave));
	memcpy(s->xsave + 512, &bv, 8);
}

/* A random state, in the vCPU and for the host. */
static void random_state(struct host_state *s)
{
	u8 area[4096] __attribute__((aligned(64))) = {0};
	u64 bv = host_run_xmask();
	u32 mxcsr = random_mxcsr();

	random_x87(area);
	memcpy(area + 24, &mxcsr, 4);
	random_bytes(area + 160, 256);
	for (enum xcomp x = XC_AVX; x < NR_XCOMP; x++) {
		if (host_run_xmask() & XMASK(x))
			random_bytes(area + xcomp_offset(x), xcomp_size(x));
	}
	if (!(rnd() % 8)) /* some components in their initial state */
		bv &= rnd();
	memcpy(area + 512, &bv, 8);
	if (cpu_set_xsave(c, area, sizeof(area)))
		abort();
	save_for_host(s, bv);
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = c->reg[i] = compat ? (u32)rnd_value() : rnd_value();
	s->flags = (rnd() & FL_STATUS) | FL_FIXED | FL_IF;
	c->af = af_from_rflags(s->flags);
}

/*
 * FIP or FDP. What AMD's processors make of the upper bits of one in an image that is not canonical is
 * each model's own (APM vol. 5, FXRSTOR).
 */
static bool same_pointer(const u8 *guest, const u8 *host, bool amd)
{
	bool canonical;
	u64 g;

	memcpy(&g, guest, 8);
	canonical = (u64)((s64)(g << 16) >> 16) == g;
	return !memcmp(guest, host, amd && !canonical ? 6 : 8);
}

/* The x87 part of the legacy region; what the host does not store, it does not show either. */
static bool same_x87(const u8 *g, const u8 *h)
{
	bool amd = vendor_of_host() == VENDOR_AMD;
	const u16 es = 0x80;
	u16 fsw;

	if (memcmp(g, h, 6) || memcmp(g + 32, h + 32, 128))
		return false;
	memcpy(&fsw, h + 2, 2);
	if (vendor_does(vendor_of_host(), FACT_FP_POINTERS) && !(fsw & es))
		return true;
	return !memcmp(g + 6, h + 6, 2) && same_pointer(g + 8, h + 8, amd) &&
	       same_pointer(g + 16, h + 16, amd);
}

/* The first 160 bytes of a legacy region, where they are not the same. */
static void print_x87(const u8 *g, const u8 *h)
{
	for (unsigned i = 0; i < 160; i += 8) {
		u64 a, b;

		memcpy(&a, g + i, 8);
		memcpy(&b, h + i, 8);
		if (a != b)
			printf("byte %u: host %016lx userkvm %016lx\n", i, b, a);
	}
}

static bool same_state(const struct host_state *s, const char **what)
{
	u8 area[4096];

	cpu_get_xsave(c, area, sizeof(area));
	for (unsigned i = 0; i < 16; i++) {
		/* Outside 64-bit mode upper halves are undefined (SDM vol. 1, 3.4.1.1). */
		if (i != RSP && ((s->gpr[i] ^ c->reg[i]) & c->ea_mask)) {
			*what = "general register";
			return false;
		}
	}
	*what = "flags";
	if ((cpu_rflags(c) ^ s->flags) & FL_STATUS)
		return false;
	*what = "x87";
	if (!same_x87(area, s->xsave)) {
		print_x87(area, s->xsave);
		return false;
	}
	*what = "mxcsr";
	if (memcmp(area + 24, s->xsave + 24, 4))
		return false;
	*what = "xmm";
	if (memcmp(area + 160, s->xsave + 160, 256))
		return false;
	*what = "ymm, zmm, k";
	return !memcmp(area + 576, s->xsave + 576, cpu_xsave_size() - 576);
}

static void show(const char *what, const struct decoder *d)
{
	ZydisFormatter f;
	char text[128];

	if (failed++ >= MAX_SHOWN)
		return;
	ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
	ZydisFormatterFormatInstruction(&f, &d->i, d->o, d->i.operand_count_visible, text,
					sizeof(text), 0, NULL);
	printf("differs (%s):", what);
	for (unsigned i = 0; i < d->i.length; i++)
		printf(" %02x", d->bytes[i]);
	printf("  %s\n", text);
}

static bool uses_rsp(const struct decoder *d)
{
	for (unsigned i = 0; i < d->i.operand_count; i++) {
		if (d->o[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    (ZydisRegisterGetClass(d->o[i].reg.value) == ZYDIS_REGCLASS_GPR32 ||
		     ZydisRegisterGetClass(d->o[i].reg.value) == ZYDIS_REGCLASS_GPR64) &&
		    ZydisRegisterGetId(d->o[i].reg.value) == RSP)
			return true;
	}
	return false;
}

/* What a host signal means to a guest. */
static bool same_exception(int sig, enum fake_end e)
{
	switch (sig) {
	case SIGILL:
		return e == FAKE_RAISED && fake_vector == VEC_UD;
	case SIGFPE:
		return e == FAKE_RAISED && (fake_vector == VEC_XM || fake_vector == VEC_MF);
	case SIGSEGV:
		return e == FAKE_DIED || (e == FAKE_RAISED && fake_vector == VEC_GP);
	default:
		return false;
	}
}

/* RBX points at the operand: anywhere, aligned, or so that it ends at the end of memory. */
static void place_operand(struct host_state *s, const struct decoder *d)
{
	u64 at = (u64)mem + PAGE_SIZE - 256 + rnd() % 256;

	switch (rnd() % 8) {
	case 0:
		at = (u64)mem + PAGE_SIZE - 256 + rnd() % 320;
		break;
	case 1: /* masked elements may lie beyond */
		at = (u64)mem + 2 * PAGE_SIZE - 1 - rnd() % 64;
		if (rnd() % 2)
			at &= ~3ULL;
		break;
	default:
		at &= ~63ULL;
		break;
	}
	s->gpr[RBX] = c->reg[RBX] = at;
	if (strstr(ZydisMnemonicGetString(d->i.mnemonic), "maskmov"))
		s->gpr[RDI] = c->reg[RDI] = at;
}

/* Index registers of gathers and scatters reach the operand's page. */
static void place_indices(struct host_state *s, const struct decoder *d)
{
	for (unsigned i = 0; i < d->i.operand_count; i++) {
		const ZydisDecodedOperand *o = &d->o[i];
		bool q = strchr(ZydisMnemonicGetString(d->i.mnemonic) + 8, 'q');

		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.type != ZYDIS_MEMOP_TYPE_VSIB)
			continue;
		for (unsigned j = 0; j < 64; j += q ? 8 : 4) {
			s64 v = (s64)(rnd() % 64) - 32;

			memcpy(c->v[ZydisRegisterGetId(o->mem.index)].b + j, &v, q ? 8 : 4);
		}
		c->reg[RBX] = s->gpr[RBX] = (u64)mem + PAGE_SIZE - rnd() % 64;
		save_for_host(s, host_run_xmask());
	}
}

/* An image for RBX to point at; EDX:EAX asks for what both sides know. */
static void place_image(struct host_state *s, bool xsave)
{
	u8 *p = mem + 64;

	random_image(p, 4096, xsave, host_run_xmask());
	c->reg[RBX] = s->gpr[RBX] = (u64)p + (rnd() % 8 ? 0 : rnd() % 64 | 1);
	c->reg[RAX] = s->gpr[RAX] &= host_run_xmask();
	c->reg[RDX] = s->gpr[RDX] = 0;
}

/* Not for a test in user mode, or known to depend on the host's own XCR0. */
static bool untestable(ZydisMnemonic m)
{
	const char *name = ZydisMnemonicGetString(m);

	return !strcmp(name, "xgetbv") || !strcmp(name, "xsetbv") || !strncmp(name, "xsaves", 6) ||
	       !strncmp(name, "xrstors", 7);
}

static void place_tlb(void)
{
	fake_tlb_clear(c);
	fake_bounce = false;
	switch (rnd() % 4) {
	case 0:
		break;
	case 1:
		fake_bounce = true;
		break;
	default:
		fake_tlb_fill(c, mem, 2 * PAGE_SIZE);
		break;
	}
}

static void try(const u8 *bytes)
{
	static u8 before[2 * PAGE_SIZE], after[2 * PAGE_SIZE];
	struct host_state s __attribute__((aligned(64)));
	u64 rip = host_run_address();
	const char *what = "";
	struct decoder d;
	enum fake_end e;
	bool xsave, can;
	struct op op;
	int sig;

	random_state(&s);
	can = fake_decode(c, &d, &op, bytes, rip);
	drawn[feature_runs(&d.i)][d.i.mnemonic] = true;
	if (!can) {
		refused += d.i.mnemonic && fake_table(d.i.mnemonic);
		return;
	}
	if (uses_rsp(&d) || untestable(d.i.mnemonic))
		return;
	place_operand(&s, &d);
	place_tlb();
	place_indices(&s, &d);
	random_bytes(mem + PAGE_SIZE - 512, 1024);
	random_bytes(mem + 2 * PAGE_SIZE - 512, 512);
	if (is_state_image(d.i.mnemonic, &xsave))
		place_image(&s, xsave);
	memcpy(before, mem, sizeof(before));
	sig = host_run(&s, d.bytes, d.i.length, compat);
	memcpy(after, mem, sizeof(after));
	memcpy(mem, before, sizeof(before));
	e = fake_execute(c, &op, rip);
	total++;
	/* Of a #PF and a #XM of one instruction either may come first. */
	if (sig == SIGFPE && e == FAKE_DIED)
		return;
	/* A store of no byte at a bad address may fault or not. */
	if (sig == SIGSEGV && strstr(ZydisMnemonicGetString(d.i.mnemonic), "maskmov"))
		return;
	if (sig) {
		raised++;
		if (!same_exception(sig, e))
			show(sig == SIGSEGV ? "SIGSEGV" : sig == SIGILL ? "SIGILL" : "SIGFPE", &d);
		return;
	}
	ran[d.i.mnemonic]++;
	if (e == FAKE_DIED && (s.xsave[2] & 0x80))
		return; /* an x87 store that ended in an unmasked exception touches no memory */
	if (e != FAKE_DONE)
		show(e == FAKE_DIED ? "died" : "raised", &d);
	else if (memcmp(mem, after, sizeof(after)))
		show("memory", &d);
	else if (!same_state(&s, &what))
		show(what, &d);
}

/* ModRM (and what follows): registers, or [rbx + small]. */
static void put_tail(u8 *b, unsigned at, bool memory, bool vsib)
{
	u8 modrm = (u8)rnd();

	if (memory)
		modrm = (modrm & 0x38) | (rnd() % 8 ? 3 : 4) | (rnd() % 2 ? 0x40 : 0);
	else
		modrm |= 0xc0;
	b[at++] = modrm;
	if (memory && (modrm & 7) == 4) /* SIB: base RBX; an index makes sense for VSIB only */
		b[at++] = (u8)(3 | (vsib ? rnd() & 0xf8 : 0x20));
	if ((modrm >> 6) == 1)
		b[at++] = 0;
	while (at < 15)
		b[at++] = (u8)rnd();
}

/* Gathers and scatters: 0F38 90 to 93 and A0 to A3. */
static bool is_vsib(unsigned map, u8 opcode)
{
	return map == 2 && ((opcode & 0xfc) == 0x90 || (opcode & 0xfc) == 0xa0);
}

static void try_legacy(u8 opcode, unsigned map, unsigned prefix, unsigned w, bool memory)
{
	static const u8 prefixes[] = {0, 0x66, 0xf2, 0xf3};
	u8 b[15];
	unsigned n = 0;

	if (!map && (opcode == 0x38 || opcode == 0x3a)) /* the way into the other maps */
		return;
	if (prefix)
		b[n++] = prefixes[prefix];
	/* REX.B stays 0 with memory so that the base is RBX. */
	if (!compat && (w || rnd() % 2))
		b[n++] = (u8)(0x40 | w << 3 | (rnd() & (memory ? 4 : 7)));
	b[n++] = 0x0f;
	if (map)
		b[n++] = map == 1 ? 0x38 : 0x3a;
	b[n++] = opcode;
	put_tail(b, n, memory, false);
	try(b);
}

static void try_x87(u8 opcode, u8 modrm)
{
	u8 b[15] = {opcode, modrm};

	if (modrm < 0xc0)
		b[1] = (modrm & 0x38) | 3;
	try(b);
}

static void try_vex(u8 opcode, unsigned map, unsigned pp, unsigned w, unsigned l, bool memory)
{
	u8 b[15] = {0xc4};

	b[1] = (u8)((rnd() & (memory ? 0x80 : 0xe0)) | (memory ? 0x60 : 0) | map);
	b[2] = (u8)(w << 7 | (rnd() % 2 ? 15 : rnd() & 15) << 3 | l << 2 | pp);
	if (compat)
		b[1] |= 0xc0; /* else it is LES */
	b[3] = opcode;
	put_tail(b, 4, memory, is_vsib(map, opcode));

	try(b);
}

static void try_evex(u8 opcode, unsigned map, unsigned pp, unsigned w, unsigned lb, bool memory)
{
	u8 b[15] = {0x62};

	b[1] = (u8)((rnd() & (memory ? 0x90 : 0xf0)) | (memory ? 0x60 : 0) | map);
	b[2] = (u8)(w << 7 | (rnd() % 2 ? 15 : rnd() & 15) << 3 | 4 | pp);
	b[3] = (u8)((rnd() & 0x80) | lb << 4 | (rnd() % 4 ? 8 : 0) | (rnd() % 2 ? rnd() & 7 : 0));
	if (!(b[3] & 7))
		b[3] &= 0x7f;
	if (compat) {
		b[1] |= 0xd0;
		b[3] |= 8;
	}
	b[4] = opcode;
	put_tail(b, 5, memory, is_vsib(map, opcode));
	try(b);
}

static void try_fwait(void)
{
	static const u8 b[15] = {0x9b};

	try(b);
}

static void round_of_all(void)
{
	static const u8 evex_maps[] = {1, 2, 3, 5, 6};

	for (unsigned i = 0; i < 16; i++)
		try_fwait();
	for (unsigned op = 0; op < 256; op++) {
		/* Groups of state images and gathers: few encodings, many cases. */
		for (unsigned i = 0; i < 64 && (op == 0xae || op == 0xc7); i++)
			try_legacy((u8)op, 0, 0, i % 2, true);
		for (unsigned i = 0; i < 32 && op == 0xae; i++)
			try_vex((u8)op, 1, 0, 0, 0, true);
		for (unsigned i = 0; i < 32 && is_vsib(2, (u8)op); i++) {
			try_vex((u8)op, 2, 1, i % 2, i / 2 % 2, true);
			try_evex((u8)op, 2, 1, i % 2, i / 2 % 4 * 2, true);
		}
		for (unsigned v = 0; v < 3 * 4 * 2 * 2; v++)
			try_legacy((u8)op, v % 3, v / 3 % 4, v / 12 % 2, v / 24);
		for (unsigned v = 0; v < 3 * 4 * 2 * 2 * 2; v++)
			try_vex((u8)op, 1 + v % 3, v / 3 % 4, v / 12 % 2, v / 24 % 2, v / 48);
		for (unsigned v = 0; v < 5 * 4 * 2 * 8 * 2; v++)
			try_evex((u8)op, evex_maps[v % 5], v / 5 % 4, v / 20 % 2, v / 40 % 8,
				 v / 320);
		for (unsigned esc = 0xd8; esc <= 0xdf; esc++) {
			for (unsigned i = 0; i < 4; i++)
				try_x87((u8)esc, (u8)op);
		}
	}
}

static void set_compat(bool on)
{
	compat = on;
	c->mode = on ? MODE_COMPAT32 : MODE_LONG;
	c->key = (c->key & ~(u32)BLOCK_KEY_MODE) | c->mode;
	c->ea_mask = on ? 0xffffffff : ~0ULL;
}

/* Mnemonics of the table that this host has and that were never executed. */
static unsigned show_holes(void)
{
	unsigned holes = 0;

	for (unsigned i = 0; i < table_native_lines; i++) {
		ZydisMnemonic m = table_native[i].mnemonic;
		const struct feature *f = feature_find(table_native[i].cpuid);

		if (ran[m] || untestable(m) || (f && !feature_on_host(f)))
			continue;
		/* A line's bit is that of its first form: VGF2P8MULB has AVX's, and needs GFNI. */
		if (drawn[false][m] && !drawn[true][m])
			continue;
		printf(" %s", ZydisMnemonicGetString(m));
		holes++;
	}
	return holes;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	unsigned holes;
	int r;

	if (argc > 3)
		native_code_limit = strtoul(argv[3], NULL, 0);
	if (argc > 2)
		random_seed = strtoull(argv[2], NULL, 0) | 1;
	r = host_run_init();
	if (r == -ENOTSUP) {
		printf("skip: the host lacks XSAVE\n");
		return 77;
	}
	if (r || native_init())
		return 1;
	mem = mmap(NULL, 3 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (mem == MAP_FAILED || mprotect(mem + 2 * PAGE_SIZE, PAGE_SIZE, PROT_NONE))
		return 1;
	c = fake_cpu_create();
	for (unsigned i = 0; i < rounds; i++) {
		set_compat(i % 4 == 1);
		round_of_all();
	}
	printf("never executed:");
	holes = show_holes();
	printf("\n%lu instructions, %lu raised, %lu refused, %u mnemonics never executed, "
	       "%lu differ\n", total, raised, refused, holes, failed);
	return failed || (holes && rounds >= COVERING);
}
