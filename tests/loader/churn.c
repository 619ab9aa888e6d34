/* SPDX-License-Identifier: MIT */
/*
 * Threads made and ended, signals, forks and execs without end, in a monitor whose vCPU runs
 * meanwhile: no signal is lost, no thread sees another's variables, nothing is left behind.
 * usage: churn SECONDS
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "mmio.h"

#define MAKERS 3
#define BATCH  4  /* threads that one maker has at a time */
#define QUEUED 20 /* real-time signals that a thread sends itself */

static const char *self;
static volatile int stop;
static unsigned long threads, processes, programs, exits;

/* ------------------------------------------------------------------ a thread's own */

static __thread long tid; /* who it is */
static __thread unsigned came, fresh;
static __thread char big[4096]; /* the kernel must have zeroed a new thread's */

static void count(int sig, siginfo_t *info, void *uc)
{
	/* 0: not begun */
	EXPECT(!tid || tid == syscall(SYS_gettid), "a handler with the variables of %ld", tid);
	came++;
	access("/dev/kvm", R_OK);
}

static void check_self(const char *after)
{
	EXPECT(tid == syscall(SYS_gettid), "after %s: the variables of %ld", after, tid);
}

/*
 * None is lost, whatever came in between. By number: a forked child's pthread_kill() of itself hangs
 * with musl, if its maker was being signalled as it forked.
 */
static void take_queued(void)
{
	sigset_t set;

	came = 0;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < QUEUED; i++)
		syscall(SYS_tgkill, getpid(), tid, SIGRTMIN + 1);
	EXPECT(!came, "a blocked signal came");
	close(open("/dev/kvm", O_RDWR | O_CLOEXEC));
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	EXPECT(came == QUEUED, "%u of %u signals came", came, QUEUED);
}

static void *live(void *arg)
{
	for (size_t i = 0; i < sizeof(big); i++)
		EXPECT(!big[i], "another's variables");
	EXPECT(!fresh++, "another's variables");
	memset(big, 0x5a, sizeof(big));
	tid = syscall(SYS_gettid);
	take_queued();
	check_self("signals");
	munmap(mmap(NULL, 0x4000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 0x4000);
	check_self("mmap");
	__atomic_fetch_add(&threads, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* ------------------------------------------------------------------ makers */

static void make_threads(void)
{
	pthread_t t[BATCH];

	for (int i = 0; i < BATCH; i++)
		EXPECT(pthread_create(&t[i], NULL, live, NULL) == 0, "a thread");
	for (int i = 0; i < BATCH; i++)
		pthread_join(t[i], NULL);
}

static int status_of(pid_t pid)
{
	int status = -1;

	EXPECT(pid > 0, "no child: %s", strerror(errno));
	while (waitpid(pid, &status, 0) < 0)
		EXPECT(errno == EINTR, "waitpid: %s", strerror(errno));
	return status;
}

static void fork_one(void)
{
	pid_t pid = fork();

	if (!pid) {
		tid = syscall(SYS_gettid);
		take_queued();
		check_self("fork");
		_exit(17);
	}
	EXPECT(WEXITSTATUS(status_of(pid)) == 17, "the child");
	__atomic_fetch_add(&processes, 1, __ATOMIC_RELAXED);
}

static void execute_one(void)
{
	char *args[] = {(char *)self, (char *)"no more", NULL}, *none[] = {NULL};
	pid_t pid = -1;

	EXPECT(posix_spawn(&pid, self, NULL, NULL, args, none) == 0, "posix_spawn");
	EXPECT(WEXITSTATUS(status_of(pid)) == 23, "the program");
	__atomic_fetch_add(&programs, 1, __ATOMIC_RELAXED);
}

static void *make(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	tid = syscall(SYS_gettid);
	while (!stop) {
		int what = rand_r(&seed) % 8;

		if (what == 0)
			fork_one();
		else if (what == 1)
			execute_one();
		else
			make_threads();
		check_self("all of it");
	}
	return NULL;
}

/* ------------------------------------------------------------------ the vCPU */

static struct minivmm v;

static void *run(void *arg)
{
	tid = syscall(SYS_gettid);
	while (!stop) {
		int r = minivmm_run(&v);

		EXPECT(r == KVM_EXIT_MMIO || r == -EINTR, "exit %s", minivmm_exit_name(r));
		exits++;
	}
	check_self("KVM_RUN");
	return NULL;
}

static int descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int main(int argc, char **argv)
{
	struct sigaction a = {.sa_sigaction = count, .sa_flags = SA_SIGINFO | SA_RESTART};
	int before, seconds = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t makers[MAKERS], cpu;

	if (argc > 1 && !strcmp(argv[1], "no more"))
		return 23;
	self = argv[0];
	tid = syscall(SYS_gettid);
	sigaction(SIGRTMIN + 1, &a, NULL);
	sigaction(SIGUSR1, &a, NULL);
	mmio_create(&v);
	before = descriptors();
	pthread_create(&cpu, NULL, run, NULL);
	for (uintptr_t i = 0; i < MAKERS; i++)
		pthread_create(&makers[i], NULL, make, (void *)(i + 1));
	for (time_t end = time(NULL) + seconds; time(NULL) < end; usleep(3000)) {
		pthread_kill(cpu, SIGUSR1);
		for (int i = 0; i < MAKERS; i++)
			pthread_kill(makers[i], SIGUSR1);
	}
	stop = 1;
	for (int i = 0; i < MAKERS; i++)
		pthread_join(makers[i], NULL);
	pthread_join(cpu, NULL);
	check_self("the end");
	EXPECT(descriptors() == before, "%d descriptors, not %d", descriptors(), before);
	printf("%lu threads, %lu forks, %lu programs, %lu exits\n", threads, processes, programs,
	       exits);
	return !(threads && processes && programs && exits);
}
