/* SPDX-License-Identifier: MIT */
/*
 * What a library in the program's own process takes for granted, and a kernel does not: the stacks,
 * tables, masks and copies that programs have, at their edges. Each case holds beside a kernel's KVM.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include "beside.h"

/* -- stacks */

static void *on_a_small_stack(void *arg)
{
	struct stat st;
	char text[16];
	FILE *f;
	int fd;

	CHECK_ERRNO(open("/does/not/exist", O_RDONLY), ENOENT);
	CHECK_ERRNO(open("/does/not/exist/kvm", O_RDONLY), ENOENT);
	CHECK_ERRNO(stat("/does/not/exist", &st), ENOENT);
	CHECK_ERRNO(open(arg, O_RDONLY), ENOENT); /* a link */
	CHECK_ERRNO(access(arg, R_OK), ENOENT);
	CHECK(readlink(arg, text, sizeof(text)) > 0);
	CHECK(!(f = fopen(arg, "r")));
	fd = open("/dev/kvm", O_RDWR);
	CHECK(fd >= 0 && ioctl(fd, KVM_GET_API_VERSION, 0) == 12);
	CHECK(ioctl(v.vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) == 1);
	CHECK(minivmm_run(&v) == KVM_EXIT_IO);
	CHECK(close(fd) == 0);
	return NULL;
}

static void small_stack(void)
{
	char link[] = "/tmp/userkvm-test-XXXXXX";
	size_t least = (size_t)sysconf(_SC_THREAD_STACK_MIN);
	pthread_attr_t a;
	pthread_t t;
	int fd = mkstemp(link);

	CHECK(fd >= 0 && unlink(link) == 0 && symlink("/does/not/exist", link) == 0);
	make(writes_once);
	pthread_attr_init(&a);
	/* what a thread needs of its own, and one frame of a signal's */
	CHECK(pthread_attr_setstacksize(&a, least + 4096) == 0);
	CHECK(pthread_create(&t, &a, on_a_small_stack, link) == 0);
	CHECK(pthread_join(t, NULL) == 0 && unlink(link) == 0);
}

/* An alternate stack that nothing of the program's would be delivered on. */
static void *with_small_altstack(void *arg)
{
	void *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t s = {.ss_sp = (char *)p + 4096, .ss_size = 2048};

	CHECK(mprotect(p, 4096, PROT_NONE) == 0);
	CHECK(sigaltstack(&s, NULL) == 0);
	CHECK_ERRNO(ioctl(v.vm, KVM_SET_USER_MEMORY_REGION, 8L), EFAULT);
	return runs_on(arg);
}

static void small_altstack(void)
{
	pthread_t t[2];

	stop = 0;
	make(writes_on);
	CHECK(pthread_create(&t[0], NULL, with_small_altstack, NULL) == 0);
	CHECK(pthread_create(&t[1], NULL, changes_memory, NULL) == 0);
	pause_ms(300);
	end_both(t);
}

/* -- signals */

static void every_signal_by_a_descriptor(void)
{
	struct signalfd_siginfo info;
	pthread_t t[2];
	sigset_t all;
	int fd;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	start_both(t);
	fd = signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
	CHECK(fd >= 0);
	for (int i = 0; i < 200; i++) {
		CHECK_ERRNO(read(fd, &info, sizeof(info)), EAGAIN);
		pause_ms(1);
	}
	kill(getpid(), SIGHUP);
	CHECK(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGHUP);
	end_both(t);
}

/* Our handlers around a fork() are beside the program's, which may call what it likes. */
static void calls_at_fork(void)
{
	int fd = dup(v.vm > 0 ? v.vm : 0);
	struct sigaction a;
	void *p;

	CHECK(fd >= 0 && close(fd) == 0);
	CHECK(sigaction(SIGUSR2, NULL, &a) == 0 && sigaction(SIGUSR2, &a, NULL) == 0);
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED && mprotect(p, 4096, PROT_READ) == 0 && munmap(p, 8192) == 0);
	if (v.vm > 0)
		ioctl(v.vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP);
}

static void handlers_of_fork(void)
{
	pthread_t t[2];

	CHECK(pthread_atfork(calls_at_fork, calls_at_fork, calls_at_fork) == 0);
	start_both(t);
	CHECK(pthread_atfork(calls_at_fork, calls_at_fork, calls_at_fork) == 0);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(7);
		CHECK(ended(pid) == 7);
	}
	end_both(t);
}

