/* SPDX-License-Identifier: MIT */
/*
 * soak/host.c: one instruction on the host's processor. All state is loaded, control goes to
 * the code, and the trap that ends it (the INT3 behind it, or its own fault) is caught with
 * everything as it was left: the signal frame holds it.
 */
#include <asm/ldt.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/guard.h"
#include "cpu/native/xstate.h"
#include "soak.h"

u64 host_xmask;
static jmp_buf back;
static volatile bool active;
static struct soak_end end;
static struct soak_state *current;
static u64 own_fs, own_gs;
static volatile u64 nr_runs, ticked_at;
/* Aligned, since AC may be set when they are read. */
struct {
	u32 offset;
	u16 selector;
} host_entry_far HIDDEN __attribute__((aligned(8)));
struct {
	u64 rip, cs, rflags, rsp, ss;
} host_frame HIDDEN __attribute__((aligned(16)));

/*
 * IRET loads all at once, so that TF traps after the instruction itself. To a 16-bit stack it would
 * leave the upper half of ESP to chance: there a jump has to do.
 */
void host_enter(struct soak_state *s, enum soak_mode mode, u64 xmask);
asm(".pushsection .text\n"
    ".hidden host_enter\n"
    ".globl host_enter\n"
    "host_enter:\n"
    "	mov %rdx, %rax\n"
    "	xor %edx, %edx\n"
    "	xrstor64 192(%rdi)\n"
    "	test %esi, %esi\n"
    "	jnz 2f\n"
    "	mov 144(%rdi), %rax\n"
    "	wrfsbase %rax\n"
    "	mov 152(%rdi), %rax\n"
    "	wrgsbase %rax\n"
    "	jmp 3f\n"
    "2:	mov 160(%rdi), %es\n	mov 166(%rdi), %ds\n"
    "	mov 168(%rdi), %fs\n	mov 170(%rdi), %gs\n"
    "3:	mov 8(%rdi), %rcx\n	mov 16(%rdi), %rdx\n"
    "	mov 24(%rdi), %rbx\n	mov 40(%rdi), %rbp\n"
    "	mov 64(%rdi), %r8\n	mov 72(%rdi), %r9\n	mov 80(%rdi), %r10\n"
    "	mov 88(%rdi), %r11\n	mov 96(%rdi), %r12\n	mov 104(%rdi), %r13\n"
    "	mov 112(%rdi), %r14\n	mov 120(%rdi), %r15\n"
    "	cmp $2, %esi\n"
    "	je 4f\n"
    "	mov 0(%rdi), %rax\n"
    "	lea host_frame(%rip), %rsp\n"
    "	mov 48(%rdi), %rsi\n"
    "	mov 56(%rdi), %rdi\n"
    "	iretq\n"
    "4:	pushq 136(%rdi)\n"
    "	popfq\n"
    "	mov 0(%rdi), %rax\n"
    "	mov 32(%rdi), %rsp\n"
    "	mov 48(%rdi), %rsi\n"
    "	mov 56(%rdi), %rdi\n"
    "	ljmp *host_entry_far(%rip)\n"
    ".popsection\n");
_Static_assert(offsetof(struct soak_state, rflags) == 136 &&
		       offsetof(struct soak_state, fs_base) == 144 &&
		       offsetof(struct soak_state, sel) == 160 &&
		       offsetof(struct soak_state, xsave) == 192 && SOAK_64 == 0 && SOAK_16 == 2,
	       "host_enter knows these");

static void take_registers(struct soak_state *s, const ucontext_t *uc)
{
	static const int reg[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
				    REG_RSI, REG_RDI, REG_R8,  REG_R9,	REG_R10, REG_R11,
				    REG_R12, REG_R13, REG_R14, REG_R15};
	u64 segs = (u64)uc->uc_mcontext.gregs[REG_CSGSFS];

	for (unsigned i = 0; i < 16; i++)
		s->reg[i] = (u64)uc->uc_mcontext.gregs[reg[i]];
	s->rip = (u64)uc->uc_mcontext.gregs[REG_RIP];
	s->rflags = (u64)uc->uc_mcontext.gregs[REG_EFL];
	s->sel[SEG_CS] = (u16)segs;
	s->sel[SEG_SS] = (u16)(segs >> 48);
	asm volatile("mov %%es, %0" : "=r"(s->sel[SEG_ES]));
	asm volatile("mov %%ds, %0" : "=r"(s->sel[SEG_DS]));
	asm volatile("mov %%fs, %0" : "=r"(s->sel[SEG_FS]));
	asm volatile("mov %%gs, %0" : "=r"(s->sel[SEG_GS]));
	memcpy(s->xsave, uc->uc_mcontext.fpregs, xstate_image_size(host_xmask, false));
	end.vector = (int)uc->uc_mcontext.gregs[REG_TRAPNO];
	end.error = (u32)uc->uc_mcontext.gregs[REG_ERR];
	end.cr2 = (u64)uc->uc_mcontext.gregs[REG_CR2];
}

