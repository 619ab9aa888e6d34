/* SPDX-License-Identifier: MIT */
/* cli/disable.c: `userkvm disable': what `userkvm enable' has changed, taken back. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/enable.h"
#include "cli/ledger.h"

static const char doc[] =
	"Take back all that `userkvm enable' has changed, exactly, and print it.\v"
	"What somebody else has changed since is left alone, and said. Programs that run already keep "
	"userkvm until they end.\n"
	"\n"
	"Exit status: 0 if nothing of it is left, 1 otherwise.";

#define KEY_ROOT 256 /* no letter */

static error_t parse(int key, char *arg, struct argp_state *state)
{
	const char **root = state->input;

	if (key != KEY_ROOT)
		return ARGP_ERR_UNKNOWN;
	*root = arg;
	return 0;
}

static bool has_services(const struct ledger *l)
{
	char unit[UNIT_NAME];

	for (size_t i = 0; i < l->n; i++) {
		if (service_of(l->entry[i].path, unit))
			return true;
	}
	return false;
}

static int disable(const char *root)
{
	struct ledger l;
	bool services;
	int r;

	if (geteuid())
		return enable_refuse("only root can disable it");
	if (root && (chroot(root) || chdir("/")))
		return enable_refuse("%s: %s", root, strerror(errno));
	r = ledger_read(&l);
	if (r)
		return enable_refuse("%s: %s", LEDGER_FILE, strerror(-r));
	if (!l.n)
		printf("nothing was enabled\n");
	services = has_services(&l);
	r = l.n ? ledger_undo(&l, 0, stdout) : 0;
	if (r < 0)
		enable_refuse("%s: %s", LEDGER_FILE, strerror(-r));
	ledger_free(&l);
	if (services && !root)
		service_reload();
	return r;
}

int cli_disable(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"root", KEY_ROOT, "DIRECTORY", 0, "The machine whose root directory this is", 0},
		{0},
	};
	static const struct argp argp = {.options = options, .parser = parse, .doc = doc};
	static char name[] = "userkvm disable";
	const char *root = NULL;

	argv[0] = name;
	if (argp_parse(&argp, argc, argv, 0, NULL, &root))
		return CLI_FAILED;
	return disable(root) ? CLI_PROBLEM : CLI_OK;
}
