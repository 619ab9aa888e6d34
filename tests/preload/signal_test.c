/* SPDX-License-Identifier: MIT */
/* The VMM's signals mean what they mean without us. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include "check.h"
#include "fake.h"

static int kvm;
static volatile int seen, seen_value, seen_code;
static void *volatile seen_addr, *volatile seen_stack;
static sigset_t seen_mask;

static void start(void)
{
	kvm = open("/dev/kvm", O_RDWR);
	CHECK(kvm >= 0);
}

static void handler(int sig, siginfo_t *info, void *uc)
{
	seen++;
	seen_value = info->si_value.sival_int;
	seen_code = info->si_code;
	seen_addr = info->si_addr;
	seen_stack = __builtin_frame_address(0);
	sigprocmask(SIG_BLOCK, NULL, &seen_mask);
}

static void plain_handler(int sig)
{
	seen += sig;
}

static void install(int sig, int flags)
{
	struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	sigemptyset(&a.sa_mask);
	CHECK(sigaction(sig, &a, NULL) == 0);
}

static int full_mask(const sigset_t *m)
{
	/* all but KILL, STOP and the two glibc keeps for itself */
	for (int sig = 1; sig <= 64; sig++) {
		if (sig != SIGKILL && sig != SIGSTOP && sig != 32 && sig != 33 &&
		    sigismember(m, sig) != 1)
			return 0;
	}
	return 1;
}

static void block_all(void)
{
	sigset_t all;

	sigfillset(&all);
	CHECK(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
}

static int all_blocked(void)
{
	sigset_t now;

	CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0);
	return full_mask(&now);
}

#define LONG_MS 3600000 /* until a signal comes, however late */

/* Does the first thread wait for something? The state is behind the name (proc(5), /proc/PID/stat). */
static int main_waits(void)
{
	char line[512], *end;
	FILE *f = fopen("/proc/self/stat", "r");

	end = f && fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	if (f)
		fclose(f);
	return end && end[1] && end[2] == 'S';
}

/* Send sig with a value to the main thread after a while, and when it has come to where it waits. */
static pthread_t main_thread;
static void *send_later(void *sig)
{
	struct timespec t = {0, 50000000}, ms = {0, 1000000};
	union sigval v = {.sival_int = 42};

	nanosleep(&t, NULL);
	while (!main_waits())
		nanosleep(&ms, NULL);
	pthread_sigqueue(main_thread, (int)(long)sig, v);
	return NULL;
}

