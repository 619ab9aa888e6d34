/* SPDX-License-Identifier: MIT */
/*
 * tests/torture/main.c: rounds, each in a process of its own, and what to say of one that fails.
 *
 * usage: torture [-t SECONDS | -n ROUNDS] [-s SEED] [-m MS] [-k KIND [-v VCPUS] [-p PARTS] [-n TIMES]]
 * -m: of a round; -k: this kind only; with -v or -p one round, which is SEED's, -n times.
 */
#include "torture.h"
#include "patience.h"
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HANGS_NS    60000000000ULL /* a round that takes so much longer than it should (patience.h) */
#define SHRINK_RUNS 2  /* tries at making one with less fail */

static unsigned ms = 700;

static uint64_t mix(uint64_t *s)
{
	uint64_t x = *s += 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL; /* splitmix64 */
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/* 0, or it failed. */
static int run(const struct round *r)
{
	struct patience p;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (!pid)
		machine_run(r, ms);
	p = patience_with(pid);
	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (patience_spent(&p) > HANGS_NS + ms * 1000000ULL * MAX_VCPUS) {
			fprintf(stderr, "torture: %s: hangs\n", r->kind->name);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return 1;
		}
		usleep(2000);
	}
	if (WIFSIGNALED(status))
		fprintf(stderr, "torture: %s: killed by signal %d\n", r->kind->name, WTERMSIG(status));
	return status;
}

static int fails_again(const struct round *r)
{
	for (int i = 0; i < SHRINK_RUNS; i++) {
		if (run(r))
			return 1;
	}
	return 0;
}

static void say(const char *what, const struct round *r)
{
	fprintf(stderr, "torture: %s: -m %u -k %s -s %#lx -v %u -p %#x\n", what, ms, r->kind->name,
		r->seed, r->vcpus, r->parts);
}

/* With fewer vCPUs, then with fewer parts. */
static void shrink(struct round *r)
{
	struct round less;

	say("failed", r);
	for (less = *r; less.vcpus > 1;) {
		less.vcpus /= 2;
		if (!fails_again(&less))
			break;
		*r = less;
	}
	for (unsigned i = 0; i < r->kind->nparts; i++) {
		less = *r;
		less.parts &= ~(1u << i);
		if (less.parts && less.parts != r->parts && fails_again(&less))
			*r = less;
	}
	say("the least that failed", r);
	for (unsigned i = 0; i < r->kind->nparts; i++) {
		if (r->parts >> i & 1)
			fprintf(stderr, "torture: part %s\n", r->kind->parts[i].name);
	}
}

static const struct kind *find_kind(const char *name)
{
	for (unsigned i = 0; i < nkinds; i++) {
		if (!strcmp(kinds[i]->name, name))
			return kinds[i];
	}
	fprintf(stderr, "torture: no kind %s\n", name);
	exit(2);
}

static struct round make_round(uint64_t *s, unsigned n, const struct kind *only)
{
	struct round r = {.kind = only ? only : kinds[n % nkinds], .seed = mix(s)};

	r.vcpus = 1 + (unsigned)(mix(s) % r.kind->max_vcpus);
	if (r.vcpus == 1)
		r.vcpus = 2;
	r.parts = (uint32_t)mix(s);
	if (!(r.parts & ((1u << r.kind->nparts) - 1)))
		r.parts = ~0u;
	return r;
}

int main(int argc, char **argv)
{
	unsigned seconds = 60, vcpus = 0, parts = 0, rounds = 0, n = 0;
	const struct kind *only = NULL;
	uint64_t seed = 1, s;
	time_t end;
	int o;

	while ((o = getopt(argc, argv, "t:s:m:k:v:p:n:")) != -1) {
		if (o == 't')
			seconds = (unsigned)atoi(optarg);
		else if (o == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (o == 'm')
			ms = (unsigned)atoi(optarg);
		else if (o == 'k')
			only = find_kind(optarg);
		else if (o == 'v')
			vcpus = (unsigned)atoi(optarg);
		else if (o == 'p')
			parts = (unsigned)strtoul(optarg, NULL, 0);
		else if (o == 'n')
			rounds = (unsigned)atoi(optarg);
		else
			return 2;
	}
	if (only && (vcpus || parts)) {
		struct round r = {only, seed, vcpus ? vcpus : 2, parts ? parts : ~0u};

		for (; n < rounds || !n; n++) {
			if (run(&r))
				return 1;
		}
		return 0;
	}
	printf("seed %#lx\n", seed);
	s = seed;
	for (end = time(NULL) + seconds; rounds ? n < rounds : time(NULL) < end; n++) {
		struct round r = make_round(&s, n, only);

		if (run(&r)) {
			shrink(&r);
			return 1;
		}
	}
	printf("%u rounds from seed %#lx: nothing\n", n, seed);
	return 0;
}
