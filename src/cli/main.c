/* SPDX-License-Identifier: MIT */
/* cli/main.c: which subcommand. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"

/* argp looks for this one by name */
__attribute__((visibility("default"))) const char *argp_program_version =
	"userkvm " USERKVM_VERSION;

static const struct subcommand {
	const char *name;
	int (*main)(int argc, char **argv);
} subcommands[] = {
	{"run", cli_run},
	{"doctor", cli_doctor},
	{"explore", cli_explore},
	{"stat", cli_stat},
	{"enable", cli_enable},
	{"disable", cli_disable},
	{"status", cli_status},
	{"trace", cli_trace},
	{"why", cli_why},
	{"walk", cli_walk},
	{"map", cli_map},
};

static const char doc[] =
	"KVM in user space: gives /dev/kvm to unmodified programs, without virtualization "
	"hardware, a kernel module or privilege.\v"
	"Commands:\n"
	"  run COMMAND...   run COMMAND, and what it starts, with /dev/kvm\n"
	"  doctor           say what this machine offers and what userkvm would do\n"
	"  explore          run the guest-memory code through its interleavings\n"
	"  stat [PID]       show what running VMs do: exits, faults, interrupts, memory\n"
	"  enable           give every program of this machine, or some services, a /dev/kvm\n"
	"  disable          take back what enable has changed\n"
	"  status           say what is enabled, and which programs use it\n"
	"  trace COMMAND... show KVM calls and exits of COMMAND, or with -p PID of a process\n"
	"  why PID          show where a guest is, and what the last one died of\n"
	"  walk PID ADDRESS show how a guest's address is translated, down to the host's page\n"
	"  map PID          show a VM's memslots, and what stage 2 maps of them\n"
	"\n"
	"Examples:\n"
	"  userkvm run qemu-system-x86_64 -accel kvm -M microvm -kernel vmlinuz -nographic\n"
	"  userkvm run -- stress-ng --kvm 2 -t 10\n"
	"  userkvm doctor\n"
	"  userkvm stat --once\n"
	"\n"
	"`userkvm COMMAND --help' says more about each. userkvm is for guests you trust: guest "
	"and "
	"VMM share one process.";

static error_t parse(int key, char *arg, struct argp_state *state)
{
	int *status = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
			char **rest = state->argv + state->next - 1;

			if (strcmp(arg, subcommands[i].name))
				continue;
			*status = subcommands[i].main(state->argc - state->next + 1, rest);
			state->next = state->argc;
			return 0;
		}
		argp_error(state, "unknown command `%s'; did you mean `userkvm run %s'?", arg,
			   arg);
		return EINVAL;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		return EINVAL;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse, .args_doc = "COMMAND [ARG...]", .doc = doc};
	int status = CLI_OK;

	argp_err_exit_status = CLI_USAGE;
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &status))
		return CLI_FAILED;
	return status;
}
