/* SPDX-License-Identifier: MIT */
/*
 * translator/enter.c: in and out of generated code.
 *
 * Generated code calls tr_helper_entry() with a word in R15 that says what it wants; everything the
 * guest has in registers is stored, and tr_helper() runs on the thread's own stack, so a handler
 * may unwind from there as from anywhere. It answers with the address to go on at, or NULL: back to
 * the interpreter's loop. The code here stands outside the range whose faults and kicks tr_fixup()
 * gets, so it is never broken off.
 */
#include "base/guard.h"
#include "cpu/access.h"
#include "cpu/fault.h"
#include "cpu/interpreter/interpreter.h"
#include "cpu/system/system.h"
#include "cpu/translator/internal.h"
#include "cpu/translator/vector.h"

#define STR_(x) #x
#define STR(x)	STR_(x)

_Static_assert(offsetof(struct cpu, rip) == OFF_RIP && OFF_RIP + 8 == GEN_SP, "a CALL pushes there");
_Static_assert(offsetof(struct cpu, af) == OFF_AF, "");
_Static_assert(!(GEN_SP & TR_SP_ZERO) && _Alignof(struct cpu) > TR_SP_ZERO, "what a kick asks of the stack pointer");
_Static_assert(offsetof(struct cpu, gen.enter_sp) == OFF_SP, "");
_Static_assert(offsetof(struct cpu, gen.helper) == OFF_HELPER, "");
_Static_assert(offsetof(struct cpu, gen.resume) == OFF_RESUME, "");
_Static_assert(offsetof(struct cpu, gen.tmp) == OFF_TMP0, "");
_Static_assert(offsetof(struct cpu, gen.af) == OFF_GEN_AF, "");
_Static_assert(offsetof(struct guard_fault, rip) == 16, "");

/*
 * Guest registers to and from the vCPU at `base`, by the map in layout.h; and the flags. On the
 * thread's stack, never on the one inside the vCPU: a signal's frame there may begin 128 bytes below
 * it, and that is where RAX and RCX are stored.
 */
#define REGISTERS_OUT(base)                                                                        \
	"mov %rax, 0(" base ")\n mov %r13, 8(" base ")\n mov %rdx, 16(" base ")\n"                 \
	"mov %rbx, 24(" base ")\n mov %r12, 32(" base ")\n mov %rbp, 40(" base ")\n"               \
	"mov %rsi, 48(" base ")\n mov %rdi, 56(" base ")\n mov %r8, 64(" base ")\n"                \
	"mov %r9, 72(" base ")\n mov %r10, 96(" base ")\n mov %r11, 104(" base ")\n"
#define FLAGS_OUT(base, off) "lahf\n seto %al\n mov %ax, " STR(off) "(" base ")\n"
#define REGISTERS_IN(base, flags)                                                                  \
	"movzwl " STR(flags) "(" base "), %eax\n and $0xff01, %eax\n add $127, %al\n sahf\n"     \
	"mov 0(" base "), %rax\n mov 8(" base "), %r13\n mov 16(" base "), %rdx\n"                 \
	"mov 24(" base "), %rbx\n mov 32(" base "), %r12\n mov 40(" base "), %rbp\n"               \
	"mov 48(" base "), %rsi\n mov 56(" base "), %rdi\n mov 64(" base "), %r8\n"                \
	"mov 72(" base "), %r9\n mov 96(" base "), %r10\n mov 104(" base "), %r11\n"

