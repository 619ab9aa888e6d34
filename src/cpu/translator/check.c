/* SPDX-License-Identifier: MIT */
/*
 * translator/check.c: both engines from the same state, as a guest runs (--engine=check).
 *
 * Of a block that is about to be entered, the ops from the first on are translated anew, so that
 * code leaves behind them and stores into c->tried in the place of memory: nobody sees what is only
 * tried. Then the interpreter executes the same ops for good, and registers, flags, the successor and
 * what was stored are compared. What the ops load is loaded twice, so another vCPU or a device may
 * have changed it meanwhile. Where nothing was stored the code is tried once more from the first state, and a
 * difference counts only if it says the same again; and a block is at fault when it differs again and again. Who
 * waits for a lock may find it free in the second look alone: there a block is at fault when it has never said the
 * same, unless the process has one vCPU. And what gives a lock back is soon overwritten: a block that has never said the
 * same of memory is compared with the VM's other vCPUs stopped, and only that says anything against it.
 */
#include "cpu/translator/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/guard.h"
#include "cpu/fault.h"
#include "cpu/interpreter/interpreter.h"
#include "cpu/interpreter/lock.h"
#include "sync/atomic.h"

#define AF_ALL (AF_OF | AF_CF | AF_PF | AF_AF | AF_ZF | AF_SF)
/* A block that differs so often, and in more than one of so many comparisons, is at fault. */
#define TIMES	3
#define ONE_IN	64
/* Where another vCPU may have come between, when it has never said the same. */
#define TIMES_SHARED 16

#define MEMORY "memory" /* what differs */

static u64 checked, stores, differed; /* by all vCPUs; atomic */

/* What generated code changes beside memory. */
struct registers {
	u64 reg[16];
	u64 k[8];
	u32 mxcsr;
	u16 af;
	u8 fx[512];
	struct vreg v[32];
};

struct result {
	struct registers before, r;
	u32 stopped_at;
	u64 host[MAX_SHADOWS];
	u8 data[MAX_SHADOWS][64];
};

static void take_down(const struct cpu *c, struct registers *r)
{
	memcpy(r->reg, c->reg, sizeof(r->reg));
	memcpy(r->k, c->k, sizeof(r->k));
	memcpy(r->v, c->v, sizeof(r->v));
	memcpy(r->fx, c->fx, sizeof(r->fx));
	r->mxcsr = c->mxcsr;
	r->af = c->af;
}

static void put_back(struct cpu *c, const struct registers *r)
{
	memcpy(c->reg, r->reg, sizeof(r->reg));
	memcpy(c->k, r->k, sizeof(r->k));
	memcpy(c->v, r->v, sizeof(r->v));
	memcpy(c->fx, r->fx, sizeof(r->fx));
	c->mxcsr = r->mxcsr;
	c->af = r->af;
}

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

	if (!code)
		return false;
	take_down(c, &r->before);
	t->checking = true;
	tr_enter(c, code);
	t->checking = false;
	take_down(c, &r->r);
	r->stopped_at = t->stopped_at;
	for (u32 i = 0; i < t->x.nshadows; i++) {
		r->host[i] = c->tried[i].host;
		memcpy(r->data[i], c->tried[i].data, sizeof(r->data[i]));
	}
	put_back(c, &r->before);
	c->block = b;
	c->op = NULL;
	return r->stopped_at != TR_CHECK_DIED;
}

static bool same_registers(const struct registers *a, const struct registers *b)
{
	return !memcmp(a->reg, b->reg, sizeof(a->reg)) && !memcmp(a->k, b->k, sizeof(a->k)) &&
	       !memcmp(a->v, b->v, sizeof(a->v)) && !memcmp(a->fx, b->fx, sizeof(a->fx)) &&
	       a->mxcsr == b->mxcsr && !((a->af ^ b->af) & AF_ALL);
}

/* The interpreter has executed it. Does the code say the same as before, of memory as it is now? */
static bool says_the_same(struct cpu *c, struct block *b, const struct result *first)
{
	struct block *at = c->block;
	const struct op *op = c->op;
	struct registers now;
	struct result r;
	u64 rip = c->rip;
	bool same;

	take_down(c, &now);
	put_back(c, &first->before);
	same = try_code(c, b, &r) && r.stopped_at == first->stopped_at && same_registers(&r.r, &first->r);
	put_back(c, &now);
	c->block = at;
	c->op = op;
	c->rip = rip;
	return same;
}

/* Does memory hold what store n put there? Not asked where a later one overlaps, nor where it went away. */
static bool same_memory(const struct translator *t, const struct result *r, u32 n)
{
	u32 size = t->x.shadow_size[n];
	u8 now[64];

	for (u32 i = n + 1; i < t->x.nshadows; i++) {
		if (r->host[i] < r->host[n] + size && r->host[n] < r->host[i] + t->x.shadow_size[i])
			return true;
	}
	if (guard_copy_from(now, (void *)r->host[n], size))
		return true;
	sync_add(&stores, 1);
	return !memcmp(now, r->data[n], size);
}

