/* SPDX-License-Identifier: MIT */
/* Children and new programs have /dev/kvm too, whatever environment they were given. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include "check.h"
#include "fake.h"

static char self[4096];

/* What the new program says: 0 when it has /dev/kvm. */
static int as_child(int argc, char **argv)
{
	struct sigaction a;
	int fd;

	if (argc != 3 || strcmp(argv[2], "argument"))
		return 2;
	if (!strcmp(argv[1], "ignored") &&
	    (sigaction(SIGSEGV, NULL, &a) || a.sa_handler != SIG_IGN))
		return 3;
	fd = open("/dev/kvm", O_RDWR);
	return fd >= 0 && ioctl(fd, FAKE_API_VERSION, 0) == 12 ? 0 : 1;
}

static char *const args[] = {self, "child", "argument", NULL};
static char *const empty[] = {NULL};
static char *const other[] = {"A=b", "LD_PRELOAD=", "C=d", NULL};

/* In a child, since exec does not return. */
#define EXEC(call)                                                                             \
	do {                                                                                   \
		int status_;                                                                   \
		pid_t pid_ = fork();                                                           \
                                                                                               \
		if (pid_ == 0) {                                                               \
			call;                                                                  \
			_exit(99);                                                             \
		}                                                                              \
		CHECK(waitpid(pid_, &status_, 0) == pid_);                                     \
		CHECK(WIFEXITED(status_) && WEXITSTATUS(status_) == 0);                        \
	} while (0)

static void every_exec(void)
{
	EXEC(execv(self, args));
	EXEC(execve(self, args, environ));
	EXEC(execve(self, args, empty));
	EXEC(execve(self, args, other));
	EXEC(execvpe(self, args, empty));
	EXEC(execl(self, self, "child", "argument", NULL));
	EXEC(execlp(self, self, "child", "argument", NULL));
	EXEC(execle(self, self, "child", "argument", NULL, empty));
	EXEC(fexecve(open(self, O_RDONLY), args, empty));
	EXEC(execveat(AT_FDCWD, self, args, empty, 0));
	EXEC(clearenv(); execv(self, args));
	EXEC(clearenv(); execvp(self, args));
	EXEC(execl("/bin/sh", "sh", "-c", "exec \"$0\" child argument", self, NULL));
	EXEC(execl("/usr/bin/env", "env", "-i", self, "child", "argument", NULL));
}

static void spawn(void)
{
	int status;
	pid_t pid;

	CHECK(posix_spawn(&pid, self, NULL, NULL, args, empty) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(posix_spawnp(&pid, self, NULL, NULL, args, other) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	pid = vfork();
	if (pid == 0) {
		execve(self, args, empty);
		_exit(99);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void ignored_signals_stay_ignored(void)
{
	CHECK(open("/dev/kvm", O_RDWR) >= 0);
	signal(SIGSEGV, SIG_IGN);
	CHECK_ERRNO(execl("/nonexistent", "x", NULL), ENOENT);
	EXEC(execl(self, self, "ignored", "argument", NULL));
}

static void vfork_child_closes(void)
{
	int fd = open("/dev/kvm", O_RDWR), status;
	pid_t pid = vfork();

	if (pid == 0) {
		close(fd);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(ioctl(fd, FAKE_API_VERSION, 0) == 12);
}

static int in_clone(void *fd)
{
	_exit(ioctl((int)(long)fd, FAKE_API_VERSION, 0) == 12 ? 0 : 1);
}

static void other_forks(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	int fd = open("/dev/kvm", O_RDWR), status;
	struct fake_record r;
	pid_t pid;

	CHECK(ioctl(fd, FAKE_RECORD, &r) == 0);
	pid = _Fork();
	if (pid == 0)
		_exit(0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	pid = clone(in_clone, stack + sizeof(stack), SIGCHLD, (void *)(long)fd);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(ioctl(fd, FAKE_RECORD, &r) == 0);
	CHECK(r.fork_begun == 2 && r.fork_parent == 2);
}

static void *sleeps(void *type)
{
	pthread_setcanceltype((int)(long)type, NULL);
	for (;;)
		pause();
	return NULL;
}

static pthread_t sleeper(int type)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, sleeps, (void *)(long)type) == 0);
	return t;
}

/* The child has none of its parent's threads, and new ones where they were. */
static void child_cancels(void)
{
	pthread_t parents = sleeper(PTHREAD_CANCEL_ASYNCHRONOUS), t[2];
	int status;
	pid_t pid;

	usleep(50000);
	pid = fork();
	if (pid == 0) {
		alarm(hang_limit(25));
		t[0] = sleeper(PTHREAD_CANCEL_ASYNCHRONOUS);
		t[1] = sleeper(PTHREAD_CANCEL_DEFERRED);
		usleep(50000);
		for (int i = 1; i >= 0; i--)
			CHECK(pthread_cancel(t[i]) == 0 && pthread_join(t[i], NULL) == 0);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(pthread_cancel(parents) == 0 && pthread_join(parents, NULL) == 0);
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		{"every exec", every_exec},
		{"posix_spawn and vfork", spawn},
		{"a child cancels threads of its own", child_cancels},
		{"ignored signals stay ignored across exec", ignored_signals_stay_ignored},
		{"a vfork child closes its own descriptor", vfork_child_closes},
		{"_Fork and clone", other_forks},
	};

	if (argc > 1)
		return as_child(argc, argv);
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	return check_all(cases, sizeof(cases) / sizeof(cases[0]));
}
