/* SPDX-License-Identifier: MIT */
/*
 * explore/scenario.h: small worlds whose every interleaving is to be right: a VM with a memslot
 * or two over the model's memory, vCPUs that touch it, and a host that takes it away. Each
 * execution builds one, runs its actors and checks what must hold at the end.
 */
#ifndef EXPLORE_SCENARIO_H
#define EXPLORE_SCENARIO_H

#include "explore/sched.h"
#include "explore/defects.h"

struct scenario {
	const char *name;
	const char *what;		/* one line for --list */
	void (*setup)(void);		/* builds the world and spawns the actors */
	void (*check)(void);		/* after sched_run(), before everything is taken down */
	enum defect catches[5];	/* defects this scenario is to find; 0 ends */
};

/* By idea: memory of the VMM's mappings, guest_memfd, attributes. An entry without a name ends. */
extern const struct scenario memory_scenarios[], gmem_scenarios[], attribute_scenarios[];

void check_nothing(void);
/* Take the world down and check that all balances; part of every execution. */
void scenario_teardown(void);

#endif
