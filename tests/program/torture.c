/* SPDX-License-Identifier: MIT */
/*
 * torture [seed [rounds]]: signals, timers, cancellation, jumps, forks and descriptors at random
 * beside threads that run vCPUs, or, without userkvm, beside threads that only sleep. What it
 * prints depends on the seed alone: tests/program/torture compares the two.
 */
#include "../vmm/minivmm.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

GUEST(spins, 16, "1: jmp 1b");
GUEST(writes_port, 16, "1: mov $2000, %cx\n2: loop 2b\n out %al, $0x99\n jmp 1b");

#define NTHREADS 2
#define QUEUED	 (SIGRTMIN + 1) /* handled by the vCPUs' threads */
#define WAITED	 (SIGRTMIN + 2) /* waited for by the masked one's */
#define TICK	 (SIGRTMIN + 3) /* of a timer; waited for by the main thread */
#define LATE_S	 20

static int with_vm;
static struct minivmm vcpu[NTHREADS + 1]; /* the last one's thread blocks everything */
static uint64_t random_state;

static unsigned pick(unsigned n)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(random_state >> 33) % n;
}

static void short_sleep(long us)
{
	struct timespec t = {.tv_nsec = us * 1000};

	nanosleep(&t, NULL);
}

/* ------------------------------------------------------------------ the threads beside */

struct runner {
	pthread_t thread;
	struct minivmm *v;
	volatile int ready, handled, jumped;
	volatile int value[64];
	sigjmp_buf back;
};

static struct runner runner[NTHREADS];
static __thread struct runner *me;

static void run(struct minivmm *v)
{
	struct timespec t = {.tv_nsec = 2000000};

	if (!with_vm)
		ppoll(NULL, 0, &t, NULL);
	else if (minivmm_run(v) < 0 && errno != EINTR)
		abort();
}

static void handler(int sig, siginfo_t *info, void *uc)
{
	me->value[me->handled % 64] = info->si_value.sival_int;
	me->handled++;
}

static void jumper(int sig)
{
	me->jumped++;
	siglongjmp(me->back, 1);
}

static void block_but(int a, int b, int c)
{
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, a);
	sigdelset(&set, b);
	sigdelset(&set, c);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static void *run_on(void *arg)
{
	me = arg;
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	sigsetjmp(me->back, 1);
	block_but(QUEUED, SIGUSR1, SIGUSR2);
	me->ready = 1;
	for (;;)
		run(me->v);
	return NULL;
}

static void start(struct runner *r)
{
	r->ready = r->handled = r->jumped = 0;
	if (pthread_create(&r->thread, NULL, run_on, r))
		abort();
	while (!r->ready)
		short_sleep(100);
}

/* Blocks everything, and takes what its runs let in. */
static volatile int wanted, got[64], ngot;

static void *run_masked(void *unused)
{
	struct timespec none = {0}, some = {.tv_nsec = 2000000};
	siginfo_t info;
	sigset_t set;

	block_but(SIGSEGV, SIGBUS, SIGTRAP);
	sigemptyset(&set);
	sigaddset(&set, WAITED);
	for (;;) {
		if (with_vm)
			run(&vcpu[NTHREADS]);
		while (sigtimedwait(&set, &info, with_vm ? &none : &some) == WAITED) {
			got[ngot % 64] = info.si_value.sival_int;
			ngot++;
		}
	}
	return NULL;
}

/* ------------------------------------------------------------------ the rounds */

static void queue(void)
{
	struct runner *r = &runner[pick(NTHREADS)];
	int n = 1 + (int)pick(12);

	r->handled = 0;
	for (int i = 1; i <= n; i++)
		pthread_sigqueue(r->thread, QUEUED, (union sigval){.sival_int = i});
	while (r->handled < n)
		short_sleep(50);
	printf("queued");
	for (int i = 0; i < n; i++)
		printf(" %d", r->value[i]);
}

static void let_in(void)
{
	static pthread_t masked;
	int n = 1 + (int)pick(8);

	if (!masked && pthread_create(&masked, NULL, run_masked, NULL))
		abort();
	ngot = 0;
	for (int i = 1; i <= n; i++)
		pthread_sigqueue(masked, WAITED, (union sigval){.sival_int = i});
	while (ngot < n)
		short_sleep(50);
	printf("let in");
	for (int i = 0; i < n; i++)
		printf(" %d", got[i]);
}

static void one_by_one(void)
{
	struct runner *r = &runner[pick(NTHREADS)];
	int n = 1 + (int)pick(6);

	r->handled = 0;
	for (int i = 0; i < n; i++) {
		pthread_kill(r->thread, SIGUSR1);
		while (r->handled <= i)
			short_sleep(20);
	}
	printf("one by one %d", r->handled);
}

static void jump(void)
{
	struct runner *r = &runner[pick(NTHREADS)];
	int before = r->jumped;

	pthread_kill(r->thread, SIGUSR2);
	while (r->jumped == before)
		short_sleep(20);
	printf("jumped");
}

static void cancel(void)
{
	struct runner *r = &runner[pick(NTHREADS)];
	void *result;

	pthread_cancel(r->thread);
	pthread_join(r->thread, &result);
	printf("cancelled %d", result == PTHREAD_CANCELED);
	start(r);
}

static void wait_for_own(void)
{
	struct timespec second = {.tv_sec = hang_limit(LATE_S)};
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	kill(getpid(), SIGHUP);
	printf("own %d", sigtimedwait(&set, &info, &second));
	printf(" code %d", info.si_code);
}

