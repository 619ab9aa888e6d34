/* SPDX-License-Identifier: MIT */
/*
 * guest_code: bytes as guest code, in every mode.
 *
 * An input is a head (mode, control registers, registers), patches (bytes for the descriptor
 * tables, the page tables, the stack), and code. A mode has tables under which code gets
 * somewhere; patches break them. What the guest asks the VMM is answered from the input, too.
 */
#include <stdlib.h>
#include "machine.h"

/* Guest-physical layout below 64 KiB. */
#define IVT   0x0000
#define GDT   0x1000
#define IDT   0x2000
#define TSS   0x3000
#define PT    0x4000
#define ROOT  0x5000
#define PDPT  0x6000
#define PD    0x7000
#define CODE  0x8000
#define CODE_BYTES 0x2000
#define DATA  0xa000
#define STACK 0xff00

#define MAX_EXITS 12

enum mode {
	M_REAL, M_UNREAL, M_PROT16, M_PROT32, M_PAGED, M_PAE, M_V86, M_V86_PAGED, M_COMPAT16,
	M_COMPAT32, M_LONG, M_LONG5, M_ANY, NR_MODES,
};

struct head {
	u8 mode, options, exits, npatches;
	u32 cr0, cr4; /* flipped bits */
	u16 efer;
	u16 rflags;
	u8 reg[16];
	u8 event, vector;
	u32 seed;
} __attribute__((packed));

#define OPT_CPL3	 0x01
#define OPT_STEP	 0x02
#define OPT_BREAKPOINT	 0x04
#define OPT_FLIP_CR	 0x08
#define OPT_MORE_RFLAGS	 0x10
#define OPT_WINDOW	 0x20
#define OPT_KIND_SHIFT	 6

struct patch {
	u8 region, len;
	u16 offset;
	u8 bytes[16];
} __attribute__((packed));

enum selector {
	S_CODE32 = 0x08, S_DATA = 0x10, S_CODE64 = 0x18, S_CODE16 = 0x20, S_DATA16 = 0x28,
	S_UCODE32 = 0x30, S_UDATA = 0x38, S_UCODE64 = 0x40, S_TSS = 0x48, S_LDT = 0x58,
	S_CALL = 0x68, S_TASK = 0x78, S_TSS2 = 0x80, S_UCODE16 = 0x90, GDT_BYTES = 0x98,
};

static struct machine machine[NR_MACHINE_KINDS];
static struct machine *m;
static bool fresh; /* a VM for each input */

static void put(u64 gpa, u64 v, u32 size)
{
	memcpy(m->slot[SLOT_RAM].host + gpa, &v, size);
}

/* -- tables */

static void put_descriptors(bool lng)
{
	static const u64 gdt[] = {
		0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff, 0x00009b000000ffff,
		0x000093000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff};

	for (unsigned i = 0; i < ARRAY_SIZE(gdt); i++)
		put(GDT + 8 * i, gdt[i], 8);
	put(GDT + S_TSS, 0x00008b000000ffffULL | (u64)TSS << 16, 8);
	put(GDT + S_LDT, 0x000082000000ffffULL | (u64)GDT << 16, 8);
	put(GDT + S_CALL, lng ? 0x0000ec0000188000ULL | CODE : 0x0000ec0200088000ULL, 8);
	put(GDT + S_TASK, 0x0000e50000000000ULL | S_TSS2 << 16, 8);
	put(GDT + S_TSS2, 0x000089000000ffffULL | (u64)(TSS + 0x400) << 16, 8);
	put(GDT + S_UCODE16, 0x0000fb000000ffff, 8);
}

