/* SPDX-License-Identifier: MIT */
/* userkvm explore: run the memory system through its interleavings. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "explore/explore.h"

enum { KEY_RANDOM = 256, KEY_REPLAY, KEY_SELF_TEST };

struct options {
	const char *scenario; /* NULL: all */
	unsigned defect;
	const char *replay;
	bool list, random, self_test, verbose;
	struct explore_limits limits;
};

#define SECONDS		     10	   /* for a scenario */
#define SELF_TEST_EXECUTIONS 50000 /* for a defect; the slowest takes thousands */

static const struct argp_option argp_options[] = {
	{"list", 'l', NULL, 0, "List the scenarios and the defects each must find", 0},
	{"scenario", 's', "NAME", 0, "Explore this one only", 0},
	{"seconds", 't', "N", 0, "At most so long for each scenario (default 10; with --self-test no limit)", 0},
	{"preemptions", 'p', "N", 0, "All schedules of at most N preemptions (default 2)", 0},
	{"random", KEY_RANDOM, NULL, 0,
	 "Random priorities instead, with N change points, seed after seed", 0},
	{"seed", 'S', "N", 0, "First seed of a random search (default 1)", 0},
	{"defect", 'd', "NAME", 0, "Switch on a mistake that must then be found", 0},
	{"self-test", KEY_SELF_TEST, NULL, 0,
	 "Switch on each defect in each scenario that must find it", 0},
	{"replay", KEY_REPLAY, "SCHEDULE", 0, "Run one schedule, as printed with a finding", 0},
	{"verbose", 'v', NULL, 0, "Print every step of a finding or a replay", 0},
	{0},
};

static const char doc[] =
	"Run userkvm's guest-memory code, the very source that ships, through every interleaving "
	"of small scenarios on a model of the host's memory manager.\v"
	"A finding is printed with the shortest schedule that shows it; --replay runs that again. "
	"What is explored is sequentially consistent; data races are for a thread sanitizer.\n\n"
	"Exit status: 0 nothing was found, 1 something was (or, with --self-test, was not), 64 a "
	"wrong command line.\n\n"
	"Examples:\n"
	"  userkvm explore\n"
	"  userkvm explore --scenario munmap --preemptions 3 --seconds 60\n"
	"  userkvm explore --scenario dax --defect drop-by-pfn --verbose";

static unsigned find_defect(struct argp_state *state, const char *name)
{
	for (unsigned i = 0; explore_defect_name(i); i++) {
		if (!strcmp(name, explore_defect_name(i)))
			return i;
	}
	argp_error(state, "no defect is called `%s'; --list shows them", name);
	return 0;
}

static unsigned long number(struct argp_state *state, const char *arg)
{
	char *end;
	unsigned long n = strtoul(arg, &end, 0);

	if (!*arg || *end)
		argp_error(state, "`%s' is not a number", arg);
	return n;
}

static double seconds(struct argp_state *state, const char *arg)
{
	char *end;
	double s = strtod(arg, &end);

	if (!*arg || *end || !(s >= 0))
		argp_error(state, "`%s' is not a time in seconds", arg);
	return s;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'l':
		o->list = true;
		return 0;
	case 's':
		if (!explore_find(arg))
			argp_error(state, "no scenario is called `%s'; --list shows them", arg);
		o->scenario = arg;
		return 0;
	case 't':
		o->limits.seconds = seconds(state, arg);
		return 0;
	case 'p':
		o->limits.preemptions = (unsigned)number(state, arg);
		return 0;
	case 'S':
		o->limits.seed = number(state, arg);
		return 0;
	case 'd':
		o->defect = find_defect(state, arg);
		return 0;
	case 'v':
		o->verbose = true;
		return 0;
	case KEY_RANDOM:
		o->random = true;
		return 0;
	case KEY_SELF_TEST:
		o->self_test = true;
		return 0;
	case KEY_REPLAY:
		o->replay = arg;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "what is `%s'? scenarios are named by --scenario", arg);
		return 0;
	case ARGP_KEY_END:
		if (o->replay && !o->scenario)
			argp_error(state, "--replay needs the --scenario it was found in");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* -- schedules as text: one digit a choice, base 36 */

static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

static void print_schedule(const struct sched_trace *t)
{
	for (u32 i = 0; i < t->n; i++)
		putchar(digits[t->choice[i] % 36]);
	if (!t->n)
		putchar('0');
}

static bool parse_schedule(const char *s, struct sched_trace *t)
{
	t->n = (u32)strlen(s);
	t->choice = malloc(t->n + 1);
	t->width = NULL;
	if (!t->choice)
		return false;
	for (u32 i = 0; i < t->n; i++) {
		const char *d = strchr(digits, s[i]);

		if (!d)
			return false;
		t->choice[i] = (u8)(d - digits);
	}
	return true;
}

