/* SPDX-License-Identifier: MIT */
/*
 * A monitor that is linked in every way there is: one VM with two vCPUs, each run by a thread, that
 * wake each other by interrupts and tell of each by MMIO, under signals of the program's own. The
 * arguments say what the process does to itself before, one after the other.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <userkvm.h>
#include "../vmm/minivmm.h"

#define CPUS	2
#define ROUNDS	300
#define VECTOR	0x40
#define HANDLER 64 /* offset in the guest's code */
#define COUNTER 0x10000 /* guest-physical; eight bytes for each vCPU */

GUEST(waits, 64,
      "	sti\n"
      "1:	hlt\n"
      "	jmp 1b\n"
      "	.balign 64\n" /* HANDLER */
      "	push %rax; push %rcx; push %rdx\n"
      "	mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr\n" /* EOI */
      "	incq (%rsi)\n"
      "	mov (%rsi), %rax\n"
      "	mov %rax, (%rdi)\n" /* MMIO */
      "	pop %rdx; pop %rcx; pop %rax\n"
      "	iretq\n");
GUEST(spins, 64, "1: jmp 1b");

extern char **environ;

/* ------------------------------------------------------------------ signals of its own */

static __thread long own_tid; /* seen by the handler only with this thread's own FS base */
static __thread unsigned long handled;
static int wrong;

static void on_signal(int sig, siginfo_t *info, void *uc)
{
	int e = errno;

	if (own_tid && own_tid != syscall(SYS_gettid)) /* 0: not begun */
		__atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
	handled++;
	if (access("/dev/kvm", R_OK)) /* a call that is not the program's alone */
		__atomic_store_n(&wrong, 2, __ATOMIC_RELAXED);
	errno = e;
}

static void take_signals(int sig)
{
	struct sigaction a = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigfillset(&a.sa_mask);
	EXPECT(sigaction(sig, &a, NULL) == 0, "sigaction");
}

/* As small as Rust's. */
static void use_small_stack(void)
{
	stack_t s = {.ss_size = 16384};

	s.ss_sp = malloc(s.ss_size);
	EXPECT(sigaltstack(&s, NULL) == 0, "sigaltstack: %s", strerror(errno));
}

/* ------------------------------------------------------------------ the machine */

struct cpu {
	struct minivmm v;
	pthread_t thread;
	unsigned id;
	int done;
	unsigned long broken_off;
};

static struct cpu cpu[CPUS];

static void interrupt(unsigned id)
{
	struct kvm_msi msi = {.address_lo = 0xfee00000u | id << 12, .data = VECTOR};
	int r = ioctl(cpu[0].v.vm, KVM_SIGNAL_MSI, &msi);

	EXPECT(r == 1, "KVM_SIGNAL_MSI: %d %s", r, strerror(errno));
}

static int run(struct cpu *c)
{
	int r;

	while ((r = minivmm_run(&c->v)) == -EINTR)
		c->broken_off++;
	return r;
}

static void *run_cpu(void *arg)
{
	struct cpu *c = arg;

	own_tid = syscall(SYS_gettid);
	use_small_stack();
	for (uint64_t n = 1; n <= ROUNDS; n++) {
		struct kvm_run *k = c->v.run;
		uint64_t told;
		int r = run(c);

		EXPECT(r == KVM_EXIT_MMIO, "vCPU %u: %s", c->id, minivmm_exit_name(r));
		memcpy(&told, k->mmio.data, 8);
		EXPECT(k->mmio.phys_addr == MINIVMM_HOLE + 0x1000 * c->id && k->mmio.is_write &&
			       told == n,
		       "vCPU %u: %llx, %llu, not %llu", c->id,
		       (unsigned long long)k->mmio.phys_addr, (unsigned long long)told,
		       (unsigned long long)n);
		if (c->id + 1 < CPUS || n < ROUNDS)
			interrupt((c->id + 1) % CPUS);
	}
	__atomic_store_n(&c->done, 1, __ATOMIC_RELEASE);
	EXPECT(own_tid == syscall(SYS_gettid), "thread-local variables are another thread's");
	return NULL;
}

