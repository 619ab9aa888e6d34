/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/returns.c: a RET leads to the address that it reads, and to what is there now, whatever its CALL has
 * left behind: where the callee has changed the return address, its caller's code or what the caller's addresses mean;
 * where calls are too deep, or on several stacks, to be told apart; where calls and returns are no pairs. Each guest counts
 * its turns in registers, so that one wrong return shows. Each runs quietly first, and some then under a storm
 * of signals.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "minivmm.h"

#define TURNS	    600
#define FEW_TURNS   5	   /* of two vCPUs, which wait for the host to run either */
#define EACH_NS	    100000 /* between two signals */
#define DEPTH	    1000   /* of calls: a multiple of 3, and 1 */

/* Guest-physical; linear addresses from LOW_LA on, of pages and of large pages. */
#define LOW_LA	  0x40000000ull
#define LARGE_LA  0x40200000ull
#define END_LA	  0x7ffffffff000ull /* the last page of the lower half */
#define SPACE(n)  (0x100000u + (n) * 0x6000u) /* PML4, PDPT, PD, PT; PD and PT of the lower half's end */
#define CALLER(n) (0x110000u + (n) * 0x1000u)
#define INVPCID_D 0x120000u
#define MAILBOX	  0x121000u
#define LONG_CODE 0x40000u
#define SECOND	  0x400000u /* more memory, of the size of a large page */
#define LARGE	  0x200000u
#define NOFLUSH	  (1ull << 63)

/* ---- the callee changes where it returns to */

GUEST(changed, 64,
      "1: call 3f\n inc %rax\n jmp 5f\n"
      "4: inc %rdx\n"
      "5: dec %rcx\n jnz 1b\n hlt\n"
      ".org guest_changed + 0x1000\n"
      "3: test $1, %cl\n jz 6f\n lea 4b(%rip), %rbx\n mov %rbx, (%rsp)\n 6: ret\n");
GUEST(changed32, 32,
      "1: call 3f\n inc %eax\n jmp 5f\n"
      "4: inc %edx\n"
      "5: dec %ecx\n jnz 1b\n hlt\n"
      ".org guest_changed32 + 0x1000\n"
      "3: test $1, %cl\n jz 6f\n movl $(0x8000 + 4b - guest_changed32), (%esp)\n 6: ret\n");
/* It returns to its caller's caller. */
GUEST(skips, 64,
      "1: call 3f\n inc %rax\n dec %rcx\n jnz 1b\n hlt\n"
      "3: call 4f\n inc %rdx\n ret\n"
      ".org guest_skips + 0x1000\n"
      "4: test $1, %cl\n jz 2f\n add $8, %rsp\n 2: ret\n");
/* CALL and POP, PUSH and RET, a return address that is overwritten, RET of arguments. */
GUEST(no_pairs, 64,
      "1: call 2f\n"
      "2: pop %rbx\n lea 2b(%rip), %rdi\n cmp %rdi, %rbx\n jne 9f\n"
      "lea 3f(%rip), %rbx\n push %rbx\n ret\n jmp 9f\n"
      "3: lea 4f(%rip), %rbx\n call 5f\n 7: pause\n jmp 7b\n"
      "5: mov %rbx, (%rsp)\n ret\n"
      "4: inc %rax\n push $1\n push $2\n call 6f\n inc %rdx\n"
      "call 8f\n add %r8, %rsi\n"
      "dec %rcx\n jnz 1b\n 9: hlt\n"
      ".org guest_no_pairs + 0x1000\n"
      "6: ret $16\n"
      "8: mov $1, %r8d\n push $0\n pop %rbx\n ret\n");
/* Two stacks take turns, each a page's distance from the other. */
GUEST(stacks, 64,
      "lea 5f(%rip), %rbx\n lea -0x1008(%rsp), %r8\n mov %rbx, (%r8)\n"
      "1: call 3f\n inc %rax\n dec %rcx\n jnz 1b\n hlt\n"
      "5: call 3f\n inc %rdx\n jmp 5b\n"
      ".org guest_stacks + 0x1000\n"
      "3: xchg %rsp, %r8\n ret\n");

