/* SPDX-License-Identifier: MIT */
/*
 * cli/enable_checks.c: what keeps a whole machine from having the library loaded into its programs. A
 * mistake here would be met by every program that is started from then on, so they are tried first.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/enable.h"

#define SHELL  "/bin/sh"
#define NOBODY 65534
#define TRIAL  65533 /* an id that nobody has */

/* Dynamic linkers of glibc for other machines: each would say at every start that it cannot load ours. */
static const char *const other_linkers[] = {"/lib/ld-linux.so.2", "/lib32/ld-linux.so.2",
					    "/libx32/ld-linux-x32.so.2"};

int check_owned(const char *path)
{
	char part[PATH_MAX];
	size_t n = strlen(path);
	struct stat st;

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return enable_refuse("%s: the path is too long", path);
	for (size_t i = n; i; i--) {
		if (i < n && path[i] != '/')
			continue;
		part[i] = '\0';
		if (stat(part, &st))
			return enable_refuse("%s: %s", part, strerror(errno));
		if (st.st_uid || (st.st_mode & 022))
			return enable_refuse("%s can be changed by others than root, and every program "
					     "would load what lies there; install userkvm where only root "
					     "writes",
					     part);
	}
	return 0;
}

int check_all_programs(void)
{
	static struct target_verdict v; /* large */
	struct stat st;

	for (size_t i = 0; i < sizeof(other_linkers) / sizeof(*other_linkers); i++) {
		if (access(other_linkers[i], F_OK) == 0)
			return enable_refuse("32-bit programs are installed (%s), and each would complain "
					     "of a library that it cannot load; enable services instead "
					     "(--service)",
					     other_linkers[i]);
	}
	target_judge(SHELL, &v);
	if (v.way != WAY_PRELOAD)
		return enable_refuse("%s %s; nothing here reads %s", SHELL, v.why, PRELOAD_FILE);
	if (lstat(PRELOAD_FILE, &st) == 0 && !S_ISREG(st.st_mode))
		return enable_refuse("%s is not a file", PRELOAD_FILE);
	return 0;
}

/* ------------------------------------------------------------------ a trial */

/* In the child: a program with what it would say, which is nothing. */
static void become(const char *library, const char *program, uid_t user, int out)
{
	char *argv[] = {(char *)program, (char *)"-c", (char *)":", NULL};
	char variable[PATH_MAX + 16];
	char *envp[] = {library ? variable : NULL, NULL};

	snprintf(variable, sizeof(variable), "LD_PRELOAD=%s", library ? library : "");
	if (dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0 ||
	    (user && (setgroups(0, NULL) || setgid(user) || setuid(user))))
		_exit(CLI_FAILED);
	execve(program, argv, envp);
	_exit(CLI_FAILED);
}

/* 0: it ran and was silent. */
static int run(const char *library, const char *program, uid_t user, const char *what)
{
	char said[512];
	int pipes[2], status = -1;
	size_t got = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC))
		return enable_refuse("no pipe: %s", strerror(errno));
	pid = fork();
	if (!pid)
		become(library, program, user, pipes[1]);
	close(pipes[1]);
	while (pid > 0 && got < sizeof(said) - 1 &&
	       (n = read(pipes[0], said + got, sizeof(said) - 1 - got)) > 0)
		got += (size_t)n;
	close(pipes[0]);
	said[got] = '\0';
	said[strcspn(said, "\n")] = '\0';
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return enable_refuse("no child: %s", strerror(errno));
	if (status || got)
		return enable_refuse("%s does not run with the library: %s", what,
				     got ? said : "it ends with an error and says nothing");
	return 0;
}

/* One that is setuid, though for nobody, and in a directory that nobody else can search. */
static int run_setuid(void)
{
	char dir[] = "/tmp/userkvm-trial-XXXXXX", copy[64] = "", buffer[65536];
	int in = open(SHELL, O_RDONLY | O_CLOEXEC), out = -1, r;
	ssize_t n = 0;

	if (mkdtemp(dir) && chown(dir, 0, TRIAL) == 0 && chmod(dir, 0710) == 0) {
		snprintf(copy, sizeof(copy), "%s/sh", dir);
		out = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	}
	while (out >= 0 && (n = read(in, buffer, sizeof(buffer))) > 0 &&
	       write(out, buffer, (size_t)n) == n)
		;
	if (out < 0 || n || fchown(out, NOBODY, TRIAL) || fchmod(out, 04750) || close(out))
		r = enable_refuse("%s: %s", dir, strerror(errno));
	else
		r = run(NULL, copy, TRIAL, "a setuid program");
	unlink(copy);
	rmdir(dir);
	if (in >= 0)
		close(in);
	return r;
}

int check_trial(const char *library)
{
	int r = run(library, SHELL, 0, "a program of root's");

	if (!r)
		r = run(library, SHELL, NOBODY, "another user's program");
	if (!r && !library)
		r = run_setuid();
	return r;
}
