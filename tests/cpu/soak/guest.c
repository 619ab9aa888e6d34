/* SPDX-License-Identifier: MIT */
/*
 * soak/guest.c: the same instruction on a vCPU: the whole of cpu/ on the real mmu/, at CPL 3
 * with paging. Whatever ends it goes through the guest's IDT to a HLT at CPL 0, whose address
 * tells the vector; the frame on the kernel's stack tells the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/pext.h"
#include "cpu/cpu.h"
#include "cpu/native/xstate.h"
#include "cpu/system/system.h"
#include "primary/linux/linux.h"
#include "soak.h"
#include "sync/atomic.h"

/* The system's memory: tables, descriptors, handlers, stack; pages from SYS_GPA, where no user
 * access reaches them. */
#define SYS_GPA	  0x20000000ULL
#define SYS_LA	  0xffff800000000000ULL
#define SYS_PAGES 16u

enum {
	P_PML4,
	P_PDPT0,
	P_PD0,
	P_PT0,
	P_PDPT1,
	P_PD1,
	P_PT1,
	P_GDT,
	P_IDT,
	P_HANDLERS,
	P_STACK,
	P_LDT
};
#define TSS_OFF	 0x800u /* in P_GDT's page */
#define STACK_LA (SYS_LA + (P_STACK + 1) * PAGE_SIZE)
#define HANDLERS (SYS_LA + P_HANDLERS * PAGE_SIZE)

#define PTE_P  1u
#define PTE_W  2u
#define PTE_U  4u
#define PTE_NX BIT(63) /* the host's mapping of the data is not executable either */

#define GIVE_UP (1u << MMU_REQ_OWNER_SHIFT)

bool guest_translated, guest_pair, guest_kernel, guest_traced;
static int waiting = -1; /* an interrupt's vector, for the vCPU at hand */
static u8 *sys;
static struct cpu *c;
static struct cpu *both[2];

static u64 *table(unsigned page)
{
	return (u64 *)(sys + page * PAGE_SIZE);
}

static u64 sys_pte(unsigned page, u32 bits)
{
	return (SYS_GPA + page * PAGE_SIZE) | PTE_P | bits;
}

static u64 code_pages(void)
{
	return guest_pair ? SOAK_CODE_PAGES : 1;
}

/*
 * With guest_pair, which compares nothing with the host, pages that are neighbours in the guest are none
 * in the host: what is taken from the wrong side of a page's end is something else.
 */
static u64 data_page(u64 la)
{
	return guest_pair ? SOAK_DATA + (SOAK_DATA + SOAK_DATA_SIZE - PAGE_SIZE - la) : la;
}

static void make_page_tables(void)
{
	u64 user = guest_kernel ? 0 : PTE_U;

	table(P_PML4)[0] = sys_pte(P_PDPT0, PTE_W | PTE_U);
	table(P_PDPT0)[0] = sys_pte(P_PD0, PTE_W | PTE_U);
	table(P_PD0)[SOAK_BASE >> 21] = sys_pte(P_PT0, PTE_W | PTE_U);
	for (u64 n = 0; n < code_pages(); n++)
		table(P_PT0)[n] = (SOAK_BASE + n * PAGE_SIZE) | PTE_P | PTE_W | user;
	for (u64 at = SOAK_DATA; at < SOAK_DATA + SOAK_DATA_SIZE; at += PAGE_SIZE)
		table(P_PT0)[(at - SOAK_BASE) >> PAGE_SHIFT] =
			data_page(at) | PTE_P | PTE_W | user | PTE_NX;
	table(P_PML4)[256] = sys_pte(P_PDPT1, PTE_W);
	table(P_PDPT1)[0] = sys_pte(P_PD1, PTE_W);
	table(P_PD1)[0] = sys_pte(P_PT1, PTE_W);
	for (unsigned i = 0; i < SYS_PAGES; i++)
		table(P_PT1)[i] = sys_pte(i, PTE_W);
}

