/* SPDX-License-Identifier: MIT */
/*
 * soak/main.c: many pairs in sandboxed children, counted here.
 *
 * Usage: cpu_soak [-n PAIRS] [-s SEED] [-j CHILDREN] [-a] [-c] [-e] [-i] [-t] [-m NAME]
 *		   [-x BITS] [-r FILE] [-v FILE]
 * -a: show all that is found, not the first few;
 * -c: fail unless every line of the table that can be reached was; -e: excuse nothing but what
 * differs on every processor; -i: only the interpreter's own instructions; -t: by the translator;
 * -m: only mnemonics with NAME in them; -x: as on a host without these CPUID bits (avx512,sha_ni:
 * also all whose names begin so); -r: replay cases first; -v: show, by cases, that each fact of
 * table/vendor.h decides, and no more.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../lines.h"
#include "../random.h"
#include "cpu/native/xstate.h"
#include "cpu/table/features.h"
#include "cpu/table/vendor.h"
#include "soak.h"

#define BATCH	   100000u /* pairs a child: so many stubs fit in native/'s code cache */
#define MAX_FOUND  3000
#define FOUND_SIZE 4096
#define FEW_FOUND  40
#define MAX_WORK   16
#define STUCK_S	   60 /* a child that makes no progress in so much processor time hangs */
#define MAX_DEAD   8  /* children that died; more is enough */
#define PROGRESS_S 10

/* What a child has to say; one for each that runs at a time. */
struct report {
	u64 pairs, trapped, stuck, called;
	u64 differing;
	u64 excused[NR_EXCUSES];
	u64 decided[NR_VENDOR_FACTS];
	u64 compared[SOAK_MAX_LINES][SOAK_MODES], executed[SOAK_MAX_LINES][SOAK_MODES];
	u32 nfound;
	char found[MAX_FOUND][FOUND_SIZE];
	struct soak_case now; /* being tried: of interest when the child dies */
};

struct child {
	pid_t pid;
	struct report *report;
	u64 pairs_seen;
	time_t since; /* processor time */
};

static struct report total;
static u32 max_found = FEW_FOUND;
static u64 seed = 1, wanted = 100000;
static const char *regressions, *vendors, *only; /* part of the mnemonics to be tried */
static bool failed, integer_only;
static unsigned dead; /* children */
static bool strict; /* excuse nothing that userkvm does as Intel's processors do */

/* Of the table, from its begin, that are tried. */
static unsigned nr_lines(void)
{
	return integer_only ? table_integer_lines : table_nr_lines();
}

/* -- in a child */

static bool executed(unsigned mnemonic, int vector)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
		return vector == VEC_UD;
	default:
		return vector == VEC_BP || vector == VEC_DB || vector == VEC_OF;
	}
}

static bool differs(const struct soak_result *r)
{
	return r->what != DIFF_NONE || (strict && (r->excused & ~SOAK_EXPECTED));
}

static const char *end_text(const struct soak_end *e)
{
	static char text[2][64];
	static unsigned n;

	n ^= 1;
	snprintf(text[n], sizeof(text[n]), "%d (error %x, cr2 %lx)", e->vector, e->error,
		 e->cr2);
	return text[n];
}

