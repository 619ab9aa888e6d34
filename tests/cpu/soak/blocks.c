/* SPDX-License-Identifier: MIT */
/*
 * soak/blocks.c: blocks of random instructions, executed by the interpreter and by the translator from
 * the same state: all state, memory, the fault that ends them and the count of instructions must be
 * the same. All generated code is disassembled, and held against the table (emitted.c). What single instructions do is compared with the host by main.c.
 *
 * Usage: cpu_blocks [-n BLOCKS] [-s SEED] [-l INSTRUCTIONS] [-i] [-3] [-0] [-t]
 * -l: at most so many a block; -i: only the interpreter's own instructions; -3: 32-bit code; -0: a
 * kernel's, with instructions of its own; -t: what is interpreted once becomes traces (translator/trace.h).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "../lines.h"
#include "../random.h"
#include "base/guard.h"
#include "soak.h"

#define MAX_INSNS  32
#define TICK_US	   500000 /* of processor time: a run that sees two of them is given up; a host may count what it takes away */
#define MAX_FOUND  8

struct block_case {
	enum soak_mode mode;
	struct soak_state s;
	u64 at; /* of the first instruction */
	u32 n;
	u8 len[MAX_INSNS];
	u8 rel_at[MAX_INSNS], rel_size[MAX_INSNS]; /* a relative branch's displacement, in bytes */
	u8 bytes[MAX_INSNS][15];
};

struct outcome {
	struct soak_state s;
	struct soak_end end;
	u64 instructions;
	u8 mem[SOAK_DATA_SIZE];
	bool wrote_code;
};

u64 host_xmask;
static u64 wanted = 100000;
static u32 max_insns = MAX_INSNS;
static bool integer_only, code32;
static u8 favourite; /* a block's base register, three bits */
static volatile u64 runs, seen_run;
static struct soak_case draw; /* its mem is every run's at its start */
static struct block_case now;
static struct outcome by[2];
static u64 stuck, faults, differing;

static void tick(int sig)
{
	if (seen_run == runs)
		guest_give_up();
	seen_run = runs;
}

static u8 code_before[SOAK_CODE_PAGES * PAGE_SIZE];

static void put_code(const struct block_case *b)
{
	u8 *p = (u8 *)b->at, *end = (u8 *)SOAK_BASE + SOAK_CODE_PAGES * PAGE_SIZE;

	memset((void *)SOAK_BASE, 0xcc, SOAK_CODE_PAGES * PAGE_SIZE);
	for (u32 i = 0; i < b->n; i++) {
		u32 n = (u32)MIN((u64)b->len[i], (u64)(end - p));

		memcpy(p, b->bytes[i], n);
		p += n;
	}
	memcpy(code_before, (void *)SOAK_BASE, sizeof(code_before));
}

/* Did the guest store into its code? */
static bool wrote_code(void)
{
	return memcmp((void *)SOAK_BASE, code_before, sizeof(code_before)) != 0;
}

/* Now and then the TLB's first level, both, or all that is known of addresses: generated code then misses. */
static void forget(u64 how)
{
	struct mmu_vcpu *v = &guest_vcpu()->mmu;

	if (how == 0)
		guest_flush_tlb();
	if (how == 1)
		v->flushes++; /* of the second level, too */
	if (how == 1 || how == 2) {
		mmu_tlb_switch(v, 1, true);
		mmu_tlb_switch(v, 0, true);
	}
}

static void run(const struct block_case *b, bool translated)
{
	struct outcome *o = &by[translated];
	u64 before;

	put_code(b);
	memcpy((void *)SOAK_DATA, draw.mem, sizeof(draw.mem));
	guest_choose(translated);
	o->s = b->s;
	before = guest_instructions();
	if (translated)
		forget(runs % 4);
	runs++;
	o->end = guest_run(&o->s, b->mode);
	o->wrote_code = wrote_code();
	o->instructions = guest_instructions() - before;
	memcpy(o->mem, (void *)SOAK_DATA, sizeof(o->mem));
}

static const char *difference(void)
{
	const struct outcome *a = &by[0], *b = &by[1];

	/*
	 * A block that stores into itself sees its new bytes from the next block on, or, where a handler
	 * did the store for generated code, from the next instruction on; a processor may do either (SDM
	 * vol. 3, "Self-Modifying Code").
	 */
	if (a->wrote_code || b->wrote_code)
		return NULL;
	if (a->end.vector != b->end.vector || a->end.error != b->end.error)
		return "end";
	if (a->end.vector == VEC_PF && a->end.cr2 != b->end.cr2)
		return "CR2";
	if (memcmp(a->s.reg, b->s.reg, sizeof(a->s.reg)))
		return "registers";
	if (a->s.rip != b->s.rip)
		return "RIP";
	if (a->s.rflags != b->s.rflags)
		return "flags";
	if (memcmp(&a->s.fs_base, &b->s.fs_base, sizeof(a->s) - offsetof(struct soak_state, fs_base)))
		return "segments or vector state";
	if (memcmp(a->mem, b->mem, sizeof(a->mem)))
		return "memory";
	return !guest_traced && a->instructions != b->instructions ? "count of instructions" : NULL;
}

