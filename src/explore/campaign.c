/* SPDX-License-Identifier: MIT */
/*
 * explore/campaign.c: processes, because a search is of one thread and its memory is at the same addresses in
 * each execution. A child writes what it has to say to a file of its own, which is copied out when
 * it ends, and where it stopped to another: lines of the state file.
 *
 * All are looked at for a while, then all for longer, from where they stopped: most of what there is to be found
 * takes few schedules, and then it does not matter which scenario it is in.
 */
#include "explore/campaign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PLACE_BYTES (64 * 1024) /* of a search's place, as text */

struct place {
	u64 seed;	    /* the next random one */
	int bound;	    /* preemptions of which all schedules were run; -1: none */
	u64 all;	    /* so many they were */
	u64 schedules;	    /* of the bound after that */
	u64 executions;	    /* in all */
	double seconds;
	char *at; /* of the search in order, or NULL */
};

struct job {
	const struct scenario *s;
	struct place place;
	u64 executions, states; /* in the rounds before; of the one with the most */
	FILE *out, *end;
	pid_t pid; /* 0: not running */
	bool over; /* something was found, or all was run: nothing is left for the next round */
};

static struct job jobs[CAMPAIGN_SCENARIOS];
static unsigned njobs;

/* Parts of the time, each of which is divided among all. The first must be enough for a survey and some more. */
static const double rounds[] = {0.1, 0.3, 1};
#define ROUNDS ARRAY_SIZE(rounds)

/* A child's exit status: FOUND_LONG, with a schedule that another scenario may show shorter. */
enum { CLEAN, FOUND, FOUND_LONG, WHOLE };

/* -- the state file: a line for the program, then one for each scenario */

/* A search's place means something to the program it was made by only. */
static u64 program_hash(void)
{
	u64 h = 0xcbf29ce484222325ULL;
	FILE *f = fopen("/proc/self/exe", "rb");
	int c;

	while (f && (c = getc(f)) != EOF)
		h = (h ^ (u64)c) * 0x100000001b3ULL;
	if (f)
		fclose(f);
	return h;
}

static void read_place(const char *line, bool same_program)
{
	static char name[64], at[PLACE_BYTES];
	struct place p = {0};

	at[0] = 0;
	if (sscanf(line, "%63s %llu %d %llu %llu %lf %llu %65535s", name, (unsigned long long *)&p.seed, &p.bound,
		   (unsigned long long *)&p.schedules, (unsigned long long *)&p.executions, &p.seconds,
		   (unsigned long long *)&p.all, at) < 6)
		return;
	for (unsigned i = 0; i < njobs; i++) {
		if (strcmp(jobs[i].s->name, name))
			continue;
		if (!same_program) {
			p.bound = -1;
			p.schedules = 0;
		}
		p.at = same_program && at[0] && strcmp(at, "-") ? strdup(at) : NULL;
		jobs[i].place = p;
	}
}

static int read_state(const char *path)
{
	unsigned long long program = 0;
	char *line = NULL;
	size_t room = 0;
	FILE *f = fopen(path, "r");

	if (!f)
		return errno == ENOENT ? 0 : -errno;
	if (fscanf(f, "program %llx\n", &program) == 1) {
		bool same = program == program_hash();

		if (!same)
			printf("%s is of another program: its seeds go on, its schedules begin anew\n", path);
		while (getline(&line, &room, f) > 0)
			read_place(line, same);
	}
	free(line);
	fclose(f);
	return 0;
}

static void write_place(FILE *f, const char *name, const struct place *p)
{
	fprintf(f, "%s %llu %d %llu %llu %.1f %llu %s\n", name, (unsigned long long)p->seed, p->bound,
		(unsigned long long)p->schedules, (unsigned long long)p->executions, p->seconds,
		(unsigned long long)p->all, p->at ? p->at : "-");
}

/* In the place of the old one when it is whole. */
static int write_state(const char *path)
{
	char new[4096];
	FILE *f;
	int r;

	snprintf(new, sizeof(new), "%s.new", path);
	f = fopen(new, "w");
	if (!f)
		return -errno;
	fprintf(f, "program %llx\n", (unsigned long long)program_hash());
	for (unsigned i = 0; i < njobs; i++)
		write_place(f, jobs[i].s->name, &jobs[i].place);
	r = ferror(f) ? -EIO : 0;
	if (fclose(f) || (!r && rename(new, path)))
		r = -errno;
	return r;
}

/* -- a child */

/* There in a build that counts what is reached (tools/explore-coverage): a child's counts are to count. */
void __gcov_dump(void) __attribute__((weak));

static int status_of(const struct explore_result *r, const struct explore_limits *l)
{
	if (r->verdict != SCHED_OK)
		return r->choices > EXPLORE_SHORT && !l->unshrunk ? FOUND_LONG : FOUND;
	return r->whole ? WHOLE : CLEAN;
}

static void child(const struct campaign *c, struct job *j, double seconds, bool last)
{
	struct explore_limits l = c->limits;
	struct explore_result r;

	if (dup2(fileno(j->out), STDOUT_FILENO) < 0)
		_exit(FOUND);
	if (seconds > 0)
		l.seconds = seconds;
	l.seed = j->place.seed;
	l.from = j->place.bound + 1;
	l.schedules = j->place.schedules;
	l.at = j->place.at;
	explore_search(j->s, &l, &r);
	if (r.bound == j->place.bound) /* as an earlier round has left it */
		r.all = j->place.all;
	j->place.all = r.all;
	j->place.seed = r.seed;
	j->place.bound = r.bound;
	j->place.schedules = r.at ? r.schedules : 0;
	j->place.executions += r.executions;
	j->place.seconds += r.seconds;
	j->place.at = r.at;
	write_place(j->end, j->s->name, &j->place);
	r.executions += j->executions;
	r.states = MAX(r.states, j->states);
	fprintf(j->end, "%llu %llu\n", (unsigned long long)r.executions, (unsigned long long)r.states);
	fflush(j->end);
	if (last || r.whole || r.verdict != SCHED_OK)
		c->report(j->s, &r, c->arg);
	fflush(stdout);
	if (__gcov_dump)
		__gcov_dump();
	_exit(status_of(&r, &l));
}

