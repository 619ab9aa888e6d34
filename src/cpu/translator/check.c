/* SPDX-License-Identifier: MIT */
/*
 * translator/check.c: both engines from the same state, as a guest runs (--engine=check).
 *
 * Of a block that is about to be entered, the ops from the first on are translated anew, so that
 * code leaves behind them and stores into c->tried in the place of memory: nobody sees what is only
 * tried. Then the interpreter executes the same ops for good, and registers, flags, the successor and
 * what was stored are compared. What the ops load is loaded twice, so another vCPU or a device may
 * have changed it meanwhile: a block is at fault when it differs again and again.
 */
#include "cpu/translator/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/guard.h"
#include "cpu/interpreter/interpreter.h"
#include "sync/atomic.h"

#define AF_ALL (AF_OF | AF_CF | AF_PF | AF_AF | AF_ZF | AF_SF)
/* A block that differs so often, and in more than one of so many comparisons, is at fault. */
#define TIMES	3
#define ONE_IN	64

static u64 checked, differed; /* by all vCPUs; atomic */

struct result {
	u64 reg[16];
	u16 af;
	u32 stopped_at;
	u64 host[MAX_SHADOWS], data[MAX_SHADOWS];
};

bool tr_check_due(struct cpu *c)
{
	struct translator *t = c->translator;

	if (!t->check_every || t->check_in-- > 1)
		return false;
	t->check_in = t->check_every;
	return true;
}

/* The translator's side. False: nothing is known. */
static bool try_code(struct cpu *c, struct block *b, struct result *r)
{
	struct translator *t = c->translator;
	u8 *code = tr_translate_to_check(c, b);
	u64 reg[16];
	u16 af = c->af;

	if (!code)
		return false;
	memcpy(reg, c->reg, sizeof(reg));
	t->checking = true;
	tr_enter(c, code);
	t->checking = false;
	memcpy(r->reg, c->reg, sizeof(r->reg));
	r->af = c->af;
	r->stopped_at = t->stopped_at;
	for (u32 i = 0; i < t->x.nshadows; i++) {
		r->host[i] = c->tried[i].host;
		r->data[i] = c->tried[i].data;
	}
	memcpy(c->reg, reg, sizeof(reg));
	c->af = af;
	c->block = b;
	c->op = NULL;
	return r->stopped_at != TR_CHECK_DIED;
}

/* Does memory hold what store n put there? Not asked where a later one overlaps. */
static bool same_memory(const struct translator *t, const struct result *r, u32 n)
{
	u32 size = t->x.shadow_size[n];
	u64 now = 0;

	for (u32 i = n + 1; i < t->x.nshadows; i++) {
		if (r->host[i] < r->host[n] + size && r->host[n] < r->host[i] + t->x.shadow_size[i])
			return true;
	}
	return guard_copy_from(&now, (void *)r->host[n], size) || !memcmp(&now, &r->data[n], size);
}

static const char *difference(struct cpu *c, const struct result *r, u32 nstores)
{
	if (memcmp(c->reg, r->reg, sizeof(r->reg)))
		return "registers";
	if ((c->af ^ r->af) & AF_ALL)
		return "flags";
	for (u32 i = 0; i < nstores; i++) {
		if (!same_memory(c->translator, r, i))
			return "memory";
	}
	return NULL;
}

static NORETURN void report(const struct cpu *c, const struct block *b, const struct result *r,
			    const char *what)
{
	fprintf(stderr, "userkvm: check: %s differ after %u of %u instructions at %lx, key %x:\n ", what,
		MIN(r->stopped_at, (u32)b->nops), b->nops, b->rip, b->key);
	for (u32 i = 0; i < b->bytes; i++)
		fprintf(stderr, " %02x", b->page->copy[(b->gpa & ~PAGE_MASK) + i]);
	fprintf(stderr, "\n  flags: interpreter %x translator %x\n", c->af & AF_ALL, r->af & AF_ALL);
	for (unsigned i = 0; i < 16; i++)
		fprintf(stderr, "  reg %u: interpreter %lx translator %lx\n", i, c->reg[i], r->reg[i]);
	abort();
}

static void note(struct cpu *c, struct block *b, const struct result *r, const char *what)
{
	sync_add(&checked, 1);
	b->checks++;
	if (!what)
		return;
	sync_add(&differed, 1);
	if (++b->differs >= TIMES && b->differs * ONE_IN > b->checks)
		report(c, b, r, what);
}

static bool right_successor(const struct cpu *c, const struct block *b, const struct op *o,
			    const struct result *r)
{
	u64 target = r->stopped_at == TR_CHECK_TAKEN ? (u64)b->op[b->nops - 1].disp : b->rip + b->bytes;

	return (o ? c->block->rip : c->rip) == target;
}

const struct op *tr_check(struct cpu *c, struct block *b)
{
	struct translator *t = c->translator;
	struct result r;
	u32 n, upto, nstores;
	u64 gen = c->code->gen;

	if (!try_code(c, b, &r))
		return b->op[0].fn(c, b->op);
	nstores = t->x.nshadows;
	upto = MIN(r.stopped_at, (u32)b->nops);
	for (n = 0; n < upto; n++) {
		const struct op *o = interpreter_one(c, &b->op[n], t->scratch);

		if (flow_pending(c) || c->code->gen != gen)
			return o; /* what was known of memory may be known no more */
		if (o == &b->op[n + 1])
			continue;
		/* The last one has left the block. */
		if (n + 1 == b->nops && r.stopped_at > BLOCK_MAX_OPS && right_successor(c, b, o, &r))
			note(c, b, &r, difference(c, &r, nstores));
		else
			note(c, b, &r, "successors");
		return o;
	}
	/* Stores of ops that were not reached have not been tried either. */
	if (r.stopped_at <= BLOCK_MAX_OPS)
		nstores = t->x.shadows_before[r.stopped_at];
	note(c, b, &r, r.stopped_at == TR_CHECK_TAKEN ? "successors" : difference(c, &r, nstores));
	c->op = NULL;
	return &b->op[n];
}

/* When the VMM ends. */
static __attribute__((destructor)) void tell(void)
{
	if (checked)
		fprintf(stderr, "userkvm: check: %lu blocks compared, %lu differed once\n", checked,
			differed);
}
