/* SPDX-License-Identifier: MIT */
/* hc_vcpu.c: a vCPU's registers. */
#include "hostcalls.h"

static void show_seg(const char *name, const struct kvm_segment *s)
{
	out("%s base %llx limit %x sel %x type %x p %d dpl %d db %d s %d l %d g %d avl %d un "
	    "%d",
	    name, (unsigned long long)s->base, s->limit, s->selector, s->type, s->present,
	    s->dpl, s->db, s->s, s->l, s->g, s->avl, s->unusable);
}

static void show_sregs(const struct kvm_sregs *s)
{
	show_seg("cs", &s->cs);
	show_seg("ds", &s->ds);
	show_seg("es", &s->es);
	show_seg("fs", &s->fs);
	show_seg("gs", &s->gs);
	show_seg("ss", &s->ss);
	show_seg("tr", &s->tr);
	show_seg("ldt", &s->ldt);
	out("gdt %llx %x idt %llx %x", (unsigned long long)s->gdt.base, s->gdt.limit,
	    (unsigned long long)s->idt.base, s->idt.limit);
	out("cr0 %llx cr2 %llx cr3 %llx cr4 %llx cr8 %llx efer %llx apic_base %llx",
	    (unsigned long long)s->cr0, (unsigned long long)s->cr2, (unsigned long long)s->cr3,
	    (unsigned long long)s->cr4, (unsigned long long)s->cr8, (unsigned long long)s->efer,
	    (unsigned long long)s->apic_base);
}

static void test_regs(int vcpu)
{
	struct kvm_regs r, r2;

	line(call(vcpu, KVM_GET_REGS, &r), "GET_REGS");
	out("reset: rip %llx rflags %llx rdx-is-a-model %d others %x",
	    (unsigned long long)r.rip, (unsigned long long)r.rflags, r.rdx != 0,
	    digest(&r.rsi, 10 * 8));
	memset(&r, 0x5a, sizeof(r));
	line(call(vcpu, KVM_SET_REGS, &r), "SET_REGS");
	line(call(vcpu, KVM_GET_REGS, &r2), "GET_REGS after");
	out("general registers come back: %d, rflags %llx",
	    !memcmp(&r, &r2, offsetof(struct kvm_regs, rflags)), (unsigned long long)r2.rflags);
	r.rflags = 0;
	line(call(vcpu, KVM_SET_REGS, &r), "SET_REGS rflags 0");
	call(vcpu, KVM_GET_REGS, &r2);
	out("rflags %llx", (unsigned long long)r2.rflags);
	r.rflags = ~0ULL;
	line(call(vcpu, KVM_SET_REGS, &r), "SET_REGS rflags ~0");
}

/* Set special registers changed in one way; then put the old ones back. */
#define TRY_SREGS(change, what)                                                                \
	do {                                                                                   \
		struct kvm_sregs s = base;                                                     \
		change;                                                                        \
		line(call(vcpu, KVM_SET_SREGS, &s), "SET_SREGS %s", what);                     \
		call(vcpu, KVM_GET_SREGS, &s);                                                 \
		out("after: cr0 %llx cr4 %llx efer %llx", (unsigned long long)s.cr0,           \
		    (unsigned long long)s.cr4, (unsigned long long)s.efer);                    \
		call(vcpu, KVM_SET_SREGS, &base);                                              \
	} while (0)

