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
int cli_enable(int argc, char **argv);
int cli_disable(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_trace(int argc, char **argv);
int cli_why(int argc, char **argv);
int cli_walk(int argc, char **argv);
int cli_map(int argc, char **argv);

/* Where libuserkvm.so is; 0 or -ENOENT. */
int library_find(char *path, size_t size);
/* Where userkvm-loader is; the same. */
int loader_find(char *path, size_t size);
/* Become the program by the loader: argv is its own, with its name. Returns -errno. */
int loader_become(const char *loader, const char *path, char **argv);
/* LD_PRELOAD without the library, for a program that the loader runs. */
void library_drop(void);
/*
 * LD_PRELOAD with the library first. 0, or -EINVAL when the loader could not read its path
 * (spaces and colons separate its list), or -ENOMEM.
 */
int library_preload(const char *path);

/* How the calls of a program come to userkvm. */
enum target_way {
	WAY_NONE,
	WAY_PRELOAD, /* LD_PRELOAD: its libc's functions */
	WAY_LOADER,  /* src/loader: its system calls */
};

struct target_verdict {
	enum target_way way;
	bool preloadable; /* could be preloaded, even if another way is better */
	char why[8192];   /* a sentence that follows the file's name: "is statically linked, so ..." */
};

/* What userkvm would do with this executable file. */
void target_judge(const char *path, struct target_verdict *v);
/* Can this machine run programs that make their system calls themselves? Without FSGSBASE it cannot. */
bool target_below_libc(void);
/* Find `command` as execvp() does. 0, CLI_NOT_FOUND or CLI_CANNOT_EXEC. */
int target_find(const char *command, char *path, size_t size);

#endif
