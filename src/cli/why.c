/* SPDX-License-Identifier: MIT */
/* cli/why.c: `userkvm why PID`: what a guest is doing, and what the last one died of. */
#include <stdio.h>
#include "cli/ask.h"
#include "cli/cli.h"

static const char doc[] =
	"Show why a guest hangs or has died: of each vCPU the registers, the code it is at and how its "
	"instruction pointer is translated; and the report of the last guest of the process's that died.\v"
	"The process answers by itself; it is not stopped. It must have run a guest.\n"
	"\n"
	"Exit status: 0; 1 if the process does not answer; 64 if the command line is wrong; 125 if it is "
	"not yours to look at.";

int cli_why(int argc, char **argv)
{
	static char name[] = "userkvm why";
	struct ask a = {.question = TRACE_ASK_STATE, .vcpu = TRACE_ANY_VCPU};
	int r = ask_process(&a, argc, argv, name, "PID", doc);

	if (r)
		return r;
	if (a.reports)
		printf("The last guest that died, of %llu\n\n%s\nNow\n\n", (unsigned long long)a.reports, a.report);
	printf("%s", a.answer);
	ask_done(&a);
	return CLI_OK;
}
