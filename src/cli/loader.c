/* SPDX-License-Identifier: MIT */
/* cli/loader.c: becoming a program that the loader runs, of which no filter is in force yet. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "cli/cli.h"
#include "preload/target.h"

static unsigned long long blocked_signals(void)
{
	unsigned long long mask = 0;

	syscall(SYS_rt_sigprocmask, 0, NULL, &mask, sizeof(mask));
	return mask;
}

int loader_become(const char *loader, const char *path, char **argv)
{
	const char *front[TARGET_ARGUMENTS];
	char word[TARGET_WORD_MAX];
	size_t n = 0, argc = 0;
	struct target t;
	const char **out;
	int r = target_open(AT_FDCWD, path, 0, &t);

	if (r)
		return r;
	while (argv[argc])
		argc++;
	out = calloc(argc + TARGET_ARGUMENTS + 3, sizeof(*out));
	if (!out)
		return -ENOMEM;
	snprintf(word, sizeof(word), "%d,%llx,%s", t.fd, blocked_signals(), path);
	out[n++] = TARGET_LOADER_START;
	out[n++] = word;
	argc = target_arguments(&t, front);
	memcpy(out + n, front, argc * sizeof(*front));
	n += argc;
	for (argv += argc > 0; *argv; argv++)
		out[n++] = *argv;
	fcntl(t.fd, F_SETFD, 0);
	execv(loader, (char **)out);
	r = -errno;
	free(out);
	close(t.fd);
	return r;
}