static volatile int ran;

static void runs(int sig)
{
	ran = minivmm_run(&v) == KVM_EXIT_IO;
}

/* A run inside a handler, on the thread's alternate stack. */
static void run_in_a_handler(void)
{
	static char stack[65536];
	stack_t s = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction a = {.sa_handler = runs, .sa_flags = SA_ONSTACK};

	make(writes_once);
	sigfillset(&a.sa_mask);
	CHECK(sigaltstack(&s, NULL) == 0 && sigaction(SIGUSR1, &a, NULL) == 0);
	CHECK(raise(SIGUSR1) == 0 && ran);
	/* and one that a run was broken off for */
	minivmm_load(&v, MINIVMM_REAL, spins);
	CHECK(sigaction(SIGALRM, &a, NULL) == 0);
	a.sa_handler = SIG_DFL;
	CHECK(sigaction(SIGUSR1, &a, NULL) == 0);
	ran = 0;
	v.run->immediate_exit = 1;
	CHECK(raise(SIGALRM) == 0 && !ran);
	v.run->immediate_exit = 0;
	minivmm_load(&v, MINIVMM_REAL, writes_once);
	CHECK(raise(SIGALRM) == 0 && ran);
}

#define RUNS_AT 0x6000

/* Writes there again and again, and leaves for a signal only. */
GUEST(shows_that_it_runs, 16, "1: movb $1, 0x6000\n jmp 1b");

static pthread_t runner;

static void *signal_runner(void *arg)
{
	while (!*(volatile uint8_t *)(v.mem + RUNS_AT))
		pause_ms(1);
	CHECK(pthread_kill(runner, SIGALRM) == 0);
	return arg;
}

/* SIGALRM to this thread, in the run that it is about to begin and not before. */
static pthread_t signal_in_the_run(void)
{
	pthread_t t;

	v.mem[RUNS_AT] = 0;
	runner = pthread_self();
	CHECK(pthread_create(&t, NULL, signal_runner, NULL) == 0);
	return t;
}

static ucontext_t outside, coroutine;

static void in_a_coroutine(void)
{
	CHECK(minivmm_run(&v) == -EINTR);
	swapcontext(&coroutine, &outside);
	CHECK(minivmm_run(&v) == -EINTR);
}

static void hears(int sig) {}

/* A thread that goes from stack to stack by itself. */
static void coroutines(void)
{
	static char stack[65536];
	pthread_t t;

	make(shows_that_it_runs);
	signal(SIGALRM, hears);
	CHECK(getcontext(&coroutine) == 0);
	coroutine.uc_stack = (stack_t){.ss_sp = stack, .ss_size = sizeof(stack)};
	coroutine.uc_link = &outside;
	makecontext(&coroutine, in_a_coroutine, 0);
	for (int i = 0; i < 2; i++) {
		t = signal_in_the_run();
		CHECK(swapcontext(&outside, &coroutine) == 0 && pthread_join(t, NULL) == 0);
		CHECK(ioctl(v.vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) == 1);
	}
}

static volatile pid_t child;

static void forks(int sig)
{
	child = fork();
}

/* The call goes on in both; the VM is the parent's. */
static void handler_that_forks(void)
{
	pthread_t t;

	signal(SIGALRM, forks);
	make(shows_that_it_runs);
	t = signal_in_the_run();
	CHECK(minivmm_run(&v) == -EINTR);
	if (child == 0) {
		struct minivmm mine;

		CHECK(ioctl(v.vcpu, KVM_RUN, 0) == -1 && errno == EIO);
		minivmm_create(&mine);
		minivmm_load(&mine, MINIVMM_REAL, writes_once);
		_exit(minivmm_run(&mine) != KVM_EXIT_IO);
	}
	CHECK(ended(child) == 0 && pthread_join(t, NULL) == 0);
	minivmm_load(&v, MINIVMM_REAL, writes_once);
	CHECK(minivmm_run(&v) == KVM_EXIT_IO);
}

static int way_out;

static void leaves(int sig)
{
	if (way_out)
		syscall(SYS_exit, 0);
	pthread_exit(NULL);
}

static void *runs_once(void *arg)
{
	minivmm_run(&v);
	return arg;
}