static void load(struct cpu *c)
{
	struct kvm_mp_state runnable = {KVM_MP_STATE_RUNNABLE};
	struct kvm_regs r;

	minivmm_load(&c->v, MINIVMM_LONG, waits);
	minivmm_set_gate(&c->v, MINIVMM_LONG, VECTOR, HANDLER);
	minivmm_enable_apic(&c->v);
	EXPECT(ioctl(c->v.vcpu, KVM_SET_MP_STATE, &runnable) == 0, "KVM_SET_MP_STATE");
	minivmm_get_regs(&c->v, &r);
	r.rdi = MINIVMM_HOLE + 0x1000 * c->id;
	r.rsi = COUNTER + 8 * c->id;
	r.rsp -= 0x1000 * c->id;
	minivmm_set_regs(&c->v, &r);
}

static int all_done(void)
{
	for (unsigned i = 0; i < CPUS; i++) {
		if (!__atomic_load_n(&cpu[i].done, __ATOMIC_ACQUIRE))
			return 0;
	}
	return 1;
}

static void run_pair(int with_signals)
{
	memset(cpu, 0, sizeof(cpu));
	minivmm_create_with_irqchip(&cpu[0].v);
	for (unsigned i = 0; i < CPUS; i++) {
		cpu[i].id = i;
		if (i)
			minivmm_add_vcpu(&cpu[0].v, i, &cpu[i].v);
		/* not loaded over by the next: code and tables are the same */
		load(&cpu[i]);
	}
	for (unsigned i = 0; i < CPUS; i++)
		EXPECT(pthread_create(&cpu[i].thread, NULL, run_cpu, &cpu[i]) == 0, "a thread");
	interrupt(0);
	while (!all_done()) {
		for (unsigned i = 0; with_signals && i < CPUS; i++)
			pthread_kill(cpu[i].thread, SIGUSR1);
		usleep(500);
	}
	for (unsigned i = 0; i < CPUS; i++)
		pthread_join(cpu[i].thread, NULL);
	EXPECT(!wrong, "a handler ran with another thread's variables, or met an error: %d", wrong);
	for (unsigned i = CPUS - 1; i; i--)
		minivmm_remove_vcpu(&cpu[i].v);
	minivmm_destroy(&cpu[0].v);
}

