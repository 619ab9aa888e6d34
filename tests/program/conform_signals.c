/* SPDX-License-Identifier: MIT */
/* conform: signals. */
#include "conform.h"
#include <poll.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>

#define MS 30

static volatile int code, value, on_stack;
static char *volatile addr, *volatile page;
static char alternate[65536];
static volatile char *volatile invalid = (volatile char *)16;
static sigjmp_buf back;

static void note(int sig, siginfo_t *info, void *uc)
{
	char here;

	counted++;
	last_signal = sig;
	code = info->si_code;
	addr = info->si_addr;
	value = value * 10 + info->si_value.sival_int;
	on_stack = &here >= alternate && &here < alternate + sizeof(alternate);
}

static void note_and_jump(int sig, siginfo_t *info, void *uc)
{
	note(sig, info, uc);
	siglongjmp(back, 1);
}

static void set_noter(int sig, void (*fn)(int, siginfo_t *, void *), int flags)
{
	struct sigaction a = {.sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags};

	sigemptyset(&a.sa_mask);
	sigaction(sig, &a, NULL);
}

static void block(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* -- for each of a number of signals */

static void by_default(long sig)
{
	raise((int)sig);
	SAY(" lives");
}

static void ignored(long sig)
{
	signal((int)sig, SIG_IGN);
	raise((int)sig);
	SAY(" %d", signal((int)sig, SIG_DFL) == SIG_IGN);
}

static void handled(long sig)
{
	set_handler((int)sig, count_signal, 0);
	raise((int)sig);
	kill(getpid(), (int)sig);
	SAY(" %d %d", counted, last_signal);
	say_mask();
}

static void round_trip(long sig)
{
	struct sigaction a = {.sa_handler = count_signal, .sa_flags = SA_RESTART | SA_ONSTACK}, b;

	sigemptyset(&a.sa_mask);
	sigaddset(&a.sa_mask, SIGINT);
	SAY_CALL(sigaction((int)sig, &a, NULL));
	SAY_CALL(sigaction((int)sig, NULL, &b));
	SAY(" %d %x %d", b.sa_handler == count_signal, b.sa_flags & 0x58000007,
	    sigismember(&b.sa_mask, SIGINT));
}

static void blocked(long sig)
{
	struct timespec none = {0};
	siginfo_t info;
	sigset_t set;

	block((int)sig);
	kill(getpid(), (int)sig);
	kill(getpid(), (int)sig);
	sigpending(&set);
	SAY(" pending %d", sigismember(&set, (int)sig));
	sigemptyset(&set);
	sigaddset(&set, (int)sig);
	for (int i = 0; i < 3; i++)
		SAY_CALL(sigtimedwait(&set, &info, &none));
	SAY(" code %d mine %d", info.si_code, info.si_pid == getpid());
}

static void by_signalfd(long sig)
{
	struct signalfd_siginfo info;
	sigset_t set;
	int fd;

	block((int)sig);
	sigemptyset(&set);
	sigaddset(&set, (int)sig);
	fd = signalfd(-1, &set, SFD_NONBLOCK);
	SAY_CALL(read(fd, &info, sizeof(info)));
	raise((int)sig);
	SAY_CALL(read(fd, &info, sizeof(info)));
	SAY(" %u %d", info.ssi_signo, info.ssi_code);
}

/* -- waits that a signal breaks off */

/* Until a signal comes: what breaks a wait off is told by that, and no clock. */
#define LONG_MS 3600000

static int told[2]; /* a pipe: a handler has run */

static void count_and_tell(int sig)
{
	count_signal(sig);
	(void)!write(told[1], "", 1);
}

/* A process of its own writes a byte when a handler has run, or when `ms` are over. */
static void write_when_told(int fd, int ms)
{
	struct pollfd p = {.fd = told[0], .events = POLLIN};

	fflush(stdout);
	if (fork() == 0) {
		poll(&p, 1, ms);
		_exit(write(fd, "", 1) != 1);
	}
}

static void wait_in(long how, int ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	struct epoll_event e;
	sigset_t none;
	int fds[2];
	char c;

	sigemptyset(&none);
	switch (how) {
	case 0:
		SAY_CALL(poll(NULL, 0, ms));
		break;
	case 1:
		SAY_CALL(ppoll(NULL, 0, &t, &none));
		break;
	case 2:
		SAY_CALL(select(0, NULL, NULL, NULL, &tv));
		break;
	case 3:
		SAY_CALL(pselect(0, NULL, NULL, NULL, &t, &none));
		break;
	case 4:
		SAY_CALL(nanosleep(&t, NULL));
		break;
	case 5:
		SAY_CALL(epoll_wait(epoll_create1(0), &e, 1, ms));
		break;
	case 6:
		SAY_CALL(epoll_pwait(epoll_create1(0), &e, 1, ms, &none));
		break;
	case 7:
		SAY_CALL(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL));
		break;
	case 8:
		SAY_CALL(usleep((useconds_t)ms * 1000));
		break;
	case 9:
		(void)!pipe(fds);
		write_when_told(fds[1], ms);
		SAY_CALL(read(fds[0], &c, 1));
		break;
	}
	SAY(" counted %d", counted);
}

