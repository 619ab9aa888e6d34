/* SPDX-License-Identifier: MIT */
/* cli/enable.h: what enable.c, disable.c and status.c share: switching userkvm on without `run'. */
#ifndef CLI_ENABLE_H
#define CLI_ENABLE_H

#include <stdbool.h>
#include <stddef.h>

#define PRELOAD_FILE "/etc/ld.so.preload"
#define NODE	     "/dev/kvm"
#define NODE_MAJOR   10
#define NODE_MINOR   232
#define UNIT_NAME    256 /* bytes; systemd's own bound */
#define UNIT_DROPIN  "userkvm.conf"

/* Say why it cannot be, on standard error. Returns a negative value. */
int enable_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- enable_checks.c: what would break. 0, or negative with the reason said. */
/* Everybody is to load this file: only root may be able to change it. */
int check_owned(const char *path);
/* Every dynamic program of the machine is to load the library. */
int check_all_programs(void);
/* Run programs as everybody will, once PRELOAD_FILE names the library or `library` is in LD_PRELOAD. */
int check_trial(const char *library);

/* ---- enable_service.c */
/* The drop-in of a systemd unit: where it goes, and what stands in it. 0, or negative with the reason said. */
int service_dropin(const char *unit, const char *library, const char *command, char *path, size_t size,
		   char **content);
/* Does a drop-in of this path belong to a service of ours? Its unit, or NULL. */
const char *service_of(const char *path, char *unit);
/* Have systemd read its files again, if it runs here. */
void service_reload(void);

#endif
