/* SPDX-License-Identifier: MIT */
/* cli/map.c: `userkvm map PID`: the memslots of a VM and what of them stage 2 maps. */
#include <stdio.h>
#include "cli/ask.h"
#include "cli/cli.h"

static const char doc[] =
	"Show a VM's memslots: where each is in the guest and in the process, and how many pages of 4 KiB, 2 MiB "
	"and 1 GiB stage 2 maps of it now, and how many of those leaves are dirty.\v"
	"Exit status: 0; 1 if the process does not answer; 64 if the command line is wrong; 125 if it is "
	"not yours to look at.";

int cli_map(int argc, char **argv)
{
	static char name[] = "userkvm map";
	struct ask a = {.question = TRACE_ASK_MAP, .vcpu = TRACE_ANY_VCPU};
	int r = ask_process(&a, argc, argv, name, "PID", doc);

	if (r)
		return r;
	printf("%s", a.answer);
	ask_done(&a);
	return CLI_OK;
}