/* Both; NULL: the same, or not to be compared. */
static const char *compare(const struct block_case *b)
{
	const char *what = NULL;

	run(b, false);
	guest_choose(true);
	if (by[0].end.vector == GUEST_STUCK)
		return NULL;
	/*
	 * The second time its parts lead to each other. Those of a trace are interpreted the first time, and lead to
	 * each other the third.
	 */
	for (unsigned n = 0; n < (guest_traced ? 3 : 2) && !what; n++) {
		run(b, true);
		what = by[1].end.vector == GUEST_STUCK ? "ends" : difference();
	}
	return what;
}

/* -- making one */

static bool usable(unsigned mnemonic)
{
	/* TSC, random numbers; and what waits or asks who else runs. */
	return !soak_not_compared(mnemonic) && !soak_privileged(mnemonic) &&
	       mnemonic != ZYDIS_MNEMONIC_PAUSE && mnemonic != ZYDIS_MNEMONIC_HLT;
}

/* Most operands of a block go through one register, so that they can share a look at the TLB. */
static void favour_base(struct soak_case *t)
{
	const ZydisDecodedInstructionRaw *raw = &t->i.raw;
	bool sib = raw->modrm.rm == 4;
	u8 at = sib ? raw->sib.offset : raw->modrm.offset;

	if (!(t->i.attributes & ZYDIS_ATTRIB_HAS_MODRM) || raw->modrm.mod == 3 || rnd() % 4 == 0)
		return;
	if ((sib ? raw->sib.base : raw->modrm.rm) == 5 && !raw->modrm.mod)
		return; /* no base, or RIP */
	t->bytes[at] = (u8)((t->bytes[at] & ~7) | favourite);
}

/* Displacements are near, so that most operands are there. */
static void tame(struct soak_case *t)
{
	u32 bits = t->i.raw.disp.size, at = t->i.raw.disp.offset;
	s32 d = (s32)(rnd() % 512) - 256;

	favour_base(t);
	if (bits == 32) {
		if (t->i.raw.modrm.rm == 5 && !t->i.raw.modrm.mod)
			d += t->mode == SOAK_64 ? 0x5000 : (s32)SOAK_DATA + 0x1000;
		memcpy(t->bytes + at, &d, 4);
	}
}

/*
 * Branches lead forwards, to another instruction of the block or its end: amid one there might be
 * RDTSC, and backwards there is no end.
 */
static void aim_branches(struct block_case *b)
{
	for (u32 i = 0; i < b->n; i++) {
		u32 skip = (u32)(rnd() % (b->n - i));
		s32 d = 0;

		for (u32 k = i + 1; k <= i + skip; k++)
			d += b->len[k];
		if (b->rel_size[i] == 1 && d > 127)
			d = 0;
		memcpy(b->bytes[i] + b->rel_at[i], &d, b->rel_size[i]);
	}
}

/* What compilers do with the stack pointer, with a register and a displacement to be put in. */
static void draw_stack(struct block_case *b)
{
	static const struct {
		u8 n, bytes[5], reg_at, reg_shift, disp_at;
	} form[] = {
		{1, {0x50}, 0, 0, 0},			       /* PUSH reg */
		{1, {0x58}, 0, 0, 0},			       /* POP reg */
		{1, {0x9c}, 0, 8, 0},			       /* PUSHF */
		{4, {0x48, 0x83, 0xec, 0}, 1, 8, 3},	       /* SUB RSP, d */
		{4, {0x48, 0x83, 0xc4, 0}, 1, 8, 3},	       /* ADD RSP, d */
		{3, {0x48, 0x89, 0xe5}, 1, 8, 0},	       /* MOV RBP, RSP */
		{5, {0x48, 0x8d, 0x6c, 0x24, 0}, 1, 8, 4},     /* LEA RBP, [RSP + d] */
		{5, {0x48, 0x89, 0x44, 0x24, 0}, 2, 3, 4},     /* MOV [RSP + d], reg */
		{5, {0x48, 0x8b, 0x44, 0x24, 0}, 2, 3, 4},     /* MOV reg, [RSP + d] */
		{4, {0x48, 0x01, 0x45, 0}, 2, 3, 3},	       /* ADD [RBP + d], reg */
		{1, {0xc9}, 0, 8, 0},			       /* LEAVE */
		{4, {0x48, 0x0f, 0xc7, 0x0e}, 1, 8, 0},	       /* CMPXCHG16B [RSI] */
	};
	unsigned f = (unsigned)(rnd() % ARRAY_SIZE(form));
	u8 *p = b->bytes[b->n];

	memset(p, 0, sizeof(b->bytes[0]));
	memcpy(p, form[f].bytes, form[f].n);
	if (form[f].reg_shift < 8)
		p[form[f].reg_at] |= (u8)(rnd() % 8 << form[f].reg_shift);
	if (form[f].disp_at)
		p[form[f].disp_at] = (u8)(rnd() % 16 * 8);
	b->rel_size[b->n] = b->rel_at[b->n] = 0;
	b->len[b->n++] = form[f].n;
}

