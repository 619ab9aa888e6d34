/* SPDX-License-Identifier: MIT */
/* cli/trace.c: `userkvm trace`: KVM calls and what happens in guests, as they come. */
#include "cli/trace.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "cli/cli.h"

static const char doc[] =
	"Show every KVM call of COMMAND, or of the running process PID, by name and field, and how each "
	"KVM_RUN ended; with -e what happens in the guest, too.\v"
	"COMMAND is run as `userkvm run' does, and what it starts is traced as well, until all of them have ended "
	"or an interrupt. No debugger is "
	"attached and nothing is stopped: userkvm's library writes down what happens, in shared memory.\n"
	"\n"
	"WORDS has commas between its words: calls (what is shown without -e), exceptions, interrupts, msrs, "
	"crs, halts, devices, faults, memslots, invalidations, guest (all but calls), all; or the name of "
	"an event, a call or an exit (KVM_SET_*, KVM_EXIT_MMIO); ! before a word takes away. "
	"`userkvm trace --list' prints them.\n"
	"\n"
	"Exit status: that of COMMAND, or 0; 1 if there is no such process or it has opened no /dev/kvm; 64 "
	"if the command line is wrong; 125 if userkvm fails.";

#define POLL_MS	 2
#define KEY_JSON 256
#define KEY_LIST 257
#define KEY_NAMES 258

struct request {
	pid_t pid;
	char **command;
	int nwords;
	struct filter *filter;
	struct show show;
	struct summary *summary;
	const char *output;
};

static void take_filter(const char *text, struct request *q, const struct argp_state *state)
{
	const char *word;

	q->filter = filter_parse(text, &word);
	if (!q->filter)
		argp_error(state, "-e: `%s' is no group, event, call or exit; see --list", word);
}

static void take_pid(const char *arg, struct request *q, const struct argp_state *state)
{
	char *end;
	long pid = strtol(arg, &end, 10);

	if (*end || pid <= 0 || pid > INT_MAX)
		argp_error(state, "`%s' is no process id", arg);
	q->pid = (pid_t)pid;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct request *q = state->input;

	switch (key) {
	case 'p':
		take_pid(arg, q, state);
		return 0;
	case 'e':
		take_filter(arg, q, state);
		return 0;
	case 'c':
		q->summary = summary_new();
		return 0;
	case 'o':
		q->output = arg;
		return 0;
	case KEY_JSON:
		q->show.json = true;
		return 0;
	case KEY_NAMES:
		q->show.symbols = symbols_read(arg);
		if (!q->show.symbols)
			argp_error(state, "%s: %s", arg, strerror(errno));
		return 0;
	case KEY_LIST:
		filter_list(stdout);
		exit(CLI_OK);
	case ARGP_KEY_ARG:
		q->command = state->argv + state->next - 1;
		q->nwords = state->argc - state->next + 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		if (!q->pid == !q->command)
			argp_error(state, "either a command or -p PID");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void take_record(void *arg, pid_t pid, const struct trace_record *r)
{
	struct request *q = arg;

	if (!filter_wants(q->filter, r))
		return;
	if (q->summary)
		summary_add(q->summary, r);
	else
		show_record(&q->show, pid, r);
}

static void drain(struct request *q, struct tracer *t, bool all)
{
	q->show.many |= t->n > 1;
	if (tracer_drain(t, all, take_record, q)) {
		fprintf(stderr, "userkvm: trace: out of memory\n");
		exit(CLI_FAILED);
	}
	fflush(q->show.out);
}

static int finish(struct request *q, struct tracer *t)
{
	u64 lost;

	drain(q, t, true);
	lost = tracer_close(t);
	if (q->summary)
		summary_print(q->summary, q->show.out, q->show.json);
	if (lost)
		fprintf(stderr, "userkvm: trace: %llu events found no room and are not shown; -e asks for fewer\n",
			(unsigned long long)lost);
	if (fflush(q->show.out) || ferror(q->show.out)) {
		fprintf(stderr, "userkvm: trace: output: %s\n", strerror(errno));
		return CLI_FAILED;
	}
	return CLI_OK;
}

/* ---- a process that runs */

int trace_complain(pid_t pid, int err)
{
	switch (err) {
	case -ESRCH:
		fprintf(stderr, "userkvm: there is no process %d\n", pid);
		return CLI_PROBLEM;
	case -ENOENT:
		fprintf(stderr, "userkvm: process %d has not opened userkvm's /dev/kvm\n", pid);
		return CLI_PROBLEM;
	case -EBUSY:
		fprintf(stderr, "userkvm: process %d is being traced already\n", pid);
		return CLI_PROBLEM;
	case -EPROTO:
		fprintf(stderr, "userkvm: process %d runs under another version of userkvm\n", pid);
		return CLI_PROBLEM;
	case -EACCES:
	case -EPERM:
		fprintf(stderr, "userkvm: process %d is not yours to look at; try as its user or as root\n", pid);
		return CLI_FAILED;
	default:
		fprintf(stderr, "userkvm: cannot trace process %d: %s\n", pid, strerror(-err));
		return CLI_FAILED;
	}
}

static int trace_running(struct request *q, struct tracer *t, int signals)
{
	struct pollfd p = {.fd = signals, .events = POLLIN};
	int r = tracer_attach(t, q->pid);

	if (r)
		return trace_complain(q->pid, r);
	fprintf(stderr, "userkvm: tracing process %d; interrupt to end\n", q->pid);
	while (t->n && poll(&p, 1, POLL_MS) <= 0)
		drain(q, t, false);
	return finish(q, t);
}

/* ---- one we start */

struct place {
	char dir[64];
	struct sockaddr_un at;
};

static int open_socket(struct place *p)
{
	const char *tmp = getenv("TMPDIR");
	int fd;

	snprintf(p->dir, sizeof(p->dir), "%.32s/userkvm-trace.XXXXXX", tmp && strlen(tmp) < 32 ? tmp : "/tmp");
	if (!mkdtemp(p->dir))
		return -1;
	p->at.sun_family = AF_UNIX;
	snprintf(p->at.sun_path, sizeof(p->at.sun_path), "%s/socket", p->dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (void *)&p->at, sizeof(p->at)) || listen(fd, 64))
		return -1;
	return fd;
}

static void close_socket(const struct place *p)
{
	unlink(p->at.sun_path);
	rmdir(p->dir);
}

static int receive_file(int sock)
{
	char byte;
	struct iovec iov = {&byte, 1};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *h;
	int fd = -1;

	if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	h = CMSG_FIRSTHDR(&m);
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(h), sizeof(fd));
	return fd;
}

