/* SPDX-License-Identifier: MIT */
/* cli/walk.c: `userkvm walk PID ADDRESS`: how a guest's address is translated, down to the host's page. */
#include <stdio.h>
#include "cli/ask.h"
#include "cli/cli.h"

static const char doc[] =
	"Show how a vCPU translates the guest-virtual ADDRESS: the guest's tables level by level, the memslot, "
	"and what stage 2 holds.\v"
	"ADDRESS is hexadecimal. The tables are read as they are; nothing is faulted in, and nothing is marked "
	"as accessed.\n"
	"\n"
	"Exit status: 0; 1 if the process does not answer; 64 if the command line is wrong; 125 if it is "
	"not yours to look at.";

int cli_walk(int argc, char **argv)
{
	static char name[] = "userkvm walk";
	struct ask a = {.question = TRACE_ASK_WALK, .vcpu = TRACE_ANY_VCPU, .takes_address = true};
	int r = ask_process(&a, argc, argv, name, "PID ADDRESS", doc);

	if (r)
		return r;
	printf("%s", a.answer);
	ask_done(&a);
	return CLI_OK;
}