/* What kernels execute all the time. */
static void draw_kernels(struct block_case *b)
{
	static const struct {
		u8 n, bytes[3];
	} form[] = {
		{1, {0xfa}},		   /* CLI */
		{1, {0xfb}},		   /* STI */
		{2, {0xfb, 0x90}},	   /* STI; NOP */
		{1, {0xfc}},		   /* CLD */
		{1, {0xfd}},		   /* STD */
		{3, {0x0f, 0x01, 0xca}},   /* CLAC */
		{3, {0x0f, 0x01, 0xcb}},   /* STAC */
		{3, {0x0f, 0x01, 0xf8}},   /* SWAPGS */
		{3, {0x0f, 0xae, 0xe8}},   /* LFENCE */
		{3, {0x0f, 0x20, 0xc0}},   /* MOV RAX, CR0 */
		{3, {0x0f, 0x20, 0xd1}},   /* MOV RCX, CR2 */
		{3, {0x0f, 0x20, 0xde}},   /* MOV RSI, CR3 */
		{3, {0x0f, 0x20, 0xe7}},   /* MOV RDI, CR4 */
	};
	unsigned f = (unsigned)(rnd() % ARRAY_SIZE(form));

	memset(b->bytes[b->n], 0, sizeof(b->bytes[0]));
	memcpy(b->bytes[b->n], form[f].bytes, form[f].n);
	b->rel_size[b->n] = b->rel_at[b->n] = 0;
	b->len[b->n++] = form[f].n;
}

/* With a register that changes what user mode cannot. */
static bool is_control(const struct soak_case *t)
{
	for (unsigned n = 0; n < t->i.operand_count_visible; n++) {
		ZydisRegisterClass k = t->o[n].type == ZYDIS_OPERAND_TYPE_REGISTER ?
					       ZydisRegisterGetClass(t->o[n].reg.value) :
					       ZYDIS_REGCLASS_INVALID;

		if (k == ZYDIS_REGCLASS_CONTROL || k == ZYDIS_REGCLASS_DEBUG)
			return true;
	}
	return false;
}

static bool draw_insn(struct block_case *b)
{
	unsigned lines = integer_only || rnd() % 2 ? table_integer_lines : table_nr_lines();
	unsigned line = (unsigned)(rnd() % lines), mnemonic = table_line(line)->mnemonic;

	draw.mode = b->mode;
	if (!usable(mnemonic) || !forms_line_on_host(line) || !forms_draw(&draw, mnemonic))
		return false;
	/* What leaves the block is rare, or there would be none of any length. */
	if ((draw.i.meta.branch_type || draw.i.meta.category == ZYDIS_CATEGORY_STRINGOP ||
	     draw.i.meta.category == ZYDIS_CATEGORY_INTERRUPT || draw.i.mnemonic == ZYDIS_MNEMONIC_POPFQ) &&
	    rnd() % 8)
		return false;
	tame(&draw);
	if (!forms_decode(&draw) || (guest_kernel && is_control(&draw)))
		return false;
	memcpy(b->bytes[b->n], draw.bytes, sizeof(draw.bytes));
	b->rel_size[b->n] = draw.i.raw.imm[0].is_relative ? draw.i.raw.imm[0].size / 8 : 0;
	b->rel_at[b->n] = draw.i.raw.imm[0].offset;
	b->len[b->n++] = draw.i.length;
	return true;
}

