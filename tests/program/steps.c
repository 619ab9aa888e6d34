/* SPDX-License-Identifier: MIT */
/*
 * steps: a signal at every instruction of userkvm's in a call.
 *
 * A child makes each call between two breakpoints. It is stepped through once, which gives the
 * addresses; then, for each of them and each kind of signal, the call is made again with a
 * breakpoint there and the signal sent as it is reached. It must be handled once, in order, with
 * the thread's mask, cancellation and the call's result as beside a kernel's KVM.
 *
 * A breakpoint stands in text that userkvm's helper threads execute, too. They are traced as well, and
 * one that meets it is stepped over it. That may be seen when the breakpoint has been moved on: what
 * belongs there is back by then.
 *
 * Parent and child share a processor: they run by turns, and waking one on another processor takes
 * most of the time otherwise.
 */
#include "../vmm/minivmm.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

GUEST(writes_port, 16, "1: out %al, $0x99\n jmp 1b");

#define QUEUED	(SIGRTMIN + 1)
#define KICK	64 /* userkvm's own: one that comes late, or from outside */
#define LIMIT_S 20 /* for one call; it takes microseconds */

/* ------------------------------------------------------------------ the child */

static struct {
	int call, kind; /* what to do; the parent's */
	int handled, disorder, result, error, pending;
	int mask_changed, state_changed, half_closed;
	int done; /* the call has returned */
} *shared;

static struct minivmm v;
static sigjmp_buf back;
static int expected;

static void handler(int sig, siginfo_t *info, void *uc)
{
	shared->handled++;
	if (sig == QUEUED)
		shared->disorder |= info->si_value.sival_int != ++expected;
}

static void jumper(int sig)
{
	shared->handled++;
	siglongjmp(back, 1);
}

static int call_extension(void)
{
	return ioctl(v.vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP);
}

static int call_run(void)
{
	return ioctl(v.vcpu, KVM_RUN, 0);
}

static int closing = -1;

static int call_close(void)
{
	closing = dup(v.vm);
	return closing < 0 ? closing : close(closing);
}

/* A handler that jumped out of close() left it closed, or the VM's descriptor still. */
static int half_closed(void)
{
	int open = closing >= 0 && fcntl(closing, F_GETFD) >= 0, bad = 0;
	char byte;

	if (open) {
		bad = read(closing, &byte, 1) != -1 || errno != EINVAL;
		close(closing);
	}
	closing = -1;
	return bad;
}

static int call_sigaction(void)
{
	struct sigaction a;

	return sigaction(SIGUSR2, NULL, &a) || sigaction(SIGUSR2, &a, NULL);
}

static int call_munmap(void)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return munmap(p, 4096);
}

static int call_wait(void)
{
	struct timespec none = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigtimedwait(&set, NULL, &none) == -1 && errno == EAGAIN ? 0 : -1;
}

static const struct {
	const char *name;
	int (*make)(void);
	int run; /* may end with EINTR */
	int masked; /* under KVM_SET_SIGNAL_MASK, with everything blocked outside */
	int asynchronous; /* in a thread that may be cancelled at any moment */
} calls[] = {
	{"KVM_CHECK_EXTENSION", call_extension},
	{"KVM_RUN", call_run, .run = 1},
	{"KVM_RUN with a mask", call_run, .run = 1, .masked = 1},
	{"KVM_RUN, cancellable", call_run, .run = 1, .asynchronous = 1},
	{"dup and close", call_close},
	{"sigaction", call_sigaction},
	{"munmap", call_munmap},
	{"sigtimedwait", call_wait},
};
#define NCALLS (int)(sizeof(calls) / sizeof(calls[0]))

enum kind { PLAIN, FAULT_SENT, IN_ORDER, JUMPS, LATE_KICK, NKINDS };

static const char *const kinds[NKINDS] = {
	"SIGUSR1", "SIGSEGV sent", "two queued signals", "a handler that jumps", "a kick",
};

