/* SPDX-License-Identifier: MIT */
/*
 * KVM_RUN without a trap, in a static program: what the program sees is a system call.
 *
 * usage: direct [SECONDS]
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "mmio.h"

#define MANY	    100
#define EVERY_US    300
#define WORDS	    16	 /* of the red zone */
#define FLAGS_KEPT  0xcd5 /* OF, DF, SF, ZF, AF, PF, CF */
#define PAGE	    4096ul

static struct minivmm v, other;

/* ------------------------------------------------------------------ registers */

struct state {
	uint64_t r8, r9, r10, rbx, rbp, rsi, rdi, rdx; /* 0 to 56 */
	uint64_t flags;				       /* 64 */
	uint8_t ymm[32];			       /* 72 */
	uint64_t red[WORDS];			       /* 104 */
};

/*
 * ioctl(fd, KVM_RUN, 0) with what *in says in registers and below the stack; *out is what is there then. Two
 * copies, whose places are known.
 */
#define CALL(name)                                                                             \
	long name(int fd, const struct state *in, struct state *out);                          \
	extern const uint8_t name##_load[];                                                    \
	asm(".pushsection .text." #name ", \"ax\"\n.balign 4096\n" #name ":\n"                 \
	    "	push %rbx\n	push %rbp\n	push %rdx\n	mov %rsi, %r11\n"              \
	    "	vmovdqu 72(%r11), %ymm5\n"                                                     \
	    "	mov 0(%r11), %r8\n	mov 8(%r11), %r9\n	mov 16(%r11), %r10\n"         \
	    "	mov 24(%r11), %rbx\n	mov 32(%r11), %rbp\n"                                  \
	    "	i = 0\n	.rept 16\n	mov 104+8*i(%r11), %rax\n"                             \
	    "	mov %rax, -8-8*i(%rsp)\n	i = i + 1\n	.endr\n"                      \
	    "	mov 64(%r11), %rax\n	lea -128(%rsp), %rsp\n	push %rax\n	popfq\n"       \
	    "	lea 128(%rsp), %rsp\n	mov $0xae80, %esi\n	mov $0, %edx\n	nop\n"        \
	    #name "_load:\n"                                                                   \
	    "	mov $16, %eax\n	syscall\n"                                                     \
	    "	lea -128(%rsp), %rsp\n	pushfq\n	pop %rcx\n	cld\n"                        \
	    "	lea 128(%rsp), %rsp\n	mov (%rsp), %r11\n	mov %rcx, 64(%r11)\n"          \
	    "	i = 0\n	.rept 16\n	mov -8-8*i(%rsp), %rcx\n"                              \
	    "	mov %rcx, 104+8*i(%r11)\n	i = i + 1\n	.endr\n"                      \
	    "	vmovdqu %ymm5, 72(%r11)\n"                                                     \
	    "	mov %r8, 0(%r11)\n	mov %r9, 8(%r11)\n	mov %r10, 16(%r11)\n"         \
	    "	mov %rbx, 24(%r11)\n	mov %rbp, 32(%r11)\n	mov %rsi, 40(%r11)\n"         \
	    "	mov %rdi, 48(%r11)\n	mov %rdx, 56(%r11)\n"                                  \
	    "	pop %rdx\n	pop %rbp\n	pop %rbx\n	vzeroupper\n	ret\n"             \
	    ".popsection\n")

CALL(call_here);
CALL(call_there);

static void fill(struct state *s, unsigned seed)
{
	uint8_t *bytes = (uint8_t *)s;

	for (size_t i = 0; i < sizeof(*s); i++) {
		seed = seed * 1103515245 + 12345;
		bytes[i] = (uint8_t)(seed >> 16);
	}
	s->flags = (s->flags & FLAGS_KEPT) | 0x202;
}

static void run_with_state(unsigned seed)
{
	struct state in, out;
	long r;

	fill(&in, seed);
	in.rsi = KVM_RUN;
	in.rdi = (unsigned)v.vcpu;
	in.rdx = 0;
	r = call_here(v.vcpu, &in, &out);
	EXPECT(r == 0 && v.run->exit_reason == KVM_EXIT_MMIO, "result %ld", r);
	out.flags = (out.flags & FLAGS_KEPT) | 0x202;
	for (size_t i = 0; i < sizeof(in) / 8; i++)
		EXPECT(((uint64_t *)&in)[i] == ((uint64_t *)&out)[i], "seed %u, word %zu: %lx is %lx", seed, i,
		       ((uint64_t *)&in)[i], ((uint64_t *)&out)[i]);
}

static int is_direct(const uint8_t *load)
{
	return *(const volatile uint8_t *)load == 0xe9;
}

