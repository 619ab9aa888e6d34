/* SPDX-License-Identifier: MIT */
/* cpu/inspect.c: see inspect.h. */
#include "cpu/inspect.h"

#include <Zydis/Zydis.h>
#include <inttypes.h>
#include "base/guard.h"
#include "cpu/code/op.h"
#include "cpu/fault.h"
#include "cpu/system/system.h"

#define X PRIx64
#define INSTRUCTIONS 8
#define CODE_BYTES   (INSTRUCTIONS * 15)

/* ---- registers */

/*
 * In the middle of a block, where only a thread that the host does not let go on is still found, the
 * instruction at hand says where it is, not c->rip. Where none is known, generated code may have put an address of the host's
 * there (translator/enter.c): the block says where it went in. What it stands in is read with care: the vCPU may
 * leave it meanwhile.
 */
static u64 rip_now(const struct cpu *c)
{
	u64 place = __atomic_load_n(&c->stat.code.place, __ATOMIC_RELAXED);
	const struct op *o = __atomic_load_n(&c->op, __ATOMIC_RELAXED);
	const struct block *b = __atomic_load_n(&c->block, __ATOMIC_RELAXED);
	struct block block;
	struct op op = {0};

	if (!b || (!o && place == STATPAGE_LOOP) || (o && guard_copy_from(&op, o, sizeof(op))) ||
	    guard_copy_from(&block, b, offsetof(struct block, op)))
		return c->rip;
	return block.rip + op.off;
}

static const char *mode_name(const struct cpu *c)
{
	switch (c->mode) {
	case MODE_REAL:
		return "real mode";
	case MODE_V86:
		return "virtual-8086 mode";
	case MODE_PROT16:
		return "protected mode, 16 bit";
	case MODE_PROT32:
		return "protected mode, 32 bit";
	case MODE_LONG:
		return "64-bit mode";
	default:
		return "a mode unknown";
	}
}

static void put_general(struct cpu *c, struct text *t)
{
	struct kvm_regs r;

	cpu_get_regs(c, &r);
	r.rip = rip_now(c);
	text_put(t, "rax %016llx  rbx %016llx  rcx %016llx  rdx %016llx\n", r.rax, r.rbx, r.rcx, r.rdx);
	text_put(t, "rsi %016llx  rdi %016llx  rbp %016llx  rsp %016llx\n", r.rsi, r.rdi, r.rbp, r.rsp);
	text_put(t, "r8  %016llx  r9  %016llx  r10 %016llx  r11 %016llx\n", r.r8, r.r9, r.r10, r.r11);
	text_put(t, "r12 %016llx  r13 %016llx  r14 %016llx  r15 %016llx\n", r.r12, r.r13, r.r14, r.r15);
	text_put(t, "rip %016llx  rflags %llx  CPL %u, %s\n", r.rip, r.rflags, c->cpl, mode_name(c));
}

static void put_segment(struct text *t, const char *name, const struct kvm_segment *s)
{
	text_put(t, "%-4s %04x  base %016llx  limit %08x  type %x%s%s%s%s  DPL %u\n", name, s->selector, s->base,
		 s->limit, s->type, s->s ? "" : " system", s->present ? "" : " absent", s->l ? " L" : "",
		 s->db ? " D" : "", s->dpl);
}

static void put_system(struct cpu *c, struct text *t)
{
	struct kvm_sregs s;

	memset(&s, 0, sizeof(s));
	cpu_get_sregs(c, &s);
	put_segment(t, "cs", &s.cs);
	put_segment(t, "ss", &s.ss);
	put_segment(t, "ds", &s.ds);
	put_segment(t, "es", &s.es);
	put_segment(t, "fs", &s.fs);
	put_segment(t, "gs", &s.gs);
	put_segment(t, "tr", &s.tr);
	put_segment(t, "ldt", &s.ldt);
	text_put(t, "gdt  base %016llx  limit %04x    idt  base %016llx  limit %04x\n", s.gdt.base, s.gdt.limit,
		 s.idt.base, s.idt.limit);
	text_put(t, "cr0 %llx  cr2 %llx  cr3 %llx  cr4 %llx  efer %llx\n", s.cr0, s.cr2, s.cr3, s.cr4, s.efer);
}

static void put_events(const struct cpu *c, struct text *t)
{
	if (c->exception.pending || c->exception.injected)
		text_put(t, "exception %u on its way, error %x, payload %" X "\n", c->exception.vector,
			 c->exception.error, c->exception.payload);
	if (c->interrupt.injected)
		text_put(t, "interrupt %#x on its way\n", c->interrupt.vector);
	if (c->nmi_pending || c->nmi_injected)
		text_put(t, "NMIs pending: %u\n", c->nmi_pending + c->nmi_injected);
}

void cpu_inspect_registers(struct cpu *c, struct text *t)
{
	put_general(c, t);
	put_system(c, t);
	put_events(c, t);
}

u64 cpu_inspect_rip(const struct cpu *c)
{
	u64 la = rip_now(c) + c->seg[SEG_CS].base;

	return cpu_long(c) ? la : (u32)la;
}

