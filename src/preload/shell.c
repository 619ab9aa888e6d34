/* SPDX-License-Identifier: MIT */
/*
 * preload/shell.c: system() and popen(), which hand libc's own `environ` to their child. Where
 * that does not name this library, after a clearenv() say, the child would start without it; and
 * where the program ignores what we handle, it has to be told.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "preload/preload.h"
#include "preload/real.h"

/* The hook, which tells a shell that loads no library. */
int __real_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);

/* ------------------------------------------------------------------ system() */

/* INT and QUIT are ignored while any thread waits for a shell, as POSIX has it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int waiting; /* guarded by lock, and so the next */
static struct sigaction old_int, old_quit;

static void ignore_keys(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	pthread_mutex_lock(&lock);
	if (!waiting++) {
		action_of_vmm(SIGINT, &ignore, &old_int);
		action_of_vmm(SIGQUIT, &ignore, &old_quit);
	}
	pthread_mutex_unlock(&lock);
}

static void heed_keys(void)
{
	pthread_mutex_lock(&lock);
	if (!--waiting) {
		action_of_vmm(SIGINT, &old_int, NULL);
		action_of_vmm(SIGQUIT, &old_quit, NULL);
	}
	pthread_mutex_unlock(&lock);
}

struct shell {
	pid_t pid;
	sigset_t mask; /* the caller's */
};

/* The waiting thread is cancelled: its shell goes with it. */
static void end_shell(void *arg)
{
	struct shell *s = arg;

	kill(s->pid, SIGKILL);
	while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	heed_keys();
	sigprocmask(SIG_SETMASK, &s->mask, NULL);
}

static int start_shell(struct shell *s, const char *command)
{
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)"--", (char *)command, NULL};
	posix_spawnattr_t attr;
	sigset_t reset;
	int r;

	sigemptyset(&reset);
	if (old_int.sa_handler != SIG_IGN)
		sigaddset(&reset, SIGINT);
	if (old_quit.sa_handler != SIG_IGN)
		sigaddset(&reset, SIGQUIT);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &s->mask);
	posix_spawnattr_setsigdefault(&attr, &reset);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	r = __real_posix_spawn(&s->pid, "/bin/sh", NULL, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	return r;
}

static int wait_for_shell(struct shell *s)
{
	int status = -1, r;

	pthread_cleanup_push(end_shell, s);
	do {
		r = waitpid(s->pid, &status, 0);
	} while (r < 0 && errno == EINTR);
	pthread_cleanup_pop(0);
	return r == s->pid ? status : -1;
}

static int run_shell(const char *command)
{
	struct shell s;
	sigset_t chld;
	int r, status;

	ignore_keys();
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &s.mask);
	r = start_shell(&s, command);
	status = r ? W_EXITCODE(127, 0) : wait_for_shell(&s);
	heed_keys();
	sigprocmask(SIG_SETMASK, &s.mask, NULL);
	if (r)
		errno = r;
	return status;
}

EXPORT int system(const char *command)
{
	if (!environment_room(environ, dispositions_ignored()))
		return REAL(system)(command);
	return command ? run_shell(command) : run_shell("exit 0") == 0;
}

/* ------------------------------------------------------------------ popen() */

/*
 * libc keeps a list of what popen() opened, so it stays libc's. Our name is in the environment
 * while it starts the child. Pages of its own, from the kernel: a signal's handler may come in, and
 * a setenv() meanwhile makes a copy that goes on using the text.
 */
static pthread_mutex_t popen_lock = PTHREAD_MUTEX_INITIALIZER;

static FILE *open_with_us(const char *command, const char *type, u64 ignored, size_t room)
{
	char **before = environ, **with_us;
	long at = raw6(SYS_mmap, 0, (long)room, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FILE *f;

	if (at < 0 && at >= -4095) {
		errno = (int)-at;
		return NULL;
	}
	with_us = environment_with_us(before, ignored, (void *)at);
	environ = with_us;
	f = REAL(popen)(command, type);
	if (environ == with_us) {
		environ = before;
		raw2(SYS_munmap, at, room);
	}
	return f;
}

EXPORT FILE *popen(const char *command, const char *type)
{
	u64 ignored = dispositions_ignored();
	size_t room = environment_room(environ, ignored);
	FILE *f;

	if (!room)
		return REAL(popen)(command, type);
	pthread_mutex_lock(&popen_lock);
	f = open_with_us(command, type, ignored, room);
	pthread_mutex_unlock(&popen_lock);
	return f;
}
