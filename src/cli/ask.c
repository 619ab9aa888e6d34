/* SPDX-License-Identifier: MIT */
/* cli/ask.c: see ask.h. */
#include "cli/ask.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/trace.h"

#define LOOK_MS	  5
#define ANSWER_MS 3000 /* the process looks every 50 ms; longer: a second, while it has no VM */

/* ---- the command line */

static u64 number(const char *text, int base, u64 max, const struct argp_state *state)
{
	char *end;
	u64 n;

	errno = 0;
	n = strtoull(text, &end, base);
	if (errno || *end || end == text || *text == '-' || n > max)
		argp_error(state, "`%s' is no %s", text, base == 16 ? "address" : "number");
	return n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct ask *a = state->input;

	switch (key) {
	case 'v':
		a->vcpu = (u32)number(arg, 10, INT_MAX, state);
		return 0;
	case ARGP_KEY_ARG:
		if (!state->arg_num)
			a->pid = (pid_t)number(arg, 10, INT_MAX, state);
		else if (state->arg_num == 1 && a->takes_address)
			a->value = number(arg, 16, ~0ULL, state);
		else
			argp_error(state, "too many arguments");
		return 0;
	case ARGP_KEY_END:
		if (state->arg_num < 1 + (unsigned)a->takes_address)
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int parse_line(struct ask *a, int argc, char **argv, const char *args_doc, const char *doc)
{
	static const struct argp_option none[] = {{0}}, of_vcpus[] = {
		{"vcpu", 'v', "ID", 0, "only of the vCPU with this id", 0},
		{0},
	};
	const struct argp argp = {
		.options = a->question == TRACE_ASK_MAP ? none : of_vcpus, .parser = parse, .args_doc = args_doc,
		.doc = doc};

	return argp_parse(&argp, argc, argv, 0, NULL, a) ? CLI_FAILED : 0;
}

/* ---- the question */

/* Text of another process, behind what there is: nothing of it is for the terminal to obey. */
static char *copy_text(char *before, const u8 *from)
{
	size_t at = before ? strlen(before) : 0, i;
	char *text = realloc(before, at + TRACE_TEXT_SIZE);

	if (!text)
		exit(CLI_FAILED);
	for (i = 0; i < TRACE_TEXT_SIZE - 1 && from[i]; i++)
		text[at + i] = from[i] == '\n' || (from[i] >= ' ' && from[i] < 0x7f) ? (char)from[i] : '?';
	text[at + i] = '\0';
	return text;
}

/* 0: the answer is there. Else an exit status, and why is said. */
static int put_question(const struct ask *a, const struct traced *t, u64 from)
{
	u64 end = clock_ns(CLOCK_MONOTONIC) + ANSWER_MS * (NSEC_PER_SEC / 1000), asked;
	struct trace_page *p = t->page;

	__atomic_store_n(&p->question, a->question, __ATOMIC_RELAXED);
	__atomic_store_n(&p->vcpu, a->vcpu, __ATOMIC_RELAXED);
	__atomic_store_n(&p->value, a->value, __ATOMIC_RELAXED);
	__atomic_store_n(&p->from, from, __ATOMIC_RELAXED);
	asked = __atomic_add_fetch(&p->asked, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&p->answered, __ATOMIC_ACQUIRE) != asked) {
		if (!traced_alive(t)) {
			fprintf(stderr, "userkvm: process %d has ended\n", a->pid);
			return CLI_PROBLEM;
		}
		if (clock_ns(CLOCK_MONOTONIC) > end) {
			fprintf(stderr, "userkvm: process %d does not answer: %s\n", a->pid,
				"it is stopped, or has not run a guest yet");
			return CLI_PROBLEM;
		}
		poll(NULL, 0, LOOK_MS);
	}
	return 0;
}

/* Piece by piece. One asks at a time, whoever traces. */
static int take_answer(struct ask *a, const struct traced *t)
{
	u64 from = 0, next;
	int r;

	for (;; from = next) {
		r = put_question(a, t, from);
		if (r)
			return r;
		a->answer = copy_text(a->answer, t->map + TRACE_ANSWER_AT);
		if (!from) {
			a->reports = t->page->reports;
			a->report = copy_text(NULL, t->map + TRACE_REPORT_AT);
		}
		next = __atomic_load_n(&t->page->next, __ATOMIC_RELAXED);
		if (next <= from)
			return 0;
	}
}

int ask_process(struct ask *a, int argc, char **argv, char *name, const char *args_doc, const char *doc)
{
	struct traced t;
	int r;

	argv[0] = name;
	r = parse_line(a, argc, argv, args_doc, doc);
	if (r)
		return r;
	r = traced_open(&t, a->pid);
	if (r)
		return trace_complain(a->pid, r);
	while (lockf(t.fd, F_LOCK, 0) && errno == EINTR)
		;
	r = take_answer(a, &t);
	munmap(t.map, TRACE_FILE_SIZE);
	close(t.fd);
	if (r)
		ask_done(a);
	return r;
}

void ask_done(struct ask *a)
{
	free(a->answer);
	free(a->report);
}