static void set_run_mask(int on)
{
	struct {
		struct kvm_signal_mask head;
		uint64_t bits;
	} m = {{8}, 0};

	ioctl(v.vcpu, KVM_SET_SIGNAL_MASK, on ? &m : NULL);
}

static void prepare(void)
{
	struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	shared->handled = shared->disorder = shared->pending = 0;
	shared->mask_changed = shared->state_changed = shared->done = 0;
	expected = 0;
	sigemptyset(&a.sa_mask);
	sigaction(SIGSEGV, &a, NULL);
	sigaction(QUEUED, &a, NULL);
	if (shared->kind == JUMPS)
		a = (struct sigaction){.sa_handler = jumper};
	sigaction(SIGUSR1, &a, NULL);
}

/* What the run's mask let in waits for sigtimedwait(). */
static void count_pending(const sigset_t *all)
{
	struct timespec none = {0};
	siginfo_t info;
	int sig;

	while ((sig = sigtimedwait(all, &info, &none)) > 0)
		handler(sig, &info, NULL);
}

#define MARK() asm volatile("int3" ::: "memory")

static void make_call(void)
{
	int masked = calls[shared->call].masked, before, after, type;
	sigset_t outside, now, all;

	sigfillset(&all);
	sigdelset(&all, SIGTRAP); /* a breakpoint would unblock it */
	prepare();
	set_run_mask(masked);
	sigprocmask(masked ? SIG_SETMASK : SIG_UNBLOCK, &all, NULL);
	pthread_setcanceltype(calls[shared->call].asynchronous ? PTHREAD_CANCEL_ASYNCHRONOUS
							       : PTHREAD_CANCEL_DEFERRED,
			      NULL);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &outside, 8);
	if (!sigsetjmp(back, 1)) {
		MARK();
		shared->result = calls[shared->call].make();
		shared->error = errno;
	} else {
		shared->result = 0;
	}
	shared->done = 1;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &now, 8);
	shared->mask_changed = memcmp(&outside, &now, 8) != 0;
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &after);
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	shared->state_changed = after != PTHREAD_CANCEL_ENABLE ||
				type != (calls[shared->call].asynchronous
						 ? PTHREAD_CANCEL_ASYNCHRONOUS
						 : PTHREAD_CANCEL_DEFERRED);
	if (masked)
		count_pending(&all);
	shared->half_closed = half_closed();
	MARK();
}

static void *child_thread(void *unused)
{
	for (;;)
		make_call();
	return unused;
}

static void child(void)
{
	minivmm_create_with_irqchip(&v);
	minivmm_load(&v, MINIVMM_REAL, writes_port);
	minivmm_run(&v); /* the threads and tables that the first run makes */
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	child_thread(NULL);
}

/* ------------------------------------------------------------------ the parent */

static pid_t pid;
static struct {
	uint64_t start, end;
} text;

static void late(int sig)
{
	static const char what[] = "steps: a call does not return\n";

	(void)!write(2, what, sizeof(what) - 1);
	kill(pid, SIGKILL);
	_exit(1);
}

#define MAX_TEXT (1 << 24)

static struct {
	uint64_t rip; /* of the last one set */
	long word;    /* what belongs there */
	int set;
	unsigned char was[MAX_TEXT]; /* one was set here, by offset in the text */
} breakpoint;

/* `tid`: a thread that is stopped. */
static void poke(pid_t tid, int set)
{
	long word = set ? (breakpoint.word & ~0xffL) | 0xcc : breakpoint.word;

	EXPECT(!ptrace(PTRACE_POKETEXT, tid, breakpoint.rip, word), "breakpoint: %m");
}

static void set_breakpoint(uint64_t rip)
{
	breakpoint.was[rip - text.start] = 1;
	breakpoint.rip = rip;
	breakpoint.word = ptrace(PTRACE_PEEKTEXT, pid, rip, 0);
	breakpoint.set = 1;
	poke(pid, 1);
}

static void clear_breakpoint(void)
{
	poke(pid, 0);
	breakpoint.set = 0;
}

