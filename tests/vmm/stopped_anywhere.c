/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/stopped_anywhere.c: wherever a vCPU is stopped, its RFLAGS and RSP are those that the program has there.
 *
 * Generated code keeps neither of them up to date all the time: flags that nobody asks for are had again from
 * what set them, and RSP follows behind the last of several pushes. The guest is one loop of regions. Each sets
 * the flags by two registers whose values RBX and RBP keep, accesses memory in several ways, and sets the flags
 * again; or it pushes and pops. It is stopped in each of them: where host pages are taken from it with a system call
 * that nothing watches, by page faults of its own, at device accesses, by signals, by single steps and
 * watchpoints, and by interrupts. At each stop the flags must be what this processor says of RBX and RBP.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "minivmm.h"
#include "rawcall.h"

#define PAGE	   0x1000u
#define STATUS	   0x8d5u   /* OF, SF, ZF, AF, PF, CF */
#define SIGNALS	   2000
#define SIGNAL_NS  100000   /* by then a signal comes */
#define AGAIN_NS   300000   /* and again, should it have come too early */
#define LIMIT_NS   20000000 /* by then a guest that nothing stops is found */
#define NO_MORE	   3	    /* turns of the loop within which a page that was taken is missed */
#define MMIO_TURNS 4
#define STEP_TURNS 3
#define IRQ_EACH   8 /* signals */

/* Guest-physical, and linear. */
#define TABLE	    0x60000u  /* of the first 2 MiB's pages */
#define OTHER_PML4  0x61000u  /* the same tables */
#define VARIABLES   0x100000u /* the first word: where RDI points; the regions' pages follow */
#define STACK_PAGES 0x1d000u  /* three */
#define STACK_TOP   0x1f018u  /* three words above a page's start */
#define PF_HANDLER  0x4000u   /* in the code */
#define INT_HANDLER 0x4100u
#define PF_PORT	    0x10
#define INT_PORT    0x11
#define INT_VECTOR  0x20u

/* What has set the flags. The text has the same numbers. */
enum kind { CMP, TEST, SUB, ADD, AND, OR, XOR, ZERO, NEG, COUNT_DOWN, COUNT_UP };

/* What the guest's text says of itself: where a region has its flags, and which; and how far RSP is where it moves. */
struct region {
	uint32_t start, end; /* offsets in the code, of the first instruction and the last that see them */
	uint32_t kind, size; /* enum kind; operands' bytes */
	int32_t immediate;   /* in the place of RBP, or NO_IMMEDIATE */
	uint32_t page;	     /* the first of its two */
	uint32_t kept;	     /* where the guest has stored these flags when it is past, or 0 */
};
struct depth {
	uint32_t at, bytes;
};
#define NO_IMMEDIATE 0x7fffffff /* the text has it as a number, too */

extern const struct region regions[], regions_end[];
extern const struct depth depths[], depths_end[];

/* `at' is the first of the region's pages. RSI: near that one's end in every other turn. RDI: memory or a device. */
#define REGION_(kind, size, immediate, kept, a, b, before, text)                                   \
	".set at, at + 0x2000\n"                                                                   \
	"lea at(%r12), %rsi\n mov 0x100000, %rdi\n mov %rbx, " a "\n mov %rbp, " b "\n" before     \
	"\n771: " text "\n jmp 773f\n773:\n"                                                       \
	".pushsection .rodata.regions, \"a\"\n .long 771b - guest_looks, 772b - guest_looks\n"     \
	".long " #kind "_, " #size ", " immediate ", at, " kept "\n .popsection\n"
#define REGION(kind, size, a, b, set, text)                                                        \
	REGION_(kind, size, "0x7fffffff", "0", "%" a, "%" b, set, text)
