/* SPDX-License-Identifier: MIT */
/* tests/mappings/main.c: batches of rounds. What differs from the model ends it, with what makes it again. */
#include "mappings.h"
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 12 /* of a round: one VM, its tables and what its vCPUs have of them go on */

static const char usage[] =
	"usage: mappings [-t SECONDS | -n ROUNDS] [-s SEED] [-k one|turns|apart] [-m 0|1]\n"
	"Change a guest's page tables at random under its own code, and compare all it sees with a model.\n"
	"  -t  seconds, 60 unless -n says how many rounds\n"
	"  -s  the first round's seed (1); each round is one of its own, the next is one more\n"
	"  -k  one vCPU, two that take turns with the same tables, or two apart at once; else by turns\n"
	"  -m  the VMM changes mappings, dirty logging and protection meanwhile, or not; else now and then\n"
	"The last line has a digest of what the guests have said: the same for every engine and one seed.\n";

static uint64_t probes, faults;

static void count(unsigned v)
{
	probes += batch.nblocks[v];
	for (unsigned n = 0; n < batch.nblocks[v]; n++)
		faults += batch.expected[v][n].vector == VECTOR_PF;
}

static bool run_round(uint64_t seed, enum kind k, bool meddle)
{
	bool good = true;

	rnd_seed(seed * 0x2545f4914f6cdd1dull + k * 2 + meddle);
	script_begin(k);
	machine_create();
	for (unsigned n = 0; n < BATCHES && good; n++) {
		script_make();
		good = machine_run(meddle);
		for (unsigned v = 0; v < batch.vcpus; v++)
			count(v);
		if (!good)
			fprintf(stderr, "mappings: batch %u of -n 1 -s %lu -k %s -m %d\n", n, seed, kind_names[k], meddle);
	}
	return good;
}

static int find_kind(const char *name)
{
	for (int k = 0; k < NR_KINDS; k++) {
		if (!strcmp(name, kind_names[k]))
			return k;
	}
	fputs(usage, stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	uint64_t seed = 1, digest = 0, n = 0, rounds = 0;
	unsigned seconds = 60;
	int o, kind = -1, meddle = -1;
	time_t end;

	if (argc > 1 && !strcmp(argv[1], "--help")) {
		fputs(usage, stdout);
		return 0;
	}
	while ((o = getopt(argc, argv, "t:n:s:k:m:")) != -1) {
		switch (o) {
		case 't': seconds = (unsigned)atoi(optarg); break;
		case 'n': rounds = strtoull(optarg, NULL, 0); break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'k': kind = find_kind(optarg); break;
		case 'm': meddle = atoi(optarg); break;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	for (end = time(NULL) + seconds; rounds ? n < rounds : time(NULL) < end; n++, seed++) {
		enum kind k = kind < 0 ? (enum kind)(seed % NR_KINDS) : (enum kind)kind;

		if (!run_round(seed, k, meddle < 0 ? seed / NR_KINDS % 3 == 2 : meddle))
			return 1;
		digest = (digest ^ machine_digest()) * 0x100000001b3ull;
		machine_destroy();
	}
	printf("%lu rounds, %lu probes, %lu end in a fault: digest %016lx\n", n, probes, faults, digest);
	return 0;
}
