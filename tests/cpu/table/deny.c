/* SPDX-License-Identifier: MIT */
/*
 * The default-deny table, proved over the whole opcode space in every mode: what has no line is
 * #UD, what is sensitive is never native, stubs hold nothing but their instruction, and CPUID
 * and the table agree.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../opcodes.h"
#include "cpu/code/ends.h"
#include "cpu/cpu.h"
#include "cpu/native/native.h"
#include "cpu/system/system.h"
#include "table_test.h"

#define MAX_SHOWN 60

unsigned long complaints;
static unsigned long forms, refused, carried_out, native_forms;
static struct cpu *c;
static enum cpu_mode mode;

void complain(const struct decoder *d, const char *what)
{
	if (complaints++ >= MAX_SHOWN)
		return;
	printf("%s: mode %u, %s:", what, mode, ZydisMnemonicGetString(d->i.mnemonic));
	for (unsigned i = 0; i < d->i.length; i++)
		printf(" %02x", d->bytes[i]);
	printf("\n");
}

static bool raises_ud(const struct op *op)
{
	return op->fn == op_raise && op->imm == VEC_UD;
}

static void check_line(const struct decoder *d, const struct table_line *l)
{
	if (l->cls != CLASS_C && mode == MODE_LONG)
		check_lacking(d);
	if (l->cls != CLASS_NATIVE)
		return;
	native_forms++;
	if (is_sensitive(l->mnemonic))
		complain(d, "sensitive, and native");
	if (d->i.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
		complain(d, "privileged, and native");
	if (mode == MODE_LONG || mode == MODE_COMPAT32)
		check_stub(d);
}

static void check_form(const struct opcode_form *f, void *arg)
{
	const struct table_line *l;
	struct decoder d = {.c = c, .key = c->key, .rip = 0x1000};
	struct op op;

	if (!opcode_example(f, mode == MODE_LONG, d.bytes))
		return;
	forms++;
	if (!decode_insn(&d, &op)) { /* no instruction at all */
		if (op.fn != op_raise)
			complain(&d, "no instruction, and something executes");
		return;
	}
	l = table_find(d.i.mnemonic);
	if (raises_ud(&op)) {
		refused++;
		if (mode == MODE_LONG && !(l && l->decode == NULL) && f->kind != OPCODE_XOP)
			note_denied(&d);
		return;
	}
	carried_out++;
	if (!l)
		complain(&d, "no line in the table, and something executes");
	else
		check_line(&d, l);
}

static void set_mode(enum cpu_mode m)
{
	mode = m;
	c->mode = (u8)m;
	c->cr0 = m == MODE_REAL ? CR0_ET : CR0_PE | CR0_PG | CR0_ET | CR0_NE;
	c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE | CR4_SMAP;
	c->efer = m >= MODE_COMPAT16 ? EFER_LME | EFER_LMA | EFER_NX : 0;
	c->flags = FL_FIXED | (m == MODE_V86 ? FL_VM : 0);
	c->xcr0 = 0xe7;
	c->ea_mask = m == MODE_LONG ? ~0ULL : 0xffffffff;
	c->key = m | BLOCK_KEY_SSE | BLOCK_KEY_AVX | BLOCK_KEY_AVX512;
	for (unsigned i = 0; i < NR_SEG; i++) {
		c->seg[i].limit = 0xffffffff;
		c->seg[i].attr =
			(i == SEG_CS ? 0x9b : 0x93) | (m == MODE_LONG ? SEG_ATTR_L : 0);
	}
}

int main(void)
{
	c = aligned_alloc(64, ALIGN_UP(sizeof(*c), 64));
	if (!c)
		return 1;
	memset(c, 0, sizeof(*c));
	if (native_attach(c))
		return 1;
	c->ncpuid = MAX_CPUID;
	if (cpuid_supported(c->cpuid, &c->ncpuid))
		return 1;
	c->cr4_allowed = ~0ULL;
	for (enum cpu_mode m = MODE_REAL; m <= MODE_LONG; m++) {
		set_mode(m);
		opcode_walk(check_form, NULL);
	}
	check_announced();
	printf("%lu forms in 7 modes: %lu carried out (%lu native), %lu instructions refused; "
	       "%lu stubs taken apart\n",
	       forms, carried_out, native_forms, refused, stubs_checked);
	printf("%u names of the sensitive list are unknown to Zydis, so have no line\n",
	       sensitive_unknown());
	printf("%lu times refused for want of one CPUID bit\n", lacking_checked);
	printf("%lu complaints\n", complaints);
	return complaints != 0 || !stubs_checked || !carried_out || !lacking_checked;
}