asm(".pushsection .text\n"
    ".hidden tr_enter\n .globl tr_enter\n .type tr_enter, @function\n"
    /* (cpu, host address) */
    "tr_enter:\n"
    "	push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n sub $8, %rsp\n"
    "	mov %rsp, " STR(OFF_SP) "(%rdi)\n"
    "	mov %rdi, %r14\n"
    "	mov %rsi, " STR(OFF_RIP) "(%r14)\n"
    "3:\n"
    REGISTERS_IN("%r14", OFF_AF)
    "	lea " STR(OFF_RIP) "(%r14), %rsp\n"
    "	ret\n"
    ".size tr_enter, . - tr_enter\n"

    ".hidden tr_helper_entry\n .globl tr_helper_entry\n .type tr_helper_entry, @function\n"
    "tr_helper_entry:\n"
    "	pop %r14\n"
    "	lea -" STR(GEN_SP) "(%rsp), %rcx\n"
    "	mov " STR(OFF_SP) "(%rcx), %rsp\n"
    REGISTERS_OUT("%rcx")
    FLAGS_OUT("%rcx", OFF_AF)
    "4:	mov %rcx, %rbx\n"
    "	mov %r14, " STR(OFF_RESUME) "(%rbx)\n"
    "	mov %rbx, %rdi\n mov %r15d, %esi\n"
    "	call tr_helper\n"
    "	test %rax, %rax\n"
    "	jz 2f\n"
    "	mov %rbx, %r14\n"
    "	mov %rax, " STR(OFF_RIP) "(%r14)\n"
    "	jmp 3b\n"
    "2:	mov %rbx, %rdi\n"
    "	call tr_next\n"
    "	add $8, %rsp\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
    "	ret\n"
    ".size tr_helper_entry, . - tr_helper_entry\n"

    ".hidden tr_helper_saved_entry\n .globl tr_helper_saved_entry\n .type tr_helper_saved_entry, @function\n"
    "tr_helper_saved_entry:\n"
    "	pop %r14\n"
    "	lea -" STR(GEN_SP) "(%rsp), %rcx\n"
    "	mov " STR(OFF_SP) "(%rcx), %rsp\n"
    REGISTERS_OUT("%rcx")
    "	jmp 4b\n"
    ".size tr_helper_saved_entry, . - tr_helper_saved_entry\n"

    /*
     * A look's address in RCX, and in R14 what it is; RCX comes back zero where the TLB still has no
     * answer. R14 is lost; every other register and the flags stay. On the thread's stack, too.
     */
    ".hidden tr_refill_entry\n .globl tr_refill_entry\n .type tr_refill_entry, @function\n"
    "tr_refill_entry:\n"
    "	mov %rax, " STR(OFF_TMP0) "-" STR(OFF_RIP) "(%rsp)\n"
    "	lahf\n seto %al\n"
    "	mov %rax, " STR(OFF_TMP1) "-" STR(OFF_RIP) "(%rsp)\n"
    "	lea -" STR(OFF_RIP) "(%rsp), %rax\n"
    "	mov " STR(OFF_SP) "(%rax), %rsp\n"
    "	push %rdx\n push %rsi\n push %rdi\n push %r8\n push %r9\n push %r10\n push %r11\n"
    "	push %rax\n"
    "	mov %rax, %rdi\n mov %rcx, %rsi\n mov %r14d, %edx\n"
    "	call tr_refill\n"
    "	movzbl %al, %ecx\n"
    "	pop %r14\n"
    "	pop %r11\n pop %r10\n pop %r9\n pop %r8\n pop %rdi\n pop %rsi\n pop %rdx\n"
    "	lea " STR(OFF_RIP) "(%r14), %rsp\n"
    "	movzwl " STR(OFF_TMP1) "(%r14), %eax\n and $0xff01, %eax\n add $127, %al\n sahf\n"
    "	mov " STR(OFF_TMP0) "(%r14), %rax\n"
    "	ret\n"
    ".size tr_refill_entry, . - tr_refill_entry\n"

    /* In the context of generated code that faulted or was kicked: RSP is cpu + GEN_SP. What is
     * scratch there matters too, when it goes on where it was. */
    ".hidden tr_fixup\n .globl tr_fixup\n .type tr_fixup, @function\n"
    "tr_fixup:\n"
    "	mov %rcx, " STR(OFF_TMP0) "-" STR(GEN_SP) "(%rsp)\n"
    "	lea -" STR(GEN_SP) "(%rsp), %rcx\n"
    "	mov " STR(OFF_SP) "(%rcx), %rsp\n"
    "	mov %r14, " STR(OFF_TMP1) "(%rcx)\n"
    "	mov %r15, " STR(OFF_TMP2) "(%rcx)\n"
    REGISTERS_OUT("%rcx")
    FLAGS_OUT("%rcx", OFF_GEN_AF)
    "	mov %rcx, %rbx\n"
    "	mov %rbx, %rdi\n"
    "	call tr_died\n"
    "	test %rax, %rax\n"
    "	jz 2b\n"
    "	mov %rbx, %r14\n"
    "	mov %rax, " STR(OFF_RIP) "(%r14)\n"
    REGISTERS_IN("%r14", OFF_GEN_AF)
    "	mov " STR(OFF_TMP0) "(%r14), %rcx\n"
    "	mov " STR(OFF_TMP2) "(%r14), %r15\n"
    "	lea " STR(OFF_RIP) "(%r14), %rsp\n"
    "	mov " STR(OFF_TMP1) "-" STR(OFF_RIP) "(%rsp), %r14\n"
    "	ret\n"
    ".size tr_fixup, . - tr_fixup\n"

    /*
     * IRET: code that was written through another address than it is executed at is seen after a
     * serializing instruction (SDM vol. 3, 8.1.3).
     */
    ".hidden tr_serialize\n .globl tr_serialize\n .type tr_serialize, @function\n"
    "tr_serialize:\n"
    "	mov %rsp, %rax\n"
    "	mov %ss, %ecx\n push %rcx\n push %rax\n pushfq\n"
    "	mov %cs, %ecx\n push %rcx\n"
    "	lea 1f(%rip), %rcx\n push %rcx\n"
    "	iretq\n"
    "1:	ret\n"
    ".size tr_serialize, . - tr_serialize\n"
    ".popsection\n");

