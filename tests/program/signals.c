/* SPDX-License-Identifier: MIT */
/* What a program sees of its signals while it has a VM: the same as beside the real device. */
#include "../preload/check.h"
#include "../vmm/minivmm.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include "helpers.h"

GUEST(spins, 16, "1: jmp 1b");
GUEST(writes_port, 16, "1: out %al, $0x10\n jmp 1b");

#define SOON_MS 50

static struct minivmm v;

static void make(struct guest_code code)
{
	minivmm_create_with_irqchip(&v);
	minivmm_load(&v, MINIVMM_REAL, code);
}

static void handle(int sig, void (*handler)(int))
{
	struct sigaction a = {.sa_handler = handler};

	sigemptyset(&a.sa_mask);
	CHECK(sigaction(sig, &a, NULL) == 0);
}

static void after_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

static void run_mask(uint64_t mask)
{
	struct {
		struct kvm_signal_mask head;
		uint64_t bits;
	} m = {{8}, 0};

	memcpy(m.head.sigset, &mask, sizeof(mask));
	CHECK(ioctl(v.vcpu, KVM_SET_SIGNAL_MASK, &m) == 0);
}

/* ------------------------------------------------------------------ ways out of a handler */

static sigjmp_buf back;
static jmp_buf back_plain;

static void jump(int sig)
{
	siglongjmp(back, 1);
}

static void jump_plain(int sig)
{
	longjmp(back_plain, 1);
}

static void nothing_is_open(void)
{
	sigset_t now;
	int state, type;

	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	CHECK(state == PTHREAD_CANCEL_ENABLE);
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	CHECK(type == PTHREAD_CANCEL_DEFERRED);
	CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0);
	for (int sig = 1; sig <= 64; sig++)
		CHECK(sigismember(&now, sig) != 1);
	v.run->immediate_exit = 1;
	CHECK(minivmm_run(&v) == -EINTR);
	v.run->immediate_exit = 0;
}

static void siglongjmp_out(void)
{
	make(spins);
	handle(SIGALRM, jump);
	for (int i = 0; i < 3; i++) {
		if (!sigsetjmp(back, 1)) {
			ualarm(SOON_MS * 1000, 0);
			minivmm_run(&v);
			CHECK(0);
		}
		nothing_is_open();
	}
}

static void longjmp_out(void)
{
	sigset_t alarm_only;

	make(spins);
	handle(SIGALRM, jump_plain);
	if (!setjmp(back_plain)) {
		ualarm(SOON_MS * 1000, 0);
		minivmm_run(&v);
		CHECK(0);
	}
	/* the handler's own signal is blocked, as after any longjmp() */
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	CHECK(sigprocmask(SIG_UNBLOCK, &alarm_only, NULL) == 0);
	nothing_is_open();
}

static void end_thread(int sig)
{
	pthread_exit((void *)7);
}

static void *runs(void *unused)
{
	minivmm_run(&v);
	return NULL;
}

static void thread_ends_in_handler(void)
{
	pthread_t t;
	void *result;

	make(spins);
	handle(SIGUSR1, end_thread);
	CHECK(pthread_create(&t, NULL, runs, NULL) == 0);
	after_ms(SOON_MS);
	CHECK(pthread_kill(t, SIGUSR1) == 0);
	CHECK(pthread_join(t, &result) == 0 && result == (void *)7);
	nothing_is_open();
}

static void execs(int sig)
{
	execl("/bin/sh", "sh", "-c", "exit 5", NULL);
}

static void exec_in_handler(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		make(spins);
		handle(SIGALRM, execs);
		ualarm(SOON_MS * 1000, 0);
		minivmm_run(&v);
		_exit(1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 5);
}

/* ------------------------------------------------------------------ helper threads */

static void start_helpers(void)
{
	use_timer_and_irqfd(&v);
	v.run->immediate_exit = 1;
	minivmm_run(&v);
	v.run->immediate_exit = 0;
}

