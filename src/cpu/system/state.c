/* SPDX-License-Identifier: MIT */
/*
 * system/state.c: a vCPU's registers in KVM's structures, and what KVM refuses (api.rst, 4.11 to
 * 4.14, 4.33, 4.156).
 */
#include "cpu/system/internal.h"

/* struct kvm_regs' order is not the encoding's. */
static const u8 regs_order[] = {RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP,
				R8,  R9,  R10, R11, R12, R13, R14, R15};

void cpu_get_regs(struct cpu *c, struct kvm_regs *r)
{
	u64 *out = (u64 *)r;

	for (unsigned n = 0; n < ARRAY_SIZE(regs_order); n++)
		out[n] = c->reg[regs_order[n]];
	r->rip = c->rip;
	r->rflags = cpu_rflags(c);
}

void cpu_set_regs(struct cpu *c, const struct kvm_regs *r)
{
	const u64 *in = (const u64 *)r;

	for (unsigned n = 0; n < ARRAY_SIZE(regs_order); n++)
		c->reg[regs_order[n]] = in[n];
	if (c->rip != r->rip)
		c->repeating = false;
	c->rip = r->rip;
	cpu_load_rflags(c, r->rflags);
	/* The VMM has moved the vCPU elsewhere: an exception not yet delivered is gone. */
	c->exception.pending = false;
}

static void get_segment(const struct seg *s, struct kvm_segment *k)
{
	*k = (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->sel,
		.type = attr_type(s->attr),
		.s = !!(s->attr & SEG_ATTR_S),
		.dpl = SEG_DPL(s->attr),
		.present = !!(s->attr & SEG_ATTR_P) && !s->unusable,
		.avl = !!(s->attr & SEG_ATTR_AVL),
		.l = !!(s->attr & SEG_ATTR_L),
		.db = !!(s->attr & SEG_ATTR_DB),
		.g = !!(s->attr & SEG_ATTR_G),
		.unusable = s->unusable,
	};
}

static void set_segment(struct seg *s, const struct kvm_segment *k)
{
	s->base = k->base;
	s->limit = k->limit;
	s->sel = k->selector;
	s->attr = (u16)((k->type & 15) | (k->s & 1) << 4 | (k->dpl & 3) << 5 |
			(k->present & 1) << 7 | (k->avl & 1) << 12 | (k->l & 1) << 13 |
			(k->db & 1) << 14 | (k->g & 1) << 15);
	/* KVM takes an absent segment for an unusable one. */
	s->unusable = k->unusable || !k->present;
}

/* struct kvm_sregs' order of segments; the two structures begin alike. */
static const u8 sregs_order[] = {SEG_CS, SEG_DS, SEG_ES, SEG_FS,
				 SEG_GS, SEG_SS, SEG_TR, SEG_LDTR};
_Static_assert(offsetof(struct kvm_sregs, apic_base) == offsetof(struct kvm_sregs2, apic_base),
	       "kvm_sregs2 begins as kvm_sregs");

static void get_common(struct cpu *c, struct kvm_sregs2 *s)
{
	struct kvm_segment *seg = &s->cs;

	memset(s, 0, sizeof(*s));
	for (unsigned n = 0; n < ARRAY_SIZE(sregs_order); n++)
		get_segment(&c->seg[sregs_order[n]], &seg[n]);
	s->gdt.base = c->gdt.base;
	s->gdt.limit = c->gdt.limit;
	s->idt.base = c->idt.base;
	s->idt.limit = c->idt.limit;
	s->cr0 = c->cr0;
	s->cr2 = c->cr2;
	s->cr3 = c->cr3;
	s->cr4 = c->cr4;
	s->efer = c->efer;
}

void cpu_get_sregs(struct cpu *c, struct kvm_sregs *s)
{
	struct kvm_sregs2 t;

	get_common(c, &t);
	memset(s, 0, sizeof(*s));
	memcpy(s, &t, offsetof(struct kvm_sregs, interrupt_bitmap));
	if (c->interrupt.injected && !c->interrupt.soft)
		s->interrupt_bitmap[c->interrupt.vector / 64] |= BIT(c->interrupt.vector % 64);
}

static bool pae_paging(u64 cr0, u64 cr4, u64 efer)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

void cpu_get_sregs2(struct cpu *c, struct kvm_sregs2 *s)
{
	get_common(c, s);
	if (pae_paging(c->cr0, c->cr4, c->efer)) {
		s->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
		memcpy(s->pdptrs, c->pdptr, sizeof(s->pdptrs));
	}
}

/* What KVM checks before it takes a state. */
static bool sregs_valid(const struct cpu *c, const struct kvm_sregs2 *s)
{
	if ((s->efer & EFER_LME) && (s->cr0 & CR0_PG)) {
		if (!(s->cr4 & CR4_PAE) || !(s->efer & EFER_LMA))
			return false;
		if (s->cr3 & c->reserved_gpa)
			return false;
	} else if ((s->efer & EFER_LMA) || s->cs.l) {
		return false;
	}
	return cr4_valid(c, s->cr4) && cr0_valid(c, s->cr0);
}