#define NWAITS 10

static void broken_off(long how)
{
	(void)!pipe(told);
	set_handler(SIGUSR1, count_and_tell, 0);
	signal(SIGCHLD, SIG_IGN);
	send_after(SIGUSR1, MS);
	wait_in(how, LONG_MS);
}

static void restarted(long how)
{
	(void)!pipe(told);
	set_handler(SIGUSR1, count_and_tell, SA_RESTART);
	signal(SIGCHLD, SIG_IGN);
	send_after(SIGUSR1, MS);
	wait_in(how, LONG_MS);
}

static void not_by_an_ignored_one(long how)
{
	(void)!pipe(told);
	send_after(SIGWINCH, MS); /* and then SIGCHLD, ignored by default, too */
	wait_in(how, 10 * MS);
}

static void suspended(long arg)
{
	sigset_t none;

	set_handler(SIGUSR1, count_signal, 0);
	block(SIGUSR1);
	kill(getpid(), SIGUSR1);
	SAY(" before %d", counted);
	sigemptyset(&none);
	SAY_CALL(sigsuspend(&none));
	SAY(" after %d", counted);
	say_mask();
}

/* Again and again, as long as this process is there: one may come before it waits. */
static void send_repeatedly(int sig, long ms)
{
	pid_t parent = getpid();

	fflush(stdout);
	if (fork() == 0) {
		while (getppid() == parent) {
			sleep_ms(ms);
			kill(parent, sig);
		}
		_exit(0);
	}
}

static void paused(long arg)
{
	set_handler(SIGUSR1, count_signal, 0);
	send_repeatedly(SIGUSR1, MS);
	SAY_CALL(pause());
}

/* -- queues and limits */

static void queue_order(long with_process)
{
	struct timespec none = {0};
	sigset_t set;
	siginfo_t info;

	sigemptyset(&set);
	for (int sig = SIGRTMIN; sig < SIGRTMIN + 3; sig++) {
		block(sig);
		sigaddset(&set, sig);
	}
	for (int i = 1; i <= 9; i++) {
		union sigval v = {.sival_int = i};

		if (with_process && i % 2)
			sigqueue(getpid(), SIGRTMIN + i % 3, v);
		else
			pthread_sigqueue(pthread_self(), SIGRTMIN + i % 3, v);
	}
	for (int i = 0; i < 10; i++) {
		info.si_value.sival_int = 0;
		SAY(" %d=", sigtimedwait(&set, &info, &none) - SIGRTMIN);
		SAY("%d", info.si_value.sival_int);
	}
}

static void handled_order(long arg)
{
	sigset_t all, old;

	set_noter(SIGRTMIN, note, 0);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	for (int i = 1; i <= 5; i++)
		sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
	sigprocmask(SIG_SETMASK, &old, NULL);
	SAY(" %d %d", counted, value);
}

