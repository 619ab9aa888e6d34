/* SPDX-License-Identifier: MIT */
/*
 * explore/campaign.c: processes, because a search is of one thread and its memory is at the same addresses in
 * each execution. A child writes what it has to say to a file of its own, which is copied out when
 * it ends, and where it stopped to another: lines of the state file.
 */
#include "explore/campaign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACE_BYTES (64 * 1024) /* of a search's place, as text */

struct place {
	u64 seed;	    /* the next random one */
	int bound;	    /* preemptions of which all schedules were run; -1: none */
	u64 schedules;	    /* of the bound after that */
	u64 executions;	    /* in all */
	double seconds;
	char *at; /* of the search in order, or NULL */
};

struct job {
	const struct scenario *s;
	struct place place;
	FILE *out, *end;
	pid_t pid; /* 0: not running */
	bool done;
};

static struct job jobs[CAMPAIGN_SCENARIOS];
static unsigned njobs;

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
	if (sscanf(line, "%63s %llu %d %llu %llu %lf %65535s", name, (unsigned long long *)&p.seed, &p.bound,
		   (unsigned long long *)&p.schedules, (unsigned long long *)&p.executions, &p.seconds, at) < 6)
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
	fprintf(f, "%s %llu %d %llu %llu %.1f %s\n", name, (unsigned long long)p->seed, p->bound,
		(unsigned long long)p->schedules, (unsigned long long)p->executions, p->seconds,
		p->at ? p->at : "-");
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

static void child(const struct campaign *c, struct job *j, double seconds)
{
	struct explore_limits l = c->limits;
	struct explore_result r;
	bool clean;

	if (dup2(fileno(j->out), STDOUT_FILENO) < 0)
		_exit(2);
	if (seconds > 0)
		l.seconds = seconds;
	if (c->state) {
		l.seed = j->place.seed;
		l.from = j->place.bound + 1;
		l.schedules = j->place.schedules;
		l.at = j->place.at;
	}
	explore_search(j->s, &l, &r);
	clean = c->report(j->s, &r, c->arg);
	fflush(stdout);
	j->place.seed = r.seed;
	j->place.bound = r.bound;
	j->place.schedules = r.at ? r.schedules : 0;
	j->place.executions += r.executions;
	j->place.seconds += r.seconds;
	j->place.at = r.at;
	write_place(j->end, j->s->name, &j->place);
	fflush(j->end);
	if (__gcov_dump)
		__gcov_dump();
	_exit(clean ? 0 : 1);
}

static bool start(const struct campaign *c, struct job *j, double seconds)
{
	j->out = tmpfile();
	j->end = tmpfile();
	if (!j->out || !j->end)
		return false;
	fflush(stdout);
	j->pid = fork();
	if (!j->pid)
		child(c, j, seconds);
	return j->pid > 0;
}

/* What it said, and where it stopped. True when it found nothing. */
static bool collect(struct job *j, int status)
{
	char buf[4096];
	char *line = NULL;
	size_t n, room = 0;

	rewind(j->out);
	while ((n = fread(buf, 1, sizeof(buf), j->out)))
		fwrite(buf, 1, n, stdout);
	if (!WIFEXITED(status))
		printf("%s: the search itself ended by signal %d\n", j->s->name, WTERMSIG(status));
	fflush(stdout);
	rewind(j->end);
	if (getline(&line, &room, j->end) > 0)
		read_place(line, true);
	free(line);
	fclose(j->out);
	fclose(j->end);
	j->pid = 0;
	j->done = true;
	return WIFEXITED(status) && !WEXITSTATUS(status);
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

int campaign_run(const struct campaign *c)
{
	unsigned most = c->jobs ? c->jobs : (unsigned)MAX(1L, sysconf(_SC_NPROCESSORS_ONLN));
	unsigned next = 0, running = 0;
	struct job *done;
	bool clean = true;
	int status, r;

	find_jobs(c);
	r = c->state ? read_state(c->state) : 0;
	while (!r && (running || (next < njobs && (clean || !c->first)))) {
		if (next < njobs && running < most && (clean || !c->first)) {
			/* The time that is left for one is the same for all. */
			double each = c->seconds * MIN(most, njobs) / njobs;

			if (!start(c, &jobs[next++], each))
				r = -errno;
			running++;
			continue;
		}
		done = wait_for_one(&status);
		clean &= collect(done, status);
		running--;
	}
	if (!r && c->state)
		r = write_state(c->state);
	return r ? r : !clean;
}