static void read_own(void)
{
	struct signalfd_siginfo info = {0};
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	fd = signalfd(-1, &set, 0);
	raise(SIGWINCH);
	printf("signalfd %d", (int)read(fd, &info, sizeof(info)));
	printf(" %u", info.ssi_signo);
	close(fd);
}

static void tick(void)
{
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = TICK};
	struct itimerspec when = {.it_value = {.tv_nsec = 1 + pick(2000000)}};
	siginfo_t info;
	sigset_t set;
	timer_t t;

	ev.sigev_value.sival_int = (int)pick(100);
	sigemptyset(&set);
	sigaddset(&set, TICK);
	if (timer_create(CLOCK_MONOTONIC, &ev, &t) || timer_settime(t, 0, &when, NULL))
		abort();
	printf("timer %d", sigwaitinfo(&set, &info) - SIGRTMIN);
	printf(" %d", info.si_value.sival_int);
	timer_delete(t);
}

static long ended(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1000;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static pid_t copy_process(unsigned way)
{
	switch (way) {
	case 0:
		return _Fork();
	case 1:
		return (pid_t)syscall(SYS_clone, SIGCHLD, 0L, 0L, 0L, 0L);
	default:
		return fork();
	}
}

static void forks(void)
{
	int code = (int)pick(100), by_signal = pick(2);
	pid_t pid;

	fflush(stdout);
	pid = copy_process(pick(4));
	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (by_signal)
			raise(SIGTERM);
		_exit(code);
	}
	printf("fork %ld", ended(pid));
}

static void spawns(void)
{
	char *const argv[] = {"sh", "-c", "exit 4", NULL};
	pid_t pid;
	int status;

	if (pick(2)) {
		if (posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ))
			abort();
		printf("spawn %ld", ended(pid));
	} else {
		fflush(stdout);
		status = system("exit 6");
		printf("system %d", WEXITSTATUS(status));
	}
}

static void numbers(void)
{
	int fd = 60 + (int)pick(100), e = eventfd(1, EFD_NONBLOCK), r;
	uint64_t v = 0;

	r = dup2(e, fd) == fd && write(fd, &(uint64_t){4}, 8) == 8 && read(e, &v, 8) == 8;
	printf("dup2 %d %lu", r, (unsigned long)v);
	if (pick(2))
		close_range((unsigned)fd, ~0u, 0);
	else
		close(fd);
	printf(" %d", fcntl(fd, F_GETFD));
	close(e);
}

/* The VM's descriptor, or what stands in for it: made and closed by every way. */
static void duplicates(void)
{
	int from = with_vm ? vcpu[0].vm : 0, fd = dup(from), r;

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	switch (pick(4)) {
	case 0:
		r = dup2(from, fd) == fd && close(fd) == 0;
		break;
	case 1:
		r = dup3(0, fd, O_CLOEXEC) == fd && close(fd) == 0;
		break;
	case 2:
		r = close_range((unsigned)fd, (unsigned)fd, 0) == 0;
		break;
	default:
		r = close(fd) == 0;
	}
	printf("dup and close %d %d", r, fcntl(fd, F_GETFD) == -1);
}

static void waits(void)
{
	struct timespec t = {.tv_nsec = 100000};

	printf("poll %d", poll(NULL, 0, 1));
	printf(" sleep %d", nanosleep(&t, NULL));
}

static void memory(void)
{
	char *p = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	p[5000] = 1;
	printf("munmap %d", munmap(p, 16384));
	if (with_vm) {
		mprotect(vcpu[0].mem + 0x40000, 4096, PROT_READ);
		mprotect(vcpu[0].mem + 0x40000, 4096, PROT_READ | PROT_WRITE);
	}
}

static void (*const round_of[])(void) = {
	queue, queue,  queue,  let_in, let_in,	one_by_one, jump,  cancel,
	wait_for_own,  read_own, tick, forks, spawns, numbers, waits, memory, duplicates,
};

/* ------------------------------------------------------------------ */

static void set_up_signals(void)
{
	struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	sigemptyset(&a.sa_mask);
	sigaction(QUEUED, &a, NULL);
	sigaction(SIGUSR1, &a, NULL);
	a = (struct sigaction){.sa_handler = jumper};
	sigaction(SIGUSR2, &a, NULL);
	block_but(SIGSEGV, SIGBUS, SIGALRM);
}

static void make_vcpus(void)
{
	struct {
		struct kvm_signal_mask head;
		uint64_t bits;
	} none = {{8}, 0};

	minivmm_create(&vcpu[0]);
	minivmm_load(&vcpu[0], MINIVMM_REAL, writes_port);
	for (unsigned i = 1; i <= NTHREADS; i++)
		minivmm_add_vcpu(&vcpu[0], i, &vcpu[i]);
	minivmm_load(&vcpu[NTHREADS], MINIVMM_REAL, writes_port);
	if (ioctl(vcpu[NTHREADS].vcpu, KVM_SET_SIGNAL_MASK, &none))
		abort();
}

int main(int argc, char **argv)
{
	long rounds = argc > 2 ? atol(argv[2]) : 1000;

	random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	with_vm = dlsym(RTLD_DEFAULT, "userkvm_version") != NULL;
	set_up_signals();
	if (with_vm)
		make_vcpus();
	for (int i = 0; i < NTHREADS; i++) {
		runner[i].v = &vcpu[i];
		start(&runner[i]);
	}
	for (long i = 0; i < rounds; i++) {
		alarm(hang_limit(LATE_S)); /* kills: what this round waits for does not come */
		printf("%ld: ", i);
		round_of[pick(sizeof(round_of) / sizeof(round_of[0]))]();
		printf("\n");
		fflush(stdout);
	}
	return 0;
}