static int was_breakpoint(uint64_t rip)
{
	return rip >= text.start && rip - text.start < MAX_TEXT && breakpoint.was[rip - text.start];
}

/* Back to the breakpoint that it has executed, and over what belongs there. Its stop may have waited
 * for its turn to be seen while the breakpoint was moved, more than once. */
static void step_over(pid_t tid)
{
	struct user_regs_struct r;
	int status;

	EXPECT(!ptrace(PTRACE_GETREGS, tid, 0, &r), "registers: %m");
	EXPECT(was_breakpoint(r.rip - 1), "a helper traps at %#llx", r.rip);
	r.rip--;
	EXPECT(!ptrace(PTRACE_SETREGS, tid, 0, &r), "registers: %m");
	if (!breakpoint.set || r.rip != breakpoint.rip)
		return;
	poke(tid, 0);
	EXPECT(!ptrace(PTRACE_SINGLESTEP, tid, 0, 0), "ptrace: %m");
	EXPECT(waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status), "status %#x", status);
	poke(tid, 1);
}

static void helper_stopped(pid_t tid, int status)
{
	int sig = WSTOPSIG(status);

	if (sig == SIGTRAP && !(status >> 16)) {
		step_over(tid);
		sig = 0;
	}
	EXPECT(!ptrace(PTRACE_CONT, tid, 0, status >> 16 ? 0L : (long)sig), "ptrace: %m");
}

static void trace_helpers(void)
{
	struct dirent *e;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	EXPECT(d, "%s: %m", path);
	while ((e = readdir(d))) {
		pid_t tid = atoi(e->d_name);

		if (tid && tid != pid)
			EXPECT(!ptrace(PTRACE_SEIZE, tid, 0, 0), "a helper cannot be traced: %m");
	}
	closedir(d);
}

/* Wait for the child's own thread. */
static int wait_stopped(void)
{
	int status;

	for (;;) {
		pid_t tid = waitpid(-1, &status, __WALL);

		EXPECT(tid > 0 && (tid != pid || WIFSTOPPED(status)), "status %#x", status);
		if (tid == pid)
			return WSTOPSIG(status);
		if (WIFSTOPPED(status))
			helper_stopped(tid, status);
	}
}

/* Go on to the next breakpoint, delivering what comes on the way. */
static void go_on(int request)
{
	int sig = 0;

	for (;;) {
		if (ptrace(request, pid, 0, (long)sig))
			EXPECT(0, "ptrace: %m");
		sig = wait_stopped();
		if (sig == SIGTRAP)
			return;
	}
}

static uint64_t where(void)
{
	struct user_regs_struct r;

	EXPECT(!ptrace(PTRACE_GETREGS, pid, 0, &r), "registers: %m");
	return r.rip;
}

static void set_where(uint64_t rip)
{
	struct user_regs_struct r;

	EXPECT(!ptrace(PTRACE_GETREGS, pid, 0, &r), "registers: %m");
	r.rip = rip;
	EXPECT(!ptrace(PTRACE_SETREGS, pid, 0, &r), "registers: %m");
}

static void find_text(void)
{
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long start, end;

		if (strstr(line, "r-xp") && strstr(line, "libuserkvm") &&
		    sscanf(line, "%lx-%lx", &start, &end) == 2) {
			text.start = start;
			text.end = end;
		}
	}
	if (f)
		fclose(f);
	if (!text.start) {
		printf("not under userkvm\n");
		kill(pid, SIGKILL);
		exit(77);
	}
}

static void send(int kind)
{
	siginfo_t info = {.si_signo = QUEUED, .si_code = SI_QUEUE, .si_pid = getpid()};

	switch (kind) {
	case PLAIN:
	case JUMPS:
		syscall(SYS_tgkill, pid, pid, SIGUSR1);
		break;
	case FAULT_SENT:
		syscall(SYS_tgkill, pid, pid, SIGSEGV);
		break;
	case IN_ORDER:
		for (int i = 1; i <= 2; i++) {
			info.si_value.sival_int = i;
			syscall(SYS_rt_tgsigqueueinfo, pid, pid, QUEUED, &info);
		}
		break;
	case LATE_KICK:
		syscall(SYS_tgkill, pid, pid, KICK);
		break;
	}
}