static pthread_t send_soon(int sig)
{
	pthread_t t;
	sigset_t all, old;

	main_thread = pthread_self();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	CHECK(pthread_create(&t, NULL, send_later, (void *)(long)sig) == 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return t;
}

static void handlers_run(void)
{
	install(SIGUSR1, 0);
	signal(SIGUSR2, plain_handler);
	start();
	install(SIGALRM, 0);
	raise(SIGUSR1);
	CHECK(seen == 1);
	raise(SIGALRM);
	CHECK(seen == 2);
	raise(SIGUSR2);
	CHECK(seen == 2 + SIGUSR2);
	CHECK(kill(getpid(), SIGUSR1) == 0);
	CHECK(seen == 3 + SIGUSR2 && seen_code == SI_USER);
}

static void view_is_what_was_set(void)
{
	struct sigaction a = {.sa_handler = plain_handler, .sa_flags = SA_RESTART | SA_NODEFER},
			 b;

	sigemptyset(&a.sa_mask);
	sigaddset(&a.sa_mask, SIGINT);
	CHECK(sigaction(SIGUSR1, &a, NULL) == 0);
	start();
	for (int sig = SIGUSR1; sig; sig = sig == SIGUSR1 ? SIGSEGV : 0) {
		memset(&b, 0, sizeof(b));
		CHECK(sigaction(sig, &a, NULL) == 0);
		CHECK(sigaction(sig, NULL, &b) == 0);
		CHECK(b.sa_handler == plain_handler);
		CHECK((b.sa_flags & 0xfffffff & ~0x04000000) ==
		      ((SA_RESTART | SA_NODEFER) & 0xfffffff));
		CHECK(!(b.sa_flags & SA_SIGINFO));
		CHECK(sigismember(&b.sa_mask, SIGINT) == 1 &&
		      sigismember(&b.sa_mask, SIGUSR2) == 0);
	}
	CHECK(sigaction(SIGBUS, NULL, &b) == 0 && b.sa_handler == SIG_DFL);
	CHECK(signal(SIGILL, SIG_IGN) == SIG_DFL);
	CHECK(signal(SIGILL, SIG_DFL) == SIG_IGN);
	CHECK_ERRNO(sigaction(SIGKILL, &a, NULL), EINVAL);
	CHECK_ERRNO(sigaction(0, &a, NULL), EINVAL);
	CHECK_ERRNO(sigaction(65, &a, NULL), EINVAL);
}

static void masks_are_kept(void)
{
	struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	start();
	sigfillset(&a.sa_mask);
	CHECK(sigaction(SIGUSR1, &a, NULL) == 0);
	raise(SIGUSR1);
	CHECK(seen == 1 && full_mask(&seen_mask));
	block_all();
	CHECK(all_blocked());
	CHECK_ERRNO(ioctl(kvm, FAKE_TOUCH, (void *)8), EFAULT);
	CHECK(ioctl(kvm, FAKE_TOUCH, &seen) == 0);
	CHECK(all_blocked());
}

static void a_signal_ends_a_run(void)
{
	pthread_t t;

	start();
	install(SIGUSR1, SA_RESTART);
	t = send_soon(SIGUSR1);
	CHECK_ERRNO(ioctl(kvm, FAKE_RUN, LONG_MS), EINTR);
	CHECK(seen == 1 && seen_value == 42 && seen_code == SI_QUEUE);
	pthread_join(t, NULL);
	t = send_soon(SIGUSR1);
	CHECK_ERRNO(ioctl(kvm, FAKE_RUN, LONG_MS), EINTR);
	CHECK(seen == 2);
	pthread_join(t, NULL);
}

static void calling_handler(int sig)
{
	seen++;
	CHECK(ioctl(kvm, FAKE_API_VERSION, 0) == 12);
}

static void handlers_run_outside_our_calls(void)
{
	struct fake_record r;
	sigset_t none, now;

	start();
	for (int sig = SIGUSR1; sig; sig = sig == SIGUSR1 ? SIGBUS : 0) {
		seen = 0;
		signal(sig, calling_handler);
		CHECK(ioctl(kvm, FAKE_STAY, sig) == 0);
		CHECK(seen == 1);
		CHECK_ERRNO(ioctl(kvm, FAKE_STAY_RUN, sig), EINTR);
		CHECK(seen == 2);
		CHECK(ioctl(kvm, FAKE_RUN, 0) == 0);
		CHECK(ioctl(kvm, FAKE_RECORD, &r) == 0 && r.reentered == 0);
		sigemptyset(&none);
		CHECK(sigprocmask(SIG_BLOCK, NULL, &now) == 0);
		CHECK(!memcmp(&none, &now, 8));
	}
}

static void *cancelled_in_a_run(void *done)
{
	*(volatile int *)done = ioctl(kvm, FAKE_RUN, 0) == 0;
	pthread_testcancel();
	return NULL;
}

static void no_cancellation_inside(void)
{
	struct timespec t = {0, 50000000};
	volatile int done = 0;
	pthread_t thread;
	void *result;

	start();
	CHECK(pthread_create(&thread, NULL, cancelled_in_a_run, (void *)&done) == 0);
	nanosleep(&t, NULL);
	CHECK(pthread_cancel(thread) == 0);
	CHECK(pthread_join(thread, &result) == 0);
	CHECK(result == PTHREAD_CANCELED && done);
}

static void *runs_until_cancelled(void *runs)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;) {
		ioctl(kvm, FAKE_RUN, LONG_MS);
		(*(volatile int *)runs)++;
	}
	return NULL;
}

static void asynchronous_cancellation_ends_a_run(void)
{
	struct timespec t = {0, 50000000};
	volatile int runs = 0;
	pthread_t thread;
	void *result;

	start();
	CHECK(pthread_create(&thread, NULL, runs_until_cancelled, (void *)&runs) == 0);
	nanosleep(&t, NULL);
	CHECK(pthread_cancel(thread) == 0);
	CHECK(pthread_join(thread, &result) == 0);
	CHECK(result == PTHREAD_CANCELED && runs == 0);
}

