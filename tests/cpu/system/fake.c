/* SPDX-License-Identifier: MIT */
#include "fake.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct fake fake;

/* -- mmu/ and interpreter/ */

struct tlb tlb_never;

void mmu_tlb_flush(struct mmu_vcpu *v)
{
	fake.flushes++;
}

bool mmu_tlb_switch(struct mmu_vcpu *v, u32 pcid, bool keep)
{
	fake.flushes++;
	v->space++;
	return true;
}

void mmu_tlb_forget_space(struct mmu_vcpu *v, u32 pcid)
{
	fake.flushes++;
}

void mmu_tlb_forget_spaces(struct mmu_vcpu *v)
{
	fake.flushes++;
}

u64 mmu_tlb_flush_page(struct mmu_vcpu *v, u64 linear)
{
	fake.flushes++;
	v->invlpgs++;
	return PAGE_SIZE;
}

void mmu_vcpu_enter(struct mmu_vcpu *v) {}
void mmu_vcpu_leave(struct mmu_vcpu *v) {}
const struct op *cpu_go_on(struct cpu *c)
{
	return NULL;
}

void code_cache_remap(struct cpu *c) {}
void code_cache_switch(struct cpu *c) {}
void code_cache_unmap(struct cpu *c, u64 la, u64 size) {}

/* -- access.c */

static void check(struct cpu *c, u64 la, u32 size, bool write)
{
	if (fake.bad_page && (la & PAGE_MASK) == fake.bad_page)
		cpu_raise_pf(c, la, write ? PF_W : 0);
	assert_true(la + size <= FAKE_MEM);
}

/*
 * Another vCPU may change memory between two reads of one instruction, and what was judged would not
 * be what is used: no byte is read twice.
 */
static void read_once(u64 la, u32 size)
{
	if (!fake.counting)
		return;
	for (unsigned i = 0; i < fake.nreads; i++) {
		if (la < fake.read[i].la + fake.read[i].size && fake.read[i].la < la + size)
			fail_msg("%#lx is read twice", la);
	}
	assert_true(fake.nreads < ARRAY_SIZE(fake.read));
	fake.read[fake.nreads].la = la;
	fake.read[fake.nreads++].size = size;
}

u64 access_load_sys(struct cpu *c, u64 la, u32 size)
{
	check(c, la, size, false);
	read_once(la, size);
	return get(la, size);
}

void access_store_sys(struct cpu *c, u64 la, u32 size, u64 value)
{
	check(c, la, size, true);
	memcpy(fake.mem + la, &value, size);
}

u8 access_bits_sys(struct cpu *c, u64 la, u8 set, u8 clear)
{
	u8 was;

	check(c, la, 1, true);
	was = fake.mem[la];
	fake.mem[la] = (u8)((was & ~clear) | set);
	return was;
}

void access_probe_sys(struct cpu *c, u64 la, u32 size, bool write)
{
	check(c, la, size, write);
}

void watch_data(struct cpu *c, u64 la, u32 size, bool write) {}

u64 access_load_slow(struct cpu *c, u64 la, u32 size)
{
	return access_load_sys(c, la, size);
}

void access_store_slow(struct cpu *c, u64 la, u32 size, u64 value)
{
	access_store_sys(c, la, size, value);
}

void access_died(struct cpu *c, u64 la, bool write)
{
	abort();
}

int access_phys_load(struct cpu *c, gpa_t gpa, u32 size, u64 *value)
{
	fake.nphys++;
	if (gpa + size > FAKE_MEM)
		return -ENOENT;
	*value = get(gpa, size);
	return 0;
}

u8 *access_phys_known(struct cpu *c, gpa_t page)
{
	return fake.mem + page;
}

int access_phys_cmpxchg(struct cpu *c, gpa_t gpa, u32 size, u64 old, u64 new_, bool *done)
{
	if (fake.rom_page && (gpa & PAGE_MASK) == fake.rom_page)
		return -ENOENT;
	if (fake.race)
		fake.race(gpa);
	*done = get(gpa, size) == old;
	if (*done)
		memcpy(fake.mem + gpa, &new_, size);
	return 0;
}

/* -- the owner */

static int no_msr_read(void *owner, u32 msr, bool host, u64 *value)
{
	return -ENOENT;
}

static int no_msr_write(void *owner, u32 msr, bool host, u64 value)
{
	return -ENOENT;
}

static int no_cr8(void *owner, u64 v)
{
	return 0;
}

static const struct cpu_env env = {
	.msr_read = no_msr_read, .msr_write = no_msr_write, .set_cr8 = no_cr8};

/* -- states */

/* A vCPU, and guest memory behind it. */
#define MACHINE_CPU  ALIGN_UP(sizeof(struct cpu), PAGE_SIZE)
#define MACHINE_SIZE (MACHINE_CPU + FAKE_MEM)