const struct op *tr_next(struct cpu *c) HIDDEN;
u8 *tr_helper(struct cpu *c, u32 what) HIDDEN;
u8 *tr_died(struct cpu *c) HIDDEN;
bool tr_refill(struct cpu *c, u64 la, u32 what) HIDDEN;

const struct op *tr_next(struct cpu *c)
{
	return c->translator->next;
}

static u8 *leave(struct cpu *c, const struct op *next)
{
	c->translator->next = next;
	return NULL;
}

/* On at `o`, the entry of c->block, or NULL. */
static u8 *go_on(struct cpu *c, const struct op *o)
{
	struct block *b = c->block;

	if (!o || o != &b->head || !b->host || c->translator->check_every)
		return leave(c, o);
	c->op = NULL;
	tr_use_table(c, b);
	return c->translator->area.run + b->host;
}

static u8 *follow(struct cpu *c, struct block *b, unsigned which)
{
	const struct op *last = &b->op[b->nops - 1];
	u64 target = which ? (u64)last->disp : tr_rip(b, b->rip + b->bytes);
	u64 gen = c->code->gen;
	u64 edge = tr_edge_place(c);
	u8 *host;

	host = go_on(c, flow_link(c, which, target));
	c->stat.code.lookups++;
	if (!host)
		return NULL;
	/* In a new generation `b` may be gone. */
	if (gen == c->code->gen && b->key == c->block->key &&
	    ((edge & TR_EDGE_FAR) || b->link[which] == c->block))
		tr_learn_edge(c, edge, c->block);
	return host;
}

/* The instruction in STI's shadow is done, and generated code could go on behind it. */
static u8 *end_shadow(struct cpu *c, const struct block *b)
{
	c->shadow = 0;
	if (likely(cpu_may_go_on(c)))
		return (u8 *)c->gen.resume;
	c->rip = tr_rip(b, b->rip + b->bytes);
	return leave(c, NULL);
}

static bool has_code(const struct block *b, u32 i)
{
	return i < b->nops ? b->inlined >> i & 1 : b->falls_through;
}

/*
 * Run ops of the block by their handlers, one or up to the next that has code. One that leaves the block
 * may have to drop all of them for want of room, and find the next where this one was.
 */
static u8 *run(struct cpu *c, struct block *b, u32 i, bool one)
{
	u64 clears = c->code->clears;

	do {
		const struct op *o = interpreter_one(c, &b->op[i], c->translator->scratch);

		c->stat.code.handlers++;
		if (o != &b->op[i + 1] || clears != c->code->clears) {
			u8 *host = go_on(c, o);

			if (host)
				tr_learn_jump(c, c->block);
			return host;
		}
		i++;
		if (unlikely(flow_pending(c)))
			return leave(c, o);
	} while (!one && !has_code(b, i));
	c->op = NULL;
	return (u8 *)c->gen.resume;
}

/* By its place in the arena, in lines of 64 bytes. */
static struct block *block_at(const struct cpu *c, u32 place)
{
	return (struct block *)(c->code->arena + (u64)place * 64);
}

/* Outside: vector state is in struct cpu meanwhile. */
static __attribute__((noinline)) u8 *helper(struct cpu *c, u32 what)
{
	u32 at = what >> TR_OP_BITS & ((1u << TR_BLOCK_BITS) - 1);
	struct block *b = block_at(c, at);
	u32 op = what & ((1u << TR_OP_BITS) - 1);

	c->block = b;
	c->op = NULL;
	c->stat.code.place = STATPAGE_HANDLER;
	switch ((enum tr_reason)(what >> TR_REASON_SHIFT)) {
	case TR_ONE:
		return run(c, b, op, true);
	case TR_RUN:
		return run(c, b, op, false);
	case TR_LOW_VECTORS:
		tr_vectors_want(c, VECTOR_LOW);
		return (u8 *)c->gen.resume;
	case TR_HIGH_VECTORS:
		tr_vectors_want(c, VECTOR_HIGH);
		return (u8 *)c->gen.resume;
	case TR_SHADOW:
		return end_shadow(c, b);
	case TR_CHECK:
		c->translator->stopped_at = op;
		return leave(c, NULL);
	case TR_LINK:
		return follow(c, b, 0);
	default:
		return follow(c, b, 1);
	}
}

/* To generated code at `host`, or NULL: to the interpreter's loop. */
static NO_VECTORS u8 *back(struct cpu *c, u8 *host, unsigned parts)
{
	c->stat.code.place = host ? STATPAGE_GENERATED : STATPAGE_INTERPRETER;
	if (host) {
		tr_see_patches(c->translator);
		tr_vectors_in(c, parts);
	}
	return host;
}