/* A process has opened /dev/kvm, and waits for our word. */
static void meet(struct tracer *t, int listener)
{
	int sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC), fd, r;
	struct ucred who;
	socklen_t size = sizeof(who);

	if (sock < 0)
		return;
	fd = receive_file(sock);
	if (fd >= 0 && !getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &size)) {
		r = tracer_add(t, who.pid, fd);
		if (r)
			trace_complain(who.pid, r);
	}
	close(sock); /* the word */
}

static pid_t start(struct request *q, const struct place *at, const sigset_t *before)
{
	static char run[] = "run", dashes[] = "--";
	char *argv[q->nwords + 3];
	pid_t child = fork();

	if (child)
		return child;
	sigprocmask(SIG_SETMASK, before, NULL);
	setenv(TRACE_SOCKET_ENV, at->at.sun_path, 1);
	argv[0] = run;
	argv[1] = dashes;
	memcpy(argv + 2, q->command, (size_t)q->nwords * sizeof(*argv));
	argv[q->nwords + 2] = NULL;
	_exit(cli_run(q->nwords + 2, argv));
}

/*
 * Signals that are meant for the command reach it by themselves from a terminal, else by us. True: the
 * command has ended, and one is for us to end, too.
 */
static bool take_signal(int signals, pid_t child)
{
	struct signalfd_siginfo s;

	if (read(signals, &s, sizeof(s)) != sizeof(s) || s.ssi_signo == SIGCHLD)
		return false;
	if (child && s.ssi_code != SI_KERNEL)
		kill(child, (int)s.ssi_signo);
	return !child;
}

/* Until the command has ended, and what it has left behind with a /dev/kvm open. The command's status. */
static int watch(struct request *q, struct tracer *t, int listener, int signals, pid_t child)
{
	struct pollfd p[] = {{.fd = listener, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
	int status = 0;

	while (child || t->n) {
		poll(p, 2, POLL_MS);
		if (p[0].revents & POLLIN)
			meet(t, listener);
		if ((p[1].revents & POLLIN) && take_signal(signals, child))
			break;
		drain(q, t, false);
		if (child && waitpid(child, &status, WNOHANG) == child) {
			child = 0;
			t->looked = 0;
		}
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int trace_started(struct request *q, struct tracer *t, int signals, const sigset_t *before)
{
	struct place at;
	int listener = open_socket(&at), status, r;
	pid_t child;

	if (listener < 0) {
		fprintf(stderr, "userkvm: trace: cannot make a socket: %s\n", strerror(errno));
		return CLI_FAILED;
	}
	child = start(q, &at, before);
	if (child < 0) {
		fprintf(stderr, "userkvm: trace: cannot start a process: %s\n", strerror(errno));
		close_socket(&at);
		return CLI_FAILED;
	}
	status = watch(q, t, listener, signals, child);
	close_socket(&at);
	r = finish(q, t);
	return r ? r : status;
}

int cli_trace(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"pid", 'p', "PID", 0, "trace the process PID, until it ends or an interrupt", 0},
		{"count", 'c', NULL, 0, "at the end, print how often and how long, and no lines before", 0},
		{"event", 'e', "WORDS", 0, "what to show", 0},
		{"output", 'o', "FILE", 0, "write to FILE, not to standard error", 0},
		{"json", KEY_JSON, NULL, 0, "print a JSON object a line", 0},
		{"kallsyms", KEY_NAMES, "FILE", 0, "name guest addresses by a copy of the guest's /proc/kallsyms", 0},
		{"list", KEY_LIST, NULL, 0, "print the words that -e knows", 0},
		{0},
	};
	static const struct argp argp = {
		.options = options, .parser = parse, .args_doc = "COMMAND [ARG...]\n-p PID", .doc = doc};
	static char name[] = "userkvm trace";
	struct request q = {.show = {.begun = clock_ns(CLOCK_MONOTONIC), .out = stderr}};
	struct tracer t = {0};
	sigset_t set, before;
	int signals;

	argv[0] = name;
	if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &q))
		return CLI_FAILED;
	if (!q.filter)
		take_filter("calls", &q, NULL);
	if (q.output && !(q.show.out = fopen(q.output, "we"))) {
		fprintf(stderr, "userkvm: %s: %s\n", q.output, strerror(errno));
		return CLI_FAILED;
	}
	t.mask = filter_mask(q.filter);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &before);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return q.pid ? trace_running(&q, &t, signals) : trace_started(&q, &t, signals, &before);
}
