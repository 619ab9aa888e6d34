/* SPDX-License-Identifier: MIT */
/* cli/library.c: the library that `run` preloads. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"

/* Relative to the directory of this executable: the build tree, then the installed place. */
static const char *const library_places[] = {
	"../libuserkvm.so",
	LIBRARY_FROM_BINDIR "/libuserkvm.so",
};
static const char *const loader_places[] = {
	"../loader/userkvm-loader",
	LIBRARY_FROM_BINDIR "/userkvm-loader",
};
#define PLACES 2

static int find(const char *const *places, int mode, char *path, size_t size)
{
	char self[PATH_MAX], candidate[2 * PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return -ENOENT;
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	for (size_t i = 0; i < PLACES; i++) {
		char real[PATH_MAX];

		snprintf(candidate, sizeof(candidate), "%s/%s", self, places[i]);
		if (!realpath(candidate, real) || access(real, mode))
			continue;
		if (snprintf(path, size, "%s", real) < (int)size)
			return 0;
	}
	return -ENOENT;
}

int library_find(char *path, size_t size)
{
	return find(library_places, R_OK, path, size);
}

int loader_find(char *path, size_t size)
{
	return find(loader_places, X_OK, path, size);
}

void library_drop(void)
{
	const char *list = getenv("LD_PRELOAD");
	char path[PATH_MAX];
	size_t n;

	if (!list || library_find(path, sizeof(path)))
		return;
	n = strlen(path);
	if (strncmp(list, path, n) || (list[n] && !strchr(": ", list[n])))
		return;
	if (list[n])
		setenv("LD_PRELOAD", list + n + 1, 1);
	else
		unsetenv("LD_PRELOAD");
}

int library_preload(const char *path)
{
	const char *old = getenv("LD_PRELOAD");
	char *list;
	int r;

	if (strpbrk(path, " :"))
		return -EINVAL;
	if (!old || !*old)
		return setenv("LD_PRELOAD", path, 1) ? -errno : 0;
	if (!strncmp(old, path, strlen(path)) && strchr(": ", old[strlen(path)]))
		return 0; /* run inside run */
	if (asprintf(&list, "%s:%s", path, old) < 0)
		return -ENOMEM;
	r = setenv("LD_PRELOAD", list, 1) ? -errno : 0;
	free(list);
	return r;
}