static void queue_limit(long arg)
{
	struct rlimit l = {0, 0};
	int sent = 0;

	block(SIGRTMIN);
	setrlimit(RLIMIT_SIGPENDING, &l);
	SAY_CALL(sigqueue(getpid(), SIGRTMIN, (union sigval){0}));
	SAY_CALL(kill(getpid(), SIGRTMIN));
	SAY(" %d", sent);
}

static void range(long arg)
{
	struct sigaction a = {.sa_handler = count_signal};

	/* userkvm has the top of the range; what it says the range is holds */
	SAY_CALL(sigaction(SIGRTMIN, &a, NULL));
	SAY_CALL(sigaction(SIGRTMAX, &a, NULL));
	SAY_CALL(sigaction(0, &a, NULL));
	SAY_CALL(sigaction(65, &a, NULL));
	SAY_CALL(sigaction(SIGKILL, &a, NULL));
	SAY_CALL(sigaction(SIGSTOP, NULL, &a));
	raise(SIGRTMAX);
	SAY(" %d", counted);
}

/* -- faults */

static void fault(long how)
{
	volatile int zero = 0;
	int fd = memfd_create("conform", 0);

	page = how == 5 ? mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0)
			: mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	set_noter(SIGSEGV, note_and_jump, 0);
	set_noter(SIGBUS, note_and_jump, 0);
	set_noter(SIGFPE, note_and_jump, 0);
	set_noter(SIGILL, note_and_jump, 0);
	set_noter(SIGTRAP, note_and_jump, 0);
	if (!sigsetjmp(back, 1)) {
		switch (how) {
		case 0:
			*(volatile char *)(page + 5) = 1;
			break;
		case 1:
			*invalid = 1;
			break;
		case 2:
			value = 1 / zero;
			break;
		case 3:
			asm volatile("ud2");
			break;
		case 4:
			asm volatile("int3");
			break;
		case 5:
			value = *(volatile char *)(page + 7);
			break;
		}
	}
	SAY(" sig %d code %d", last_signal, code);
	if (how == 0 || how == 5)
		SAY(" at %ld", (long)(addr - page));
	say_mask();
}

static void fault_by_default(long how)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	if (how == 1)
		signal(SIGSEGV, SIG_IGN);
	if (how == 2)
		block(SIGSEGV);
	*invalid = 1;
}

/* -- stacks, jumps, flags */

static void on_alternate_stack(long flags)
{
	stack_t s = {.ss_sp = alternate, .ss_size = sizeof(alternate)}, old;

	SAY_CALL(sigaltstack(&s, NULL));
	set_noter(SIGUSR1, note, (int)flags);
	raise(SIGUSR1);
	SAY(" %d", on_stack);
	SAY_CALL(sigaltstack(NULL, &old));
	SAY(" %d %zu", old.ss_flags, old.ss_size);
}

static void jumps_out(long keep_mask)
{
	set_noter(SIGUSR1, note_and_jump, 0);
	if (!sigsetjmp(back, (int)keep_mask))
		raise(SIGUSR1);
	say_mask();
}

static void nests(int sig)
{
	if (counted++ < 2)
		raise(sig);
}

static void flags(long f)
{
	set_handler(SIGUSR1, nests, (int)f);
	raise(SIGUSR1);
	SAY(" %d", counted);
	raise(SIGUSR1);
	SAY(" %d", counted);
}

static void interrupt(long on)
{
	int fds[2];
	char c;

	(void)!pipe(fds);
	(void)!pipe(told);
	signal(SIGUSR1, count_and_tell);
	SAY_CALL(siginterrupt(SIGUSR1, (int)on));
	send_after(SIGUSR1, MS);
	write_when_told(fds[1], LONG_MS);
	SAY_CALL(read(fds[0], &c, 1));
	SAY(" %d", counted);
}

static void no_zombies(long f)
{
	struct sigaction a = {.sa_handler = count_signal, .sa_flags = (int)f | SA_RESTART};
	pid_t pid;

	sigemptyset(&a.sa_mask);
	sigaction(SIGCHLD, &a, NULL);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(3);
	SAY(" %ld", ended(pid));
	sleep_ms(MS);
	SAY(" %d", counted);
}

