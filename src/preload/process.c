/* SPDX-License-Identifier: MIT */
/*
 * preload/process.c: new processes and new programs.
 *
 * fork() needs no hook: pthread_atfork() (main.c) also sees the forks libc makes itself.
 * vfork() cannot have one, since it returns twice on one stack; its child shares our memory and
 * is told by its pid. What is left here are the forks without handlers, and exec, which carries
 * userkvm into the child.
 */
#include <stdarg.h>
#include "base/thread.h"
#include "preload/outside.h"
#include "preload/preload.h"
#include "preload/real.h"
#include "vm/keeper.h"

static void end_in_parent(void)
{
	int e = errno;

	preload_after_fork_parent();
	errno = e;
}

EXPORT pid_t _Fork(void)
{
	bool tell = armed();
	pid_t pid;

	if (tell)
		preload_before_fork();
	pid = REAL(_Fork)();
	if (tell && pid)
		end_in_parent();
	else if (tell)
		preload_after_fork_child();
	return pid;
}

struct in_child {
	int (*fn)(void *);
	void *arg;
};

/* The child has its own copy of the parent's stack, where its start still stands. */
static int in_child(void *start)
{
	struct in_child s = *(struct in_child *)start;

	preload_after_fork_child();
	return s.fn(s.arg);
}

EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	bool copies = armed() && !(flags & CLONE_VM);
	void *tls, *parent_tid, *child_tid;
	struct in_child start = {fn, arg};
	va_list ap;
	int r;

	va_start(ap, arg);
	parent_tid = va_arg(ap, void *);
	tls = va_arg(ap, void *);
	child_tid = va_arg(ap, void *);
	va_end(ap);
	if (!copies)
		return REAL(clone)(fn, stack, flags, arg, parent_tid, tls, child_tid);
	preload_before_fork();
	r = REAL(clone)(in_child, stack, flags, &start, parent_tid, tls, child_tid);
	end_in_parent();
	return r;
}

/* ------------------------------------------------------------------ threads */

/*
 * A thread made while our code runs is a helper of ours or of a library below us. None of the
 * VMM's signals may be delivered to it.
 */
int thread_create_helper(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			 void *arg)
{
	u64 helpers = mask_of_helpers(), before;
	struct helper h;
	int r;

	raw4(SYS_rt_sigprocmask, SIG_SETMASK, &helpers, &before, 8);
	if (attr) {
		r = REAL(pthread_create)(thread, attr, fn, arg);
	} else {
		/* A library's below us, which lives as long as the process: its stack is ours. */
		r = thread_create_on_own_stack(&h, REAL(pthread_create), fn, arg);
		if (!r)
			*thread = h.thread;
	}
	raw4(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
	return r;
}

EXPORT int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attr,
			  void *(*fn)(void *), void *restrict arg)
{
	u64 outer;

	if (mask_outer(&outer))
		return thread_create_helper(thread, attr, fn, arg);
	return REAL(pthread_create)(thread, attr, fn, arg);
}

/* ------------------------------------------------------------------ exec */

/* A process in which no guest has run, or none of ours: what it ignores the kernel may be told. */
static bool may_ignore_again(void)
{
	return armed() && (!preload_own_process() || !keeper_started());
}

/* An exec: it returns only when it failed. `call` finds the environment in `env`. */
#define EXEC(envp, call)                                                                       \
	({                                                                                     \
		bool child = may_ignore_again();                                               \
		char **env = WITH_US(envp, child ? 0 : dispositions_ignored());                \
		int r_;                                                                        \
                                                                                               \
		if (child)                                                                     \
			dispositions_before_exec();                                            \
		r_ = (int)(call);                                                              \
		if (child)                                                                     \
			dispositions_after_failed_exec();                                      \
		r_;                                                                            \
	})

/* The same of a program for the loader. */
static int exec_outside(struct outside *o, char *const argv[], char *const envp[])
{
	bool child = may_ignore_again();
	long r;

	if (o->refused)
		return (int)raw_errno(-EACCES);
	outside_fill(o, argv, envp, child ? 0 : dispositions_ignored(),
		     alloca(outside_room(argv, envp)));
	if (child)
		dispositions_before_exec();
	r = raw3(SYS_execve, o->loader, o->argv, o->envp);
	if (child)
		dispositions_after_failed_exec();
	if (o->t.fd >= 0)
		raw1(SYS_close, o->t.fd);
	return (int)raw_errno(r);
}