static void put_tss(bool lng)
{
	put(TSS + 4, STACK - 0x1000, lng ? 8 : 4);
	if (!lng)
		put(TSS + 8, S_DATA, 2);
	put(TSS + 0x24, STACK - 0x2000, 4); /* IST1's low half in a 64-bit TSS */
	put(TSS + 0x66, 0x68, 2);
	put(TSS + 0x400 + 0x20, CODE + 0x40, 4);
	put(TSS + 0x400 + 0x24, 2, 4);
	put(TSS + 0x400 + 0x38, STACK - 0x3000, 4);
	for (unsigned i = 0; i < 6; i++)
		put(TSS + 0x400 + 0x48 + 4 * i, i == 1 ? S_CODE32 : S_DATA, 4);
}

/* Handlers are spread over the code. */
static void put_vectors(enum mode mode, bool lng)
{
	for (u32 v = 0; v < 256; v++) {
		u64 to = CODE + (v * 0x67) % 0x400;
		u64 type = v % 7 == 3 ? 0xef : 0xee;
		u64 sel = lng ? S_CODE64 : S_CODE32;

		put(IVT + 4 * v, to, 4);
		if (lng) {
			put(IDT + 16 * v, (to & 0xffff) | sel << 16 | type << 40 |
						  (u64)(v == 8) << 32, 8);
			put(IDT + 16 * v + 8, 0, 8);
		} else {
			if (v % 16 == 9) { /* a task gate */
				sel = S_TSS2;
				type = 0xe5;
			} else if (mode == M_PROT16) {
				sel = S_CODE16;
				type &= 0xf7;
			}
			put(IDT + 8 * v, to | sel << 16 | type << 40, 8);
		}
	}
}

/* Linear 0 is RAM page by page, then come the other slots, a hole, and large pages. */
static u64 page_of(unsigned i)
{
	static const u64 other[] = {RO_GPA, BAD_GPA, HIGH_GPA, 0x3f0000, 0xfee00000, 0};

	if (i < 64)
		return (u64)i << 12 | 7;
	return (other[i % ARRAY_SIZE(other)] + (u64)(i % 4 << 12)) | (i & 8 ? 7 : 3);
}

static void put_page_tables(enum mode mode)
{
	bool pae = mode != M_PAGED && mode != M_V86_PAGED;
	u32 size = pae ? 8 : 4;

	for (unsigned i = 0; i < 512; i++)
		put(PT + size * i, page_of(i), size);
	if (!pae) {
		put(ROOT, PT | 7, 4);
		put(ROOT + 4, 0x87, 4);
		put(ROOT + 8, (HIGH_GPA >> 32) << 13 | 0x87, 4);
		put(ROOT + 0xffc, ROOT | 7, 4);
		return;
	}
	put(PD, PT | 7, 8);
	put(PD + 8, 0x87, 8);
	put(PD + 16, HIGH_GPA | 0x87, 8);
	put(PD + 0xff8, PD | 7, 8);
	if (mode == M_PAE) {
		put(ROOT, PD | 1, 8);
		put(ROOT + 8, PD | 1, 8);
		return;
	}
	put(PDPT, PD | 7, 8);
	put(PDPT + 8, HIGH_GPA | 0x87, 8);
	put(ROOT, PDPT | 7, 8);
	put(ROOT + 0xff8, ROOT | 7, 8);
	put(ROOT + 0x800, PDPT | 3, 8);
}

/* -- state */

static struct kvm_segment segment(u16 sel, u8 type, u8 dpl)
{
	return (struct kvm_segment){.limit = 0xffffffff, .selector = sel, .type = type,
				    .present = 1, .dpl = dpl, .db = 1, .s = 1, .g = 1};
}

static void set_protected_segments(struct kvm_sregs *s, enum mode mode, u8 cpl)
{
	struct kvm_segment code = segment(cpl ? S_UCODE32 | 3 : S_CODE32, 11, cpl);
	struct kvm_segment data = segment(cpl ? S_UDATA | 3 : S_DATA, 3, cpl);

	if (mode == M_PROT16 || mode == M_COMPAT16) {
		code.selector = cpl ? S_UCODE16 | 3 : S_CODE16;
		code.db = code.g = 0;
		code.limit = 0xffff;
	} else if (mode >= M_LONG) {
		code.selector = cpl ? S_UCODE64 | 3 : S_CODE64;
		code.db = 0;
		code.l = 1;
	}
	s->cs = code;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
}