static void timer(long id)
{
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	struct itimerspec when = {.it_value = {.tv_nsec = MS * 1000000}};
	struct itimerval tv = {.it_value = {.tv_usec = MS * 1000}};
	sigset_t none;
	timer_t t;

	sigemptyset(&none);
	block(SIGRTMIN);
	block(SIGALRM);
	set_noter(SIGRTMIN, note, 0);
	set_noter(SIGALRM, note, 0);
	ev.sigev_value.sival_int = 6;
	if (id == 0) {
		SAY_CALL(timer_create(CLOCK_MONOTONIC, &ev, &t));
		SAY_CALL(timer_settime(t, 0, &when, NULL));
	} else {
		SAY_CALL(setitimer(ITIMER_REAL, &tv, NULL));
	}
	SAY_CALL(sigsuspend(&none));
	SAY(" %d %d %d %d", counted, last_signal == (id ? SIGALRM : SIGRTMIN), code, value);
}

static void old_ways(long arg)
{
	SAY(" %d", sigset(SIGUSR1, count_signal) == SIG_DFL);
	SAY(" %d", sigset(SIGUSR1, SIG_HOLD) == count_signal);
	raise(SIGUSR1);
	SAY(" %d", counted);
	SAY(" %d", sigset(SIGUSR1, count_signal) == SIG_HOLD);
	SAY(" %d", counted);
	SAY_CALL(sighold(SIGUSR2));
	say_mask();
	SAY_CALL(sigrelse(SIGUSR2));
	SAY_CALL(sigignore(SIGUSR2));
	raise(SIGUSR2);
	say_mask();
}

#define EACH(name, fn)                                                                         \
	{name, fn, SIGHUP}, {name, fn, SIGINT}, {name, fn, SIGTRAP}, {name, fn, SIGBUS},       \
		{name, fn, SIGFPE}, {name, fn, SIGSEGV}, {name, fn, SIGUSR1}, {name, fn, SIGPIPE}, \
		{name, fn, SIGALRM}, {name, fn, SIGCHLD}, {name, fn, SIGURG}, {name, fn, SIGWINCH}, \
		{name, fn, 40}
#define EACH_WAIT(name, fn)                                                                    \
	{name, fn, 0}, {name, fn, 1}, {name, fn, 2}, {name, fn, 3}, {name, fn, 4},             \
		{name, fn, 5}, {name, fn, 6}, {name, fn, 7}, {name, fn, 8}, {name, fn, 9}

const struct check signal_checks[] = {
	EACH("default", by_default),
	EACH("ignored", ignored),
	EACH("handled", handled),
	EACH("round trip", round_trip),
	EACH("blocked", blocked),
	EACH("signalfd", by_signalfd),
	EACH_WAIT("broken off", broken_off),
	EACH_WAIT("SA_RESTART", restarted),
	EACH_WAIT("not by an ignored one", not_by_an_ignored_one),
	{"sigsuspend", suspended},
	{"pause", paused},
	{"order", queue_order, 0},
	{"order", queue_order, 1},
	{"order of handlers", handled_order},
	{"RLIMIT_SIGPENDING", queue_limit},
	{"range", range},
	{"fault", fault, 0},
	{"fault", fault, 1},
	{"fault", fault, 2},
	{"fault", fault, 3},
	{"fault", fault, 4},
	{"fault", fault, 5},
	{"fault by default", fault_by_default, 0},
	{"fault by default", fault_by_default, 1},
	{"fault by default", fault_by_default, 2},
	{"sigaltstack", on_alternate_stack, 0},
	{"sigaltstack", on_alternate_stack, SA_ONSTACK},
	{"siglongjmp", jumps_out, 0},
	{"siglongjmp", jumps_out, 1},
	{"flags", flags, 0},
	{"flags", flags, SA_NODEFER},
	{"flags", flags, (long)(int)SA_RESETHAND},
	{"siginterrupt", interrupt, 0},
	{"siginterrupt", interrupt, 1},
	{"SIGCHLD", no_zombies, 0},
	{"SIGCHLD", no_zombies, SA_NOCLDWAIT},
	{"timer", timer, 0},
	{"timer", timer, 1},
	{"sigset", old_ways},
	{NULL},
};
