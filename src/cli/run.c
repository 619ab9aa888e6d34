/* SPDX-License-Identifier: MIT */
/* cli/run.c: `userkvm run [--] COMMAND...` becomes COMMAND with the library preloaded. */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"

static const char doc[] =
	"Run COMMAND with a /dev/kvm that userkvm carries out, whether or not the machine has "
	"one "
	"and whether or not you may open it. What COMMAND starts inherits it.\v"
	"COMMAND must be an x86-64 program, or a script for one; setuid and setgid programs and "
	"those with file capabilities are refused. A program that is dynamically linked to glibc "
	"has userkvm's library preloaded; of any other (static, musl, Go) the system calls are "
	"trapped. `userkvm doctor COMMAND' says which.\n"
	"\n"
	"Exit status: that of COMMAND; 125 if userkvm itself fails, 126 if COMMAND cannot be "
	"run "
	"under userkvm, 127 if it cannot be found.\n"
	"\n"
	"Example:\n"
	"  userkvm run -- qemu-system-x86_64 -accel kvm -M microvm -kernel vmlinuz -nographic";

#define KEY_NO_HOOKS 256 /* no letter */
#define KEY_ENGINE   257
#define KEY_CONFINE  258
#define KEY_CACHE    259
#define KEY_INTERCEPT 260
#define KEY_PERF_MAP 261
#define KEY_REPORT 262
#define KEY_COUNT  263

/* Bytes that --code-cache may be; cpu/translator/ has the same bounds. */
#define CACHE_LEAST (256ULL << 10)
#define CACHE_MOST  (1ULL << 30)

/* What executes guest code; cpu/engine.c knows them by the same names. */
static const struct {
	const char *name;
	bool takes_number; /* behind a colon */
} engines[] = {{"auto", false}, {"interpreter", false}, {"translator", true}, {"check", true}};

static const struct argp_option options[] = {
	{"engine", KEY_ENGINE, "ENGINE", 0,
	 "What executes guest code: auto (the default: the translator, where the host allows it), "
	 "interpreter, translator, or check: both, one in 64 blocks compared; check:N: one in N",
	 0},
	{"code-cache", KEY_CACHE, "SIZE", 0,
	 "Bytes of translated code a vCPU may have, with K, M or G: 256K to 1G, else 256M, or less where "
	 "there are more than four", 0},
	{"count", KEY_COUNT, NULL, 0,
	 "Count the guest's instructions, for `userkvm stat'. Translated code then is a twentieth slower", 0},
	{"perf-map", KEY_PERF_MAP, "KALLSYMS", OPTION_ARG_OPTIONAL,
	 "Write /tmp/perf-PID.map, by which perf names guest code: by the symbols in KALLSYMS, a copy of the "
	 "guest's /proc/kallsyms, or by pages",
	 0},
	{"report", KEY_REPORT, "DIR", OPTION_ARG_OPTIONAL,
	 "When a guest dies (a triple fault, an instruction that cannot be carried out), write a report to a file "
	 "in DIR, or in the current directory, and say so in a line on standard error",
	 0},
	{"confine", KEY_CONFINE, NULL, 0,
	 "Once the first vCPU runs, let COMMAND start no program, open no socket, and open files only "
	 "to read them",
	 0},
	{"intercept", KEY_INTERCEPT, "HOW", 0,
	 "How COMMAND's calls come to userkvm: auto (the default: by what COMMAND is), preload (its C "
	 "library's functions), or syscalls (its system calls)",
	 0},
	{"no-hooks", KEY_NO_HOOKS, NULL, 0,
	 "A test of userkvm's own: do not look at what COMMAND does to its memory. Guests may then "
	 "see old bytes",
	 0},
	{0},
};

static void take_engine(const char *name, const struct argp_state *state)
{
	for (size_t i = 0; i < sizeof(engines) / sizeof(*engines); i++) {
		size_t n = strlen(engines[i].name);

		if (strncmp(name, engines[i].name, n))
			continue;
		if (name[n] && !(engines[i].takes_number && name[n] == ':' && atoi(name + n + 1) > 0))
			continue;
		setenv("USERKVM_ENGINE", name, 1);
		return;
	}
	argp_error(state, "no such engine: %s", name);
}

/* SIZE is good as it is: the library reads it the same way. */
static void take_cache(const char *size, const struct argp_state *state)
{
	char *unit;
	unsigned long long n = strtoull(size, &unit, 10);

	if (*unit && strchr("KMG", *unit) && !unit[1] && n <= CACHE_MOST)
		n <<= *unit == 'K' ? 10 : *unit == 'M' ? 20 : 30;
	else if (*unit)
		n = 0;
	if (*size < '0' || *size > '9' || n < CACHE_LEAST || n > CACHE_MOST)
		argp_error(state, "--code-cache is from 256K to 1G, not %s", size);
	setenv("USERKVM_CODE_CACHE", size, 1);
}

/* COMMAND may change its directory. */
static void take_perf_map(const char *kallsyms, const struct argp_state *state)
{
	char path[PATH_MAX];

	if (kallsyms && !realpath(kallsyms, path))
		argp_error(state, "%s: %s", kallsyms, strerror(errno));
	setenv("USERKVM_PERF_MAP", kallsyms ? path : "", 1);
}

/* COMMAND may change its directory. */
static void take_report(const char *dir, const struct argp_state *state)
{
	char path[PATH_MAX];

	if (!realpath(dir ? dir : ".", path))
		argp_error(state, "%s: %s", dir ? dir : ".", strerror(errno));
	setenv("USERKVM_REPORT", path, 1);
}

