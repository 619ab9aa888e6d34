/* SPDX-License-Identifier: MIT */
/* cli/stat.c: `userkvm stat`: the counters of running VMs, read from outside. */
#include "cli/stat.h"
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"

static const char doc[] =
	"Show what running VMs do: exits, faults, interrupts, code and memory.\v"
	"Without a PID all VMs of this user's are shown. The live view begins again each second with "
	"what happened per second since; n and p go from VM to VM, t shows totals, q ends it.\n"
	"\n"
	"Exit status: 0 on success, 1 if there is no such VM, 64 if the command line is wrong, 125 if "
	"the counters may not be read.";

#define WATCH_MS 1000

struct options {
	pid_t pid;
	bool once, json, time;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	char *end;
	long pid;

	switch (key) {
	case '1':
		o->once = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case 't':
		o->time = true;
		return 0;
	case ARGP_KEY_ARG:
		errno = 0;
		pid = strtol(arg, &end, 10);
		if (errno || *end || pid <= 0 || pid > INT_MAX)
			argp_error(state, "`%s' is no process id", arg);
		if (o->pid)
			argp_error(state, "one process id at most");
		o->pid = (pid_t)pid;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* No VM was found in that process. */
static int complain_about(pid_t pid, int err)
{
	switch (err) {
	case 0:
		fprintf(stderr,
			"userkvm: process %d has no VM under userkvm now; `userkvm stat' without a "
			"process id shows those that do\n", pid);
		return CLI_PROBLEM;
	case -ESRCH:
		fprintf(stderr, "userkvm: there is no process %d\n", pid);
		return CLI_PROBLEM;
	case -EACCES:
	case -EPERM:
		fprintf(stderr,
			"userkvm: process %d is not yours to look at; try as its user or as root\n",
			pid);
		return CLI_FAILED;
	default:
		fprintf(stderr, "userkvm: cannot look at process %d: %s\n", pid, strerror(-err));
		return CLI_FAILED;
	}
}

static int complain(const struct stat_vms *vms, int err)
{
	if (err) {
		fprintf(stderr, "userkvm: cannot look for VMs in /proc: %s\n", strerror(-err));
		return CLI_FAILED;
	}
	fprintf(stderr, "userkvm: no VM runs under userkvm; start one with `userkvm run'");
	if (vms->hidden)
		fprintf(stderr, " (those of other users, in %u processes, are for root to see)",
			vms->hidden);
	fputc('\n', stderr);
	return CLI_PROBLEM;
}

static int show(const struct options *o, struct stat_vms *vms)
{
	int r = stat_find(o->pid, vms);

	if (!vms->n)
		return o->pid ? complain_about(o->pid, r) : complain(vms, r);
	if (o->time && (o->json || o->once))
		stat_watch(vms, WATCH_MS);
	if (o->json)
		stat_print_json(stdout, vms);
	else if (o->once)
		stat_print_table(stdout, vms);
	else
		return stat_view(o->pid, vms);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "userkvm: standard output: %s\n", strerror(errno));
		return CLI_FAILED;
	}
	return CLI_OK;
}

int cli_stat(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"once", '1', NULL, 0, "print the counters as a table, once", 0},
		{"json", 'j', NULL, 0, "print all counters as one JSON object", 0},
		{"time", 't', NULL, 0, "watch for a second first, and print where time went", 0},
		{0},
	};
	static const struct argp argp = {
		.options = options, .parser = parse, .args_doc = "[PID]", .doc = doc};
	static char name[] = "userkvm stat";
	struct options o = {0};
	struct stat_vms vms;
	int r;

	argv[0] = name;
	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return CLI_FAILED;
	if (!o.once && !o.json && (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))) {
		fprintf(stderr, "userkvm: the live view needs a terminal; use `userkvm stat --once' "
				"or `userkvm stat --json'\n");
		return CLI_USAGE;
	}
	r = show(&o, &vms);
	stat_free(&vms);
	return r;
}