static void an_ignored_one_does_not(void)
{
	pthread_t t;

	start();
	signal(SIGUSR1, SIG_IGN);
	signal(SIGBUS, SIG_IGN);
	t = send_soon(SIGUSR1);
	CHECK(ioctl(kvm, FAKE_RUN, 0) == 0);
	pthread_join(t, NULL);
	t = send_soon(SIGBUS);
	CHECK(ioctl(kvm, FAKE_RUN, 0) == 0);
	pthread_join(t, NULL);
}

static void a_blocked_one_does_not(void)
{
	struct timespec zero = {0, 0};
	sigset_t set;
	pthread_t t;

	start();
	install(SIGUSR1, 0);
	install(SIGBUS, 0);
	block_all();
	for (int sig = SIGUSR1; sig; sig = sig == SIGUSR1 ? SIGBUS : 0) {
		siginfo_t info;

		t = send_soon(sig);
		CHECK(ioctl(kvm, FAKE_RUN, 0) == 0);
		pthread_join(t, NULL);
		CHECK(seen == 0 && all_blocked());
		sigemptyset(&set);
		sigaddset(&set, sig);
		CHECK(sigtimedwait(&set, &info, &zero) == sig);
		CHECK(info.si_value.sival_int == 42);
	}
}

/* dirty_log_test's way: blocked outside, let in by KVM_SET_SIGNAL_MASK, taken by sigwait() */
static void let_in_by_the_run(void)
{
	uint64_t mask = ~(1ull << (SIGUSR1 - 1)) & ~(1ull << (SIGBUS - 1));
	struct timespec zero = {0, 0};
	sigset_t set;
	pthread_t t;

	start();
	block_all();
	CHECK(ioctl(kvm, FAKE_SIGMASK, &mask) == 0);
	for (int sig = SIGUSR1; sig; sig = sig == SIGUSR1 ? SIGBUS : 0) {
		t = send_soon(sig);
		CHECK_ERRNO(ioctl(kvm, FAKE_RUN, LONG_MS), EINTR);
		pthread_join(t, NULL);
		CHECK(all_blocked());
		sigemptyset(&set);
		sigaddset(&set, sig);
		CHECK(sigtimedwait(&set, NULL, &zero) == sig);
		CHECK_ERRNO(sigtimedwait(&set, NULL, &zero), EAGAIN);
	}
	/* what was let in once still kills where it is not blocked */
	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	raise(SIGUSR1);
}

/* QEMU's main thread: SIGBUS blocked, read from a signalfd */
static void blocked_and_sent_stays_pending(void)
{
	struct signalfd_siginfo info;
	sigset_t set, pending;
	int fd;

	start();
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	fd = signalfd(-1, &set, SFD_NONBLOCK);
	kill(getpid(), SIGBUS);
	CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGBUS));
	CHECK_ERRNO(ioctl(kvm, FAKE_TOUCH, (void *)8), EFAULT);
	CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGBUS));
	CHECK(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGBUS);
	CHECK_ERRNO(read(fd, &info, sizeof(info)), EAGAIN);
	CHECK(ioctl(kvm, FAKE_STAY, SIGBUS) == 0);
	CHECK(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGBUS);
	CHECK_ERRNO(read(fd, &info, sizeof(info)), EAGAIN);
}

static sigjmp_buf back;
static void jump_back(int sig, siginfo_t *info, void *uc)
{
	handler(sig, info, uc);
	siglongjmp(back, 1);
}

static void a_fault_reaches_the_handler(void)
{
	struct sigaction a = {.sa_sigaction = jump_back, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	static char stack[65536];
	stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};
	char *p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	start();
	CHECK(sigaltstack(&ss, NULL) == 0);
	sigemptyset(&a.sa_mask);
	CHECK(sigaction(SIGSEGV, &a, NULL) == 0);
	for (int i = 1; i <= 3; i++) {
		if (sigsetjmp(back, 1) == 0) {
			*(volatile char *)(p + 17) = 1;
			CHECK(0);
		}
		CHECK(seen == i && seen_addr == p + 17 && seen_code == SEGV_ACCERR);
		CHECK((char *)seen_stack >= stack &&
		      (char *)seen_stack < stack + sizeof(stack));
	}
	CHECK_ERRNO(ioctl(kvm, FAKE_TOUCH, p), EFAULT);
	CHECK(seen == 3);
	a.sa_flags = SA_SIGINFO;
	CHECK(sigaction(SIGSEGV, &a, NULL) == 0);
	if (sigsetjmp(back, 1) == 0)
		*(volatile char *)p = 1;
	CHECK((char *)seen_stack < stack || (char *)seen_stack >= stack + sizeof(stack));
}