static void test_sregs(int vcpu)
{
	struct kvm_sregs base;
	struct kvm_sregs2 s2;

	line(call(vcpu, KVM_GET_SREGS, &base), "GET_SREGS");
	show_sregs(&base);
	line(call(vcpu, KVM_SET_SREGS, &base), "SET_SREGS what GET gave");
	TRY_SREGS(s.cr0 |= 1, "protected mode");
	TRY_SREGS(s.cr0 = 0x80000001, "paging");
	TRY_SREGS(s.cr0 = 0x80000000, "paging without protection");
	TRY_SREGS(s.cr0 |= 1ULL << 32, "cr0 high half");
	TRY_SREGS(s.cr0 |= 0x20000000, "cr0.NW without CD");
	TRY_SREGS(s.cr0 |= 0x60000000, "cr0.NW with CD");
	TRY_SREGS(s.cr4 = 1ULL << 40, "cr4 bit 40");
	TRY_SREGS(s.cr4 = 1 << 15, "cr4 bit 15");
	TRY_SREGS(s.cr4 = 1 << 11, "UMIP before there is a CPUID");
	TRY_SREGS(s.cr4 = 1 << 5, "PAE");
	TRY_SREGS(s.efer = 1 << 8, "LME");
	TRY_SREGS(s.efer = 1 << 10, "LMA without LME");
	TRY_SREGS(s.efer = 0x500, "LMA without paging");
	TRY_SREGS(s.efer = 2, "efer bit 1");
	TRY_SREGS(s.efer = 1, "SCE");
	TRY_SREGS((s.cr0 = 0x80000001, s.cr4 = 0x20, s.efer = 0x500), "long mode");
	TRY_SREGS((s.cr0 = 0x80000001, s.cr4 = 0, s.efer = 0x500), "long mode without PAE");
	TRY_SREGS((s.cr0 = 0x80000001, s.cr4 = 0x20, s.efer = 0x500, s.cs.l = 1, s.cs.db = 1),
		  "long mode, CS.L and CS.D");
	TRY_SREGS((s.cr0 = 0x80000001, s.cr4 = 0x20, s.efer = 0x500, s.cr3 = 1ULL << 60),
		  "long mode, cr3 reserved bit");
	TRY_SREGS((s.cr0 = 0x80000001, s.cr4 = 0x20, s.efer = 0x100),
		  "paging and LME without LMA");
	TRY_SREGS(s.apic_base |= 1, "apic_base bit 0");
	TRY_SREGS(s.apic_base |= 1ULL << 62, "apic_base bit 62");
	TRY_SREGS(s.apic_base &= ~0x800ULL, "APIC off");
	TRY_SREGS(s.apic_base |= 0x400, "x2APIC");
	TRY_SREGS(s.cr8 = 5, "cr8 5");
	TRY_SREGS(s.cr8 = 16, "cr8 16");
	line(call(vcpu, KVM_GET_SREGS2, &s2), "GET_SREGS2");
	out("sregs2 flags %llx", (unsigned long long)s2.flags);
	line(call(vcpu, KVM_SET_SREGS2, &s2), "SET_SREGS2");
	s2.flags = 2;
	line(call(vcpu, KVM_SET_SREGS2, &s2), "SET_SREGS2 flag 2");
	s2.flags = 1;
	line(call(vcpu, KVM_SET_SREGS2, &s2), "SET_SREGS2 PDPTRs without PAE");
	s2.flags = 0;
	s2.cr4 = 1ULL << 40;
	line(call(vcpu, KVM_SET_SREGS2, &s2), "SET_SREGS2 cr4 bit 40");
}

static void test_bitmap(int vcpu)
{
	struct kvm_sregs s;

	call(vcpu, KVM_GET_SREGS, &s);
	s.interrupt_bitmap[1] = 1 << 3;
	line(call(vcpu, KVM_SET_SREGS, &s), "SET_SREGS with an interrupt");
	memset(s.interrupt_bitmap, 0, sizeof(s.interrupt_bitmap));
	call(vcpu, KVM_GET_SREGS, &s);
	out("interrupt bitmap %x", digest(s.interrupt_bitmap, sizeof(s.interrupt_bitmap)));
}

static void test_fpu(int vcpu)
{
	struct kvm_fpu f, f2;

	line(call(vcpu, KVM_GET_FPU, &f), "GET_FPU");
	out("fcw %x fsw %x ftwx %x mxcsr %x", f.fcw, f.fsw, f.ftwx, f.mxcsr);
	memset(f.xmm, 0x11, sizeof(f.xmm));
	memset(f.fpr, 0x22, sizeof(f.fpr));
	f.fcw = 0x37e;
	f.fsw = 0x3800;
	f.ftwx = 0xf0;
	f.mxcsr = 0x1f00;
	line(call(vcpu, KVM_SET_FPU, &f), "SET_FPU");
	line(call(vcpu, KVM_GET_FPU, &f2), "GET_FPU after");
	out("xmm %d fcw %x fsw %x ftwx %x mxcsr %x", !memcmp(f.xmm, f2.xmm, sizeof(f.xmm)),
	    f2.fcw, f2.fsw, f2.ftwx, f2.mxcsr);
}

