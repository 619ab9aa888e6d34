/* SPDX-License-Identifier: MIT */
/* cli/doctor.c: `userkvm doctor`: what this machine offers and what userkvm would do. */
#include <argp.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/doctor.h"

/*
 * How long the guest may take before it is given up. Under userkvm it takes some hundredths of a
 * second; the rest is for a machine that is very busy.
 */
#define LIBRARY_SECONDS 60
static int device_seconds = 20;

static const char doc[] = "Say what this machine offers and what userkvm would do; with PROGRAM, how it "
			  "would be run and why.\v"
			  "Lines begin with `ok', with `note' for what is worth knowing, or "
			  "with `PROBLEM' for what "
			  "keeps userkvm from working. Nothing is changed.\n"
			  "\n"
			  "Exit status: 0 if `userkvm run' works here, 1 if not.";

static bool preloaded(void)
{
	return dlsym(RTLD_DEFAULT, "userkvm_version") != NULL;
}

/* ------------------------------------------------------------------ a program under userkvm */

static char library[PATH_MAX];

/* This program once more, with the library: does it get what `run` promises? */
static int run_under_library(int report)
{
	if (library_preload(library) == 0 && dup2(report, STDOUT_FILENO) >= 0)
		execl("/proc/self/exe", "userkvm", "doctor", "--probe", NULL);
	return guest_report(report, (struct guest_outcome){.result = GUEST_NOT_LOADED});
}

static int probe(void)
{
	struct guest_outcome o = {.result = GUEST_NOT_LOADED};

	if (preloaded())
		o = guest_run();
	return guest_report(STDOUT_FILENO, o);
}

/* Two checks want to know. */
static struct guest_outcome library_outcome(void)
{
	static struct guest_outcome o;
	static bool known;

	if (!known)
		o = guest_run_bounded(run_under_library, LIBRARY_SECONDS);
	known = true;
	return o;
}

static enum verdict check_library(char *text, size_t size)
{
	char what[256];
	struct guest_outcome o;

	if (!*library) {
		snprintf(text, size,
			 "libuserkvm.so was not found; build or install userkvm again");
		return PROBLEM;
	}
	if (strpbrk(library, " :")) {
		snprintf(text, size,
			 "%s: LD_PRELOAD cannot hold a path with a space or a colon", library);
		return PROBLEM;
	}
	o = library_outcome();
	guest_describe(o, what, sizeof(what));
	snprintf(text, size, "%s: %s%s", library,
		 o.result == GUEST_NOT_LOADED ? "" : "its /dev/kvm ", what);
	return o.result == GUEST_RAN ? OK : PROBLEM;
}

/* ------------------------------------------------------------------ the machine's device */

static int run_here(int report)
{
	return guest_report(report, guest_run());
}

/* How its speed compares with userkvm's on the same guest, if both ran it. */
static void describe_speed(struct guest_outcome own, char *text, size_t size)
{
	struct guest_outcome ours = library_outcome();
	double ratio = (double)ours.ns / (double)(own.ns ? own.ns : 1);

	*text = '\0';
	if (ours.result != GUEST_RAN)
		return;
	if (ratio >= 1)
		snprintf(text, size, ", in 1/%.0f of the time it takes under userkvm", ratio);
	else
		snprintf(text, size, ", but takes %.0f times as long as under userkvm", 1 / ratio);
}

static enum verdict check_device(char *text, size_t size)
{
	char what[256], speed[128] = "";
	struct guest_outcome o;

	if (preloaded()) {
		snprintf(text, size, "userkvm's own: this doctor runs under userkvm itself");
		return NOTE;
	}
	o = guest_run_bounded(run_here, device_seconds);
	if (o.result == GUEST_NO_DEVICE && o.detail == ENOENT) {
		snprintf(text, size, "the machine has none; userkvm brings its own");
		return OK;
	}
	guest_describe(o, what, sizeof(what));
	if (o.result == GUEST_RAN)
		describe_speed(o, speed, sizeof(speed));
	snprintf(text, size, "the machine's own %s%s; programs under userkvm get userkvm's instead",
		 what, speed);
	return NOTE;
}

/* ------------------------------------------------------------------ the report */

static const struct check {
	const char *name;
	enum verdict (*run)(char *text, size_t size);
} checks[] = {
	{"kernel", check_kernel},
	{"processor", check_processor},
	{"clock", check_clock},
	{"/dev/kvm", check_device},
	{"memfd", check_memfd},
	{"code", check_code},
	{"engine", check_engine},
	{"below libc", check_below_libc},
	{"userfaultfd", check_userfaultfd},
	{"max_map_count", check_map_count},
	{"limits", check_limits},
	{"library", check_library},
};

static int report(void)
{
	static const char *const label[] = {"ok", "note", "PROBLEM"};
	int problems = 0;

	if (library_find(library, sizeof(library)))
		*library = '\0';
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		char text[PATH_MAX + 256] = "";
		enum verdict v = checks[i].run(text, sizeof(text));

		printf("%-8s %-14s %s\n", label[v], checks[i].name, text);
		problems += v == PROBLEM;
	}
	if (problems)
		printf("\nuserkvm cannot work here: see %s above.\n",
		       problems == 1 ? "the problem" : "the problems");
	else
		printf("\n`userkvm run COMMAND' gives COMMAND, and what it starts, a /dev/kvm "
		       "that "
		       "userkvm carries out.\n");
	return problems ? CLI_PROBLEM : CLI_OK;
}

/* ------------------------------------------------------------------ a program */

static int report_program(const char *command)
{
	static struct target_verdict v; /* large */
	char path[PATH_MAX];
	int r = target_find(command, path, sizeof(path));

	if (r) {
		printf("PROBLEM  %s: %s\n", command,
		       r == CLI_NOT_FOUND ? "command not found" : "not executable by you");
		return CLI_PROBLEM;
	}
	target_judge(path, &v);
	printf("%-8s %s: %s\n", v.way == WAY_NONE ? "PROBLEM" : "ok", path, v.why);
	return v.way == WAY_NONE ? CLI_PROBLEM : CLI_OK;
}

static bool probing;
static const char *program;

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case 'P':
		probing = true;
		return 0;
	case 'S':
		device_seconds = atoi(arg);
		return 0;
	case ARGP_KEY_ARG:
		if (program)
			argp_error(state, "doctor looks at one program");
		program = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int cli_doctor(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"probe", 'P', NULL, OPTION_HIDDEN, NULL, 0},
		{"seconds", 'S', "N", OPTION_HIDDEN, NULL, 0}, /* device_seconds */
		{0},
	};
	static const struct argp argp = {.options = options, .parser = parse, .args_doc = "[PROGRAM]", .doc = doc};
	static char name[] = "userkvm doctor";

	argv[0] = name;
	if (argp_parse(&argp, argc, argv, 0, NULL, NULL))
		return CLI_FAILED;
	if (program)
		return report_program(program);
	return probing ? probe() : report();
}