/* FS may be anything: nothing thread-local before it is restored; and AC may be set. */
static void caught(int sig, siginfo_t *info, void *context)
{
	u64 fs, gs;

	if (sig == SIGVTALRM && (!active || ticked_at != nr_runs)) {
		ticked_at = nr_runs;
		return;
	}
	if (!active) {
		if (!guard_handle(sig, info, context)) {
			signal(sig, SIG_DFL);
			raise(sig);
		}
		return;
	}
	asm volatile("rdfsbase %0\n\trdgsbase %1\n\twrfsbase %2\n\twrgsbase %3"
		     : "=&r"(fs), "=&r"(gs)
		     : "r"(own_fs), "r"(own_gs));
	asm volatile("pushq $2\n\tpopfq" : : : "cc", "memory");
	current->fs_base = fs;
	current->gs_base = gs;
	take_registers(current, context);
	if (sig == SIGVTALRM)
		end.vector = HOST_STUCK;
	else if (sig == SIGSYS)
		end.vector = HOST_CALLED;
	active = false;
	_longjmp(back, 1);
}

int host_init(void)
{
	static const int sigs[] = {SIGTRAP, SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGSYS,
				   SIGVTALRM};
	struct sigaction sa = {.sa_sigaction = caught,
			       .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	/* A run that sees two ticks, of processor time, will never end. */
	static const struct itimerval tick = {.it_interval = {2, 0}, .it_value = {2, 0}};
	static u8 stack[1 << 17];
	stack_t ss = {.ss_size = sizeof(stack), .ss_sp = stack};

	host_xmask = forms_xmask();
	if (sigaltstack(&ss, NULL) || guard_install())
		return -errno;
	for (unsigned i = 0; i < ARRAY_SIZE(sigs); i++) {
		if (sigaction(sigs[i], &sa, NULL))
			return -errno;
	}
	asm volatile("rdfsbase %0\n\trdgsbase %1" : "=r"(own_fs), "=r"(own_gs));
	return setitimer(ITIMER_VIRTUAL, &tick, NULL) ? -errno : 0;
}

static bool make_ldt_entry(unsigned n, u32 limit, unsigned contents)
{
	struct user_desc d = {
		.entry_number = n, .base_addr = SOAK_BASE, .limit = limit, .contents = contents};

	return !syscall(SYS_modify_ldt, 1, &d, sizeof(d));
}

bool host_has_ldt(void)
{
	return make_ldt_entry(SEL_LDT_CS >> 3, 0xffff, MODIFY_LDT_CONTENTS_CODE) &&
	       make_ldt_entry(SEL_LDT_DS >> 3, 0xffff, MODIFY_LDT_CONTENTS_DATA) &&
	       make_ldt_entry(SEL_LDT_SHORT >> 3, SOAK_LIMIT, MODIFY_LDT_CONTENTS_DATA) &&
	       make_ldt_entry(SEL_LDT_DOWN >> 3, SOAK_LIMIT, MODIFY_LDT_CONTENTS_STACK);
}

static void load_segments(u16 data, u16 stack)
{
	asm volatile("mov %0, %%ds\n\tmov %0, %%es\n\tmov %1, %%ss" : : "r"(data), "r"(stack));
}

struct soak_end host_run(struct soak_state *s, enum soak_mode mode)
{
	u64 none = 0;

	current = s;
	nr_runs++;
	host_entry_far.offset = (u32)s->rip;
	host_entry_far.selector = SEL_LDT_CS;
	host_frame.rip = s->rip;
	host_frame.cs = soak_code_selector(mode);
	host_frame.rflags = s->rflags;
	host_frame.rsp = s->reg[RSP];
	host_frame.ss = soak_stack_selector(mode);
	if (!_setjmp(back)) {
		load_segments(0, soak_stack_selector(mode));
		active = true;
		host_enter(s, mode, host_xmask);
	}
	load_segments(0, SEL_USER_DS);
	/* A selector the code loaded takes the base with it when it is dropped. */
	asm volatile("mov %k0, %%fs\n\tmov %k0, %%gs\n\twrfsbase %1\n\twrgsbase %2"
		     :
		     : "r"(none), "r"(own_fs), "r"(own_gs));
	return end;
}