/* Three functions, of which each calls the next: ebp levels of them. */
#define DEEP(name)                                                                                 \
	"1: mov %ebp, %ebx\n call 2f\n dec %ecx\n jnz 1b\n hlt\n"                                 \
	"2: dec %ebx\n jz 9f\n call 3f\n inc %eax\n ret\n"                                        \
	".org guest_" #name " + 0x1000\n"                                                         \
	"3: dec %ebx\n jz 9f\n call 4f\n inc %edx\n ret\n"                                        \
	".org guest_" #name " + 0x2000\n"                                                         \
	"4: dec %ebx\n jz 9f\n call 2b\n inc %esi\n ret\n"                                        \
	"9: ret\n"
GUEST(deep, 64, DEEP(deep));
GUEST(deep32, 32, DEEP(deep32));

/*
 * The same bytes as 64-bit and 32-bit code: 5 calls 6, and INC EAX behind the CALL is a prefix in 64-bit code. In 32-bit
 * code a RET goes there, too, that no CALL of that code belongs to.
 */
#define AT(label) "(0x8000 + " #label " - guest_widths)"
GUEST(widths, 64,
      "1: call 5f\n push $8\n pushq $" AT(2f) "\n lretq\n"
      ".code32\n"
      "2: push $0\n push $" AT(8f) "\n push $" AT(7f) "\n jmp 6f\n"
      "8: pop %esi\n call 5f\n ljmp $0x18, $" AT(4f) "\n"
      ".code64\n"
      "4: inc %rdx\n dec %rcx\n jnz 1b\n hlt\n"
      "5: call 6f\n 7: .byte 0x40\n nop\n ret\n"
      ".org guest_widths + 0x1000\n"
      "6: ret\n");

/* ---- its caller's code */

/* The callee stores the counter into the instruction behind the CALL. */
GUEST(patches, 64,
      "1: call 3f\n 2: mov $0, %esi\n add %rsi, %rax\n dec %rcx\n jnz 1b\n hlt\n"
      ".org guest_patches + 0x1000\n"
      "3: mov %ecx, 2b+1(%rip)\n ret\n");
/* The VMM does, at an exit. Or another vCPU does, which has the counter from the mailbox, and empties that. */
#define PATCHED_AT 6 /* the immediate's offset */
GUEST(patched, 64,
      "1: call 3f\n 2: mov $0, %esi\n add %rsi, %rax\n dec %rcx\n jnz 1b\n hlt\n"
      ".org guest_patched + 0x1000\n"
      "3: out %al, $0x10\n ret\n");
GUEST(asks, 64,
      "1: call 3f\n 2: mov $0, %esi\n add %rsi, %r8\n dec %rbp\n jnz 1b\n mov %r8, %rax\n xor %edx, %edx\n hlt\n"
      ".org guest_asks + 0x1000\n"
      "3: mov %ebp, 0x121000\n"
      "4: pause\n cmpl $0, 0x121000\n jne 4b\n cpuid\n ret\n"
      ".org guest_asks + 0x2000\n"
      "1: pause\n mov 0x121000, %ecx\n jrcxz 1b\n mov %ecx, 0x8006\n movl $0, 0x121000\n jmp 1b\n");
/* With CR0.TS, which it sets or not, the instruction behind the CALL is #NM, whose handler is at 0x2000. */
GUEST(task_switched, 64,
      "1: call 3f\n movd %ecx, %xmm0\n inc %rax\n dec %rcx\n jnz 1b\n hlt\n"
      ".org guest_task_switched + 0x1000\n"
      "3: test $1, %cl\n jz 2f\n mov %cr0, %r8\n or $8, %r8\n mov %r8, %cr0\n 2: ret\n"
      ".org guest_task_switched + 0x2000\n"
      "inc %rdx\n clts\n iretq\n");