/* -- the modes */

static int list(void)
{
	const struct scenario *s;

	for (unsigned i = 0; (s = explore_scenario(i)); i++) {
		printf("%-17s %s\n", s->name, s->what);
		for (unsigned d = 0; d < ARRAY_SIZE(s->catches) && s->catches[d]; d++)
			printf("%-17s   finds %s\n", "", explore_defect_name(s->catches[d]));
	}
	return CLI_OK;
}

static void report(const struct scenario *s, const struct explore_result *r, bool verbose)
{
	struct explore_result again;

	printf("%s: %s\n  after %llu executions; shortest schedule: ", s->name, r->why,
	       (unsigned long long)r->executions);
	print_schedule(&r->trace);
	printf("\n  again: userkvm explore --scenario %s", s->name);
	if (sync_defect_on)
		printf(" --defect %s", explore_defect_name(sync_defect_on));
	printf(" --verbose --replay ");
	print_schedule(&r->trace);
	printf("\n");
	if (verbose) {
		fflush(stdout);
		explore_replay(s, &r->trace, true, &again);
	}
}

static bool explore_one(const struct options *o, const struct scenario *s)
{
	struct explore_result r;

	if (o->random)
		explore_random(s, &o->limits, &r);
	else
		explore_exhaustive(s, &o->limits, &r);
	if (r.verdict != SCHED_OK) {
		report(s, &r, o->verbose);
		return false;
	}
	printf("%-17s nothing found in %llu executions%s\n", s->name,
	       (unsigned long long)r.executions,
	       r.complete  ? " (all schedules of so many preemptions)"
	       : o->random ? ""
			   : " (time was up before all schedules)");
	fflush(stdout);
	return true;
}

static int explore_all(const struct options *o)
{
	const struct scenario *s;
	bool clean = true;

	for (unsigned i = 0; (s = explore_scenario(i)); i++) {
		if (!o->scenario || !strcmp(o->scenario, s->name))
			clean &= explore_one(o, s);
	}
	return clean ? CLI_OK : CLI_PROBLEM;
}

static bool must_find(const struct options *o, const struct scenario *s, enum sync_defect d)
{
	struct explore_result r;

	sync_defect_on = d;
	explore_random(s, &o->limits, &r);
	sync_defect_on = DEFECT_NONE;
	if (r.verdict == SCHED_OK)
		printf("%-17s %-23s NOT FOUND in %llu executions\n", s->name,
		       explore_defect_name(d), (unsigned long long)r.executions);
	else
		printf("%-17s %-23s found after %llu: %s\n", s->name, explore_defect_name(d),
		       (unsigned long long)r.executions, r.why);
	fflush(stdout);
	return r.verdict != SCHED_OK;
}

static int self_test(const struct options *o)
{
	const struct scenario *s;
	bool all = true;

	for (unsigned i = 0; (s = explore_scenario(i)); i++) {
		if (o->scenario && strcmp(o->scenario, s->name))
			continue;
		for (unsigned d = 0; d < ARRAY_SIZE(s->catches) && s->catches[d]; d++)
			all &= must_find(o, s, s->catches[d]);
	}
	return all ? CLI_OK : CLI_PROBLEM;
}

static int replay(const struct options *o)
{
	const struct scenario *s = explore_find(o->scenario);
	struct explore_result r;
	struct sched_trace t;

	if (!parse_schedule(o->replay, &t)) {
		fprintf(stderr, "userkvm explore: `%s' is not a schedule\n", o->replay);
		return CLI_USAGE;
	}
	explore_replay(s, &t, o->verbose, &r);
	printf("%s: %s\n", s->name, r.verdict == SCHED_OK ? "nothing found" : r.why);
	return r.verdict == SCHED_OK ? CLI_OK : CLI_PROBLEM;
}

int cli_explore(int argc, char **argv)
{
	static const struct argp argp = {argp_options, parse, NULL, doc, NULL, NULL, NULL};
	struct options o = {.limits = {.preemptions = 2, .seed = 1}};
	char name[] = "userkvm explore";

	argv[0] = name;
	argp_err_exit_status = CLI_USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return CLI_USAGE;
	if (o.list)
		return list();
	/* How many executions a defect takes does not depend on how busy the machine is. */
	if (o.self_test && !o.limits.seconds)
		o.limits.executions = SELF_TEST_EXECUTIONS;
	else if (!o.limits.seconds)
		o.limits.seconds = SECONDS;
	if (o.self_test)
		return self_test(&o);
	sync_defect_on = (enum sync_defect)o.defect;
	return o.replay ? replay(&o) : explore_all(&o);
}