static void check_state(void)
{
	for (unsigned i = 0; i < MANY; i++)
		run_with_state(i);
	EXPECT(is_direct(call_here_load) == comes_directly(), "%d calls, and it is %s", MANY,
	       is_direct(call_here_load) ? "direct" : "still trapped");
	for (unsigned i = 0; i < MANY; i++)
		run_with_state(MANY + i);
	puts("ok     registers, flags, vectors and the red zone");
}

/* ------------------------------------------------------------------ memory */

static uint8_t *gate_of(const uint8_t *load)
{
	int32_t way;

	memcpy(&way, load + 1, sizeof(way));
	return (uint8_t *)load + 5 + way;
}

static void check_memory(void)
{
	uint8_t *page = (uint8_t *)((uintptr_t)call_there_load & -PAGE), *gate;
	struct state in, out;

	if (!comes_directly()) {
		puts("no XSAVEC here: every KVM_RUN is trapped");
		return;
	}
	fill(&in, 1);
	for (int i = 0; i < MANY; i++)
		EXPECT(call_there(v.vcpu, &in, &out) == 0, "run");
	EXPECT(is_direct(call_there_load), "still trapped");
	EXPECT(!madvise(page, PAGE, MADV_DONTNEED), "madvise: %m");
	EXPECT(call_there(v.vcpu, &in, &out) == 0, "after MADV_DONTNEED of the code");
	gate = gate_of(call_there_load);
	EXPECT(mmap(gate, PAGE, PROT_NONE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == gate, "mmap: %m");
	EXPECT(!is_direct(call_there_load), "a jump to what is the program's");
	for (int i = 0; i < MANY; i++)
		EXPECT(call_there(v.vcpu, &in, &out) == 0, "run");
	puts("ok     the program's own use of these places");
}

/* ------------------------------------------------------------------ handlers */

static sigjmp_buf back;
static volatile sig_atomic_t handled, jumps, may_jump;

/* A handler that makes a call itself, trapped or not, and sometimes does not return. */
static void handler(int sig)
{
	int error = errno;

	(void)sig;
	EXPECT_EXIT(&other, KVM_EXIT_MMIO);
	if (++handled % 3 == 0)
		EXPECT(ioctl(v.vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) == 1, "a trapped call");
	if (may_jump && handled % 5 == 0) {
		jumps++;
		siglongjmp(back, 1);
	}
	errno = error;
}

static void check_handlers(int seconds)
{
	struct itimerval often = {{0, EVERY_US}, {0, EVERY_US}}, never = {0};
	uint64_t end = minivmm_now() + (uint64_t)seconds * 1000000000u;
	struct sigaction a = {.sa_handler = handler};
	volatile unsigned long runs = 0;

	minivmm_add_vcpu(&v, 1, &other);
	mmio_start(&other);
	sigaction(SIGALRM, &a, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	sigsetjmp(back, 1);
	may_jump = 1;
	while (minivmm_now() < end || !jumps) {
		int r = minivmm_run(&v);

		EXPECT(r == KVM_EXIT_MMIO || r == -EINTR, "exit %d", r);
		runs = runs + 1;
	}
	may_jump = 0;
	setitimer(ITIMER_REAL, &never, NULL);
	printf("ok     %lu runs under %d handlers, %d of which jumped\n", runs, (int)handled, (int)jumps);
}

/* ------------------------------------------------------------------ a filter of the program's own */

static void install(unsigned verdict)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, verdict),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {sizeof(f) / sizeof(f[0]), f};

	EXPECT(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl: %m");
	EXPECT(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p, 0, 0), "filter: %m");
}

/* In a process of its own, before this one has a VM. */
static void check_filter(unsigned verdict, int sig)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		mmio_create(&v);
		for (int i = 0; i < MANY; i++)
			EXPECT_EXIT(&v, KVM_EXIT_MMIO);
		install(verdict);
		for (int i = 0; i < MANY; i++)
			EXPECT_EXIT(&v, KVM_EXIT_MMIO);
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid, "waitpid: %m");
	EXPECT(sig ? WIFSIGNALED(status) && WTERMSIG(status) == sig : !status, "status %x", status);
	printf("ok     a filter that says %x\n", verdict);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!__builtin_cpu_supports("avx")) {
		puts("needs AVX");
		return 77;
	}
	check_filter(SECCOMP_RET_ALLOW, 0);
	check_filter(SECCOMP_RET_KILL_PROCESS, SIGSYS);
	mmio_create(&v);
	check_state();
	check_memory();
	check_handlers(argc > 1 ? atoi(argv[1]) : 2);
	return 0;
}