/* So many instructions in a row that an area for code, if it is small, is used up before the RET: RBP is where they are. */
GUEST(long_callee, 64, "1: call *%rbp\n inc %rdx\n dec %rcx\n jnz 1b\n hlt\n");

/* ---- what its caller's addresses mean */

/* Two pages with the caller's code, a CALL whose displacement is filled in: which of them counts says in which of them a return was. */
GUEST(caller_a, 64, "1: .byte 0xe8\n .long 0\n inc %rax\n dec %rcx\n jnz 1b\n hlt\n");
GUEST(caller_b, 64, "1: .byte 0xe8\n .long 0\n inc %rdx\n dec %rcx\n jnz 1b\n hlt\n");

/*
 * RBX: the entry of a table, to be RSI and RDI in turns; RBP: the caller's address; R10, R11: CR3 in turns. Every fourth
 * time: until then the return is what it was, and has become known.
 */
#define RARELY	"test $3, %cl\n jnz 7f\n"
#define SWAP	RARELY "xchg %rsi, %rdi\n mov %rsi, (%rbx)\n"
GUEST(by_invlpg, 64, "jmp *%rbp\n .org guest_by_invlpg + 0x1000\n" SWAP "invlpg (%rbp)\n 7: ret\n");
GUEST(by_cr3_again, 64, "jmp *%rbp\n .org guest_by_cr3_again + 0x1000\n" SWAP "mov %cr3, %r8\n mov %r8, %cr3\n 7: ret\n");
GUEST(by_cr3, 64, "jmp *%rbp\n .org guest_by_cr3 + 0x1000\n" RARELY "xchg %r10, %r11\n mov %r10, %cr3\n 7: ret\n");
GUEST(by_cr0, 64, "jmp *%rbp\n .org guest_by_cr0 + 0x1000\n" SWAP "mov %cr0, %r8\n xor $0x10000, %r8\n mov %r8, %cr0\n 7: ret\n");
GUEST(by_cr4, 64, "jmp *%rbp\n .org guest_by_cr4 + 0x1000\n" SWAP "mov %cr4, %r8\n xor $0x80, %r8\n mov %r8, %cr4\n 7: ret\n");
GUEST(by_invpcid, 64, "jmp *%rbp\n .org guest_by_invpcid + 0x1000\n" SWAP "invpcid (%r14), %r15\n 7: ret\n");

/* ---- RETs that fault */

/*
 * R12 is called, and R13 is where a RET is to fault with #GP, its stack pointer not moved yet. The handler, at 0x1000,
 * counts where it has been right, and goes on behind the CALL.
 */
GUEST(faults, 64,
      "mov %rsp, %r9\n"
      "1: mov %rsp, %r8\n jmp *%r12\n"
      "2: dec %rcx\n jnz 1b\n hlt\n"
      "3: mov %rbx, (%rsp)\n 4: ret\n" /* with RBX not canonical; RCX odd only */
      "5: call 6f\n inc %rsi\n jmp 2b\n 6: test $1, %cl\n jnz 3b\n ret\n"
      ".org guest_faults + 0x1000\n"
      "cmp %r13, 8(%rsp)\n jne 7f\n lea -8(%r9), %r8\n cmp %r8, 32(%rsp)\n jne 7f\n inc %rax\n jmp 8f\n"
      "7: inc %rdx\n"
      "8: mov %r9, 32(%rsp)\n lea 2b(%rip), %r8\n mov %r8, 8(%rsp)\n add $8, %rsp\n iretq\n");
/* The last instruction of the lower half is a CALL. */
#define END_CALL 0xffbu

static struct minivmm v, other; /* the latter: a second vCPU of the same VM */
static const uint64_t turns = TURNS;

/* ---- signals */

static volatile sig_atomic_t astray;
static char *stack_low, *stack_high; /* of this thread */

