/* SPDX-License-Identifier: MIT */
/*
 * cli/ledger.h: changes to a machine that `userkvm disable' takes back exactly.
 *
 * Each change is written down before it is made (LEDGER_FILE), so that one that was broken off is undone
 * as well. What somebody else has changed since is left alone, and said. For root, one at a time; paths
 * are absolute, and those of the root directory that the process has.
 */
#ifndef CLI_LEDGER_H
#define CLI_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#define LEDGER_DIRECTORY "/var/lib/userkvm"
#define LEDGER_FILE	 LEDGER_DIRECTORY "/enabled"

enum ledger_kind {
	LEDGER_LINE,	  /* the first line of a file */
	LEDGER_LINE_MADE, /* the same, of a file that was not there */
	LEDGER_FILE_MADE, /* a file */
	LEDGER_MADE_DIRECTORY,
	LEDGER_NODE, /* a device's */
	LEDGER_KINDS
};

struct ledger_entry {
	enum ledger_kind kind;
	char *path;
	char *detail; /* of a line: it; of a file: its checksum; else empty */
};

struct ledger {
	struct ledger_entry *entry;
	size_t n;
};

/* What was written down so far. 0, also where there is nothing; or -errno. */
int ledger_read(struct ledger *l);
void ledger_free(struct ledger *l);

/* Make a change. 0, also when it has been made before; or -errno, with nothing changed. */
int ledger_add_line(struct ledger *l, const char *path, const char *line);
int ledger_add_file(struct ledger *l, const char *path, const char *content);
int ledger_add_node(struct ledger *l, const char *path, mode_t mode, gid_t group, dev_t device);

/*
 * Take back all but the first `keep` changes, the last one first, and say so on `out`. How many could not
 * be taken back, which stay written down; or -errno.
 */
int ledger_undo(struct ledger *l, size_t keep, FILE *out);

/* Does this file's first lines hold `line`, as a whole? */
bool ledger_has_line(const char *path, const char *line);

#endif