/* The instruction, what differs, and the line for regressions.txt, as text. */
static void result_text(const struct soak_case *t, const struct soak_result *at, char *out,
			  size_t size)
{
	static const char *const what[] = {"nothing", "vector",		  "registers",
					   "flags",   "vector/x87 state", "memory"};
	struct soak_result r = *at;
	ZydisFormatter f;
	char text[128];
	size_t len;

	ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
	strcpy(text, "no instruction");
	if (t->i.mnemonic != ZYDIS_MNEMONIC_INVALID)
		ZydisFormatterFormatInstruction(&f, &t->i, t->o, t->i.operand_count_visible, text,
					sizeof(text), 0, NULL);
	len = (size_t)snprintf(out, size, "# %s: %s differ; host %s, userkvm %s\n", text,
			       what[r.what], end_text(&r.host_end), end_text(&r.guest_end));
	for (unsigned i = 0; i < 18; i++) {
		u64 h = ((const u64 *)&r.host)[i], g = ((const u64 *)&r.guest)[i];

		if (h != g)
			len += (size_t)snprintf(out + len, size - len,
						"# %s%u: host %lx userkvm %lx\n",
						i < 16 ? "reg " : "rip/flags ", i, h, g);
	}
	for (unsigned i = 0; i < sizeof(r.host.xsave) && len < size / 2; i += 8) {
		u64 h, g;

		memcpy(&h, r.host.xsave + i, 8);
		memcpy(&g, r.guest.xsave + i, 8);
		if (h != g && (i < 416 || i >= 576) && i != 24)
			len += (size_t)snprintf(out + len, size - len,
						"# x[%x]: host %lx userkvm %lx\n", i, h, g);
	}
	if (r.what == DIFF_MEMORY)
		len += (size_t)snprintf(out + len, size - len, "# m[%x]: host %lx userkvm %lx\n",
					r.mem_at, r.mem_host, r.mem_guest);
	for (unsigned i = 0; i < 6; i++) {
		if (r.host.sel[i] != r.guest.sel[i])
			len += (size_t)snprintf(out + len, size - len,
						"# sel %u: host %x userkvm %x\n", i,
						r.host.sel[i], r.guest.sel[i]);
	}
	regress_print(t, out + len, size - len);
}

static void describe(struct report *rep, struct soak_case *t, const struct soak_result *first)
{
	static struct soak_result r;

	regress_shrink(t);
	soak_compare(t, &r);
	/* Perhaps it does not differ again. */
	result_text(t, r.what == DIFF_NONE ? first : &r, rep->found[rep->nfound],
		    sizeof(rep->found[0]));
	rep->nfound++;
}

static void print_result(const struct soak_case *t, const struct soak_result *r)
{
	static char text[FOUND_SIZE];

	result_text(t, r, text, sizeof(text));
	fputs(text, stdout);
}

static enum soak_mode rnd_mode(void)
{
	u64 r = rnd() % 6;

	if (r < 3)
		return SOAK_64;
	return r < 5 || !generate_ldt ? SOAK_32 : SOAK_16;
}

static u64 sum(const u64 *per_mode)
{
	return per_mode[0] + per_mode[1] + per_mode[2];
}

/* Any; now and then one of those that have not completed yet. */
static unsigned choose_line(const struct report *rep)
{
	unsigned n = nr_lines(), line = (unsigned)(rnd() % n);

	if (rnd() % 8)
		return line;
	for (unsigned i = 0; i < n; i++) {
		unsigned l = (line + i) % n;

		if (!sum(rep->executed[l]) && !soak_privileged(table_line(l)->mnemonic) &&
		    !soak_not_compared(table_line(l)->mnemonic) && forms_line_on_host(l))
			return l;
	}
	return line;
}

static void one_pair(struct report *rep)
{
	static struct soak_result r;
	struct soak_case *t = &rep->now;
	unsigned line = choose_line(rep);
	unsigned mnemonic = table_line(line)->mnemonic;
	bool mutated = !only && rnd() % 16 == 0;

	t->mode = rnd_mode();
	if (!forms_line_on_host(line) || (only && !strstr(ZydisMnemonicGetString(mnemonic), only)) ||
	    soak_not_compared(mnemonic) || !forms_draw(t, mnemonic))
		return;
	if (mutated && !forms_mutate(t))
		return;
	if (!generate_state(t) || (!mutated && t->i.mnemonic != mnemonic))
		return;
	if (rnd() % 8 == 0)
		guest_flush_tlb();
	soak_compare(t, &r);
	if (r.host_end.vector == HOST_CALLED) {
		rep->called++;
		return;
	}
	rep->pairs++;
	if (r.host_end.vector == HOST_STUCK) {
		rep->stuck++;
		if (rep->nfound < max_found)
			regress_print(t, rep->found[rep->nfound++], sizeof(rep->found[0]));
		return;
	}
	if (!mutated)
		rep->compared[line][t->mode]++;
	if (!executed(mnemonic, r.host_end.vector))
		rep->trapped++;
	else if (!mutated)
		rep->executed[line][t->mode]++;
	for (unsigned e = 0; e < NR_EXCUSES; e++)
		rep->excused[e] += r.excused >> e & 1;
	for (unsigned f = 0; f < NR_VENDOR_FACTS; f++)
		rep->decided[f] += fact_decides(f, t, &r);
	if (!differs(&r))
		return;
	rep->differing++;
	if (rep->nfound < max_found)
		describe(rep, t, &r);
}