/* It uses more of the stack than a red zone, which is the program's own. */
static void handler(int sig, siginfo_t *info, void *uc)
{
	volatile char here[512];

	(void)sig;
	(void)info;
	(void)uc;
	for (size_t i = 0; i < sizeof(here); i++)
		here[i] = (char)0xee;
	astray += (char *)&here[0] < stack_low || (char *)&here[0] >= stack_high;
}

static void find_stack(void)
{
	pthread_attr_t a;
	size_t size;
	void *low;

	EXPECT(!pthread_getattr_np(pthread_self(), &a), "pthread_getattr_np");
	EXPECT(!pthread_attr_getstack(&a, &low, &size), "pthread_attr_getstack");
	stack_low = low;
	stack_high = stack_low + size;
	pthread_attr_destroy(&a);
}

static timer_t timer;

static void storm_begin(void)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	struct itimerspec each = {.it_value = {0, EACH_NS}, .it_interval = {0, EACH_NS}};

	find_stack();
	EXPECT(!sigaction(SIGALRM, &sa, NULL), "sigaction");
	EXPECT(!timer_create(CLOCK_THREAD_CPUTIME_ID, NULL, &timer), "timer_create");
	EXPECT(!timer_settime(timer, 0, &each, NULL), "timer_settime");
}

static void storm_end(void)
{
	timer_delete(timer);
	EXPECT(!astray, "%d handlers ran on another stack than the program's", (int)astray);
}

/* To the next exit of the guest's own. */
static int run_on(void)
{
	int r;

	do {
		r = minivmm_run(&v);
	} while (r == -EINTR);
	return r;
}

/* ---- a guest and what it counts */

static uint64_t sum(uint64_t n)
{
	return n * (n + 1) / 2;
}

static void expect_counts(const char *name, uint64_t rax, uint64_t rdx, uint64_t rsi)
{
	struct kvm_regs r;
	int end = run_on();

	minivmm_get_regs(&v, &r);
	EXPECT(end == KVM_EXIT_HLT, "%s: exit %s (%d) at %llx", name, minivmm_exit_name(end), end, r.rip);
	EXPECT(r.rax == rax && r.rdx == rdx && r.rsi == rsi && !(uint32_t)r.rcx,
	       "%s: rax %llu, rdx %llu, rsi %llu, not %lu, %lu, %lu; %llu turns left", name, r.rax, r.rdx, r.rsi, rax,
	       rdx, rsi, r.rcx);
}

/* As long mode leaves it; minivmm sets bits only. */
static void leave_paging(void)
{
	struct kvm_sregs s;

	minivmm_get_sregs(&v, &s);
	s.cr0 &= ~(1ull << 31);
	s.cr4 &= ~(1ull << 5 | 1ull << 4);
	s.efer = 0;
	minivmm_set_sregs(&v, &s);
}

static void load(enum minivmm_mode mode, struct guest_code code, struct kvm_regs *r)
{
	minivmm_load(&v, mode, code);
	if (mode == MINIVMM_PROT)
		leave_paging();
	minivmm_get_regs(&v, r);
	r->rax = r->rdx = r->rsi = 0;
	r->rcx = turns;
}

static void counted(const char *name, enum minivmm_mode mode, struct guest_code code, uint64_t rax, uint64_t rdx,
		    uint64_t rsi)
{
	struct kvm_regs r, after;

	load(mode, code, &r);
	minivmm_set_regs(&v, &r);
	expect_counts(name, rax, rdx, rsi);
	minivmm_get_regs(&v, &after);
	EXPECT(after.rsp == r.rsp, "%s: rsp %llx, not %llx", name, after.rsp, r.rsp);
}

static void pairs(void)
{
	counted("changed", MINIVMM_LONG, changed, turns / 2, turns / 2, 0);
	counted("changed32", MINIVMM_PROT, changed32, turns / 2, turns / 2, 0);
	counted("skips", MINIVMM_LONG, skips, turns, turns / 2, 0);
	counted("no_pairs", MINIVMM_LONG, no_pairs, turns, turns, turns);
	counted("stacks", MINIVMM_LONG, stacks, turns, turns - 1, 0);
	counted("widths", MINIVMM_LONG, widths, 2 * turns, turns, 0);
	counted("patches", MINIVMM_LONG, patches, sum(turns), 0, turns ? 1 : 0);
}

