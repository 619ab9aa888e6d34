/* SPDX-License-Identifier: MIT */
/*
 * tests/vmm/translated.c: what a VMM sees of a vCPU that is in translated code nearly all of the time: its
 * handlers find the program's own context, KVM_RUN ends soon after a signal, a child takes nothing away,
 * and data beside code and code that is changed cost no more than they have to.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include "heard.h"
#include "minivmm.h"

#define SIGNALS	 100
#define CHILDREN 20
#define EACH_US	 3000 /* between two signals */

/* Two blocks in a loop, with a load, a store and a call. */
GUEST(loop, 64,
      "1: call 2f\n add %rax, 0x100000\n test $1, %al\n jz 1b\n jmp 1b\n"
      "2: inc %rax\n mov 0x100000, %rdx\n ret\n");
/* rcx times: a store into the line that the loop is in (rbx), and back. */
GUEST(beside, 64,
      "lea 2f(%rip), %rbx\n jmp 1f\n .balign 64\n"
      "1: add $3, %rax\n mov %rax, (%rbx)\n add (%rbx), %rdx\n dec %rcx\n jnz 1b\n hlt\n"
      ".balign 8\n 2: .quad 0\n");
/* rcx times: the immediate of the next instruction is the counter. */
GUEST(patched, 64,
      "1: mov %ecx, 2f+1(%rip)\n 2: mov $0, %esi\n add %rsi, %rax\n dec %rcx\n jnz 1b\n hlt\n");

/*
 * The same by a push, of that instruction and three NOPs, in a page of its own: what is kept of the stack's page lets it
 * be written from the second push on, until code is marked there again.
 */
GUEST(pushed, 64,
      "lea 3f(%rip), %rsp\n movabs $0x90909000000000be, %rbx\n"
      "1: mov %rcx, %rdi\n shl $8, %rdi\n or %rbx, %rdi\n push %rdi\n pop %rsi\n push %rdi\n jmp 2f\n"
      "4: add %rsi, %rax\n pop %rdi\n dec %rcx\n jnz 1b\n hlt\n"
      ".org guest_pushed + 0x1000\n 2: mov $0, %esi\n nop\n nop\n nop\n 3: jmp 4b\n");

/*
 * rcx times: to another page and back. The entry is the first block of all that becomes code, and it begins with an
 * access, before which flags are saved. And the same again.
 */
GUEST(there_and_back, 64,
      "1: mov 0x100000, %rbx\n dec %rcx\n jz 3f\n jmp 2f\n"
      "3: hlt\n mov %rdx, %rcx\n jmp 4f\n"
      ".org guest_there_and_back + 0x1000\n 2: inc %rax\n jmp 1b\n"
      "4: mov 0x100000, %rbx\n dec %rcx\n jz 3f\n jmp 2f\n 3: hlt\n"
      ".org guest_there_and_back + 0x2000\n 2: inc %rax\n jmp 4b\n");

/* rcx times an SSE computation with an operand in memory; and as often with one in a register. */
GUEST(computes, 64,
      "1: mulps 0x100000, %xmm0\n dec %rcx\n jnz 1b\n hlt\n mov %rdx, %rcx\n"
      "2: mulps %xmm1, %xmm0\n dec %rcx\n jnz 2b\n hlt\n");

static struct minivmm v;
static struct heard heard; /* the first thread's */

/* ---- handlers */

static volatile sig_atomic_t handled, astray;

static char *stack_low, *stack_high; /* of this thread */

/* The context that the handler interrupts is one of the program's: its stack says so. */
static void handler(int sig, siginfo_t *info, void *uc)
{
	char *sp = (char *)((ucontext_t *)uc)->uc_mcontext.gregs[REG_RSP];
	char here;

	(void)sig;
	(void)info;
	handled++;
	v.run->immediate_exit = 1; /* it may come before the run that it is meant for */
	astray += sp < stack_low || sp >= stack_high || &here < stack_low || &here >= stack_high;
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

static volatile int stop;

static void *ask_until_stopped(void *arg)
{
	(void)arg;
	while (!stop) {
		heard_ask(&heard, SIGALRM);
		usleep(EACH_US);
	}
	return NULL;
}

static void signals_in_a_run(void)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	pthread_t asker;

	find_stack();
	EXPECT(!sigaction(SIGALRM, &sa, NULL), "sigaction");
	minivmm_load(&v, MINIVMM_LONG, loop);
	EXPECT(!pthread_create(&asker, NULL, ask_until_stopped, NULL), "pthread_create");
	for (int n = 0; n < SIGNALS;) {
		EXPECT(minivmm_run(&v) == -EINTR, "KVM_RUN does not end with EINTR");
		if (handled == n)
			continue; /* the measure's own signal, by a device that ends a run for it */
		n++;
		EXPECT(handled == n, "%d handlers ran for %d signals", (int)handled, n);
		v.run->immediate_exit = 0;
		EXPECT(!heard_late(&heard), "KVM_RUN goes on after the signal");
	}
	stop = 1;
	pthread_join(asker, NULL);
	stop = 0;
	heard_returned(&heard); /* it may have asked once more */
	v.run->immediate_exit = 0;
	EXPECT(!astray, "%d handlers ran in a context that is not the program's", (int)astray);
}