static void test_xsave(int vcpu)
{
	struct kvm_xsave x, y;
	u64 *bv = (void *)((u8 *)&x + 512);
	struct kvm_xcrs c;

	memset(&x, 0xff, sizeof(x));
	line(call(vcpu, KVM_GET_XSAVE, &x), "GET_XSAVE");
	out("xcomp_bv %llx reserved %x", (unsigned long long)bv[1], digest(bv + 2, 48));
	line(call(vcpu, KVM_SET_XSAVE, &x), "SET_XSAVE what GET gave");
	bv[0] = 3;
	((u8 *)&x)[160] = 0x77;
	line(call(vcpu, KVM_SET_XSAVE, &x), "SET_XSAVE SSE");
	line(call(vcpu, KVM_GET_XSAVE2, &y), "GET_XSAVE2");
	out("xmm0 comes back: %d", ((u8 *)&y)[160] == 0x77);
	bv[0] = 1ULL << 62;
	line(call(vcpu, KVM_SET_XSAVE, &x), "SET_XSAVE component 62");
	bv[0] = 3;
	x.region[6] = 0xffffffff;
	line(call(vcpu, KVM_SET_XSAVE, &x), "SET_XSAVE mxcsr ~0");
	line(call(vcpu, KVM_GET_XCRS, &c), "GET_XCRS");
	out("nr_xcrs %u xcr %u = %llx", c.nr_xcrs, c.xcrs[0].xcr,
	    (unsigned long long)c.xcrs[0].value);
	line(call(vcpu, KVM_SET_XCRS, &c), "SET_XCRS what GET gave");
	c.xcrs[0].value = 0;
	line(call(vcpu, KVM_SET_XCRS, &c), "SET_XCRS 0");
	c.xcrs[0].value = 5;
	line(call(vcpu, KVM_SET_XCRS, &c), "SET_XCRS AVX without SSE");
	c.xcrs[0].value = 1ULL << 60;
	line(call(vcpu, KVM_SET_XCRS, &c), "SET_XCRS bit 60");
	c.xcrs[0].value = 1;
	c.flags = 1;
	line(call(vcpu, KVM_SET_XCRS, &c), "SET_XCRS flags");
	c.flags = 0;
	c.nr_xcrs = 17;
	line(call(vcpu, KVM_SET_XCRS, &c), "SET_XCRS 17 registers");
	c.nr_xcrs = 1;
	c.xcrs[0].xcr = 1;
	line(call(vcpu, KVM_SET_XCRS, &c), "SET_XCRS another register");
}

static void test_debugregs(int vcpu)
{
	struct kvm_debugregs d;
	u32 flags;

	line(call(vcpu, KVM_GET_DEBUGREGS, &d), "GET_DEBUGREGS");
	out("dr %x dr6 %llx dr7 %llx flags %llx", digest(d.db, sizeof(d.db)),
	    (unsigned long long)d.dr6, (unsigned long long)d.dr7, (unsigned long long)d.flags);
	d.db[0] = 0x1234;
	line(call(vcpu, KVM_SET_DEBUGREGS, &d), "SET_DEBUGREGS");
	d.dr6 = 1ULL << 32;
	line(call(vcpu, KVM_SET_DEBUGREGS, &d), "SET_DEBUGREGS dr6 high half");
	d.dr6 = 0xffff0ff0;
	d.dr7 = 1ULL << 32;
	line(call(vcpu, KVM_SET_DEBUGREGS, &d), "SET_DEBUGREGS dr7 high half");
	d.dr7 = 0x400;
	d.flags = 1;
	line(call(vcpu, KVM_SET_DEBUGREGS, &d), "SET_DEBUGREGS flags");
	call(vcpu, KVM_GET_DEBUGREGS, &d);
	out("db0 %llx dr6 %llx dr7 %llx", (unsigned long long)d.db[0],
	    (unsigned long long)d.dr6, (unsigned long long)d.dr7);
	for (flags = 1; flags; flags <<= 1) {
		struct kvm_guest_debug g = {.control = KVM_GUESTDBG_ENABLE | flags};

		if (flags != KVM_GUESTDBG_INJECT_DB && flags != KVM_GUESTDBG_INJECT_BP)
			line(call(vcpu, KVM_SET_GUEST_DEBUG, &g), "SET_GUEST_DEBUG %x", flags);
	}
}