#define REGION_IMM(kind, size, a, imm, set, text)                                                  \
	REGION_(kind, size, #imm, "0", "%" a, "%rdx", set, text)

/* Accesses while nobody asks for the flags: behind which they can be had again; of which two take register `a`. */
#define LOOKS                                                                                      \
	"mov (%rsi), %r8\n mov %r8, 8(%rsi)\n mov at + 0x40, %r9\n mov (%rdi), %r8\n"              \
	"mov %r9, 16(%rsi)\n mov %r8, at + 0x48\n mov 24(%rsi), %r9\n mov %r9, 8(%rdi)\n"          \
	"mov at + 0x1050, %r9\n mov %r9, at + 0x1058\n"
#define LOSES(a)                                                                                   \
	"mov (%rdi), %r8\n mov at + 0x40, %r9\n mov (%rsi), %r8\n mov %r8, 8(%rsi)\n"              \
	"mov 16(%rsi), %" a "\n mov %r8, 24(%rsi)\n mov at + 0x48, %" a "\n mov %r9, at + 0x50\n"
#define END(text) "772: " text "\n"

/* With the operands of each size, two registers that generated code has in memory among them. */
#define SIZES(kind, name)                                                                          \
	REGION(kind, 1, "r10", "r11", name " %r11b, %r10b", LOOKS END("test %r8, %r8"))            \
	REGION(kind, 2, "rax", "r14", name " %r14w, %ax", LOOKS END("add %r8, 32(%rsi)"))          \
	REGION(kind, 4, "r15", "rdx", name " %edx, %r15d", LOOKS END("sub 32(%rsi), %r8"))         \
	REGION(kind, 8, "r14", "r15", name " %r15, %r14", LOOKS END("cmp %r8, at + 0x60"))         \
	REGION(kind, 8, "r11", "rcx", name " %rcx, %r11", LOSES("r11") END("xor %r8d, %r8d"))
#define IMMEDIATES(kind, name)                                                                     \
	REGION_IMM(kind, 1, "r15", 0x7f, name " $0x7f, %r15b", LOOKS END("shl $3, %r8d"))          \
	REGION_IMM(kind, 2, "r10", 0x1ff, name " $0x1ff, %r10w", LOOKS END("and %r9b, %r8b"))     \
	REGION_IMM(kind, 4, "rcx", -3, name " $-3, %ecx", LOOKS END("neg %r8d"))                   \
	REGION_IMM(kind, 8, "r11", 0x10001, name " $0x10001, %r11", LOOKS END("or %r9, %r8"))      \
	REGION_IMM(kind, 1, "rax", 1, name " $1, %al", LOSES("rax") END("imul %r9, %r8"))

/* Read by PUSHF, with a shift by nothing before it. What is stored is looked at when the region is past. */
#define READ(kind, size, a, b, set)                                                                \
	REGION_(kind, size, "0x7fffffff", "at + 0x100", "%" a, "%" b, set,                         \
		LOOKS "shll $32, %r8d\n mov 16(%rsi), %r8\n 772: pushfq\n" AT(8, "popq at + 0x100"))

/* Jumps back, before which the flags are had again. RCX says what they are. */
#define BACK(kind, size, first, step)                                                              \
	REGION_(kind, size, "1", "0", "%r8", "%r9", first " " step,                                \
		"mov (%rsi), %r8\n " step " mov 24(%rsi), %r9\n mov at, %r8\n jnz 771b\n 772: test %esi, %esi")

#define AT(bytes, text)                                                                            \
	"774: " text "\n .pushsection .rodata.depths, \"a\"\n"                                      \
	".long 774b - guest_looks, " #bytes "\n .popsection\n"
/* `d`: how far down RSP is before it. */
#define PUSHES(d)                                                                                  \
	AT(d, "push %rax") AT(d + 8, "push %r10") AT(d + 16, "mov %r8, 8(%rsi)")                   \
	AT(d + 16, "push %rdx") AT(d + 24, "lea 1(%r9), %r9") AT(d + 24, "pushq $5")               \
	AT(d + 32, "push %r15") AT(d + 40, "mov 16(%rsi), %r9") AT(d + 40, "push %rsp")            \
	AT(d + 48, "mov %r9, 24(%rsi)")
#define POPS(d)                                                                                    \
	AT(d, "pop %rcx") AT(d - 8, "pop %r15") AT(d - 16, "mov %r8, 8(%rsi)")                     \
	AT(d - 16, "pop %rcx") AT(d - 24, "mov (%rsi), %r9") AT(d - 24, "pop %rdx")                \
	AT(d - 32, "pop %r10") AT(d - 40, "lea 1(%r9), %r9") AT(d - 40, "pop %rax")                \
	AT(d - 48, "mov %r9, 16(%rsi)")
/* Over the end of a page; on one page; on one where a pop comes first, and a push is the first store; PUSH and POP of RSP. */
#define STACKS                                                                                     \
	".set at, at + 0x2000\n lea at(%r12), %rsi\n jmp 773f\n"                                   \
	"773: mov (%rsi), %r8\n" PUSHES(0) POPS(48)                                                \
	"jmp 773f\n 773: sub $0x800, %rsp\n" AT(0x800, "mov (%rsi), %r8") PUSHES(0x800) POPS(0x830) \
	AT(0x800, "sub $0x1030, %rsp") AT(0x1830, "jmp 773f") "773:"                               \
	AT(0x1830, "mov (%rsi), %r8") POPS(0x1830) PUSHES(0x1800) AT(0x1830, "jmp 773f") "773:"    \
	AT(0x1830, "add $0x1830, %rsp") "jmp 773f\n 773: mov (%rsi), %r8\n push %rax\n"         \
	AT(8, "push %rsp") AT(16, "mov 8(%rsi), %r8") AT(16, "pop %rcx") AT(8, "cmp %rsp, %rcx")   \
	AT(8, "jne 9f") AT(8, "push %rdx") AT(16, "push %rcx") AT(24, "pop %rsp") AT(8, "add $8, %rsp")

/* Vector state is wanted between accesses that share a look. What was read wrong ends the guest. */
#define VECTORS                                                                                    \
	".set at, at + 0x2000\n lea at(%r12), %rsi\n mov %rsi, (%rsi)\n lea 8(%rsi), %r9\n"        \
	"mov %r9, 8(%rsi)\n jmp 773f\n"                                                            \
	"773: mov (%rsi), %r8\n movd %r8d, %xmm3\n mov 8(%rsi), %r10\n paddq %xmm3, %xmm3\n"       \
	"mov (%rsi), %r11\n cmp %r8, %rsi\n jne 9f\n cmp %r8, %r11\n jne 9f\n cmp %r9, %r10\n jne 9f\n"

GUEST(looks, 64,
      ".pushsection .rodata.regions, \"a\"\n .balign 4\n regions:\n .popsection\n"
      ".pushsection .rodata.depths, \"a\"\n .balign 4\n depths:\n .popsection\n"
      ".set CMP_, 0\n .set TEST_, 1\n .set SUB_, 2\n .set ADD_, 3\n .set AND_, 4\n .set OR_, 5\n .set XOR_, 6\n"
      ".set ZERO_, 7\n .set NEG_, 8\n .set COUNT_DOWN_, 9\n .set COUNT_UP_, 10\n"
      ".set at, 0x100000\n"
      "1: inc %r13\n imul $0x5bd1e995, %r13, %rbx\n rol $20, %rbx\n imul $0x5bd1e995, %rbx, %rbx\n"
      "mov %rbx, %rbp\n test $3, %r13b\n jz 2f\n rol $29, %rbp\n"
      "test $5, %r13b\n jnz 2f\n xor %ebx, %ebx\n 2: xor $0x1f0, %r12\n"
      SIZES(CMP, "cmp") SIZES(TEST, "test") SIZES(SUB, "sub") SIZES(ADD, "add") SIZES(AND, "and") SIZES(OR, "or")
      SIZES(XOR, "xor") IMMEDIATES(CMP, "cmp") IMMEDIATES(TEST, "test") IMMEDIATES(SUB, "sub")
      IMMEDIATES(ADD, "add") IMMEDIATES(AND, "and")
      REGION(ZERO, 4, "r10", "r11", "xor %r10d, %r10d", LOSES("r10") END("test %r8, %r8"))
      REGION(NEG, 8, "r10", "r11", "neg %r10", LOOKS END("test %r8, %r8"))
      READ(CMP, 8, "r10", "rax", "cmp %rax, %r10") READ(ADD, 1, "rax", "r11", "add %r11b, %al")
      BACK(COUNT_DOWN, 4, "mov $6, %ecx\n", "sub $1, %ecx\n") BACK(COUNT_UP, 8, "mov $-6, %rcx\n", "add $1, %rcx\n")
      STACKS VECTORS
      "jmp 1b\n 9: hlt\n"
      ".org guest_looks + 0x4000\n"
      "push %rax\n out %al, $0x10\n mov %cr3, %rax\n mov %rax, %cr3\n pop %rax\n add $8, %rsp\n iretq\n"
      ".org guest_looks + 0x4100\n"
      "out %al, $0x11\n iretq\n"
      ".pushsection .rodata.regions, \"a\"\n regions_end:\n .popsection\n"
      ".pushsection .rodata.depths, \"a\"\n depths_end:\n .popsection\n");

/* ---- what is expected */

#define NATIVE(suffix, type, insn, a, b)                                                           \
	({                                                                                         \
		type a_ = (type)(a), b_ = (type)(b);                                               \
		uint16_t ax_;                                                                      \
		__asm__(insn suffix "\n lahf\n seto %%al" : "=&a"(ax_), "+&r"(a_) : "r"(b_) : "cc"); \
		(ax_ >> 8 & 0xd5u) | (ax_ & 1u) << 11;                                             \
	})
#define BY_SIZE(op, operands, size, a, b)                                                          \
	((size) == 1   ? NATIVE("b " operands, uint8_t, op, a, b)                                  \
	 : (size) == 2 ? NATIVE("w " operands, uint16_t, op, a, b)                                 \
	 : (size) == 4 ? NATIVE("l " operands, uint32_t, op, a, b)                                 \
		       : NATIVE("q " operands, uint64_t, op, a, b))
#define TWO(op) BY_SIZE(op, "%2, %1", size, a, b)

static uint32_t flags_of(uint32_t kind, uint32_t size, uint64_t a, uint64_t b)
{
	switch (kind) {
	case CMP:
		return TWO("cmp");
	case TEST:
		return TWO("test");
	case SUB: case COUNT_DOWN:
		return TWO("sub");
	case ADD: case COUNT_UP:
		return TWO("add");
	case AND:
		return TWO("and");
	case OR:
		return TWO("or");
	case XOR:
		return TWO("xor");
	case ZERO:
		return BY_SIZE("xor", "%1, %1", size, a, b);
	default:
		return BY_SIZE("neg", "%1", size, a, b);
	}
}

static uint32_t region_flags(const struct region *g, const struct kvm_regs *r)
{
	uint64_t a = r->rbx, b = g->immediate == NO_IMMEDIATE ? r->rbp : (uint64_t)g->immediate;

	if (g->kind == COUNT_DOWN)
		a = r->rcx + 1;
	else if (g->kind == COUNT_UP)
		a = r->rcx - 1;
	return flags_of(g->kind, g->size, a, b);
}

/* ---- stops */

enum how { BY_HOST, BY_PAGE_FAULT, BY_DEVICE, BY_SIGNAL, BY_STEP, BY_WINDOW, BY_INTERRUPT, NR_HOWS };
static const char *const how_name[] = {"host fault", "page fault", "device access", "signal",
				       "step", "interrupt window", "interrupt"};

#define MAX_REGIONS 128

static struct minivmm v;
static unsigned seen[NR_HOWS][MAX_REGIONS], stops[NR_HOWS];
static uint64_t rsp_top;

static uint64_t depth_at(uint32_t offset)
{
	for (const struct depth *d = depths; d < depths_end; d++) {
		if (d->at == offset)
			return d->bytes;
	}
	return 0;
}

static void check_flags(const struct region *g, enum how how, const struct kvm_regs *r)
{
	uint32_t at = (uint32_t)r->rip - MINIVMM_CODE, want = region_flags(g, r), kept;

	if (at >= g->start && at <= g->end) {
		seen[how][g - regions]++;
		EXPECT((r->rflags & STATUS) == want,
		       "%s at %#x: flags %#llx, not %#x, by kind %u of %u bytes; rbx %llx, rbp %llx, rcx %llx",
		       how_name[how], at, r->rflags & STATUS, want, g->kind, g->size, r->rbx, r->rbp, r->rcx);
	} else if (g->kept && at >= g[1].start && at <= g[1].end) {
		memcpy(&kept, v.mem + g->kept, sizeof(kept));
		EXPECT((kept & STATUS) == want, "PUSHF at %#x stored %#x, not %#x", g->end, kept & STATUS, want);
	}
}

/* `r`: of the program that was stopped. */
static void check(enum how how, const struct kvm_regs *r)
{
	uint32_t at = (uint32_t)r->rip - MINIVMM_CODE;
	uint64_t rsp = rsp_top - depth_at(at);

	EXPECT(at < PF_HANDLER, "%s: rip %#llx", how_name[how], r->rip);
	EXPECT(r->rsp == rsp, "%s at %#x: rsp %#llx, not %#lx", how_name[how], at, r->rsp, rsp);
	for (const struct region *g = regions; g < regions_end; g++)
		check_flags(g, how, r);
	stops[how]++;
}

/* What a handler's exit shows of the program: at `frame` on the stack. */
static void check_frame(enum how how, struct kvm_regs *r, uint64_t frame)
{
	uint64_t f[4];

	memcpy(f, v.mem + frame, sizeof(f));
	r->rip = f[0];
	r->rflags = f[2];
	r->rsp = f[3];
	check(how, r);
}

static void check_io(struct kvm_regs *r)
{
	if (v.run->io.port == PF_PORT) /* behind RAX and the error code */
		check_frame(BY_PAGE_FAULT, r, r->rsp + 16);
	else
		check_frame(BY_INTERRUPT, r, r->rsp);
}

/* To the next stop, whatever it is. */
static int go_on(void)
{
	int end = minivmm_run(&v);
	struct kvm_regs r;

	minivmm_get_regs(&v, &r);
	switch (end) {
	case -EINTR:
		if (r.rip < MINIVMM_CODE + PF_HANDLER)
			check(BY_SIGNAL, &r);
		break;
	case -EFAULT:
		check(BY_HOST, &r);
		break;
	case KVM_EXIT_MMIO:
		check(BY_DEVICE, &r);
		memset(v.run->mmio.data, 0, sizeof(v.run->mmio.data));
		break;
	case KVM_EXIT_IO:
		check_io(&r);
		break;
	case KVM_EXIT_DEBUG:
		check(BY_STEP, &r);
		break;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		check(BY_WINDOW, &r);
		break;
	default:
		EXPECT(false, "exit %s (%d) at %#llx", minivmm_exit_name(end), end, r.rip - MINIVMM_CODE);
	}
	return end;
}

static uint64_t turns(void)
{
	struct kvm_regs r;

	minivmm_get_regs(&v, &r);
	return r.r13;
}

/* To a stop of this kind, which must come before the loop has been through it. */
static void go_on_to(int end, const char *what, uint32_t page)
{
	uint64_t first = turns();

	while (go_on() != end)
		EXPECT(turns() - first <= NO_MORE, "%s of page %#x stops nobody", what, page);
}

/* ---- ways to stop it */

static void signal_after(timer_t timer, long first_ns, long then_ns)
{
	struct itimerspec each = {.it_value = {0, first_ns}, .it_interval = {0, then_ns}};

	EXPECT(!timer_settime(timer, 0, &each, NULL), "timer_settime");
}

static void take(uint32_t page, int prot)
{
	EXPECT(!rawcall(SYS_mprotect, v.mem + page, PAGE, prot), "mprotect");
	go_on_to(-EFAULT, prot == PROT_NONE ? "no access" : "no store", page);
	EXPECT(!rawcall(SYS_mprotect, v.mem + page, PAGE, PROT_READ | PROT_WRITE), "mprotect");
}

static bool stores(const struct region *g)
{
	return g->kind != COUNT_DOWN && g->kind != COUNT_UP;
}

static void stop_by_host(void)
{
	for (unsigned n = 0; n < 6; n++) {
		/* In turns, so that a page is taken before the code that uses it is begun. */
		take(STACK_PAGES + n % 3 * PAGE, n < 3 ? PROT_NONE : PROT_READ);
	}
	for (const struct region *g = regions; g < regions_end; g++) {
		for (unsigned n = 0; n < (stores(g) ? 4 : 2); n++)
			take(g->page + n % 2 * PAGE, n < 2 ? PROT_NONE : PROT_READ);
	}
}

static uint64_t *pte(uint32_t page)
{
	return (uint64_t *)(v.mem + TABLE) + page / PAGE;
}

/* The handler drops what was known of the tables, so each stop arms the next one. */
static void stop_by_page_faults(void)
{
	struct kvm_sregs s;
	bool first = true;

	for (const struct region *g = regions; g < regions_end; g++) {
		for (unsigned n = 0; n < (stores(g) ? 4 : 2); n++) {
			uint32_t page = g->page + n % 2 * PAGE;

			*pte(page) = n < 2 ? 0 : page | 1;
			if (first) {
				minivmm_get_sregs(&v, &s);
				s.cr3 ^= MINIVMM_PML4 ^ OTHER_PML4;
				minivmm_set_sregs(&v, &s);
				first = false;
			}
			go_on_to(KVM_EXIT_IO, "a page fault", page);
			*pte(page) = page | 3;
		}
	}
}

static void point_rdi_at(uint64_t address)
{
	memcpy(v.mem + VARIABLES, &address, sizeof(address));
}

static void stop_by_device(void)
{
	uint64_t first = turns();

	point_rdi_at(MINIVMM_HOLE);
	while (turns() - first < MMIO_TURNS)
		go_on();
	point_rdi_at(VARIABLES + 0x100);
}

static void debug(uint32_t control, uint64_t address, uint64_t dr7)
{
	struct kvm_guest_debug d = {.control = control, .arch.debugreg = {[0] = address, [7] = dr7}};

	EXPECT(!ioctl(v.vcpu, KVM_SET_GUEST_DEBUG, &d), "KVM_SET_GUEST_DEBUG: %s", strerror(errno));
}

static void stop_by_steps(void)
{
	uint64_t first = turns();

	debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP, 0, 0);
	while (turns() - first < STEP_TURNS)
		go_on();
	debug(0, 0, 0);
}

