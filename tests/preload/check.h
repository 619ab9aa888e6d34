/* SPDX-License-Identifier: MIT */
/*
 * check.h: each case runs in a process of its own, so that it finds the library asleep and may
 * die of a signal.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../hang.h"

#define CHECK(c)                                                                               \
	do {                                                                                   \
		if (!(c)) {                                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #c);        \
			_exit(1);                                                              \
		}                                                                              \
	} while (0)

#define CHECK_ERRNO(call, e)                                                                   \
	do {                                                                                   \
		errno = 0;                                                                     \
		CHECK((long)(call) == -1);                                                     \
		CHECK(errno == (e));                                                           \
	} while (0)

struct check_case {
	const char *name;
	void (*run)(void);
	int dies_of; /* signal, or 0 */
};

static inline int check_all(const struct check_case *c, size_t n)
{
	int failed = 0;

	for (size_t i = 0; i < n; i++) {
		int status, ok;
		pid_t pid;

		fflush(NULL);
		pid = fork();
		if (pid == 0) {
			alarm(hang_limit(25));
			c[i].run();
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid)
			abort();
		ok = c[i].dies_of ? WIFSIGNALED(status) && WTERMSIG(status) == c[i].dies_of
				  : WIFEXITED(status) && WEXITSTATUS(status) == 0;
		printf("%s %s\n", ok ? "ok    " : "FAILED", c[i].name);
		if (!ok)
			printf("       wait status %#x\n", status);
		failed += !ok;
	}
	return failed != 0;
}

#endif