NO_VECTORS u8 *tr_helper(struct cpu *c, u32 what)
{
	unsigned parts = tr_vectors_out(c);
	u8 *host = helper(c, what);

	return back(c, host, parts);
}

static bool walk(struct cpu *c, u64 la, u32 size, bool write, enum tlb_mode mode)
{
	bool done;

	c->stat.code.place = STATPAGE_WALK;
	done = access_refill(c, la, size, write, mode);
	c->stat.code.place = STATPAGE_GENERATED;
	return done;
}

/* The thread sanitizer's runtime, which mmu/tlb.c calls where it is built with that, uses them. */
#ifdef __SANITIZE_THREAD__
#define TLB_USES_VECTORS 1
#else
#define TLB_USES_VECTORS 0
#endif

static NO_VECTORS bool refill(struct cpu *c, u64 la, u32 size, bool write, enum tlb_mode mode)
{
	unsigned parts;
	bool done;

	if (!TLB_USES_VECTORS && mmu_tlb_refill(&c->mmu, mode, la, size, write))
		return true;
	parts = tr_vectors_out(c);
	done = (TLB_USES_VECTORS && mmu_tlb_refill(&c->mmu, mode, la, size, write)) ||
	       walk(c, la, size, write, mode);
	tr_vectors_in(c, parts);
	return done;
}

/* Neither unwinds nor leaves guest mode: what generated code knows of the host's addresses stays true. */
NO_VECTORS bool tr_refill(struct cpu *c, u64 la, u32 what)
{
	enum tlb_mode mode = (enum tlb_mode)(what % TR_REFILL_WRITE);
	bool write = what & TR_REFILL_WRITE, near = what & TR_REFILL_NEAR;
	u32 size = what >> TR_REFILL_SIZE_SHIFT;

	/* One that lies on two pages is its handler's. */
	if ((la & ~PAGE_MASK) + size > PAGE_SIZE)
		return false;
	if (near && mmu_tlb_near(&c->mmu, mode, la, size, write))
		return true;
	if ((what & TR_REFILL_TRIAL) || !refill(c, la, size, write, mode))
		return false;
	return !near || mmu_tlb_near(&c->mmu, mode, la, size, write);
}

/* The block whose code is at this offset of the area. */
static const struct tr_code *find_code(const struct translator *t, u32 at)
{
	u32 lo = 0, hi = t->ncodes;

	while (hi - lo > 1) {
		u32 mid = (lo + hi) / 2;

		if ((at < t->cold ? t->codes[mid].at : t->codes[mid].cold_at) <= at)
			lo = mid;
		else
			hi = mid;
	}
	return &t->codes[lo];
}

static const struct tr_site *find_site(const struct tr_code *code, u32 at)
{
	for (u32 i = 0; i < code->nsites; i++) {
		if (code->site[i].at == at)
			return &code->site[i];
	}
	return NULL;
}

/*
 * A host fault or a kick. At an access to guest memory the op has changed nothing yet. A fault: its
 * handler begins anew, and finds out. A kick there: the instruction is started again after a look
 * at the requests; elsewhere, generated code goes on to where it looks at them by itself.
 */
static __attribute__((noinline)) u8 *died(struct cpu *c)
{
	struct translator *t = c->translator;
	u32 at = (u32)((u8 *)guard_fault.rip - t->area.run);
	const struct tr_code *code;
	const struct tr_site *site;
	struct block *b;
	u8 *host;

	if (t->checking) {
		t->stopped_at = TR_CHECK_DIED;
		return guard_fault.sig == GUARD_BROKEN_OFF ? (u8 *)guard_fault.rip : leave(c, NULL);
	}
	code = find_code(t, at);
	site = find_site(code, at);
	if (!site) {
		if (guard_fault.sig == GUARD_BROKEN_OFF)
			return (u8 *)guard_fault.rip;
		__builtin_trap(); /* generated code is wrong */
	}
	if (site->flags_at == FLAGS_IN_HOST)
		c->af = c->gen.af;
	else if (site->flags_at >= FLAGS_BY_RECIPE)
		c->af = recipe_flags(c, &tr_recipes(code)[site->flags_at - FLAGS_BY_RECIPE]);
	c->reg[RSP] += (u64)(s64)site->sp_lag;
	b = block_at(c, site->block);
	c->block = b;
	c->op = &b->op[site->op];
	if (guard_fault.sig == GUARD_BROKEN_OFF)
		cpu_restart(c);
	c->gen.resume = (u64)(t->area.run + site->resume);
	host = run(c, b, site->op, true);
	c->gen.af = c->af;
	return host;
}

NO_VECTORS u8 *tr_died(struct cpu *c)
{
	unsigned parts = tr_vectors_out(c);
	u8 *host;

	c->stat.code.place = STATPAGE_HANDLER;
	host = died(c);
	return back(c, host, parts);
}