static void NORETURN child(struct report *rep, u64 batch, u64 pairs)
{
	int r;

	random_seed = (seed + batch) * 0x9e3779b97f4a7c15ULL | 1;
	generate_ldt = host_has_ldt();
	r = host_init();
	if (!r)
		r = guest_init();
	if (!r)
		r = sandbox_enter(false);
	if (r) {
		snprintf(rep->found[0], sizeof(rep->found[0]), "cannot begin: %s",
			 strerror(-r));
		rep->nfound = 1;
		rep->differing = 1;
		_exit(1);
	}
	for (u64 n = 0; rep->pairs < pairs; n++) {
		if (n % 64 == 0)
			generate_memory(&rep->now);
		one_pair(rep);
	}
	_exit(0);
}

/* -- here */

static void add_up(struct child *c)
{
	struct report *r = c->report;

	total.pairs += r->pairs;
	total.trapped += r->trapped;
	total.stuck += r->stuck;
	total.called += r->called;
	total.differing += r->differing;
	for (unsigned e = 0; e < NR_EXCUSES; e++)
		total.excused[e] += r->excused[e];
	for (unsigned f = 0; f < NR_VENDOR_FACTS; f++)
		total.decided[f] += r->decided[f];
	for (unsigned l = 0; l < nr_lines(); l++) {
		for (unsigned m = 0; m < SOAK_MODES; m++) {
			total.compared[l][m] += r->compared[l][m];
			total.executed[l][m] += r->executed[l][m];
		}
	}
	for (u32 i = 0; i < r->nfound && total.nfound < max_found; i++, total.nfound++)
		printf("%s\n", r->found[i]);
}

static void died(struct child *c, int status)
{
	static char line[16384];

	regress_print(&c->report->now, line, sizeof(line));
	printf("a child %s %d at:\n%s\n",
	       WIFSIGNALED(status) ? "was killed by signal" : "ended with",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), line);
	failed = true;
	dead++;
}

/* Processor time it has had, in seconds. */
static time_t time_of(pid_t pid)
{
	struct timespec t = {0};
	clockid_t clock;

	return clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t) ? 0 : t.tv_sec;
}

static void start(struct child *c, u64 batch, u64 pairs)
{
	memset(c->report, 0, sizeof(*c->report));
	c->since = 0;
	c->pairs_seen = 0;
	fflush(stdout);
	c->pid = fork();
	if (!c->pid)
		child(c->report, batch, pairs);
	if (c->pid < 0) {
		perror("fork");
		exit(1);
	}
}

/* Has this child ended, or does it hang? */
static bool ended(struct child *c)
{
	int status;

	if (waitpid(c->pid, &status, WNOHANG) == c->pid) {
		if (status)
			died(c, status);
		return true;
	}
	if (c->report->pairs != c->pairs_seen) {
		c->pairs_seen = c->report->pairs;
		c->since = time_of(c->pid);
	} else if (time_of(c->pid) - c->since > STUCK_S) {
		printf("no progress in %d s of processor time\n", STUCK_S);
		kill(c->pid, SIGKILL);
		waitpid(c->pid, &status, 0);
		died(c, status);
		return true;
	}
	return false;
}

static u64 under_way(const struct child *c, unsigned n)
{
	u64 sum = total.pairs;

	for (unsigned i = 0; i < n; i++)
		sum += c[i].pid ? c[i].report->pairs : 0;
	return sum;
}