#define DR7_READS_WRITES_OF_8 0xb0401u /* breakpoint 0 */

static void stop_by_watchpoints(void)
{
	for (const struct region *g = regions; g < regions_end; g++) {
		debug(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP, g->page + (stores(g) ? 0x40 : 0), DR7_READS_WRITES_OF_8);
		go_on_to(KVM_EXIT_DEBUG, "a watchpoint", g->page);
	}
	debug(0, 0, 0);
}

static void interrupt(void)
{
	struct kvm_interrupt irq = {INT_VECTOR};
	int end;

	v.run->request_interrupt_window = 1;
	while (go_on() != KVM_EXIT_IRQ_WINDOW_OPEN)
		;
	v.run->request_interrupt_window = 0;
	EXPECT(!ioctl(v.vcpu, KVM_INTERRUPT, &irq), "KVM_INTERRUPT: %s", strerror(errno));
	do
		end = go_on();
	while (end == -EINTR);
	EXPECT(end == KVM_EXIT_IO, "exit %s (%d)", minivmm_exit_name(end), end);
}

/* Each at another time. */
static void stop_by_signals(timer_t timer)
{
	unsigned last = stops[BY_SIGNAL] + SIGNALS;

	for (unsigned n = 0; stops[BY_SIGNAL] < last; n++) {
		signal_after(timer, 1 + n * 7919 % SIGNAL_NS, AGAIN_NS);
		if (go_on() == -EINTR && stops[BY_SIGNAL] % IRQ_EACH == 0)
			interrupt();
	}
}

