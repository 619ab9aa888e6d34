/* SPDX-License-Identifier: MIT */
/* cli/run.c: `userkvm run [--] COMMAND...` becomes COMMAND with the library preloaded. */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"

static const char doc[] =
	"Run COMMAND with a /dev/kvm that userkvm carries out, whether or not the machine has "
	"one "
	"and whether or not you may open it. What COMMAND starts inherits it.\v"
	"COMMAND must be a dynamically linked x86-64 program, or a script for one; static, "
	"setuid "
	"and setgid programs and those with file capabilities are refused.\n"
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

/* What executes guest code; cpu/run.c knows them by the same names. */
static const char *const engines[] = {"auto", "interpreter", "translator", "check"};

static const struct argp_option options[] = {
	{"engine", KEY_ENGINE, "ENGINE", 0,
	 "What executes guest code: auto (the default), interpreter, translator, or check: both, one "
	 "in 64 blocks compared; check:N: one in N",
	 0},
	{"confine", KEY_CONFINE, NULL, 0,
	 "Once the first vCPU runs, let COMMAND start no program, open no socket, and open files only "
	 "to read them",
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
		if (!strcmp(name, engines[i]) || (!strncmp(name, "check:", 6) && atoi(name + 6) > 0)) {
			setenv("USERKVM_ENGINE", name, 1);
			return;
		}
	}
	argp_error(state, "no such engine: %s", name);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	char ***command = state->input;

	switch (key) {
	case KEY_CONFINE:
		setenv("USERKVM_CONFINE", "1", 1);
		return 0;
	case KEY_NO_HOOKS:
		setenv("USERKVM_NO_HOOKS", "1", 1);
		return 0;
	case KEY_ENGINE:
		take_engine(arg, state);
		return 0;
	case ARGP_KEY_ARG:
		*command = state->argv + state->next - 1;
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
static int prepare(const char *command, char *path, size_t size)
{
	char why[2 * PATH_MAX];
	int r = target_find(command, path, size);

	if (r == CLI_NOT_FOUND) {
		fprintf(stderr, "userkvm: %s: command not found\n", command);
		return r;
	}
	if (r) {
		fprintf(stderr, "userkvm: %s: permission denied: not executable by you\n",
			path);
		return r;
	}
	r = target_check(path, why, sizeof(why));
	if (r)
		fprintf(stderr, "userkvm: %s: %s\n", path, why);
	return r;
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
static void exec_shell(const char *path, char **argv, size_t n)
{
	char *sh[n + 2];

	sh[0] = "sh";
	sh[1] = (char *)path;
	memcpy(sh + 2, argv + 1, n * sizeof(*sh));
	execv("/bin/sh", sh);
}

int cli_run(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options, .parser = parse, .args_doc = "COMMAND [ARG...]", .doc = doc};
	char path[PATH_MAX], **command = NULL;
	static char name[] = "userkvm run";
	int r;

	argv[0] = name;
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &command))
		return CLI_FAILED;
	r = prepare(command[0], path, sizeof(path));
	if (r)
		return r;
	r = preload();
	if (r)
		return r;
	execv(path, command);
	if (errno == ENOEXEC)
		exec_shell(path, command, (size_t)(argv + argc - command));
	r = errno == ENOENT ? CLI_NOT_FOUND : CLI_CANNOT_EXEC;
	fprintf(stderr, "userkvm: %s: %s\n", path, strerror(errno));
	return r;
}