static void run_all(unsigned nchildren)
{
	static struct child c[MAX_WORK];
	u64 batch = 0, given = 0;
	time_t told = time(NULL);
	unsigned running = 0;

	for (unsigned i = 0; i < nchildren; i++) {
		c[i].report = mmap(NULL, sizeof(*c[i].report), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (c[i].report == MAP_FAILED)
			exit(1);
	}
	do {
		for (unsigned i = 0; i < nchildren; i++) {
			if (c[i].pid && ended(&c[i])) {
				add_up(&c[i]);
				c[i].pid = 0;
				running--;
			}
			if (!c[i].pid && given < wanted && dead < MAX_DEAD) {
				u64 n = MIN((u64)BATCH, wanted - given);

				start(&c[i], batch++, n);
				given += n;
				running++;
			}
		}
		if (time(NULL) - told >= PROGRESS_S) {
			told = time(NULL);
			printf("%lu of %lu pairs, %lu differ\n", under_way(c, nchildren),
			       wanted, total.differing);
			fflush(stdout);
		}
		usleep(20000);
	} while (running);
}

/* -- coverage */

static unsigned list(const char *what, bool (*is)(unsigned line))
{
	unsigned n = 0;

	for (unsigned l = 0; l < nr_lines(); l++) {
		if (!is(l))
			continue;
		printf("%s%s", n++ ? " " : what,
		       ZydisMnemonicGetString(table_line(l)->mnemonic));
	}
	if (n)
		printf(" (%u)\n", n);
	return n;
}

static bool left_out(unsigned l)
{
	return soak_not_compared(table_line(l)->mnemonic);
}

static bool not_on_host(unsigned l)
{
	return !forms_line_on_host(l);
}

static bool not_reached(unsigned l)
{
	return !left_out(l) && !not_on_host(l) && !sum(total.compared[l]);
}

static bool privileged(unsigned l)
{
	return soak_privileged(table_line(l)->mnemonic);
}

/* User mode can, and has not. */
static bool only_faults(unsigned l)
{
	return !privileged(l) && sum(total.compared[l]) && !sum(total.executed[l]);
}

static bool any_executed(unsigned l)
{
	return sum(total.executed[l]);
}

static void print_coverage(bool must_cover)
{
	unsigned n = 0, missed;

	for (unsigned l = 0; l < nr_lines(); l++)
		n += any_executed(l);
	printf("%u lines of the table, %u executed without a fault\n", nr_lines(), n);
	list("not comparable: ", left_out);
	list("not on this host: ", not_on_host);
	list("faults in user mode: ", privileged);
	missed = list("not reached: ", not_reached);
	missed += list("never completed: ", only_faults);
	if (must_cover && missed)
		failed = true;
}

/* One that excuses much hides something. */
/* Lines that are not on this host are not drawn, so each of the others has a larger share of the pairs. */
static double share_of_a_line(void)
{
	unsigned here = 0;

	for (unsigned l = 0; l < nr_lines(); l++)
		here += !not_on_host(l);
	return (double)nr_lines() / MAX(1u, here);
}

static void print_excuses(void)
{
	bool amd = vendor_of_host() == VENDOR_AMD;
	double share = share_of_a_line();

	for (unsigned e = EXCUSE_NONE + 1; e < NR_EXCUSES; e++) {
		const struct soak_excuse *x = &soak_excuse[e];
		double max = MAX((integer_only ? x->max_integer : x->max) * share * total.pairs, 10.0);
		bool often = total.excused[e] > max;

		printf("%8lu excused: %s (%s %s)", total.excused[e], x->what, amd ? "APM" : "SDM",
		       amd ? x->amd : x->intel);
		if (often)
			printf("; more than %.0f is too often", max);
		putchar('\n');
		failed |= often;
	}
}

/* What the host's vendor does, or does not, and how many pairs were about it. */
static void print_facts(void)
{
	bool amd = vendor_of_host() == VENDOR_AMD;

	for (unsigned f = 0; f < USER_FACTS; f++) {
		const struct vendor_info *v = &vendor_info[f];

		printf("%8lu pairs: %s%s (%s %s)\n", total.decided[f],
		       vendor_does(vendor_of_host(), f) ? "" : "not here: ", v->what,
		       amd ? "APM" : "SDM", amd ? v->amd : v->intel);
	}
}

/* -- regressions */

static void replay_child(const char *file)
{
	static struct soak_result r;
	static struct soak_case t;
	static char line[65536];
	unsigned n = 0, bad = 0;
	bool ldt = host_has_ldt();
	FILE *f = fopen(file, "r");

	if (!f || host_init() || guest_init() || sandbox_enter(true))
		_exit(1);
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#' || line[0] == '\n')
			continue;
		n++;
		if (!regress_parse(line, &t)) {
			printf("not a case: %s", line);
			bad++;
			continue;
		}
		if (!ldt && regress_needs_ldt(&t))
			continue;
		soak_compare(&t, &r);
		if (differs(&r)) {
			puts("differs again:");
			print_result(&t, &r);
			bad++;
		}
	}
	printf("%u regression cases, %u differ\n", n, bad);
	fflush(stdout);
	_exit(bad != 0);
}