/* A thread ends in the middle of a run; another one runs the vCPU then. */
static void thread_that_ends(void)
{
	pthread_t t;

	signal(SIGUSR1, leaves);
	make(spins);
	for (way_out = 0; way_out < 2; way_out++) {
		CHECK(pthread_create(&t, NULL, runs_once, NULL) == 0);
		pause_ms(50);
		CHECK(pthread_kill(t, SIGUSR1) == 0 && pthread_join(t, NULL) == 0);
	}
	minivmm_load(&v, MINIVMM_REAL, writes_once);
	CHECK(minivmm_run(&v) == KVM_EXIT_IO);
}

/* -- processes */

static void *asks(void *arg)
{
	while (!stop) {
		int fd = dup(v.vm);

		CHECK(ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) == 1 && close(fd) == 0);
	}
	return arg;
}

static int closes_and_ends(void *fd)
{
	struct minivmm mine;

	alarm(hang_limit(20));
	close(v.vm);
	close_range(3, ~0u, 0);
	minivmm_create(&mine);
	minivmm_load(&mine, MINIVMM_REAL, writes_once);
	return minivmm_run(&mine) != KVM_EXIT_IO;
}

/* A copy of a process whose other threads were amid our calls. */
static void copied_amid_calls(void)
{
	static char stack[65536];
	pthread_t t[2];
	pid_t pid;

	stop = 0;
	make(writes_on);
	CHECK(pthread_create(&t[0], NULL, asks, NULL) == 0);
	CHECK(pthread_create(&t[1], NULL, runs_on, NULL) == 0);
	for (int i = 0; i < 60; i++) {
		switch (i % 4) {
		case 0:
			pid = fork();
			break;
		case 1:
			pid = _Fork();
			break;
		case 2:
			pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0L, 0L, 0L, 0L);
			break;
		default:
			pid = clone(closes_and_ends, stack + sizeof(stack), SIGCHLD, NULL);
		}
		if (pid == 0)
			_exit(closes_and_ends(NULL));
		CHECK(ended(pid) == 0);
	}
	stop = 1;
	CHECK(pthread_join(t[0], NULL) == 0 && pthread_join(t[1], NULL) == 0);
}

/* The child of a vfork() has the memory, and numbers of its own. */
static void numbers_of_a_vfork_child(void)
{
	int zero = open("/dev/zero", O_RDONLY);
	pthread_t t[2];

	start_both(t);
	for (int i = 0; i < 20; i++) {
		pid_t pid = vfork();

		if (pid == 0) {
			char byte = 1;

			if (dup2(zero, v.vm) != v.vm || read(v.vm, &byte, 1) != 1 || byte)
				_exit(1);
			close(v.vcpu);
			closefrom(3);
			execl("/bin/true", "true", NULL);
			_exit(9);
		}
		CHECK(ended(pid) == 0);
		CHECK(refuses_to_read(v.vm) && refuses_to_read(v.vcpu));
	}
	end_both(t);
}

static void *executes(void *arg)
{
	pause_ms(30);
	execl("/bin/sh", "sh", "-c", "test -c /dev/kvm && trap | grep -c . ; exit 3", NULL);
	return arg;
}

/* exec() from another thread than the first, while vCPUs run and their accesses fault. */
static void exec_from_a_thread(void)
{
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			pthread_t t[2], e;

			signal(SIGSEGV, SIG_IGN);
			signal(SIGTRAP, SIG_IGN);
			freopen("/dev/null", "w", stdout);
			start_both(t);
			pthread_create(&e, NULL, executes, NULL);
			pthread_join(e, NULL);
			_exit(9);
		}
		CHECK(ended(pid) == 3);
	}
}

int main(void)
{
	static const struct check_case cases[] = {
		{"the smallest stack", small_stack},
		{"an alternate stack too small for a signal", small_altstack},
		{"a signalfd for every signal", every_signal_by_a_descriptor},
		{"handlers of pthread_atfork() that call", handlers_of_fork},
		{"a run in a handler, on another stack", run_in_a_handler},
		{"runs in a coroutine", coroutines},
		{"a handler that forks amid a run", handler_that_forks},
		{"a thread that ends amid a run", thread_that_ends},
		{"a process copied amid calls", copied_amid_calls},
		{"the numbers of a vfork() child", numbers_of_a_vfork_child},
		{"exec() from a thread", exec_from_a_thread},
	};

	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