/* Megabytes, a few pages of which are touched before the next one is wanted, thousands of times: copies of a file's. */
static struct cpu *new_machine(void)
{
	static struct cpu *at;
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("machine", MFD_CLOEXEC);
		assert_int_equal(ftruncate(fd, MACHINE_SIZE), 0);
		at = mmap(NULL, MACHINE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(at, MAP_FAILED);
		/* No TLB entry allows anything. */
		for (unsigned m = 0; m < TLB_MODES; m++)
			for (unsigned n = 0; n < TLB_ENTRIES; n++)
				at->mmu.tlb[m].neg_read[n] = at->mmu.tlb[m].neg_write[n] = tlb_nothing(n);
	}
	assert_ptr_equal(mmap(at, MACHINE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0), at);
	return at;
}

void fake_reset(void)
{
	static const struct cpuid_leaf cpuid[] = {
		{.eax = 0xd},
		{.function = 1, .eax = 0x60fb1, .edx = 0x078bfbff},
		{.function = 7, .flags = 1, .ebx = 1 | 1 << 1 | 1 << 7 | 1 << 20, .ecx = 1 << 2 | 1 << 16},
		{.function = 0x80000000, .eax = 0x80000008},
		{.function = 0x80000001, .edx = 1u << 11 | 1u << 20 | 1u << 26 | 1u << 29},
		{.function = 0x80000008, .eax = 40 | 48 << 8},
	};

	fake.c = new_machine();
	fake = (struct fake){.c = fake.c, .mem = (u8 *)fake.c + MACHINE_CPU};
	fake.c->env = &env;
	cpu_reset(fake.c, false);
	assert_int_equal(cpu_set_cpuid(fake.c, cpuid, ARRAY_SIZE(cpuid)), 0);
}

static void load(enum segreg s, u16 sel)
{
	struct desc d;

	desc_split(get(GDT_BASE + (sel & ~7u), 8), &d);
	seg_commit(fake.c, s, sel, &d);
}

static void fake_gdt(bool lng)
{
	static const u64 gdt[] = {
		0,
		DESC(0x9b, 0xc), /* kernel code */
		DESC(0x93, 0xc),
		DESC(0xfb, 0xc), /* user code */
		DESC(0xf3, 0xc),
		DESC(0x9b, 0xa), /* kernel code, 64-bit */
		DESC(0xfb, 0xa),
		DESC(0x9f, 0xc), /* conforming, DPL 0 */
		0, 0,		 /* TSS */
		DESC(0x13, 0xc), /* absent data */
		DESC(0xf1, 0xc), /* read-only data */
		DESC(0xf9, 0xc), /* execute-only code */
	};
	struct cpu *c = fake.c;

	memcpy(fake.mem + GDT_BASE, gdt, sizeof(gdt));
	put64(GDT_BASE + SEL_TSS, 0x00008b0000000067ULL | TSS_BASE << 16);
	c->gdt = (struct dtable){.base = GDT_BASE, .limit = GDT_BYTES - 1};
	c->idt = (struct dtable){.base = IDT_BASE, .limit = 0xfff};
	c->seg[SEG_TR] = (struct seg){
		.base = TSS_BASE, .limit = 0x67, .sel = SEL_TSS, .attr = SEG_ATTR_P | TYPE_TSS_BUSY};
	c->seg[SEG_LDTR].unusable = true;
	put32(TSS_BASE + 4, 0x8000); /* ESP0, or RSP0's low half */
	if (!lng)
		put16(TSS_BASE + 8, SEL_KDATA);
}

static void fake_segments(u16 cs, u16 ss)
{
	load(SEG_CS, cs);
	load(SEG_SS, ss);
	load(SEG_DS, ss);
	load(SEG_ES, ss);
	cpu_update_mode(fake.c);
	fake.c->reg[RSP] = 0x7000;
	fake.c->rip = 0x1234;
}

void fake_protected(u8 cpl)
{
	fake_reset();
	fake_gdt(false);
	fake.c->cr0 |= CR0_PE;
	fake_segments(cpl ? SEL_UCODE | 3 : SEL_KCODE, cpl ? SEL_UDATA | 3 : SEL_KDATA);
}

void fake_long(u8 cpl)
{
	fake_reset();
	fake_gdt(true);
	fake.c->cr0 |= CR0_PE | CR0_PG;
	fake.c->cr4 |= CR4_PAE;
	fake.c->efer = EFER_LME | EFER_LMA | EFER_NX | EFER_SCE;
	fake_segments(cpl ? SEL_UCODE64 | 3 : SEL_KCODE64, cpl ? SEL_UDATA | 3 : SEL_KDATA);
}

void fake_idt32(u8 vector, u16 sel, u32 offset, u8 type, u8 dpl)
{
	u64 g = (offset & 0xffff) | (u64)sel << 16 | (u64)(0x80 | dpl << 5 | type) << 40 |
		(u64)(offset >> 16) << 48;

	put64(IDT_BASE + vector * 8u, g);
}

void fake_idt64(u8 vector, u16 sel, u64 offset, u8 type, u8 dpl, u8 ist)
{
	u64 g = (offset & 0xffff) | (u64)sel << 16 | (u64)ist << 32 |
		(u64)(0x80 | dpl << 5 | type) << 40 | ((offset >> 16) & 0xffff) << 48;

	put64(IDT_BASE + vector * 16u, g);
	put64(IDT_BASE + vector * 16u + 8, offset >> 32);
}
