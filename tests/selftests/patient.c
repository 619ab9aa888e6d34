/* SPDX-License-Identifier: MIT */
/*
 * tests/selftests/patient.c: sleeps and limits of the kernel's selftests, in time that the program
 * had. Preloaded into them beside userkvm.
 *
 * Some of those tests sleep instead of waiting for their other threads: "100 ms, and the vCPU is back
 * in the guest". On a machine with other work it may not have run once by then, and such a test
 * fails that found nothing. (set_memory_region_test has a semaphore as well, which its first part
 * posts more often than it is waited for. dirty_log_test expects that by the end of its sleep a vCPU
 * has stored what it had loaded before, which may take a page fault in between.) So a sleep lasts
 * until each other thread of the process has run for a tenth of it or has slept for a while; and a
 * limit on waiting counts what those threads have run, not what the clock says.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NSEC	    1000000000ull
#define MAX_THREADS 1024
#define SHORT_NS    1000000ull	/* a sleep that is not meant to let others run */
#define LOOK_NS	    1000000ull	/* between two looks at the threads */
#define SHARE	    10		/* of a sleep, what the others must have run */

#define EXPORT __attribute__((visibility("default")))

struct thread {
	pid_t tid;
	uint64_t ran;  /* ns on a processor so far */
	uint64_t last; /* the same, at the last look */
	bool idle;     /* it slept from one look to the next */
};

struct threads {
	unsigned n;
	struct thread t[MAX_THREADS];
};

static void *real(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (!p) {
		fprintf(stderr, "patient: no %s\n", name);
		abort();
	}
	return p;
}

static void nap(uint64_t ns)
{
	struct timespec ts = {.tv_sec = (time_t)(ns / NSEC), .tv_nsec = (long)(ns % NSEC)};

	syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, NULL);
}

/* CPU time of any thread of this process (the kernel's numbering of clocks, posix-timers.h). */
static uint64_t ran(pid_t tid)
{
	struct timespec ts;

	if (clock_gettime((clockid_t)(~(unsigned)tid << 3 | 6), &ts))
		return 0;
	return (uint64_t)ts.tv_sec * NSEC + (uint64_t)ts.tv_nsec;
}

/* The letter after the name, which is in parentheses and may hold any. */
static bool asleep(pid_t tid)
{
	char path[64], line[256], *p = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "re");
	if (!f)
		return true; /* gone */
	if (fgets(line, sizeof(line), f))
		p = strrchr(line, ')');
	fclose(f);
	return !p || p[2] != 'R';
}

static void look(struct threads *all)
{
	DIR *d = opendir("/proc/self/task");
	pid_t self = (pid_t)syscall(SYS_gettid);
	struct dirent *e;

	all->n = 0;
	while (d && (e = readdir(d)) && all->n < MAX_THREADS) {
		pid_t tid = (pid_t)atoi(e->d_name);

		if (tid > 0 && tid != self) {
			uint64_t now = ran(tid);

			all->t[all->n++] = (struct thread){tid, now, now, false};
		}
	}
	if (d)
		closedir(d);
}

/* Has every thread run for `ns` since `before`, or slept from one look to the next? One that is merely
 * found asleep may wait for a lock, in the middle of what it is to get done. */
static bool had_their_turn(struct threads *before, uint64_t ns)
{
	bool all = true;

	for (unsigned i = 0; i < before->n; i++) {
		struct thread *t = &before->t[i];
		uint64_t now = ran(t->tid);

		t->idle |= now == t->last && asleep(t->tid);
		t->last = now;
		all &= t->idle || now - t->ran >= ns;
	}
	return all;
}

/* Sleep, and then for as long as another thread has waited for a processor all the time. */
static void sleep_patiently(uint64_t ns)
{
	struct threads *before = ns < SHORT_NS ? NULL : malloc(sizeof(*before));

	if (before)
		look(before);
	nap(ns);
	while (before && !had_their_turn(before, ns / SHARE))
		nap(LOOK_NS);
	free(before);
}

EXPORT int usleep(useconds_t us)
{
	sleep_patiently(us * 1000ull);
	return 0;
}

EXPORT unsigned sleep(unsigned s)
{
	sleep_patiently(s * NSEC);
	return 0;
}

/* The deadline passed: for the threads that might have posted, too? */
EXPORT int sem_timedwait(sem_t *sem, const struct timespec *deadline)
{
	int (*wait)(sem_t *, const struct timespec *) = real("sem_timedwait");
	struct threads *before = NULL;
	struct timespec now;
	int64_t ns;
	int r;

	clock_gettime(CLOCK_REALTIME, &now);
	ns = (deadline->tv_sec - now.tv_sec) * (int64_t)NSEC + deadline->tv_nsec - now.tv_nsec;
	if (ns > 0)
		before = malloc(sizeof(*before));
	if (before)
		look(before);
	r = wait(sem, deadline);
	while (r && errno == ETIMEDOUT && before && !had_their_turn(before, (uint64_t)ns)) {
		nap(LOOK_NS);
		r = sem_trywait(sem);
		if (r && errno == EAGAIN)
			errno = ETIMEDOUT;
	}
	free(before);
	return r;
}

/* In CPU time of the process, of which the thread that spins and the one it waits for have half each. */
EXPORT unsigned alarm(unsigned s)
{
	static timer_t timer;
	static pid_t made_by; /* a child has none of its parent's */
	struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	struct itimerspec t = {.it_value.tv_sec = 2 * (time_t)s}, left = {0};

	if (made_by != getpid() && timer_create(CLOCK_PROCESS_CPUTIME_ID, &e, &timer))
		return 0;
	made_by = getpid();
	timer_settime(timer, 0, &t, &left);
	return (unsigned)(left.it_value.tv_sec + 1) / 2;
}
