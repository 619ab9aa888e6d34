/* SPDX-License-Identifier: MIT */
/* cli/status.c: `userkvm status': what is enabled, and which programs use it. */
#include <argp.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/enable.h"
#include "cli/ledger.h"

#define LIBRARY	  "/libuserkvm.so"
#define WORLD	  "/userkvm-world"
#define OPEN_KVM  "/memfd:userkvm:kvm (deleted)"
#define PATH_SIZE 320 /* /proc, numbers, and a name */

static const char doc[] =
	"Say what `userkvm enable' has changed, and which running programs have userkvm.\v"
	"A program that has opened /dev/kvm stands in a line of its own, with how its calls come to "
	"userkvm: preload, or syscalls. Programs of other users are seen by root only.";

/* ------------------------------------------------------------------ what is enabled */

static void print_node(void)
{
	struct stat st;

	if (lstat(NODE, &st) == 0 && S_ISCHR(st.st_mode))
		printf("device   %s: mode 0%o, %u:%u\n", NODE, st.st_mode & 07777, st.st_uid, st.st_gid);
	else
		printf("device   %s is gone\n", NODE);
}

static void print_entry(const struct ledger_entry *e)
{
	char unit[UNIT_NAME];

	switch (e->kind) {
	case LEDGER_LINE:
	case LEDGER_LINE_MADE:
		printf("machine  %s %s %s\n", e->path,
		       ledger_has_line(e->path, e->detail) ? "loads" : "does not load any more",
		       e->detail);
		break;
	case LEDGER_FILE_MADE:
		if (service_of(e->path, unit))
			printf("service  %s: %s%s\n", unit, e->path,
			       access(e->path, F_OK) ? " is gone" : "");
		break;
	case LEDGER_NODE:
		print_node();
		break;
	default:
		break;
	}
}

static int print_enabled(void)
{
	struct ledger l;
	int r = ledger_read(&l);

	if (r)
		return enable_refuse("%s: %s", LEDGER_FILE, strerror(-r));
	if (!l.n)
		printf("enabled  nothing: only what `userkvm run' starts\n");
	for (size_t i = 0; i < l.n; i++)
		print_entry(&l.entry[i]);
	ledger_free(&l);
	return 0;
}

/* ------------------------------------------------------------------ running programs */

struct seen {
	unsigned with, hidden;
	bool header;
};

/* What of ours a process has mapped: NULL for nothing. */
static const char *how(const char *pid)
{
	char path[PATH_SIZE], *line = NULL;
	const char *way = NULL;
	size_t size = 0;
	ssize_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "re");
	while (f && (n = getline(&line, &size, f)) > 0) {
		line[n - 1] = '\0';
		if (strstr(line, WORLD))
			way = "syscalls";
		else if (!way && strstr(line, LIBRARY))
			way = "preload";
	}
	free(line);
	if (f)
		fclose(f);
	return way;
}

/* The link's text: as it is, and as it reads where /dev/kvm is open here, too. */
static bool is_kvm(const char *text)
{
	return !strcmp(text, OPEN_KVM) || !strcmp(text, NODE);
}

/* Has it opened /dev/kvm? -1: nobody lets us see. */
static int uses_kvm(const char *pid)
{
	char path[PATH_SIZE], link[sizeof(OPEN_KVM) + 1];
	const struct dirent *d;
	int found = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return errno == EACCES || errno == EPERM ? -1 : 0;
	while (!found && (d = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);

		link[n > 0 ? n : 0] = '\0';
		found = is_kvm(link);
	}
	closedir(dir);
	return found;
}

/* A program names itself as it likes: nothing of it is for the terminal to obey. */
static void read_name(const char *pid, char *name, int size)
{
	char path[PATH_SIZE];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(name, size, f))
		*name = '\0';
	if (f)
		fclose(f);
	name[strcspn(name, "\n")] = '\0';
	for (; *name; name++) {
		if (!isprint((unsigned char)*name))
			*name = '?';
	}
}

static void print_process(const char *pid, const char *way, struct seen *s)
{
	char path[PATH_SIZE], name[64], number[16];
	const struct passwd *user;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%s", pid);
	if (stat(path, &st))
		return;
	user = getpwuid(st.st_uid);
	snprintf(number, sizeof(number), "%u", st.st_uid);
	read_name(pid, name, sizeof(name));
	if (!s->header)
		printf("\n%8s  %-12s  %-8s  %s\n", "PID", "USER", "BY", "PROGRAM");
	s->header = true;
	printf("%8s  %-12s  %-8s  %s\n", pid, user ? user->pw_name : number, way, name);
}

static int print_processes(void)
{
	const struct dirent *d;
	struct seen s = {0};
	DIR *proc = opendir("/proc");

	if (!proc)
		return enable_refuse("/proc: %s", strerror(errno));
	while ((d = readdir(proc))) {
		const char *way;
		int uses;

		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		uses = uses_kvm(d->d_name);
		way = uses < 0 ? NULL : how(d->d_name);
		s.hidden += uses < 0;
		s.with += way != NULL;
		if (way && uses > 0)
			print_process(d->d_name, way, &s);
	}
	closedir(proc);
	printf("\n%u running program%s with userkvm", s.with, s.with == 1 ? "" : "s");
	printf(s.hidden ? "; %u others cannot be seen by you\n" : "\n", s.hidden);
	return 0;
}

int cli_status(int argc, char **argv)
{
	static const struct argp argp = {.doc = doc};
	static char name[] = "userkvm status";

	argv[0] = name;
	if (argp_parse(&argp, argc, argv, 0, NULL, NULL))
		return CLI_FAILED;
	return print_enabled() || print_processes() ? CLI_PROBLEM : CLI_OK;
}
