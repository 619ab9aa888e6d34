/* SPDX-License-Identifier: MIT */
#include "host_run.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include "base/guard.h"
#include "cpu/native/xstate.h"
#include "cpu/table/features.h"

static u8 *page;
static sigjmp_buf back;
u64 host_run_rsp HIDDEN, host_run_scratch HIDDEN, host_run_target HIDDEN;
struct host_state *host_run_state HIDDEN;

void host_run_asm(struct host_state *s);
void host_run_after(void);

asm(".pushsection .text\n"
    ".globl host_run_asm, host_run_after\n"
    ".hidden host_run_asm, host_run_after\n"
    "host_run_asm:\n"
    "	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
    "	mov %rsp, host_run_rsp(%rip)\n"
    "	mov %rdi, host_run_state(%rip)\n"
    "	mov 136(%rdi), %eax\n"
    "	xor %edx, %edx\n"
    "	xrstor64 192(%rdi)\n"
    "	pushq 128(%rdi)\n"
    "	popfq\n"
    "	mov (%rdi), %rax\n	mov 8(%rdi), %rcx\n	mov 16(%rdi), %rdx\n"
    "	mov 24(%rdi), %rbx\n	mov 40(%rdi), %rbp\n	mov 48(%rdi), %rsi\n"
    "	mov 64(%rdi), %r8\n	mov 72(%rdi), %r9\n	mov 80(%rdi), %r10\n"
    "	mov 88(%rdi), %r11\n	mov 96(%rdi), %r12\n	mov 104(%rdi), %r13\n"
    "	mov 112(%rdi), %r14\n	mov 120(%rdi), %r15\n"
    "	mov 56(%rdi), %rdi\n"
    "	jmp *host_run_target(%rip)\n"
    "host_run_after:\n"
    "	mov host_run_rsp(%rip), %rsp\n"
    "	mov %rdi, host_run_scratch(%rip)\n"
    "	mov host_run_state(%rip), %rdi\n"
    "	mov %rax, (%rdi)\n	mov %rcx, 8(%rdi)\n	mov %rdx, 16(%rdi)\n"
    "	mov %rbx, 24(%rdi)\n	mov %rbp, 40(%rdi)\n	mov %rsi, 48(%rdi)\n"
    "	mov %r8, 64(%rdi)\n	mov %r9, 72(%rdi)\n	mov %r10, 80(%rdi)\n"
    "	mov %r11, 88(%rdi)\n	mov %r12, 96(%rdi)\n	mov %r13, 104(%rdi)\n"
    "	mov %r14, 112(%rdi)\n	mov %r15, 120(%rdi)\n"
    "	pushfq\n	popq 128(%rdi)\n"
    "	mov host_run_scratch(%rip), %rax\n"
    "	mov %rax, 56(%rdi)\n"
    "	mov 136(%rdi), %eax\n"
    "	xor %edx, %edx\n"
    "	xsave64 192(%rdi)\n"
    "	fninit\n"
    "	test $4, %al\n" /* AVX */
    "	jz 1f\n"
    "	vzeroupper\n"
    "1:\n"
    "	movl $0x1f80, host_run_scratch(%rip)\n"
    "	ldmxcsr host_run_scratch(%rip)\n"
    "	cld\n"
    "	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n"
    "	ret\n"
    ".popsection\n");
_Static_assert(offsetof(struct host_state, xsave) == 192 &&
	       offsetof(struct host_state, xmask) == 136, "host_run_asm knows these");

static void on_fault(int sig, siginfo_t *info, void *uc)
{
	siglongjmp(back, sig);
}

/* The stack pointer of 32-bit code is no place for a signal frame. */
static int use_signal_stack(void)
{
	stack_t st = {.ss_size = 1 << 18};

	st.ss_sp = mmap(NULL, st.ss_size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return st.ss_sp == MAP_FAILED || sigaltstack(&st, NULL) ? -errno : 0;
}

u64 host_run_xmask(void)
{
	return xstate_host_components();
}

int host_run_init(void)
{
	if (!feature_on_host(feature_find("xsave")))
		return -ENOTSUP;
	if (use_signal_stack())
		return -errno;
	page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (page == MAP_FAILED)
		return -errno;
	guard_chain = on_fault;
	return guard_install();
}

u64 host_run_address(void)
{
	return (u64)page + 64;
}

/* jmp *0(%rip), and the address. */
static void put_jump(u8 *p, u64 to)
{
	static const u8 jump[] = {0xff, 0x25, 0, 0, 0, 0};

	memcpy(p, jump, sizeof(jump));
	memcpy(p + sizeof(jump), &to, 8);
}

#define FAR_POINTER 0  /* to the instruction, for the far jump into 32-bit code */
#define ENTER	    16 /* 64-bit code that makes it */
#define LEAVE	    32 /* 64-bit code that 32-bit code jumps back to */
#define CS_32	    0x23 /* Linux's selectors */
#define CS_64	    0x33
#define DS_32	    0x2b

static u64 put_compat(const u8 *insn, unsigned len)
{
	u32 at = (u32)host_run_address(), back_at = (u32)(u64)page + LEAVE;
	u16 cs32 = CS_32, cs64 = CS_64, ds = DS_32;
	s32 rel = FAR_POINTER - (ENTER + 6);
	u8 *p = page + 64 + len;

	memcpy(page + FAR_POINTER, &at, 4);
	memcpy(page + FAR_POINTER + 4, &cs32, 2);
	page[ENTER] = 0xff; /* ljmp *rel(%rip) */
	page[ENTER + 1] = 0x2d;
	memcpy(page + ENTER + 2, &rel, 4);
	put_jump(page + LEAVE, (u64)host_run_after);
	p[0] = 0xea; /* ljmp cs64:back_at */
	memcpy(p + 1, &back_at, 4);
	memcpy(p + 5, &cs64, 2);
	asm volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(ds));
	return (u64)page + ENTER;
}

int host_run(struct host_state *s, const u8 *insn, unsigned len, bool compat)
{
	int sig;

	memcpy(page + 64, insn, len);
	if (compat) {
		host_run_target = put_compat(insn, len);
	} else {
		put_jump(page + 64 + len, (u64)host_run_after);
		host_run_target = host_run_address();
	}
	s->xmask = host_run_xmask();
	sig = sigsetjmp(back, 1);
	if (sig)
		return sig;
	host_run_asm(s);
	return 0;
}