/* Read the PDPTEs as MOV CR3 would; a VMM that sets bad ones finds out when the guest runs. */
static void load_pdptrs_outside(struct cpu *c)
{
	mmu_vcpu_enter(&c->mmu);
	if (pdptrs_load(c, c->cr3))
		memset(c->pdptr, 0, sizeof(c->pdptr));
	mmu_vcpu_leave(&c->mmu);
}

static int set_common(struct cpu *c, const struct kvm_sregs2 *s)
{
	const struct kvm_segment *seg = &s->cs;

	if (!sregs_valid(c, s))
		return -EINVAL;
	for (unsigned n = 0; n < ARRAY_SIZE(sregs_order); n++)
		set_segment(&c->seg[sregs_order[n]], &seg[n]);
	c->gdt = (struct dtable){.base = s->gdt.base, .limit = s->gdt.limit};
	c->idt = (struct dtable){.base = s->idt.base, .limit = s->idt.limit};
	c->cr0 = s->cr0 | CR0_ET;
	c->cr2 = s->cr2;
	c->cr3 = s->cr3;
	c->cr4 = s->cr4;
	c->efer = s->efer;
	cpu_update_mode(c);
	mmu_changed(c);
	return 0;
}

int cpu_set_sregs(struct cpu *c, const struct kvm_sregs *s)
{
	struct kvm_sregs2 t = {.flags = 0};
	int r;

	memcpy(&t, s, offsetof(struct kvm_sregs, interrupt_bitmap));
	r = set_common(c, &t);
	if (r)
		return r;
	if (pae_paging(c->cr0, c->cr4, c->efer))
		load_pdptrs_outside(c);
	for (unsigned n = 0; n < KVM_NR_INTERRUPTS; n++) {
		if (!(s->interrupt_bitmap[n / 64] & BIT(n % 64)))
			continue;
		c->interrupt.injected = true;
		c->interrupt.soft = false;
		c->interrupt.vector = (u8)n;
		break;
	}
	return 0;
}

int cpu_set_sregs2(struct cpu *c, const struct kvm_sregs2 *s)
{
	bool valid_pdptrs = s->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
	bool pae = pae_paging(s->cr0, s->cr4, s->efer);
	int r;

	if (s->flags & ~(u64)KVM_SREGS2_FLAGS_PDPTRS_VALID)
		return -EINVAL;
	if (valid_pdptrs && !pae)
		return -EINVAL;
	r = set_common(c, s);
	if (r || !pae)
		return r;
	if (valid_pdptrs)
		memcpy(c->pdptr, s->pdptrs, sizeof(c->pdptr));
	else
		load_pdptrs_outside(c);
	return 0;
}

void cpu_get_debugregs(struct cpu *c, struct kvm_debugregs *d)
{
	memset(d, 0, sizeof(*d));
	memcpy(d->db, c->dr, sizeof(d->db));
	d->dr6 = c->dr6;
	d->dr7 = c->dr7;
}

int cpu_set_debugregs(struct cpu *c, const struct kvm_debugregs *d)
{
	if (d->flags || d->dr6 >> 32 || d->dr7 >> 32)
		return -EINVAL;
	memcpy(c->dr, d->db, sizeof(c->dr));
	c->dr6 = d->dr6;
	c->dr7 = d->dr7;
	cpu_update_mode(c);
	return 0;
}

int cpu_set_guest_debug(struct cpu *c, const struct kvm_guest_debug *d)
{
	u64 rflags = cpu_rflags(c);

	/* Injecting needs a free slot for the exception (api.rst, 4.87). */
	if (d->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) {
		if (c->exception.pending)
			return -EBUSY;
		cpu_queue_exception(c, d->control & KVM_GUESTDBG_INJECT_DB ? VEC_DB : VEC_BP,
				    false, 0);
	}
	c->guest_debug = d->control & KVM_GUESTDBG_ENABLE ? d->control : 0;
	if (c->guest_debug & KVM_GUESTDBG_USE_HW_BP) {
		for (unsigned n = 0; n < 4; n++)
			c->guest_dr[n] = d->arch.debugreg[n];
		c->guest_dr7 = d->arch.debugreg[7];
	} else {
		c->guest_dr7 = 0;
	}
	cpu_load_rflags(c, rflags);
	cpu_update_mode(c);
	return 0;
}

void cpu_translate(struct cpu *c, struct kvm_translation *t)
{
	struct walk w;
	u32 error;

	t->writeable = 1;
	t->usermode = 0;
	/* Without paging the address is the answer, all of it; ~0 is KVM's word for none. */
	if (!(c->cr0 & CR0_PG)) {
		t->physical_address = t->linear_address;
		t->valid = t->linear_address != ~0ULL;
		return;
	}
	mmu_vcpu_enter(&c->mmu);
	t->valid = walk_linear(c, t->linear_address, MMU_READ, WALK_NO_SET | WALK_AC, &w,
			       &error) == 0;
	mmu_vcpu_leave(&c->mmu);
	t->physical_address = t->valid ? w.gpa : ~0ULL;
}