static void fault_default(void)
{
	start();
	*(volatile char *)8 = 1;
}

static void fault_ignored(void)
{
	start();
	signal(SIGSEGV, SIG_IGN);
	raise(SIGSEGV); /* this one is */
	*(volatile char *)8 = 1;
}

static void fault_blocked(void)
{
	start();
	install(SIGSEGV, 0);
	block_all();
	*(volatile char *)8 = 1;
}

static void divide(void)
{
	start();
	asm volatile("divl %0" : : "r"(0) : "eax", "edx");
}

static void sent_default(void)
{
	start();
	kill(getpid(), SIGSEGV);
	pause();
}

static void terminated(void)
{
	start();
	install(SIGTERM, 0);
	CHECK(raise(SIGTERM) == 0 && seen == 1);
	signal(SIGTERM, SIG_DFL);
	raise(SIGTERM);
}

static void restart(void)
{
	int fds[2];
	char c;
	pthread_t t;

	start();
	CHECK(pipe(fds) == 0);
	install(SIGUSR1, 0);
	t = send_soon(SIGUSR1);
	CHECK_ERRNO(read(fds[0], &c, 1), EINTR);
	pthread_join(t, NULL);
	install(SIGUSR1, SA_RESTART);
	install(SIGALRM, 0);
	t = send_soon(SIGUSR1);
	alarm(1);
	CHECK_ERRNO(read(fds[0], &c, 1), EINTR);
	CHECK(seen == 3); /* one, a restart, the alarm */
	pthread_join(t, NULL);
	signal(SIGUSR1, plain_handler);
	siginterrupt(SIGUSR1, 1);
	t = send_soon(SIGUSR1);
	CHECK_ERRNO(read(fds[0], &c, 1), EINTR);
	pthread_join(t, NULL);
}

static void reset_after_one(void)
{
	struct sigaction b;
	pthread_t t;

	start();
	install(SIGUSR1, SA_RESETHAND);
	t = send_soon(SIGUSR1);
	CHECK_ERRNO(ioctl(kvm, FAKE_RUN, LONG_MS), EINTR);
	CHECK(seen == 1);
	pthread_join(t, NULL);
	CHECK(sigaction(SIGUSR1, NULL, &b) == 0 && b.sa_handler == SIG_DFL);
	raise(SIGUSR1);
}

static void nested(int sig)
{
	if (seen++ < 2)
		raise(sig);
}

static void nodefer(void)
{
	struct sigaction a = {.sa_handler = nested, .sa_flags = SA_NODEFER};

	start();
	sigemptyset(&a.sa_mask);
	CHECK(sigaction(SIGUSR1, &a, NULL) == 0);
	raise(SIGUSR1);
	CHECK(seen == 3);
}

static void old_style(void)
{
	start();
	CHECK(sigset(SIGUSR1, plain_handler) == SIG_DFL);
	raise(SIGUSR1);
	CHECK(seen == SIGUSR1);
	CHECK(sigset(SIGUSR1, SIG_HOLD) == plain_handler);
	raise(SIGUSR1);
	CHECK(seen == SIGUSR1);
	CHECK(sigset(SIGUSR1, plain_handler) == SIG_HOLD);
	CHECK(seen == 2 * SIGUSR1);
	CHECK(sigignore(SIGUSR1) == 0);
	raise(SIGUSR1);
	CHECK(sysv_signal(SIGUSR1, plain_handler) == SIG_IGN);
	raise(SIGUSR1);
	CHECK(seen == 3 * SIGUSR1);
	CHECK(signal(SIGUSR1, SIG_IGN) == SIG_DFL);
}