static void helpers_take_nothing(void)
{
	static const int sigs[] = {SIGTRAP, SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTERM, SIGUSR1};
	struct timespec second = {.tv_sec = 1};
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		sigaddset(&set, sigs[i]);
	CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	make(spins);
	start_helpers();
	for (unsigned i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++) {
		CHECK(kill(getpid(), sigs[i]) == 0);
		after_ms(10);
		CHECK(sigtimedwait(&set, &info, &second) == sigs[i]);
		CHECK(info.si_code == SI_USER && info.si_pid == getpid());
	}
}

static void set_ids(void)
{
	make(spins);
	start_helpers();
	CHECK(setgid(getgid()) == 0 && setuid(getuid()) == 0);
	CHECK(setresuid(-1, getuid(), -1) == 0 && setegid(getgid()) == 0);
}

/* ------------------------------------------------------------------ order */

static volatile int got[64], ngot;

static void note_value(int sig, siginfo_t *info, void *uc)
{
	got[ngot++ % 64] = info->si_value.sival_int;
}

static void queue_some(pthread_t to, int n)
{
	for (int i = 1; i <= n; i++)
		CHECK(pthread_sigqueue(to, SIGRTMIN + 1, (union sigval){.sival_int = i}) == 0);
}

static void block_rt(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGRTMIN + 1);
	CHECK(pthread_sigmask(SIG_BLOCK, set, NULL) == 0);
}

/* Let in by the run's mask, they stay pending in their order. */
static void order_of_those_let_in(void)
{
	struct timespec none = {0};
	siginfo_t info;
	sigset_t set;

	make(spins);
	block_rt(&set);
	run_mask(0);
	for (int round = 0; round < 3; round++) {
		queue_some(pthread_self(), 3);
		CHECK(minivmm_run(&v) == -EINTR);
		for (int i = 1; i <= 3; i++) {
			CHECK(sigtimedwait(&set, &info, &none) == SIGRTMIN + 1);
			CHECK(info.si_value.sival_int == i && info.si_code == SI_QUEUE);
		}
		CHECK(sigtimedwait(&set, &info, &none) == -1 && errno == EAGAIN);
	}
	/* what is dropped meanwhile is gone */
	queue_some(pthread_self(), 3);
	CHECK(minivmm_run(&v) == -EINTR);
	signal(SIGRTMIN + 1, SIG_IGN);
	signal(SIGRTMIN + 1, SIG_DFL);
	pthread_sigqueue(pthread_self(), SIGRTMIN + 1, (union sigval){.sival_int = 9});
	CHECK(sigtimedwait(&set, &info, &none) == SIGRTMIN + 1 && info.si_value.sival_int == 9);
}

static void *run_till_stopped(void *stop)
{
	while (!*(volatile int *)stop)
		minivmm_run(&v);
	return NULL;
}

/* Sent in bursts to a thread that runs: the first of each is taken while the rest arrives. */
static void order_of_handlers(void)
{
	struct sigaction a = {.sa_sigaction = note_value, .sa_flags = SA_SIGINFO};
	volatile int stop = 0;
	pthread_t t;

	make(spins);
	sigemptyset(&a.sa_mask);
	CHECK(sigaction(SIGRTMIN + 1, &a, NULL) == 0);
	CHECK(pthread_create(&t, NULL, run_till_stopped, (void *)&stop) == 0);
	for (int round = 0; round < 300; round++) {
		ngot = 0;
		queue_some(t, 8);
		while (ngot < 8)
			after_ms(1);
		for (int i = 0; i < 8; i++)
			CHECK(got[i] == i + 1);
	}
	stop = 1;
	queue_some(t, 1);
	pthread_join(t, NULL);
}

/* ------------------------------------------------------------------ waits that are not ours */

static void *runs_once_with_mask(void *unused)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	run_mask(0);
	v.run->immediate_exit = 1;
	CHECK(minivmm_run(&v) == -EINTR);
	return NULL;
}

static void send_from_child(int sig)
{
	pid_t parent = getpid();

	if (fork() == 0) {
		after_ms(SOON_MS);
		_exit(kill(parent, sig));
	}
}