static const char *difference(struct cpu *c, const struct result *r, u32 nstores)
{
	if (memcmp(c->reg, r->r.reg, sizeof(r->r.reg)))
		return "registers";
	if ((c->af ^ r->r.af) & AF_ALL)
		return "flags";
	if (memcmp(c->v, r->r.v, sizeof(r->r.v)))
		return "vector registers";
	if (memcmp(c->k, r->r.k, sizeof(r->r.k)))
		return "mask registers";
	if (c->mxcsr != r->r.mxcsr)
		return "MXCSR";
	if (memcmp(c->fx, r->r.fx, sizeof(r->r.fx)))
		return "x87 state";
	for (u32 i = 0; i < nstores; i++) {
		if (!same_memory(c->translator, r, i))
			return MEMORY;
	}
	return NULL;
}

static void print_bytes(const char *whose, const u8 *p)
{
	fprintf(stderr, "  %s ", whose);
	for (unsigned i = 64; i-- > 0;)
		fprintf(stderr, "%02x%s", p[i], i % 8 ? "" : " ");
	fputc('\n', stderr);
}

/* Those that differ. */
static void report_vectors(const struct cpu *c, const struct result *r)
{
	for (unsigned i = 0; i < 32; i++) {
		if (!memcmp(&c->v[i], &r->r.v[i], sizeof(c->v[i])))
			continue;
		fprintf(stderr, "  vector register %u\n", i);
		print_bytes("interpreter", c->v[i].b);
		print_bytes("translator ", r->r.v[i].b);
	}
	for (unsigned i = 0; i < 8; i++) {
		if (c->k[i] != r->r.k[i])
			fprintf(stderr, "  k%u: interpreter %lx translator %lx\n", i, c->k[i], r->r.k[i]);
	}
}

static NORETURN void report(const struct cpu *c, const struct block *b, const struct result *r,
			    const char *what)
{
	fprintf(stderr, "userkvm: check: %s differ after %u of %u instructions at %lx, key %x:\n ", what,
		MIN(r->stopped_at, (u32)b->nops), b->nops, b->rip, b->key);
	for (u32 n = 0; n < b->nops; n++) {
		u8 bytes[INSN_MAX];

		code_block_bytes(b, &b->op[n], bytes);
		for (u32 i = 0; i < b->op[n].len; i++)
			fprintf(stderr, " %02x", bytes[i]);
	}
	fprintf(stderr, "\n  flags: interpreter %x translator %x, MXCSR %x %x\n", c->af & AF_ALL,
		r->r.af & AF_ALL, c->mxcsr, r->r.mxcsr);
	for (unsigned i = 0; i < 16; i++)
		fprintf(stderr, "  reg %u: interpreter %lx translator %lx\n", i, c->reg[i], r->r.reg[i]);
	report_vectors(c, r);
	abort();
}

static bool has_locked(const struct xlate *x)
{
	for (u32 n = 0; n < x->b->nops; n++) {
		if (x->insn[n].locked)
			return true;
	}
	return false;
}

/*
 * Has it differed so often that others have to stand still for the next time? Not where an instruction may want to stop
 * them itself.
 */
static bool is_suspect(const struct block *b)
{
	return b->differs >= TIMES && b->differs == b->checks && !b->locked && !tr_is_alone();
}

static bool at_fault(struct cpu *c, const struct block *b, const char *what)
{
	if (!tr_is_alone() && (b->locked || !strcmp(what, MEMORY)))
		return b->differs >= TIMES_SHARED && b->differs == b->checks &&
		       (b->locked || mmu_stops_others(&c->mmu));
	return b->differs >= TIMES && b->differs * ONE_IN > b->checks;
}

static void note(struct cpu *c, struct block *b, const struct result *r, const char *what)
{
	sync_add(&checked, 1);
	c->stat.code.checked++;
	b->checks++;
	b->locked = has_locked(&c->translator->x);
	if (!what || (!c->translator->x.nshadows && !says_the_same(c, b, r)))
		return;
	sync_add(&differed, 1);
	c->stat.code.differed++;
	b->differs++;
	if (at_fault(c, b, what))
		report(c, b, r, what);
}

static bool right_successor(const struct cpu *c, const struct block *b, const struct op *o,
			    const struct result *r)
{
	u64 target = r->stopped_at == TR_CHECK_TAKEN ? (u64)b->op[b->nops - 1].disp : tr_rip(b, b->rip + b->bytes);

	return (o ? c->block->rip : c->rip) == target;
}

static const struct op *compare(struct cpu *c, struct block *b)
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

/* The same with every other vCPU of the VM stopped; or back to the run loop, where somebody wants this one first. */
static const struct op *compare_alone(struct cpu *c, struct block *b)
{
	struct unwind_point *outer = c->unwind, here;
	const struct op *r;

	if (!mmu_stop_others(&c->mmu) || flow_pending(c)) {
		lock_let_go(c);
		op_uncount(c, b->op);
		return op_leave(c, b->rip);
	}
	if (UNWIND_SET(&here)) {
		lock_let_go(c);
		c->unwind = outer;
		cpu_unwind(c);
	}
	c->unwind = &here;
	r = compare(c, b);
	c->unwind = outer;
	lock_let_go(c);
	return r;
}

const struct op *tr_check(struct cpu *c, struct block *b)
{
	return is_suspect(b) ? compare_alone(c, b) : compare(c, b);
}

/* When the VMM ends. */
static __attribute__((destructor)) void tell(void)
{
	if (checked)
		fprintf(stderr, "userkvm: check: %lu blocks and %lu stores compared, %lu differed once\n", checked,
			stores, differed);
}