static void interrupted(int sig)
{
	(void)sig;
}

/* ---- all of it */

static void make_tables(struct kvm_sregs *s)
{
	uint64_t *pd = (uint64_t *)(v.mem + MINIVMM_PML4 + 0x2000);

	for (uint32_t page = 0; page < MINIVMM_MEM; page += PAGE)
		*pte(page) = page | 3;
	pd[0] = TABLE | 3;
	memcpy(v.mem + OTHER_PML4, v.mem + MINIVMM_PML4, PAGE);
	s->cr0 |= 1 << 16; /* WP */
	s->cr4 |= 1 << 9;  /* OSFXSR */
}

static void begin(uint64_t top)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	minivmm_load(&v, MINIVMM_LONG, looks);
	minivmm_set_gate(&v, MINIVMM_LONG, PF_VECTOR, PF_HANDLER);
	minivmm_set_gate(&v, MINIVMM_LONG, INT_VECTOR, INT_HANDLER);
	minivmm_get_sregs(&v, &s);
	make_tables(&s);
	minivmm_set_sregs(&v, &s);
	minivmm_get_regs(&v, &r);
	r.rsp = rsp_top = top;
	r.r12 = 0xe00;
	r.r13 = 0;
	r.rflags = 0x202;
	minivmm_set_regs(&v, &r);
	point_rdi_at(VARIABLES + 0x100);
	v.run->request_interrupt_window = 0;
}

