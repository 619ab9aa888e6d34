/* SPDX-License-Identifier: MIT */
/* userkvm explore: run the memory system through its interleavings. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "explore/campaign.h"
#include "explore/explore.h"
#include "explore/lessons.h"
#include "explore/show.h"
#include "explore/text.h"

enum { KEY_RANDOM = 256, KEY_REPLAY, KEY_SELF_TEST, KEY_EXECUTIONS, KEY_FIRST, KEY_LESSON, KEY_TIME, KEY_STATE, KEY_CHANGES,
       KEY_STEP, KEY_NO_SHRINK, KEY_EXPLAIN, KEY_HTML, KEY_SOURCE, KEY_PROCESSOR_TIME };

struct options {
	unsigned defect;
	const char *replay;
	unsigned lesson; /* 0: none */
	bool list, random, self_test;
	struct looks {
		bool verbose, step, explain;
		const char *html, *source;
	} look; /* at a finding or a replay */
	struct campaign campaign; /* what is explored, and how long */
};

#define TIME		     60	   /* seconds of a run */
#define SELF_TEST_EXECUTIONS 50000 /* for a defect; the slowest takes thousands */
#define MOST_SECONDS	     60	   /* of a processor, until a defect is found and its schedule is shrunk */

static const struct argp_option argp_options[] = {
	{"list", 'l', NULL, 0, "List the scenarios and the defects each must find", 0},
	{"scenario", 's', "NAME", 0, "Explore this one only; several of them, in this order", 0},
	{"time", KEY_TIME, "N[s|m|h]", 0, "So long for all scenarios together (default 60 s)", 0},
	{"processor-time", KEY_PROCESSOR_TIME, NULL, 0, "Seconds of a processor are meant, however busy it is with others", 0},
	{"jobs", 'j', "N", 0, "So many scenarios at a time (default: a processor each)", 0},
	{"state", KEY_STATE, "FILE", 0, "Go on where the run that wrote this file has stopped, and write it", 0},
	{"seconds", 't', "N", 0, "So long for each scenario, in the place of --time", 0},
	{"executions", KEY_EXECUTIONS, "N", 0, "At most so many schedules of each scenario", 0},
	{"first", KEY_FIRST, NULL, 0, "Stop at the first finding with a schedule of 40 choices or fewer", 0},
	{"no-shrink", KEY_NO_SHRINK, NULL, 0, "Do not look for a shorter schedule that shows the same", 0},
	{"preemptions", 'p', "N", 0, "All schedules of up to N preemptions (default 2), for half of the time", 0},
	{"changes", KEY_CHANGES, "N", 0, "By turns with random priorities with N change points (default 3), seed after seed", 0},
	{"random", KEY_RANDOM, NULL, 0, "The random ones only", 0},
	{"seed", 'S', "N", 0, "First seed of a random search (default 1)", 0},
	{"defect", 'd', "NAME", 0, "Switch on a mistake that must then be found", 0},
	{"self-test", KEY_SELF_TEST, NULL, 0,
	 "Switch on each defect in each scenario that must find it", 0},
	{"replay", KEY_REPLAY, "SCHEDULE", 0, "Run one schedule, as printed with a finding", 0},
	{"lesson", KEY_LESSON, "N", 0,
	 "Tell what one of five mails (1 to 5) is about, and show the mistake it speaks of", 0},
	{"verbose", 'v', NULL, 0, "Print every step of a finding or a replay", 0},
	{"explain", KEY_EXPLAIN, NULL, 0,
	 "Say which rule was broken, and which step could have kept it last", 0},
	{"step", KEY_STEP, NULL, 0, "Go through a finding or a replay step by step, forward and back", 0},
	{"source", KEY_SOURCE, "DIR", 0, "Where --step reads lines of source (default .)", 0},
	{"html", KEY_HTML, "FILE", 0, "Write a finding or a replay as a page of HTML", 0},
	{0},
};

static const char doc[] =
	"Run userkvm's guest-memory code, the very source that ships, through every interleaving "
	"of small scenarios on a model of the host's memory manager.\v"
	"A run looks at all schedules of no preemption, of one, of two, and by turns with them at random ones. "
	"A finding is printed with a short schedule that shows it; --replay runs that again. "
	"What is explored has x86's store buffers; data races are for a thread sanitizer.\n\n"
	"Exit status: 0 nothing was found, 1 something was (or, with --self-test, was not), 64 a "
	"wrong command line.\n\n"
	"Examples:\n"
	"  userkvm explore\n"
	"  userkvm explore --scenario munmap --preemptions 3\n"
	"  userkvm explore --time 1h --state nightly\n"
	"  userkvm explore --lesson 1\n"
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