static int exec_path(const char *path, char *const argv[], char *const envp[])
{
	struct outside o;

	if (outside_find(AT_FDCWD, path, 0, true, &o))
		return exec_outside(&o, argv, envp);
	return EXEC(envp, REAL(execve)(path, argv, env));
}

static int exec_search(const char *file, char *const argv[], char *const envp[])
{
	struct outside o;

	if (outside_search(file, true, &o))
		return exec_outside(&o, argv, envp);
	return EXEC(envp, REAL(execvpe)(file, argv, env));
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	return exec_path(path, argv, envp);
}

EXPORT int execv(const char *path, char *const argv[])
{
	return exec_path(path, argv, environ);
}

EXPORT int execvp(const char *file, char *const argv[])
{
	return exec_search(file, argv, environ);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	return exec_search(file, argv, envp);
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	struct outside o;

	if (outside_find(fd, "", AT_EMPTY_PATH, true, &o))
		return exec_outside(&o, argv, envp);
	return EXEC(envp, REAL(fexecve)(fd, argv, env));
}

EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const envp[],
		    int flags)
{
	struct outside o;

	if (outside_find(dirfd, path, flags, true, &o))
		return exec_outside(&o, argv, envp);
	return EXEC(envp, raw_errno(raw5(SYS_execveat, dirfd, path, argv, env, flags)));
}

/* The arguments of execl() and its kin, as a vector on the caller's stack. */
static size_t count_arguments(const char *first, va_list ap)
{
	size_t n = 0;

	for (const char *a = first; a; a = va_arg(ap, const char *))
		n++;
	return n;
}

static char *const *fill_arguments(char **argv, const char *first, va_list *ap)
{
	size_t n = 0;

	for (const char *a = first; a; a = va_arg(*ap, const char *))
		argv[n++] = (char *)a;
	argv[n] = NULL;
	return argv;
}

#define ARGUMENTS(first, ap, argv)                                                             \
	do {                                                                                   \
		va_list count_;                                                                \
                                                                                               \
		va_start(ap, first);                                                           \
		va_copy(count_, ap);                                                           \
		argv = alloca((count_arguments(first, count_) + 1) * sizeof(char *));          \
		va_end(count_);                                                                \
		fill_arguments(argv, first, &ap);                                              \
	} while (0)

EXPORT int execl(const char *path, const char *first, ...)
{
	va_list ap;
	char **argv;

	ARGUMENTS(first, ap, argv);
	va_end(ap);
	return exec_path(path, argv, environ);
}

EXPORT int execlp(const char *file, const char *first, ...)
{
	va_list ap;
	char **argv;

	ARGUMENTS(first, ap, argv);
	va_end(ap);
	return exec_search(file, argv, environ);
}

EXPORT int execle(const char *path, const char *first, ...)
{
	va_list ap;
	char **argv, **envp;

	ARGUMENTS(first, ap, argv);
	envp = va_arg(ap, char **); /* stands behind the null pointer that ends the arguments */
	va_end(ap);
	return exec_path(path, argv, envp);
}

/* But for what the attributes ask to be reset. */
static u64 ignored_by(const posix_spawnattr_t *attr)
{
	u64 set = dispositions_ignored(), reset;
	sigset_t defaults;
	short flags = 0;

	if (!set || !attr || posix_spawnattr_getflags(attr, &flags) ||
	    !(flags & POSIX_SPAWN_SETSIGDEF) || posix_spawnattr_getsigdefault(attr, &defaults))
		return set;
	memcpy(&reset, &defaults, sizeof(reset));
	return set & ~reset;
}

static int spawn_outside(pid_t *pid, struct outside *o, const posix_spawn_file_actions_t *actions,
			 const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	if (o->refused)
		return EACCES;
	outside_fill(o, argv, envp, ignored_by(attr), alloca(outside_room(argv, envp)));
	return REAL(posix_spawn)(pid, o->loader, actions, attr, o->argv, o->envp);
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	struct outside o;

	if (outside_find(AT_FDCWD, path, 0, false, &o))
		return spawn_outside(pid, &o, actions, attr, argv, envp);
	return REAL(posix_spawn)(pid, path, actions, attr, argv, WITH_US(envp, ignored_by(attr)));
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	struct outside o;

	if (outside_search(file, false, &o))
		return spawn_outside(pid, &o, actions, attr, argv, envp);
	return REAL(posix_spawnp)(pid, file, actions, attr, argv, WITH_US(envp, ignored_by(attr)));
}