static void test_translate(int vcpu)
{
	struct kvm_translation t = {.linear_address = 0x12345};

	line(call(vcpu, KVM_TRANSLATE, &t), "TRANSLATE in real mode");
	out("physical %llx valid %d writeable %d usermode %d",
	    (unsigned long long)t.physical_address, t.valid, t.writeable, t.usermode);
	t.linear_address = 1ULL << 40;
	line(call(vcpu, KVM_TRANSLATE, &t), "TRANSLATE 1 << 40 in real mode");
	out("physical %llx valid %d", (unsigned long long)t.physical_address, t.valid);
	t.linear_address = ~0ULL;
	line(call(vcpu, KVM_TRANSLATE, &t), "TRANSLATE ~0 in real mode");
	out("physical %llx valid %d", (unsigned long long)t.physical_address, t.valid);
}

static const u32 msrs[] = {
	0x10,	    0x11,	0x12,	    0x1b,	0x3a,	    0x3b,	0x8b,
	0xfe,	    0x174,	0x175,	    0x176,	0x179,	    0x17a,	0x17b,
	0x1a0,	    0x1d9,	0x200,	    0x201,	0x20f,	    0x210,	0x250,
	0x26f,	    0x277,	0x2ff,	    0x400,	0x401,	    0x40c,	0x480,
	0x6e0,	    0x800,	0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
	0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0x4b564d00, 0x4b564d01, 0xdead0000,
	0xffffffff,
};

/* Registers without state, or that keep part of it; and what is read afterwards. */
static void test_msr_rules(int vcpu)
{
	static const struct {
		u32 index;
		u64 value;
	} sets[] = {
		{0x0, 0},	   {0x17, 0},	       {0x2a, 1},	   {0x2c, 0},
		{0x34, 5},	   {0x34, 0},	       {0xc1, 1},	   {0xc2, ~0ULL},
		{0xcd, 3},	   {0x11e, 1},	       {0x179, 0},	   {0x17b, 1},
		{0x186, ~0ULL},	   {0x187, 1},	       {0x198, 0},	   {0x199, 0},
		{0x1db, 0},	   {0x1dc, 1},	       {0x1dd, 0},	   {0x1de, 1},
		{0x1fc, 2},	   {0x280, 0},	       {0x280, 1},	   {0x345, 0},
		{0x345, 1},	   {0x606, 0},	       {0x611, 0},	   {0x619, 0},
		{0x639, 0},	   {0x641, 0},	       {0x175, 1ULL << 63 | 8},
		{0x176, 1ULL << 47},
		{0xc0000103, 5},   {0xc0010000, 1},    {0xc0010003, ~0ULL}, {0xc0010004, 1},
		{0xc0010007, ~0ULL}, {0xc0010010, 0},  {0xc0010015, 0x148}, {0xc0010015, 1},
		{0xc0010015, 1 << 18}, {0xc0010015, 0}, {0xc001001b, 1},    {0xc001001f, 1ULL << 46},
		{0xc0010055, 0},   {0xc0010058, 0},    {0xc0010058, 1},	    {0xc0010112, 0},
		{0xc0010113, 0},   {0xc0010117, 0x1000}, {0xc0011022, 1},   {0xc0011023, 1},
		{0xc001102a, 1},   {0xc001102c, 1},
	};
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e[1];
	} m = {.h.nmsrs = 1};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		m.e[0] = (struct kvm_msr_entry){.index = sets[i].index, .data = sets[i].value};
		line(call(vcpu, KVM_SET_MSRS, &m), "SET_MSRS %x = %llx", sets[i].index,
		     (unsigned long long)sets[i].value);
		m.e[0] = (struct kvm_msr_entry){.index = sets[i].index};
		if (call(vcpu, KVM_GET_MSRS, &m) == 1)
			out("reads %llx", (unsigned long long)m.e[0].data);
		else
			out("cannot be read");
	}
}