static void add_scenario(struct argp_state *state, struct campaign *c, const char *name)
{
	const struct scenario *s = explore_find(name);

	if (!s)
		argp_error(state, "no scenario is called `%s'; --list shows them", name);
	else if (c->nonly == CAMPAIGN_SCENARIOS)
		argp_error(state, "these are too many scenarios");
	else
		c->only[c->nonly++] = s;
}

static unsigned long number(struct argp_state *state, const char *arg)
{
	char *end;
	unsigned long n = strtoul(arg, &end, 0);

	if (!*arg || *end)
		argp_error(state, "`%s' is not a number", arg);
	return n;
}

/* A number of seconds, or of what its suffix says. */
static double seconds(struct argp_state *state, const char *arg)
{
	static const struct {
		const char *suffix;
		double seconds;
	} units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}};
	char *end;
	double n = strtod(arg, &end);

	for (unsigned i = 0; *arg && n >= 0 && i < ARRAY_SIZE(units); i++) {
		if (!strcmp(end, units[i].suffix))
			return n * units[i].seconds;
	}
	argp_error(state, "`%s' is not a time", arg);
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case 'l':
		o->list = true;
		return 0;
	case 's':
		add_scenario(state, &o->campaign, arg);
		return 0;
	case 't':
		o->campaign.limits.seconds = seconds(state, arg);
		return 0;
	case KEY_TIME:
		o->campaign.seconds = seconds(state, arg);
		return 0;
	case 'j':
		o->campaign.jobs = (unsigned)number(state, arg);
		return 0;
	case KEY_PROCESSOR_TIME:
		o->campaign.limits.processor_time = true;
		return 0;
	case KEY_STATE:
		o->campaign.state = arg;
		return 0;
	case KEY_CHANGES:
		o->campaign.limits.changes = (unsigned)number(state, arg);
		return 0;
	case 'p':
		o->campaign.limits.preemptions = (unsigned)number(state, arg);
		return 0;
	case 'S':
		o->campaign.limits.seed = number(state, arg);
		return 0;
	case 'd':
		o->defect = find_defect(state, arg);
		return 0;
	case 'v':
		o->look.verbose = true;
		return 0;
	case KEY_STEP:
		o->look.step = true;
		return 0;
	case KEY_EXPLAIN:
		o->look.explain = true;
		return 0;
	case KEY_HTML:
		o->look.html = arg;
		return 0;
	case KEY_SOURCE:
		o->look.source = arg;
		return 0;
	case KEY_LESSON:
		o->lesson = (unsigned)number(state, arg);
		if (!explore_lesson(o->lesson))
			argp_error(state, "there is no lesson `%s': they are 1 to 5", arg);
		return 0;
	case KEY_EXECUTIONS:
		o->campaign.limits.executions = number(state, arg);
		return 0;
	case KEY_FIRST:
		o->campaign.first = true;
		return 0;
	case KEY_RANDOM:
		o->random = true;
		return 0;
	case KEY_NO_SHRINK:
		o->campaign.limits.unshrunk = true;
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
		if (o->replay && o->campaign.nonly != 1)
			argp_error(state, "--replay needs the one --scenario it was found in");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
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

/* A schedule, in the ways that were asked for. */
static void look_at(const struct scenario *s, const struct sched_schedule *t, const struct looks *l)
{
	struct show w;
	FILE *f;

	if (!l->verbose && !l->step && !l->explain && !l->html)
		return;
	show_run(&w, s, t, l->step || l->html);
	if (l->verbose)
		show_lanes(stdout, &w);
	if (l->step)
		show_stepping(stdin, stdout, &w, l->source ? l->source : ".");
	if (l->html) {
		f = fopen(l->html, "w");
		if (f)
			show_html(f, &w);
		if (!f || fclose(f))
			perror(l->html);
	}
	if (l->explain)
		show_explain(stdout, &w);
	show_free(&w);
}

static void report(const struct scenario *s, const struct explore_result *r, const struct looks *l)
{
	printf("%s: %s\n  after %llu schedules; %u choices: ", s->name, r->why,
	       (unsigned long long)r->executions, r->choices);
	text_print(stdout, &r->schedule);
	printf("\n  again: userkvm explore --scenario %s", s->name);
	if (defect_on)
		printf(" --defect %s", explore_defect_name(defect_on));
	printf(" --verbose --replay ");
	text_print(stdout, &r->schedule);
	printf("\n");
	look_at(s, &r->schedule, l);
}

static void say(const struct scenario *s, const struct explore_result *r, void *arg)
{
	const struct options *o = arg;

	if (r->verdict != SCHED_OK) {
		report(s, r, &o->look);
		return;
	}
	printf("%-17s %8llu schedules, %7llu states, %4.1f M steps/s", s->name, (unsigned long long)r->executions,
	       (unsigned long long)r->states, r->cpu_seconds > 0 ? (double)r->steps / r->cpu_seconds / 1e6 : 0.0);
	if (r->bound >= 0)
		printf("; all of %d preemptions (%llu)", r->bound, (unsigned long long)r->all);
	printf("\n");
}