static void draw_state(struct block_case *b)
{
	memset(&draw.i, 0, sizeof(draw.i)); /* no instruction's */
	draw.mode = b->mode;
	generate_state(&draw);
	b->s = draw.s;
	for (unsigned i = 0; i < 16; i++) {
		u64 r = rnd() % 8;

		if (r < 5)
			b->s.reg[i] = SOAK_DATA + 0x400 + rnd() % 0x3800;
		else if (r < 7)
			b->s.reg[i] = rnd() % 64;
		if (r < 3)
			b->s.reg[i] &= ~63ULL;
	}
	b->s.reg[RSP] = (SOAK_DATA + 0x1000 + rnd() % 0x2000) & ~7ULL;
	if (rnd() % 4 == 0) /* frames that lie on two pages */
		b->s.reg[RSP] = SOAK_DATA + PAGE_SIZE * (1 + rnd() % 3) + rnd() % 32 * 8 - 128;
	/* Two in three segment bases of 0: the others make faults of what is relative to them. */
	if (rnd() % 3)
		b->s.fs_base = b->s.gs_base = 0;
	b->s.kernel_gs_base = rnd() % 2 ? 0 : SOAK_DATA;
	b->s.rflags &= ~(rnd() % 16 ? FL_TF : 0);
}

static void draw_block(struct block_case *b)
{
	u32 n = 1 + (u32)(rnd() % max_insns), bytes = 0;

	b->mode = code32 ? SOAK_32 : SOAK_64;
	b->n = 0;
	do
		favourite = (u8)(rnd() % 8);
	while (favourite == RSP || favourite == RBP);
	while (b->n < n) {
		if (guest_kernel && rnd() % 4 == 0)
			draw_kernels(b);
		else if (rnd() % 6)
			draw_insn(b);
		else
			draw_stack(b);
	}
	aim_branches(b);
	for (u32 i = 0; i < n; i++)
		bytes += b->len[i];
	b->at = SOAK_CODE + rnd() % 64;
	/* Now and then it goes on in the next page, or runs over its end, where no code is. */
	if (rnd() % 8 == 0)
		b->at = SOAK_BASE + PAGE_SIZE - 1 - rnd() % bytes;
	else if (rnd() % 32 == 0)
		b->at = SOAK_BASE + SOAK_CODE_PAGES * PAGE_SIZE - 1 - rnd() % bytes;
	draw_state(b);
	b->s.rip = b->at;
}

/* -- saying what differs */

/* Leave out what makes no difference to there being one. */
static void shrink(struct block_case *b)
{
	for (u32 i = b->n; i-- > 0 && b->n > 1;) {
		struct block_case less = *b;

		memmove(less.bytes + i, less.bytes + i + 1, (b->n - i - 1) * sizeof(less.bytes[0]));
		memmove(less.len + i, less.len + i + 1, b->n - i - 1);
		less.n--;
		if (compare(&less))
			*b = less;
	}
}

static void print_block(const struct block_case *b)
{
	u64 rip = b->at;

	for (u32 i = 0; i < b->n; i++) {
		char text[128] = "?";

		memcpy(draw.bytes, b->bytes[i], sizeof(draw.bytes));
		if (forms_decode(&draw)) {
			ZydisFormatter f;

			ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
			ZydisFormatterFormatInstruction(&f, &draw.i, draw.o, draw.i.operand_count_visible,
							text, sizeof(text), rip, NULL);
		}
		printf("  %lx: ", rip);
		for (u32 k = 0; k < b->len[i]; k++)
			printf("%02x", b->bytes[i][k]);
		printf("  %s\n", text);
		rip += b->len[i];
	}
}

static void print_difference(const struct block_case *b)
{
	printf("  ends: interpreter %d (error %x, cr2 %lx), translator %d (error %x, cr2 %lx)\n",
	       by[0].end.vector, by[0].end.error, by[0].end.cr2, by[1].end.vector, by[1].end.error,
	       by[1].end.cr2);
	for (unsigned i = 0; i < sizeof(b->s) / 8; i++) {
		u64 x = ((const u64 *)&by[0].s)[i], y = ((const u64 *)&by[1].s)[i];

		if (x != y)
			printf("  word %u before %16lx interpreter %16lx translator %16lx\n", i,
			       ((const u64 *)&b->s)[i], x, y);
	}
	for (u64 i = 0; i < SOAK_DATA_SIZE; i++) {
		if (by[0].mem[i] == by[1].mem[i])
			continue;
		printf("  memory at %lx: interpreter %02x translator %02x\n", (u64)SOAK_DATA + i,
		       by[0].mem[i], by[1].mem[i]);
		break;
	}
	printf("  instructions: interpreter %lu translator %lu\n", by[0].instructions,
	       by[1].instructions);
}