static bool start(const struct campaign *c, struct job *j, double seconds, bool last)
{
	j->out = tmpfile();
	j->end = tmpfile();
	if (!j->out || !j->end)
		return false;
	fflush(stdout);
	j->pid = fork();
	if (!j->pid)
		child(c, j, seconds, last);
	return j->pid > 0;
}

static void read_end(struct job *j)
{
	unsigned long long executions, states;
	char *line = NULL;
	size_t room = 0;

	rewind(j->end);
	if (getline(&line, &room, j->end) > 0)
		read_place(line, true);
	if (fscanf(j->end, "%llu %llu", &executions, &states) == 2) {
		j->executions = executions;
		j->states = states;
	}
	free(line);
}

/* What it said, and where it stopped. How it ended: a search that was killed has found something. */
static int collect(struct job *j, int status)
{
	bool ended = WIFEXITED(status);
	char buf[4096];
	size_t n;

	rewind(j->out);
	while ((n = fread(buf, 1, sizeof(buf), j->out)))
		fwrite(buf, 1, n, stdout);
	if (!ended)
		printf("%s: the search itself ended by signal %d\n", j->s->name, WTERMSIG(status));
	fflush(stdout);
	read_end(j);
	fclose(j->out);
	fclose(j->end);
	j->pid = 0;
	status = ended ? WEXITSTATUS(status) : FOUND;
	j->over = status != CLEAN;
	return status;
}

static struct job *wait_for_one(int *status)
{
	pid_t pid = wait(status);

	for (unsigned i = 0; i < njobs; i++) {
		if (jobs[i].pid && jobs[i].pid == pid)
			return &jobs[i];
	}
	return NULL;
}

const struct scenario *campaign_scenario(const struct campaign *c, unsigned n)
{
	if (!c->nonly)
		return explore_scenario(n);
	return n < c->nonly ? c->only[n] : NULL;
}

static void find_jobs(const struct campaign *c)
{
	const struct scenario *s;

	for (njobs = 0; njobs < CAMPAIGN_SCENARIOS && (s = campaign_scenario(c, njobs)); njobs++)
		jobs[njobs] = (struct job){.s = s, .place = {.seed = c->limits.seed, .bound = -1}};
}

/* ------------------------------------------------------------------ rounds */

/* A round of all that are not over. */
struct round {
	const struct campaign *c;
	unsigned most; /* at a time */
	double until;  /* 0: each has its limits */
	bool last;
	unsigned next, left, running; /* the next job; how many are to be begun; are running */
	bool clean, enough; /* nothing was found; no other is to be begun */
};

/* Seconds: of the clock, or those that children have used, divided among as many processors. */
static double now(const struct round *r)
{
	struct timespec ts;
	struct rusage u;

	if (!r->c->limits.processor_time) {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
	}
	getrusage(RUSAGE_CHILDREN, &u);
	return ((double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		(double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6) / r->most;
}

/* The time that is left is divided among those that are not begun. */
static bool start_next(struct round *r)
{
	double each = 0;

	while (jobs[r->next].over)
		r->next++;
	if (r->until > 0)
		each = MAX(0.001, (r->until - now(r)) * MIN(r->most, r->left) / r->left);
	r->left--;
	r->running++;
	return start(r->c, &jobs[r->next++], each, r->last);
}

/* In the last round each has its turn, however late it is: it says what it has seen. */
static bool may_start(const struct round *r)
{
	return r->left && !r->enough && (r->last || now(r) < r->until);
}

static int run_round(struct round *r)
{
	struct job *done;
	int status;

	r->next = r->left = r->running = 0;
	for (unsigned i = 0; i < njobs; i++)
		r->left += !jobs[i].over;
	while (r->running || may_start(r)) {
		if (r->running < r->most && may_start(r)) {
			if (!start_next(r))
				return -errno;
			continue;
		}
		done = wait_for_one(&status);
		status = collect(done, status);
		r->clean &= status == CLEAN || status == WHOLE;
		r->enough |= r->c->first && status == FOUND;
		r->running--;
	}
	return 0;
}

static int run_rounds(const struct campaign *c, bool *clean)
{
	unsigned processors = (unsigned)MAX(1L, sysconf(_SC_NPROCESSORS_ONLN));
	struct round r = {.c = c, .most = c->jobs ? c->jobs : processors, .clean = true};
	double start = now(&r);
	int err = 0;

	/* Where schedules are counted and not time, there is one round. */
	for (unsigned i = c->seconds > 0 ? 0 : ROUNDS - 1; !err && i < ROUNDS && !r.enough; i++) {
		r.until = c->seconds > 0 ? start + c->seconds * rounds[i] : 0;
		r.last = i == ROUNDS - 1;
		err = run_round(&r);
	}
	*clean = r.clean;
	return err;
}

int campaign_run(const struct campaign *c)
{
	bool clean = true;
	int r;

	find_jobs(c);
	r = c->state ? read_state(c->state) : 0;
	if (!r)
		r = run_rounds(c, &clean);
	if (!r && c->state)
		r = write_state(c->state);
	return r ? r : !clean;
}