static void *spin(void *arg)
{
	struct cpu *c = arg;

	own_tid = syscall(SYS_gettid);
	c->broken_off = minivmm_run(&c->v) == -EINTR;
	__atomic_store_n(&c->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

/* A guest that never leaves by itself is ended by a signal. */
static void run_endless(void)
{
	struct cpu *c = &cpu[0];

	memset(c, 0, sizeof(*c));
	minivmm_create(&c->v);
	minivmm_load(&c->v, MINIVMM_LONG, spins);
	EXPECT(pthread_create(&c->thread, NULL, spin, c) == 0, "a thread");
	while (!__atomic_load_n(&c->done, __ATOMIC_ACQUIRE)) {
		pthread_kill(c->thread, SIGUSR1);
		usleep(1000);
	}
	pthread_join(c->thread, NULL);
	EXPECT(c->broken_off, "KVM_RUN was not broken off");
	minivmm_destroy(&c->v);
}

/* Not the machine's own device, whatever that can do. */
static void expect_ours(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	EXPECT(kvm >= 0, "/dev/kvm: %s", strerror(errno));
	EXPECT(ioctl(kvm, KVM_CHECK_EXTENSION, USERKVM_CAP_LINK_GUEST_MEMFD) == 1,
	       "/dev/kvm is the machine's own");
	close(kvm);
}

static void machine(void)
{
	expect_ours();
	take_signals(SIGUSR1);
	own_tid = syscall(SYS_gettid);
	run_pair(1);
	run_endless();
}

/* ------------------------------------------------------------------ what it does to itself */

static const char *self;

static int wait_for(pid_t pid)
{
	int status = -1;

	EXPECT(pid > 0, "no child: %s", strerror(errno));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* A child has VMs of its own, and its parent keeps its. */
static void in_child(void)
{
	pid_t pid;

	machine();
	pid = fork();
	if (!pid) {
		machine();
		_exit(0);
	}
	machine();
	EXPECT(wait_for(pid) == 0, "the forked child");
}

static void after_exec(void)
{
	char *args[] = {(char *)self, (char *)"plain", NULL}, *none[] = {NULL};
	pid_t pid;

	/* no variable reaches it */
	EXPECT(posix_spawn(&pid, self, NULL, NULL, args, none) == 0, "posix_spawn");
	EXPECT(wait_for(pid) == 0, "the spawned child");
	pid = fork();
	if (!pid) {
		/* by the name that every program has */
		execve("/proc/self/exe", args, none);
		_exit(9);
	}
	EXPECT(wait_for(pid) == 0, "the executed child");
}

#define HANDED 100 /* a descriptor */

/* /dev/kvm comes by exec, before the program has made any call. */
static void take_handed(void)
{
	int vm = ioctl(HANDED, KVM_CREATE_VM, 0);

	EXPECT(vm >= 0, "KVM_CREATE_VM of what was handed on: %s", strerror(errno));
	EXPECT(ioctl(HANDED, KVM_CHECK_EXTENSION, USERKVM_CAP_LINK_GUEST_MEMFD) == 1,
	       "/dev/kvm is the machine's own");
	close(vm);
	close(HANDED);
	machine();
}

static void hand_on(void)
{
	char *args[] = {(char *)self, (char *)"handed", NULL}, *none[] = {NULL};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	pid_t pid;

	EXPECT(dup2(kvm, HANDED) == HANDED, "dup2: %s", strerror(errno));
	EXPECT(posix_spawn(&pid, self, NULL, NULL, args, none) == 0, "posix_spawn");
	EXPECT(wait_for(pid) == 0, "the child that was handed /dev/kvm");
	close(HANDED);
	close(kvm);
}

static void *exec_in_thread(void *arg)
{
	char *args[] = {(char *)self, (char *)"plain", NULL};

	execve(self, args, environ);
	exit(9);
}

/* A process that has threads and VMs becomes another program. */
static void become(void)
{
	pthread_t t;

	machine();
	pthread_create(&t, NULL, exec_in_thread, NULL);
	pthread_join(t, NULL);
}

#define LET(name)                                                                              \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1),                                 \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* What this program itself calls, and nothing else. */
static void allow_only_own(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		LET(ioctl), LET(write), LET(writev), LET(futex), LET(mmap), LET(mprotect), LET(munmap),
		LET(madvise), LET(brk), LET(rt_sigaction), LET(rt_sigprocmask), LET(sigaltstack),
		LET(rt_sigreturn), LET(open), LET(openat), LET(close), LET(access), LET(faccessat),
		LET(clone), LET(clone3), LET(exit), LET(exit_group), LET(nanosleep),
		LET(clock_nanosleep), LET(tkill), LET(tgkill), LET(gettid), LET(getpid),
		LET(set_robust_list), LET(rseq), LET(fcntl), LET(fstat), LET(getrandom),
		LET(sched_yield), LET(set_tid_address), LET(membarrier),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog p = {.len = sizeof(f) / sizeof(*f), .filter = f};

	EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
	EXPECT(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) == 0, "seccomp: %s",
	       strerror(errno));
}

static long answered;

static void on_sys(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	if (info->si_code == 1 && info->si_syscall == SYS_getppid && info->si_errno == 7)
		uc->uc_mcontext.gregs[REG_RAX] = answered = 4711;
}

/* A filter of its own traps a call, and a handler of its own answers. */
static void trap_own(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP | 7),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {.len = sizeof(f) / sizeof(*f), .filter = f};
	struct sigaction a = {.sa_sigaction = on_sys, .sa_flags = SA_SIGINFO}, seen;

	sigaction(SIGSYS, &a, NULL);
	sigaction(SIGSYS, NULL, &seen);
	EXPECT(seen.sa_sigaction == on_sys, "SIGSYS's handler is another");
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	EXPECT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) == 0, "seccomp: %s", strerror(errno));
	EXPECT(syscall(SYS_getppid) == 4711 && answered == 4711, "the trap was not the program's");
}

