/* SPDX-License-Identifier: MIT */
/*
 * cli/trace.h: what the files of `userkvm trace` share: reaching a process's trace memfd
 * (base/trace.h), reading its rings, choosing, and showing.
 */
#ifndef CLI_TRACE_H
#define CLI_TRACE_H

#include <stdio.h>
#include <sys/types.h>
#include "abi/shapes.h"

/* A process that is traced. */
struct traced {
	pid_t pid;
	int fd;
	struct trace_page *page;
	u8 *map;
	u64 lost; /* records, up to now */
};

struct tracer {
	struct traced *of;
	unsigned n;
	u64 mask; /* what is asked of each */
	u64 looked; /* CLOCK_MONOTONIC, ns: when it was looked who has ended; 0: look at once */
	u64 lost; /* records of those that were let go */
};

/* Read and write the memfd `fd` (taken over) of process `pid`, and switch it on. 0 or -errno; -EBUSY:
 * another tracer has it; -EPROTO: it is no such file, or of another version. */
int tracer_add(struct tracer *t, pid_t pid, int fd);
/* The one that runs: found by its descriptor. The same, and -ESRCH: no process, -ENOENT: it has opened no
 * /dev/kvm, -EACCES. */
int tracer_attach(struct tracer *t, pid_t pid);
/* Only map it, for a question; the caller unmaps and closes. */
int traced_open(struct traced *p, pid_t pid);
/* Say why that failed: an exit status. */
int trace_complain(pid_t pid, int err);
/* Is it still there? */
bool traced_alive(const struct traced *p);
/*
 * Take what there is in all rings, let those go that have ended, and give fn each record, oldest first; those from the last moment stay
 * for the next time, unless `all`: an older one may be on its way in another ring.
 */
typedef void record_fn(void *arg, pid_t pid, const struct trace_record *r);
int tracer_drain(struct tracer *t, bool all, record_fn *fn, void *arg);
/* Switch everything off and let go. Records lost. */
u64 tracer_close(struct tracer *t);

/* -e: what is shown. */
struct filter;
/* NULL: `text` has a word that means nothing; *word is it. */
struct filter *filter_parse(const char *text, const char **word);
u64 filter_mask(const struct filter *f);
bool filter_wants(const struct filter *f, const struct trace_record *r);
/* All words, for --help and completion. */
void filter_list(FILE *out);

/* Names of guest addresses. */
struct symbols;
/* A copy of the guest's /proc/kallsyms; NULL and errno. */
struct symbols *symbols_read(const char *path);
/* "name+0x1f" into buf, or "" */
const char *symbols_name(const struct symbols *s, u64 address, char *buf, size_t size);

/* One record, as a line. */
struct show {
	FILE *out;
	bool json, many; /* processes */
	u64 begun; /* CLOCK_MONOTONIC, ns */
	const struct symbols *symbols;
};
void show_record(const struct show *s, pid_t pid, const struct trace_record *r);
/* Is it whole? Whoever can write the memfd may have written what he likes. */
bool record_whole(const struct trace_record *r);
const struct call_record *record_call(const struct trace_record *r);

/* -c */
struct summary;
struct summary *summary_new(void);
void summary_add(struct summary *s, const struct trace_record *r);
void summary_print(const struct summary *s, FILE *out, bool json);

#endif