struct request {
	char **command;
	enum target_way way; /* WAY_NONE: by what it is */
};

static void take_intercept(const char *how, struct request *q, const struct argp_state *state)
{
	if (!strcmp(how, "auto"))
		q->way = WAY_NONE;
	else if (!strcmp(how, "preload"))
		q->way = WAY_PRELOAD;
	else if (!strcmp(how, "syscalls"))
		q->way = WAY_LOADER;
	else
		argp_error(state, "no such way to intercept calls: %s", how);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct request *q = state->input;

	switch (key) {
	case KEY_INTERCEPT:
		take_intercept(arg, q, state);
		return 0;
	case KEY_CONFINE:
		setenv("USERKVM_CONFINE", "1", 1);
		return 0;
	case KEY_NO_HOOKS:
		setenv("USERKVM_NO_HOOKS", "1", 1);
		return 0;
	case KEY_ENGINE:
		take_engine(arg, state);
		return 0;
	case KEY_CACHE:
		take_cache(arg, state);
		return 0;
	case KEY_COUNT:
		setenv("USERKVM_COUNT", "1", 1);
		return 0;
	case KEY_REPORT:
		take_report(arg, state);
		return 0;
	case KEY_PERF_MAP:
		take_perf_map(arg, state);
		return 0;
	case ARGP_KEY_ARG:
		q->command = state->argv + state->next - 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "no command to run");
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* 0 or an exit status, with the reason said. */
static int find(const char *command, char *path, size_t size)
{
	int r = target_find(command, path, size);

	if (r == CLI_NOT_FOUND)
		fprintf(stderr, "userkvm: %s: command not found\n", command);
	else if (r)
		fprintf(stderr, "userkvm: %s: permission denied: not executable by you\n",
			path);
	return r;
}

/* How it is to be run; WAY_NONE: not at all, which has been said. */
static enum target_way choose(const char *path, enum target_way wanted)
{
	static struct target_verdict v; /* large */

	target_judge(path, &v);
	if (v.way == WAY_NONE && !(wanted == WAY_PRELOAD && v.preloadable)) {
		fprintf(stderr, "userkvm: %s: %s\n", path, v.why);
		return WAY_NONE;
	}
	if (wanted == WAY_PRELOAD && !v.preloadable) {
		fprintf(stderr, "userkvm: %s: %s; --intercept=preload cannot reach it\n", path,
			v.why);
		return WAY_NONE;
	}
	return wanted == WAY_NONE ? v.way : wanted;
}

static int preload(void)
{
	char library[PATH_MAX];
	int r = library_find(library, sizeof(library));

	if (r) {
		fprintf(stderr,
			"userkvm: libuserkvm.so is neither beside this program's build nor "
			"where it is installed; build or install userkvm again\n");
		return CLI_FAILED;
	}
	r = library_preload(library);
	if (r == -EINVAL)
		fprintf(stderr,
			"userkvm: the path %s contains a space or a colon, which LD_PRELOAD "
			"cannot "
			"hold; install userkvm elsewhere\n",
			library);
	else if (r)
		fprintf(stderr, "userkvm: cannot set LD_PRELOAD: %s\n", strerror(-r));
	return r ? CLI_FAILED : 0;
}

/* A file that is neither ELF nor #! is a script for the shell, as execvp() has it. */
#define SHELL "/bin/sh"

static void shell_arguments(const char *path, char **argv, size_t n, char **sh)
{
	sh[0] = (char *)"sh";
	sh[1] = (char *)path;
	memcpy(sh + 2, argv + 1, n * sizeof(*sh));
}

static void become_preloaded(const char *path, char **command, size_t n)
{
	char *sh[n + 2];

	execv(path, command);
	if (errno != ENOEXEC)
		return;
	shell_arguments(path, command, n, sh);
	execv(SHELL, sh);
}

static int become_loaded(const char *path, char **command, size_t n)
{
	char loader[PATH_MAX], *sh[n + 2];
	int r;

	if (loader_find(loader, sizeof(loader))) {
		fprintf(stderr,
			"userkvm: userkvm-loader is neither beside this program's build nor where "
			"it is installed; build or install userkvm again\n");
		return CLI_FAILED;
	}
	library_drop();
	r = loader_become(loader, path, command);
	if (r == -ENOEXEC) {
		shell_arguments(path, command, n, sh);
		r = loader_become(loader, SHELL, sh);
	}
	errno = -r;
	return 0;
}

int cli_run(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options, .parser = parse, .args_doc = "COMMAND [ARG...]", .doc = doc};
	struct request q = {.way = WAY_NONE};
	static char name[] = "userkvm run";
	char path[PATH_MAX];
	size_t n;
	int r;

	argv[0] = name;
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &q))
		return CLI_FAILED;
	r = find(q.command[0], path, sizeof(path));
	if (r)
		return r;
	n = (size_t)(argv + argc - q.command);
	switch (choose(path, q.way)) {
	case WAY_NONE:
		return CLI_CANNOT_EXEC;
	case WAY_LOADER:
		r = become_loaded(path, q.command, n);
		break;
	case WAY_PRELOAD:
		r = preload();
		if (!r)
			become_preloaded(path, q.command, n);
		break;
	}
	if (r)
		return r;
	r = errno == ENOENT ? CLI_NOT_FOUND : CLI_CANNOT_EXEC;
	fprintf(stderr, "userkvm: %s: %s\n", path, strerror(errno));
	return r;
}