/* ---- depth */

static void count_deep(const char *name, struct kvm_regs *r)
{
	uint64_t n = turns / 10, each = n * (DEPTH - 1) / 3;

	r->rcx = n;
	r->rbp = DEPTH;
	minivmm_set_regs(&v, r);
	expect_counts(name, each, each, each);
}

static void depth(void)
{
	struct kvm_regs r;

	load(MINIVMM_LONG, deep, &r);
	count_deep("deep", &r);
	load(MINIVMM_PROT, deep32, &r);
	count_deep("deep32", &r);
}

/* The stack of 32-bit code goes on below 4 GiB, where it has come to address 0. */
static void depth_around_zero(void)
{
	uint32_t *pd = (uint32_t *)(v.mem + SPACE(0)), *pt = (uint32_t *)(v.mem + SPACE(0) + 0x1000);
	struct kvm_sregs s;
	struct kvm_regs r;

	load(MINIVMM_PROT, deep32, &r);
	memset(pd, 0, 0x2000);
	pd[0] = 0x83; /* 4 MiB */
	pd[1023] = (SPACE(0) + 0x1000) | 3;
	pt[1023] = CALLER(0) | 3;
	minivmm_get_sregs(&v, &s);
	s.cr3 = SPACE(0);
	s.cr4 |= 1 << 4; /* PSE */
	s.cr0 |= 1u << 31;
	minivmm_set_sregs(&v, &s);
	r.rsp = 0x200;
	count_deep("deep32 around 0", &r);
	leave_paging();
}

/* ---- code that is changed from outside */

static void patched_at_exits(void)
{
	struct kvm_regs r;
	uint64_t all = 0;

	load(MINIVMM_LONG, patched, &r);
	minivmm_set_regs(&v, &r);
	for (uint32_t n = 1; n <= turns; n++) {
		int end = run_on();

		EXPECT(end == KVM_EXIT_IO, "patched: exit %s (%d)", minivmm_exit_name(end), end);
		if (n % 4 == 0) /* so that the return has become known */
			memcpy(v.mem + MINIVMM_CODE + PATCHED_AT, &n, sizeof(n));
		all += n / 4 * 4;
	}
	expect_counts("patched", all, 0, turns);
}

static volatile int stop;

static void *patch(void *arg)
{
	(void)arg;
	while (!stop) {
		int r = minivmm_run(&other);

		EXPECT(r == -EINTR, "the other vCPU ends with %s (%d)", minivmm_exit_name(r), r);
	}
	return NULL;
}

static void interrupted(int sig)
{
	(void)sig;
}

static void patched_by_another(void)
{
	struct sigaction sa = {.sa_handler = interrupted};
	struct kvm_regs r;
	pthread_t t;
	uint64_t n = FEW_TURNS;

	EXPECT(!sigaction(SIGUSR1, &sa, NULL), "sigaction");
	minivmm_load(&other, MINIVMM_LONG, asks);
	minivmm_get_regs(&other, &r);
	r.rip += 0x2000;
	minivmm_set_regs(&other, &r);
	load(MINIVMM_LONG, asks, &r);
	r.rcx = r.r8 = 0;
	r.rbp = n;
	minivmm_set_regs(&v, &r);
	memset(v.mem + MAILBOX, 0, 4);
	stop = 0;
	EXPECT(!pthread_create(&t, NULL, patch, NULL), "pthread_create");
	EXPECT(run_on() == KVM_EXIT_HLT, "asks");
	stop = 1;
	while (pthread_tryjoin_np(t, NULL) == EBUSY) {
		pthread_kill(t, SIGUSR1);
		usleep(1000);
	}
	minivmm_get_regs(&v, &r);
	EXPECT(r.rax == sum(n), "asks: %llu, not %lu", r.rax, sum(n));
}