static void describe(struct block_case *b, const char *what)
{
	printf("%s differ:\n", what);
	print_block(b);
	print_difference(b);
	shrink(b);
	compare(b);
	printf("with as few instructions as make a difference:\n");
	print_block(b);
	for (unsigned i = 0; i < 18; i++)
		printf("  %s%-2u before %16lx\n", i < 16 ? "reg " : "rip/flags ", i,
		       ((const u64 *)&b->s)[i]);
	print_difference(b);
	fflush(stdout);
}

/* A crash: say where. */
static void crashed(int sig, siginfo_t *info, void *uc)
{
	if (guard_handle(sig, info, uc))
		return;
	printf("signal %d, in:\n", sig);
	print_block(&now);
	fflush(stdout);
	signal(sig, SIG_DFL);
	raise(sig);
}

static int set_signals(void)
{
	static const int sigs[] = {SIGILL, SIGFPE, SIGSEGV, SIGBUS};
	struct sigaction sa = {.sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

	if (guard_install())
		return -errno;
	for (unsigned i = 0; i < ARRAY_SIZE(sigs); i++) {
		if (sigaction(sigs[i], &sa, NULL))
			return -errno;
	}
	signal(SIGPROF, tick);
	return 0;
}

static int start_ticks(void)
{
	static const struct itimerval t = {.it_interval = {0, TICK_US}, .it_value = {0, TICK_US}};

	return setitimer(ITIMER_PROF, &t, NULL) ? -errno : 0;
}

/*
 * A block that leads to one of which nothing has code: the two do not pay as a trace, and the first becomes code by
 * itself.
 */
static bool translates_before_what_does_not_pay(void)
{
	static const u8 first[] = {0xff, 0xc0, 0xff, 0xc0, 0xff, 0xc0, 0xeb, 0x00}; /* INC EAX, thrice; JMP */
	static const u8 x87[] = {0xd9, 0xe8, 0xdd, 0xd8};			      /* FLD1; FSTP ST(0) */
	struct block_case b = {.mode = SOAK_64, .at = SOAK_CODE, .n = 5, .len = {8, 4, 4, 4, 4}};
	u64 before;

	memcpy(b.bytes[0], first, sizeof(first));
	for (u32 i = 1; i < b.n; i++)
		memcpy(b.bytes[i], x87, sizeof(x87));
	draw_state(&b);
	b.s.rip = b.at;
	b.s.rflags &= ~(FL_TF | FL_AC); /* nothing is translated under either */
	guest_choose(true);
	before = guest_vcpu()->stat.code.translated;
	for (unsigned n = 0; n < 3; n++)
		run(&b, true);
	if (guest_vcpu()->stat.code.translated == before + 1)
		return true;
	printf("a block that leads to one that does not pay has no code\n");
	return false;
}

int main(int argc, char **argv)
{
	u64 seed = 1;
	int o, r;

	while ((o = getopt(argc, argv, "n:s:l:i30t")) != -1) {
		if (o == 'n')
			wanted = strtoull(optarg, NULL, 0);
		else if (o == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (o == 'l')
			max_insns = MAX(1u, MIN((u32)atoi(optarg), (u32)MAX_INSNS));
		else if (o == 'i')
			integer_only = true;
		else if (o == '3')
			code32 = true;
		else if (o == 't')
			guest_traced = true;
		else if (o == '0')
			guest_kernel = true;
		else
			return 2;
	}
	if (!guest_can_translate())
		return 77;
	random_seed = seed * 0x9e3779b97f4a7c15ULL | 1;
	forms_collect();
	host_xmask = forms_xmask();
	guest_pair = true;
	r = set_signals();
	if (!r)
		r = guest_init();
	if (!r && !emitted_finds_faults())
		return 1;
	if (!r && guest_traced && !code32 && !translates_before_what_does_not_pay())
		return 1;
	if (!r)
		r = start_ticks();
	if (r) {
		printf("cannot begin: %s\n", strerror(-r));
		return 1;
	}
	for (u64 n = 0; n < wanted && differing < MAX_FOUND; n++) {
		const char *what;

		if (n % 64 == 0)
			generate_memory(&draw);
		draw_block(&now);
		what = compare(&now);
		stuck += by[0].end.vector == GUEST_STUCK;
		faults += by[0].end.vector != VEC_BP;
		if (!emitted_is_allowed(guest_vcpu()))
			what = "generated and allowed instructions";
		if (!what)
			continue;
		differing++;
		describe(&now, what);
	}
	printf("seed %lu: %lu blocks, %lu ended in a fault, %lu never, %lu differ; %lu generated instructions "
	       "are in the table\n",
	       seed, wanted, faults, stuck, differing, emitted_checked);
	return differing != 0;
}