/* The host's own GDT as far as selectors drawn at random may name it (Linux's segment.h). */
static void make_descriptors(void)
{
	u64 *gdt = table(P_GDT), *ldt = table(P_LDT);
	u64 tss = SYS_LA + P_GDT * PAGE_SIZE + TSS_OFF, ldt_la = SYS_LA + P_LDT * PAGE_SIZE;
	u64 base = SOAK_BASE, stack = STACK_LA;

	gdt[1] = 0x00cf9b000000ffff;
	gdt[2] = 0x00af9b000000ffff;
	gdt[3] = 0x00cf93000000ffff;
	gdt[4] = 0x00cffb000000ffff;
	gdt[5] = 0x00cff3000000ffff;
	gdt[6] = 0x00affb000000ffff;
	gdt[8] = 0x00008b0000000067 | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56;
	gdt[9] = tss >> 32;
	gdt[10] = 0x000082000000001f | (ldt_la & 0xffffff) << 16 | (ldt_la >> 24 & 0xff) << 56;
	gdt[11] = ldt_la >> 32;
	ldt[0] = 0x0000fb000000ffff | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
	ldt[1] = 0x0000f3000000ffff | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
	ldt[2] = (ldt[1] & ~0xffffULL) | SOAK_LIMIT;
	ldt[3] = ldt[2] | BIT(42); /* expands down */
	memcpy((u8 *)gdt + TSS_OFF + 4, &stack, sizeof(stack));
	memcpy((u8 *)gdt + TSS_OFF + 36, &stack, sizeof(stack)); /* IST1 */
	*(u16 *)((u8 *)gdt + TSS_OFF + 102) = 0x68; /* no I/O bitmap */
	for (unsigned v = 0; v < 256; v++) {
		u64 at = HANDLERS + v * 16;
		u64 dpl = v == VEC_BP || v == VEC_OF ? 3 : 0;
		u64 *gate = table(P_IDT) + v * 2;

		gate[0] = (at & 0xffff) | 0x10 << 16 | (0x8e00ULL | dpl << 13) << 32 |
			  (at >> 16 & 0xffff) << 48;
		if (guest_kernel) /* whatever RSP is */
			gate[0] |= 1ULL << 32;
		gate[1] = at >> 32;
		memset(sys + P_HANDLERS * PAGE_SIZE + v * 16, 0xf4, 16); /* HLT */
	}
}

/* -- a VM of nothing but memory */

static int no_io(void *owner, u16 port, u32 size, bool write, void *data)
{
	return CPU_TO_VMM;
}

static int no_mmio(void *owner, gpa_t gpa, u32 size, bool write, void *data)
{
	return CPU_TO_VMM;
}

static int has_interrupt(void *owner)
{
	return waiting;
}

static int get_interrupt(void *owner)
{
	int v = waiting;

	waiting = -1;
	return v;
}

static u64 no_cr8(void *owner)
{
	return 0;
}

static int no_msr(void *owner, u32 msr, bool host, u64 *value)
{
	return -ENOENT;
}

static int no_msr_write(void *owner, u32 msr, bool host, u64 value)
{
	return -ENOENT;
}

static bool msr_allowed(void *owner, u32 msr, bool write)
{
	return true;
}

static bool never(void *owner)
{
	return false;
}

static bool given_up(void *owner)
{
	sync_and(&c->mmu.requests, ~GIVE_UP);
	return true;
}

static void no_kick(void *owner) {}

static const struct cpu_env env = {
	.io = no_io,
	.mmio = no_mmio,
	.has_interrupt = has_interrupt,
	.get_interrupt = get_interrupt,
	.get_cr8 = no_cr8,
	.msr_read = no_msr,
	.msr_write = no_msr_write,
	.msr_allowed = msr_allowed,
	.requests = given_up,
	.interrupted = never,
};
static const struct mmu_vcpu_ops mops = {.kick = no_kick, .interrupted = never};

