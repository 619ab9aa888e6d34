/* SPDX-License-Identifier: MIT */
/* tests/bare/legacy/main32.c: the 32-bit image: tables, interrupts, other tasks and modes. */
#include "bare32.h"

void escape(void) __attribute__((noreturn));
void enter_entry(void);

struct gate idt[256] __attribute__((aligned(16)));
u64 ldt[8] __attribute__((aligned(16)));
struct tss tss, tss2;
struct caught caught;
struct entry entry;
volatile u32 catch_eip, catch_esp;
struct features has;
u8 kernel_stack[8192] __attribute__((aligned(16)));
u8 user_stack[4096] __attribute__((aligned(16)));
static u64 gdt_copy[64];

u64 call_gate(const void *target, u16 selector, u8 type, u8 params)
{
	return (addr(target) & 0xffff) | (u32)selector << 16 | ((u64)params << 32) |
	       ((u64)type << 40) | ((u64)(addr(target) >> 16) << 48);
}

void set_gate(struct gate *g, const void *target, u16 selector, u8 type)
{
	*g = (struct gate){addr(target), selector, 0, type, addr(target) >> 16};
}

static void make_tables(void)
{
	static const struct table_pointer pointer = {sizeof(idt) - 1, (u32)idt};

	tss.ss0 = SEL_DATA;
	tss.esp0 = addr(kernel_stack) + sizeof(kernel_stack);
	tss.iomap = sizeof(tss); /* no bitmap: no ports at CPL 3 */
	gdt[SEL_TSS / 8] = descriptor(addr(&tss), sizeof(tss) - 1, DESC_TSS, 0);
	gdt[SEL_TSS2 / 8] = descriptor(addr(&tss2), sizeof(tss2) - 1, DESC_TSS, 0);
	gdt[SEL_LDT / 8] = descriptor(addr(ldt), sizeof(ldt) - 1, DESC_LDT, 0);
	memcpy(gdt_copy, gdt, sizeof(gdt));
	asm volatile("lidt %0" : : "m"(pointer));
	asm volatile("ltr %w0" : : "r"(SEL_TSS));
}

/* What a test may have changed. */
static void restore_tables(void)
{
	for (unsigned i = 0; i < 256; i++)
		set_gate(&idt[i], stubs[i], SEL_CODE, GATE_INT);
	idt[VEC_DONE].type |= GATE_DPL3;
	idt[BP].type |= GATE_DPL3;
	idt[OF].type |= GATE_DPL3;
	memcpy(gdt, gdt_copy, sizeof(gdt));
	memset(ldt, 0, sizeof(ldt));
	load_ldtr(0);
	asm volatile("mov %0, %%fs\n mov %0, %%gs" : : "r"(0));
	asm volatile("ltr %w0" : : "r"(SEL_TSS));
	tss.esp0 = addr(kernel_stack) + sizeof(kernel_stack);
	tss.ss0 = SEL_DATA;
	tss.iomap = sizeof(tss);
}

/* The handler runs in some other task: this one goes on in its place. */
static void leave_task(void)
{
	gdt[SEL_TSS / 8] &= ~((u64)DESC_BUSY << 40);
	asm volatile("ltr %w0" : : "r"(SEL_TSS));
	asm volatile("pushfl\n andl $~0x4000, (%%esp)\n popfl" : : : "cc");
}

static void note(const struct frame *f)
{
	bool v86 = f->eflags & FLAG_VM;

	caught = (struct caught){.edi = f->edi,
				 .esi = f->esi,
				 .ebp = f->ebp,
				 .ebx = f->ebx,
				 .edx = f->edx,
				 .ecx = f->ecx,
				 .eax = f->eax,
				 .vector = f->vector,
				 .error = f->error,
				 .cr2 = read_cr2(),
				 .eip = f->eip,
				 .eflags = f->eflags,
				 .cs = f->cs,
				 .es = f->es,
				 .ds = f->ds,
				 .fs = f->fs,
				 .gs = f->gs,
				 .tr = read_tr(),
				 .handler_esp = addr(&f->eip),
				 .esp = addr(&f->esp)};
	if (v86 || (f->cs & 3)) {
		caught.esp = f->esp;
		caught.ss = f->ss;
	}
	if (v86) {
		caught.es = f->ves;
		caught.ds = f->vds;
		caught.fs = f->vfs;
		caught.gs = f->vgs;
	}
	if (f->vector == DB)
		caught.dr6 = read_dr6();
}

/* Called by the stubs. */
void interrupt(struct frame *f)
{
	if (interrupt_hook && interrupt_hook(f))
		return;
	note(f);
	if (caught.tr != SEL_TSS)
		leave_task();
	if (!catch_eip) {
		check_failed(__FILE__, __LINE__, "an exception nobody expected",
			     "vector %d error %x at %x:%x cr2 %x", caught.vector, caught.error,
			     caught.cs, caught.eip, caught.cr2);
		catch_eip = addr(abandon);
		catch_esp = abandon_sp;
	}
	escape();
}

void user_entry(const void *eip)
{
	entry = (struct entry){.es = SEL_UDATA,
			       .ds = SEL_UDATA,
			       .eip = addr(eip),
			       .cs = SEL_UCODE,
			       .eflags = 2,
			       .esp = addr(user_stack) + sizeof(user_stack) - 64,
			       .ss = SEL_UDATA};
}

void enter(void)
{
	TRY("jmp enter_entry", (), (), ALL_REGISTERS);
}

void user(const void *eip)
{
	user_entry(eip);
	enter();
}

static void find_features(void)
{
	u32 zero[4], one[4], ext[4], size[4], signature[4] = {0};

	cpuid(0, 0, zero);
	has.amd = zero[1] == 0x68747541; /* "Auth" */
	cpuid(1, 0, one);
	cpuid(0x80000001, 0, ext);
	cpuid(0x80000008, 0, size);
	if (one[2] & BIT(31))
		cpuid(0x40000000, 0, signature);
	has.tcg = signature[1] == 0x54474354; /* "TCGT" */
	has.vme = one[3] & BIT(1);
	has.pse = one[3] & BIT(3);
	has.pae = one[3] & BIT(6);
	has.sep = one[3] & BIT(11);
	has.nx = ext[3] & BIT(20);
	has.maxphyaddr = size[0] & 0xff;
}

void image_start(void)
{
	make_tables();
	find_features();
	print("\n# processor: vme %d pse %d pae %d nx %d sep %d, %u physical address bits\n",
	      has.vme, has.pse, has.pae, has.nx, has.sep, has.maxphyaddr);
}

void image_before_test(void)
{
	restore_tables();
	catch_eip = 0;
}