static int explore_all(struct options *o)
{
	int r;

	o->campaign.report = say;
	o->campaign.arg = o;
	r = campaign_run(&o->campaign);
	if (r < 0)
		fprintf(stderr, "userkvm explore: %s: %s\n", o->campaign.state, strerror(-r));
	else if (!r)
		printf("nothing was found\n");
	return r ? CLI_PROBLEM : CLI_OK;
}

static bool must_find(const struct options *o, const struct scenario *s, enum defect d)
{
	struct explore_result r;
	bool late, lengthy;

	defect_on = d;
	explore_search(s, &o->campaign.limits, &r);
	defect_on = DEFECT_NONE;
	printf("%-17s %-23s ", s->name, explore_defect_name(d));
	if (r.verdict == SCHED_OK) {
		printf("NOT FOUND in %llu schedules, %.2f s\n", (unsigned long long)r.executions, r.cpu_seconds);
		fflush(stdout);
		return false;
	}
	late = r.cpu_seconds > MOST_SECONDS;
	lengthy = r.choices > EXPLORE_SHORT;
	printf("found after %llu, %.2f s%s, in %u choices%s: %s\n", (unsigned long long)r.executions, r.cpu_seconds,
	       late ? ", which is TOO LATE" : "", r.choices, lengthy ? ", which are TOO MANY" : "", r.why);
	fflush(stdout);
	return !late && !lengthy;
}

static bool must_find_all(const struct options *o, const struct scenario *s)
{
	bool all = true;

	for (unsigned d = 0; d < ARRAY_SIZE(s->catches) && s->catches[d]; d++)
		all &= must_find(o, s, s->catches[d]);
	return all;
}

static int self_test(const struct options *o)
{
	const struct scenario *s;
	bool all = true;

	for (unsigned i = 0; (s = campaign_scenario(&o->campaign, i)); i++)
		all &= must_find_all(o, s);
	return all ? CLI_OK : CLI_PROBLEM;
}

static int lesson(const struct options *o)
{
	const struct lesson *l = explore_lesson(o->lesson);
	const struct scenario *s = explore_find(l->scenario);
	struct explore_result r;

	printf("%s\n\nWhat happened\n%s\n\n", l->mail, l->happened);
	printf("The mistake, here (--defect %s)\n%s\n\n", explore_defect_name(l->defect), l->mistake);
	printf("A schedule that shows it: %s\n", s->what);
	defect_on = l->defect;
	explore_search(s, &o->campaign.limits, &r);
	if (r.verdict == SCHED_OK) {
		printf("none was found in %llu executions\n", (unsigned long long)r.executions);
		return CLI_PROBLEM;
	}
	report(s, &r, &(struct looks){.verbose = true});
	printf("\nThe rule\n%s\n", l->rule);
	return CLI_OK;
}

static int replay(const struct options *o)
{
	const struct scenario *s = o->campaign.only[0];
	enum sched_verdict v;
	struct sched_schedule t;

	if (!text_parse(o->replay, &t)) {
		fprintf(stderr, "userkvm explore: `%s' is not a schedule\n", o->replay);
		return CLI_USAGE;
	}
	explore_survey(s);
	v = explore_run(s, &t);
	printf("%s: %s\n", s->name, v == SCHED_OK ? "nothing found" : sched_why());
	look_at(s, &t, &o->look);
	return v == SCHED_OK ? CLI_OK : CLI_PROBLEM;
}

int cli_explore(int argc, char **argv)
{
	static const struct argp argp = {argp_options, parse, NULL, doc, NULL, NULL, NULL};
	struct options o = {
		.campaign.limits = {.order = true, .preemptions = 2, .changes = 3, .seed = 1}};
	struct campaign *c = &o.campaign;
	char name[] = "userkvm explore";

	argv[0] = name;
	argp_err_exit_status = CLI_USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &o))
		return CLI_USAGE;
	if (o.list)
		return list();
	/* How many executions a defect takes does not depend on how busy the machine is. */
	if (c->limits.seconds <= 0 && c->seconds <= 0 && !c->limits.executions) {
		if (o.self_test || o.lesson)
			c->limits.executions = SELF_TEST_EXECUTIONS;
		else
			c->seconds = TIME;
	}
	if (o.random)
		c->limits.order = false;
	if (o.self_test)
		return self_test(&o);
	if (o.lesson)
		return lesson(&o);
	defect_on = (enum defect)o.defect;
	return o.replay ? replay(&o) : explore_all(&o);
}
