/* SPDX-License-Identifier: MIT */
/*
 * cli/cli.h: the userkvm command, a file per subcommand.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

/* Exit statuses, as env(1) and timeout(1) use them. */
enum cli_status {
	CLI_OK = 0,
	CLI_PROBLEM = 1,       /* doctor found something that stands in the way */
	CLI_USAGE = 64,	       /* EX_USAGE: a wrong command line */
	CLI_FAILED = 125,      /* userkvm itself failed */
	CLI_CANNOT_EXEC = 126, /* the command was found and cannot be run under userkvm */
	CLI_NOT_FOUND = 127,
};

/* argv[0] is the subcommand's name. Each returns an exit status. */
int cli_run(int argc, char **argv);
int cli_doctor(int argc, char **argv);
int cli_explore(int argc, char **argv);
int cli_stat(int argc, char **argv);

/* Where libuserkvm.so is; 0 or -ENOENT. */
int library_find(char *path, size_t size);
/*
 * LD_PRELOAD with the library first. 0, or -EINVAL when the loader could not read its path
 * (spaces and colons separate its list), or -ENOMEM.
 */
int library_preload(const char *path);

/*
 * Can userkvm run this executable file? 0, or CLI_* with a sentence that says why not in `why`
 * (it follows the file's name and a colon).
 */
int target_check(const char *path, char *why, size_t size);
/* Find `command` as execvp() does. 0, CLI_NOT_FOUND or CLI_CANNOT_EXEC. */
int target_find(const char *command, char *path, size_t size);

#endif