static void set_real_segments(struct kvm_sregs *s, enum mode mode)
{
	struct kvm_segment *all[] = {&s->cs, &s->ds, &s->es, &s->fs, &s->gs, &s->ss};

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		*all[i] = segment(0, 3, mode >= M_V86 ? 3 : 0);
		all[i]->db = all[i]->g = 0;
		all[i]->limit = mode == M_UNREAL && i ? 0xffffffff : 0xffff;
		all[i]->g = mode == M_UNREAL && i;
	}
}

static void set_control(struct kvm_sregs *s, enum mode mode)
{
	if (mode >= M_PROT16)
		s->cr0 |= CR0_PE;
	s->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_PSE;
	if (mode == M_PAGED || mode == M_PAE || mode >= M_V86_PAGED) {
		s->cr0 |= CR0_PG;
		s->cr3 = ROOT;
	}
	if (mode == M_PAE || mode >= M_COMPAT16)
		s->cr4 |= CR4_PAE;
	if (mode >= M_COMPAT16)
		s->efer |= EFER_LME | EFER_LMA | EFER_NX | EFER_SCE;
	if (mode == M_LONG5)
		s->cr4 |= CR4_LA57;
}

static void set_sregs(const struct head *h, enum mode mode, u8 cpl)
{
	bool lng = mode >= M_COMPAT16;
	struct kvm_sregs s, fallback;

	machine_ioctl(m->vcpu, KVM_GET_SREGS, &s);
	set_control(&s, mode);
	s.gdt = (struct kvm_dtable){.base = GDT, .limit = GDT_BYTES - 1};
	s.idt = (struct kvm_dtable){.base = mode <= M_UNREAL ? IVT : IDT, .limit = 0xfff};
	if (mode > M_UNREAL) {
		s.tr = segment(S_TSS, 11, 0);
		s.tr.s = s.tr.db = s.tr.g = 0;
		s.tr.base = TSS;
		s.tr.limit = 0xffff;
	}
	if (mode <= M_UNREAL || mode == M_V86 || mode == M_V86_PAGED)
		set_real_segments(&s, mode);
	else
		set_protected_segments(&s, mode, cpl);
	fallback = s;
	if (h->options & OPT_FLIP_CR) {
		s.cr0 ^= h->cr0;
		s.cr4 ^= h->cr4;
		s.efer ^= h->efer & (lng ? 0xfeff : 0xffff);
		s.cr8 = h->seed & 15;
	}
	if (machine_ioctl(m->vcpu, KVM_SET_SREGS, &s))
		machine_ioctl(m->vcpu, KVM_SET_SREGS, &fallback);
}

/* Where registers point: the slots' edges, holes, counts, what is no address at all. */
static u64 value_of(u8 b)
{
	static const u64 at[] = {0, 1, 2, 3, 8, 0x10, 0x40, 0x1000, DATA, DATA + 0xffc, DATA + 0xfff,
				 RAM_BYTES - 1, RAM_BYTES - 8, RAM_BYTES, 0x40000 - 0x21, RO_GPA,
				 BAD_GPA, 0x41000, 0x42000, 0x43ffc, 0x7fff, 0xfffd, 0xffff, 0x200000,
				 0x400000, 0x40000000, 0x7fffffff, 0x80000000, 0xfffffffc,
				 0xffffffff, HIGH_GPA + 0xff0, HIGH_GPA + HIGH_BYTES - 4,
				 0x00007fffffffffff, 0x0000800000000000, 0xffff800000000000,
				 0x8000000000000000, 0xc000000000000000,
				 0xc000000000008000, ~0ULL, ~0ULL - 7, PT, PD, ROOT, TSS, GDT, IDT,
				 CODE, CODE + 0xfff, 0xc0000080, 0x10, 0x174, 0x277, 0x6e0, 0x802,
				 0xfee00030, 0xcf8, 0x60};

	if (b < ARRAY_SIZE(at))
		return at[b];
	if (b & 0x80)
		return DATA + (u64)(b & 0x7f) * 37;
	return rnd() | (u64)rnd() << 32;
}