static void other_keys(void)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	load(MINIVMM_LONG, task_switched, &r);
	minivmm_set_gate(&v, MINIVMM_LONG, 7, 0x2000);
	minivmm_get_sregs(&v, &s);
	s.cr4 |= 1 << 9; /* OSFXSR */
	minivmm_set_sregs(&v, &s);
	minivmm_set_regs(&v, &r);
	expect_counts("task_switched", turns, turns / 2, 0);
}

/* `inc %rax; jmp' to the next, so often; ret */
#define LONG_BLOCKS 3000
static void room(void)
{
	static const uint8_t block[] = {0x48, 0xff, 0xc0, 0xeb, 0};
	struct kvm_regs r;
	uint8_t *p;

	load(MINIVMM_LONG, long_callee, &r);
	p = v.mem + LONG_CODE;
	for (int i = 0; i < LONG_BLOCKS; i++, p += sizeof(block))
		memcpy(p, block, sizeof(block));
	*p = 0xc3;
	r.rcx = turns / 60;
	r.rbp = LONG_CODE;
	minivmm_set_regs(&v, &r);
	expect_counts("long_callee", LONG_BLOCKS * (turns / 60), turns / 60, 0);
}

/* ---- addresses */

static uint64_t *table(uint32_t gpa)
{
	return (uint64_t *)(v.mem + gpa);
}

static void make_space(unsigned n)
{
	uint32_t at = SPACE(n);

	memset(v.mem + at, 0, 0x6000);
	table(at)[0] = (at + 0x1000) | 3;
	table(at)[255] = (at + 0x1000) | 3;
	table(at + 0x1000)[0] = table(MINIVMM_PML4 + 0x1000)[0]; /* the first GiB, as minivmm maps it */
	table(at + 0x1000)[1] = (at + 0x2000) | 3;
	table(at + 0x1000)[511] = (at + 0x4000) | 3;
	table(at + 0x2000)[0] = (at + 0x3000) | 3; /* LOW_LA */
	table(at + 0x2000)[1] = (n ? SECOND : 0) | 0x83; /* LARGE_LA */
	table(at + 0x3000)[0] = CALLER(n) | 3;
	table(at + 0x4000)[511] = (at + 0x5000) | 3;
	table(at + 0x5000)[511] = CALLER(0) | 3; /* END_LA */
}

static uint8_t *second;

