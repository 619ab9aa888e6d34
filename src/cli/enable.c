/* SPDX-License-Identifier: MIT */
/*
 * cli/enable.c: `userkvm enable': userkvm for every program of a machine or container, or for services of
 * systemd's, with nobody to type `userkvm run'.
 */
#include "cli/enable.h"

#include <argp.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/ledger.h"

static const char doc[] =
	"Give a /dev/kvm that userkvm carries out to every program that is started on this machine or "
	"container from now on, or to the services that --service names.\v"
	"Every change is printed, and taken back by `userkvm disable'. Programs that run already are not "
	"changed. Only root can do this, and only with a userkvm that is installed where nobody else "
	"writes.\n"
	"\n"
	"For the machine, /etc/ld.so.preload names userkvm's library. What would break is refused: a "
	"system with 32-bit programs, or one whose shell has another C library than glibc. For a "
	"service it is a drop-in, and no other program is touched.\n"
	"\n"
	"Exit status: 0 if it is enabled, 1 if it was refused, with nothing changed.\n"
	"\n"
	"Examples:\n"
	"  userkvm enable --device\n"
	"  userkvm enable --service=libvirtd.service";

#define KEY_ROOT    256 /* no letter */
#define KEY_SERVICE 257
#define KEY_DEVICE  258
#define MAX_SERVICES 64
#define TMPFILES    "/etc/tmpfiles.d/userkvm.conf"

struct request {
	const char *root;
	const char *service[MAX_SERVICES];
	int services;
	bool device;
	mode_t mode; /* 0: by whether there is a group */
	const char *group;
};

int enable_refuse(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	fflush(stdout);
	fputs("userkvm: ", stderr);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
	va_end(ap);
	return -1;
}

/* ------------------------------------------------------------------ arguments */

