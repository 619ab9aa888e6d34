/* SPDX-License-Identifier: MIT */
#include "native_run.h"

#include <asm/ldt.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/guard.h"
#include "fake.h"

static sigjmp_buf back;
static volatile int vector;
static struct native_state *current;

/* Linux's user code and data selectors: 32-bit code, flat data. */
#define USER32_CS 0x23
#define USER_DS	  0x2b
/* Entries 0 and 1 of the LDT, for ring 3. */
#define LDT_CS 0x07
#define LDT_DS 0x0f

u64 native_entry_rip;
struct {
	u32 offset;
	u16 selector;
} __attribute__((packed)) native_entry_far;

/* rdi: struct native_state, rsi: 32-bit? Never returns but by a signal. */
void native_enter(struct native_state *s, u64 legacy32);
asm(".text\n"
    "native_enter:\n"
    "	pushq 136(%rdi)\n"
    "	popfq\n"
    "	mov 0(%rdi), %rax\n"
    "	mov 8(%rdi), %rcx\n"
    "	mov 16(%rdi), %rdx\n"
    "	mov 24(%rdi), %rbx\n"
    "	mov 32(%rdi), %rsp\n"
    "	mov 40(%rdi), %rbp\n"
    "	mov 64(%rdi), %r8\n"
    "	mov 72(%rdi), %r9\n"
    "	mov 80(%rdi), %r10\n"
    "	mov 88(%rdi), %r11\n"
    "	mov 96(%rdi), %r12\n"
    "	mov 104(%rdi), %r13\n"
    "	mov 112(%rdi), %r14\n"
    "	mov 120(%rdi), %r15\n"
    "	xchg %rsi, %rcx\n" /* jrcxz leaves the flags alone */
    "	jrcxz 1f\n"
    "	xchg %rsi, %rcx\n"
    "	mov 48(%rdi), %rsi\n"
    "	mov 56(%rdi), %rdi\n"
    "	ljmp *native_entry_far(%rip)\n"
    "1:	xchg %rsi, %rcx\n"
    "	mov 48(%rdi), %rsi\n"
    "	mov 56(%rdi), %rdi\n"
    "	jmp *native_entry_rip(%rip)\n");

static void caught(int sig, siginfo_t *info, void *context)
{
	static const int reg[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
				    REG_RSI, REG_RDI, REG_R8,  REG_R9,	REG_R10, REG_R11,
				    REG_R12, REG_R13, REG_R14, REG_R15};
	ucontext_t *uc = context;

	for (unsigned i = 0; i < 16; i++)
		current->reg[i] = (u64)uc->uc_mcontext.gregs[reg[i]];
	current->rip = (u64)uc->uc_mcontext.gregs[REG_RIP];
	current->rflags = (u64)uc->uc_mcontext.gregs[REG_EFL];
	vector = (int)uc->uc_mcontext.gregs[REG_TRAPNO];
	siglongjmp(back, 1);
}

int native_run_init(void)
{
	static const int sigs[] = {SIGTRAP, SIGILL, SIGFPE, SIGSEGV, SIGBUS};
	struct sigaction sa = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	static u8 stack[65536];
	stack_t ss = {.ss_size = sizeof(stack), .ss_sp = stack};

	if (sigaltstack(&ss, NULL) || guard_install())
		return -errno;
	guard_chain = caught;
	return sigaction(sigs[0], &sa, NULL) ? -errno : 0;
}

bool native_has_16bit(void)
{
	struct user_desc code = {.entry_number = 0,
				 .base_addr = FAKE_BASE,
				 .limit = 0xffff,
				 .contents = MODIFY_LDT_CONTENTS_CODE};
	struct user_desc data = {.entry_number = 1, .base_addr = FAKE_BASE, .limit = 0xffff};

	return !syscall(SYS_modify_ldt, 1, &code, sizeof(code)) &&
	       !syscall(SYS_modify_ldt, 1, &data, sizeof(data));
}

static void load_segments(u16 data, u16 stack)
{
	asm volatile("mov %0, %%ds\n\tmov %0, %%es\n\tmov %1, %%ss" : : "r"(data), "r"(stack));
}

int native_run(struct native_state *s, enum native_mode mode)
{
	static const u16 ds[] = {0, USER_DS, LDT_DS}, ss[] = {USER_DS, USER_DS, LDT_DS};
	static const u16 cs[] = {0, USER32_CS, LDT_CS};

	current = s;
	native_entry_rip = s->rip;
	native_entry_far.offset = (u32)s->rip;
	native_entry_far.selector = cs[mode];
	if (!sigsetjmp(back, 1)) {
		load_segments(ds[mode], ss[mode]);
		native_enter(s, mode != NATIVE_64);
	}
	asm volatile("cld");
	load_segments(0, USER_DS);
	return vector;
}
