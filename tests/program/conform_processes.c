/* SPDX-License-Identifier: MIT */
/* conform: processes and threads. */
#include "conform.h"
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* What a child says of the signals it was given. */
#define SHOW "grep -E 'Sig(Blk|Ign)|ShdPnd' /proc/self/status | tr -d '\\n\\t'"

static char *const shell[] = {"sh", "-c", SHOW, NULL};

static char *const grep[] = {"grep", "-E", "Sig(Blk|Ign)|ShdPnd", "/proc/self/status", NULL};
static char *const none[] = {NULL};

static void set_up_signals(void)
{
	sigset_t set;

	signal(SIGUSR1, SIG_IGN);
	signal(SIGTRAP, SIG_IGN);
	signal(SIGFPE, SIG_IGN);
	signal(SIGRTMIN + 2, SIG_IGN);
	set_handler(SIGUSR2, count_signal, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static int in_clone(void *arg)
{
	execv("/bin/sh", shell);
	return 9;
}

static pid_t start(long how)
{
	static char stack[65536];
	posix_spawnattr_t attr;
	sigset_t set;
	pid_t pid = -1;

	switch (how) {
	case 0:
		pid = fork();
		if (pid == 0)
			execv("/bin/sh", shell);
		break;
	case 1:
		pid = vfork();
		if (pid == 0) {
			execve("/bin/sh", shell, environ);
			_exit(9);
		}
		break;
	case 2:
		pid = clone(in_clone, stack + sizeof(stack), SIGCHLD, NULL);
		break;
	case 3:
		pid = clone(in_clone, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD,
			    NULL);
		break;
	case 4:
		posix_spawn(&pid, "/bin/sh", NULL, NULL, shell, environ);
		break;
	case 5:
		posix_spawnattr_init(&attr);
		sigemptyset(&set);
		sigaddset(&set, SIGTERM);
		posix_spawnattr_setsigmask(&attr, &set);
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		sigaddset(&set, SIGTRAP);
		posix_spawnattr_setsigdefault(&attr, &set);
		posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
		posix_spawnp(&pid, "sh", NULL, &attr, shell, environ);
		break;
	case 6:
		pid = fork();
		if (pid == 0)
			execvp("sh", shell);
		break;
	case 7:
		pid = fork();
		if (pid == 0)
			fexecve(open("/bin/sh", O_RDONLY | O_CLOEXEC), shell, environ);
		break;
	case 8:
		pid = fork();
		if (pid == 0)
			execveat(AT_FDCWD, "/bin/sh", shell, environ, 0);
		break;
	case 9:
		pid = _Fork();
		if (pid == 0)
			execl("/bin/sh", "sh", "-c", SHOW, NULL);
		break;
	case 10: /* a child that shares our memory, and sets a disposition of its own */
		pid = vfork();
		if (pid == 0) {
			signal(SIGTRAP, SIG_DFL);
			execve("/bin/sh", shell, environ);
			_exit(9);
		}
		break;
	case 11: /* with nothing in its environment */
		posix_spawn(&pid, "/bin/grep", NULL, NULL, grep, none);
		break;
	}
	return pid;
}

static void child_signals(long how)
{
	set_up_signals();
	fflush(stdout);
	SAY(" %ld", ended(start(how)));
	say_mask();
}

static void shells(long how)
{
	char line[256] = "";
	FILE *f;

	set_up_signals();
	if (how & 1)
		clearenv();
	if (how & 2) {
		f = popen("/bin/grep -E 'Sig(Blk|Ign)' /proc/self/status", "r");
		while (f && fgets(line, sizeof(line), f))
			SAY(" %.*s", (int)strcspn(line, "\n"), line);
		SAY_CALL(f ? pclose(f) : -1);
	} else {
		fflush(stdout);
		SAY_CALL(system("PATH=/bin:/usr/bin; exec " SHOW));
		SAY_CALL(system("exit 5"));
		SAY_CALL(system("kill -15 $$"));
		SAY_CALL(system("/does/not/exist 2>/dev/null"));
		SAY_CALL(system(NULL));
	}
	SAY(" env %d", environ && environ[0]);
	say_mask();
}

static void failed_exec(long arg)
{
	char *const args[] = {"x", NULL};
	pid_t pid;

	signal(SIGUSR1, SIG_IGN);
	SAY_CALL(execv("/does/not/exist", args));
	SAY_CALL(execvp("does-not-exist-either", args));
	SAY_CALL(execve("/etc/passwd", args, environ));
	SAY_CALL(execl("/", "x", NULL));
	SAY(" %d", signal(SIGUSR1, SIG_DFL) == SIG_IGN);
	SAY(" %d", posix_spawn(&pid, "/does/not/exist", NULL, NULL, args, environ));
	SAY(" %d", posix_spawnp(&pid, "does-not-exist-either", NULL, NULL, args, environ));
}

static volatile int seen;

static void *thread(void *how)
{
	switch ((long)how) {
	case 0:
		return (void *)5;
	case 1:
		pthread_exit((void *)6);
	case 2:
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
		for (;;)
			seen++;
	case 3:
		for (;;)
			pause();
	case 4:
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		sleep_ms(100);
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
		seen = 1;
		pthread_testcancel();
		return (void *)7;
	}
	return NULL;
}

static void threads(long how)
{
	pthread_t t;
	void *result;

	SAY_CALL(-pthread_create(&t, NULL, thread, (void *)how));
	sleep_ms(20);
	if (how >= 2)
		SAY_CALL(-pthread_cancel(t));
	SAY_CALL(-pthread_join(t, &result));
	SAY(" %ld", (long)result);
}

static void *takes_signals(void *arg)
{
	sigset_t none;

	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	while (!counted)
		sleep_ms(1);
	return (void *)(long)last_signal;
}

static void to_a_thread(long how)
{
	sigset_t all;
	pthread_t t;
	void *result;

	set_handler(SIGUSR1, count_signal, 0);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	pthread_create(&t, NULL, takes_signals, NULL);
	sleep_ms(20);
	SAY_CALL(how ? pthread_kill(t, SIGUSR1) : kill(getpid(), SIGUSR1));
	pthread_join(t, &result);
	SAY(" %ld %d", (long)result, counted);
}

static void ids(long arg)
{
	SAY_CALL(setgid(65534));
	SAY_CALL(setuid(65534));
	SAY_CALL(setuid(0));
	SAY(" %d %d", getuid(), getegid());
}

static void own_namespace(long flags)
{
	SAY_CALL(unshare((int)flags));
}

static void stops(long arg)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		raise(SIGSTOP);
		_exit(4);
	}
	SAY_CALL(waitpid(pid, &status, WUNTRACED) == pid);
	SAY(" %d", WIFSTOPPED(status) ? WSTOPSIG(status) : -1);
	SAY_CALL(kill(pid, SIGCONT));
	SAY(" %ld", ended(pid));
}