static void the_kick_is_hidden(void)
{
	struct sigaction a = {.sa_handler = plain_handler};
	struct timespec zero = {0, 0};
	sigset_t all;

	CHECK(SIGRTMAX == 63);
	start();
	CHECK(SIGRTMAX == 63);
	sigemptyset(&a.sa_mask);
	CHECK_ERRNO(sigaction(64, &a, NULL), EINVAL);
	CHECK(signal(64, SIG_IGN) == SIG_ERR);
	CHECK(sigaction(63, &a, NULL) == 0);
	block_all();
	CHECK(syscall(SYS_tgkill, getpid(), getpid(), 64) == 0);
	sigfillset(&all);
	CHECK_ERRNO(sigtimedwait(&all, NULL, &zero), EAGAIN);
}

static void vfork_child_is_apart(void)
{
	struct sigaction b;
	int status;
	pid_t pid;

	start();
	install(SIGUSR1, 0);
	pid = vfork();
	if (pid == 0) {
		struct sigaction dfl = {.sa_handler = SIG_DFL};

		sigaction(SIGUSR1, &dfl, NULL);
		_exit(3);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
	CHECK(sigaction(SIGUSR1, NULL, &b) == 0 && b.sa_sigaction == handler);
	raise(SIGUSR1);
	CHECK(seen == 1);
}

static void *mask_of_thread(void *mask)
{
	sigprocmask(SIG_BLOCK, NULL, mask);
	return NULL;
}

static void helpers_block_signals(void)
{
	uint64_t setxid = 1ull << (33 - 1);
	/* glibc takes its SIGCANCEL out of a new thread's mask */
	uint64_t kept = 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1) | 1ull << (32 - 1), mask = 0;
	sigset_t set;
	pthread_t t;

	start();
	CHECK(ioctl(kvm, FAKE_HELPER, &mask) == 0);
	CHECK((mask | setxid | kept) == ~0ull && !(mask & setxid));
	/* the VMM's own threads inherit */
	CHECK(pthread_create(&t, NULL, mask_of_thread, &set) == 0);
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(sigismember(&set, SIGUSR1) == 0);
	sigemptyset(&set);
	CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && sigismember(&set, SIGUSR1) == 0);
}

static void asleep(void)
{
	char line[256];
	unsigned long long caught = ~0ull;
	FILE *f = fopen("/proc/self/status", "r");

	CHECK(access("/dev/kvm", R_OK) == 0);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "SigCgt: %llx", &caught);
	CHECK(caught == 0);
}

int main(void)
{
	static const struct check_case cases[] = {
		{"no handler in a process without /dev/kvm", asleep},
		{"handlers run", handlers_run},
		{"sigaction returns what was set", view_is_what_was_set},
		{"masks are kept", masks_are_kept},
		{"a signal ends a run, then its handler has run", a_signal_ends_a_run},
		{"handlers run outside our calls", handlers_run_outside_our_calls},
		{"no cancellation inside a call", no_cancellation_inside},
		{"asynchronous cancellation ends a run", asynchronous_cancellation_ends_a_run},
		{"an ignored signal does not", an_ignored_one_does_not},
		{"a blocked signal does not", a_blocked_one_does_not},
		{"let in by the run's mask, it stays pending", let_in_by_the_run, SIGUSR1},
		{"SIGBUS blocked and sent stays pending", blocked_and_sent_stays_pending},
		{"a fault reaches the handler", a_fault_reaches_the_handler},
		{"a fault kills by default", fault_default, SIGSEGV},
		{"a fault kills when ignored", fault_ignored, SIGSEGV},
		{"a fault kills when blocked", fault_blocked, SIGSEGV},
		{"so does a division by zero", divide, SIGFPE},
		{"so does a SIGSEGV from kill()", sent_default, SIGSEGV},
		{"so does SIGTERM", terminated, SIGTERM},
		{"SA_RESTART and siginterrupt", restart},
		{"SA_RESETHAND", reset_after_one, SIGUSR1},
		{"SA_NODEFER", nodefer},
		{"sigset, sigignore, sysv_signal", old_style},
		{"the kick signal is out of sight", the_kick_is_hidden},
		{"threads made inside our calls take no signals", helpers_block_signals},
		{"a vfork child's dispositions are its own", vfork_child_is_apart},
	};

	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
