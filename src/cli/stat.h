/* SPDX-License-Identifier: MIT */
/*
 * cli/stat.h: what the files of `userkvm stat` share: finding VMs, reading their counters
 * (base/statpage.h), and what each counter is called.
 */
#ifndef CLI_STAT_H
#define CLI_STAT_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include "base/statpage.h"

#define STAT_NAME_SIZE 64

/* Where a vCPU's time goes, as seen by looking often: enum statpage_place, then these. */
#define STAT_LOOK_MS 1
enum stat_time { STAT_FAULT = STATPAGE_PLACES, STAT_HALTED, STAT_VMM, STAT_TIMES };

/* A VM of some process. */
struct stat_vm {
	pid_t pid;
	char name[STAT_NAME_SIZE]; /* of the program, as the kernel keeps it */
	ino_t ino;
	int fd;			   /* of its statistics */
	u64 read_at;		   /* CLOCK_BOOTTIME, ns */
	struct statpage_vm *vm;
	struct statpage_vcpu *vcpu; /* vm->nvcpus of them */
	u32 looks;		    /* stat_watch()'s; 0: nobody has watched */
	u32 (*time)[STAT_TIMES];    /* of each vCPU: so many of them found it there */
};

struct stat_vms {
	struct stat_vm *vm; /* by pid, then by age */
	unsigned n;
	unsigned hidden; /* processes whose descriptors this user may not see */
};

/*
 * Find the VMs of process `pid`, or of every process (0), and read them. 0, or -errno: with a pid
 * -ESRCH (no such process) and -EACCES (not this user's to look at).
 */
int stat_find(pid_t pid, struct stat_vms *out);
/* Read it again: 0, or -ESRCH: the VM or its process is gone. */
int stat_read(struct stat_vm *v);
void stat_free(struct stat_vms *vms);
/* Look at every VM's vCPUs again and again for `ms` milliseconds. */
void stat_watch(struct stat_vms *vms, unsigned ms);
/* One look at a VM's vCPUs: how many are where is added. */
void stat_look(const struct stat_vm *v, u32 (*time)[STAT_TIMES]);

/* One counter of a vCPU. */
struct stat_counter {
	const char *name;  /* as in JSON, and as KVM's binary statistics have it */
	const char *title; /* of its column, or NULL: not in the table */
	int width;
	u32 at; /* in the vCPU's page (base/statpage.h) */
	u64 (*computed)(const struct statpage_vcpu *s); /* instead */
};

extern const struct stat_counter stat_counters[];
extern const unsigned stat_ncounters;
/* The value of stat_counters[k]. */
u64 stat_count(unsigned k, const struct statpage_vcpu *s);
/* Is it counted? Instructions are where `userkvm run --count' asked for it, or all is interpreted. */
bool stat_counted(unsigned k, const struct stat_vm *v);

const char *stat_state_name(u32 state);
const char *stat_time_name(unsigned time);
/* Sums over all vCPUs. */
struct statpage_code stat_code(const struct statpage_vm *vm, const struct statpage_vcpu *vcpu);
/* The name of a KVM_EXIT_*, or NULL: it has none here. */
const char *stat_exit_name(unsigned reason);
/* "512.0 MiB" */
const char *stat_bytes(u64 bytes, char *buf, size_t size);
u64 stat_mapped_bytes(const struct statpage_vm *vm);

/* How the counters are shown. */
void stat_print_table(FILE *f, const struct stat_vms *vms);
void stat_print_json(FILE *f, const struct stat_vms *vms);
/* The shares, as a line of text. */
const char *stat_time_line(const u64 sum[STAT_TIMES], char *buf, size_t size);
/* The live view, until the user or the last VM ends it. An exit status. */
int stat_view(pid_t pid, struct stat_vms *vms);

#endif