static void ways_to_end(long how)
{
	switch (how) {
	case 0:
		abort();
	case 1:
		exit(3);
	case 2:
		pthread_exit(NULL);
	case 3:
		syscall(SYS_exit_group, 6);
		break;
	case 4:
		prctl(PR_SET_DUMPABLE, 0);
		kill(getpid(), SIGKILL);
	}
}

const struct check process_checks[] = {
	{"child", child_signals, 0},  {"child", child_signals, 1}, {"child", child_signals, 2},
	{"child", child_signals, 3},  {"child", child_signals, 4}, {"child", child_signals, 5},
	{"child", child_signals, 6},  {"child", child_signals, 7}, {"child", child_signals, 8},
	{"child", child_signals, 9},  {"child", child_signals, 10}, {"child", child_signals, 11},
	{"shell", shells, 0},	   {"shell", shells, 1},
	{"shell", shells, 2},	      {"shell", shells, 3},	   {"failed exec", failed_exec},
	{"thread", threads, 0},	      {"thread", threads, 1},	   {"thread", threads, 2},
	{"thread", threads, 3},	      {"thread", threads, 4},	   {"to a thread", to_a_thread, 0},
	{"to a thread", to_a_thread, 1}, {"ids", ids},
	{"unshare", own_namespace, CLONE_FILES}, {"unshare", own_namespace, CLONE_FS},
	{"stop", stops},	      {"ends", ways_to_end, 0},	   {"ends", ways_to_end, 1},
	{"ends", ways_to_end, 2},     {"ends", ways_to_end, 3},	   {"ends", ways_to_end, 4},
	{NULL},
};