/* MODE[:GROUP] */
static void take_device(const char *arg, struct request *q, const struct argp_state *state)
{
	char *end;

	q->device = true;
	if (!arg)
		return;
	q->mode = (mode_t)strtoul(arg, &end, 8);
	if (end == arg || (*end && *end != ':') || q->mode > 0777 || !q->mode)
		argp_error(state, "--device takes a mode and a group, as 660:kvm, not %s", arg);
	q->group = *end ? end + 1 : "root";
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct request *q = state->input;

	switch (key) {
	case KEY_ROOT:
		q->root = arg;
		return 0;
	case KEY_SERVICE:
		if (q->services == MAX_SERVICES)
			argp_error(state, "that is more than %d services", MAX_SERVICES);
		q->service[q->services++] = arg;
		return 0;
	case KEY_DEVICE:
		take_device(arg, q, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ------------------------------------------------------------------ what is installed */

struct installed {
	char command[PATH_MAX], library[PATH_MAX], loader[PATH_MAX];
};

static int find_installed(struct installed *w)
{
	ssize_t n = readlink("/proc/self/exe", w->command, sizeof(w->command) - 1);

	if (n < 0 || library_find(w->library, sizeof(w->library)) ||
	    loader_find(w->loader, sizeof(w->loader)))
		return enable_refuse("userkvm's library or loader is not where it is installed");
	w->command[n] = '\0';
	if (strpbrk(w->library, " :\t\n"))
		return enable_refuse("%s: the list of libraries cannot hold a path with a space or a colon",
				     w->library);
	return 0;
}

/* A path as it is seen in `root`, where it lies in there. */
static void strip_root(char *path, const char *root)
{
	size_t n = strlen(root);

	if (n > 1 && !strncmp(path, root, n) && path[n] == '/')
		memmove(path, path + n, strlen(path + n) + 1);
}

/* From here on its root is ours: all else is as on a machine of its own. */
static int enter_root(struct installed *w, const char *root)
{
	char real[PATH_MAX];

	if (!root)
		return 0;
	if (!realpath(root, real) || chroot(real) || chdir("/"))
		return enable_refuse("%s: %s", root, strerror(errno));
	strip_root(w->command, real);
	strip_root(w->library, real);
	strip_root(w->loader, real);
	return 0;
}

static int check_installed(const struct installed *w)
{
	int r = check_owned(w->library);

	if (!r)
		r = check_owned(w->loader);
	return r ? r : check_owned(w->command);
}

/* ------------------------------------------------------------------ the changes */

static int failed(const char *path, int r)
{
	return enable_refuse("%s: %s", path, strerror(-r));
}

static int enable_machine(struct ledger *l, const struct installed *w)
{
	int r = check_all_programs();

	if (!r)
		r = check_trial(w->library);
	if (r)
		return r;
	if (ledger_has_line(PRELOAD_FILE, w->library)) {
		printf("enabled  %s names %s already\n", PRELOAD_FILE, w->library);
		return 0;
	}
	r = ledger_add_line(l, PRELOAD_FILE, w->library);
	if (r)
		return failed(PRELOAD_FILE, r);
	printf("changed  %s: every program from now on loads %s\n", PRELOAD_FILE, w->library);
	return check_trial(NULL);
}

static int enable_service(struct ledger *l, const struct installed *w, const char *unit)
{
	char path[PATH_MAX], *content = NULL;
	int r = service_dropin(unit, w->library, w->command, path, sizeof(path), &content);

	if (r)
		return r;
	r = check_trial(w->library);
	if (!r) {
		r = ledger_add_file(l, path, content);
		if (r)
			failed(path, r);
		else
			printf("made     %s: %s, when it is started again, is with userkvm\n", path, unit);
	}
	free(content);
	return r;
}

/* Is there a KVM, to which the node would lead? */
static bool machine_has_kvm(void)
{
	FILE *f = fopen("/proc/misc", "re");
	char name[64];
	bool has = false;
	int minor;

	while (f && !has && fscanf(f, "%d %63s", &minor, name) == 2)
		has = minor == NODE_MINOR && !strcmp(name, "kvm");
	if (f)
		fclose(f);
	return has;
}

/* On systemd's machines /dev is made anew at each start. */
static int keep_node(struct ledger *l, const struct request *q, const char *group)
{
	char line[128];
	int r;

	if (access("/usr/lib/tmpfiles.d", F_OK))
		return 0;
	snprintf(line, sizeof(line), "c " NODE " 0%o root %s - %d:%d\n", q->mode, group, NODE_MAJOR,
		 NODE_MINOR);
	r = ledger_add_file(l, TMPFILES, line);
	if (r)
		return failed(TMPFILES, r);
	printf("made     %s: the same at each start of the machine\n", TMPFILES);
	return 0;
}

static int enable_device(struct ledger *l, struct request *q)
{
	const char *name = q->group ? q->group : "kvm";
	const struct group *group = getgrnam(name);
	struct stat st;
	int r;

	if (lstat(NODE, &st) == 0) {
		printf("enabled  %s is there already, and left as it is\n", NODE);
		return 0;
	}
	if (machine_has_kvm())
		return enable_refuse("this machine has a KVM of its own, to which %s would lead programs "
				     "that userkvm does not reach",
				     NODE);
	if (q->group && !group)
		return enable_refuse("there is no group %s", q->group);
	if (!q->mode)
		q->mode = group ? 0660 : 0666;
	r = ledger_add_node(l, NODE, q->mode, group ? group->gr_gid : 0, makedev(NODE_MAJOR, NODE_MINOR));
	if (r)
		return failed(NODE, r);
	printf("made     %s: mode 0%o, group %s\n", NODE, q->mode, group ? name : "root");
	return keep_node(l, q, group ? name : "root");
}

static int enable(struct ledger *l, const struct installed *w, struct request *q)
{
	int r = 0;

	if (!q->services)
		r = enable_machine(l, w);
	for (int i = 0; i < q->services && !r; i++)
		r = enable_service(l, w, q->service[i]);
	return !r && q->device ? enable_device(l, q) : r;
}

static int start(struct ledger *l, struct installed *w, const struct request *q)
{
	int r = geteuid() ? enable_refuse("only root can enable it; `userkvm run' is for everyone") : 0;

	if (!r)
		r = find_installed(w);
	if (!r)
		r = enter_root(w, q->root);
	if (!r)
		r = check_installed(w);
	if (r)
		return r;
	r = ledger_read(l);
	return r ? failed(LEDGER_FILE, r) : 0;
}

int cli_enable(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"root", KEY_ROOT, "DIRECTORY", 0,
		 "The machine whose root directory this is: userkvm is installed in there, too", 0},
		{"service", KEY_SERVICE, "UNIT", 0,
		 "Not for the machine, but for this service of systemd's; may be given again", 0},
		{"device", KEY_DEVICE, "MODE[:GROUP]", OPTION_ARG_OPTIONAL,
		 "Make a /dev/kvm for programs that look for one before they start anything: 660:kvm, or 666 "
		 "where there is no such group",
		 0},
		{0},
	};
	static const struct argp argp = {.options = options, .parser = parse, .doc = doc};
	static char name[] = "userkvm enable";
	static struct installed w; /* large */
	struct request q = {0};
	struct ledger l = {0};
	size_t before;
	int r;

	argv[0] = name;
	if (argp_parse(&argp, argc, argv, 0, NULL, &q))
		return CLI_FAILED;
	r = start(&l, &w, &q);
	if (r)
		return CLI_PROBLEM;
	before = l.n;
	r = enable(&l, &w, &q);
	if (r)
		ledger_undo(&l, before, stdout);
	else if (q.services && !q.root)
		service_reload();
	ledger_free(&l);
	return r ? CLI_PROBLEM : CLI_OK;
}