static void add_memory(void)
{
	struct kvm_userspace_memory_region slot = {.slot = 1, .guest_phys_addr = SECOND, .memory_size = LARGE};

	second = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(second != MAP_FAILED, "mmap");
	slot.userspace_addr = (uintptr_t)second;
	EXPECT(!ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
}

/* A CALL that is direct leaves what a RET goes by whatever is known of its target's address. */
static void put_caller(uint8_t *at, struct guest_code code, uint64_t la)
{
	int32_t disp = (int32_t)(MINIVMM_CODE + 0x1000 - (la + 5));

	memcpy(at, code.start, (size_t)(code.end - code.start));
	memcpy(at + 1, &disp, sizeof(disp));
}

static void swapped(const char *name, struct guest_code callee, bool large, bool pcids, unsigned type)
{
	uint32_t at = SPACE(0);
	struct kvm_sregs s;
	struct kvm_regs r;

	load(MINIVMM_LONG, callee, &r);
	make_space(0);
	make_space(1);
	r.rbp = large ? LARGE_LA + CALLER(0) : LOW_LA;
	put_caller(v.mem + CALLER(0), caller_a, r.rbp);
	put_caller(v.mem + CALLER(1), caller_b, r.rbp);
	put_caller(second + CALLER(0), caller_b, r.rbp);
	table(INVPCID_D)[0] = pcids ? 1 : 0;
	table(INVPCID_D)[1] = LOW_LA;
	minivmm_get_sregs(&v, &s);
	s.cr3 = SPACE(0) | (pcids ? 1 : 0);
	s.cr4 = (s.cr4 & ~(1ull << 17)) | (pcids ? 1 << 17 : 0);
	minivmm_set_sregs(&v, &s);
	r.rbx = large ? at + 0x2008 : at + 0x3000;
	r.rsi = large ? 0x83 : CALLER(0) | 3;
	r.rdi = large ? SECOND | 0x83 : CALLER(1) | 3;
	r.r10 = SPACE(0) | (pcids ? 1 | NOFLUSH : 0);
	r.r11 = SPACE(1) | (pcids ? 2 | NOFLUSH : 0);
	r.r14 = INVPCID_D;
	r.r15 = type;
	minivmm_set_regs(&v, &r);
	expect_counts(name, turns / 2, turns / 2, r.rsi);
	minivmm_get_sregs(&v, &s);
	s.cr4 &= ~(1ull << 17);
	s.cr3 &= ~0xfffull;
	minivmm_set_sregs(&v, &s);
}

static void spaces(void)
{
	swapped("INVLPG", by_invlpg, false, false, 0);
	swapped("INVLPG of a large page", by_invlpg, true, false, 0);
	swapped("CR3 as it is", by_cr3_again, false, false, 0);
	swapped("CR3 as it is, with PCIDs", by_cr3_again, false, true, 0);
	swapped("CR3", by_cr3, false, false, 0);
	swapped("CR3 of large pages", by_cr3, true, false, 0);
	swapped("CR3 with PCIDs", by_cr3, false, true, 0);
	swapped("CR0.WP", by_cr0, false, false, 0);
	swapped("CR4.PGE", by_cr4, false, false, 0);
	for (unsigned type = 0; type < 4; type++)
		swapped("INVPCID", by_invpcid, false, true, type);
}

/* ---- faults */

static void fault_at(const char *name, uint64_t call, uint64_t ret, uint64_t rax, uint64_t rsi)
{
	static const uint8_t call_start[] = {0xe8, 0x00, 0xf0, 0xff, 0xff}; /* to the page's start, if it ends the page */
	struct kvm_sregs s;
	struct kvm_regs r;

	load(MINIVMM_LONG, faults, &r);
	make_space(0);
	v.mem[CALLER(0)] = 0xc3;
	memcpy(v.mem + CALLER(0) + END_CALL, call_start, sizeof(call_start));
	minivmm_set_gate(&v, MINIVMM_LONG, 13, 0x1000);
	minivmm_get_sregs(&v, &s);
	s.cr3 = SPACE(0);
	minivmm_set_sregs(&v, &s);
	r.r12 = call;
	r.r13 = ret;
	r.rbx = 1ull << 50;
	minivmm_set_regs(&v, &r);
	expect_counts(name, rax, 0, rsi);
}

/* Where "\x48\x89\x1c\x24\xc3" (3 and 4 above) stands, and the CALL behind it. */
static uint64_t faults_at(void)
{
	static const uint8_t store_ret[] = {0x48, 0x89, 0x1c, 0x24, 0xc3};
	const uint8_t *p = memmem(faults.start, (size_t)(faults.end - faults.start), store_ret, sizeof(store_ret));

	EXPECT(p, "the code of `faults'");
	return MINIVMM_CODE + (uint64_t)(p - faults.start);
}

static void returns_that_fault(void)
{
	uint64_t at = faults_at();

	fault_at("RET to what is not canonical", at + 5, at + 4, turns / 2, turns / 2);
	fault_at("RET to the end of the lower half", END_LA + END_CALL, END_LA, turns, 0);
}

int main(void)
{
	minivmm_create(&v);
	minivmm_add_vcpu(&v, 1, &other);
	add_memory();
	pairs();
	depth();
	depth_around_zero();
	spaces();
	patched_at_exits();
	other_keys();
	room();
	returns_that_fault();
	patched_by_another();
	storm_begin();
	pairs();
	depth();
	returns_that_fault();
	storm_end();
	minivmm_remove_vcpu(&other);
	minivmm_destroy(&v);
	munmap(second, LARGE);
	return 0;
}
