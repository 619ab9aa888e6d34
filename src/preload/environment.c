/* SPDX-License-Identifier: MIT */
/*
 * preload/environment.c: a child's environment, in which LD_PRELOAD names this library even
 * when the VMM made the environment from scratch.
 *
 * Runs in vfork children: no allocation, no locks. A static or setuid target ignores the
 * variable.
 */
#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include "preload/preload.h"

#define VARIABLE "LD_PRELOAD="

static char own_path[PATH_MAX]; /* empty: we were not preloaded, and children are not either */

static bool list_holds(const char *list, const char *path)
{
	size_t n = strlen(path);

	while (*list) {
		size_t len = strcspn(list, ": ");

		if (len == n && !memcmp(list, path, n))
			return true;
		list += len;
		list += *list != '\0';
	}
	return false;
}

/* Our name as LD_PRELOAD has it, so that what we put back is what was there. */
void environment_init(void)
{
	const char *list = getenv("LD_PRELOAD");
	Dl_info info;

	if (!list || !dladdr(own_path, &info) || strlen(info.dli_fname) >= sizeof(own_path) ||
	    !list_holds(list, info.dli_fname))
		return;
	strcpy(own_path, info.dli_fname);
}

static int find_variable(char *const envp[])
{
	for (int i = 0; envp[i]; i++) {
		if (!strncmp(envp[i], VARIABLE, strlen(VARIABLE)))
			return i;
	}
	return -1;
}

static size_t count(char *const envp[])
{
	size_t n = 0;

	while (envp[n])
		n++;
	return n;
}

size_t environment_room(char *const envp[])
{
	static char *const none[] = {NULL};
	int i;

	if (!own_path[0])
		return 0;
	if (!envp)
		envp = none;
	i = find_variable(envp);
	if (i >= 0 && list_holds(envp[i] + strlen(VARIABLE), own_path))
		return 0;
	/* pointers with one more and the end, then the string: ours, a colon, what was there */
	return (count(envp) + 2) * sizeof(char *) + strlen(VARIABLE) + strlen(own_path) + 2 +
	       (i >= 0 ? strlen(envp[i]) : 0);
}

char **environment_with_us(char *const envp[], void *room)
{
	static char *const none[] = {NULL};
	char **out = room, *text;
	size_t n;
	int i;

	if (!envp)
		envp = none;
	n = count(envp);
	i = find_variable(envp);
	text = (char *)(out + n + 2);
	strcpy(text, VARIABLE);
	strcat(text, own_path);
	if (i >= 0 && envp[i][strlen(VARIABLE)]) {
		strcat(text, ":");
		strcat(text, envp[i] + strlen(VARIABLE));
	}
	memcpy(out, envp, n * sizeof(char *));
	if (i < 0)
		i = (int)n++;
	out[i] = text;
	out[n] = NULL;
	return out;
}