/* ---- translation */

static int load_entry(void *memory, gpa_t gpa, u32 size, u64 *entry)
{
	const struct cpu_memory *m = memory;

	*entry = 0;
	return m->read(m->arg, gpa, entry, size);
}

static void put_entry(struct text *t, u64 entry, bool leaf)
{
	static const struct {
		u64 bit;
		const char *name;
	} bits[] = {{BIT(0), "present"}, {BIT(1), "writable"}, {BIT(2), "user"},
		    {BIT(5), "accessed"}, {BIT(6), "dirty"}, {BIT(8), "global"}, {BIT(63), "no execute"}};

	text_put(t, "%016" X, entry);
	if (!(entry & BIT(0))) {
		text_put(t, "  not present\n");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		if ((entry & bits[i].bit) && (leaf || bits[i].bit < BIT(6) || bits[i].bit == BIT(63)))
			text_put(t, "%s %s", i ? "," : " ", bits[i].name);
	}
	text_put(t, leaf ? "; a page\n" : "\n");
}

static void put_levels(const struct walk_seen *w, u64 la, struct text *t)
{
	static const char *const names[] = {"PTE", "PDE", "PDPTE", "PML4E", "PML5E"};
	const unsigned bits = w->entry_size == 8 ? 9 : 10;

	for (int level = w->levels; level > 0 && w->step[level - 1].gpa; level--) {
		u64 index = (la >> (12 + bits * ((unsigned)level - 1))) & (BIT(bits) - 1);

		text_put(t, "  %-5s %3" PRIu64 " at gpa %" X ": ", names[level - 1], index, w->step[level - 1].gpa);
		if (w->result < 0 && w->gpa == w->step[level - 1].gpa) {
			text_put(t, "cannot be read: %s\n",
				 w->result == -ENOENT ? "no memslot" : w->result == -EACCES ? "private memory"
				 : w->result == -EAGAIN ? "not in the host's memory now" : "the VMM's mapping fails");
			return;
		}
		put_entry(t, w->step[level - 1].entry, level == w->result);
	}
}

bool cpu_inspect_walk(struct cpu *c, u64 la, const struct cpu_memory *m, struct text *t, gpa_t *gpa)
{
	struct walk_seen w;

	if (!(c->cr0 & CR0_PG)) {
		text_put(t, "  paging is off\n");
		*gpa = (u32)la;
		return true;
	}
	if (!la_canonical(c, la) && (c->efer & EFER_LMA)) {
		text_put(t, "  not canonical\n");
		return false;
	}
	walk_look(c, la, load_entry, (void *)m, &w);
	put_levels(&w, la, t);
	if (!w.result)
		text_put(t, w.error & PF_RSVD ? "  a page fault: reserved bits are set\n"
					      : "  a page fault: not present\n");
	*gpa = w.gpa;
	return w.result > 0;
}

/* ---- code */

/* Bytes at a linear address, as many as there are. */
static u32 read_linear(struct cpu *c, u64 la, const struct cpu_memory *m, u8 *buf, u32 len)
{
	char nothing[1];
	u32 done = 0;

	while (done < len) {
		struct text no = {.buf = nothing, .size = sizeof(nothing)};
		u32 n = (u32)MIN(MIN((u64)(len - done), 16), PAGE_SIZE - ((la + done) & ~PAGE_MASK));
		gpa_t gpa;

		if (!cpu_inspect_walk(c, la + done, m, &no, &gpa) || m->read(m->arg, gpa, buf + done, n))
			break;
		done += n;
	}
	return done;
}

static void init_decoder(const struct cpu *c, ZydisDecoder *d)
{
	if (cpu_long(c))
		ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else if (c->mode == MODE_PROT32)
		ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
	else
		ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16);
}

static void put_instruction(struct text *t, u64 la, const u8 *p, u32 len, const char *what)
{
	text_put(t, "  %016" X "  ", la);
	for (u32 i = 0; i < 15; i++) {
		if (i < len)
			text_put(t, "%02x", p[i]);
		else if (i < 10)
			text_put(t, "  ");
	}
	text_put(t, "  %s\n", what);
}

void cpu_inspect_code(struct cpu *c, const struct cpu_memory *m, struct text *t)
{
	u64 la = cpu_inspect_rip(c);
	u8 code[CODE_BYTES];
	u32 n = read_linear(c, la, m, code, sizeof(code)), at = 0;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisFormatter formatter;
	ZydisDecoder d;
	char what[128];

	if (!n) {
		text_put(t, "  the bytes at %" X " cannot be read\n", la);
		return;
	}
	init_decoder(c, &d);
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	for (unsigned i = 0; i < INSTRUCTIONS && at < n; i++) {
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, code + at, n - at, &insn, operands)) ||
		    !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &insn, operands,
								  insn.operand_count_visible, what, sizeof(what),
								  la + at, NULL))) {
			put_instruction(t, la + at, code + at, MIN(n - at, 15u), "(no instruction)");
			return;
		}
		put_instruction(t, la + at, code + at, insn.length, what);
		at += insn.length;
	}
}
