/* SPDX-License-Identifier: MIT */
/* tests/bare/main.c: the 64-bit image: tables, interrupts, the window. */
#include "bare.h"

struct gate idt[256] __attribute__((aligned(16)));
struct tss tss;
struct caught caught;
volatile u64 catch_rip, catch_rsp;
struct features has;
extern u64 boot_pml4[512], boot_pdpt[512];
volatile u64 window_pd[512] __attribute__((aligned(PAGE)));
volatile u64 window_pt[4][512] __attribute__((aligned(PAGE)));
u8 page_pool[16][PAGE] __attribute__((aligned(PAGE)));
static u8 kernel_stack[8192] __attribute__((aligned(16)));
static u8 fault_stack[4096] __attribute__((aligned(16)));

void set_gate(struct gate *g, const void *target, u16 selector, u16 flags)
{
	u64 offset = (u64)target;

	*g = (struct gate){offset, selector, flags, offset >> 16, offset >> 32, 0};
}

static void make_tables(void)
{
	struct table_pointer pointer = {sizeof(idt) - 1, (u64)idt};
	u64 base = (u64)&tss;

	for (unsigned i = 0; i < 256; i++)
		set_gate(&idt[i], stubs[i], SEL_CODE64, GATE_INT);
	idt[VEC_DONE].flags |= GATE_DPL3;
	idt[BP].flags |= GATE_DPL3;
	idt[DF].flags |= 1; /* IST 1: a double fault's cause may be the stack */
	asm volatile("lidt %0" : : "m"(pointer));

	tss.rsp[0] = (u64)kernel_stack + sizeof(kernel_stack);
	tss.ist[0] = (u64)fault_stack + sizeof(fault_stack);
	tss.iomap = sizeof(tss); /* no bitmap: no ports at CPL 3 */
	gdt[SEL_TSS / 8] = descriptor(base, sizeof(tss) - 1, 0x89, 0);
	gdt[SEL_TSS / 8 + 1] = base >> 32;
	asm volatile("ltr %w0" : : "r"(SEL_TSS));
	boot_pml4[0] |= PTE_U;
	boot_pdpt[1] = (u64)window_pd | PTE_P | PTE_W | PTE_U;
}

/* Called by the stubs. */
void interrupt(struct frame *f)
{
	if (interrupt_hook && interrupt_hook(f))
		return;
	caught = (struct caught){f->vector, f->error, read_cr2(), f->rip, f->rsp,
				 f->rflags, f->cs,    f->ss,	  f->rax, f->rbx,
				 f->rcx,    f->rdx,   f->rsi,	  f->rdi, 0};
	if (f->vector == DB)
		caught.dr6 = read_dr6();
	if (!catch_rip) {
		check_failed(__FILE__, __LINE__, "an exception nobody expected",
			     "vector %d error %lx rip %lx cr2 %lx", (int)f->vector, f->error,
			     f->rip, read_cr2());
		f->rip = (u64)abandon;
		f->rsp = abandon_sp;
	} else {
		f->rip = catch_rip;
		f->rsp = catch_rsp;
	}
	f->cs = SEL_CODE64;
	f->ss = SEL_DATA;
	f->rflags = 2;
}

void window_map(unsigned n, const void *pa, u64 flags)
{
	window_pt[n / 512][n % 512] = (u64)pa | flags;
	invlpg(window(n));
}

/* Nothing mapped, upper levels P|W|U. */
void image_before_test(void)
{
	memset((void *)window_pd, 0, PAGE);
	memset((void *)window_pt, 0, sizeof(window_pt));
	for (unsigned i = 0; i < 4; i++)
		window_pd[i] = (u64)window_pt[i] | PTE_P | PTE_W | PTE_U;
	write_cr3(read_cr3());
}

u64 user_code(unsigned n, unsigned pool, const void *start, const void *end)
{
	memcpy(page_pool[pool], start, (u64)end - (u64)start);
	window_map(n, page_pool[pool], PTE_P | PTE_U);
	return (u64)window(n);
}

void run_user(u64 rip, u64 rax, u64 rcx, u64 rflags)
{
	u64 rsp = (u64)window(USER_STACK_PAGE + 1) - 64;

	window_map(USER_STACK_PAGE, page_pool[15], PTE_P | PTE_W | PTE_U);
	TRY("pushq %[ss]\n pushq %[rsp]\n pushq %[flags]\n pushq %[cs]\n pushq %[rip]\n iretq",
	    ("+a"(rax), "+c"(rcx)),
	    ([ss] "i"(SEL_UDATA), [rsp] "r"(rsp), [flags] "r"(rflags | 2),
	     [cs] "i"(SEL_UCODE64), [rip] "r"(rip)),
	    "rbx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
}

static void find_features(void)
{
	u32 one[4], seven[4], ext[4], size[4], max[4];

	cpuid(0, 0, max);
	cpuid(1, 0, one);
	cpuid(7, 0, seven);
	cpuid(0x80000001, 0, ext);
	cpuid(0x80000008, 0, size);
	has.intel = max[1] == 0x756e6547; /* "Genu" */
	has.amd = max[1] == 0x68747541;	  /* "Auth" */
	if (one[2] & BIT(31)) {
		u32 signature[4];

		cpuid(0x40000000, 0, signature);
		has.tcg = signature[1] == 0x54474354; /* "TCGT" */
	}
	has.pcid = one[2] & BIT(17);
	has.xsave = one[2] & BIT(26);
	has.nx = ext[3] & BIT(20);
	has.page1g = ext[3] & BIT(26);
	has.rdtscp = ext[3] & BIT(27);
	if (max[0] >= 7) {
		has.fsgsbase = seven[1] & BIT(0);
		has.smep = seven[1] & BIT(7);
		has.smap = seven[1] & BIT(20);
		has.umip = seven[2] & BIT(2);
	}
	has.maxphyaddr = size[0] & 0xff;
	if (has.nx)
		wrmsr(0xc0000080, rdmsr(0xc0000080) | BIT(11));
}

void image_start(void)
{
	make_tables();
	find_features();
	print("\n# processor: nx %d smep %d smap %d umip %d, %u physical address bits\n",
	      has.nx, has.smep, has.smap, has.umip, has.maxphyaddr);
}