static void on_masking(int sig, siginfo_t *info, void *context)
{
	sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGSYS);
}

/* The mask that a handler leaves in its frame is in force behind it: it may have SIGSYS, and calls are trapped. */
static void mask_in_frame(void)
{
	struct sigaction a = {.sa_sigaction = on_masking, .sa_flags = SA_SIGINFO};
	sigset_t now;

	sigaction(SIGUSR2, &a, NULL);
	for (int i = 0; i < 3; i++) {
		raise(SIGUSR2);
		EXPECT(access("/dev/kvm", R_OK) == 0, "access");
		sigprocmask(SIG_BLOCK, NULL, &now);
		EXPECT(sigismember(&now, SIGSYS), "SIGSYS is not blocked");
		sigemptyset(&now);
		sigprocmask(SIG_SETMASK, &now, NULL);
		sigprocmask(SIG_BLOCK, NULL, &now);
		EXPECT(!sigismember(&now, SIGSYS), "SIGSYS is still blocked");
	}
}

static unsigned long repeated;

static void on_map(int sig, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	r[REG_RAX] = syscall(SYS_mmap, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10] | MAP_DENYWRITE,
			     r[REG_R8], r[REG_R9]);
	if (r[REG_RAX] == -1)
		r[REG_RAX] = -errno;
	repeated++;
}

/* Its handler makes the call itself, with a flag by which the filter knows: a call that is trapped for us, too. */
static void repeat_own(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_DENYWRITE, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {.len = sizeof(f) / sizeof(*f), .filter = f};
	struct sigaction a = {.sa_sigaction = on_map, .sa_flags = SA_SIGINFO};

	sigaction(SIGSYS, &a, NULL);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	EXPECT(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) == 0, "seccomp: %s", strerror(errno));
	machine();
	EXPECT(repeated > 2, "mmap() was trapped %lu times", repeated);
}

