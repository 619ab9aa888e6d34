/* SPDX-License-Identifier: MIT */
/*
 * cli/ask.h: asking a process about its guests (base/trace.h's questions), for why, walk and map.
 */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include <sys/types.h>
#include "base/trace.h"

struct ask {
	u32 question; /* enum trace_question */
	bool takes_address;
	pid_t pid;
	u32 vcpu;
	u64 value;
	/* from ask_process() on */
	char *answer, *report; /* text that a terminal can show */
	u64 reports;	       /* guests that died */
};

/*
 * What the command line asks of the process it names: 0, then ask_done() frees the answer; or an exit
 * status, with the reason said. `name` is the command's in messages. It ends the program when the command
 * line is wrong.
 */
int ask_process(struct ask *a, int argc, char **argv, char *name, const char *args_doc, const char *doc);
void ask_done(struct ask *a);

#endif