static void set_regs(const struct head *h, enum mode mode)
{
	struct kvm_regs r = {.rip = CODE, .rflags = 2};
	u64 *reg = (u64 *)&r; /* rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8 ... */

	for (unsigned i = 0; i < 16; i++)
		reg[i] = value_of(h->reg[i]);
	if (!(h->reg[6] & 0x40))
		r.rsp = STACK;
	if (h->options & OPT_MORE_RFLAGS)
		r.rflags |= h->rflags;
	if (mode == M_V86 || mode == M_V86_PAGED)
		r.rflags |= FL_VM | (h->rflags & FL_IOPL);
	machine_ioctl(m->vcpu, KVM_SET_REGS, &r);
}

/* Vector registers and the mask registers hold something. */
static void set_vectors(const struct head *h)
{
	struct kvm_xcrs x = {.nr_xcrs = 1};
	struct kvm_fpu f = {.fcw = 0x37f, .mxcsr = 0x1f80};

	x.xcrs[0].value = h->seed & 0x80 ? 7 : m->v->cpu->xcr0_allowed;
	machine_ioctl(m->vcpu, KVM_SET_XCRS, &x);
	for (unsigned i = 0; i < sizeof(f.xmm); i++)
		((u8 *)f.xmm)[i] = (u8)rnd();
	for (unsigned i = 0; i < 8; i++)
		for (unsigned n = 0; n < 10; n++)
			f.fpr[i][n] = (u8)rnd();
	f.ftwx = (u8)rnd();
	if (h->seed & 0x100)
		f.mxcsr = rnd() & 0xffbf;
	machine_ioctl(m->vcpu, KVM_SET_FPU, &f);
}

static void set_debug(const struct head *h)
{
	struct kvm_guest_debug d = {.control = KVM_GUESTDBG_ENABLE};

	if (h->options & OPT_STEP)
		d.control |= KVM_GUESTDBG_SINGLESTEP;
	if (h->options & OPT_BREAKPOINT) {
		d.control |= KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_USE_SW_BP;
		for (unsigned i = 0; i < 4; i++)
			d.arch.debugreg[i] = CODE + rnd() % 64;
		d.arch.debugreg[7] = 0x400 | (rnd() & 0xff00ff);
	}
	if (d.control != KVM_GUESTDBG_ENABLE)
		machine_ioctl(m->vcpu, KVM_SET_GUEST_DEBUG, &d);
}

static void inject(const struct head *h)
{
	struct kvm_vcpu_events e;
	struct kvm_interrupt irq = {.irq = h->vector};

	switch (h->event % 8) {
	case 1:
		machine_ioctl(m->vcpu, KVM_INTERRUPT, &irq);
		break;
	case 2:
		machine_ioctl(m->vcpu, KVM_NMI, NULL);
		break;
	case 3: /* whatever the input says */
		machine_ioctl(m->vcpu, KVM_GET_VCPU_EVENTS, &e);
		e.exception.injected = h->event >> 3 & 1;
		e.exception.nr = h->vector & 31;
		e.exception.has_error_code = h->event >> 4 & 1;
		e.exception.error_code = h->cr0;
		e.interrupt.shadow = h->event >> 5 & 3;
		e.nmi.masked = h->event >> 7;
		e.flags = KVM_VCPUEVENT_VALID_SHADOW;
		machine_ioctl(m->vcpu, KVM_SET_VCPU_EVENTS, &e);
		break;
	case 4: /* debug registers of the guest's own */
		for (unsigned i = 0; i < 4; i++)
			m->v->cpu->dr[i] = i & 1 ? CODE + rnd() % 64 : DATA + rnd() % 64;
		m->v->cpu->dr7 = 0x400 | ((u64)rnd() << 16 & 0xffff0000) | (rnd() & 0x23ff);
		cpu_set_guest_debug(m->v->cpu, &(struct kvm_guest_debug){0});
		break;
	default:
		break;
	}
}

