/* SPDX-License-Identifier: MIT */
/*
 * soak/blocks.c: blocks of random instructions, executed by the interpreter and by the translator from
 * the same state: all state, memory, the fault that ends them and the count of instructions must be
 * the same. What single instructions do is compared with the host by main.c.
 *
 * Usage: cpu_blocks [-n BLOCKS] [-s SEED] [-l INSTRUCTIONS] [-i]
 * -l: at most so many a block; -i: only the interpreter's own instructions.
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
#define TICK_US	   20000 /* a run that sees two of them is given up */
#define MAX_FOUND  8

struct block_case {
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
};

u64 host_xmask;
static u64 wanted = 100000;
static u32 max_insns = MAX_INSNS;
static bool integer_only;
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

static void put_code(const struct block_case *b)
{
	u8 *p = (u8 *)b->at, *end = (u8 *)SOAK_BASE + PAGE_SIZE;

	memset((void *)SOAK_BASE, 0xcc, PAGE_SIZE);
	for (u32 i = 0; i < b->n; i++) {
		u32 n = (u32)MIN((u64)b->len[i], (u64)(end - p));

		memcpy(p, b->bytes[i], n);
		p += n;
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
	runs++;
	o->end = guest_run(&o->s, SOAK_64);
	o->instructions = guest_instructions() - before;
	memcpy(o->mem, (void *)SOAK_DATA, sizeof(o->mem));
}

static const char *difference(void)
{
	const struct outcome *a = &by[0], *b = &by[1];

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
	return a->instructions != b->instructions ? "count of instructions" : NULL;
}

/* Both; NULL: the same, or not to be compared. */
static const char *compare(const struct block_case *b)
{
	const char *what = NULL;

	run(b, false);
	if (by[0].end.vector == GUEST_STUCK)
		return NULL;
	/* The second time its parts lead to each other. Once stuck may be the machine's load. */
	for (unsigned n = 0; n < 2 && !what; n++) {
		run(b, true);
		if (by[1].end.vector == GUEST_STUCK)
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

/* Displacements are near, so that most operands are there. */
static void tame(struct soak_case *t)
{
	u32 bits = t->i.raw.disp.size, at = t->i.raw.disp.offset;
	s32 d = (s32)(rnd() % 512) - 256;

	if (bits == 32) {
		if (t->i.raw.modrm.rm == 5 && !t->i.raw.modrm.mod)
			d += 0x5000;
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

static bool draw_insn(struct block_case *b)
{
	unsigned lines = integer_only || rnd() % 2 ? table_integer_lines : table_nr_lines();
	unsigned line = (unsigned)(rnd() % lines), mnemonic = table_line(line)->mnemonic;

	draw.mode = SOAK_64;
	if (!usable(mnemonic) || !forms_line_on_host(line) || !forms_draw(&draw, mnemonic))
		return false;
	/* What leaves the block is rare, or there would be none of any length. */
	if ((draw.i.meta.branch_type || draw.i.meta.category == ZYDIS_CATEGORY_STRINGOP ||
	     draw.i.meta.category == ZYDIS_CATEGORY_INTERRUPT || draw.i.mnemonic == ZYDIS_MNEMONIC_POPFQ) &&
	    rnd() % 8)
		return false;
	tame(&draw);
	if (!forms_decode(&draw))
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
	/* Two in three segment bases of 0: the others make faults of what is relative to them. */
	if (rnd() % 3)
		b->s.fs_base = b->s.gs_base = 0;
	b->s.rflags &= ~(rnd() % 16 ? FL_TF : 0);
}

static void draw_block(struct block_case *b)
{
	u32 n = 1 + (u32)(rnd() % max_insns), bytes = 0;

	b->n = 0;
	while (b->n < n)
		draw_insn(b);
	aim_branches(b);
	for (u32 i = 0; i < n; i++)
		bytes += b->len[i];
	b->at = SOAK_CODE + rnd() % 64;
	/* Now and then it runs over the page's end, where no code is. */
	if (rnd() % 32 == 0)
		b->at = SOAK_BASE + PAGE_SIZE - 1 - rnd() % bytes;
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
	signal(SIGALRM, tick);
	return 0;
}

static int start_ticks(void)
{
	static const struct itimerval t = {.it_interval = {0, TICK_US}, .it_value = {0, TICK_US}};

	return setitimer(ITIMER_REAL, &t, NULL) ? -errno : 0;
}

int main(int argc, char **argv)
{
	u64 seed = 1;
	int o, r;

	while ((o = getopt(argc, argv, "n:s:l:i")) != -1) {
		if (o == 'n')
			wanted = strtoull(optarg, NULL, 0);
		else if (o == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (o == 'l')
			max_insns = MAX(1u, MIN((u32)atoi(optarg), (u32)MAX_INSNS));
		else if (o == 'i')
			integer_only = true;
		else
			return 2;
	}
	random_seed = seed * 0x9e3779b97f4a7c15ULL | 1;
	forms_collect();
	host_xmask = forms_xmask();
	guest_pair = true;
	r = set_signals();
	if (!r)
		r = guest_init();
	if (!r)
		r = start_ticks();
	if (r) {
		printf("cannot begin: %s\n", strerror(-r));
		return r == -ENOTSUP ? 77 : 1;
	}
	for (u64 n = 0; n < wanted && differing < MAX_FOUND; n++) {
		const char *what;

		if (n % 64 == 0)
			generate_memory(&draw);
		draw_block(&now);
		what = compare(&now);
		stuck += by[0].end.vector == GUEST_STUCK;
		faults += by[0].end.vector != VEC_BP;
		if (!what)
			continue;
		differing++;
		describe(&now, what);
	}
	printf("seed %lu: %lu blocks, %lu ended in a fault, %lu never, %lu differ\n", seed, wanted, faults,
	       stuck, differing);
	return differing != 0;
}