/* What is ignored by default or by choice breaks off no wait, after it was let in by a run too. */
static void ignored_ones_break_no_wait(void)
{
	pthread_t t;

	make(spins);
	signal(SIGUSR2, SIG_IGN);
	CHECK(pthread_create(&t, NULL, runs_once_with_mask, NULL) == 0);
	pthread_join(t, NULL);
	send_from_child(SIGWINCH);
	CHECK(poll(NULL, 0, 4 * SOON_MS) == 0); /* SIGCHLD is one of them */
	send_from_child(SIGURG);
	CHECK(poll(NULL, 0, 4 * SOON_MS) == 0);
	send_from_child(SIGUSR2);
	CHECK(poll(NULL, 0, 4 * SOON_MS) == 0);
}

static pthread_t runner;

static void *sends_to_runner(void *sig)
{
	after_ms(SOON_MS);
	CHECK(pthread_kill(runner, (int)(long)sig) == 0);
	return NULL;
}

/* Blocked but for the run, which ends; pending after it. The way: before the run, amid it, to the thread. */
static void let_in_and_ignored(int sig, int way)
{
	struct timespec none = {0};
	sigset_t set;
	pthread_t t;

	sigemptyset(&set);
	sigaddset(&set, sig);
	if (way == 0)
		CHECK(raise(sig) == 0);
	if (way == 1)
		send_from_child(sig);
	runner = pthread_self();
	if (way == 2)
		CHECK(pthread_create(&t, NULL, sends_to_runner, (void *)(long)sig) == 0);
	CHECK(minivmm_run(&v) == -EINTR);
	CHECK(minivmm_run(&v) == -EINTR); /* it is still there */
	CHECK(sigtimedwait(&set, NULL, &none) == sig);
	if (way == 1) { /* the child's end */
		sigemptyset(&set);
		sigaddset(&set, SIGCHLD);
		CHECK(sigwaitinfo(&set, NULL) == SIGCHLD);
		CHECK(wait(NULL) > 0);
	}
}

static void ignored_ones_end_a_run(void)
{
	const int ignored[] = {SIGWINCH, SIGURG, SIGUSR2, SIGRTMIN + 2};
	sigset_t all;

	signal(SIGUSR2, SIG_IGN);
	signal(SIGRTMIN + 2, SIG_IGN);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	make(spins);
	run_mask(0);
	for (int i = 0; i < 4; i++) {
		for (int way = 0; way < 3; way++)
			let_in_and_ignored(ignored[i], way);
	}
	/* a child that ends while the guest runs */
	if (fork() == 0) {
		after_ms(SOON_MS);
		_exit(0);
	}
	CHECK(minivmm_run(&v) == -EINTR);
	CHECK(sigwaitinfo(&all, NULL) == SIGCHLD);
}

static void ignored_stays_ignored_in_children(void)
{
	pthread_t t;

	make(spins);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGRTMIN + 2, SIG_IGN);
	CHECK(pthread_create(&t, NULL, runs_once_with_mask, NULL) == 0);
	pthread_join(t, NULL);
	/* bits 11 and 35 of SigIgn */
	CHECK(system("m=$(grep SigIgn /proc/self/status | cut -f2); [ $((0x$m >> 11 & 1)) = 1 ]"
		     " && [ $((0x$m >> 35 & 1)) = 1 ]") == 0);
}

static volatile int zapping;

/* Both ask something of every vCPU; the clock's request kicks each without a look. */
static void *zap(void *unused)
{
	struct kvm_clock_data clock = {0};

	while (zapping) {
		CHECK(ioctl(v.vm, KVM_SET_CLOCK, &clock) == 0);
		mprotect(v.mem + 0x40000, 4096, PROT_READ);
		mprotect(v.mem + 0x40000, 4096, PROT_READ | PROT_WRITE);
	}
	return NULL;
}