/* The addresses of one call, each once. Stands before the call, then after it. */
static int trace(uint64_t *rip, int max)
{
	static unsigned char seen[MAX_TEXT];
	int n = 0;

	memset(seen, 0, sizeof(seen));
	for (;;) {
		uint64_t at;

		go_on(PTRACE_SINGLESTEP);
		at = where();
		if (at >= text.start && at < text.end) {
			uint64_t off = at - text.start;

			EXPECT(off < sizeof(seen), "a large library");
			if (!seen[off] && n < max && !shared->done) {
				seen[off] = 1;
				rip[n++] = at;
			}
		} else if ((ptrace(PTRACE_PEEKTEXT, pid, at, 0) & 0xff) == 0xcc) {
			go_on(PTRACE_SINGLESTEP);
			return n;
		}
	}
}

static int check(int call, int kind, uint64_t rip)
{
	int want = kind == IN_ORDER ? 2 : kind == LATE_KICK ? 0 : 1, bad;

	/* a kick is nobody's signal: the call's result is as if none had come */
	bad = shared->handled != want || shared->disorder || shared->mask_changed ||
	      shared->state_changed || shared->half_closed ||
	      (shared->result < 0 &&
	       (!calls[call].run || shared->error != EINTR || kind == LATE_KICK));
	if (bad)
		printf("%s, %s at +%#lx: handled %d%s%s%s%s, result %d errno %d\n",
		       calls[call].name, kinds[kind], (unsigned long)(rip - text.start),
		       shared->handled, shared->disorder ? ", out of order" : "",
		       shared->mask_changed ? ", mask changed" : "",
		       shared->state_changed ? ", cancellation changed" : "",
		       shared->half_closed ? ", half closed" : "", shared->result, shared->error);
	return bad;
}

/* The child stands before the call, and after this before the next one. */
static int one(int call, int kind, uint64_t rip)
{
	alarm(hang_limit(LIMIT_S));
	set_breakpoint(rip);
	go_on(PTRACE_CONT);
	clear_breakpoint();
	if (where() != rip + 1)
		return 0; /* the call went another way: this is the mark after it */
	set_where(rip);
	send(kind);
	go_on(PTRACE_CONT);
	return check(call, kind, rip);
}

static int walk(int call)
{
	static uint64_t rip[100000];
	int n, bad = 0, tried = 0;

	shared->call = call;
	shared->kind = PLAIN;
	go_on(PTRACE_CONT);
	n = trace(rip, (int)(sizeof(rip) / sizeof(rip[0])));
	for (int kind = 0; kind < NKINDS; kind++) {
		/* the run's mask is for what waits: nothing there runs a handler, or jumps */
		if (kind == JUMPS && calls[call].masked)
			continue;
		for (int i = 0; i < n && bad < 20; i++) {
			shared->kind = kind;
			go_on(PTRACE_CONT);
			bad += one(call, kind, rip[i]);
			tried++;
		}
	}
	printf("%-22s %5d instructions, %6d signals, %d wrong\n", calls[call].name, n, tried, bad);
	fflush(stdout);
	return bad;
}

static void share_a_processor(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
}

int main(void)
{
	int bad = 0, status;

	share_a_processor();
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	signal(SIGALRM, late);
	alarm(hang_limit(LIMIT_S));
	pid = fork();
	if (pid == 0)
		child();
	/* the mark before its first call */
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "status %#x", status);
	find_text();
	trace_helpers();
	go_on(PTRACE_CONT);
	for (int call = 0; call < NCALLS; call++)
		bad += walk(call);
	/* Its helpers are ours to bury, too: it ends with the last of them. */
	kill(pid, SIGKILL);
	while (waitpid(-1, &status, __WALL) > 0)
		;
	return bad != 0;
}