/* -- the input */

static size_t take(const u8 **p, size_t *left, void *to, size_t n)
{
	n = MIN(n, *left);
	memcpy(to, *p, n);
	*p += n;
	*left -= n;
	return n;
}

static void put_patches(unsigned n, const u8 **p, size_t *left)
{
	static const u32 base[] = {IVT, GDT, IDT, TSS, PT, ROOT, PDPT, PD, DATA, STACK & ~0xfff};

	while (n--) {
		struct patch t = {0};
		u64 at, len;

		if (take(p, left, &t, 4) < 4)
			return;
		len = take(p, left, t.bytes, 1 + (t.len & 15));
		at = base[t.region % ARRAY_SIZE(base)] + (t.offset & 0xfff);
		memcpy(m->slot[SLOT_RAM].host + at, t.bytes, len);
	}
}

static void answer(void)
{
	struct kvm_run *run = m->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		for (u64 i = 0; run->io.direction == KVM_EXIT_IO_IN &&
				i < (u64)run->io.size * run->io.count; i++)
			((u8 *)run)[run->io.data_offset + i] = (u8)rnd();
		break;
	case KVM_EXIT_MMIO:
		for (u32 i = 0; i < 8 && !run->mmio.is_write; i++)
			run->mmio.data[i] = (u8)rnd();
		break;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		run->msr.data = rnd();
		run->msr.error = rnd() & 1;
		break;
	default:
		break;
	}
}

static bool goes_on(int r)
{
	u32 reason = m->run->exit_reason;

	return !r && reason != KVM_EXIT_SHUTDOWN && reason != KVM_EXIT_INTERNAL_ERROR &&
	       reason != KVM_EXIT_FAIL_ENTRY;
}

/* What the VMM reads it may write back. */
static void check_state(void)
{
	struct kvm_sregs s;
	struct kvm_vcpu_events e;
	struct kvm_debugregs d;
	struct kvm_regs r;

	machine_ioctl(m->vcpu, KVM_GET_REGS, &r);
	machine_ioctl(m->vcpu, KVM_GET_SREGS, &s);
	machine_ioctl(m->vcpu, KVM_GET_VCPU_EVENTS, &e);
	machine_ioctl(m->vcpu, KVM_GET_DEBUGREGS, &d);
	/* KVM refuses a 64-bit CS outside IA-32e mode, where a processor ignores its L. */
	if (!(s.efer & EFER_LMA))
		s.cs.l = 0;
	MUST(!machine_ioctl(m->vcpu, KVM_SET_SREGS, &s),
	     "sregs: cr0 %llx cr3 %llx cr4 %llx cr8 %llx efer %llx apic base %llx cs %x l %d",
	     s.cr0, s.cr3, s.cr4, s.cr8, s.efer, s.apic_base, s.cs.selector, s.cs.l);
	MUST(!machine_ioctl(m->vcpu, KVM_SET_VCPU_EVENTS, &e), "events");
	MUST(!machine_ioctl(m->vcpu, KVM_SET_DEBUGREGS, &d), "debug registers");
	machine_ioctl(m->vcpu, KVM_SET_REGS, &r);
}