/* A kick that comes when its run is over would break off the wait that follows. */
static void kicks_break_no_wait(void)
{
	uint64_t end = minivmm_now() + 2000000000;
	struct timespec moment = {.tv_nsec = 20000};
	int epoll = epoll_create1(0);
	struct epoll_event event;
	pthread_t t;

	make(writes_port);
	zapping = 1;
	CHECK(pthread_create(&t, NULL, zap, NULL) == 0);
	for (long n = 0; minivmm_now() < end; n++) {
		CHECK(minivmm_run(&v) == KVM_EXIT_IO);
		if (n % 8 == 0)
			CHECK(ppoll(NULL, 0, &moment, NULL) == 0);
		else if (n % 8 == 4)
			CHECK(nanosleep(&moment, NULL) == 0);
		else if (n % 64 == 1)
			CHECK(epoll_wait(epoll, &event, 1, 1) == 0);
	}
	zapping = 0;
	pthread_join(t, NULL);
}

static volatile int waits, waited;

static void *waits_uncancelled(void *unused)
{
	struct timespec t = {.tv_nsec = 4 * SOON_MS * 1000000};

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	v.run->immediate_exit = 1;
	minivmm_run(&v);
	waits = 1;
	waited = ppoll(NULL, 0, &t, NULL) == 0 ? 1 : -1;
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pause();
	return NULL;
}

static void cancellation_breaks_no_wait(void)
{
	pthread_t t;

	make(spins);
	CHECK(pthread_create(&t, NULL, waits_uncancelled, NULL) == 0);
	while (!waits)
		after_ms(1);
	after_ms(SOON_MS);
	pthread_cancel(t);
	CHECK(pthread_join(t, NULL) == 0 && waited == 1);
}

static void *runs_cancellable(void *unused)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;)
		minivmm_run(&v);
	return NULL;
}

static void cancellation_ends_a_run(void)
{
	pthread_t t;
	void *result;

	make(spins);
	for (int i = 0; i < 20; i++) {
		CHECK(pthread_create(&t, NULL, runs_cancellable, NULL) == 0);
		after_ms(i);
		pthread_cancel(t);
		CHECK(pthread_join(t, &result) == 0 && result == PTHREAD_CANCELED);
	}
}

/* ------------------------------------------------------------------ limits */

static void *sends_later(void *to)
{
	after_ms(SOON_MS);
	CHECK(pthread_kill(*(pthread_t *)to, SIGUSR1) == 0);
	return NULL;
}

/* With no room for a queued signal (RLIMIT_SIGPENDING), kicks and kept signals still arrive. */
static void no_room_for_queued_ones(void)
{
	struct rlimit none = {0, 0};
	pthread_t me = pthread_self();
	static pthread_t t; /* made between sigsetjmp() and the jump */

	make(spins);
	handle(SIGUSR1, SIG_IGN);
	CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
	handle(SIGUSR1, jump);
	if (!sigsetjmp(back, 1)) {
		CHECK(pthread_create(&t, NULL, sends_later, &me) == 0);
		minivmm_run(&v);
		CHECK(0);
	}
	pthread_join(t, NULL);
	nothing_is_open();
	kicks_break_no_wait();
}

int main(void)
{
	static const struct check_case cases[] = {
		{"siglongjmp() out of a handler that ended KVM_RUN", siglongjmp_out},
		{"longjmp() out of it", longjmp_out},
		{"its thread ends there", thread_ends_in_handler},
		{"it executes another program", exec_in_handler},
		{"helper threads take none of the program's signals", helpers_take_nothing},
		{"set*id() with helper threads", set_ids},
		{"queued signals let in by a run keep their order", order_of_those_let_in},
		{"queued signals that end runs are handled in order", order_of_handlers},
		{"ignored signals break off no wait", ignored_ones_break_no_wait},
		{"ignored signals let in by a run end it", ignored_ones_end_a_run},
		{"ignored signals stay ignored in children", ignored_stays_ignored_in_children},
		{"a kick breaks off no wait", kicks_break_no_wait},
		{"nor does a cancellation that is disabled", cancellation_breaks_no_wait},
		{"asynchronous cancellation ends a run", cancellation_ends_a_run},
		{"no room for queued signals", no_room_for_queued_ones},
	};

	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