static void immediate_exits(void)
{
	struct kvm_regs before, after;

	minivmm_get_regs(&v, &before);
	v.run->immediate_exit = 1;
	for (int n = 0; n < SIGNALS; n++)
		EXPECT(minivmm_run(&v) == -EINTR, "immediate_exit");
	v.run->immediate_exit = 0;
	minivmm_get_regs(&v, &after);
	EXPECT(!memcmp(&before, &after, sizeof(before)), "the guest ran");
}

/* ---- children */

static void *run_until_stopped(void *arg)
{
	(void)arg;
	while (!stop) {
		int r = minivmm_run(&v);

		EXPECT(r == -EINTR, "the loop ends with %s", minivmm_exit_name(r));
	}
	return NULL;
}

static uint64_t turns(void)
{
	return __atomic_load_n((uint64_t *)(v.mem + 0x100000), __ATOMIC_RELAXED);
}

/* Each child gives back all that it inherited, while the parent's vCPU runs on. */
static void children(void)
{
	pthread_t t;

	minivmm_load(&v, MINIVMM_LONG, loop);
	EXPECT(!pthread_create(&t, NULL, run_until_stopped, NULL), "pthread_create");
	for (int n = 0; n < CHILDREN; n++) {
		uint64_t before = turns();
		pid_t child = fork();
		int status;

		if (!child) {
			munmap(v.run, v.run_size);
			close(v.vcpu);
			close(v.vm);
			_exit(0);
		}
		EXPECT(child > 0 && waitpid(child, &status, 0) == child && !status, "the child");
		while (turns() == before)
			usleep(100);
	}
	stop = 1;
	pthread_kill(t, SIGALRM);
	while (pthread_tryjoin_np(t, NULL) == EBUSY) {
		pthread_kill(t, SIGALRM);
		usleep(1000);
	}
	v.run->immediate_exit = 0;
}

/* ---- code and data side by side */

static void counted(struct guest_code code, uint64_t n, uint64_t rax, uint64_t rdx)
{
	struct kvm_regs r;

	minivmm_load(&v, MINIVMM_LONG, code);
	minivmm_get_regs(&v, &r);
	r.rax = r.rdx = 0;
	r.rcx = n;
	minivmm_set_regs(&v, &r);
	EXPECT_EXIT(&v, KVM_EXIT_HLT);
	minivmm_get_regs(&v, &r);
	EXPECT(r.rax == rax && r.rdx == rdx, "rax %llx, rdx %llx", r.rax, r.rdx);
}

/* For how long the run to the next HLT is at work. */
static uint64_t time_of_run(void)
{
	int r;

	heard_asked(&heard, NULL);
	do {
		r = minivmm_run(&v);
	} while (r == -EINTR); /* the measure's own signal, as above */
	EXPECT(r == KVM_EXIT_HLT, "exit %s (%d)", minivmm_exit_name(r), r);
	return heard_returned(&heard);
}

/* The block whose code comes first is entered as any other is. */
static void first_block(uint64_t n)
{
	uint64_t first, second;
	struct kvm_regs r;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, there_and_back);
	minivmm_get_regs(&v, &r);
	r.rcx = r.rdx = n;
	minivmm_set_regs(&v, &r);
	first = time_of_run();
	second = time_of_run();
	EXPECT(first < 10 * second, "%lu turns take %lu ns in the first code, %lu ns in other", n, first, second);
	minivmm_destroy(&v);
}

static void computations(uint64_t n)
{
	uint64_t memory, registers;
	struct kvm_sregs s;
	struct kvm_regs r;

	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, computes);
	minivmm_get_sregs(&v, &s);
	s.cr4 |= 1 << 9; /* OSFXSR */
	minivmm_set_sregs(&v, &s);
	minivmm_get_regs(&v, &r);
	r.rcx = r.rdx = n;
	minivmm_set_regs(&v, &r);
	memory = time_of_run();
	registers = time_of_run();
	EXPECT(memory < 10 * registers, "%lu products take %lu ns from memory, %lu ns from registers", n, memory,
	       registers);
	minivmm_destroy(&v);
}

int main(void)
{
	const uint64_t n = 20000;

	heard_listen(&heard);
	first_block(50 * n);
	computations(50 * n);
	minivmm_create(&v);
	signals_in_a_run();
	immediate_exits();
	children();
	counted(beside, n, 3 * n, 3 * n * (n + 1) / 2);
	counted(patched, n, n * (n + 1) / 2, 0);
	counted(pushed, n, n * (n + 1) / 2, 0);
	minivmm_destroy(&v);
	return 0;
}