/* Every signal blocked, and asked for again: SIGSYS among them. */
static void block_all(void)
{
	sigset_t all, old;

	sigfillset(&all);
	EXPECT(sigprocmask(SIG_SETMASK, &all, NULL) == 0, "sigprocmask");
	EXPECT(access("/dev/kvm", R_OK) == 0, "access with all signals blocked");
	EXPECT(sigprocmask(SIG_BLOCK, NULL, &old) == 0 && sigismember(&old, SIGSYS) == 1 &&
		       sigismember(&old, SIGUSR2) == 1,
	       "the mask is another");
	sigemptyset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

static void expect_handled(long r, unsigned long before, const char *what)
{
	EXPECT(r == -1 && errno == EINTR && handled == before + 1 && !wrong, "%s: %ld %s, %lu handled",
	       what, r, strerror(errno), handled - before);
}

/* Waits that block all other signals, SIGSYS too, while a handler runs that makes calls. */
static void wait_for_one(void)
{
	struct timespec t = {.tv_sec = 20};
	sigset_t all, but;
	fd_set none;

	own_tid = syscall(SYS_gettid);
	take_signals(SIGUSR2);
	sigfillset(&all);
	but = all;
	sigdelset(&but, SIGUSR2);
	sigprocmask(SIG_SETMASK, &all, NULL);
	FD_ZERO(&none);
	for (int i = 0; i < 3; i++) {
		raise(SIGUSR2);
		expect_handled(sigsuspend(&but), 4 * i, "sigsuspend");
		raise(SIGUSR2);
		expect_handled(ppoll(NULL, 0, &t, &but), 4 * i + 1, "ppoll");
		raise(SIGUSR2);
		expect_handled(pselect(0, &none, NULL, NULL, &t, &but), 4 * i + 2, "pselect");
		raise(SIGUSR2);
		expect_handled(epoll_pwait(epoll_create1(0), &(struct epoll_event){0}, 1, 20000, &but),
			       4 * i + 3, "epoll_pwait");
	}
	sigemptyset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

/* Everything below the first frame, and what the kernel has put above it, is the program's to write. */
__attribute__((noinline)) static void use_stack(void)
{
	volatile char deep[1 << 20];

	for (size_t i = 0; i < sizeof(deep); i++)
		deep[i] = (char)0xac;
	for (char **e = environ; *e; e++)
		memset(*e, 'x', strlen(*e));
}

static void drop_user(void)
{
	if (getuid())
		return;
	EXPECT(setgid(65534) == 0 && setuid(65534) == 0, "setuid");
}

/* libc has each thread make the call, by a signal of its own. */
static void *expect_dropped(void *barrier)
{
	pthread_barrier_wait(barrier);
	pthread_barrier_wait(barrier);
	EXPECT(syscall(SYS_getuid) == 65534 && syscall(SYS_getgid) == 65534, "a thread is still uid %ld",
	       syscall(SYS_getuid));
	return NULL;
}

/* Threads of ours among them, which no libc of the program's knows. */
static void expect_no_root(void)
{
	char path[64], line[256];
	struct dirent *e;
	DIR *tasks = opendir("/proc/self/task");
	FILE *f;

	EXPECT(tasks, "no /proc");
	while ((e = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/self/task/%.16s/status", e->d_name);
		f = *e->d_name == '.' ? NULL : fopen(path, "r");
		while (f && fgets(line, sizeof(line), f))
			EXPECT(strncmp(line, "Uid:", 4) || strstr(line, "65534\t65534\t65534\t65534"),
			       "thread %s is still root: %s", e->d_name, line);
		if (f)
			fclose(f);
	}
	closedir(tasks);
}

static void drop_user_of_all(void)
{
	pthread_barrier_t barrier;
	pthread_t t[2];

	if (getuid())
		return;
	pthread_barrier_init(&barrier, NULL, 3);
	for (int i = 0; i < 2; i++)
		EXPECT(!pthread_create(&t[i], NULL, expect_dropped, &barrier), "no thread");
	pthread_barrier_wait(&barrier);
	drop_user();
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	expect_no_root();
}

static void empty_root(void)
{
	char dir[] = "/tmp/userkvm-root-XXXXXX";

	if (getuid())
		return;
	EXPECT(mkdtemp(dir) && chdir(dir) == 0 && rmdir(dir) == 0 && chroot(".") == 0, "chroot");
}

static void forbid_files(void)
{
	struct landlock_ruleset_attr a = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
				     LANDLOCK_ACCESS_FS_READ_DIR};
	long rules = syscall(SYS_landlock_create_ruleset, &a, sizeof(a), 0);

	if (rules < 0)
		return; /* a kernel without */
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	EXPECT(syscall(SYS_landlock_restrict_self, rules, 0) == 0, "landlock");
}

/* -- a signal that the program ignores, let in by KVM_RUN alone, ends it */

static long runner; /* the thread that runs */

static void *send_to_runner(void *call)
{
	siginfo_t info = {.si_signo = SIGUSR2, .si_code = SI_QUEUE};
	long r;

	usleep(30000);
	switch ((long)call) {
	case SYS_tgkill:
		r = syscall(SYS_tgkill, getpid(), runner, SIGUSR2);
		break;
	case SYS_tkill:
		r = syscall(SYS_tkill, runner, SIGUSR2);
		break;
	default:
		r = syscall(SYS_rt_tgsigqueueinfo, getpid(), runner, SIGUSR2, &info);
	}
	EXPECT(r == 0, "call %ld: %s", (long)call, strerror(errno));
	return NULL;
}

static void let_ignored_in(void)
{
	static const long calls[] = {SYS_tgkill, SYS_tkill, SYS_rt_tgsigqueueinfo};
	struct {
		struct kvm_signal_mask head;
		uint64_t none;
	} mask = {{8}, 0};
	struct timespec now = {0};
	struct minivmm v;
	pthread_t sender;
	sigset_t set;

	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	runner = syscall(SYS_gettid);
	minivmm_create(&v);
	minivmm_load(&v, MINIVMM_LONG, spins);
	EXPECT(ioctl(v.vcpu, KVM_SET_SIGNAL_MASK, &mask) == 0, "KVM_SET_SIGNAL_MASK");
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		EXPECT(!pthread_create(&sender, NULL, send_to_runner, (void *)calls[i]), "no thread");
		EXPECT(minivmm_run(&v) == -EINTR, "KVM_RUN does not end for an ignored signal");
		pthread_join(sender, NULL);
		EXPECT(sigtimedwait(&set, NULL, &now) == SIGUSR2, "the signal is not there");
	}
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* As uhyve does: a rule that lets it reach /dev/kvm, of a descriptor that is good for nothing else. */
static void allow_device(void)
{
	struct landlock_ruleset_attr a = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE};
	struct landlock_path_beneath_attr rule = {
		.allowed_access = a.handled_access_fs,
		.parent_fd = open("/dev/kvm", O_PATH | O_CLOEXEC),
	};
	long rules = syscall(SYS_landlock_create_ruleset, &a, sizeof(a), 0);

	EXPECT(rule.parent_fd >= 0 && fcntl(rule.parent_fd, F_GETFL) & O_PATH, "O_PATH");
	if (rules < 0)
		return; /* a kernel without */
	EXPECT(syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0,
	       "a rule for /dev/kvm: %s", strerror(errno));
	rule.allowed_access = ~0ULL;
	EXPECT(syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == -1 &&
		       errno == EINVAL,
	       "a rule that is wrong");
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	EXPECT(syscall(SYS_landlock_restrict_self, rules, 0) == 0, "landlock");
}

/* A program sees its own name, and no more than it has. */
static void look_around(void)
{
	char link[512] = "", real[512];

	EXPECT(readlink("/proc/self/exe", link, sizeof(link) - 1) > 0, "readlink");
	EXPECT(realpath(self, real) && !strcmp(link, real), "/proc/self/exe is %s", link);
	EXPECT(prctl(PR_GET_NAME, real) == 0 && strstr(link, real), "the name is %s", real);
	EXPECT(syscall(SYS_openat, -1, (void *)8, O_RDONLY) == -1 && errno == EFAULT, "a bad path");
}

static const struct {
	const char *name;
	void (*fn)(void);
} deeds[] = {
	{"plain", machine},	  {"fork", in_child},	    {"spawn", after_exec},
	{"become", become},	  {"filter", allow_only_own}, {"trap", trap_own}, {"repeat", repeat_own}, {"frame", mask_in_frame},
	{"block", block_all},	  {"wait", wait_for_one},   {"user", drop_user},	    {"root", empty_root},
	{"landlock", forbid_files}, {"look", look_around}, {"deep", use_stack},
	{"users", drop_user_of_all}, {"hand", hand_on}, {"handed", take_handed}, {"rule", allow_device},	  {"ignored", let_ignored_in},
};

int main(int argc, char **argv)
{
	self = argv[0];
	alarm(hang_limit(25));
	for (int i = 1; i < argc; i++) {
		size_t d = 0;

		while (d < sizeof(deeds) / sizeof(*deeds) && strcmp(argv[i], deeds[d].name))
			d++;
		EXPECT(d < sizeof(deeds) / sizeof(*deeds), "no such deed: %s", argv[i]);
		deeds[d].fn();
	}
	return 0;
}