static int make_memory(struct mmu **mmu)
{
	struct mmu_region code = {
		.slot = 0, .gpa = SOAK_BASE, .size = SOAK_SIZE, .hva = SOAK_BASE};
	struct mmu_region system = {.slot = 1, .gpa = SYS_GPA, .size = SYS_PAGES * PAGE_SIZE};
	void *primary, *p;
	int r;

	p = mmap((void *)SOAK_BASE, SOAK_SIZE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	sys = mmap(NULL, SYS_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || sys == MAP_FAILED)
		return -errno;
	if (mprotect(p, code_pages() * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    mprotect((void *)SOAK_DATA, SOAK_DATA_SIZE, PROT_READ | PROT_WRITE))
		return -errno;
	r = primary_linux_create(&primary);
	if (r)
		return r;
	r = mmu_create(&primary_linux_ops, primary, mmu);
	if (r)
		return r;
	system.hva = (hva_t)sys;
	r = mmu_set_region(*mmu, &code);
	return r ? r : mmu_set_region(*mmu, &system);
}

static struct kvm_segment segment(u16 sel, u64 desc, u64 base)
{
	return (struct kvm_segment){
		.base = base,
		.limit = desc & BIT(55) ? 0xffffffff : 0xffff,
		.selector = sel,
		.type = (desc >> 40) & 15,
		.s = (desc >> 44) & 1,
		.dpl = (desc >> 45) & 3,
		.present = 1,
		.l = (desc >> 53) & 1,
		.db = (desc >> 54) & 1,
		.g = (desc >> 55) & 1,
	};
}

int guest_set_vendor(enum vendor v)
{
	static const u32 first[NR_VENDORS] = {0x756e6547, 0x68747541}; /* "Genu", "Auth" */
	static struct cpuid_leaf cpuid[MAX_CPUID];
	u32 n = MAX_CPUID;
	int r = cpuid_supported(cpuid, &n);

	if (!r)
		cpuid[0].ebx = first[v];
	return r ? r : cpu_set_cpuid(c, cpuid, n);
}

static int make_system_registers(void)
{
	struct kvm_segment data = segment(0x2b, table(P_GDT)[5], 0);
	struct kvm_sregs s = {
		.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG,
		.cr3 = SYS_GPA,
		.cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE |
		       CR4_UMIP | CR4_FSGSBASE,
		.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NX,
		.cs = segment(0x33, table(P_GDT)[6], 0),
		.ss = data,
		.ds = data,
		.es = data,
		.fs = data,
		.gs = data,
		.tr = segment(0x40, table(P_GDT)[8], SYS_LA + P_GDT * PAGE_SIZE + TSS_OFF),
		.ldt = segment(0x50, table(P_GDT)[10], SYS_LA + P_LDT * PAGE_SIZE),
		.gdt = {.base = SYS_LA + P_GDT * PAGE_SIZE, .limit = 16 * 8 - 1},
		.idt = {.base = SYS_LA + P_IDT * PAGE_SIZE, .limit = PAGE_SIZE - 1},
	};
	struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs[0] = {.value = host_xmask}};
	int r;

	if (guest_kernel)
		s.cr4 |= CR4_SMAP;
	s.tr.limit = 0x67;
	s.ldt.limit = 31;
	r = guest_set_vendor(vendor_of_host());
	if (!r)
		r = cpu_set_sregs(c, &s);
	return r ? r : cpu_set_xcrs(c, &x);
}

/* Every page has been faulted in when the sandbox closes: the host's maps cannot be read there.
 */
static int warm_up(void)
{
	static const u8 store[] = {0xc6, 0x00, 0x00, 0xcc}; /* movb $0, (%rax); int3 */

	for (u64 at = SOAK_DATA; at < SOAK_DATA + SOAK_DATA_SIZE; at += PAGE_SIZE) {
		struct soak_state s = {.rip = SOAK_CODE, .rflags = FL_FIXED, .reg[RAX] = at};

		memcpy((void *)SOAK_CODE, store, sizeof(store));
		if (guest_run(&s, SOAK_64).vector != VEC_BP)
			return -EFAULT;
	}
	/* A store into the code's own page, and code that changed. */
	struct soak_state s = {.rip = SOAK_CODE, .rflags = FL_FIXED, .reg[RAX] = SOAK_BASE};

	return guest_run(&s, SOAK_64).vector == VEC_BP ? 0 : -EFAULT;
}

static int make_cpu(struct mmu *mmu, bool translated)
{
	int r;

	setenv("USERKVM_ENGINE", !translated ? "interpreter" : guest_traced ? "translator:2" : "translator:1", 1);
	if (!guest_traced)
		setenv("USERKVM_COUNT", "1", 1); /* what each has counted is compared */
	r = cpu_create(mmu, translated, &env, NULL, &mops, &c);
	if (!r && translated && !c->translator)
		r = -ENOTSUP;
	if (!r)
		r = make_system_registers();
	both[translated] = c;
	return r ? r : warm_up();
}

bool guest_can_translate(void)
{
	bool can = host_has_fast_pext();

	if (!can)
		printf("needs a processor with BMI2 whose PEXT is not microcode\n");
	return can;
}

int guest_init(void)
{
	struct mmu *mmu;
	int r = make_memory(&mmu);

	if (r)
		return r;
	make_page_tables();
	make_descriptors();
	if (guest_pair)
		r = make_cpu(mmu, false);
	return r ? r : make_cpu(mmu, guest_pair || guest_translated);
}

void guest_choose(bool translated)
{
	c = both[translated];
}

void guest_give_up(void)
{
	sync_or(&c->mmu.requests, GIVE_UP);
}

u64 guest_instructions(void)
{
	return c->stat.instructions;
}

struct cpu *guest_vcpu(void)
{
	return c;
}

void guest_flush_tlb(void)
{
	c->mmu.requests |= MMU_REQ_FLUSH;
}

/* -- a run */

static void set_seg(enum segreg n, u16 sel)
{
	u64 desc = table(sel & 4 ? P_LDT : P_GDT)[sel >> 3];
	struct seg *s = &c->seg[n];

	s->sel = sel;
	s->base = soak_selector_base(sel);
	s->limit = desc & BIT(55) ? 0xffffffff : desc & 0xffff;
	s->attr = (u16)(desc >> 40) & 0xf0ff;
	s->unusable = !desc;
	if (!desc) {
		s->limit = 0;
		s->attr = 0;
	}
}

static void set_segments(const struct soak_state *s, enum soak_mode mode)
{
	set_seg(SEG_CS, guest_kernel ? 0x10 : soak_code_selector(mode));
	set_seg(SEG_SS, guest_kernel ? 0x18 : soak_stack_selector(mode));
	set_seg(SEG_DS, s->sel[SEG_DS]);
	set_seg(SEG_ES, s->sel[SEG_ES]);
	set_seg(SEG_FS, s->sel[SEG_FS]);
	set_seg(SEG_GS, s->sel[SEG_GS]);
	if (mode == SOAK_64) {
		c->seg[SEG_FS].base = s->fs_base;
		c->seg[SEG_GS].base = s->gs_base;
		c->kernel_gs_base = s->kernel_gs_base;
	}
}

static void set_state(const struct soak_state *s, enum soak_mode mode)
{
	u8 area[XSAVE_MAX] __attribute__((aligned(64)));

	memcpy(c->reg, s->reg, sizeof(s->reg));
	c->rip = s->rip;
	c->flags = FL_FIXED;
	set_segments(s, mode);
	cpu_load_rflags(c, s->rflags);
	cpu_update_mode(c);
	memcpy(area, s->xsave, sizeof(s->xsave));
	memset(area + sizeof(s->xsave), 0, sizeof(area) - sizeof(s->xsave));
	if (cpu_set_xsave(c, area, sizeof(area)))
		abort();
	c->halted = false;
	c->shadow = 0;
	c->cr2 = 0; /* what code at CPL 0 reads is what both engines had */
	/* A run that was given up may have left an exception that was due. */
	memset(&c->exception, 0, sizeof(c->exception));
}

static bool has_error(int vector)
{
	return vector == VEC_DF || (vector >= VEC_TS && vector <= VEC_PF) || vector == VEC_AC;
}

static struct soak_end get_state(struct soak_state *s)
{
	struct soak_end e = {.vector = (int)((c->rip - 1 - HANDLERS) / 16), .cr2 = c->cr2};
	const u64 *frame = (const u64 *)(sys + (c->reg[RSP] - SYS_LA));
	u8 area[XSAVE_MAX];

	if (has_error(e.vector))
		e.error = (u32)*frame++;
	memcpy(s->reg, c->reg, sizeof(s->reg));
	s->rip = frame[0];
	s->sel[SEG_CS] = (u16)frame[1];
	s->rflags = frame[2];
	s->reg[RSP] = frame[3];
	s->sel[SEG_SS] = (u16)frame[4];
	s->sel[SEG_ES] = c->seg[SEG_ES].sel;
	s->sel[SEG_DS] = c->seg[SEG_DS].sel;
	s->sel[SEG_FS] = c->seg[SEG_FS].sel;
	s->sel[SEG_GS] = c->seg[SEG_GS].sel;
	s->fs_base = c->seg[SEG_FS].base;
	s->gs_base = c->seg[SEG_GS].base;
	s->kernel_gs_base = c->kernel_gs_base;
	cpu_get_xsave(c, area, sizeof(area));
	memcpy(s->xsave, area, sizeof(s->xsave));
	return e;
}

struct soak_end guest_run(struct soak_state *s, enum soak_mode mode)
{
	set_state(s, mode);
	waiting = guest_kernel && !(s->rflags & FL_IF) ? GUEST_INTERRUPT : -1;
	cpu_run(c);
	waiting = -1;
	if (c->exit.reason != CPU_EXIT_HLT || c->rip < HANDLERS ||
	    c->rip > HANDLERS + PAGE_SIZE)
		return (struct soak_end){.vector = 1000 + (int)c->exit.reason};
	return get_state(s);
}