static void stop_anywhere(uint64_t top, timer_t timer)
{
	begin(top);
	signal_after(timer, LIMIT_NS, LIMIT_NS);
	stop_by_host();
	stop_by_page_faults();
	stop_by_device();
	stop_by_watchpoints();
	stop_by_steps();
	stop_by_signals(timer);
}

/* Only signals come where they will, to an interpreter at a block's end. A device is not asked where RDI is not used. */
static void expect_seen(void)
{
	for (const struct region *g = regions; g < regions_end; g++) {
		for (enum how how = 0; how <= BY_STEP; how++)
			EXPECT(seen[how][g - regions] || how == BY_SIGNAL || (how == BY_DEVICE && !stores(g)),
			       "no %s in the region from %#x", how_name[how], g->start);
	}
}

static void print_stops(void)
{
	for (enum how how = 0; how < NR_HOWS; how++) {
		unsigned in = 0;

		for (const struct region *g = regions; g < regions_end; g++)
			in += seen[how][g - regions];
		printf("%s: %u stops, %u of them in regions\n", how_name[how], stops[how], in);
	}
}

int main(void)
{
	struct sigaction sa = {.sa_handler = interrupted};
	timer_t timer;

	EXPECT(regions_end - regions <= MAX_REGIONS, "too many regions");
	EXPECT(!sigaction(SIGALRM, &sa, NULL), "sigaction");
	minivmm_create(&v);
	EXPECT(!timer_create(CLOCK_MONOTONIC, NULL, &timer), "timer_create");
	stop_anywhere(STACK_TOP, timer);
	stop_anywhere(STACK_TOP + 4, timer);
	timer_delete(timer);
	expect_seen();
	print_stops();
	minivmm_destroy(&v);
	return 0;
}