static void start(const struct head *h, const u8 *p, size_t left)
{
	enum mode mode = h->mode % NR_MODES;
	bool lng = mode >= M_COMPAT16;

	rnd_seed = h->seed;
	machine_reset(m);
	put_vectors(mode, lng);
	if (mode > M_UNREAL) {
		put_descriptors(lng);
		put_tss(lng);
		put_page_tables(mode);
	}
	put_patches(h->npatches % 32, &p, &left);
	memcpy(m->slot[SLOT_RAM].host + CODE, p, MIN(left, (size_t)CODE_BYTES));
	set_sregs(h, mode, h->options & OPT_CPL3 && mode > M_UNREAL ? 3 : 0);
	set_vectors(h);
	set_regs(h, mode);
	set_debug(h);
	inject(h);
	m->run->request_interrupt_window = !!(h->options & OPT_WINDOW);
}

/* -- mutation: bytes that look like an instruction are found too seldom by changing others */

size_t LLVMFuzzerMutate(u8 *data, size_t size, size_t max_size) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t max_size, unsigned from);

/* 0: legacy, one-byte opcodes; 1 to 3: 0F, 0F 38, 0F 3A; 4: VEX; 5: EVEX. */
static u8 *put_opcode(u8 *p)
{
	u32 r = rnd(), kind = r % 6;

	if (kind < 4) {
		if (r & 0x100)
			*p++ = 0x40 | (r >> 9 & 15); /* REX; INC or DEC elsewhere */
		if (kind)
			*p++ = 0x0f;
		if (kind >= 2)
			*p++ = kind == 2 ? 0x38 : 0x3a;
	} else if (kind == 4 && r & 0x100) {
		*p++ = 0xc5;
		*p++ = (u8)(rnd() | 0xc0);
	} else if (kind == 4) {
		*p++ = 0xc4;
		*p++ = 0xe0 | (u8)(1 + r / 7 % 3);
		*p++ = (u8)rnd();
	} else {
		*p++ = 0x62;
		*p++ = 0xf0 | (u8)(1 + r / 7 % 3);
		*p++ = (u8)(rnd() | 0x04);
		*p++ = (u8)(rnd() | 0x08);
	}
	*p++ = (u8)rnd();
	return p;
}

static size_t put_instruction(u8 *p)
{
	static const u8 prefix[] = {0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x2e, 0x65, 0x64, 0x36, 0x26};
	u8 *start = p;

	for (u32 n = rnd() % 4; n >= 2; n--)
		*p++ = prefix[rnd() % ARRAY_SIZE(prefix)];
	p = put_opcode(p);
	for (u32 n = rnd() % 7; n; n--)
		*p++ = (u8)rnd();
	return (size_t)(p - start);
}

size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t max_size, unsigned from)
{
	u8 insn[32];
	size_t at, n;

	if (from & 1 || size <= sizeof(struct head) || max_size < size + sizeof(insn))
		return LLVMFuzzerMutate(data, size, max_size);
	rnd_seed = from;
	n = put_instruction(insn);
	at = sizeof(struct head) + rnd() % (size - sizeof(struct head));
	if (from & 2) { /* in between, else in place */
		memmove(data + at + n, data + at, size - at);
		size += n;
	}
	memcpy(data + at, insn, n);
	return MAX(size, at + n);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	machine_init();
	fresh = getenv("FUZZ_FRESH") != NULL;
	for (unsigned k = 0; k < NR_MACHINE_KINDS && !fresh; k++)
		machine_create(&machine[k], k);
	return 0;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct head h = {0};
	enum machine_kind kind;
	int r;

	take(&data, &size, &h, sizeof(h));
	kind = (h.options >> OPT_KIND_SHIFT) % NR_MACHINE_KINDS;
	m = &machine[kind];
	if (fresh)
		machine_create(m, kind);
	start(&h, data, size);
	for (unsigned n = 0; n <= h.exits % MAX_EXITS; n++) {
		r = machine_run(m);
		if (!goes_on(r))
			break;
		answer();
	}
	check_state();
	machine_check(m);
	if (fresh)
		machine_destroy(m);
	return 0;
}