/* Values that go in and come back, or do not. */
static void test_msr_values(int vcpu)
{
	static const struct {
		u32 index;
		u64 value;
	} sets[] = {
		{0x174, 0x10},
		{0x175, 0x7000},
		{0x175, 0x8000000000000000},
		{0x176, 0x1234},
		{0x1b, 0xfee00900},
		{0x1b, 0xfee00901},
		{0x1d9, 1 << 20},
		{0x200, 6},
		{0x200, 0x102},
		{0x201, 0x800},
		{0x250, 0x0606060606060606},
		{0x250, 2},
		{0x277, 0x0007040600070406},
		{0x277, 2},
		{0x2ff, 0xc06},
		{0x2ff, 0x100},
		{0x400, 0},
		{0x400, 1},
		{0x401, 0},
		{0xc0000080, 0x901},
		{0xc0000080, 2},
		{0xc0000081, 0x2300100000000},
		{0xc0000082, 0x1000},
		{0xc0000082, 0x8000000000000000},
		{0xc0000084, 0x47700},
		{0xc0000100, 0x7fff00000000},
		{0xc0000100, 0x8000000000000000},
		{0xc0000102, 0x1000},
		{0x3a, 1},
		{0x3a, 5},
		{0x8b, 0x100000000},
		{0xfe, 5},
		{0x17a, 4},
		{0x17a, 8},
		{0xdead0000, 0},
	};
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e[1];
	} m = {.h.nmsrs = 1};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sets); i++) {
		m.e[0] = (struct kvm_msr_entry){.index = sets[i].index, .data = sets[i].value};
		line(call(vcpu, KVM_SET_MSRS, &m), "SET_MSRS %x = %llx", sets[i].index,
		     (unsigned long long)sets[i].value);
	}
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		m.e[0] = (struct kvm_msr_entry){.index = msrs[i]};
		line(call(vcpu, KVM_GET_MSRS, &m), "GET_MSRS %x", msrs[i]);
	}
}

static void test_msrs(int vcpu)
{
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e[256];
	} m = {.h.nmsrs = 3};

	m.e[0].index = 0x174;
	m.e[1].index = 0xdead0000;
	m.e[2].index = 0x175;
	line(call(vcpu, KVM_GET_MSRS, &m), "GET_MSRS known, unknown, known");
	line(call(vcpu, KVM_SET_MSRS, &m), "SET_MSRS known, unknown, known");
	m.h.nmsrs = 0;
	line(call(vcpu, KVM_GET_MSRS, &m), "GET_MSRS none");
	m.h.nmsrs = 256;
	line(call(vcpu, KVM_GET_MSRS, &m), "GET_MSRS 256");
	line(call(vcpu, KVM_SET_MSRS, &m), "SET_MSRS 256");
	test_msr_values(vcpu);
	test_msr_rules(vcpu);
}

/* IA32_APIC_BASE of a vCPU whose APIC is the VMM's: the same rules. */
static void test_apic_base(int vcpu)
{
	static const u64 bases[] = {0xfee00900, 0xfee00901, 0xfee00b00, 0xfee00d00, 0xfee00400,
				    0xfee00100, 1ULL << 60 | 0xfee00900, 0xfed00900};
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e;
	} m = {{.nmsrs = 1}, {.index = 0x1b}};

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		m.e.data = bases[i];
		line(call(vcpu, KVM_SET_MSRS, &m), "SET_MSRS APIC base %llx",
		     (unsigned long long)bases[i]);
		call(vcpu, KVM_GET_MSRS, &m);
		out("APIC base %llx", (unsigned long long)m.e.data);
	}
}

void test_vcpu(void)
{
	struct machine m = machine_new(false);

	test_regs(m.vcpu);
	test_sregs(m.vcpu);
	test_bitmap(m.vcpu);
	test_fpu(m.vcpu);
	test_apic_base(m.vcpu);
	machine_free(&m);
	m = machine_new(true);
	test_sregs(m.vcpu);
	test_bitmap(m.vcpu);
	test_xsave(m.vcpu);
	test_debugregs(m.vcpu);
	test_translate(m.vcpu);
	test_msrs(m.vcpu);
	test_apic_base(m.vcpu);
	machine_free(&m);
}