/*
 * Each fact has a case, or more, that ends otherwise when the guest is told the other vendor; with
 * the host's it ends as on the host. A case follows the name of its fact: its number in
 * enum vendor_fact, and what the line in vendor_info begins with.
 */
static void vendors_child(const char *file)
{
	enum vendor other = vendor_of_host() == VENDOR_AMD ? VENDOR_INTEL : VENDOR_AMD;
	static unsigned seen[NR_VENDOR_FACTS];
	static struct soak_result r;
	static struct soak_case t;
	static char line[65536];
	bool ldt = host_has_ldt();
	unsigned bad = 0, fact = 0;
	FILE *f = fopen(file, "r");

	if (!f || host_init() || guest_init() || sandbox_enter(true))
		_exit(1);
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (line[0] == '@') {
			for (fact = 0; fact < NR_VENDOR_FACTS; fact++) {
				if (!strncmp(line + 1, vendor_info[fact].what,
					     strcspn(line + 1, "\n")))
					break;
			}
			bad += fact == NR_VENDOR_FACTS;
			continue;
		}
		if (fact == NR_VENDOR_FACTS || !regress_parse(line, &t)) {
			printf("not a case: %s", line);
			bad++;
			continue;
		}
		seen[fact]++;
		if ((!ldt && regress_needs_ldt(&t)) || !feature_runs(&t.i) ||
		    (fact == FACT_HI16_IN_USE && !(host_xmask & XMASK_AVX512)))
			continue;
		soak_compare(&t, &r);
		if (differs(&r)) {
			printf("%s: not as on the host:\n", vendor_info[fact].what);
			print_result(&t, &r);
			bad++;
		} else if (!soak_vendor_differs(&t, &r, other)) {
			printf("%s: the vendor makes no difference: %s", vendor_info[fact].what,
			       line);
			bad++;
		}
	}
	for (unsigned i = 0; i < USER_FACTS; i++) {
		if (!seen[i]) {
			printf("no case for: %s\n", vendor_info[i].what);
			bad++;
		}
	}
	printf("%d facts, %u complaints\n", USER_FACTS, bad);
	fflush(stdout);
	_exit(bad != 0);
}

static void replay(const char *file, void (*child)(const char *file))
{
	int status = 1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		child(file);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		failed = true;
	if (WIFSIGNALED(status))
		printf("the child that replays was killed by signal %d\n", WTERMSIG(status));
}

int main(int argc, char **argv)
{
	unsigned children = (unsigned)MAX(1L, sysconf(_SC_NPROCESSORS_ONLN));
	bool must_cover = false;
	time_t began = time(NULL);
	int o;

	while ((o = getopt(argc, argv, "n:s:j:r:v:m:x:aceit")) != -1) {
		if (o == 'n')
			wanted = strtoull(optarg, NULL, 0);
		else if (o == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (o == 'j')
			children = (unsigned)atoi(optarg);
		else if (o == 'r')
			regressions = optarg;
		else if (o == 'v')
			vendors = optarg;
		else if (o == 'a')
			max_found = MAX_FOUND;
		else if (o == 'e')
			strict = true;
		else if (o == 't')
			guest_translated = true;
		else if (o == 'i')
			integer_only = true;
		else if (o == 'x')
			features_hide(optarg);
		else if (o == 'm')
			only = optarg;
		else if (o == 'c')
			must_cover = true;
		else
			return 2;
	}
	children = MAX(1u, MIN(children, (unsigned)MAX_WORK));
	if (guest_translated && !guest_can_translate())
		return 77;
	random_seed = seed | 1;
	forms_collect();
	printf("seed %lu\n", seed);
	if (regressions)
		replay(regressions, replay_child);
	if (vendors) {
		replay(vendors, vendors_child);
		return failed;
	}
	run_all(children);
	print_coverage(must_cover);
	print_facts();
	print_excuses();
	printf("%lu pairs in %ld s: %lu ended in a fault on both sides, %lu never ended on the "
	       "host, %lu differ; %lu more called the host's kernel\n",
	       total.pairs, (long)(time(NULL) - began), total.trapped, total.stuck,
	       total.differing, total.called);
	return failed || total.differing;
}
